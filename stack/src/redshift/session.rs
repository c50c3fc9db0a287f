//! One session: a client on one side, a session of its own with PostgreSQL on the other, statement by statement.
//!
//! The proxy answers strictly in turn. While a statement runs or waits for a lock it does not look at its client, so a
//! client that dies leaves its statement running and its locks held until the statement ends: as on the real one.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use bytes::{Buf, Bytes};
use tokio::net::{TcpStream, UnixStream};

use super::{
    accidents::Accident,
    copy::{self, Copy},
    errors::{SqlError, translate},
    shared::Shared,
    sql::{self, Statement},
    wire::{Side, complete, fields, frame, query, ready, row},
};

const TLS_REQUEST: u32 = 80877103;
const GSS_REQUEST: u32 = 80877104;
const CANCEL_REQUEST: u32 = 80877102;

pub(super) struct Session {
    client: Side<TcpStream>,
    server: Side<UnixStream>,
    shared: Arc<Shared>,
    /// PostgreSQL's transaction status: I, T or E.
    status: u8,
    last_copy_id: i64,
    last_copy_count: u64,
    case_sensitive: bool,
}

/// What PostgreSQL answered to one statement.
#[derive(Default)]
pub(super) struct Answer {
    /// Everything but errors, notices and the final "ready", as it came.
    pub(super) frames: Vec<Bytes>,
    /// The error, in Redshift's words.
    pub(super) error: Option<Bytes>,
}

/// Serves one client until it or PostgreSQL hangs up.
pub(super) async fn serve(client: TcpStream, shared: Arc<Shared>) {
    let _ = client.set_nodelay(true);
    let Ok(server) = UnixStream::connect(&shared.socket).await else { return };
    let mut session = Session {
        client: Side::new(client),
        server: Side::new(server),
        shared,
        status: b'I',
        last_copy_id: -1,
        last_copy_count: 0,
        case_sensitive: false,
    };
    // An error here is a side that hung up, and there is nobody left to tell.
    let _ = session.run().await;
}

impl Session {
    async fn run(&mut self) -> io::Result<()> {
        if !self.start_up().await? {
            return Ok(());
        }
        let mut refusing = false; // after an extended-protocol message was refused, until its Sync
        while let Some(message) = self.client.frame(true).await? {
            match message[0] {
                b'Q' => {
                    let sql = String::from_utf8_lossy(&message[5..message.len() - 1]).into_owned();
                    self.statement(&sql).await?;
                }
                b'X' => return Ok(()),
                b'S' => {
                    refusing = false;
                    self.client.send(&ready(self.status)).await?;
                }
                _ if refusing => {}
                _ => {
                    refusing = true;
                    let error = SqlError::not_played("the extended query protocol; send simple queries");
                    self.client.send(&error.to_frame()).await?;
                }
            }
            self.client.flush().await?;
        }
        Ok(())
    }

    /// Start-up and login are PostgreSQL's own. Returns false if the client wanted something else than a session.
    async fn start_up(&mut self) -> io::Result<bool> {
        loop {
            let Some(packet) = self.client.frame(false).await? else { return Ok(false) };
            match (&packet[4..]).get_u32() {
                TLS_REQUEST | GSS_REQUEST => {
                    self.client.send(b"N").await?;
                    self.client.flush().await?;
                }
                CANCEL_REQUEST => {
                    self.server.send(&packet).await?;
                    self.server.flush().await?;
                    return Ok(false);
                }
                _ => {
                    self.server.send(&packet).await?;
                    self.server.flush().await?;
                    break;
                }
            }
        }
        loop {
            tokio::select! {
                message = self.client.frame(true) => {
                    let Some(message) = message? else { return Ok(false) };
                    self.server.send(&message).await?;
                    self.server.flush().await?;
                }
                message = self.server.frame(true) => {
                    let Some(message) = message? else { return Ok(false) };
                    match message[0] {
                        b'E' => self.client.send(&translate(&message)).await?,
                        b'S' if message[5..].starts_with(b"server_version\0") => {
                            self.client.send(&frame(b'S', b"server_version\x008.0.2\0")).await?;
                        }
                        _ => self.client.send(&message).await?,
                    }
                    self.client.flush().await?;
                    if message[0] == b'Z' {
                        return Ok(true);
                    }
                }
            }
        }
    }

