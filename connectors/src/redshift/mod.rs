//! Redshift: fence, manifest and loads over the PostgreSQL protocol.
//!
//! One statement a message, always the simple protocol: results come as text (Redshift's binary numbers are not
//! PostgreSQL's), and a Parquet COPY is safe in it. Every wait has a deadline of ours, because a server that is stopped
//! answers keep-alives and nothing else.
//!
//! [`session`] is a connection and its errors, [`tables`] the text of the control tables, and this file the protocol:
//! which statements in which order. What their answers mean is decided by `checkpoint::protocol`.

pub mod dead_letters;
pub mod epochs;
mod probe;
mod session;
mod tables;
mod text;
pub mod verify;

use std::time::{Duration, Instant};

use checkpoint::{
    Cut, Digest, Epoch, EpochRecord, Generation, LastRecord, Nonce, Position, TopicPartition,
    protocol::{self, AcquireFacts, Fence, Halt, Holder, ManifestFacts, Outcome, Range},
};

use crate::{
    AcquireOutcome, Acquired, Admit, ColumnKind, CopyFrom, Error, Fault, Happened, Load, LoadStep, Result, TableName,
    TargetColumn, Warehouse,
};
use session::{Row, Session};
pub use session::{Settings, Tls};
use tables::Tables;
use text::{literal, name};

/// How long a statement on the fence waits for a rival before the rival's session is ended.
pub const FENCE_WAIT: Duration = Duration::from_secs(10);
/// How long a start tries to take the fence.
const ACQUIRE_WITHIN: Duration = Duration::from_secs(120);
/// How often tables are made while others make the same, and the pause, which grows by itself.
const INIT_TRIES: u32 = 10;
const INIT_PAUSE: Duration = Duration::from_millis(50);
/// Rows in one INSERT: far below the 16 MB that a statement may have.
const ROWS_PER_INSERT: usize = 500;

/// A Redshift database and the control tables of one job in it.
pub struct Redshift {
    settings: Settings,
    tables: Tables,
    runtime: tokio::runtime::Runtime,
    session: Option<Session>,
    /// Who we are, once we have a nonce; every session records it before it touches the fence.
    nonce: Option<Nonce>,
    generation: Option<Generation>,
}

