//! Names and values in SQL text. Redshift takes a backslash in an ordinary literal as an escape, so both are doubled.

/// A string literal.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// An identifier. Redshift folds it to lower case even when quoted, so it is lower case to begin with.
pub(super) fn name(text: &str) -> String {
    format!("\"{}\"", text.to_lowercase().replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_quotes() {
        assert_eq!(literal(r"it's \' all"), r"'it''s \\'' all'");
        assert_eq!(name(r#"Off"set"#), r#""off""set""#);
    }
}
