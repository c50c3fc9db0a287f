//! `[[target]]`: what is filled, and the query that fills it.

use std::ops::Range;

use checkpoint::Micros;
use connectors::TableName;
use operators::{
    query::{
        names::stream_refusal,
        refusal::Refusal,
        select::{self, Selection},
    },
    schema::{Mode, SourceColumn},
};

use super::{
    findings::Findings,
    policy, quoted,
    reader::{NamedSection, Placed, Section},
    stream::StreamOptions,
};

/// A target: a table and the query that fills it.
#[derive(Clone, Debug)]
pub struct TargetOptions {
    /// The table.
    pub table: TableName,
    /// How its rows get into the table.
    pub mode: Mode,
    /// The query.
    pub selection: Selection,
    /// Its rows are verified from here on, because older ones are taken away; `None` for all.
    pub verify_from: Option<Micros>,
}

/// All of them, in name order of the tables.
pub fn read(
    root: &mut Section<'_>,
    text: &str,
    streams: &[StreamOptions],
    findings: &mut Findings,
) -> Vec<TargetOptions> {
    let sections = root.sections(findings, "target");
    let known: Vec<(String, Vec<SourceColumn>)> = streams.iter().map(|s| (s.name.clone(), s.columns.clone())).collect();
    let is_whole = !streams.is_empty() && streams.iter().all(|s| stream_refusal(&s.name).is_none());
    let mut targets: Vec<TargetOptions> = Vec::new();
    for mut section in sections {
        let (table, query) = (section.text(findings, "table"), section.text(findings, "query"));
        let modes: Vec<(&str, Mode)> = Mode::ALL.iter().map(|mode| (mode.word(), *mode)).collect();
        let mode = section.one_of(findings, "mode", &modes);
        let on = section.named_sections(findings, "on");
        let verify_from = section.moment(findings, "verify_from");
        section.finish(findings);
        let table = table.and_then(|table| read_table_name(&table, findings));
        if let Some((table, span)) = &table
            && targets.iter().any(|t| t.table == *table)
        {
            findings.add(
                span.clone(),
                format!("table {table} belongs to another target already"),
                "give each target its own table",
            );
        }
        // A broken stream has findings of its own, and no query can say a name that is refused.
        let selection = query.filter(|_| is_whole).and_then(|query| {
            let refused = |refusal: Refusal| {
                let span = place_in_query(text, &query, &refusal);
                findings.add(span, format!("the query: {}", refusal.what), refusal.help);
            };
            select::parse(&query.value, &known).map_err(refused).ok()
        });
        if let (Some((table, _)), Some(mode), Some(mut selection)) = (table, mode, selection) {
            read_policies(on, &mut selection, findings);
            targets.push(TargetOptions { table, mode, selection, verify_from });
        }
    }
    // Where something else is wrong, a query that is not understood may be the one that reads it.
    let whole = findings.0.is_empty();
    for stream in streams {
        if whole && !targets.iter().any(|t| t.selection.stream == stream.name) {
            let what = format!("no target reads stream {}", stream.name);
            findings.add(root.span(), what, "add a [[target]] whose query reads it, or remove the stream");
        }
    }
    targets.sort_by(|a, b| a.table.cmp(&b.table));
    targets
}

/// Where in the file a piece of a query stands. Where a variable stands in the query, it is the query as a whole.
fn place_in_query(file: &str, query: &Placed<String>, refusal: &Refusal) -> Range<usize> {
    let inside = file.get(query.span.clone()).and_then(|written| {
        let inside = refusal.bytes(&query.value);
        quoted::place(written, &query.value, inside)
    });
    match inside {
        Some(inside) => query.span.start + inside.start..query.span.start + inside.end,
        None => query.span.clone(),
    }
}

