//! What a query may not say, and where it says it.

use std::fmt;

use sqlparser::{
    ast::{CastKind, Expr, Spanned, UnaryOperator},
    dialect::RedshiftSqlDialect,
    tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer},
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
    /// Words that stand before that place and belong to what is wrong, from there backwards.
    before: Vec<String>,
    /// The word after that place that is wrong.
    after: Option<String>,
}

impl Refusal {
    /// A refusal of the query as a whole.
    pub fn whole(what: impl Into<String>, help: impl Into<String>) -> Refusal {
        Refusal::span(Span::empty(), what, help)
    }

    /// A refusal at a piece of the query.
    pub fn at(piece: &impl Spanned, what: impl Into<String>, help: impl Into<String>) -> Refusal {
        Refusal::span(piece.span(), what, help)
    }

    /// A refusal at an expression.
    pub fn of(expression: &Expr, what: impl Into<String>, help: impl Into<String>) -> Refusal {
        let (start, before) = beginning(expression);
        Refusal { before, ..Refusal::span(Span::new(start, start), what, help) }
    }

    /// A refusal at the operator before its right operand.
    pub fn operator(op: &str, right: &Expr, what: impl Into<String>) -> Refusal {
        let (start, mut before) = beginning(right);
        before.push(op.into());
        Refusal { before, ..Refusal::span(Span::new(start, start), what, "") }
    }

    /// The same at the next such word.
    pub fn at_next(self, word: &str) -> Refusal {
        Refusal { after: Some(word.into()), ..self }
    }

    /// A refusal at a place of the query.
    pub fn span(span: Span, what: impl Into<String>, help: impl Into<String>) -> Refusal {
        let Location { line, column } = span.start;
        Refusal { line, column, what: what.into(), help: help.into(), before: Vec::new(), after: None }
    }

    /// The same at the first word of what is wrong: the parser gives places of operands alone, and not of the `CAST` before them.
    pub fn settled(mut self, text: &str) -> Refusal {
        let tokens = tokens(text);
        let mut at = tokens.iter().position(|token| token.span.start == self.start());
        for word in std::mem::take(&mut self.before) {
            at = at.and_then(|at| {
                tokens[..at].iter().rposition(|token| token.token.to_string().eq_ignore_ascii_case(&word))
            });
            if let Some(at) = at {
                (self.line, self.column) = (tokens[at].span.start.line, tokens[at].span.start.column);
            }
        }
        if let (Some(at), Some(word)) = (at, self.after.take())
            && let Some(token) = tokens[at..].iter().find(|token| token.token.to_string().eq_ignore_ascii_case(&word))
        {
            (self.line, self.column) = (token.span.start.line, token.span.start.column);
        }
        self
    }

    fn start(&self) -> Location {
        Location { line: self.line, column: self.column }
    }

    /// The token at its place in the text of the query, in bytes. The whole text if the place is not known.
    pub fn bytes(&self, text: &str) -> std::ops::Range<usize> {
        let Some(start) = byte_of(text, self.start()) else { return 0..text.len() };
        let token = tokens(text).into_iter().find(|token| token.span.start == self.start());
        if let Some(end) = token.and_then(|token| byte_of(text, token.span.end)).filter(|end| *end > start) {
            return start..end;
        }
        // What is not a token ends with its word, and a quote that does not end with its line.
        let rest = text[start..].split('\n').next().unwrap_or_default();
        let word = match rest.starts_with(['\'', '"']) {
            true => rest.len(),
            false => rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()),
        };
        let one = rest.chars().next().map_or(0, char::len_utf8);
        start..start + word.max(one)
    }
}

/// The tokens of a text, without the blanks between them; none if it has something that is not one.
pub fn tokens(text: &str) -> Vec<TokenWithSpan> {
    let tokens = Tokenizer::new(&RedshiftSqlDialect {}, text).tokenize_with_location().unwrap_or_default();
    tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect()
}

/// The byte at a place; the end of its line if that is shorter.
fn byte_of(text: &str, place: Location) -> Option<usize> {
    let before = place.line.checked_sub(1)?;
    let start: usize = text.split_inclusive('\n').take(before as usize).map(str::len).sum();
    let line = text[start..].split('\n').next().unwrap_or_default();
    let column = place.column.saturating_sub(1) as usize;
    Some(start + line.char_indices().nth(column).map_or(line.len(), |(at, _)| at))
}

