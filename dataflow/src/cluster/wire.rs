//! What processes say to each other before the engine takes over, and who is let in.
//!
//! A message is the mark, four bytes of length, and JSON: rare, small, and readable in a dump. The mark names the version of
//! all that two processes must have in common, so a program of another version is refused by its first bytes.

use std::io::{self, ErrorKind, Read, Result, Write};

use operators::places::Place;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::{Code, CodedError};

/// The first bytes of every message.
const MARK: &[u8; 12] = b"tidegate-2\r\n";
/// The longest first message, from whoever it may be.
pub const HELLO_BYTES: usize = 64 << 10;
/// The longest message of a process that is known.
pub const WELCOME_BYTES: usize = 64 << 20;

/// Who connects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its program.
    pub version: String,
    /// Its job.
    pub job: String,
    /// What its job file means, as a hash.
    pub meaning: String,
    /// Its place.
    pub process: usize,
    /// How many processes it knows of.
    pub processes: usize,
    /// How many workers it has.
    pub workers: usize,
    /// The start that it belongs to, once it knows.
    pub start: Option<StartId>,
}

/// Names a start; its nonce is known to the processes of that start alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartId {
    /// Its generation.
    pub generation: u64,
    /// Its nonce.
    pub nonce: String,
}

/// What process 0 answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// Come in.
    Welcome(Box<Welcome>),
    /// Stay out, and why.
    Refused(String),
    /// There will be no start, and why.
    Ended(Exit),
}

/// The exit code and the reason with which a process ends, as it tells the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Which one.
    pub process: usize,
    /// Its code: `TG-` and four digits.
    pub code: String,
    /// Its own words.
    pub what: String,
}

impl Exit {
    /// What a process says that ends with this error.
    pub fn of(process: usize, error: &CodedError) -> Exit {
        let shown = error.command().map(|command| format!("the way out of it: {command}"));
        let mut what = [vec![error.line()], shown.into_iter().collect()].concat();
        what.retain(|words| !words.is_empty());
        Exit { process, code: error.code.id().into(), what: what.join(": ") }
    }

    /// With what whoever hears it ends: with the same where that needs a person, because to start again is of no use to anybody;
    /// else because a process is gone.
    pub fn error(&self) -> CodedError {
        let Exit { process, code, what } = self;
        match Code::ALL.iter().find(|known| known.id() == code) {
            Some(same) if needs_a_person(*same) => CodedError::new(*same, format!("process {process} ended: {what}")),
            _ => CodedError::new(Code::PeerLost, format!("process {process} ended with {code}: {what}")),
        }
    }
}

/// Whether no start of any process helps.
pub fn needs_a_person(code: Code) -> bool {
    (20..=24).contains(&code.exit_code())
}

/// Everything that a start is.
#[derive(Debug, Serialize, Deserialize)]
pub struct Welcome {
    /// The start to which all belong.
    pub start: StartId,
    /// The fence id of the control tables.
    pub fence_id: String,
    /// The first epoch.
    pub next_epoch: u64,
    /// All partitions, and where they are read from.
    pub places: Vec<Place>,
    /// The columns of every table of the job, as process 0 read them.
    pub tables: Vec<Table>,
    /// Hash of the plan that came out of it.
    pub plan: String,
}

/// A table, as the catalog has it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Table {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// Its columns.
    pub columns: Vec<Column>,
}

/// A column of a table.
#[derive(Debug, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as SQL.
    pub kind: String,
    /// Whether it refuses NULL.
    pub not_null: bool,
    /// Whether it has a default.
    pub has_default: bool,
    /// Whether the warehouse alone numbers it.
    pub is_identity: bool,
}

/// From each process to process 0: it has all its sockets. From process 0 to each: all have.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready;

