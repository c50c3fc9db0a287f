//! The port of whoever looks at a job from outside: what its tables say, for a person to read. It changes nothing, but for the mark
//! that a verification leaves. Redshift.

use std::ops::ControlFlow;

use checkpoint::{Epoch, Micros, TopicPartition, garbage::Live};

use crate::{HaltNote, OpenSession, Result, TableName};

/// What can be asked about a job and its warehouse without being part of the job.
///
/// # Errors
/// As those of [`crate::Warehouse`]. Where the job has no control tables, what is asked about the job is [`crate::Fault::Missing`].
pub trait Inspect: Send {
    /// Logs in, and gives the isolation level of the database.
    fn log_in(&mut self) -> Result<String>;

    /// How many slices share the work of a COPY. `None` where the warehouse does not show them, as on serverless.
    fn slices(&mut self) -> Result<Option<u64>>;

    /// The rights that our user lacks: on the database, on the control tables, and on these targets. `folds` says whether old epochs are
    /// folded. Before there are control tables it is what making them takes. An error if there is no such target.
    fn missing_rights(&mut self, targets: &[TableName], folds: bool) -> Result<Vec<MissingRight>>;

    /// Other jobs that have loaded into the same database, by their control tables.
    fn other_jobs(&mut self) -> Result<Vec<OtherJob>>;

    /// The topics that another job has read, with their ids, each as often as it was made anew.
    fn topics_of(&mut self, other: &OtherJob) -> Result<Vec<(String, String)>>;

    /// Where the job stands.
    fn standing(&mut self) -> Result<Standing>;

    /// The id of the fence, and what is live: an epoch counts as loaded once it was for so many minutes.
    fn live(&mut self, minutes: u32) -> Result<(String, Live)>;

    /// So many of the newest epochs, the newest first.
    fn epochs(&mut self, most: u64) -> Result<Vec<EpochSummary>>;

    /// The dead letters of the job by target, stage, column and reason; the most frequent first.
    fn dead_letters(&mut self, which: &Which) -> Result<Vec<Group>>;

    /// Gives each dead letter, some hundreds at a time, sorted by epoch, topic, partition and offset, all of one moment; until `each`
    /// wants no more.
    fn each_dead_letter(
        &mut self,
        which: &Which,
        each: &mut dyn FnMut(Vec<DeadLetter>) -> ControlFlow<()>,
    ) -> Result<()>;

    /// Holds the control tables and these targets against each other, all at one moment, and computes the digests of the epochs again.
    /// Where nothing is wrong it leaves a mark of how far that was looked at, for [`Scope::New`].
    fn verify(&mut self, targets: &[Filled], scope: Scope) -> Result<Verification>;

    /// The checks of [`Inspect::verify`] over all epochs as statements that anyone can run; none where the warehouse has no language
    /// for them.
    fn verify_sql(&mut self, targets: &[Filled]) -> Result<Vec<Check>>;
}

/// Rights on one thing that our user does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingRight {
    /// Our user, as the warehouse knows it.
    pub user: String,
    /// What they are on, for a person.
    pub on: String,
    /// The target, if it is one or its schema.
    pub target: Option<TableName>,
    /// Which.
    pub rights: Vec<&'static str>,
    /// The commands that need them.
    pub needed_by: Vec<&'static str>,
    /// The statement that gives them.
    pub grant: String,
}

impl std::fmt::Display for MissingRight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let MissingRight { user, on, rights, needed_by, grant: _, target: _ } = self;
        let (rights, needed_by) = (rights.join(" and no "), needed_by.join(", "));
        write!(f, "user {user} has no {rights} on {on}, which is needed for: {needed_by}")
    }
}

/// Another job of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherJob {
    /// The schema of its control tables.
    pub schema: String,
    /// Its name.
    pub job: String,
    /// What it has loaded last; `None` where our user may not read its tables.
    pub newest: Option<NewestLoad>,
}

/// The newest epoch of a job that has a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewestLoad {
    /// When it was loaded.
    pub loaded_at: Micros,
    /// The text of its plan.
    pub plan: String,
}

/// An epoch of the manifest, with the sums of its counts over the targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochSummary {
    /// Its number.
    pub epoch: u64,
    /// Why it is there, in the manifest's word.
    pub kind: String,
    /// Who loaded it.
    pub generation: u64,
    /// When it was closed.
    pub closed_at: Micros,
    /// When it was loaded.
    pub loaded_at: Micros,
    /// Offsets that were read, control records included.
    pub offsets: u64,
    /// Rows, over all targets.
    pub rows: u64,
    /// Rows that WHERE left out, over all targets.
    pub filtered: u64,
    /// Dead letters.
    pub dead_letters: u64,
}

