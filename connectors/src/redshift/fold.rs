//! Old epochs become one row, some at a time; and sessions that nobody asks for are forgotten.
//!
//! One transaction, which begins as a load does with an UPDATE of the fence, so that neither overlaps the other. It changes nothing
//! there: whoever holds the fence still does. It touches no row that a start or a load reads.

use std::time::{Duration, Instant};

use checkpoint::{
    Epoch, Kind, Micros,
    fold::{self, WholeCut},
};

use super::{
    database::Redshift,
    load::ROWS_PER_INSERT,
    session::{self, Session},
    snapshot::kind,
    tables::{Tables, counts_columns, number},
    text::literal,
};
use crate::{Error, Fault, Fold, Folded, Result};

/// How long a statement of it may run. Somebody may wait for the fence.
const STATEMENT_WITHIN: Duration = Duration::from_secs(4);
/// How long the whole may take. Where it takes longer nothing was done, and fewer epochs are tried.
const HELD_MAX: Duration = Duration::from_secs(8);

impl Redshift {
    pub(super) fn try_fold(&self, session: &mut Session, fold: &Fold) -> Result<Option<Folded>> {
        session.limit(self.settings.statement_timeout)?;
        let fence = self.read_fence(session)?;
        let Some(newest) = fence.cut_epoch else { return Ok(None) };
        let Some((oldest, _)) = self.oldest(session)? else { return Ok(None) };
        let cuts = self.whole_cuts(session, oldest, Epoch(newest.0.min(oldest.0 + fold.epochs)))?;
        let Some(base) = fold::base(&cuts, fold.before, newest) else { return Ok(None) };
        session.limit(STATEMENT_WITHIN)?;
        let since = Instant::now();
        let lock = format!(
            "UPDATE {} SET nonce = nonce WHERE generation = {} AND nonce = {}",
            self.tables.fence,
            fence.generation,
            literal(fence.nonce.as_str())
        );
        let folded = session.run("BEGIN").and_then(|_| {
            if session.run(&lock)?.count != 1 {
                return Err(Error::new(Fault::Outage, "the fence was taken by another process meanwhile"));
            }
            self.fold_into(session, base)?;
            if since.elapsed() > HELD_MAX {
                return Err(too_long(fold.epochs));
            }
            session.run("COMMIT").map(drop).map_err(Error::unknown)
        });
        match folded {
            Ok(()) => Ok(Some(Folded { base, epochs: base.0 - oldest.0 })),
            Err(error) if session::timed_out(&error) => Err(too_long(fold.epochs).because(error)),
            Err(error) => Err(error),
        }
    }

    /// The oldest epoch that is not a decision, and whether it is a base. If there is one it is the oldest, because all before it is gone.
    pub(super) fn oldest(&self, session: &mut Session) -> Result<Option<(Epoch, bool)>> {
        let rows = session.run(&format!(
            "SELECT epoch, kind FROM {} WHERE kind NOT IN ({}) ORDER BY epoch LIMIT 1",
            self.tables.manifest,
            decisions()
        ))?;
        let Some(row) = rows.rows.first() else { return Ok(None) };
        Ok(Some((Epoch(row.number(0)?), row.text(1)? == Kind::Base.text())))
    }

    /// The whole cuts after one epoch and up to another.
    fn whole_cuts(&self, session: &mut Session, after: Epoch, to: Epoch) -> Result<Vec<WholeCut>> {
        let Tables { manifest, cuts, .. } = &self.tables;
        let rows = session.run(&format!(
            "SELECT m.epoch, m.kind, m.closed_at::varchar FROM {manifest} m JOIN (SELECT DISTINCT epoch FROM {cuts} \
             WHERE epoch > {after} AND epoch <= {to}) c ON c.epoch = m.epoch WHERE m.epoch > {after} AND m.epoch <= {to}"
        ))?;
        let cut = |row: &session::Row| -> Result<WholeCut> {
            Ok(WholeCut { epoch: Epoch(row.number(0)?), kind: kind(row, 1)?, closed_at: row.moment(2)? })
        };
        rows.rows.iter().map(cut).collect()
    }

    /// Sums the counts up to the base there, and takes away what is older; decisions stay, and the offsets of those that say so.
    fn fold_into(&self, session: &mut Session, base: Epoch) -> Result<()> {
        let Tables { manifest, rows, offsets, cuts, .. } = &self.tables;
        let columns = counts_columns();
        let sums: Vec<String> = columns.iter().map(|column| format!("sum({column})")).collect();
        let sql = format!("SELECT target, {} FROM {rows} WHERE epoch <= {base} GROUP BY target", sums.join(", "));
        let summed = session.run(&sql)?.rows;
        let summed = summed.iter().map(|row| {
            let counts = (1..=columns.len()).map(|place| Ok(number(row.maybe_number::<i64>(place)?)));
            Ok(format!("({base}, {}, {})", literal(row.text(0)?), counts.collect::<Result<Vec<_>>>()?.join(", ")))
        });
        let summed: Vec<String> = summed.collect::<Result<_>>()?;
        session.run(&format!("DELETE FROM {rows} WHERE epoch <= {base}"))?;
        for chunk in summed.chunks(ROWS_PER_INSERT) {
            let columns = columns.join(", ");
            session.run(&format!("INSERT INTO {rows} (epoch, target, {columns}) VALUES {}", chunk.join(", ")))?;
        }
        let decisions = decisions();
        session.run(&format!(
            "DELETE FROM {offsets} WHERE epoch <= {base} AND epoch NOT IN (SELECT epoch FROM {manifest} \
             WHERE epoch <= {base} AND kind IN ({decisions}))"
        ))?;
        session.run(&format!("DELETE FROM {cuts} WHERE epoch < {base}"))?;
        session.run(&format!("DELETE FROM {manifest} WHERE epoch < {base} AND kind NOT IN ({decisions})"))?;
        session.run(&format!("UPDATE {manifest} SET kind = 'base' WHERE epoch = {base}"))?;
        Ok(())
    }

    /// Forgets the sessions of processes that began before a moment, and are not open.
    pub(super) fn try_forget_sessions(&self, session: &mut Session, before: Micros) -> Result<u64> {
        session.limit(self.settings.statement_timeout)?;
        let open = self.open_sessions(session, true)?.unwrap_or_default();
        let pids: Vec<String> = open.iter().map(|session| session.pid.to_string()).collect();
        let not_open = if pids.is_empty() { String::new() } else { format!(" AND pid NOT IN ({})", pids.join(", ")) };
        let sql = format!("DELETE FROM {} WHERE started_at < '{}'{not_open}", self.tables.sessions, before.to_text());
        Ok(session.run(&sql)?.count)
    }
}

/// The kinds of the rows that stay, for a list of SQL.
pub(super) fn decisions() -> String {
    let kinds: Vec<String> =
        Kind::ALL.into_iter().filter(|kind| kind.is_decision()).map(|kind| literal(kind.text())).collect();
    kinds.join(", ")
}

fn too_long(epochs: u64) -> Error {
    let limit_s = HELD_MAX.as_secs();
    Error::new(Fault::TooLong, format!("folding {epochs} epochs would hold the fence for more than {limit_s} s"))
}