    async fn statement(&mut self, sql: &str) -> io::Result<()> {
        let facts = sql::SessionFacts {
            namespace: &self.shared.namespace,
            last_copy_id: self.last_copy_id,
            last_copy_count: self.last_copy_count,
            case_sensitive: self.case_sensitive,
        };
        let decision = sql::classify(sql, facts);
        if let Some(accident) = self.shared.accidents.next(sql) {
            if let Some(error) = accident.to_error() {
                self.refuse(&error).await?;
                return self.client.send(&ready(self.status)).await;
            }
            if let Accident::Instead(sql) = &accident {
                self.relay(sql).await?;
                return self.client.send(&ready(self.status)).await;
            }
            if let Accident::Queue(wait) = accident {
                let waited = self.ask(&format!("SELECT pg_sleep({})", wait.as_secs_f64())).await?;
                if waited.error.is_some() {
                    self.pass_on(waited).await?;
                    return self.client.send(&ready(self.status)).await;
                }
            }
        }
        match decision {
            Err(error) => self.refuse(&error).await?,
            Ok(Statement::Empty) => self.client.send(&frame(b'I', b"")).await?,
            Ok(Statement::Ignored(tag)) => self.client.send(&complete(tag)).await?,
            Ok(Statement::Begin) if self.status != b'I' => self.client.send(&complete("BEGIN")).await?,
            Ok(Statement::Begin) => self.relay("BEGIN ISOLATION LEVEL REPEATABLE READ").await?,
            Ok(Statement::Commit) if self.status == b'I' => self.client.send(&complete("COMMIT")).await?,
            Ok(Statement::Commit) => self.relay("COMMIT").await?,
            Ok(Statement::Rollback) if self.status == b'I' => self.client.send(&complete("ROLLBACK")).await?,
            Ok(Statement::Rollback) => self.relay("ROLLBACK").await?,
            Ok(Statement::Plain(sql)) => self.relay(&sql).await?,
            Ok(Statement::Declare(sql)) => self.declare(&sql).await?,
            Ok(Statement::CaseSensitive(on)) => {
                self.case_sensitive = on;
                self.client.send(&complete("SET")).await?;
            }
            Ok(Statement::Made { create, then }) => {
                let made = self.ask(&create).await?;
                let after = if made.error.is_some() { Answer::default() } else { self.ask(&then).await? };
                self.pass_on(Answer { error: made.error.or(after.error), ..made }).await?;
            }
            Ok(Statement::Resize { table, column, bytes }) => self.resize(&table, &column, bytes).await?,
            Ok(Statement::Commits(sql)) => {
                self.relay(&sql).await?;
                if self.status == b'T' {
                    self.ask("COMMIT").await?;
                }
            }
            Ok(Statement::Locking { table, sql }) => self.locking(&table, &sql).await?,
            Ok(Statement::Copy(statement)) => self.copy(&statement).await?,
        }
        self.client.send(&ready(self.status)).await
    }

    /// The error goes to the client, and inside a block it ends the block, as any error does.
    async fn refuse(&mut self, error: &SqlError) -> io::Result<()> {
        self.client.send(&error.to_frame()).await?;
        if self.status == b'T' {
            self.ask("SELECT 1/0").await?;
        }
        Ok(())
    }

    /// Runs a statement and passes on what PostgreSQL says.
    async fn relay(&mut self, sql: &str) -> io::Result<()> {
        let answer = self.ask(sql).await?;
        self.pass_on(answer).await
    }

    async fn pass_on(&mut self, answer: Answer) -> io::Result<()> {
        for frame in &answer.frames {
            self.client.send(frame).await?;
        }
        if let Some(error) = &answer.error {
            self.client.send(error).await?;
        }
        Ok(())
    }