/// Where a job stands, as its control tables say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The generation that holds the fence; 0 before the first start.
    pub generation: u64,
    /// When the fence moved last.
    pub changed_at: Micros,
    /// The open sessions of the job's processes; `None` where the warehouse does not show sessions.
    pub sessions: Option<Vec<OpenSession>>,
    /// Dead letters in all.
    pub dead_letters: u64,
    /// Why the job stands still: the newest halt of the newest generation that has one.
    pub halt: Option<HaltNote>,
}

/// Which dead letters are asked for.
#[derive(Clone, Debug, Default)]
pub struct Which {
    /// Only those of epochs that were closed since.
    pub since: Option<Micros>,
    /// Only those whose reason has this in it.
    pub reason: Option<String>,
}

/// Dead letters of one target, stage, column and kind of reason, and the newest of them as example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What their reasons have in common: the text up to the first colon.
    pub reason: String,
    /// How many there are.
    pub count: u64,
    /// The newest.
    pub example: DeadLetter,
}

/// One dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The target; empty where the record did not decode.
    pub target: String,
    /// Where on its way it failed.
    pub stage: String,
    /// The column, if one is to blame.
    pub column: Option<String>,
    /// Its epoch.
    pub epoch: Epoch,
    /// When that was closed; `None` if it was folded into the base.
    pub closed_at: Option<Micros>,
    /// Its partition.
    pub partition: TopicPartition,
    /// Its offset.
    pub offset: i64,
    /// Its place in its message, from 0.
    pub index: i32,
    /// Its timestamp in Kafka, where that is one of the years 1970 to 9999.
    pub timestamp: Option<Micros>,
    /// The whole reason.
    pub reason: String,
    /// Its bytes, as many as were kept; `None` if it had no value.
    pub bytes: Option<Vec<u8>>,
    /// Whether the record has more.
    pub cut: bool,
}

/// A target as the checks look at it.
#[derive(Clone, Debug)]
pub struct Filled {
    /// Its table.
    pub table: TableName,
    /// The columns that say where a row came from, where the query selects them.
    pub origin: Option<OriginColumns>,
    /// Rows of epochs that were closed before this moment are taken away by others.
    pub from: Option<Micros>,
}

/// Columns of a target that say where each row came from.
#[derive(Clone, Debug)]
pub struct OriginColumns {
    /// Filled from `_topic`; or, where the stream has one topic, its name.
    pub topic: Topic,
    /// Filled from `_partition`.
    pub partition: String,
    /// Filled from `_offset`.
    pub offset: String,
}

/// What says the topic of a row.
#[derive(Clone, Debug)]
pub enum Topic {
    /// This column.
    Column(String),
    /// It is this one for all.
    Only(String),
}

/// A statement that gives no row when all is well.
#[derive(Clone, Debug)]
pub struct Check {
    /// What a row of it means.
    pub what: String,
    /// The target that it is about, if it is about one.
    pub target: Option<String>,
    /// Whether rows that somebody else wrote to the target can make it fail.
    pub edits_disturb: bool,
    /// The statement.
    pub sql: String,
}

/// What a check found.
#[derive(Clone, Debug)]
pub struct Found {
    /// What is wrong.
    pub what: String,
    /// The target.
    pub target: Option<String>,
    /// Whether edits of the target by others explain it.
    pub edits_disturb: bool,
    /// What the values of a row are.
    pub columns: Vec<String>,
    /// The first rows, as text.
    pub rows: Vec<Vec<String>>,
    /// Whether there are more.
    pub more: bool,
}

/// What was looked for, whether it was found or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// What is wrong where there is a row.
    pub what: String,
    /// The target that it is about, if it is about one.
    pub target: Option<String>,
    /// How many rows there are of it; so many that not all were counted if `more`.
    pub rows: usize,
    /// Whether there are more.
    pub more: bool,
}

/// Which epochs are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    All,
    /// So many of the newest, and a few more: a range begins after a whole cut.
    Last(u64),
    /// Those that were closed since, and a few more.
    Since(Micros),
    /// Those after the newest one that was verified.
    New,
}

impl Verification {
    /// Something was looked for, with these rows.
    pub(crate) fn look(&mut self, found: Found) {
        let Found { what, target, rows, more, .. } = &found;
        let (what, target, rows, more) = (what.clone(), target.clone(), rows.len(), *more);
        self.looked.push(Looked { what, target, rows, more });
        if rows > 0 {
            self.found.push(found);
        }
    }
}

/// What a verification found.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    /// The epochs that were looked at.
    pub epochs: u64,
    /// What was looked for.
    pub looked: Vec<Looked>,
    /// What is wrong.
    pub found: Vec<Found>,
    /// What could not be proved, and why.
    pub unproved: Vec<String>,
    /// The first epoch that was looked at.
    pub first: u64,
}
