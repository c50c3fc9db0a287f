//! What a SELECT may say, decided once when the job starts: any number of columns out of one stream, and a WHERE.
//!
//! A query sees one record at a time. Whatever looks at several (joins, GROUP BY, ORDER BY) is refused as such, with its
//! place.

use std::{collections::BTreeSet, sync::Arc};

use arrow_schema::SchemaRef;
use connectors::ColumnKind;
use datafusion_physical_expr::{PhysicalExpr, expressions::Column};
use sqlparser::{
    ast::{GroupByExpr, Query, Select, SelectItem, SetExpr, Statement, TableAlias, TableFactor},
    dialect::RedshiftSqlDialect,
    parser::{Parser, ParserError},
    tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer},
};

use super::{
    compile::{Compiler, Name, fold},
    functions::TEXT,
    functions::interval::is_interval,
    input::{Input, SourceValue},
    names,
    refusal::{Refusal, tokens},
};
use crate::{
    schema::SourceColumn,
    threads::scoped,
    values::{Policy, arrow::arrow_type},
};

/// How deep the parser follows what is nested.
const PARSER_DEPTH_MAX: usize = 50;
/// The longest text of a query, in bytes.
const QUERY_BYTES_MAX: usize = 65_536;
/// A level of it takes up to 100 KB, unoptimised.
const STACK_BYTES: usize = 32 << 20;

/// A SELECT that is understood.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The stream that it reads.
    pub stream: String,
    /// What its expressions look at: the columns of the batch that they are evaluated on.
    pub inputs: Vec<Input>,
    /// The schema of that batch.
    pub schema: SchemaRef,
    /// Its WHERE.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// Its columns, in order.
    pub columns: Vec<SelectedColumn>,
    /// Its text in one form, whatever blanks and cases it was written with.
    pub text: String,
}

/// A column of a SELECT list.
#[derive(Clone, Debug)]
pub struct SelectedColumn {
    /// The name of the target's column: in lower case, unless it was written in quotes.
    pub name: String,
    /// What it is made of.
    pub value: Value,
    /// Its type.
    pub kind: ColumnKind,
    /// What is done with values that do not fit: what the stream's column says, for the target as well.
    pub policy: Policy,
}

/// What a column is made of.
#[derive(Clone, Debug)]
pub enum Value {
    /// One of the inputs, by its place.
    Input(usize),
    /// An expression.
    Computed(Arc<dyn PhysicalExpr>),
}

impl Selection {
    /// Whether it looks at this value of the record.
    pub fn uses(&self, value: SourceValue) -> bool {
        self.inputs.contains(&Input::Source(value))
    }
}

/// Reads the text of a SELECT. `streams` are the names of the job's streams, in lower case, with their columns.
pub fn parse(text: &str, streams: &[(String, Vec<SourceColumn>)]) -> Result<Selection, Refusal> {
    if text.len() > QUERY_BYTES_MAX {
        return Err(Refusal::whole(
            format!("a query of more than {QUERY_BYTES_MAX} bytes"),
            "split it over several targets",
        ));
    }
    // On a stack of its own, so that how deep a query may be does not depend on who reads it.
    std::thread::scope(|scope| {
        let reading =
            scoped(scope, "query", STACK_BYTES, || read(text, streams).map_err(|refusal| refusal.settled(text)));
        let failed =
            |what: &str| Err(Refusal::whole(format!("it cannot be read: {what}"), "this is a bug: please report it"));
        match reading.map(|reading| reading.join()) {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => failed("a panic"),
            Err(e) => failed(&e.to_string()),
        }
    })
}

