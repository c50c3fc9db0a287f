//! The catalogue of errors: each has a code, a title, a cause, a remedy, and an exit code that a supervisor can act on.

use std::{error::Error as StdError, fmt};

use checkpoint::protocol::Halt;
use connectors::Fault;
use operators::{Failure, ending::Ending};

use crate::state::State;

macro_rules! catalogue {
    ($($name:ident $code:literal exit $exit:literal $title:literal cause $cause:literal remedy $remedy:literal;)*) => {
        /// What went wrong, as a code that never changes its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $(#[doc = $title] $name,)* }

        impl Code {
    /// What a process that ended with it has become.
    pub fn state(self) -> State {
        match self.exit_code() {
            20 => State::Fenced,
            21..=29 => State::Halted,
            _ => State::Stopped,
        }
    }

            /// All of them.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// `TG-` and four digits.
            pub fn id(self) -> &'static str {
                match self { $(Code::$name => $code,)* }
            }

            /// The title: the fault in a few words.
            pub fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)* }
            }

            /// How it comes about.
            pub fn cause(self) -> &'static str {
                match self { $(Code::$name => $cause,)* }
            }

            /// What to do.
            pub fn remedy(self) -> &'static str {
                match self { $(Code::$name => $remedy,)* }
            }

            /// What the process ends with.
            pub fn exit_code(self) -> u8 {
                match self { $(Code::$name => $exit,)* }
            }
        }
    };
}

