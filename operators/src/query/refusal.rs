//! What a query may not say, and where it says it.

use std::fmt;

use sqlparser::{
    ast::Spanned,
    tokenizer::{Location, Span},
};

/// Why a query is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Line of the query, counted from 1; 0 if it is the query as a whole.
    pub line: u64,
    /// Column in that line, counted from 1 in characters.
    pub column: u64,
    /// What is wrong.
    pub what: String,
    /// The nearest form that is supported; may be empty.
    pub help: String,
}

impl Refusal {
    /// A refusal of the query as a whole.
    pub fn whole(what: impl Into<String>, help: impl Into<String>) -> Refusal {
        Refusal { line: 0, column: 0, what: what.into(), help: help.into() }
    }

    /// A refusal at a piece of the query.
    pub fn at(piece: &impl Spanned, what: impl Into<String>, help: impl Into<String>) -> Refusal {
        Refusal::span(piece.span(), what, help)
    }

    /// A refusal at a place of the query.
    pub fn span(span: Span, what: impl Into<String>, help: impl Into<String>) -> Refusal {
        let Location { line, column } = span.start;
        Refusal { line, column, what: what.into(), help: help.into() }
    }

    /// Where it stands in the text of the query, in bytes. The whole text if it is not known.
    pub fn bytes(&self, text: &str) -> std::ops::Range<usize> {
        let Some(before) = self.line.checked_sub(1) else { return 0..text.len() };
        let start: usize = text.split_inclusive('\n').take(before as usize).map(str::len).sum();
        let line = text[start..].split('\n').next().unwrap_or_default();
        let in_line = line.char_indices().nth(self.column.saturating_sub(1) as usize).map_or(line.len(), |(at, _)| at);
        let word = line[in_line..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(line.len() - in_line);
        let one = line[in_line..].chars().next().map_or(0, char::len_utf8);
        start + in_line..start + in_line + word.max(one)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}, column {}: ", self.line, self.column)?;
        }
        f.write_str(&self.what)?;
        if !self.help.is_empty() {
            write!(f, "; {}", self.help)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_text() {
        let text = "SELECT a,\n  äö + uper(b) FROM s";
        let at = |line, column| {
            let refusal = Refusal { line, column, what: "w".into(), help: String::new() };
            &text[refusal.bytes(text)]
        };
        assert_eq!((at(2, 8), at(2, 6), at(1, 8), at(0, 0)), ("uper", "+", "a", text));
        assert_eq!((at(9, 9), at(2, 99)), ("", ""));
        let text = "SELECT “a” FROM s";
        let refusal = Refusal { line: 1, column: 8, what: "w".into(), help: String::new() };
        assert_eq!(&text[refusal.bytes(text)], "“");
    }
}
