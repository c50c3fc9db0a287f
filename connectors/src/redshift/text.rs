//! Names and values in SQL text. Redshift takes a backslash in an ordinary literal as an escape, so both are doubled.

/// A string literal.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// An identifier, which keeps its case: each session says so when it begins.
pub(super) fn name(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// The statement that gives a user rights. `on` is SQL already; names in it are quoted, for a reserved word may be one.
pub(super) fn grant(rights: &str, on: &str, user: &str) -> String {
    format!("GRANT {rights} ON {on} TO {}", name(user))
}

/// Whether a name needs no quotes, to be read by a person.
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
