//! Text of records, of other systems and of other people, so that a terminal shows it and does nothing else.
//!
//! What would move the cursor, change colours, turn the direction of the text or stand there unseen is written out: a character as
//! `<U+001B>`, a byte that is not UTF-8 as `<0xFF>`. Line breaks and tabs stay. docs/reference.md promises it.

use std::{borrow::Cow, fmt::Write};

use operators::values::shown::acts;

/// Text of one or more lines.
pub fn text(text: &str) -> Cow<'_, str> {
    replaced(text, acts, |c| format!("<U+{:04X}>", u32::from(c)))
}

/// Text that must stay on its line.
pub fn line(text: &str) -> Cow<'_, str> {
    replaced(text, |c| acts(c) || matches!(c, '\n' | '\t'), |c| format!("<U+{:04X}>", u32::from(c)))
}

/// Bytes that are text, or nearly.
pub fn bytes(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        shown += &text(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(shown, "<0x{byte:02X}>"); // a String takes all
        }
    }
    shown
}

/// JSON or TOML: the same characters, which stand in strings there, as escapes. It means what it meant.
pub fn escaped(text: &str) -> Cow<'_, str> {
    let units = |c: char| c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect();
    replaced(text, acts, units)
}

fn replaced(text: &str, which: impl Fn(char) -> bool, by: impl Fn(char) -> String) -> Cow<'_, str> {
    if !text.chars().any(&which) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if which(c) { shown += &by(c) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_written_out_and_the_rest_stands_as_it_is() {
        for (sent, shown) in [
            (&b"{\"a\":\"\\u001b \\\"quoted\\\" \xc3\xbc\"}"[..], "{\"a\":\"\\u001b \\\"quoted\\\" \u{fc}\"}"),
            (b"\x1b[2J\x1b]0;title\x07red\x7f", "<U+001B>[2J<U+001B>]0;title<U+0007>red<U+007F>"),
            // The one character that begins a sequence, as UTF-8 and as the byte.
            (b"\xc2\x9b31m\x9b31m", "<U+009B>31m<0x9B>31m"),
            (b"a\xff\xfeb\xe2\x82", "a<0xFF><0xFE>b<0xE2><0x82>"),
            (b"a\r\n\tb\0", "a<U+000D>\n\tb<U+0000>"),
            ("\u{202e}x\u{2066}\u{feff}".as_bytes(), "<U+202E>x<U+2066><U+FEFF>"),
        ] {
            assert_eq!(bytes(sent), shown);
        }
        assert_eq!(line("a\n\tb"), "a<U+000A><U+0009>b");
        let json = serde_json::json!({ "a": "\u{9b}\u{1b}\u{7f}\u{202e}" }).to_string();
        assert_eq!(escaped(&json), "{\"a\":\"\\u009b\\u001b\\u007f\\u202e\"}");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&escaped(&json)).unwrap()["a"],
            "\u{9b}\u{1b}\u{7f}\u{202e}"
        );
    }

    /// Nothing that acts gets through, whatever the bytes are; and JSON means what it meant.
    #[test]
    fn nothing_that_acts_gets_through() {
        for byte in 0..=u8::MAX {
            for sent in [vec![byte], vec![b'a', byte, b'b'], vec![0xc2, byte], vec![0xe2, 0x80, byte]] {
                assert!(!bytes(&sent).chars().any(acts), "{sent:?}");
            }
        }
        let all: String = ('\0'..='\u{3000}').chain('\u{fe00}'..='\u{10100}').collect();
        let json = serde_json::Value::from(all.as_str()).to_string();
        assert!(!escaped(&json).chars().any(acts) && !text(&all).chars().any(acts) && !line(&all).contains('\n'));
        assert_eq!(serde_json::from_str::<String>(&escaped(&json)).unwrap(), all);
    }
}
