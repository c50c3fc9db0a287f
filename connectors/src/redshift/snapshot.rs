//! The control tables in one snapshot: the fence, and everything from the newest whole cut on.

use checkpoint::{
    Decision, Digest, Epoch, EpochRecord, Generation, Kind, LastRecord, Nonce, Position, Span, TopicPartition,
    protocol::{Fence, ManifestRow, TableFacts},
};

use super::{
    database::Redshift,
    session::{Row, Session},
    tables,
};
use crate::{Error, Fault, Result};

impl Redshift {
    /// Everything that a start must know. Its first statement in the transaction reads the fence, so the snapshot is of a moment
    /// at which the fence was so.
    pub(super) fn snapshot(&self, session: &mut Session) -> Result<TableFacts> {
        self.tables.check(session)?;
        session.limit(self.settings.statement_timeout)?;
        session.run("BEGIN")?;
        let fence = self.read_fence(session)?;
        let namespace = session.one_text("SELECT current_namespace")?;
        let (from, after) = match fence.cut_epoch {
            Some(epoch) => (format!(" WHERE epoch >= {epoch}"), format!(" WHERE epoch > {epoch}")),
            // Nothing was loaded: whatever is there is wrong, and one row of it shows it.
            None => (" LIMIT 1".into(), " LIMIT 1".into()),
        };
        let of_cut = fence.cut_epoch.map_or(" LIMIT 1".into(), |epoch| format!(" WHERE epoch = {epoch}"));
        let tables = &self.tables;
        let sorted = if fence.cut_epoch.is_some() { " ORDER BY epoch" } else { "" };
        let manifest = session.run(&format!(
            "SELECT epoch, kind, closed_at::varchar, watermark::varchar, digest, cut_digest, plan, adopted, decided_by, \
             decided_why FROM {}{from}{sorted}",
            tables.manifest
        ))?;
        let cut = session.run(&format!(
            "SELECT topic, kafka_partition, topic_id, end_offset, leader_epoch, last_offset, last_fingerprint FROM {}{of_cut}",
            tables.cuts
        ))?;
        let spans = session.run(&format!(
            "SELECT topic, kafka_partition, topic_id, end_offset, leader_epoch, last_offset, last_fingerprint, start_offset, \
             epoch FROM {}{after}",
            tables.offsets
        ))?;
        session.run("ROLLBACK")?;
        let span = |row: &Row| -> Result<(Epoch, Span)> {
            let (partition, Position { topic_id, end, leader_epoch, last }) = position(row)?;
            Ok((Epoch(row.number(8)?), Span { partition, topic_id, start: row.number(7)?, end, leader_epoch, last }))
        };
        Ok(TableFacts {
            fence,
            namespace,
            manifest: manifest.rows.iter().map(manifest_row).collect::<Result<_>>()?,
            cut: cut.rows.iter().map(position).collect::<Result<_>>()?,
            spans: spans.rows.iter().map(span).collect::<Result<_>>()?,
        })
    }

    /// The fence, outside of any decision.
    pub(super) fn read_fence(&self, session: &mut Session) -> Result<Fence> {
        let rows = session.run(&format!("SELECT {} FROM {}", tables::FENCE_COLUMNS, self.tables.fence))?.rows;
        let [row] = rows.as_slice() else {
            let what = format!("{} has {} rows instead of 1", self.tables.fence, rows.len());
            return Err(Error::new(Fault::Corrupt, what));
        };
        let nonce = row.optional(3).unwrap_or_default();
        Ok(Fence {
            fence_id: row.text(0)?.into(),
            namespace: row.text(1)?.into(),
            generation: Generation(row.number(2)?),
            // Before the first start there is none; it is never compared then.
            nonce: Nonce::parse(&nonce).unwrap_or_else(|| Nonce::new([0; 16])),
            next_epoch: Epoch(row.number(4)?),
            digest: Digest(row.text(5)?.into()),
            cut_digest: Digest(row.text(6)?.into()),
            cut_epoch: row.maybe_number(7)?.map(Epoch),
        })
    }
}

/// A partition, and where it stands.
pub(super) fn position(row: &Row) -> Result<(TopicPartition, Position)> {
    let fingerprint = row.optional(6).unwrap_or_default();
    let last = row.maybe_number(5)?.map(|offset| LastRecord { offset, timestamp_ms: -1, fingerprint });
    let position = Position {
        topic_id: row.optional(2).unwrap_or_default(),
        end: row.number(3)?,
        leader_epoch: row.maybe_number(4)?,
        last,
    };
    Ok((TopicPartition::new(row.text(0)?, row.number(1)?), position))
}

/// The kind of an epoch, in this column.
pub(super) fn kind(row: &Row, column: usize) -> Result<Kind> {
    let text = row.text(column)?;
    Kind::parse(text).ok_or_else(|| {
        Error::new(Fault::Corrupt, format!("{text:?} in the manifest is not a kind that this program knows"))
    })
}

/// A row of the manifest, without its spans.
pub(super) fn manifest_row(row: &Row) -> Result<ManifestRow> {
    let kind = kind(row, 1)?;
    let decision = row.optional(8).map(|by| Decision {
        by,
        why: row.optional(9).unwrap_or_default(),
        adopted: row.optional(7).map_or(Vec::new(), |ids| ids.split(',').map(String::from).collect()),
    });
    let record = EpochRecord {
        epoch: Epoch(row.number(0)?),
        kind,
        closed_at: row.moment(2)?,
        watermark: row.optional(3).map(|_| row.moment(3)).transpose()?,
        plan: row.text(6)?.into(),
        spans: Vec::new(),
        decision,
        counts: Default::default(),
    };
    Ok(ManifestRow { record, digest: Digest(row.text(4)?.into()), cut_digest: Digest(row.text(5)?.into()) })
}
