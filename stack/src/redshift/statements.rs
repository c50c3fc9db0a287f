//! A text of several statements, taken apart as psql does it: at each semicolon outside of literals, names and comments.

/// A statement, and where it stands. Lines are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its text, without the semicolon, blanks around it and comments before it.
    pub text: String,
    /// The line of the text that it begins in; `None` where the text is nothing that has lines.
    pub line: Option<usize>,
}

impl Statement {
    /// Its first line, cut where it is long.
    pub(super) fn head(&self) -> String {
        let line = self.text.lines().next().unwrap_or_default().trim_end();
        match line.char_indices().nth(70) {
            None if self.text.contains('\n') => format!("{line} ..."),
            None => line.into(),
            Some((cut, _)) => format!("{}...", &line[..cut]),
        }
    }
}

/// The statements of a text. As in Redshift a backslash escapes within a literal.
pub fn statements(text: &str) -> Vec<Statement> {
    let mut found = Vec::new();
    let (mut begins, mut at) = (None, 0);
    let mut add = |begins: Option<usize>, ends: usize| {
        if let Some(begins) = begins {
            let line = Some(1 + text[..begins].matches('\n').count());
            found.push(Statement { text: text[begins..ends].trim_end().into(), line });
        }
    };
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let is_comment = rest.starts_with("--") || rest.starts_with("/*");
        let length = match c {
            '\'' => quoted(rest, true),
            '"' => quoted(rest, false),
            _ if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => comment(rest),
            c => c.len_utf8(),
        };
        if c == ';' {
            add(begins.take(), at);
        } else if !is_comment && !c.is_whitespace() {
            begins.get_or_insert(at);
        }
        at += length;
    }
    add(begins, text.len());
    found
}

/// How long a literal or a quoted name is, with its quotes. A doubled quote is two of them, one after the other.
fn quoted(text: &str, has_escapes: bool) -> usize {
    let mut chars = text.char_indices();
    let quote = chars.next().map(|(_, quote)| quote);
    while let Some((at, c)) = chars.next() {
        if c == '\\' && has_escapes {
            chars.next();
        } else if Some(c) == quote {
            return at + c.len_utf8();
        }
    }
    text.len()
}

/// How long a comment is; they nest.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while let Some(c) = text[at..].chars().next() {
        match (&text[at..], depth) {
            (rest, _) if rest.starts_with("/*") => (depth, at) = (depth + 1, at + 2),
            (rest, 1) if rest.starts_with("*/") => return at + 2,
            (rest, _) if rest.starts_with("*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += c.len_utf8(),
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_taken_apart_at_its_semicolons() {
        for (text, expected) in [
            ("SELECT ';';\n\nSELECT\n2;\n", vec![("SELECT ';'", 1), ("SELECT\n2", 3)]),
            ("SELECT 1; SELECT 2", vec![("SELECT 1", 1), ("SELECT 2", 1)]),
            ("a;\r\nb ;  \n", vec![("a", 1), ("b", 2)]),
            (
                "-- a; comment\nSELECT 1 -- and; one\n;;\n/* b; /* c; */ */ x",
                vec![("SELECT 1 -- and; one", 2), ("x", 4)],
            ),
            ("SELECT 'it''s; \\'; õ', \"a;\"\";b\"; y", vec![("SELECT 'it''s; \\'; õ', \"a;\"\";b\"", 1), ("y", 1)]),
            ("SELECT 'open; ", vec![("SELECT 'open;", 1)]),
            (" ;\n-- nothing\n", vec![]),
            ("", vec![]),
        ] {
            let found = statements(text);
            let found: Vec<(&str, usize)> =
                found.iter().map(|found| (found.text.as_str(), found.line.unwrap())).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn a_statement_is_named_by_its_first_line() {
        let head = |text: &str| Statement { text: text.into(), line: None }.head();
        assert_eq!(head("SELECT 1"), "SELECT 1");
        assert_eq!(head("SELECT\n1"), "SELECT ...");
        assert_eq!(head(&"ä".repeat(80)), format!("{}...", "ä".repeat(70)));
    }
}
