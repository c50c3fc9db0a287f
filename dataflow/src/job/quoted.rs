//! Where a piece of a string stands in the file that writes it, with its quotes and escapes.

use std::ops::Range;

/// The bytes `inside` a string's value, as bytes of what the file writes for it; `None` if that writes another value.
pub fn place(written: &str, value: &str, inside: Range<usize>) -> Option<Range<usize>> {
    let places = [false, true].into_iter().find_map(|is_unix| places(written, value, is_unix))?;
    let (start, end) = (*places.get(inside.start)?, *places.get(inside.end)?);
    // Up to the end of the last character, and not to the beginning of the next, which escapes may keep away from it.
    let last = inside.end.checked_sub(1).filter(|last| *last >= inside.start);
    let written_end = last.and_then(|last| Some(places.get(last)? + length(written, *places.get(last)?)));
    Some(start..written_end.map_or(end, |written_end| written_end.min(end)))
}

/// How many bytes are written for the character there.
fn length(written: &str, at: usize) -> usize {
    let rest = &written[at..];
    let is_basic = written.starts_with('"');
    match rest.strip_prefix('\\').filter(|_| is_basic).and_then(|rest| rest.chars().next()) {
        Some('x') => 4,
        Some('u') => 6,
        Some('U') => 10,
        Some(_) => 2,
        None => rest.chars().next().map_or(0, char::len_utf8),
    }
}

/// For each byte of the value, and for its end, where its character is written. `is_unix`: the file's line ends lose their `\r`.
fn places(written: &str, value: &str, is_unix: bool) -> Option<Vec<usize>> {
    let quotes = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quotes| written.starts_with(quotes))?;
    let end = written.len().checked_sub(quotes.len()).filter(|end| *end >= quotes.len())?;
    let mut at = quotes.len();
    if quotes.len() == 3 {
        let rest = &written[at..end];
        at += if rest.starts_with("\r\n") { 2 } else { usize::from(rest.starts_with('\n')) };
    }
    let (mut decoded, mut places) = (String::with_capacity(value.len()), Vec::with_capacity(value.len() + 1));
    while at < end {
        let rest = &written[at..end];
        if is_unix && rest.starts_with("\r\n") {
            at += 1;
            continue;
        }
        let (used, decoded_char) = match rest.strip_prefix('\\').filter(|_| quotes.starts_with('"')) {
            None => {
                let c = rest.chars().next()?;
                (c.len_utf8(), Some(c))
            }
            Some(escaped) => {
                let code = |digits: usize| {
                    let code = u32::from_str_radix(escaped.get(1..1 + digits)?, 16).ok()?;
                    Some((2 + digits, Some(char::from_u32(code)?)))
                };
                match escaped.chars().next()? {
                    'b' => (2, Some('\u{8}')),
                    't' => (2, Some('\t')),
                    'n' => (2, Some('\n')),
                    'f' => (2, Some('\u{c}')),
                    'r' => (2, Some('\r')),
                    'e' => (2, Some('\u{1b}')),
                    '"' => (2, Some('"')),
                    '\\' => (2, Some('\\')),
                    'x' => code(2)?,
                    'u' => code(4)?,
                    'U' => code(8)?,
                    // The end of a line that goes on where the next one begins.
                    _ => (1 + escaped.len() - escaped.trim_start_matches([' ', '\t', '\r', '\n']).len(), None),
                }
            }
        };
        if let Some(c) = decoded_char {
            decoded.push(c);
            places.extend(std::iter::repeat_n(at, c.len_utf8()));
        }
        at += used;
    }
    places.push(at);
    (decoded == value).then_some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_as_it_is_written() {
        for (file, piece, written) in [
            ("q = 'a uper b'", "uper", "uper"),
            ("q = \"a \\\"x\\\" uper b\"", "uper", "uper"),
            ("q = \"a \\\"x\\\" uper b\"", "\"x\"", "\\\"x\\\""),
            ("q = \"\\u00e4 uper\"", "ä", "\\u00e4"),
            ("q = \"\\u00e4 uper\"", "uper", "uper"),
            ("q = '''\n  SELECT \\a,\n  uper(b)'''", "uper", "uper"),
            ("q = \"\"\"\r\n  SELECT a,\r\n  uper(b)\"\"\"", "uper", "uper"),
            ("q = \"\"\"\n  SELECT \\\n     uper \\\n  (b)\"\"\"", "uper", "uper"),
            ("q = \"\"\"SELECT '漢字' uper\"\"\"", "'漢字'", "'漢字'"),
        ] {
            let table = toml::de::DeTable::parse(file).unwrap();
            let (_, spanned) = table.get_ref().iter().next().unwrap();
            let value = spanned.get_ref().as_str().unwrap();
            let at = value.find(piece).unwrap();
            let literal = &file[spanned.span()];
            let found = place(literal, value, at..at + piece.len()).unwrap();
            assert_eq!(&literal[found], written, "{file}");
        }
        assert_eq!(place("'a'", "b", 0..1), None);
        assert_eq!(place("'", "b", 0..1), None);
    }
}