/// Why a peer stays out. Pure: `us` is what a process in its place would have to say, but for the place.
pub fn refuse(us: &Hello, peer: &Hello) -> Option<String> {
    let differs = |what: &str, ours: &dyn std::fmt::Display, theirs: &dyn std::fmt::Display| {
        Some(format!("its {what} is {theirs}, and here it is {ours}"))
    };
    if peer.job != us.job {
        return differs("job", &us.job, &peer.job);
    }
    if peer.version != us.version {
        return differs("program", &us.version, &peer.version);
    }
    if peer.meaning != us.meaning {
        return Some("its job file means something else than the one here: give all processes the same file".into());
    }
    if (peer.processes, peer.workers) != (us.processes, us.workers) {
        let say = |hello: &Hello| format!("{} processes of {} workers", hello.processes, hello.workers);
        return differs("cluster", &say(us), &say(peer));
    }
    if peer.start != us.start {
        return Some("it belongs to another start".into());
    }
    if peer.process <= us.process || peer.process >= us.processes {
        return Some(format!("process {} does not connect to process {}", peer.process, us.process));
    }
    None
}

/// Writes a message.
pub fn write(to: &mut impl Write, message: &impl Serialize) -> Result<()> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).map_err(|_| {
        io::Error::new(ErrorKind::InvalidData, format!("a message of {} bytes is too long", body.len()))
    })?;
    let whole = [MARK.as_slice(), &length.to_be_bytes(), &body].concat();
    to.write_all(&whole)?;
    to.flush()
}

/// Reads a message of at most so many bytes.
pub fn read<M: DeserializeOwned>(from: &mut impl Read, most: usize) -> Result<M> {
    let mut head = [0; MARK.len() + 4];
    from.read_exact(&mut head)?;
    let (mark, length) = head.split_at(MARK.len());
    if mark != MARK {
        return Err(io::Error::new(
            ErrorKind::InvalidData,
            concat!("what connected is not Tidegate ", env!("CARGO_PKG_VERSION")),
        ));
    }
    let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    if length > most {
        return Err(io::Error::new(
            ErrorKind::InvalidData,
            format!("a message of {length} bytes is longer than {most}"),
        ));
    }
    let mut body = Vec::new();
    from.take(length as u64).read_to_end(&mut body)?;
    serde_json::from_slice(&body).map_err(|e| io::Error::new(ErrorKind::InvalidData, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(process: usize) -> Hello {
        let (version, job, meaning) = ("0.1.0".into(), "clicks".into(), "abc".into());
        Hello { version, job, meaning, process, processes: 3, workers: 2, start: None }
    }

    #[test]
    fn whoever_differs_stays_out() {
        let us = hello(0);
        assert_eq!(refuse(&us, &hello(1)), None);
        let start = Some(StartId { generation: 1, nonce: "n".into() });
        for (peer, why) in [
            (Hello { job: "orders".into(), ..hello(1) }, "its job is orders, and here it is clicks"),
            (Hello { version: "0.2.0".into(), ..hello(1) }, "its program is 0.2.0"),
            (Hello { meaning: "x".into(), ..hello(1) }, "give all processes the same file"),
            (Hello { processes: 2, ..hello(1) }, "its cluster is 2 processes of 2 workers"),
            (Hello { workers: 1, ..hello(1) }, "its cluster is 3 processes of 1 workers"),
            (Hello { start, ..hello(1) }, "it belongs to another start"),
            (hello(0), "process 0 does not connect to process 0"),
            (hello(3), "process 3 does not connect to process 0"),
        ] {
            let said = refuse(&us, &peer).unwrap_or_default();
            assert!(said.contains(why), "{why}: {said}");
        }
    }

    #[test]
    fn only_messages_are_read() {
        let mut bytes = Vec::new();
        write(&mut bytes, &hello(1)).unwrap();
        assert_eq!(read::<Hello>(&mut bytes.as_slice(), HELLO_BYTES).unwrap(), hello(1));
        let said = |bytes: &[u8]| read::<Hello>(&mut &*bytes, HELLO_BYTES).unwrap_err().to_string();
        assert!(said(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").contains("what connected is not Tidegate"));
        assert!(said(&[MARK.as_slice(), &[0xff; 4]].concat()).contains("a message of 4294967295 bytes"));
        for end in 0..bytes.len() {
            assert!(read::<Hello>(&mut &bytes[..end], HELLO_BYTES).is_err(), "{end}");
        }
    }
}
