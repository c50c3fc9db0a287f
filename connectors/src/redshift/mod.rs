//! Redshift: fence, manifest and loads over the PostgreSQL protocol.
//!
//! One statement a message, always the simple protocol: results come as text (Redshift's binary numbers are not
//! PostgreSQL's), and a Parquet COPY is safe in it. Every wait has a deadline of ours, because a server that is stopped
//! answers keep-alives and nothing else.
//!
//! [`door`] is the way to the server, [`session`] a connection; [`said`] tells what the server says, [`subject`] of which statement, and
//! [`verdict`] what it means. [`tables`] has the text of the control tables, [`snapshot`] reads them. [`catalog`] says what other tables
//! are. [`database`] opens sessions and records them, [`fence`] waits for the fence, [`load`] is the transaction: which
//! statements in which order. What their answers mean is decided by `checkpoint::protocol`. This file is the port.

mod catalog;
mod database;
mod dead_letters;
mod door;
mod epochs;
mod fence;
mod fold;
mod inspect;
mod jobs;
mod load;
mod plans;
mod probe;
mod rights;
mod said;
mod session;
mod settings;
mod snapshot;
mod subject;
mod tables;
mod text;
mod verdict;
mod verify;

use std::{collections::BTreeMap, time::Duration};

use checkpoint::{
    Epoch, Generation, Micros, Nonce,
    protocol::{Holder, Outcome, Range, TableFacts},
};

use crate::{
    CopyFrom, Error, Fault, Fold, Folded, HaltNote, Happened, Load, LoadStep, OpenSession, Process, Result, Table,
    TableName, Took, Warehouse,
    retry::{Policy, Retry},
};
use text::literal;

pub use database::Redshift;
pub use fence::FENCE_WAIT;
pub use settings::{CONNECT_WITHIN, Settings, Tls};

/// How tables are made while others make the same.
const RIVAL_INITS: Policy = Policy {
    first: Duration::from_millis(50),
    longest: Duration::from_secs(1),
    within: Duration::from_secs(30),
    attempts: 20,
};
/// How long the catalog may take to answer between two loads.
const LOOK_WITHIN: Duration = Duration::from_secs(15);

impl Warehouse for Redshift {
    fn init(&mut self, fence_id: &str) -> Result<Vec<String>> {
        let mut retry = Retry::new(RIVAL_INITS);
        loop {
            let mut session = self.connect()?;
            session.limit(self.settings.statement_timeout)?;
            match self.tables.make(&mut session, fence_id) {
                // A rival made them at the same time: once it is done all are there.
                Err(e) if e.happened == Happened::No && tables::rival_made_it(&e) => {
                    if !retry.rest() {
                        return Err(e);
                    }
                }
                other => return other,
            }
        }
    }

    fn read(&mut self) -> Result<TableFacts> {
        self.on_any(|this, session| this.snapshot(session))
    }

    fn adopted(&mut self) -> Result<Vec<String>> {
        let sql = format!("SELECT adopted FROM {} WHERE adopted IS NOT NULL ORDER BY epoch", self.tables.manifest);
        let rows = self.connect()?.run(&sql)?.rows;
        Ok(rows
            .iter()
            .flat_map(|row| row.optional(0))
            .flat_map(|ids| ids.split(',').map(String::from).collect::<Vec<_>>())
            .collect())
    }

    fn record(&mut self, process: &Process, nonce: &Nonce) -> Result<()> {
        (self.identity, self.generation, self.session) = (Some((process.clone(), nonce.clone())), None, None);
        self.on_session(|_, _| Ok(()))
    }

    fn take(&mut self, from: Generation, progress: &mut dyn FnMut(LoadStep)) -> Result<Took> {
        let Some((_, nonce)) = self.identity.clone() else { return Err(Error::bug("a fence taken by nobody")) };
        self.on_session(|this, session| {
            let sql = format!(
                "UPDATE {} SET generation = {}, nonce = {}, changed_at = sysdate WHERE generation = {from}",
                this.tables.fence,
                from.next(),
                literal(nonce.as_str()),
            );
            this.take_fence(session, &sql, progress)
        })
    }

