//! The newest epochs of a job, for a person to read.

use checkpoint::{Epoch, Generation, garbage::Live};

use super::{database::Redshift, session::Session, text::literal};
use crate::{
    Error, Fault, HaltNote, Process, Result,
    inspect::{EpochSummary, Standing},
};

/// How many epochs are looked at first for one that has been in for a while.
const RECENT: u64 = 1_000;

impl Redshift {
    /// Where the job stands.
    pub(super) fn read_standing(&self) -> Result<Standing> {
        let mut session = self.connect_to_read()?;
        self.tables.check(&mut session)?;
        let fence = self.read_fence(&mut session)?;
        let rows = session.run(&format!("SELECT changed_at::varchar FROM {}", self.tables.fence))?.rows;
        let [changed] = rows.as_slice() else { return Err(Error::new(Fault::Corrupt, "the fence has not one row")) };
        let changed_at = changed.moment(0)?;
        let sessions = self.open_sessions(&mut session, false)?;
        let dead_letters = session.one_number(&format!("SELECT count(*) FROM {}", self.tables.dead_letters))?;
        let halt = self.newest_halt(&mut session)?;
        Ok(Standing { generation: fence.generation.0, changed_at, sessions, dead_letters, halt })
    }

    fn newest_halt(&self, session: &mut Session) -> Result<Option<HaltNote>> {
        let rows = session
            .run(&format!(
                "SELECT generation, host, process_id, code, reason, since::varchar FROM {} \
                 ORDER BY generation DESC, since DESC LIMIT 1",
                self.tables.halts
            ))?
            .rows;
        let Some(row) = rows.first() else { return Ok(None) };
        let since = row.moment(5)?;
        Ok(Some(HaltNote {
            generation: Generation(row.number(0)?),
            // When it began nobody asks any more.
            process: Process { host: row.text(1)?.into(), id: row.number(2)?, started_at: since },
            code: row.text(3)?.into(),
            reason: row.text(4)?.into(),
            since,
        }))
    }

    /// The id of the fence, and what is live: an epoch counts as in once it was for so many minutes.
    pub(super) fn read_live(&self, minutes: u32) -> Result<(String, Live)> {
        let mut session = self.connect_to_read()?;
        // The fence first: if it moves meanwhile, what is read after it makes no more of its generation garbage than
        // its successor would.
        let fence = self.read_fence(&mut session)?;
        // Nearly always among the newest.
        let recent = fence.next_epoch.0.saturating_sub(RECENT);
        let mut loaded = None;
        for among in [format!("epoch >= {recent}"), format!("epoch < {recent}")] {
            let answer = session.run(&format!(
                "SELECT max(epoch) FROM {} WHERE loaded_at <= dateadd(minute, -{minutes}, sysdate) AND {among}",
                self.tables.manifest
            ))?;
            loaded = answer.rows.first().map_or(Ok(None), |row| row.maybe_number(0))?.map(Epoch);
            if loaded.is_some() || recent == 0 {
                break;
            }
        }
        Ok((fence.fence_id, Live { generation: fence.generation, loaded }))
    }

    /// The newest epochs, the newest first.
    pub(super) fn read_epochs(&self, most: u64) -> Result<Vec<EpochSummary>> {
        let (manifest, rows, offsets) = (&self.tables.manifest, &self.tables.rows, &self.tables.offsets);
        let letters = literal(&self.tables.dead_letters_name());
        let mut session = self.connect_to_read()?;
        // They are numbered without gaps.
        let from = self.read_fence(&mut session)?.next_epoch.0.saturating_sub(most);
        let sql = format!(
            "SELECT m.epoch, m.generation, m.closed_at::varchar, m.loaded_at::varchar, coalesce(o.offsets, 0), \
             coalesce(r.loaded, 0), coalesce(r.filtered, 0), coalesce(r.letters, 0), m.kind FROM {manifest} m \
             LEFT JOIN (SELECT epoch, sum(end_offset - start_offset) AS offsets FROM {offsets} WHERE epoch >= {from} GROUP BY epoch) o ON o.epoch = m.epoch \
             LEFT JOIN (SELECT epoch, sum(CASE WHEN target = {letters} THEN 0 ELSE loaded END) AS loaded, \
             sum(filtered) AS filtered, sum(CASE WHEN target = {letters} THEN loaded ELSE 0 END) AS letters FROM {rows} \
             WHERE epoch >= {from} GROUP BY epoch) r ON r.epoch = m.epoch WHERE m.epoch >= {from} ORDER BY m.epoch DESC LIMIT {most}"
        );
        let answer = session.run(&sql)?;
        let epochs = answer.rows.iter().map(|row| {
            Ok(EpochSummary {
                epoch: row.number(0)?,
                kind: row.text(8)?.into(),
                generation: row.number(1)?,
                closed_at: row.moment(2)?,
                loaded_at: row.moment(3)?,
                offsets: row.number(4)?,
                rows: row.number(5)?,
                filtered: row.number(6)?,
                dead_letters: row.number(7)?,
            })
        });
        epochs.collect()
    }
}
