//! Text of records in what is said of it: between quotes as it is, but for characters that act on a terminal or end the line.

use std::fmt::{self, Write};

/// Whether a character does something to a terminal, or to the text around it, instead of standing there.
pub fn acts(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let hides = matches!(c, '\u{200b}' | '\u{2028}' | '\u{2029}' | '\u{feff}');
    turns || hides || c.is_control() && !matches!(c, '\n' | '\t')
}

/// Text that stays on its line: what acts, and each blank that is not a space and looks like one, is written out, as `<U+001B>`.
pub struct Visible<'a>(pub &'a str);

impl fmt::Display for Visible<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match acts(c) || c.is_whitespace() && c != ' ' {
            true => write!(to, "<U+{:04X}>", u32::from(c)),
            false => to.write_char(c),
        })
    }
}

/// The same between quotes. Nothing of it is escaped: it is for people, who know the value by what was sent.
#[cold]
pub fn shown(text: &str) -> String {
    format!("\"{}\"", Visible(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::{Problem, lenient, timestamp};

    #[test]
    fn a_value_stands_in_quotes_as_it_is() {
        for (text, expected) in [
            ("{\"$date\":\"2026-11-25\"}", "\"{\"$date\":\"2026-11-25\"}\""),
            ("c:\\temp\\new", "\"c:\\temp\\new\""),
            ("it's ü", "\"it's ü\""),
            ("\u{a0}1 2", "\"<U+00A0>1 2\""),
            ("a\u{1b}[2J\r\n\tb\u{202e}", "\"a<U+001B>[2J<U+000D><U+000A><U+0009>b<U+202E>\""),
            ("", "\"\""),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn a_reason_has_the_value_as_it_was_sent() {
        let reason = |problem: Option<Problem>| problem.map(Problem::reason).unwrap_or_default();
        let sent = "{\"$date\":\"c:\\new\u{1b}\"}";
        let given = "\"{\"$date\":\"c:\\new<U+001B>\"}\"";
        let moment = reason(timestamp::moment(sent).err());
        assert!(moment.contains(&format!(": {given} (")), "{moment}");
        assert_eq!(reason(lenient::number(sent).err()), format!("a string that is not a number: {given}"));
    }
}
