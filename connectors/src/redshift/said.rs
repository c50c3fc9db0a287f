//! What the server said of a statement or a login, in one line, with the statement below it for whoever looks closely.

use std::{error::Error as StdError, fmt};

use tokio_postgres::error::DbError;

/// An error of the server.
#[derive(Debug)]
pub(super) struct Said {
    /// Five letters and digits: SQLSTATE.
    pub(super) state: String,
    pub(super) message: String,
    pub(super) detail: String,
    /// The statement; `None` for a login.
    statement: Option<Statement>,
}

/// A statement, as the cause of an error.
#[derive(Debug)]
struct Statement(String);

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the statement: {}", short(&self.0, 2000))
    }
}

impl StdError for Statement {}

/// Lines of Redshift's block of detail that help nobody, or repeat the message.
const LEFT_OUT: [&str; 4] = ["error:", "location:", "process:", "---"];

impl Said {
    /// Of a login, until it has a statement.
    pub(super) fn new(state: &str, message: &str, detail: &str) -> Said {
        Said { state: state.into(), message: message.into(), detail: detail.into(), statement: None }
    }

    /// As the driver has it.
    pub(super) fn of(error: &DbError) -> Said {
        Said::new(error.code().code(), error.message(), error.detail().unwrap_or_default())
    }

    /// The same of a statement.
    pub(super) fn with(mut self, sql: &str) -> Said {
        self.statement = Some(Statement(sql.into()));
        self
    }

    /// What helps of the detail: which column of which file, by which number. That of a broken constraint has the row in it.
    fn details(&self) -> String {
        if self.state.starts_with("23") {
            return String::new();
        }
        let lines = self.detail.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        let helps = |line: &String| {
            !line.is_empty() && !line.ends_with(':') && !LEFT_OUT.iter().any(|part| line.starts_with(part))
        };
        short(&lines.filter(helps).collect::<Vec<_>>().join("; "), 400)
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.state, short(&self.message, 400))?;
        match self.details().as_str() {
            "" => Ok(()),
            details => write!(f, " ({details})"),
        }
    }
}

impl StdError for Said {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.statement.as_ref().map(|statement| statement as _)
    }
}

/// A text on one line, and its beginning where it is longer.
fn short(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(most) {
        Some((end, _)) => format!("{} ...", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(state: &str, message: &str, detail: &str) -> String {
        Said::new(state, message, detail).to_string()
    }

    #[test]
    fn what_the_server_says_is_one_line() {
        let block = "\n  -----\n  error:  Spectrum Scan Error\n  code:      15007\n  context:   column 'num' of file\n  \
                     query:     4711\n  location:  dory_util.cpp:1509\n  process:   fetch [pid=1]\n  -----\n";
        assert_eq!(
            said("XX000", "Spectrum Scan Error", block),
            "XX000: Spectrum Scan Error (code: 15007; context: column 'num' of file; query: 4711)"
        );
        assert_eq!(said("42501", "permission denied\nfor relation t", ""), "42501: permission denied for relation t");
        assert_eq!(said("23502", "null value", "Failing row contains (secret)."), "23502: null value");
        assert_eq!(short(&"é".repeat(200), 120), format!("{} ...", "é".repeat(120)));
    }

    #[test]
    fn the_statement_stands_below_it() {
        let said = Said::new("42601", "no", "").with("SELECT\n  1");
        assert_eq!(said.to_string(), "42601: no");
        assert_eq!(said.source().unwrap().to_string(), "the statement: SELECT 1");
    }
}