fn read(text: &str, streams: &[(String, Vec<SourceColumn>)]) -> Result<Selection, Refusal> {
    let declared: Vec<&str> =
        streams.iter().flat_map(|(_, columns)| columns).map(|column| column.name.as_str()).collect();
    let tokens = Tokenizer::new(&RedshiftSqlDialect {}, text).tokenize_with_location();
    let tokens = tokens.map_err(|e| syntax(&e.into(), text, &declared))?;
    let mut statements = Parser::new(&RedshiftSqlDialect {})
        .with_recursion_limit(PARSER_DEPTH_MAX)
        .with_tokens_with_locations(names::ready(tokens, &declared)?)
        .parse_statements()
        .map_err(|e| syntax(&e, text, &declared))?;
    let (Some(Statement::Query(query)), true) = (statements.pop(), statements.is_empty()) else {
        return Err(Refusal::whole("the query must be one SELECT", "write SELECT columns FROM stream WHERE condition"));
    };
    refuse_around(text, &query)?;
    let (written, text) = (text, query.to_string());
    let SetExpr::Select(select) = *query.body else {
        return Err(Refusal::at(
            query.body.as_ref(),
            "UNION and VALUES are not supported",
            "give the table several targets' rows in Redshift",
        ));
    };
    let (stream, alias) = from(written, &select)?;
    let Some((_, columns)) = streams.iter().find(|(name, _)| *name == stream) else {
        let known: Vec<&str> = streams.iter().map(|(name, _)| name.as_str()).collect();
        return Err(Refusal::at(
            &select.from[0],
            format!("there is no stream {stream}"),
            format!("there is {}", known.join(", ")),
        ));
    };
    let names = names(columns);
    let mut compiler = Compiler::new(&names, [&stream, &alias]);
    let filter = select.selection.as_ref().map(|condition| compiler.condition(condition)).transpose()?;
    let mut selected: Vec<SelectedColumn> = Vec::new();
    let mut seen = BTreeSet::new();
    for item in &select.projection {
        let column = selected_column(item, &mut compiler, columns)?;
        if !seen.insert(column.name.clone()) {
            let what = format!("column {} is selected twice", column.name);
            return Err(match item {
                SelectItem::ExprWithAlias { alias, .. } => Refusal::span(alias.span, what, "name it otherwise"),
                SelectItem::UnnamedExpr(expression) => Refusal::of(expression, what, "name it with AS"),
                other => Refusal::at(other, what, "name it with AS"),
            });
        }
        selected.push(column);
    }
    let (inputs, schema) = compiler.inputs();
    // What is compiled must give what it promises, or a file would have another type than its table.
    for column in &selected {
        let Value::Computed(expr) = &column.value else { continue };
        let gives = expr.data_type(&schema).ok();
        if gives != arrow_type(&column.kind) {
            return Err(Refusal::whole(
                format!("column {} should be {} and is {gives:?}", column.name, column.kind),
                "this is a bug: please report it",
            ));
        }
    }
    Ok(Selection { stream, inputs, schema, filter, columns: selected, text })
}

fn selected_column(
    item: &SelectItem,
    compiler: &mut Compiler<'_>,
    columns: &[SourceColumn],
) -> Result<SelectedColumn, Refusal> {
    let (expression, alias) = match item {
        SelectItem::UnnamedExpr(expression) => (expression, None),
        SelectItem::ExprWithAlias { expr, alias } if alias.quote_style.is_some() => (expr, Some(alias.value.clone())),
        SelectItem::ExprWithAlias { expr, alias } => (expr, Some(fold(alias))),
        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => {
            return Err(Refusal::at(
                item,
                "SELECT * is not supported",
                "name the columns, so that a new one in the stream changes nothing",
            ));
        }
        other => return Err(Refusal::at(other, format!("{other} is not supported"), "")),
    };
    let plain = compiler.name(expression).transpose()?;
    let typed = compiler.expression(expression)?;
    if is_interval(&typed) {
        return Err(Refusal::of(expression, "no column has an interval", "add it to a time, or use datediff()"));
    }
    let Some(kind) = typed.known() else {
        return Err(Refusal::of(expression, "NULL of what type?", "write it like NULL::varchar(10)"));
    };
    // A text in quotes is one, and not a text that is as long as it is today.
    let typed = typed.to(&kind).map_err(|why| Refusal::of(expression, why, ""))?;
    match plain {
        Some(name) => {
            let policy = match name.input {
                Input::Column(number) => columns[number].policy,
                Input::Source(_) => Policy::default(),
            };
            // What is no column of the batch as it is must be made of one.
            let value = match typed.expr.downcast_ref::<Column>() {
                Some(column) => Value::Input(column.index()),
                None => Value::Computed(typed.expr),
            };
            Ok(SelectedColumn { name: alias.unwrap_or(name.name), value, kind, policy })
        }
        None => {
            let Some(name) = alias else {
                return Err(Refusal::of(
                    expression,
                    format!("{expression} has no name"),
                    "name the target's column with AS",
                ));
            };
            Ok(SelectedColumn { name, value: Value::Computed(typed.expr), kind, policy: Policy::default() })
        }
    }
}

/// What stands around a SELECT and asks for an order or an end, which a stream has not. Every part that there is has a name
/// here, so that none is ever passed over.
fn refuse_around(text: &str, query: &Query) -> Result<(), Refusal> {
    let Query {
        with,
        body: _,
        order_by,
        limit_clause,
        fetch,
        locks,
        for_clause,
        settings,
        format_clause,
        pipe_operators,
    } = query;
    let refuse = |there, what, help| refuse(text, there, what, help);
    refuse(with.is_some(), "WITH", "write its SELECT in its place")?;
    refuse(order_by.is_some(), "ORDER BY", "the table's SORTKEY orders rows in Redshift")?;
    refuse(limit_clause.is_some() || fetch.is_some(), "LIMIT", "leave records out with WHERE")?;
    refuse(!locks.is_empty(), "FOR UPDATE", "leave it out: nobody else writes a record")?;
    refuse(for_clause.is_some() || settings.is_some() || format_clause.is_some(), AFTER_SELECT, "end it with WHERE")?;
    refuse(!pipe_operators.is_empty(), AFTER_SELECT, "end it with WHERE")
}