    /// A session of Redshift has one cursor at a time.
    async fn declare(&mut self, sql: &str) -> io::Result<()> {
        let open = self.ask("SELECT 1 FROM pg_cursors").await?;
        match open.frames.iter().any(|frame| frame[0] == b'D') {
            true => self.refuse(&SqlError::new("0A000", "Multiple cursors in one transaction not supported")).await,
            false => self.relay(sql).await,
        }
    }

    /// Runs a statement for ourselves.
    pub(super) async fn ask(&mut self, sql: &str) -> io::Result<Answer> {
        self.server.send(&query(sql)).await?;
        self.server.flush().await?;
        self.collect().await
    }

    async fn collect(&mut self) -> io::Result<Answer> {
        let mut answer = Answer::default();
        loop {
            let Some(message) = self.server.frame(true).await? else {
                // PostgreSQL hung up: the session was ended. Its last word goes on to the client.
                if let Some(error) = answer.error {
                    self.client.send(&error).await?;
                    self.client.flush().await?;
                }
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            match message[0] {
                b'Z' => {
                    self.status = message[5];
                    return Ok(answer);
                }
                b'E' => answer.error = Some(translate(&message)),
                b'N' | b'S' => {}
                // SELECT's tag has no count on Redshift.
                b'C' if message[5..].starts_with(b"SELECT") => answer.frames.push(complete("SELECT")),
                b'G' => return Ok(answer),
                _ => answer.frames.push(message),
            }
        }
    }

    /// Takes the table's write lock first. LOCK takes no snapshot in PostgreSQL, so the statement's comes after the wait.
    async fn locking(&mut self, table: &str, sql: &str) -> io::Result<()> {
        let alone = self.status == b'I';
        if alone {
            self.ask("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
        }
        let locked = self.ask(&format!("LOCK TABLE {table} IN EXCLUSIVE MODE")).await?;
        let answer =
            if locked.error.is_some() { Answer { frames: Vec::new(), ..locked } } else { self.ask(sql).await? };
        let failed = answer.error.is_some();
        self.pass_on(answer).await?;
        if alone {
            self.ask(if failed { "ROLLBACK" } else { "COMMIT" }).await?;
        }
        Ok(())
    }

    /// ALTER COLUMN TYPE, with Redshift's conditions.
    /// <https://docs.aws.amazon.com/redshift/latest/dg/r_ALTER_TABLE.html>
    async fn resize(&mut self, table: &str, column: &str, bytes: u64) -> io::Result<()> {
        if self.status != b'I' {
            let error = SqlError::new("0A000", "ALTER TABLE ALTER COLUMN cannot run inside a transaction block");
            return self.refuse(&error).await;
        }
        let literal = |text: &str| text.replace('\\', "\\\\").replace('\'', "''");
        let found = self
            .rows(&format!(
                "SELECT a.atttypmod - 4, a.atthasdef FROM pg_attribute a WHERE a.attrelid = to_regclass('{}') \
                 AND a.attname = '{}' AND a.atttypid = 'varchar'::regtype",
                literal(table),
                literal(column)
            ))
            .await?;
        let refused = match found.as_deref() {
            Err(error) => Some(error.clone()),
            Ok([row]) if row[0].as_deref() == Some(&bytes.to_string()) => Some(SqlError::new(
                "0A000",
                format!(
                    "cannot alter column \"{column}\" of relation \"{table}\", target column size should be different"
                ),
            )),
            Ok([row]) if row[1].as_deref() == Some("t") => {
                Some(SqlError::new("0A000", format!("cannot alter type of column \"{column}\", which has a default")))
            }
            Ok([_]) => None,
            Ok(_) => Some(SqlError::new("0A000", format!("cannot alter type of column \"{column}\""))),
        };
        match refused {
            Some(error) => self.refuse(&error).await,
            None => {
                let column = column.replace('"', "\"\"");
                self.relay(&format!("ALTER TABLE {table} ALTER COLUMN \"{column}\" TYPE varchar({bytes})")).await
            }
        }
    }

    /// Rows of a query of our own. An error is passed as Redshift would say it.
    pub(super) async fn rows(&mut self, sql: &str) -> io::Result<Result<Vec<Vec<Option<String>>>, SqlError>> {
        let answer = self.ask(sql).await?;
        if let Some(error) = answer.error {
            let message =
                fields(&error).into_iter().find(|(l, _)| *l == b'M').map(|(_, text)| text).unwrap_or_default();
            return Ok(Err(SqlError::internal(message, 8001, "")));
        }
        Ok(Ok(answer.frames.iter().filter(|f| f[0] == b'D').map(|f| row(f)).collect()))
    }

    /// Runs COPY as COPY FROM STDIN on the same PostgreSQL session, so it is part of the client's transaction.
    async fn copy(&mut self, statement: &Copy) -> io::Result<()> {
        if self.status == b'E' {
            let error = "current transaction is aborted, commands ignored until end of transaction block";
            return self.client.send(&SqlError::new("25P02", error).to_frame()).await;
        }
        let alone = self.status == b'I';
        if alone {
            self.ask("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
        }
        let columns = match statement.check_role() {
            Ok(()) => self.rows(&statement.columns_query()).await?,
            Err(error) => Err(error),
        };
        let prepared = match columns {
            Ok(columns) => copy::prepare(&self.shared, statement, &columns).await,
            Err(error) => Err(error),
        };
        let error = match prepared {
            // Refused before it loads anything: the last id and count stay as they were.
            Err(error) => {
                if self.status == b'T' {
                    self.ask("SELECT 1/0").await?;
                }
                Some(error.to_frame())
            }
            Ok(prepared) => {
                let outcome = self.load(&prepared).await?;
                self.last_copy_id = self.shared.copy_ids.fetch_add(1, Ordering::Relaxed) + 1;
                self.last_copy_count = *outcome.as_ref().unwrap_or(&0);
                outcome.err()
            }
        };
        let failed = error.is_some();
        if alone {
            self.ask(if failed { "ROLLBACK" } else { "COMMIT" }).await?;
        }
        match error {
            Some(error) => self.client.send(&error).await,
            None => {
                let said = format!(
                    "SINFO\0VINFO\0C00000\0MLoad into table '{}' completed, {} record(s) loaded successfully.\0\0",
                    statement.table_name(),
                    self.last_copy_count
                );
                self.client.send(&frame(b'N', said.as_bytes())).await?;
                self.client.send(&complete("COPY")).await
            }
        }
    }

    /// Feeds the files to PostgreSQL. The count of rows, or what went wrong.
    async fn load(&mut self, prepared: &copy::Prepared) -> io::Result<Result<u64, Bytes>> {
        let opened = self.ask(&prepared.copy_from_stdin).await?;
        if let Some(error) = opened.error {
            return Ok(Err(error));
        }
        let mut failed = None;
        for file in &prepared.files {
            let text = match copy::read(&self.shared, file, &prepared.columns).await {
                Ok(text) => text,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            };
            for piece in text.chunks(1 << 18) {
                self.server.send(&frame(b'd', piece)).await?;
            }
        }
        let end = if failed.is_some() { frame(b'f', b"stopped\0") } else { frame(b'c', b"") };
        self.server.send(&end).await?;
        self.server.flush().await?;
        let answer = self.collect().await?;
        Ok(match (failed, answer.error) {
            (Some(error), _) => Err(error.to_frame()),
            (None, Some(error)) => Err(error),
            // The table's word, not ours: "COPY 100".
            (None, None) => Ok(answer.frames.iter().find_map(copied).unwrap_or(0)),
        })
    }
}

/// The rows of a COPY by the tag that ends it.
fn copied(frame: &Bytes) -> Option<u64> {
    let tag = frame.strip_prefix(b"C")?.get(4..)?.strip_prefix(b"COPY ")?;
    std::str::from_utf8(tag).ok()?.trim_end_matches('\0').parse().ok()
}
