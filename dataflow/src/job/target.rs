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
        let column = selection.columns.iter_mut().find(|c| c.name == name.to_lowercase());
        match (column, policy.section(findings)) {
            (Some(column), Some(section)) => column.policy = policy::read(section, column.policy, findings),
            (None, _) => {
                let what = format!("the query selects no column {name}");
                findings.add(span, what, "select it, or remove it from `on`");
            }
            (_, None) => {}
        }
    }
}

fn read_table_name(table: &Placed<String>, findings: &mut Findings) -> Option<(TableName, Range<usize>)> {
    let folded = table.value.to_lowercase();
    match folded.split('.').collect::<Vec<_>>().as_slice() {
        [schema, name] if !schema.is_empty() && !name.is_empty() => {
            Some((TableName { schema: schema.to_string(), table: name.to_string() }, table.span.clone()))
        }
        _ => {
            findings.add(
                table.span.clone(),
                format!("{:?} is not a table with its schema", table.value),
                "write it like analytics.clicks",
            );
            None
        }
    }
}
