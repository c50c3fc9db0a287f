//! What a SELECT may say, decided once when the job starts: plain columns of one stream, renamed or not.
//!
//! Expressions, WHERE and joins come later and are refused as such, with the place.

use sqlparser::{
    ast::{Expr, GroupByExpr, Ident, Select, SelectItem, SetExpr, Statement, TableFactor},
    dialect::PostgreSqlDialect,
    parser::Parser,
};

use super::{Expression, SourceValue};
use connectors::ColumnKind;

use crate::{decode::columns::SourceColumn, values::Policy};

/// A SELECT that is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The stream that it reads.
    pub stream: String,
    /// Its columns, in order.
    pub columns: Vec<SelectedColumn>,
}

/// A column of a SELECT list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectedColumn {
    /// The name of the target's column, in lower case.
    pub name: String,
    /// What it is made of.
    pub expression: Expression,
    /// Its type.
    pub kind: ColumnKind,
    /// Of a column of the stream what is done with values that do not fit; for the target as well.
    pub policy: Policy,
}

/// The longest text in Redshift.
const LONGEST: u32 = 65_535;

/// Reads the text of a SELECT. `streams` are the names of the job's streams, in lower case, with their columns.
pub fn parse(text: &str, streams: &[(String, Vec<SourceColumn>)]) -> Result<Selection, String> {
    let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, text).map_err(|e| e.to_string())?;
    let (Some(Statement::Query(query)), true) = (statements.pop(), statements.is_empty()) else {
        return Err("the query must be one SELECT".into());
    };
    if query.with.is_some()
        || query.order_by.is_some()
        || query.limit_clause.is_some()
        || query.fetch.is_some()
        || !query.locks.is_empty()
    {
        return Err("WITH, ORDER BY and LIMIT are not supported: a stream has no end and no order".into());
    }
    let SetExpr::Select(select) = *query.body else { return Err("UNION and VALUES are not supported".into()) };
    let (stream, alias) = from(&select)?;
    let Some((_, columns)) = streams.iter().find(|(name, _)| *name == stream) else {
        let known: Vec<&str> = streams.iter().map(|(name, _)| name.as_str()).collect();
        return Err(format!("there is no stream {stream}; there is {}", known.join(", ")));
    };
    let mut selected = Vec::new();
    for item in &select.projection {
        let (expression, name) = match item {
            SelectItem::UnnamedExpr(expression) => (expression, None),
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(fold(alias))),
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => {
                return Err(
                    "SELECT * is not supported: name the columns, so that a new one in the stream changes nothing"
                        .into(),
                );
            }
            other => return Err(format!("{other} is not supported")),
        };
        let column = match expression {
            Expr::Identifier(column) => fold(column),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, column] if [&stream, &alias].contains(&&fold(table)) => fold(column),
                _ => return Err(format!("{expression}: there is no such table")),
            },
            other => return Err(format!("{other}: expressions are not supported yet, only columns")),
        };
        let (expression, kind, policy) = find(&column, columns)?;
        selected.push(SelectedColumn { name: name.unwrap_or(column), expression, kind, policy });
    }
    for (i, column) in selected.iter().enumerate() {
        if selected[..i].iter().any(|c| c.name == column.name) {
            return Err(format!("column {} is selected twice", column.name));
        }
    }
    Ok(Selection { stream, columns: selected })
}

/// The stream and the name it goes by.
fn from(select: &Select) -> Result<(String, String), String> {
    if select.selection.is_some() {
        return Err("WHERE is not supported yet".into());
    }
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    if grouped || select.having.is_some() || select.distinct.is_some() || select.qualify.is_some() {
        return Err("GROUP BY, HAVING, DISTINCT and QUALIFY are not supported".into());
    }
    let [only] = select.from.as_slice() else { return Err("FROM must name one stream".into()) };
    if !only.joins.is_empty() {
        return Err("JOIN is not supported yet".into());
    }
    let TableFactor::Table { name, alias, args: None, .. } = &only.relation else {
        return Err("FROM must name one stream".into());
    };
    let [part] = name.0.as_slice() else { return Err(format!("{name}: a stream has no schema")) };
    let Some(ident) = part.as_ident() else { return Err(format!("{name} is not the name of a stream")) };
    let stream = fold(ident);
    let alias = alias.as_ref().map_or_else(|| stream.clone(), |a| fold(&a.name));
    Ok((stream, alias))
}