catalogue! {
    Bug "TG-0001" exit 1 "a bug in Tidegate"
        cause "The program came into a state that it excludes." remedy "Please report it, with the whole output.";
    Machine "TG-0002" exit 1 "the machine refused what a process needs"
        cause "The operating system has no thread, file descriptor, process, port or signal left for this program, or its standard output is closed or full." remedy "Look at the limits of the user and of the container, then start again.";
    Usage "TG-1000" exit 2 "the command line is not understood"
        cause "An argument has a value that it cannot have." remedy "Call the command with --help.";
    JobFile "TG-1001" exit 3 "the job file cannot be used"
        cause "It cannot be read; or a key is unknown, missing, or has a value that it cannot have; or a variable, a secret or a file that it names is not there." remedy "Mend the places that are shown; where the file cannot be read, give the path of a job file.";
    Names "TG-1002" exit 3 "the job names something that does not exist"
        cause "A topic, table, column or bucket of the job file is not there, or not visible to the user." remedy "Correct the name, create it, or grant the right to see it.";
    Mismatch "TG-1010" exit 3 "what answers is not as the job file says"
        cause "Something answers at an address and is not what the job file says: with or without TLS, with a certificate that is not trusted, in another region, or a pooler in the place of Redshift." remedy "Write what the message says in the job file, or mend what answers there.";
    NoTables "TG-1003" exit 3 "the job has no control tables"
        cause "The control tables of the job were not made yet, or are in another schema." remedy "Run `tidegate init` with the job file, or correct `schema` in [redshift].";
    OtherTables "TG-1006" exit 3 "the control tables are not of this program"
        cause "Some of them are missing, or they have no version row, or one of another format: an older program made them, or somebody removed one." remedy "Restore what is missing. Tables of an older program, or of another one: drop them, or give the job another name.";
    Target "TG-1004" exit 3 "the query does not fit the target table"
        cause "A selected column is not in the table, has a type that cannot be loaded, is numbered by Redshift alone, or a required one is not selected." remedy "Change the query or the table.";
    NotATable "TG-1008" exit 3 "the target is not a table that can be filled"
        cause "It is a view, a late-binding or materialized view, or an external table: COPY fills none of them." remedy "Name the table that is to be filled: the one that the view reads, or a new one.";
    Findings "TG-1005" exit 4 "something is not as it should be"
        cause "`check` found what is in the way of the job, or `verify` what its promise excludes; it is listed above." remedy "Each finding of `check` names its remedy. For `verify`, find out who changed the tables: `--sql` prints the statements, and rows that others write to a target are warnings with `--edited`.";
    LoadedTwice "TG-1009" exit 4 "another job loads the same topic into the same table"
        cause "The control tables of another job say that it reads a topic of this one and fills the same table, so that each record comes twice." remedy "Keep one of the two jobs. If the other one will never run again, drop its control tables.";
    Unconfirmed "TG-1007" exit 4 "nothing was decided"
        cause "What the decision would do is shown above." remedy "Run the same command with --yes, if that is what is meant.";
    Unreachable "TG-2001" exit 5 "another system is not available"
        cause "Kafka, S3 or Redshift cannot be reached, did not answer in time, or answered with an error that may pass." remedy "Check addresses, network and that it runs; then start again.";
    Denied "TG-2002" exit 6 "not allowed"
        cause "Credentials are wrong or a right is missing." remedy "Check user, password, keys and role; the message names what was asked for.";
    Outage "TG-2003" exit 12 "an outage outlasted its deadline"
        cause "Another system failed for longer than Tidegate waits." remedy "Start again once the other system answers; nothing is lost.";
    Drain "TG-2004" exit 12 "the job could not be drained in time"
        cause "After the signal to stop, the open epoch was not loaded before the deadline." remedy "Start again; the epoch is read anew.";
    Refused "TG-2005" exit 22 "another system refused a request"
        cause "A statement or a request failed in a way that repeating it would not change." remedy "Read the message, which names what was refused; mend what it says, and start again.";
    NotMet "TG-2201" exit 10 "the processes of the cluster did not meet"
        cause "A process did not come in time, cannot be reached, or is of another job, job file, program or count." remedy "Start all processes with the same job file, program and `--hosts`; a supervisor may start this one again.";
    PeerLost "TG-2202" exit 11 "another process of the cluster is gone"
        cause "It ended, was silent for 20 s, a worker of it stood still for two minutes, or the connection to it broke. All processes end then: what was not loaded is read again." remedy "Start all processes again; that one's own words say why it ended.";
    Grew "TG-2101" exit 13 "the source grew"
        cause "A topic has more partitions than when the job started." remedy "Start again: the new partitions are read from their beginning.";
    TablesChanged "TG-2102" exit 13 "a target was changed while the job ran"
        cause "A table has other columns than when the job started: one is longer, shorter, of another type, new and required, or gone." remedy "Start again: the columns are taken as they are then. If one is gone that the query fills, mend the query or the table first.";
    Fenced "TG-3001" exit 20 "another process has taken over"
        cause "A newer start of the same job holds the fence." remedy "Nothing, if that was meant. Else find out who started the job a second time.";
    Running "TG-3002" exit 20 "a process of the job may be running"
        cause "It holds the fence and has a session open in Redshift; or Redshift does not show sessions, and nobody said that none runs." remedy "Stop it first. If it is gone and its session is not, wait until Redshift ends the session, or end it with `SELECT pg_terminate_backend(PID)`. `run --take-over` does not wait.";
    SourceReplaced "TG-3101" exit 21 "the topic is another one"
        cause "A topic or partition that was read before is gone, or was made anew under the same name." remedy "If the new topic is to be read on under this name, run the command that is shown: it says what it will do. Else load it under another job name. A topic that is gone for good: take it out of the job file.";
    RecordsLost "TG-3102" exit 21 "records were deleted before they were loaded"
        cause "Retention removed offsets that the manifest has not reached." remedy "Lengthen retention. If the missing range may be passed over, run the command that is shown.";
    Damaged "TG-3104" exit 21 "a batch of the log is damaged"
        cause "Its checksum is wrong, or its compression or form cannot be read, also when it was fetched again. What came before it is loaded." remedy "Restore it from a replica that has it whole. If the range may be passed over, run the command that is shown.";
    LogRewritten "TG-3103" exit 21 "the log is not the one that was loaded"
        cause "The log was cut off or written anew below the loaded offsets, as by an unclean leader election." remedy "Find out what was lost. If the log as it is now is to be read on, run the command that is shown.";
    Tables "TG-3201" exit 22 "the control tables do not add up"
        cause "A row of the fence, the manifest or the offsets was changed or removed by somebody else." remedy "Restore the tables to what they were; nothing was changed.";
    OtherDatabase "TG-3202" exit 22 "the control tables belong to another database"
        cause "The database is a restored or cloned copy, whose original may still be loading." remedy "If the copy is to be loaded too, run the command that is shown: it goes on from the cut that was copied, and leaves the original alone.";
    Witness "TG-3205" exit 22 "the control tables are not the ones that this job had"
        cause "They were dropped and made anew, or restored to an earlier moment: what was loaded since would be loaded again." remedy "Restore tables and targets to the same moment, or make both empty; then run the command that is shown, which keeps the cut that the tables have now.";
    CopyMismatch "TG-3203" exit 22 "COPY did not load what was written"
        cause "The count of loaded rows is not that of the files." remedy "Nothing was changed. Please report it, with the whole output.";
    NotWhole "TG-3204" exit 22 "an epoch is not whole"
        cause "Files, counts or offsets of an epoch are missing or contradict each other." remedy "Nothing was changed. Please report it, with the whole output.";
    BadRecord "TG-4001" exit 23 "a record cannot be loaded"
        cause "It does not decode, or a value does not fit into its column, and the job file says `reject = \"halt\"`." remedy "Mend the record's producer, the declared columns or the table; or let such records become dead letters.";
    TooManyBadRecords "TG-4002" exit 23 "too many records cannot be loaded"
        cause "The share of records that became dead letters is above `halt_above`; nothing of the open epoch was loaded." remedy "Mend the record's producer, the declared columns or the table; or raise the limit.";
    Rejected "TG-4003" exit 4 "more records were rejected than a run may reject"
        cause "The share of a target's records that became dead letters in a run with `--until-caught-up` is above `--max-rejected`, which is 50 % unless said otherwise. What was read is loaded and positions have moved: the next start does not read these records again." remedy "`tidegate dead-letters` shows them, each with its reason. Of what does not decode or does not fit, `tidegate check` names the line to write; of what fails in the query it names the column and the reason, and the query is yours to mend. Mend the columns, the query or the table, and load them under another job name; or allow more with --max-rejected.";
}

