//! A load: one transaction from the fence to the manifest, and how it is found out what became of it.

use std::time::Instant;

use checkpoint::{
    Digest, Link,
    protocol::{self, Fence, Halt, Holder, Outcome, Range},
};

use super::{
    database::Redshift,
    session::{self, Session},
    tables,
    text::{literal, name},
};
use crate::{CopyFrom, Error, Fault, Load, LoadStep, Result, Warehouse};

/// Rows in one INSERT: far below the 16 MB that a statement may have.
pub(super) const ROWS_PER_INSERT: usize = 500;

impl Redshift {
    /// The statements of a load, from BEGIN to the read-back.
    pub(super) fn try_load(
        &mut self,
        session: &mut Session,
        load: &Load,
        progress: &mut dyn FnMut(LoadStep),
    ) -> Result<Outcome> {
        let (holder, range) = (&load.holder, &load.range);
        // Fence, idempotence check and lock in one.
        let Some(last) = load.links.last() else { return Err(Error::bug("a load of no epoch")) };
        let full = load.links.iter().rev().find(|link| link.full_cut.is_some());
        let cut_epoch = full.map_or(String::new(), |link| format!(", cut_epoch = {}", link.record.epoch));
        let adopt = load.adopt.as_ref().map_or(String::new(), |a| {
            format!(", fence_id = {}, namespace = {}", literal(&a.fence_id), literal(&a.namespace))
        });
        let sql = format!(
            "UPDATE {} SET next_epoch = {}, digest = {}, cut_digest = {}{cut_epoch}{adopt}, changed_at = sysdate \
             WHERE generation = {} AND nonce = {} AND next_epoch = {}",
            self.tables.fence,
            range.last.next(),
            literal(&range.digest.0),
            literal(&last.cut_digest.0),
            holder.generation,
            literal(holder.nonce.as_str()),
            range.first
        );
        let moved = match self.begin_on_fence(session, &sql, holder, progress)? {
            Ok(moved) => moved,
            Err(outcome) => return Ok(outcome),
        };
        session.check_pid()?;
        if moved.count != 1 {
            session.run("ROLLBACK")?;
            // After a barrier, as below: what is read then is not older than whoever has refused us.
            return Ok(match self.after_barrier(session, holder, range)? {
                Ok((_, fence, loaded)) => protocol::after_refusal(holder, range, &fence, loaded.as_ref()),
                Err(outcome) => outcome,
            });
        }
        progress(LoadStep::Fenced);
        for copy in &load.copies {
            if let Err(halt) = self.copy(session, copy)? {
                session.run("ROLLBACK")?;
                return Ok(Outcome::Halt(halt));
            }
        }
        progress(LoadStep::Copied);
        self.insert(session, holder, &load.links)?;
        // Fails if the transaction is aborted: COMMIT alone would answer "done" to a transaction that was rolled back.
        session.run(&format!("SELECT next_epoch FROM {}", self.tables.fence))?;
        progress(LoadStep::Written);
        session.run("COMMIT").map_err(Error::unknown)?;
        progress(LoadStep::Committed);
        // I13: only an independent read proves it.
        match self.read_digest(session, range.last).map_err(Error::unknown)? {
            Some(digest) if digest == range.digest => Ok(Outcome::Committed),
            _ => Err(Error::bug("COMMIT was answered and the manifest row is not there").unknown()),
        }
    }

    pub(super) fn copy(&self, session: &mut Session, copy: &CopyFrom) -> Result<Result<(), Halt>> {
        self.copy_into(session, &format!("{}.{}", name(&copy.table.schema), name(&copy.table.table)), copy)
    }

