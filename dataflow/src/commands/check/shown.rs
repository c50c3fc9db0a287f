//! Values of records for a terminal: cut, and without characters that do something to it.

use operators::values::cut;

/// How many bytes of a value are shown.
const BYTES: usize = 80;

/// A value, or its beginning.
pub fn shown(text: &str) -> String {
    let (beginning, mut out) = (cut(text, BYTES), String::new());
    for c in beginning.chars() {
        // Among them those that turn the direction of what follows, or cannot be seen.
        let is_bad = c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        match is_bad {
            true => out.extend(c.escape_unicode()),
            false => out.push(c),
        }
    }
    match text.len() - beginning.len() {
        0 => out,
        more => format!("{out}... ({more} bytes more)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_or_does_something_is_made_safe() {
        assert_eq!(shown("12.34"), "12.34");
        assert_eq!(shown("a\u{1b}[31m\nb\u{202e}\u{7f}"), r"a\u{1b}[31m\u{a}b\u{202e}\u{7f}");
        assert_eq!(shown(&"ä".repeat(50)), format!("{}... (20 bytes more)", "ä".repeat(40)));
    }
}