/// A code as `explain --json` gives it. Names stay what they are.
#[derive(serde::Serialize)]
pub struct CodeLine {
    code: &'static str,
    title: &'static str,
    cause: &'static str,
    remedy: &'static str,
    exit_code: u8,
    state: &'static str,
}

impl Code {
    /// All that there is to say about it, as data.
    pub fn line(self) -> CodeLine {
        CodeLine {
            code: self.id(),
            title: self.title(),
            cause: self.cause(),
            remedy: self.remedy(),
            exit_code: self.exit_code(),
            state: self.state().name(),
        }
    }

    /// The first line of its messages, and of what is said about it.
    pub fn headline(self) -> String {
        format!("error[{}]: {}", self.id(), self.title())
    }

    /// All that there is to say about it, as Markdown.
    pub fn explained(self) -> String {
        format!(
            "{}\n\n{}\n\n**Remedy**: {}\n\nExit code {}.\n",
            self.headline(),
            self.cause(),
            self.remedy(),
            self.exit_code()
        )
    }
}

/// An error of the program: its code, and what led to it.
#[derive(Debug)]
pub struct CodedError {
    /// Its code.
    pub code: Code,
    /// This one, in particular.
    pub what: String,
    /// What led to it.
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The job file of this process, for the commands that messages show.
static JOB_FILE: std::sync::OnceLock<String> = std::sync::OnceLock::new();

/// Messages show commands with this job file from here on.
pub fn set_job_file(path: &str) {
    let _ = JOB_FILE.set(path.into()); // a process has one
}

/// The command that shows the dead letters of the job.
pub fn dead_letters_command() -> String {
    let file = JOB_FILE.get().map_or("JOB.toml", String::as_str);
    format!("tidegate dead-letters {}", quoted(file))
}

/// [`CodedError`] unless said otherwise.
pub type Result<T, E = CodedError> = std::result::Result<T, E>;

impl CodedError {
    /// An error without a cause below it.
    pub fn new(code: Code, what: impl Into<String>) -> CodedError {
        CodedError { code, what: what.into(), source: None }
    }

    /// The operating system refused something.
    pub fn machine(what: impl Into<String>, error: std::io::Error) -> CodedError {
        CodedError { code: Code::Machine, what: what.into(), source: Some(Box::new(error)) }
    }

    /// The error of a question to the control tables: where something is missing, the tables are.
    pub fn of_tables(error: connectors::Error) -> CodedError {
        match error.fault {
            Fault::Missing => CodedError { code: Code::NoTables, ..error.into() },
            _ => error.into(),
        }
    }

    /// As it is printed once, at the end.
    pub fn render(&self) -> String {
        self.rendered(false)
    }

    /// The same with all that led to it.
    pub fn render_whole(&self) -> String {
        self.rendered(true)
    }

