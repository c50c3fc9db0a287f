//! Values of records for a terminal: cut, and without characters that do something to it.

use operators::values::{cut, shown::Visible};

/// How many bytes of a value are shown.
const BYTES: usize = 80;

/// A value, or its beginning.
pub fn shown(text: &str) -> String {
    let beginning = cut(text, BYTES);
    match text.len() - beginning.len() {
        0 => Visible(beginning).to_string(),
        more => format!("{}... ({more} bytes more)", Visible(beginning)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_or_does_something_is_made_safe() {
        assert_eq!(shown("12.34"), "12.34");
        assert_eq!(shown("a\u{1b}[31m\nb\u{202e}\u{7f}"), "a<U+001B>[31m<U+000A>b<U+202E><U+007F>");
        assert_eq!(shown(&"ä".repeat(50)), format!("{}... (20 bytes more)", "ä".repeat(40)));
    }
}
