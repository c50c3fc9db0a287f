//! Names and values in SQL text. Redshift takes a backslash in an ordinary literal as an escape, so both are doubled.

/// A string literal.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// An identifier, which keeps its case: each session says so when it begins.
pub(super) fn name(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// Whether a name needs no quotes.
pub(super) fn is_plain(name: &str) -> bool {
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    begins && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_quotes() {
        assert_eq!(literal(r"it's \' all"), r"'it''s \\'' all'");
        assert_eq!(name(r#"Off"set"#), r#""Off""set""#);
    }
}