    fn rendered(&self, whole: bool) -> String {
        let mut text = self.code.headline() + "\n";
        let Told { line, below } = self.told();
        if !line.is_empty() {
            text += &format!("  {}\n", line.trim_end().replace('\n', "\n  "));
        }
        if whole {
            below.iter().for_each(|cause| text += &format!("  because: {cause}\n"));
        }
        text += &format!("  remedy: {}\n", self.remedy());
        if let Some(command) = self.command() {
            text += &format!("  command: {command}\n");
        }
        text
    }

    /// The command by which a person decides that the job goes on all the same; `None` where there is none.
    pub fn command(&self) -> Option<String> {
        let file = JOB_FILE.get().map_or("JOB.toml", String::as_str);
        self.chain().find_map(|error| error.downcast_ref::<Halt>()).and_then(|halt| way_out(halt, file))
    }

    /// What happened, in one line.
    pub fn line(&self) -> String {
        self.told().line
    }

    /// What led to it below that line, the nearest first.
    pub fn below(&self) -> Vec<String> {
        self.told().below
    }

    /// What to do: about this one in particular, if that is known.
    pub fn remedy(&self) -> String {
        let own = self.chain().find_map(|error| error.downcast_ref::<connectors::Error>()?.remedy.clone());
        own.unwrap_or_else(|| self.code.remedy().into())
    }

    fn chain(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        let mut next = self.source();
        std::iter::from_fn(move || {
            let error = next?;
            next = error.source();
            Some(error)
        })
    }

    /// What another system said is a line by itself, and what led to that is below it. Nothing is told twice.
    fn told(&self) -> Told {
        let (mut line, mut below, mut is_whole) = (self.what.clone(), Vec::<String>::new(), false);
        for error in self.chain() {
            let text = error.to_string();
            match is_whole {
                _ if line.contains(&text) || below.iter().any(|told| told.contains(&text)) => {}
                true => below.push(text),
                false if line.is_empty() => line = text,
                false => line += &format!(": {text}"),
            }
            is_whole |= error.is::<connectors::Error>();
        }
        Told { line, below }
    }
}

/// What is said of an error.
struct Told {
    line: String,
    below: Vec<String>,
}

impl fmt::Display for CodedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.code.id(), self.code.title(), self.line())
    }
}

impl StdError for CodedError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

/// What a person may decide after a halt, as a command.
fn way_out(halt: &Halt, file: &str) -> Option<String> {
    let file = quoted(file);
    let place = |p: &checkpoint::TopicPartition| format!("{}/{}", p.topic, p.partition);
    Some(match halt {
        Halt::RecordsLost { partition, from, to } | Halt::Damaged { partition, from, to, .. } => {
            format!("tidegate accept-loss {file} --partition {} --from {from} --to {to}", place(partition))
        }
        Halt::TopicReplaced { topic, .. } => format!("tidegate accept-new-source {file} --topic {topic}"),
        Halt::PartitionGone(partition) => format!("tidegate accept-new-source {file} --topic {}", partition.topic),
        // What stands there now has other offsets than what was loaded, or the same ones: it is read on where both agree.
        Halt::Truncated { partition, .. } | Halt::Rewritten { partition, .. } => {
            format!("tidegate accept-new-source {file} --topic {} --keep-offsets", partition.topic)
        }
        Halt::OtherDatabase { .. } | Halt::Witness(_) => format!("tidegate init {file} --adopt"),
        Halt::Tables(_)
        | Halt::CopyIdle { .. }
        | Halt::CopyCount { .. }
        | Halt::ReadTwice { .. }
        | Halt::TopicGone(_)
        | Halt::NotWhole { .. } => return None,
    })
}

/// A path for a shell.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c);
    if !path.is_empty() && path.chars().all(plain) {
        return path.into();
    }
    format!("'{}'", path.replace('\'', r"'\''"))
}

/// The code of a fault of another system. One that may pass has the code that the caller says: whether it was waited for.
fn code_of(fault: Fault, away: Code) -> Code {
    match fault {
        Fault::Outage | Fault::Strange | Fault::TooLong => away,
        Fault::Denied => Code::Denied,
        Fault::Settings => Code::JobFile,
        Fault::Mismatch => Code::Mismatch,
        Fault::Missing | Fault::NoDatabase => Code::Names,
        Fault::Damaged { .. } => Code::Damaged,
        Fault::Refused => Code::Refused,
        Fault::Foreign => Code::OtherTables,
        Fault::Corrupt => Code::Tables,
        Fault::Machine => Code::Machine,
        Fault::Bug => Code::Bug,
    }
}

