//! Accidents that a test asks for: the next statements with some texts in them are answered with an error, or wait in a queue.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::errors::SqlError;

/// What happens to a statement.
#[derive(Clone, Debug)]
pub enum Accident {
    /// It is not run, and answered so.
    Error {
        /// The SQLSTATE.
        state: &'static str,
        /// The message.
        message: String,
        /// The number in the block of detail and its context, where there is one.
        detail: Option<(u32, String)>,
    },
    /// This is run instead.
    Instead(String),
    /// Before it is run it waits so long, as in a queue of the workload management: its time counts, and it holds no lock.
    Queue(Duration),
}

impl Accident {
    pub(super) fn to_error(&self) -> Option<SqlError> {
        let Accident::Error { state, message, detail } = self else { return None };
        Some(match detail {
            Some((code, context)) => SqlError { state, ..SqlError::internal(message, *code, context) },
            None => SqlError::new(state, message),
        })
    }
}

struct Line {
    has: Vec<String>,
    left: usize,
    accident: Accident,
}

/// All that are to happen.
#[derive(Default)]
pub(crate) struct Accidents(Mutex<Vec<Line>>);

impl Accidents {
    /// This happens to so many statements that have all these texts.
    pub(super) fn cause(&self, has: &[&str], times: usize, accident: Accident) {
        let has = has.iter().map(|text| text.to_string()).collect();
        self.lines().push(Line { has, left: times, accident });
    }

    /// What happens to this one.
    pub(super) fn next(&self, sql: &str) -> Option<Accident> {
        let mut lines = self.lines();
        let line = lines.iter_mut().find(|line| line.left > 0 && line.has.iter().all(|text| sql.contains(text)))?;
        line.left -= 1;
        Some(line.accident.clone())
    }

    fn lines(&self) -> MutexGuard<'_, Vec<Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