const AFTER_SELECT: &str = "what stands after the SELECT";
const FORM: &str = "this form of SELECT";
/// What looks at several records.
const IN_REDSHIFT: &str = "load the rows, and do it in Redshift";

/// Refuses what is there. Its place is that of its first word, as the query was written.
fn refuse(text: &str, there: bool, what: &str, help: &str) -> Result<(), Refusal> {
    if !there {
        return Ok(());
    }
    let keyword = what.split(' ').next().unwrap_or_default();
    let tokens = tokens(text);
    let is_it = |token: &TokenWithSpan| matches!(&token.token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(keyword));
    let what = format!("{what} is not supported: a query sees one record at a time");
    match tokens.iter().find(|token| is_it(token)) {
        Some(token) => Err(Refusal::span(token.span, what, help)),
        None => Err(Refusal::whole(what, help)),
    }
}

/// The stream and the name it goes by.
fn from(text: &str, select: &Select) -> Result<(String, String), Refusal> {
    let Select {
        select_token: _,
        optimizer_hints,
        distinct,
        select_modifiers,
        top,
        top_before_distinct: _,
        projection: _,
        exclude,
        into,
        from,
        lateral_views,
        prewhere,
        selection: _,
        connect_by,
        group_by,
        cluster_by,
        distribute_by,
        sort_by,
        having,
        named_window,
        qualify,
        window_before_qualify: _,
        value_table_mode,
        flavor: _,
    } = select;
    let refuse = |there, what, help| refuse(text, there, what, help);
    let groups = !matches!(group_by, GroupByExpr::Expressions(by, modifiers) if by.is_empty() && modifiers.is_empty());
    refuse(groups, "GROUP BY", IN_REDSHIFT)?;
    refuse(having.is_some(), "HAVING", IN_REDSHIFT)?;
    refuse(distinct.is_some(), "DISTINCT", IN_REDSHIFT)?;
    refuse(!named_window.is_empty(), "WINDOW", IN_REDSHIFT)?;
    refuse(qualify.is_some(), "QUALIFY", IN_REDSHIFT)?;
    refuse(top.is_some(), "TOP", "leave records out with WHERE")?;
    refuse(exclude.is_some(), "EXCLUDE", "name the columns")?;
    refuse(!connect_by.is_empty(), "CONNECT BY", IN_REDSHIFT)?;
    refuse(!cluster_by.is_empty(), "CLUSTER BY", IN_REDSHIFT)?;
    refuse(!distribute_by.is_empty(), "DISTRIBUTE BY", IN_REDSHIFT)?;
    refuse(!sort_by.is_empty(), "SORT BY", IN_REDSHIFT)?;
    refuse(into.is_some(), "INTO", "the target's table is where rows go")?;
    refuse(!lateral_views.is_empty(), "LATERAL VIEW", "take one value with a path, or json_extract_path_text()")?;
    refuse(prewhere.is_some(), "PREWHERE", "write WHERE")?;
    refuse(
        value_table_mode.is_some() || select_modifiers.is_some() || !optimizer_hints.is_empty(),
        FORM,
        "write SELECT columns FROM stream WHERE condition",
    )?;
    let [only] = from.as_slice() else {
        return Err(Refusal::whole("FROM must name one stream", "give each stream a target of its own"));
    };
    if let Some(join) = only.joins.first() {
        return Err(Refusal::at(join, "JOIN is not supported yet", "load both streams, and join them in Redshift"));
    }
    let one_stream =
        || Refusal::at(&only.relation, "FROM must name one stream", "write SELECT columns FROM stream WHERE condition");
    let TableFactor::Table {
        name,
        alias,
        args: None,
        with_hints,
        version: None,
        with_ordinality: false,
        partitions,
        json_path: None,
        sample: None,
        index_hints,
    } = &only.relation
    else {
        return Err(one_stream());
    };
    if !with_hints.is_empty() || !partitions.is_empty() || !index_hints.is_empty() {
        return Err(one_stream());
    }
    let [part] = name.0.as_slice() else {
        return Err(Refusal::at(name, format!("{name}: a stream has no schema"), "write its name alone"));
    };
    let Some(ident) = part.as_ident() else {
        return Err(Refusal::at(name, format!("{name} is not the name of a stream"), ""));
    };
    let stream = fold(ident);
    let of_alias = alias.as_ref().map(|alias| &alias.name);
    for ident in std::iter::once(ident).chain(of_alias) {
        if ident.quote_style.is_none() && names::is_reserved(&ident.value) {
            let word = fold(ident);
            let what = format!("{word} is a reserved word in Redshift");
            return Err(Refusal::span(ident.span, what, format!("write \"{word}\", with the quotes, or another name")));
        }
    }
    let alias = match alias {
        None => stream.clone(),
        Some(TableAlias { explicit: _, name, columns, at: None }) if columns.is_empty() => fold(name),
        Some(alias) => {
            return Err(Refusal::at(alias, "other names for columns are not supported here", "name them with AS"));
        }
    };
    Ok((stream, alias))
}