    pub(super) fn copy_into(&self, session: &mut Session, table: &str, copy: &CopyFrom) -> Result<Result<(), Halt>> {
        let before: i64 = session.one_number("SELECT pg_last_copy_id()")?;
        let columns: Vec<String> = copy.columns.iter().map(|c| name(c)).collect();
        let since = Instant::now();
        let copied = session.run(&format!(
            "COPY {table} ({}) FROM {} IAM_ROLE {} FORMAT AS PARQUET MANIFEST",
            columns.join(", "),
            literal(&copy.manifest_url),
            literal(&self.settings.iam_role)
        ));
        // Somebody else may cancel it as well; then it did not run so long.
        let outlasted = |e: &Error| session::cancelled(e) && since.elapsed() >= self.settings.statement_timeout;
        copied.map_err(|e| match outlasted(&e) {
            true => {
                let what = format!("{}: it ran for {} s", e.what, self.settings.statement_timeout.as_secs());
                let error = Error { fault: Fault::TooLong, what, ..e };
                error.remedy("write a longer `redshift.statement_timeout`, or a shorter `epoch.interval`")
            }
            false => session::of_copy(e, &copy.manifest_url, &self.settings.iam_role),
        })?;
        let rows = session.run("SELECT pg_last_copy_id(), pg_last_copy_count()")?.rows;
        let Some(row) = rows.first() else { return Err(Error::bug("a function without a row")) };
        Ok(protocol::check_copy(&copy.target, before, row.number(0)?, row.number(1)?, &copy.counts))
    }

    /// Whether all tables of a load are there.
    pub(super) fn check_tables(&mut self, load: &Load) -> Result<()> {
        let names: Vec<_> = load.copies.iter().map(|copy| copy.table.clone()).collect();
        let there = self.tables(&names)?;
        for copy in &load.copies {
            if !there.contains_key(&copy.table) {
                return Err(Error::new(Fault::Missing, format!("there is no table {} any more", copy.table)));
            }
        }
        self.catalog = None;
        Ok(())
    }

    pub(super) fn try_resolve(&mut self, session: &mut Session, holder: &Holder, range: &Range) -> Result<Outcome> {
        Ok(match self.after_barrier(session, holder, range)? {
            Ok((rows, fence, loaded)) => protocol::after_barrier(holder, range, rows, &fence, loaded.as_ref()),
            Err(outcome) => outcome,
        })
    }

    /// How many rows the barrier touched, the fence, and the digest of the newest epoch of the range, if it is in.
    pub(super) fn after_barrier(
        &self,
        session: &mut Session,
        holder: &Holder,
        range: &Range,
    ) -> Result<Result<Behind, Outcome>> {
        // Waits for whoever holds the fence, and changes nothing.
        let sql = format!("UPDATE {} SET nonce = nonce WHERE generation = {}", self.tables.fence, holder.generation);
        let barrier = match self.begin_on_fence(session, &sql, holder, &mut |_| {})? {
            Ok(barrier) => barrier,
            Err(outcome) => return Ok(Err(outcome)),
        };
        let fence = self.read_fence(session)?;
        let loaded = self.read_digest(session, range.last)?;
        session.run("ROLLBACK")?;
        Ok(Ok((barrier.count, fence, loaded)))
    }

    /// The rows of the control tables for these epochs.
    pub(super) fn insert(&self, session: &mut Session, holder: &Holder, links: &[Link]) -> Result<()> {
        let (mut manifest, mut rows, mut offsets, mut cuts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for link in links {
            let epoch = link.record.epoch;
            manifest.push(tables::manifest_row(link, holder));
            rows.extend(link.record.counts.iter().map(|(target, counts)| tables::counts_row(epoch, target, counts)));
            offsets.extend(link.record.spans.iter().map(|span| tables::offsets_row(epoch, span)));
            let cut = link.full_cut.iter().flat_map(|cut| cut.iter());
            cuts.extend(cut.map(|(partition, position)| tables::cuts_row(epoch, partition, position)));
        }
        for (table, columns, values) in [
            (&self.tables.manifest, tables::MANIFEST_COLUMNS, manifest),
            (&self.tables.rows, &tables::rows_columns(), rows),
            (&self.tables.offsets, tables::OFFSETS_COLUMNS, offsets),
            (&self.tables.cuts, tables::CUTS_COLUMNS, cuts),
        ] {
            for chunk in values.chunks(ROWS_PER_INSERT) {
                session.run(&format!("INSERT INTO {table} ({columns}) VALUES {}", chunk.join(", ")))?;
            }
        }
        Ok(())
    }
}

/// What is seen after the barrier.
type Behind = (u64, Fence, Option<Digest>);