    fn hold(&mut self, holder: &Holder) -> Result<()> {
        self.generation = Some(holder.generation);
        self.on_session(|this, session| this.record_session(session))
    }

    fn sessions(&mut self) -> Result<Option<Vec<OpenSession>>> {
        self.open_sessions(&mut self.connect()?, false)
    }

    fn end(&mut self, sessions: &[OpenSession]) -> Result<()> {
        self.end_sessions(&mut self.connect()?, sessions)
    }

    fn tables(&mut self, names: &[TableName]) -> Result<BTreeMap<TableName, Table>> {
        if self.generation.is_none() {
            return self.on_catalog(|session| catalog::tables_of(session, names));
        }
        // Between two loads: on the session that is open anyway, and not for long.
        self.on_session(|_, session| {
            session.limit(LOOK_WITHIN)?;
            catalog::tables_of(session, names)
        })
    }

    fn rehearse(&mut self, tables: &[TableName], copy: &CopyFrom) -> Result<()> {
        let missing = if tables.is_empty() { Vec::new() } else { self.missing_rights_of_run(tables)? };
        if !missing.is_empty() {
            let grants: Vec<&str> = missing.iter().map(|right| right.grant.as_str()).collect();
            let grants = grants.join("; ");
            let missing: Vec<String> = missing.iter().map(|right| right.to_string()).collect();
            return Err(Error::new(Fault::Denied, missing.join("; ")).remedy(grants));
        }
        // Nobody asks any more, and what follows may wait for long.
        self.catalog = None;
        self.try_copy(copy)?;
        self.loads.earned();
        Ok(())
    }

    fn load(&mut self, load: &Load, progress: &mut dyn FnMut(LoadStep)) -> Result<Outcome> {
        let is_newer = |result: &Result<Outcome>| {
            result.as_ref().err().is_some_and(|e| e.happened == Happened::No && session::newer_table(e))
        };
        let mut result = self.on_session(|this, session| this.try_load(session, load, progress));
        // A table was made anew after our snapshot: the next one has it. If it has not, the catalog says why.
        if is_newer(&result) {
            result = self.on_session(|this, session| this.try_load(session, load, progress));
            if is_newer(&result) {
                self.check_tables(load)?;
            }
        }
        self.loads.judge_rights(result)
    }

    fn resolve(&mut self, holder: &Holder, range: &Range) -> Result<Outcome> {
        self.session = None;
        let result = self.on_session(|this, session| this.try_resolve(session, holder, range));
        self.loads.judge_rights(result)
    }

    fn fold(&mut self, fold: &Fold) -> Result<Option<Folded>> {
        let folded = self.on_session(|this, session| this.try_fold(session, fold));
        // What it says of a COMMIT that was not answered does not matter: whoever folds next sees it.
        folded.map_err(|error| Error { happened: Happened::No, ..error })
    }

    fn forget_sessions(&mut self, before: Micros) -> Result<u64> {
        self.on_session(|this, session| this.try_forget_sessions(session, before))
    }

    fn keep_plan(&mut self, hash: &str, text: &str) -> Result<()> {
        self.on_session(|this, session| this.write_plan(session, hash, text))
    }

    fn loaded_plan(&mut self) -> Result<Option<(Epoch, String)>> {
        self.on_any(|this, session| this.read_loaded_plan(session))
    }

    fn plan_text(&mut self, hash: &str) -> Result<Option<String>> {
        self.on_any(|this, session| this.read_plan(session, hash))
    }

    fn note_halt(&mut self, note: &HaltNote) -> Result<()> {
        let mut session = self.connect()?;
        session.run(&format!(
            "INSERT INTO {} (generation, host, process_id, code, reason, since) VALUES {}",
            self.tables.halts,
            tables::halts_row(note)
        ))?;
        Ok(())
    }
}