/// All names of a stream: its columns, and what every record has without declaring it.
fn names(columns: &[SourceColumn]) -> Vec<Name> {
    let declared = columns.iter().enumerate().map(|(number, column)| Name {
        name: column.name.clone(),
        input: Input::Column(number),
        kind: column.kind.clone(),
    });
    let source = [
        ("_topic", SourceValue::Topic, ColumnKind::Varchar(249)),
        ("_partition", SourceValue::Partition, ColumnKind::Integer),
        ("_offset", SourceValue::Offset, ColumnKind::BigInt),
        ("_timestamp", SourceValue::Timestamp, ColumnKind::TimestampTz),
        ("_key", SourceValue::Key, TEXT),
        ("_headers", SourceValue::Headers, TEXT),
    ];
    let source = source.map(|(name, value, kind)| Name { name: name.into(), input: Input::Source(value), kind });
    declared.chain(source).collect()
}

/// The parser says the place at the end of its message.
fn syntax(error: &ParserError, text: &str, declared: &[&str]) -> Refusal {
    let message = match error {
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text.clone(),
        ParserError::RecursionLimitExceeded => {
            return Refusal::whole(
                // How many of the parser's levels an expression takes is its own affair.
                "expressions nested too deep",
                "load the columns, and compute this in Redshift",
            );
        }
    };
    let place = message.rsplit_once(" at Line: ").and_then(|(what, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((what, Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? }))
    });
    let (what, place) = place.unwrap_or((&message, Span::empty().start));
    let tokens = tokens(text);
    // The place may be that of the token after the one which the message names; at the end there is none.
    let found = what.rsplit_once("found: ").map(|(_, found)| found);
    let is_found = |token: &&TokenWithSpan| found.is_some_and(|found| token.token.to_string() == found);
    let next = tokens.iter().position(|token| token.span.start == place).unwrap_or(tokens.len());
    let token = match found {
        Some("EOF") => tokens.last(),
        _ => tokens[..tokens.len().min(next + 1)].iter().rev().take(2).find(is_found),
    };
    let what =
        what.strip_suffix("found: EOF").map_or(what.to_string(), |what| format!("{what}found: the end of the query"));
    let start = token.map_or(place, |token| token.span.start);
    let help = match token.map(|token| &token.token) {
        Some(Token::Word(word))
            if found != Some("EOF")
                && word.quote_style.is_none()
                && names::is_reserved(&word.value)
                && declared.contains(&word.value.to_lowercase().as_str()) =>
        {
            let word = word.value.to_lowercase();
            format!("{word} is a reserved word in Redshift: as a name it stands in double quotes")
        }
        _ => String::new(),
    };
    Refusal::span(Span::new(start, start), format!("not SQL: {what}"), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streams() -> Vec<(String, Vec<SourceColumn>)> {
        vec![
            (
                "clicks".into(),
                vec![
                    SourceColumn::new("userId", ColumnKind::BigInt),
                    SourceColumn::new("ts", ColumnKind::TimestampTz),
                    SourceColumn::new("url", ColumnKind::Varchar(200)),
                    SourceColumn::new("price", ColumnKind::Decimal(9, 2)),
                    SourceColumn::new("ok", ColumnKind::Boolean),
                ],
            ),
            ("other".into(), vec![SourceColumn::new("a", ColumnKind::Double)]),
        ]
    }

    #[test]
    fn columns_with_and_without_new_names() {
        let text = "SELECT c.USERID, \"ts\" AS At, _offset AS kafka_offset, c._key FROM clicks AS c;";
        let selection = parse(text, &streams()).unwrap();
        let names: Vec<&str> = selection.columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!((selection.stream.as_str(), names), ("clicks", vec!["userid", "at", "kafka_offset", "_key"]));
        let inputs = selection.columns.iter().map(|column| match column.value {
            Value::Input(place) => Some(selection.inputs[place]),
            // Its bytes become text.
            Value::Computed(_) => None,
        });
        let inputs: Vec<_> = inputs.collect();
        assert_eq!(
            inputs,
            [Some(Input::Column(0)), Some(Input::Column(1)), Some(Input::Source(SourceValue::Offset)), None]
        );
        assert!(selection.uses(SourceValue::Key) && !selection.uses(SourceValue::Headers));
        assert_eq!(parse("select a from other", &streams()).unwrap().columns[0].kind, ColumnKind::Double);
    }

    #[test]
    fn expressions_have_the_types_that_redshift_gives_them() {
        for (expression, kind) in [
            ("userid + 1", ColumnKind::BigInt),
            ("1 + 1", ColumnKind::Integer),
            ("price * 2", ColumnKind::Decimal(20, 2)),
            ("price / price", ColumnKind::Decimal(19, 10)),
            ("round(price)", ColumnKind::Decimal(10, 2)),
            ("price > '1.555'", ColumnKind::Boolean),
            ("userid IN (1, decode(ok, true, 2))", ColumnKind::Boolean),
            ("price + userid", ColumnKind::Decimal(22, 2)),
            ("price * 1.5e0", ColumnKind::Double),
            ("-price", ColumnKind::Decimal(10, 2)),
            ("url || 'x'", TEXT),
            ("upper(url)", TEXT),
            ("'x'", ColumnKind::Varchar(1)),
            ("nvl(url, 'nothing')", ColumnKind::Varchar(200)),
            ("CASE WHEN ok THEN 1 ELSE userid END", ColumnKind::BigInt),
            ("CASE userid WHEN 1 THEN 1.5 WHEN 2 THEN NULL ELSE price END", ColumnKind::Decimal(9, 2)),
            ("decode(userid, 1, 'one', NULL, 'none', 'many')", ColumnKind::Varchar(4)),
            ("url::varchar(3)", ColumnKind::Varchar(3)),
            ("CAST(price AS decimal(5, 1))", ColumnKind::Decimal(5, 1)),
            ("ts::date", ColumnKind::Date),
            ("date_trunc('hour', ts)", ColumnKind::TimestampTz),
            ("dateadd(day, 1, ts::date)", ColumnKind::Timestamp),
            ("datediff(minute, ts, '2026-01-01')", ColumnKind::BigInt),
            ("extract(year FROM ts)", ColumnKind::Integer),
            ("to_char(ts, 'YYYY')", TEXT),
            ("strpos(url, '/')", ColumnKind::Integer),
            ("userid IN (1, 2, NULL) AND NOT url LIKE '%x' OR ts IS NULL", ColumnKind::Boolean),
            ("url ~ '^/[a-z]+'", ColumnKind::Boolean),
            ("ts > '2026-01-01' AND price BETWEEN 1 AND 2.5", ColumnKind::Boolean),
            ("DATE '2026-01-01'", ColumnKind::Date),
            ("timestamp 'epoch' + userid * interval '1 second'", ColumnKind::Timestamp),
            ("timestamptz 'epoch' + interval '1 millisecond' * price", ColumnKind::TimestampTz),
            ("timestamp with time zone 'epoch' - interval '1 day'", ColumnKind::TimestampTz),
            ("DATE 'Nov 25, 2026' + interval '1' day", ColumnKind::Timestamp),
            ("interval '1-2' year to month + '11/25/2026'::date", ColumnKind::Timestamp),
            ("ts - (interval '1 day' + interval '1 hour') / 2", ColumnKind::TimestampTz),
            ("ts + -interval '1 month'", ColumnKind::TimestampTz),
            ("ts + '1 day'::interval", ColumnKind::TimestampTz),
            ("ts > '11/25/2026 10:00 PM'", ColumnKind::Boolean),
            ("integer '5'", ColumnKind::Integer),
            ("decimal(5,2) '1.5'", ColumnKind::Decimal(5, 2)),
            ("varchar(3) 'abc'", ColumnKind::Varchar(3)),
            ("boolean 't'", ColumnKind::Boolean),
            ("double precision '1e5'", ColumnKind::Double),
            ("NULL::decimal(3,1)", ColumnKind::Decimal(3, 1)),
        ] {
            let selection = parse(&format!("SELECT {expression} AS x FROM clicks"), &streams());
            let selection = selection.unwrap_or_else(|refusal| panic!("{expression}: {refusal}"));
            assert_eq!(selection.columns[0].kind, kind, "{expression}");
        }
    }

    #[test]
    fn what_is_not_supported_is_said_with_its_place() {
        for (text, place, part) in [
            ("", (0, 0), "one SELECT"),
            ("SELECT ts FROM clicks; SELECT ts FROM clicks", (0, 0), "one SELECT"),
            ("DELETE FROM clicks", (0, 0), "one SELECT"),
            ("SELECT * FROM clicks", (1, 8), "SELECT *"),
            ("SELECT nothing FROM clicks", (1, 8), "no column nothing"),
            ("SELECT ulr FROM clicks", (1, 8), "did you mean url?"),
            ("SELECT ts FROM nothing", (1, 16), "no stream nothing; there is clicks, other"),
            ("SELECT x.ts FROM clicks c", (1, 8), "write ts alone"),
            ("SELECT c.ulr FROM clicks c", (1, 10), "did you mean url?"),
            (
                "SELECT ts FROM clicks LIMIT 1",
                (1, 23),
                "LIMIT is not supported: a query sees one record at a time; leave records out with WHERE",
            ),
            ("SELECT ts\nFROM clicks\nORDER BY ts", (3, 1), "SORTKEY"),
            ("SELECT ts FROM clicks GROUP BY ts", (1, 23), "do it in Redshift"),
            ("SELECT DISTINCT ts FROM clicks", (1, 8), "DISTINCT"),
            ("SELECT \"limit\" FROM clicks LIMIT 1", (1, 28), "LIMIT"),
            ("WITH x AS (SELECT 1) SELECT ts FROM clicks", (1, 1), "in its place"),
            ("SELECT TOP 3 ts FROM clicks", (1, 8), "TOP"),
            ("SELECT ts INTO x FROM clicks", (1, 11), "INTO"),
            ("SELECT c.ts FROM clicks c JOIN other o ON true", (1, 32), "JOIN"),
            ("SELECT ts FROM clicks, other", (0, 0), "one stream"),
            ("SELECT ts FROM s.clicks", (1, 16), "no schema"),
            ("SELECT ts, url EXCLUDE url FROM clicks", (1, 16), "EXCLUDE"),
            ("SELECT ts FROM clicks WHERE ok START WITH ok CONNECT BY ok", (1, 46), "CONNECT BY"),
            ("SELECT b AS x FROM clicks AS c(b, a)", (1, 30), "other names"),
            ("SELECT 1 / 0 AS n FROM clicks", (1, 8), "division by zero"),
            ("SELECT 'abc'::int AS n FROM clicks", (1, 8), "not an integer"),
            ("SELECT 1e400 AS n FROM clicks", (1, 8), "not a number"),
            ("SELECT price > 'x' AS n FROM clicks", (1, 16), "not a decimal"),
            ("SELECT url LIKE url AS n FROM clicks", (1, 8), "in quotes"),
            ("SELECT ts, userid AS ts FROM clicks", (1, 22), "selected twice"),
            ("SELECT ts FROM clicks UNION SELECT ts FROM clicks", (1, 1), "UNION"),
            ("SELECT ts FRM clicks", (1, 15), "Expected"),
            ("SELECT ts FROM clicks WHERE", (1, 23), "the end of the query"),
            ("SELECT 1 +\n  uper(url) AS x FROM clicks", (2, 3), "did you mean upper?"),
            ("SELECT count(url) AS n FROM clicks", (1, 8), "several rows"),
            ("SELECT lag(url) OVER () AS n FROM clicks", (1, 8), "several rows"),
            ("SELECT getdate() AS n FROM clicks", (1, 8), "_timestamp"),
            ("SELECT random() AS n FROM clicks", (1, 8), "another answer"),
            ("SELECT current_date AS n FROM clicks", (1, 8), "_timestamp"),
            ("SELECT url + 1 AS n FROM clicks", (1, 12), "not a number"),
            ("SELECT ts + 1 AS n FROM clicks", (1, 11), "dateadd()"),
            ("SELECT ts - ts AS n FROM clicks", (1, 11), "datediff()"),
            ("SELECT INTERVAL '1 day' AS n FROM clicks", (1, 8), "add it to a time"),
            ("SELECT userid * INTERVAL '1 day' AS n FROM clicks", (1, 8), "add it to a time"),
            ("SELECT nvl(NULL, INTERVAL '1 day') AS n FROM clicks", (1, 8), "add it to a time"),
            ("SELECT interval '1 day' - ts AS n FROM clicks", (1, 25), "is nothing"),
            ("SELECT ts * interval '1 day' AS n FROM clicks", (1, 11), "is not a number"),
            ("SELECT ts + interval userid AS n FROM clicks", (1, 13), "n * interval '1 day'"),
            ("SELECT ts + interval '1 fortnight' AS n FROM clicks", (1, 13), "not a part of a time"),
            ("SELECT date '9999-12-31' + interval '2 days' AS n FROM clicks", (1, 8), "outside of the years"),
            ("SELECT date '25/11/2026' AS n FROM clicks", (1, 8), "there is no month 25"),
            ("SELECT 'today'::date AS n FROM clicks", (1, 8), "use _timestamp"),
            ("SELECT ts > 'now' AS n FROM clicks", (1, 13), "use _timestamp"),
            ("SELECT least(userid, 1) AS n FROM clicks", (1, 8), "CASE WHEN a <= b"),
            ("SELECT convert(integer, url) AS n FROM clicks", (1, 8), "CAST(x AS type)"),
            ("SELECT trunc(ts) AS n FROM clicks", (1, 8), "CAST(t AS date)"),
            ("SELECT sysdate AS n FROM clicks", (1, 8), "_timestamp"),
            ("SELECT userid AS n FROM clicks WHERE url", (1, 38), "not boolean"),
            ("SELECT userid AS n FROM clicks WHERE url = 1", (1, 42), "no type in common"),
            ("SELECT userid AS n FROM clicks WHERE userid = 'x'", (1, 47), "not a bigint: \"x\""),
            ("SELECT ts > 'yesterday' AS n FROM clicks", (1, 13), "not a timestamptz"),
            ("SELECT ok::varchar AS n FROM clicks", (1, 8), "CASE WHEN b"),
            ("SELECT url::jsonb AS n FROM clicks", (1, 13), "not supported"),
            ("SELECT url::decimal(40,2) AS n FROM clicks", (1, 13), "38 digits"),
            ("SELECT NULL AS n FROM clicks", (1, 8), "NULL::varchar(10)"),
            ("SELECT upper(url) FROM clicks", (1, 8), "with AS"),
            ("SELECT upper(userid) AS n FROM clicks", (1, 8), "should be text"),
            ("SELECT upper() AS n FROM clicks", (1, 8), "upper(text)"),
            ("SELECT url ~ '(' AS n FROM clicks", (1, 14), "not a pattern"),
            ("SELECT url SIMILAR TO 'x' AS n FROM clicks", (1, 8), "LIKE"),
            ("SELECT url IS DISTINCT FROM 'x' AS n FROM clicks", (1, 8), "IS DISTINCT FROM"),
            ("SELECT (SELECT 1) AS n FROM clicks", (1, 8), "subquery"),
            ("SELECT price % 1.5e0 AS n FROM clicks", (1, 14), "%"),
            ("SELECT to_char(price, '99') AS n FROM clicks", (1, 8), "cast it as varchar"),
            ("SELECT to_char(ts, 'what') AS n FROM clicks", (1, 8), "double quotes"),
            ("SELECT dateadd(fortnight, 1, ts) AS n FROM clicks", (1, 16), "not a part of a time"),
            ("SELECT convert_timezone('Nowhere', ts) AS n FROM clicks", (1, 8), "not a time zone"),
            ("SELECT ARRAY[1] AS n FROM clicks", (1, 8), "lists"),
            ("SELECT TRY_CAST(url AS int) AS n FROM clicks", (1, 8), "CAST(x AS type)"),
        ] {
            let refusal = parse(text, &streams()).map(|s| s.text).expect_err(text);
            assert!(refusal.to_string().contains(part), "{text}: {refusal}");
            assert_eq!((refusal.line, refusal.column), place, "{text}: {refusal}");
        }
    }

    /// What is here is not said to be elsewhere.
    #[test]
    fn what_is_here_is_not_lacking() {
        for name in crate::query::functions::all().flat_map(|function| function.names) {
            assert_eq!(crate::query::lacking::instead(name), None, "{name}");
        }
    }

    #[test]
    fn the_place_is_that_of_the_word_that_is_wrong() {
        for (text, word) in [
            ("SELECT CAST(url AS jsonb) AS n FROM clicks", "jsonb"),
            ("SELECT userid, CAST(CAST(url AS int) AS jsonb) AS n FROM clicks", "jsonb"),
            ("SELECT NOT url AS n FROM clicks", "url"),
            ("SELECT ok AND NOT (userid + url) > 1 AS n FROM clicks", "+"),
            ("SELECT url::timestmp AS n FROM clicks", "timestmp"),
            ("SELECT dateadd(dya, 1, ts) AS n FROM clicks", "dya"),
            ("SELECT userid IN (1, 'b') AS n FROM clicks", "'b'"),
            ("SELECT userid BETWEEN 1 AND 'b' AS n FROM clicks", "'b'"),
            ("SELECT (userid + 1) * (price - url) AS n FROM clicks", "-"),
            ("SELECT 'b' = userid AS n FROM clicks", "'b'"),
            ("SELECT CASE WHEN ok THEN 'b' ELSE userid END AS n FROM clicks", "'b'"),
            ("SELECT c.ulr FROM clicks c", "ulr"),
            ("SELECT \"two words\" FROM clicks", "\"two words\""),
            ("SELECT 'ä' || uper(url) AS n FROM clicks", "uper"),
            ("SELECT 'a b c'::int AS n FROM clicks", "'a b c'"),
            ("SELECT (1 / 0) AS n FROM clicks", "1"),
            ("SELECT 1 AS n, 2 AS n FROM clicks", "n"),
            ("SELECT interval '1 fortnight' + ts AS n FROM clicks", "interval"),
            ("SELECT date '2026-02-30' AS n FROM clicks", "date"),
            ("SELECT extract(nothing FROM ts) AS n FROM clicks", "nothing"),
            ("SELECT extract(year FROM url) AS n FROM clicks", "extract"),
            ("SELECT ts FROM clicks WHERE", "WHERE"),
            ("SELECT ts FROM clicks WHERE ok AND", "AND"),
            ("SELECT ts,, url FROM clicks", ","),
            ("SELECT ts FROM clicks WHERE url = 'open", "'open"),
            ("SELECT ts FROM nothing", "nothing"),
            ("SELECT ts FROM clicks\n\tWHERE  url >< 1", "<"),
            ("SELECT case AS n FROM clicks", "case"),
            ("SELECT order AS n FROM clicks", "order"),
        ] {
            let refusal = parse(text, &streams()).map(|s| s.text).expect_err(text);
            assert_eq!(&text[refusal.bytes(text)], word, "{text}: {refusal}");
        }
    }

    #[test]
    fn words_are_reserved_as_in_redshift() {
        let words =
            ["user", "offset", "timestamp", "tag", "order", "from", "default", "open", "system", "raw", "snapshot"];
        let others = [
            "date", "time", "year", "value", "values", "type", "key", "status", "start", "level", "name", "exists",
            "trim", "fetch", "view", "lateral", "match", "language",
        ];
        let columns = words.iter().chain(&others).map(|word| SourceColumn::new(word, ColumnKind::Integer)).collect();
        let streams = vec![("s".to_string(), columns)];
        for word in words {
            for query in [
                format!("SELECT {word} FROM s"),
                format!("SELECT s, {word} AS x FROM s").replace("s, ", ""),
                format!("SELECT 1 + {word} AS x FROM s"),
                format!("SELECT \"user\" AS y, abs({word}) AS x FROM s"),
                format!("SELECT 1 AS x FROM s WHERE {word} = 1"),
                format!("SELECT CASE WHEN {word} > 1 THEN 1 END AS x FROM s"),
            ] {
                let refusal = parse(&query, &streams).map(|s| s.text).expect_err(&query);
                assert_eq!(&query[refusal.bytes(&query)], word, "{query}: {refusal}");
                assert_eq!(refusal.what, format!("{word} is a reserved word in Redshift"), "{query}");
                assert!(refusal.help.contains(&format!("\"{word}\"")), "{query}: {refusal}");
            }
            if word != "from" {
                let refusal = parse(&format!("SELECT 1 {word} FROM s"), &streams).map(|s| s.text).expect_err(word);
                assert!(refusal.help.contains(&format!("AS {word}")), "{refusal}");
            }
            for query in [
                format!("SELECT \"{word}\" FROM s"),
                format!("SELECT s.{word} FROM s"),
                format!("SELECT s.{word}, 1 AS x FROM s WHERE s.{word} = 1"),
                format!("SELECT 1 AS {word} FROM s"),
                format!("SELECT 1 \"{word}\" FROM s"),
                format!("SELECT 1 AS x FROM s AS \"{word}\""),
            ] {
                parse(&query, &streams).unwrap_or_else(|refusal| panic!("{query}: {refusal}"));
            }
            for query in [format!("SELECT 1 AS x FROM s {word}"), format!("SELECT 1 AS x FROM s AS {word}")] {
                let refusal = parse(&query, &streams).map(|s| s.text).expect_err(&query);
                assert_eq!(&query[refusal.bytes(&query)], word, "{query}: {refusal}");
            }
        }
        for word in others {
            for query in [
                format!("SELECT {word} FROM s"),
                format!("SELECT s.{word}, {word} AS x FROM s WHERE {word} = 1 AND 1 < {word}"),
                format!("SELECT abs({word}) AS {word} FROM s"),
                format!("SELECT 1 {word} FROM s"),
                format!("SELECT 1 {word}, 2 AS x FROM s AS {word} WHERE ok"),
            ] {
                let query = query.replace(" WHERE ok", " WHERE 1 = 1");
                parse(&query, &streams).unwrap_or_else(|refusal| panic!("{query}: {refusal}"));
            }
            if word != "start" {
                // That one needs AS before it, in Redshift too.
                let query = format!("SELECT 1 AS x FROM s {word} WHERE {word}.{word} = 1");
                parse(&query, &streams).unwrap_or_else(|refusal| panic!("{query}: {refusal}"));
            }
        }
        // What is no column is what it is in SQL.
        for query in [
            "SELECT timestamp 'epoch' AS x FROM s",
            "SELECT CASE -1 WHEN 1 THEN 2 END AS x, NULL::int AS y FROM s",
            "SELECT left('a', 1) AS x, right('a', 1) AS y FROM s",
            "SELECT 1 AS x FROM s WHERE NOT 1 = 2 AND 1 IS NOT NULL AND TRUE",
        ] {
            parse(query, &streams).unwrap_or_else(|refusal| panic!("{query}: {refusal}"));
        }
    }

    #[test]
    fn nesting_has_an_end() {
        let deep = |levels| format!("SELECT {}userid{} AS n FROM clicks", "abs(".repeat(levels), ")".repeat(levels));
        assert!(parse(&deep(20), &streams()).is_ok());
        let refusal = parse(&deep(80), &streams()).map(|_| ()).unwrap_err();
        assert!(refusal.what.contains("too deep"), "{refusal}");
        let mut is = "ok".to_string();
        (0..60).for_each(|_| is += " IS TRUE");
        let refusal = parse(&format!("SELECT {is} AS n FROM clicks"), &streams()).map(|_| ()).unwrap_err();
        assert!(refusal.what.contains("too large"), "{refusal}");
        let long = vec!["userid = 1"; 500].join(" OR ");
        assert!(parse(&format!("SELECT {long} AS n FROM clicks"), &streams()).is_ok());
        let endless = vec!["userid = 1"; 50_000].join(" OR ");
        assert!(parse(&format!("SELECT {endless} AS n FROM clicks"), &streams()).is_err());
        let mut wide = "userid".to_string();
        for _ in 0..20 {
            wide = format!("nvl({wide}, 1)");
        }
        let refusal = parse(&format!("SELECT {wide} AS n FROM clicks"), &streams()).map(|_| ()).unwrap_err();
        assert!(refusal.what.contains("too large"), "{refusal}");
    }
}