/// For errors of a port before the job runs, when nobody waits for an outage to end.
impl From<connectors::Error> for CodedError {
    fn from(error: connectors::Error) -> CodedError {
        // A port that found what breaks the promise says so by the halt itself.
        let halt = error.source.as_ref().and_then(|source| source.downcast_ref::<Halt>());
        let code = halt.map_or_else(|| code_of(error.fault, Code::Unreachable), code_of_halt);
        CodedError { code, what: String::new(), source: Some(Box::new(error)) }
    }
}

fn code_of_halt(halt: &Halt) -> Code {
    match halt {
        Halt::OtherDatabase { .. } => Code::OtherDatabase,
        Halt::Tables(_) => Code::Tables,
        Halt::Witness(_) => Code::Witness,
        Halt::TopicGone(_) | Halt::TopicReplaced { .. } | Halt::PartitionGone(_) => Code::SourceReplaced,
        Halt::RecordsLost { .. } => Code::RecordsLost,
        Halt::Damaged { .. } => Code::Damaged,
        Halt::Truncated { .. } | Halt::Rewritten { .. } => Code::LogRewritten,
        Halt::CopyIdle { .. } | Halt::CopyCount { .. } => Code::CopyMismatch,
        Halt::ReadTwice { .. } | Halt::NotWhole { .. } => Code::NotWhole,
    }
}

impl From<Halt> for CodedError {
    fn from(halt: Halt) -> CodedError {
        let code = code_of_halt(&halt);
        CodedError { code, what: String::new(), source: Some(Box::new(halt)) }
    }
}

/// The error of a job that has drained because it cannot be read on.
impl From<Ending> for CodedError {
    fn from(ending: Ending) -> CodedError {
        match ending.halt() {
            None if matches!(ending, Ending::TablesChanged { .. }) => {
                CodedError::new(Code::TablesChanged, ending.to_string())
            }
            None => CodedError::new(Code::Grew, ending.to_string()),
            Some(halt) => halt.into(),
        }
    }
}

