//! `columns` of a stream.

use connectors::ColumnKind;
use operators::{
    schema::SourceColumn,
    sink::fit,
    values::{Policy, path::Path},
};

use super::{
    findings::Findings,
    policy,
    reader::{Placed, Section},
};

/// All of them.
pub fn read(section: &mut Section<'_>, findings: &mut Findings) -> Vec<SourceColumn> {
    let sections = section.sections(findings, "columns");
    if sections.is_empty() {
        findings.add(
            section.span(),
            "the stream has no `columns`",
            "add columns = [ { name = \"...\", type = \"...\" } ]",
        );
    }
    let mut columns: Vec<SourceColumn> = Vec::new();
    for mut column in sections {
        let (name, kind) = (column.text(findings, "name"), column.text(findings, "type"));
        let path = column.text(findings, "path").and_then(|path| {
            let read = Path::parse(&path.value);
            read.map_err(|why| {
                findings.add(
                    path.span,
                    format!("`path`: {why}"),
                    "write it like \"a.b[0].c\", or [\"a.b\"] for a key with a point",
                )
            })
            .ok()
        });
        let policy = column.section(findings, "on").map(|on| policy::read(on, Policy::default(), findings));
        column.finish(findings);
        let kind = kind.and_then(|kind| read_kind(&kind, findings));
        let Some(name) = name else { continue };
        if columns.iter().any(|c| c.name == name.value.to_lowercase()) {
            findings.add(
                name.span.clone(),
                format!("there are two columns {} (names are lower case in SQL)", name.value),
                "give one of them another name, and say with `path` which key of the record it is",
            );
        }
        if name.value.starts_with('_') {
            findings.add(
                name.span.clone(),
                format!("column {:?} begins with _, as only the record's own values do", name.value),
                "give it another name, and say with `path` which key of the record it is",
            );
        }
        // A column whose type is not understood is kept, so that a query may name it.
        let declared = SourceColumn::new(&name.value, kind.unwrap_or(ColumnKind::Boolean));
        let path = path.unwrap_or(declared.path);
        columns.push(SourceColumn { path, policy: policy.unwrap_or_default(), ..declared });
    }
    columns
}

fn read_kind(text: &Placed<String>, findings: &mut Findings) -> Option<ColumnKind> {
    let help = "smallint, integer, bigint, decimal(p,s), real, double precision, boolean, char(n), varchar(n), \
                varbyte(n), date, timestamp, timestamptz";
    match ColumnKind::parse(&text.value) {
        Ok(kind @ ColumnKind::Other(_)) => {
            let why = match fit::can_fit(&kind, &kind) {
                Err(why)
                    if text.value.to_lowercase().starts_with("time") || text.value.eq_ignore_ascii_case("super") =>
                {
                    format!(": {why}")
                }
                _ => String::new(),
            };
            findings.add(text.span.clone(), format!("type {:?} is not supported{why}", text.value), help);
            None
        }
        Ok(kind) => Some(kind),
        Err(why) => {
            findings.add(text.span.clone(), why, help);
            None
        }
    }
}