/// Names are lower case in SQL, quoted or not, as in Redshift.
fn fold(ident: &Ident) -> String {
    ident.value.to_lowercase()
}

fn find(column: &str, columns: &[SourceColumn]) -> Result<(Expression, ColumnKind, Policy), String> {
    let source = match column {
        "_topic" => Some((SourceValue::Topic, ColumnKind::Varchar(249))),
        "_partition" => Some((SourceValue::Partition, ColumnKind::Integer)),
        "_offset" => Some((SourceValue::Offset, ColumnKind::BigInt)),
        "_timestamp" => Some((SourceValue::Timestamp, ColumnKind::TimestampTz)),
        "_key" => Some((SourceValue::Key, ColumnKind::Varchar(LONGEST))),
        "_headers" => Some((SourceValue::Headers, ColumnKind::Varchar(LONGEST))),
        _ => None,
    };
    if let Some((value, kind)) = source {
        return Ok((Expression::Source(value), kind, Policy::default()));
    }
    match columns.iter().position(|c| c.name == column) {
        Some(number) => Ok((Expression::Column(number), columns[number].kind.clone(), columns[number].policy)),
        None => Err(format!("there is no column {column} in the stream")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streams() -> Vec<(String, Vec<SourceColumn>)> {
        let column = |name: &str, kind: ColumnKind| SourceColumn::new(name, kind);
        vec![
            ("clicks".into(), vec![column("userId", ColumnKind::BigInt), column("ts", ColumnKind::TimestampTz)]),
            ("other".into(), vec![column("a", ColumnKind::Double)]),
        ]
    }

    #[test]
    fn columns_with_and_without_new_names() {
        let selection =
            parse("SELECT c.USERID, \"ts\" AS At, _offset AS kafka_offset, c._key FROM clicks AS c;", &streams())
                .unwrap();
        let names: Vec<&str> = selection.columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!((selection.stream.as_str(), names), ("clicks", vec!["userid", "at", "kafka_offset", "_key"]));
        let expressions: Vec<Expression> = selection.columns.iter().map(|c| c.expression).collect();
        use Expression::*;
        assert_eq!(expressions, [Column(0), Column(1), Source(SourceValue::Offset), Source(SourceValue::Key)]);
        assert_eq!(parse("select a from other", &streams()).unwrap().columns[0].kind, ColumnKind::Double);
    }

    #[test]
    fn what_is_not_supported_is_said() {
        for (text, part) in [
            ("", "one SELECT"),
            ("SELECT ts FROM clicks; SELECT ts FROM clicks", "one SELECT"),
            ("DELETE FROM clicks", "one SELECT"),
            ("SELECT * FROM clicks", "SELECT *"),
            ("SELECT nothing FROM clicks", "no column nothing"),
            ("SELECT ts FROM nothing", "no stream nothing; there is clicks, other"),
            ("SELECT x.ts FROM clicks c", "no such table"),
            ("SELECT ts + 1 FROM clicks", "expressions"),
            ("SELECT ts FROM clicks WHERE userid = 1", "WHERE"),
            ("SELECT ts FROM clicks LIMIT 1", "LIMIT"),
            ("SELECT ts FROM clicks GROUP BY ts", "GROUP BY"),
            ("SELECT DISTINCT ts FROM clicks", "DISTINCT"),
            ("SELECT c.ts FROM clicks c JOIN other o ON true", "JOIN"),
            ("SELECT ts FROM clicks, other", "one stream"),
            ("SELECT ts FROM s.clicks", "no schema"),
            ("SELECT ts, userid AS ts FROM clicks", "selected twice"),
            ("SELECT ts FROM clicks UNION SELECT ts FROM clicks", "UNION"),
            ("SELECT ts FRM clicks", "Expected"),
        ] {
            let error = parse(text, &streams()).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
