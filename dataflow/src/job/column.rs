//! `columns` of a stream.

use connectors::ColumnKind;
use operators::{
    decode::Format,
    schema::SourceColumn,
    sink::fit,
    values::{
        Policy,
        path::{Path, Segment},
        reading::{Epoch, Layout, Reading},
        zone::Zone,
    },
};

use super::{
    findings::Findings,
    policy,
    reader::{Placed, Section},
    spelling::nearest,
};

/// All of them. `base` is how their stream says that they are read; `format` how their records are written, if that is known.
pub fn read(
    section: &mut Section<'_>,
    format: Option<Format>,
    base: Reading,
    findings: &mut Findings,
) -> Vec<SourceColumn> {
    let mut columns: Vec<SourceColumn> = Vec::new();
    for mut column in section.sections(findings, "columns") {
        let (name, kind) = (column.text(findings, "name"), column.text(findings, "type"));
        let kind = kind.and_then(|kind| read_kind(&kind, format, findings));
        refuse_meaningless(&mut column, format, kind.as_ref(), findings);
        let path = column.text(findings, "path").and_then(|path| {
            let read = Path::parse(&path.value);
            read.map_err(|why| findings.add(path.span, format!("`path`: {why}"), help_with(&path.value))).ok()
        });
        let read = read_reading(&mut column, &base, findings);
        let policy = column.section(findings, "on").map(|on| {
            let why = kind.as_ref().map_or(String::new(), |kind| format!("for type {kind}"));
            let by_kind = kind.iter().flat_map(policy::idle_for).map(|key| (key, why.as_str()));
            let by_strict = read.strict.then_some(("empty", "with strict = true: an empty text is of another kind"));
            let mut idle: Vec<_> = by_kind.chain(by_strict).collect();
            idle.dedup_by_key(|(key, _)| *key);
            policy::read(on, Policy::default(), &idle, findings)
        });
        if read.layout.is_some() && read.zone.is_none() && kind == Some(ColumnKind::TimestampTz) {
            let help = "add zone = \"UTC\", or the zone whose clock the times are from";
            findings.add(column.span(), "`layout` names no time zone, and type timestamptz needs one", help);
        }
        column.finish(findings);
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
        if let Some(other) = columns.iter().find(|other| base.any_case && clash(&other.path, &path)) {
            findings.add(
                name.span.clone(),
                format!(
                    "columns {} and {} are read from keys that differ in their case alone",
                    other.name, declared.name
                ),
                "write both keys alike, or leave keys = \"ignore-case\" out",
            );
        }
        columns.push(SourceColumn { path, reading: read, policy: policy.unwrap_or_default(), ..declared });
    }
    columns
}

/// What to write instead of a text that is not a path.
fn help_with(path: &str) -> String {
    match Path::meant(path) {
        Some(meant) => format!("write {:?}", meant.to_string()),
        None => "write it like \"a.b[0].c\", or [\"a.b\"] for a key with a point".into(),
    }
}

/// How a column is read.
fn read_reading(column: &mut Section<'_>, base: &Reading, findings: &mut Findings) -> Reading {
    let epochs: Vec<(&str, Epoch)> = Epoch::ALL.iter().map(|epoch| (epoch.word(), *epoch)).collect();
    let epoch = column.one_of(findings, "time", &epochs);
    let layout = column.text(findings, "layout").and_then(|text| {
        let help = "write it like \"DD/MM/YYYY HH24:MI\", with the parts of to_timestamp()";
        Layout::parse(&text.value).map_err(|why| findings.add(text.span, format!("`layout`: {why}"), help)).ok()
    });
    let zone = column.text(findings, "zone").and_then(|text| {
        let zone = Zone::parse(&text.value);
        if zone.is_none() {
            let what = format!("`zone`: {:?} is not a time zone", text.value);
            let near = nearest(&text.value, Zone::names());
            let help = match near {
                Some(name) => format!("write zone = {name:?}, if that is what was meant"),
                None => "write the name of one, like \"Europe/Tallinn\" or \"UTC\"".into(),
            };
            findings.add(text.span, what, help);
        }
        zone
    });
    let strict = column.flag(findings, "strict").unwrap_or(base.strict);
    Reading { strict, epoch, layout, zone, ..base.clone() }
}

/// Refuses the keys that mean nothing for a column of this type, in records of this format.
fn refuse_meaningless(
    column: &mut Section<'_>,
    format: Option<Format>,
    kind: Option<&ColumnKind>,
    findings: &mut Findings,
) {
    if format == Some(Format::Raw) {
        column.refuse(findings, "path", "with format = \"raw\", whose records have no parts", "remove it");
    }
    let Some(kind) = kind else { return };
    let is_time = matches!(kind, ColumnKind::Timestamp | ColumnKind::TimestampTz);
    let has_meaning = [("time", is_time), ("zone", is_time), ("layout", is_time || *kind == ColumnKind::Date)];
    for (key, _) in has_meaning.into_iter().filter(|(_, has_meaning)| !has_meaning) {
        let help = match format {
            Some(Format::Raw) => "remove it",
            _ => "remove it, or declare a timestamp",
        };
        column.refuse(findings, key, &format!("for type {kind}"), help);
    }
}

/// Whether two paths have keys that differ in their case alone.
fn clash(a: &Path, b: &Path) -> bool {
    let alike = |(a, b): (&Segment, &Segment)| match (a, b) {
        (Segment::Key(a), Segment::Key(b)) => a.eq_ignore_ascii_case(b),
        (a, b) => a == b,
    };
    // Up to the first part in which they lead apart.
    let mut common = a.0.iter().zip(&b.0).take_while(|(a, b)| alike((a, b)));
    common.any(|(a, b)| a != b)
}

fn read_kind(text: &Placed<String>, format: Option<Format>, findings: &mut Findings) -> Option<ColumnKind> {
    let help = match format {
        Some(Format::Raw) => "char(n), varchar(n), varbyte(n)",
        _ => {
            "smallint, integer, bigint, decimal(p,s), real, double precision, boolean, char(n), varchar(n), varbyte(n), \
             date, timestamp, timestamptz"
        }
    };
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
