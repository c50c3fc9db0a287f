//! Standard output, where data goes. Everything else goes to standard error.

use std::{
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

use crate::{
    error::{Code, CodedError, Result},
    visible,
};

/// The most columns of a line that people read.
pub(super) const WIDTH: usize = 80;

/// Why standard output took no more, if it was another reason than a reader that has gone.
static FAILED: Mutex<Option<io::Error>> = Mutex::new(None);

/// Text for people. A reader that has seen enough, like `head`, is not an error; whether it wants more.
pub(super) fn print(text: &str) -> bool {
    is_taken(io::stdout().write_all(visible::text(text).as_bytes()))
}

/// JSON or TOML, for programs as well.
pub(super) fn print_escaped(text: &str) -> bool {
    is_taken(io::stdout().write_all(visible::escaped(text).as_bytes()))
}

/// The end of all output.
///
/// # Errors
/// Some of it was not taken: a disk is full.
pub(super) fn end() -> Result<()> {
    is_taken(io::stdout().flush());
    match FAILED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(error) => Err(CodedError::machine(format!("not all of the output was written: {error}"), error)),
        None => Ok(()),
    }
}

fn is_taken(written: io::Result<()>) -> bool {
    match written {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => false,
        Err(error) => {
            FAILED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            false
        }
    }
}

/// One JSON object on a line of its own.
pub(super) fn json_line(object: &impl Serialize) -> Result<String> {
    serde_json::to_string(object).map(|line| line + "\n").map_err(|e| CodedError::new(Code::Bug, e.to_string()))
}

/// `1 record`, `2 records`.
pub(super) fn counted(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// A table: under each head its column, words at the left and numbers at the right.
pub(super) fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let heads: Vec<String> = heads.iter().map(|head| head.to_string()).collect();
    let cell = |row: &[String], i: usize| row.get(i).map_or(String::new(), |cell| visible::line(cell).into_owned());
    let all = || std::iter::once(heads.as_slice()).chain(rows.iter().map(Vec::as_slice));
    let is_number = |i: usize| !rows.is_empty() && rows.iter().all(|row| cell(row, i).parse::<i64>().is_ok());
    let columns: Vec<(usize, bool)> = (0..heads.len())
        .map(|i| (all().map(|row| cell(row, i).chars().count()).max().unwrap_or(0), is_number(i)))
        .collect();
    let line = |row: &[String]| {
        let cells = columns.iter().enumerate().map(|(i, (width, is_number))| match is_number {
            true => format!("{:>width$}", cell(row, i)),
            false => format!("{:<width$}", cell(row, i)),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string() + "\n"
    };
    all().map(line).collect()
}

/// Each line of a text behind so many blanks.
pub(super) fn indented(text: &str, blanks: usize) -> String {
    text.split_terminator('\n').map(|line| format!("{:blanks$}{line}\n", "")).collect()
}

/// Words after a head, in lines of at most so many columns where the words allow it; each but the first begins below the words.
pub(super) fn wrapped(head: &str, words: &str, width: usize) -> String {
    let indent = head.chars().count();
    let (mut text, mut at) = (head.to_string(), indent);
    for word in words.split(' ') {
        let long = word.chars().count();
        if at > indent && at + 1 + long > width {
            text += &format!("\n{:indent$}", "");
            at = indent;
        } else if at > indent {
            text.push(' ');
            at += 1;
        }
        text += word;
        at += long;
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_lines() {
        let row = |cells: [&str; 2]| cells.map(String::from).to_vec();
        assert_eq!(
            table(&["epoch", "target"], &[row(["7", "public.t"]), row(["10", "a\u{1b}"])]),
            "epoch  target\n    7  public.t\n   10  a<U+001B>\n"
        );
        assert_eq!(table(&["epoch"], &[]), "epoch\n");
        assert_eq!(indented("a\nb\n", 2), "  a\n  b\n");
        let words = "word ".repeat(30);
        let text = wrapped("  found  ", words.trim_end(), WIDTH);
        assert!(text.lines().count() == 3 && text.lines().all(|line| line.len() <= 80), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("         word")), "{text}");
        assert_eq!((counted(1, "epoch"), counted(0, "epoch")), ("1 epoch".into(), "0 epochs".into()));
    }
}