/// The error of a failure while the job runs.
impl From<Failure> for CodedError {
    fn from(failure: Failure) -> CodedError {
        let code = match &failure {
            Failure::Fenced { .. } => Code::Fenced,
            Failure::PeerLost { .. } => Code::PeerLost,
            Failure::BadRecord { .. } => Code::BadRecord,
            Failure::TooManyBadRecords { .. } => Code::TooManyBadRecords,
            Failure::TablesChanged { .. } => Code::TablesChanged,
            Failure::Bug(_) => Code::Bug,
            Failure::Halt(_) => {
                let Failure::Halt(halt) = failure else {
                    return CodedError::new(Code::Bug, "a failure that is not a halt");
                };
                return halt.into();
            }
            Failure::Port { source, .. } => code_of(source.fault, Code::Outage),
        };
        CodedError { code, what: String::new(), source: Some(Box::new(failure)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_state() {
        assert_eq!(Code::Fenced.state(), State::Fenced);
        assert_eq!(Code::RecordsLost.state(), State::Halted);
        assert_eq!(Code::Outage.state(), State::Stopped);
    }

    #[test]
    fn codes_are_unique_and_well_formed() {
        let ids: std::collections::BTreeSet<&str> = Code::ALL.iter().map(|c| c.id()).collect();
        assert_eq!(ids.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.id().len() == 7 && code.id()[3..].bytes().all(|b| b.is_ascii_digit()), "{}", code.id());
            assert!(code.cause().ends_with('.') && code.remedy().ends_with('.'), "{}", code.id());
            assert!([1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 20, 21, 22, 23].contains(&code.exit_code()));
        }
    }

    /// The page is made of the catalogue; `TIDEGATE_WRITE_DOCS=1 cargo test` writes it anew.
    #[test]
    fn the_page_of_errors_is_the_catalogue() {
        let head = "# Errors\n\nEach has a code that never changes its meaning, and an exit code that a supervisor can act on: after 10 to \
                    13 start again, after 20 to 23 do not. `tidegate explain CODE` says the same.\n\n";
        let page = head.to_string()
            + &Code::ALL.iter().map(|code| format!("## {}", code.explained())).collect::<Vec<_>>().join("\n");
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");
        if std::env::var_os("TIDEGATE_WRITE_DOCS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), page, "run it with TIDEGATE_WRITE_DOCS=1");
    }

    /// What no test can bring about from outside: half an hour of outage, and states that the code excludes.
    #[test]
    fn what_a_running_job_ends_with() {
        let outage = connectors::Error::new(Fault::Outage, "no answer");
        for (failure, id, exit_code) in [
            (Failure::Bug("a message without a capability".into()), "TG-0001", 1),
            (Failure::Port { doing: "cannot load epoch 1".into(), source: outage }, "TG-2003", 12),
            (Failure::Halt(Halt::NotWhole { epoch: checkpoint::Epoch(1), what: "no counts".into() }), "TG-3204", 22),
        ] {
            let error = CodedError::from(failure);
            assert_eq!((error.code.id(), error.code.exit_code()), (id, exit_code), "{}", error.render());
        }
    }

    #[test]
    fn an_error_is_one_line_and_its_causes_are_below() {
        let inner = std::io::Error::other("HTTP 403 <Error>...</Error>");
        let inner = connectors::Error::new(Fault::Denied, "S3 PUT s3://b/k: 403 AccessDenied: no").because(inner);
        let error = CodedError::from(Failure::Port { doing: "cannot stage a file".into(), source: inner });
        let line = "error[TG-2002]: not allowed\n  cannot stage a file: S3 PUT s3://b/k: 403 AccessDenied: no\n";
        let remedy = "  remedy: Check user, password, keys and role; the message names what was asked for.\n";
        assert_eq!(error.render(), format!("{line}{remedy}"));
        assert_eq!(error.render_whole(), format!("{line}  because: HTTP 403 <Error>...</Error>\n{remedy}"));
    }

    /// Each fault has the code of its kind.
    #[test]
    fn no_code_stands_for_another_kind_of_fault() {
        let of = |fault| CodedError::from(connectors::Error::new(fault, "x")).code;
        for (fault, code) in [
            (Fault::Outage, Code::Unreachable),
            (Fault::Strange, Code::Unreachable),
            (Fault::Denied, Code::Denied),
            (Fault::Settings, Code::JobFile),
            (Fault::Mismatch, Code::Mismatch),
            (Fault::Missing, Code::Names),
            (Fault::NoDatabase, Code::Names),
            (Fault::Refused, Code::Refused),
            (Fault::Machine, Code::Machine),
            (Fault::Bug, Code::Bug),
        ] {
            assert_eq!(of(fault), code, "{fault:?}");
        }
        let tables = |fault| CodedError::of_tables(connectors::Error::new(fault, "x")).code;
        assert_eq!((tables(Fault::Missing), tables(Fault::NoDatabase)), (Code::NoTables, Code::Names));
        // A rehearsal that loaded another number of rows is no statement that was refused.
        let halt = Halt::NotWhole { epoch: checkpoint::Epoch(1), what: "no counts".into() };
        let refused = connectors::Error::new(Fault::Refused, "COPY").because(halt);
        assert_eq!(CodedError::from(refused).code, Code::NotWhole);
        let full = CodedError::machine("cannot start a thread", std::io::Error::other("no room"));
        assert_eq!((full.code.id(), full.line()), ("TG-0002", "cannot start a thread: no room".into()));
    }

    #[test]
    fn nothing_is_told_twice_and_a_remedy_of_its_own_counts() {
        let refused = || std::io::Error::other("connection refused");
        let error =
            connectors::Error::new(Fault::Denied, "a: b: connection refused").remedy("GRANT").because(refused());
        let error = CodedError { what: "a: b".into(), ..error.into() };
        assert_eq!(
            (error.line(), error.below(), error.remedy()),
            ("a: b: a: b: connection refused".into(), vec![], "GRANT".into())
        );
        let error = CodedError { code: Code::NotMet, what: "no".into(), source: Some(Box::new(refused())) };
        assert_eq!((error.line(), error.below()), ("no: connection refused".into(), vec![]));
        assert_eq!(error.remedy(), Code::NotMet.remedy());
    }

    /// Whoever reads a message finds its page by the message's first line.
    #[test]
    fn the_page_of_a_code_begins_with_the_first_line_of_its_messages() {
        for code in Code::ALL {
            let message = CodedError::new(*code, "this one").render();
            assert_eq!(code.explained().lines().next(), message.lines().next());
        }
    }
}