/// Where the first operand of an expression begins, and the words before it that belong to the expression, backwards.
fn beginning(expression: &Expr) -> (Location, Vec<String>) {
    let after = |operand: &Expr, word: &str| {
        let (start, mut before) = beginning(operand);
        before.push(word.into());
        (start, before)
    };
    match expression {
        Expr::BinaryOp { left: operand, .. }
        | Expr::IsNull(operand)
        | Expr::IsNotNull(operand)
        | Expr::IsTrue(operand)
        | Expr::IsNotTrue(operand)
        | Expr::IsFalse(operand)
        | Expr::IsNotFalse(operand)
        | Expr::IsUnknown(operand)
        | Expr::IsNotUnknown(operand)
        | Expr::IsDistinctFrom(operand, _)
        | Expr::IsNotDistinctFrom(operand, _)
        | Expr::InList { expr: operand, .. }
        | Expr::InSubquery { expr: operand, .. }
        | Expr::Between { expr: operand, .. }
        | Expr::Like { expr: operand, .. }
        | Expr::ILike { expr: operand, .. }
        | Expr::SimilarTo { expr: operand, .. }
        | Expr::AtTimeZone { timestamp: operand, .. }
        | Expr::Collate { expr: operand, .. }
        | Expr::JsonAccess { value: operand, .. }
        | Expr::CompoundFieldAccess { root: operand, .. }
        | Expr::Cast { kind: CastKind::DoubleColon, expr: operand, .. } => beginning(operand),
        Expr::Cast { kind: CastKind::TryCast, expr, .. } => after(expr, "TRY_CAST"),
        Expr::Cast { kind: CastKind::SafeCast, expr, .. } => after(expr, "SAFE_CAST"),
        Expr::Cast { expr, .. } => after(expr, "CAST"),
        Expr::Convert { expr, .. } => after(expr, "CONVERT"),
        Expr::Interval(interval) => after(&interval.value, "INTERVAL"),
        Expr::TypedString(typed) => {
            let kind = typed.data_type.to_string();
            let word = kind.split([' ', '(']).next().unwrap_or_default();
            (typed.value.span.start, vec![word.into()])
        }
        Expr::Nested(inner) => after(inner, "("),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => after(expr, "NOT"),
        Expr::UnaryOp { op, expr } => after(expr, &op.to_string()),
        Expr::Extract { expr, .. } => after(expr, "EXTRACT"),
        Expr::Ceil { expr, .. } => after(expr, "CEIL"),
        Expr::Floor { expr, .. } => after(expr, "FLOOR"),
        Expr::Position { expr, .. } => after(expr, "POSITION"),
        Expr::Substring { expr, shorthand, .. } => after(expr, if *shorthand { "SUBSTR" } else { "SUBSTRING" }),
        Expr::Overlay { expr, .. } => after(expr, "OVERLAY"),
        Expr::Trim { expr, trim_what, .. } => after(trim_what.as_deref().unwrap_or(expr), "TRIM"),
        Expr::Exists { subquery, .. } => (subquery.span().start, vec!["EXISTS".into()]),
        Expr::Subquery(query) => (query.span().start, vec!["(".into()]),
        Expr::Tuple(parts) => parts.first().map_or((Span::empty().start, Vec::new()), |first| after(first, "(")),
        Expr::Array(array) if array.named => (array.span().start, vec!["ARRAY".into()]),
        other => (other.span().start, Vec::new()),
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

    fn at(text: &str, line: u64, column: u64) -> &str {
        let start = Location { line, column };
        &text[Refusal::span(Span::new(start, start), "w", "").bytes(text)]
    }

    #[test]
    fn a_place_in_the_text() {
        let text = "SELECT a,\n  äö + uper(b), 'two words' >= \"a b\",\n\t漢字 || 1.5 FROM s";
        for (line, column, token) in [
            (1, 8, "a"),
            (2, 3, "äö"),
            (2, 6, "+"),
            (2, 8, "uper"),
            (2, 17, "'two words'"),
            (2, 29, ">="),
            (2, 32, "\"a b\""),
            (3, 2, "漢字"),
            (3, 5, "||"),
            (3, 8, "1.5"),
            (0, 0, text),
            (9, 9, ""),
            (2, 99, ""),
        ] {
            assert_eq!(at(text, line, column), token, "{line}:{column}");
        }
        assert_eq!(at("SELECT “a” FROM s", 1, 8), "“a”", "quotes that are none");
        // What cannot be taken apart: its word.
        assert_eq!(at("SELECT uper(b), 'a FROM s", 1, 8), "uper");
    }
}