impl Redshift {
    /// No connection is made yet. `schema` is where the control tables of `job` live.
    pub fn new(settings: Settings, schema: &str, job: &str) -> Result<Redshift> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("redshift")
            .enable_all()
            .build()
            .map_err(|e| Error::bug("cannot start the Redshift client").because(e))?;
        let tables = Tables::new(schema, job);
        Ok(Redshift { settings, tables, runtime, session: None, nonce: None, generation: None })
    }

    fn connect(&self) -> Result<Session> {
        Session::connect(&self.settings, self.runtime.handle())
    }

    /// Runs `act` on the open session, or on a new one that has recorded itself. After an error the session is thrown
    /// away: what it had open is rolled back, and nobody knows what state it is in.
    fn on_session<T>(&mut self, act: impl FnOnce(&mut Redshift, &mut Session) -> Result<T>) -> Result<T> {
        let mut session = match self.session.take().filter(Session::is_open) {
            Some(session) => session,
            None => {
                let mut session = self.connect()?;
                self.record_session(&mut session)?;
                session
            }
        };
        let result = act(self, &mut session);
        if result.is_ok() {
            self.session = Some(session);
        }
        result
    }

    /// Commits a row about the session before it does anything that another may have to wait for.
    fn record_session(&self, session: &mut Session) -> Result<()> {
        let Some(nonce) = &self.nonce else { return Err(Error::bug("a session before a nonce")) };
        let start = match &session.started {
            Some(start) => format!("{}::timestamp", literal(start)),
            None => "NULL".into(),
        };
        let generation = self.generation.map_or("NULL".into(), |g| g.to_string());
        session.run(&format!(
            "INSERT INTO {} (generation, nonce, pid, session_start) VALUES ({generation}, {}, {}, {start})",
            self.tables.sessions,
            literal(nonce.as_str()),
            session.pid
        ))?;
        Ok(())
    }

    /// Ends every session of this job that is still there, but for those of a newer generation. Called when the fence did
    /// not become free: its holder is stopped, cut off, or slow beyond the deadline.
    fn end_other_sessions(&self) -> Result<usize> {
        let mut session = self.connect()?;
        let recorded =
            session.run(&format!("SELECT generation, pid, session_start FROM {}", self.tables.sessions))?.rows;
        let alive = session.run("SELECT process, starttime FROM stv_sessions")?.rows;
        let mut ended = 0;
        for row in recorded {
            let (generation, pid, start) = (row.optional(0), row.text(1)?, row.optional(2));
            let newer = match (self.generation, generation.as_deref().and_then(|g| g.parse().ok())) {
                (Some(ours), Some(theirs)) => Generation(theirs) > ours,
                _ => false,
            };
            // The pid alone is not enough: pids are used again.
            let there = alive
                .iter()
                .any(|a| a.optional(0).as_deref() == Some(pid) && start.is_some() && a.optional(1) == start);
            if there && !newer && pid != session.pid.to_string() {
                session.run(&format!("SELECT pg_terminate_backend({pid})"))?;
                ended += 1;
            }
        }
        Ok(ended)
    }

    /// The cut behind all epochs in the manifest.
    pub fn cut(&self) -> Result<Cut> {
        self.read_cut_in(&mut self.connect()?)
    }

    /// The fence, outside of any decision.
    fn read_fence(&self, session: &mut Session) -> Result<Fence> {
        let sql =
            format!("SELECT fence_id, namespace, generation, nonce, next_epoch, digest FROM {}", self.tables.fence);
        let rows = session.run(&sql)?.rows;
        let [row] = rows.as_slice() else {
            return Err(Error::new(
                Fault::Refused,
                format!("{} has {} rows instead of 1", self.tables.fence, rows.len()),
            ));
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
        })
    }

    fn read_digest(&self, session: &mut Session, epoch: Epoch) -> Result<Option<Digest>> {
        let rows = session.run(&format!("SELECT digest FROM {} WHERE epoch = {epoch}", self.tables.manifest))?.rows;
        match rows.as_slice() {
            [] => Ok(None),
            [row] => Ok(Some(Digest(row.text(0)?.into()))),
            _ => Ok(Some(Digest(format!("{} rows for one epoch", rows.len())))), // equals no digest: a contradiction
        }
    }

    fn read_manifest(&self, session: &mut Session) -> Result<ManifestFacts> {
        let rows = session.run(&format!("SELECT count(*), min(epoch), max(epoch) FROM {}", self.tables.manifest))?.rows;
        let Some(row) = rows.first() else { return Err(Error::bug("an aggregate without a row")) };
        let highest = row.maybe_number(2)?.map(Epoch);
        let digest = match highest {
            Some(epoch) => self.read_digest(session, epoch)?,
            None => None,
        };
        Ok(ManifestFacts { rows: row.number(0)?, lowest: row.maybe_number(1)?.map(Epoch), highest, digest })
    }

    /// For every partition the newest row, and the newest row that names a record.
    fn read_cut_in(&self, session: &mut Session) -> Result<Cut> {
        let newest = |condition: &str| {
            let offsets = &self.tables.offsets;
            format!(
                "SELECT o.topic, o.kafka_partition, o.topic_id, o.end_offset, o.leader_epoch, o.last_offset, \
                 o.last_fingerprint FROM {offsets} o \
                 JOIN (SELECT topic, kafka_partition, max(epoch) AS epoch FROM {offsets}{condition} GROUP BY topic, kafka_partition) n \
                 ON o.topic = n.topic AND o.kafka_partition = n.kafka_partition AND o.epoch = n.epoch"
            )
        };
        let partition = |row: &Row| -> Result<TopicPartition> { Ok(TopicPartition::new(row.text(0)?, row.number(1)?)) };
        let last = |row: &Row| -> Result<Option<LastRecord>> {
            let Some(offset) = row.maybe_number(5)? else { return Ok(None) };
            Ok(Some(LastRecord { offset, timestamp_ms: -1, fingerprint: row.text(6)?.into() }))
        };
        let mut positions = std::collections::BTreeMap::new();
        for row in session.run(&newest(""))?.rows {
            let position = Position {
                topic_id: row.optional(2).unwrap_or_default(),
                end: row.number(3)?,
                leader_epoch: row.maybe_number(4)?,
                last: last(&row)?,
            };
            positions.insert(partition(&row)?, position);
        }
        for row in session.run(&newest(" WHERE last_offset IS NOT NULL"))?.rows {
            if let Some(position) = positions.get_mut(&partition(&row)?) {
                position.last = last(&row)?;
            }
        }
        Ok(Cut::new(positions))
    }

    /// The statements of an acquire, from BEGIN to COMMIT.
    fn try_acquire(
        &mut self,
        session: &mut Session,
        nonce: &Nonce,
        admit: Admit<'_>,
    ) -> Result<Result<Acquired, Halt>> {
        session.limit(FENCE_WAIT)?;
        session.run("BEGIN")?;
        let taken = session.run(&format!(
            "UPDATE {} SET generation = generation + 1, nonce = {}, changed_at = sysdate",
            self.tables.fence,
            literal(nonce.as_str())
        ))?;
        if taken.count != 1 {
            session.run("ROLLBACK")?;
            return Err(Error::new(
                Fault::Refused,
                format!("{} has {} rows instead of 1", self.tables.fence, taken.count),
            ));
        }
        session.limit(self.settings.statement_timeout)?;
        let fence = self.read_fence(session)?;
        let namespace = session.one_text("SELECT current_namespace")?;
        let facts =
            AcquireFacts { manifest: self.read_manifest(session)?, cut: self.read_cut_in(session)?, namespace, fence };
        let admitted = match admit(&facts) {
            Ok(admitted) => admitted,
            Err(halt) => {
                session.run("ROLLBACK")?;
                return Ok(Err(halt));
            }
        };
        let holder = Holder { generation: facts.fence.generation, nonce: nonce.clone() };
        if let Some(record) = &admitted.announce {
            let (next, digest) = (admitted.next_epoch, literal(&admitted.digest.0));
            session.run(&format!("UPDATE {} SET next_epoch = {next}, digest = {digest}", self.tables.fence))?;
            self.insert(session, &holder, &[(record.clone(), admitted.digest.clone())])?;
        }
        session.run(&format!("SELECT next_epoch FROM {}", self.tables.fence))?;
        session.run("COMMIT").map_err(Error::unknown)?;
        Ok(Ok(Acquired { holder, fence_id: facts.fence.fence_id, admitted }))
    }

    /// The rows of the control tables for these epochs.
    fn insert(&self, session: &mut Session, holder: &Holder, records: &[(EpochRecord, Digest)]) -> Result<()> {
        let (mut manifest, mut rows, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
        for (record, digest) in records {
            manifest.push(tables::manifest_row(record, digest, holder));
            rows.extend(record.counts.iter().map(|(target, counts)| tables::counts_row(record.epoch, target, counts)));
            offsets.extend(record.spans.iter().map(|span| tables::offsets_row(record.epoch, span)));
        }
        for (table, columns, values) in [
            (&self.tables.manifest, tables::MANIFEST_COLUMNS, manifest),
            (&self.tables.rows, tables::ROWS_COLUMNS, rows),
            (&self.tables.offsets, tables::OFFSETS_COLUMNS, offsets),
        ] {
            for chunk in values.chunks(ROWS_PER_INSERT) {
                session.run(&format!("INSERT INTO {table} ({columns}) VALUES {}", chunk.join(", ")))?;
            }
        }
        Ok(())
    }

    /// The statements of a load, from BEGIN to the read-back.
    fn try_load(&mut self, session: &mut Session, load: &Load, progress: &mut dyn FnMut(LoadStep)) -> Result<Outcome> {
        let (holder, range) = (&load.holder, &load.range);
        session.limit(FENCE_WAIT)?;
        session.run("BEGIN")?;
        // Fence, idempotence check and lock in one. It must be the first statement: a snapshot that is older than the
        // wait would see a fence that has moved since.
        let moved = session.run(&format!(
            "UPDATE {} SET next_epoch = {}, digest = {}, changed_at = sysdate WHERE generation = {} AND nonce = {} AND next_epoch = {}",
            self.tables.fence,
            range.last.next(),
            literal(&range.digest.0),
            holder.generation,
            literal(holder.nonce.as_str()),
            range.first
        ))?;
        if moved.count != 1 {
            session.run("ROLLBACK")?;
            let fence = self.read_fence(session)?;
            let loaded = self.read_digest(session, range.last)?;
            return Ok(protocol::after_refusal(holder, range, &fence, loaded.as_ref()));
        }
        progress(LoadStep::Fenced);
        session.limit(self.settings.statement_timeout)?;
        for copy in &load.copies {
            if let Err(halt) = self.copy(session, copy)? {
                session.run("ROLLBACK")?;
                return Ok(Outcome::Halt(halt));
            }
        }
        progress(LoadStep::Copied);
        self.insert(session, holder, &load.records)?;
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

    fn copy(&self, session: &mut Session, copy: &CopyFrom) -> Result<Result<(), Halt>> {
        let before: i64 = session.one_number("SELECT pg_last_copy_id()")?;
        let columns: Vec<String> = copy.columns.iter().map(|c| name(c)).collect();
        session.run(&format!(
            "COPY {}.{} ({}) FROM {} IAM_ROLE {} FORMAT AS PARQUET MANIFEST",
            name(&copy.table.schema),
            name(&copy.table.table),
            columns.join(", "),
            literal(&copy.manifest_url),
            literal(&self.settings.iam_role)
        ))?;
        let rows = session.run("SELECT pg_last_copy_id(), pg_last_copy_count()")?.rows;
        let Some(row) = rows.first() else { return Err(Error::bug("a function without a row")) };
        Ok(protocol::check_copy(&copy.target, before, row.number(0)?, row.number(1)?, &copy.counts))
    }

    fn try_resolve(&mut self, session: &mut Session, holder: &Holder, range: &Range) -> Result<Outcome> {
        session.limit(FENCE_WAIT)?;
        session.run("BEGIN")?;
        // Waits for whoever holds the fence, and changes nothing.
        let barrier = session
            .run(&format!("UPDATE {} SET nonce = nonce WHERE generation = {}", self.tables.fence, holder.generation))?;
        let fence = self.read_fence(session)?;
        let loaded = self.read_digest(session, range.last)?;
        session.run("ROLLBACK")?;
        Ok(protocol::after_barrier(holder, range, barrier.count, &fence, loaded.as_ref()))
    }

    /// Says of a missing table what to do about it.
    fn no_tables(&self, error: Error) -> Error {
        if error.fault != Fault::Missing {
            return error;
        }
        let what = format!(
            "the control tables of the job are not in schema {}; make them with `tidegate init`",
            self.tables.schema
        );
        Error::new(Fault::Missing, what).because(error)
    }

    /// When the fence did not become free in time: if a newer generation has it, that is the answer; else whoever holds it
    /// is ended, and the caller tries again.
    fn fence_is_stuck(&mut self, holder: &Holder) -> Result<Option<Outcome>> {
        let fence = self.read_fence(&mut self.connect()?)?;
        if fence.generation > holder.generation {
            return Ok(Some(Outcome::Fenced { by: fence.generation }));
        }
        self.end_other_sessions()?;
        Ok(None)
    }
}

impl Warehouse for Redshift {
    fn init(&mut self, fence_id: &str) -> Result<Vec<String>> {
        let mut tries = 0;
        loop {
            tries += 1;
            let mut session = self.connect()?;
            session.limit(self.settings.statement_timeout)?;
            match self.tables.make(&mut session, fence_id) {
                // A rival made them at the same time: then some are there, and we add what is still missing.
                Err(e) if e.happened == Happened::No && tables::rival_made_it(&e) && tries < INIT_TRIES => {
                    std::thread::sleep(INIT_PAUSE * tries);
                }
                other => return other,
            }
        }
    }

    fn acquire(&mut self, nonce: &Nonce, admit: Admit<'_>) -> Result<AcquireOutcome> {
        (self.nonce, self.generation, self.session) = (Some(nonce.clone()), None, None);
        let since = Instant::now();
        // By itself and before BEGIN: it decides nothing, it only tells later whether somebody else took the fence.
        let seen = self.on_session(|this, session| this.read_fence(session)).map_err(|e| self.no_tables(e))?.generation;
        loop {
            let error = match self.on_session(|this, session| this.try_acquire(session, nonce, admit)) {
                Ok(Ok(acquired)) => {
                    // Sessions from here on say which generation they are of.
                    (self.generation, self.session) = (Some(acquired.holder.generation), None);
                    return Ok(AcquireOutcome::Acquired(acquired));
                }
                Ok(Err(halt)) => return Ok(AcquireOutcome::Halted(halt)),
                Err(error) => error,
            };
            if error.happened == Happened::Unknown || !error.is_retriable() || since.elapsed() > ACQUIRE_WITHIN {
                return Err(error);
            }
            if session::timed_out(&error) {
                self.end_other_sessions()?;
            } else if !session::conflict(&error) {
                // Our session is gone: ended by a rival that did not want to wait for us, or by an outage.
                let now = self.on_session(|this, session| this.read_fence(session))?.generation;
                if now > seen {
                    return Ok(AcquireOutcome::Fenced { by: now });
                }
            }
        }
    }

    fn columns(&mut self, table: &TableName) -> Result<Option<Vec<TargetColumn>>> {
        let mut session = self.connect()?;
        let rows = session
            .run(&format!(
                "SELECT column_name, data_type, character_maximum_length, is_nullable, column_default, numeric_precision, \
                 numeric_scale FROM svv_columns WHERE table_schema = {} AND table_name = {} ORDER BY ordinal_position",
                literal(&table.schema),
                literal(&table.table)
            ))?
            .rows;
        let columns = rows.iter().map(|row| {
            let name = row.text(1)?;
            let numbers: Vec<String> = match name {
                "numeric" => [row.optional(5), row.optional(6)].into_iter().flatten().collect(),
                "character" | "character varying" | "binary varying" => row.optional(2).into_iter().collect(),
                _ => Vec::new(),
            };
            let spelled = if numbers.is_empty() { name.into() } else { format!("{name}({})", numbers.join(",")) };
            let kind = ColumnKind::parse(&spelled).unwrap_or_else(|_| ColumnKind::Other(name.into()));
            Ok(TargetColumn {
                name: row.text(0)?.into(),
                kind,
                not_null: row.text(3)?.eq_ignore_ascii_case("no"),
                has_default: row.optional(4).is_some(),
            })
        });
        let columns: Vec<TargetColumn> = columns.collect::<Result<_>>()?;
        Ok((!columns.is_empty()).then_some(columns))
    }

    fn load(&mut self, load: &Load, progress: &mut dyn FnMut(LoadStep)) -> Result<Outcome> {
        match self.on_session(|this, session| this.try_load(session, load, progress)) {
            Err(e) if session::timed_out(&e) && e.happened == Happened::No => {
                match self.fence_is_stuck(&load.holder)? {
                    Some(outcome) => Ok(outcome),
                    None => Err(e),
                }
            }
            other => other,
        }
    }

    fn resolve(&mut self, holder: &Holder, range: &Range) -> Result<Outcome> {
        self.session = None;
        match self.on_session(|this, session| this.try_resolve(session, holder, range)) {
            Err(e) if session::timed_out(&e) => match self.fence_is_stuck(holder)? {
                Some(outcome) => Ok(outcome),
                None => Err(e),
            },
            other => other,
        }
    }

    fn read_cut(&mut self) -> Result<Cut> {
        let mut session = self.connect()?;
        self.read_cut_in(&mut session)
    }
}
