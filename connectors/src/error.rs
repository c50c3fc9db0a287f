//! The error of every port. Its first question is: did it happen?

use std::fmt;

/// Whether the thing that was asked for took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It did not, and will not any more.
    No,
    /// It cannot be told from here: the request left and no answer came.
    Unknown,
}

/// Who can do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The other system or the way to it: a later try may work.
    Outage,
    /// An answer that nobody here knows. The same again may pass; what it is about, if it comes again and again, is for a person.
    Strange,
    /// The statement ran as long as it may: less at once may pass, the same will not.
    TooLong,
    /// A batch of a log: its checksum is wrong, or its compression, or its form. A reader that goes on passes it.
    Damaged {
        /// The place of its partition in the list that was given to [`crate::Log::read`].
        place: usize,
        /// Where it begins.
        offset: i64,
    },
    /// Credentials or rights.
    Denied,
    /// How the job file says that the other system is reached: nobody was asked yet, or the answer says what it should say.
    Settings,
    /// Something answers, and not as the job file says: without TLS, with a certificate that is not trusted, in another region.
    Mismatch,
    /// What the job names is not there, or not as it says.
    Missing,
    /// There is no database of this name, so nobody can say what is in it.
    NoDatabase,
    /// The data or the statement: the same again fails again.
    Refused,
    /// Tables that are there and not as this program makes them.
    Foreign,
    /// Control tables in which something stands that no process of a job writes.
    Corrupt,
    /// The operating system has no thread, file descriptor or memory left for us.
    Machine,
    /// A bug of ours.
    Bug,
}

/// Why a port could not do what it was asked.
#[derive(Debug)]
pub struct Error {
    /// Whether it happened all the same.
    pub happened: Happened,
    /// Who can do something about it.
    pub fault: Fault,
    /// In one line and whole: system, operation, object, code, message. No secret and no statement is in it.
    pub what: String,
    /// What to do about this one in particular, if that is known.
    pub remedy: Option<String>,
    /// What led to it, for whoever looks closely: `what` says all that matters of it.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// [`Error`] unless said otherwise.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// It did not happen.
    pub fn new(fault: Fault, what: impl Into<String>) -> Error {
        Error { happened: Happened::No, fault, what: what.into(), remedy: None, source: None }
    }

    /// A state that the code excludes.
    pub fn bug(what: impl Into<String>) -> Error {
        Error::new(Fault::Bug, what)
    }

    /// The same error with its cause.
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.source = Some(source.into());
        self
    }

    /// It may have happened.
    pub fn unknown(mut self) -> Error {
        self.happened = Happened::Unknown;
        self
    }

    /// The same error with what to do about it.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Error {
        self.remedy = Some(remedy.into());
        self
    }

    /// In one line: what happened, and what to do about it.
    pub fn told(&self) -> String {
        match &self.remedy {
            Some(remedy) => format!("{self}; {remedy}"),
            None => self.to_string(),
        }
    }

    /// Whether trying the same again can help.
    pub fn is_retriable(&self) -> bool {
        matches!(self.fault, Fault::Outage | Fault::Strange)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match self.happened {
            Happened::No => Ok(()),
            Happened::Unknown => f.write_str(" (it may have happened)"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}