/// `on = { note = { long = "truncate" } }`, by the target's columns.
fn read_policies(on: Vec<(&str, Range<usize>, NamedSection<'_>)>, selection: &mut Selection, findings: &mut Findings) {
    for (name, span, policy) in on {
        let place = |name: &str| selection.columns.iter().position(|c| c.name == name);
        let place = place(name).or_else(|| place(&name.to_lowercase()));
        let column = place.map(|place| &mut selection.columns[place]);
        match (column, policy.section(findings)) {
            (Some(column), Some(section)) => {
                let idle = [("empty", "in a target: a column of the stream says what an empty text is")];
                column.policy = policy::read(section, column.policy, &idle, findings);
            }
            (None, _) => {
                let what = format!("the query selects no column {name}");
                findings.add(span, what, "select it, or remove it from `on`");
            }
            (_, None) => {}
        }
    }
}

/// Schema and table. As in SQL, a name in double quotes keeps its case, and one without is in lower case.
fn read_table_name(table: &Placed<String>, findings: &mut Findings) -> Option<(TableName, Range<usize>)> {
    let mut refuse = |what: String, help: &str| {
        findings.add(table.span.clone(), what, help);
        None
    };
    let Some([schema, name]) = names(&table.value).and_then(|names| <[String; 2]>::try_from(names).ok()) else {
        return refuse(
            format!("{:?} is not a table with its schema", table.value),
            "write it like analytics.clicks; a name that is not in lower case stands in double quotes: analytics.\"Clicks\"",
        );
    };
    if schema.starts_with("pg_") || schema == "information_schema" {
        let what = format!("{:?} is in {schema}, which is a system schema", table.value);
        return refuse(what, "name a table of your own, which others can see");
    }
    if name.starts_with('#') {
        let what = format!("{:?} is the name of a temporary table, which one session sees", table.value);
        return refuse(what, "name a table that stays");
    }
    Some((TableName { schema, table: name }, table.span.clone()))
}

/// The names that points separate; `None` where one is empty, or its quotes do not end.
fn names(text: &str) -> Option<Vec<String>> {
    let (mut names, mut rest) = (Vec::new(), text);
    loop {
        let name;
        (name, rest) = match rest.strip_prefix('"') {
            Some(inside) => {
                let mut end = inside.find('"')?;
                // A quote in a name is written twice.
                while inside[end + 1..].starts_with('"') {
                    end += 2 + inside[end + 2..].find('"')?;
                }
                (inside[..end].replace("\"\"", "\""), &inside[end + 1..])
            }
            None => {
                let (name, after) = rest.split_at(rest.find('.').unwrap_or(rest.len()));
                if name.contains('"') {
                    return None;
                }
                (name.to_lowercase(), after)
            }
        };
        if name.is_empty() {
            return None;
        }
        names.push(name);
        match rest.strip_prefix('.') {
            Some(after) => rest = after,
            None => return rest.is_empty().then_some(names),
        }
    }
}

/// The name of a table as a job file writes it.
pub fn written(table: &TableName) -> String {
    let one = |name: &str| match names(name).as_deref() {
        Some([read]) if read == name => name.to_string(),
        _ => format!("\"{}\"", name.replace('"', "\"\"")),
    };
    format!("{}.{}", one(&table.schema), one(&table.table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_named_as_in_sql() {
        for (text, read) in [
            ("Public.Clicks", Some(["public", "clicks"])),
            (r#"public."Clicks""#, Some(["public", "Clicks"])),
            (r#""A.b"."say ""x""""#, Some(["A.b", r#"say "x""#])),
            (r#""a"."""""#, Some(["a", "\""])),
        ] {
            let names = names(text).and_then(|names| <[String; 2]>::try_from(names).ok());
            assert_eq!(names.as_ref().map(|[a, b]| [a.as_str(), b.as_str()]), read, "{text}");
            let Some([schema, table]) = names else { continue };
            let table = TableName { schema, table };
            let again = super::names(&written(&table));
            assert_eq!(again, Some(vec![table.schema, table.table]), "{text}");
        }
        for text in ["", "a", "a.", ".a", "a..b", r#"a."b"#, r#""a"b.c"#, r#"a.b"c""#, r#"a."""#] {
            let names = names(text).and_then(|names| <[String; 2]>::try_from(names).ok());
            assert_eq!(names, None, "{text}");
        }
    }
}
