//! `tidegate verify`: whether what the control tables say is true.

use connectors::{
    TableName,
    inspect::{Filled, Found, Looked, OriginColumns, Scope, Topic, Verification},
};
use operators::query::{Input, SourceValue, select::Value};
use serde::Serialize;

use super::{
    output::{WIDTH, counted, indented, json_line, print, print_escaped, table, wrapped},
    since::moment_of,
};
use crate::{
    error::{Code, CodedError, Result},
    job::{self, Job, TargetOptions},
    plan, ports, visible,
};

/// Compare the control tables and the targets with each other: cuts, digests, counts, rows. Exit code 4 on a finding.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The job file.
    job: String,
    /// A target that others write to as well: findings that their rows explain become warnings.
    #[arg(long, value_name = "SCHEMA.TABLE")]
    edited: Vec<String>,
    /// Only so many of the newest epochs, and those before them back to a whole cut.
    #[arg(long, value_name = "N", conflicts_with_all = ["since", "new"])]
    last: Option<u64>,
    /// Only epochs that were closed since: a time that has passed (90m, 24h, 7d) or a moment.
    #[arg(long, value_name = "TIME", conflicts_with = "new")]
    since: Option<String>,
    /// Only epochs that were not verified yet.
    #[arg(long)]
    new: bool,
    /// Print the SQL statements instead of running them.
    #[arg(long, conflicts_with = "json")]
    sql: bool,
    /// Print each finding as a JSON object, one a line.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let job = job::look(&arguments.job, &[job::System::Redshift])?;
    if arguments.sql {
        print(&sql(&job)?);
        return Ok(());
    }
    let scope = match (arguments.last, &arguments.since) {
        (Some(number), _) => Scope::Last(number),
        (None, Some(since)) => Scope::Since(moment_of(since)?),
        (None, None) if arguments.new => Scope::New,
        (None, None) => Scope::All,
    };
    let verified = verify(&job, &arguments.edited, scope)?;
    if arguments.json {
        print_escaped(&verified.json)
    } else {
        print(&verified.text)
    };
    match verified.good {
        true => Ok(()),
        false => Err(CodedError::new(Code::Findings, "")),
    }
}

/// What a verification says.
struct Verified {
    /// The text for a person.
    text: String,
    /// One object a line.
    json: String,
    /// Whether anything is wrong.
    good: bool,
}

#[derive(Serialize)]
struct FindingLine<'a> {
    severity: &'static str,
    what: &'a str,
    target: Option<&'a str>,
    columns: &'a [String],
    rows: Vec<String>,
}

/// Checks the control tables and targets of a job. Findings about targets that are named in `edited` are warnings: others
/// write to them.
fn verify(job: &Job, edited: &[String], scope: Scope) -> Result<Verified> {
    for table in edited {
        if !job.targets.iter().any(|target| target.table.to_string() == *table) {
            let targets: Vec<String> = job.targets.iter().map(|target| target.table.to_string()).collect();
            let what = format!("--edited {table}: the job has no such target; it has {}", targets.join(", "));
            return Err(CodedError::new(Code::Usage, what));
        }
    }
    let targets = all_filled(job)?;
    let verified = ports::inspect(job)?.verify(&targets, scope).map_err(CodedError::of_tables)?;
    let unplaced = targets.iter().filter(|target| target.origin.is_none()).map(|target| target.table.to_string());
    let edits = |found: &Found| found.edits_disturb && found.target.as_ref().is_some_and(|t| edited.contains(t));
    Ok(Verified {
        text: text(&job.name, &verified, &edits, &unplaced.collect::<Vec<_>>()),
        json: verified.found.iter().map(|found| json_line(&line(found, edits(found)))).collect::<Result<_>>()?,
        good: verified.found.iter().all(edits),
    })
}

/// A finding as `--json` gives it. Names stay what they are.
fn line(found: &Found, is_warning: bool) -> FindingLine<'_> {
    let mut rows: Vec<String> = found.rows.iter().map(|row| row.join(", ")).collect();
    if found.more {
        rows.push("...".into());
    }
    let Found { what, target, columns, .. } = found;
    FindingLine { severity: severity(is_warning), what, target: target.as_deref(), columns, rows }
}

fn severity(is_warning: bool) -> &'static str {
    if is_warning { "warning" } else { "finding" }
}

/// How many blanks stand before the rows of a finding.
const INDENT: usize = 4;

/// What a verification says to a person: what was looked for and where, how much of each was found, what it was, and in one line whether
/// all is well. `edits` says of a finding whether it is a warning; `unplaced` are targets whose rows do not say which records they are of.
fn text(job: &str, verified: &Verification, edits: &dyn Fn(&Found) -> bool, unplaced: &[String]) -> String {
    let Verification { epochs, looked, found, unproved, first } = verified;
    let which = match epochs {
        0 => "no epochs".to_string(),
        1 => format!("epoch {first}"),
        _ => format!("epochs {first} to {}", first + epochs - 1),
    };
    let mut text = format!("job {job}: {which}\n");
    let mut targets: Vec<Option<&str>> = vec![None];
    looked.iter().for_each(|looked| {
        if !targets.contains(&looked.target.as_deref()) {
            targets.push(looked.target.as_deref());
        }
    });
    for target in targets {
        let place = target.map_or("the control tables".to_string(), |target| format!("target {target}"));
        text += &format!("\nfound  what is looked for in {place} (rows of it; 0 is good)\n");
        for Looked { what, rows, more, .. } in looked.iter().filter(|looked| looked.target.as_deref() == target) {
            let number = format!("{}{rows}", if *more { ">" } else { "" });
            text += &wrapped(&format!("{number:>5}  "), what, WIDTH);
        }
    }
    text.push('\n');
    for found in found {
        text += &wrapped(&format!("{}: ", severity(edits(found))), &found.what, WIDTH);
        text += &indented(&rows(found), INDENT);
    }
    unproved.iter().for_each(|what| text += &wrapped("not proved: ", what, WIDTH));
    for target in unplaced {
        let what = format!("which records are in {target}: its query selects no _partition and _offset");
        text += &wrapped("not checked: ", &what, WIDTH);
    }
    let from = if *first == 0 { String::new() } else { format!(" from epoch {first} on") };
    let findings = found.iter().filter(|found| !edits(found)).count();
    let findings = if findings == 0 { "no problems".into() } else { counted(findings as u64, "finding") };
    text + &format!("{} verified{from}, {findings}\n", counted(*epochs, "epoch"))
}

/// The first rows of a finding: as a table, or, where that is too wide, a value a line.
fn rows(found: &Found) -> String {
    let heads: Vec<&str> = found.columns.iter().map(String::as_str).collect();
    let as_table = table(&heads, &found.rows);
    let shown = match as_table.lines().all(|line| line.chars().count() <= WIDTH - INDENT) {
        true => as_table,
        false => {
            let value = |value: &str| wrapped("  ", &visible::line(value), WIDTH - INDENT);
            let line = |(head, text): (&&str, &String)| format!("{head}\n{}", value(text));
            found.rows.iter().flat_map(|row| heads.iter().zip(row).map(line)).collect()
        }
    };
    if found.more { shown + "...\n" } else { shown }
}

/// The statements of the checks, as a person would run them.
fn sql(job: &Job) -> Result<String> {
    let targets = all_filled(job)?;
    let checks = ports::inspect(job)?.verify_sql(&targets).map_err(CodedError::of_tables)?;
    let is_cased = |target: &Filled| {
        target.table.to_string().chars().chain(names(target).flat_map(str::chars)).any(char::is_uppercase)
    };
    let cased = if targets.iter().any(is_cased) { "SET enable_case_sensitive_identifier TO true;\n\n" } else { "" };
    let statements = checks.iter().map(|check| format!("-- no row, or: {}\n{};\n\n", check.what, check.sql));
    Ok(cased.to_string() + &statements.collect::<String>())
}

/// The columns that say where rows came from.
fn names(target: &Filled) -> impl Iterator<Item = &str> {
    target.origin.iter().flat_map(|OriginColumns { topic, partition, offset }| {
        let topic = if let Topic::Column(column) = topic { Some(column.as_str()) } else { None };
        topic.into_iter().chain([partition.as_str(), offset.as_str()])
    })
}

/// All targets, with the names that their columns have in the table: one in quotes that it has not means the one in lower case.
fn all_filled(job: &Job) -> Result<Vec<Filled>> {
    let mut targets: Vec<Filled> = job.targets.iter().map(|target| filled(job, target)).collect();
    let is_cased = |target: &Filled| names(target).any(|name| name.contains(char::is_uppercase));
    if !targets.iter().any(is_cased) {
        return Ok(targets);
    }
    let tables: Vec<TableName> = targets.iter().map(|target| target.table.clone()).collect();
    let found = ports::warehouse(job)?.tables(&tables)?;
    for target in &mut targets {
        let (Some(table), Some(origin)) = (found.get(&target.table), &mut target.origin) else { continue };
        let settle = |name: &mut String| {
            if let Some(column) = plan::column_of(&table.columns, name) {
                name.clone_from(&column.name);
            }
        };
        let OriginColumns { topic, partition, offset } = origin;
        [partition, offset].into_iter().for_each(settle);
        if let Topic::Column(column) = topic {
            settle(column);
        }
    }
    Ok(targets)
}

/// The target, and what its query says of where its rows came from.
fn filled(job: &Job, target: &TargetOptions) -> Filled {
    let selection = &target.selection;
    let column = |value: SourceValue| {
        let is = |v: &Value| matches!(v, Value::Input(place) if selection.inputs[*place] == Input::Source(value));
        selection.columns.iter().find(|column| is(&column.value)).map(|column| column.name.clone())
    };
    let topics = job.streams.iter().find(|s| s.name == selection.stream).map(|s| s.topics.as_slice());
    let topic = match (column(SourceValue::Topic), topics) {
        (Some(column), _) => Some(Topic::Column(column)),
        (None, Some([only])) => Some(Topic::Only(only.clone())),
        _ => None,
    };
    let origin = match (topic, column(SourceValue::Partition), column(SourceValue::Offset)) {
        (Some(topic), Some(partition), Some(offset)) => Some(OriginColumns { topic, partition, offset }),
        _ => None,
    };
    Filled { table: target.table.clone(), origin, from: target.verify_from }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(what: &str, target: Option<&str>, columns: &[&str], rows: &[&[&str]], more: bool) -> Found {
        let texts = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect::<Vec<_>>();
        Found {
            what: what.into(),
            target: target.map(String::from),
            edits_disturb: target.is_some(),
            columns: texts(columns),
            rows: rows.iter().map(|row| texts(row)).collect(),
            more,
        }
    }

    #[test]
    fn every_number_has_a_heading_and_no_line_is_too_long() {
        let all = [
            found("an epoch is missing from the manifest, or there twice", None, &["epoch", "expected"], &[], false),
            found(
                "the digest of the fence is not that of the last epoch, and a few words more to make it long",
                None,
                &["digest_of_fence", "digest_of_epoch"],
                &[&["0".repeat(64).as_str(), "1".repeat(64).as_str()]],
                false,
            ),
            found("it has other rows", Some("s.t"), &["epoch", "counted"], &[&["3", "10"], &["12", "9"]], true),
        ];
        let rows = |found: &Found| (found.rows.len(), found.more);
        let looked = all.iter().map(|found| Looked {
            what: found.what.clone(),
            target: found.target.clone(),
            rows: rows(found).0,
            more: rows(found).1,
        });
        let verified = Verification {
            epochs: 20,
            first: 5,
            looked: looked.collect(),
            found: all[1..].to_vec(),
            unproved: vec!["a thing".into()],
        };
        let shown = text("orders", &verified, &|found| found.edits_disturb, &["s.u".into()]);
        let expected = "\
job orders: epochs 5 to 24

found  what is looked for in the control tables (rows of it; 0 is good)
    0  an epoch is missing from the manifest, or there twice
    1  the digest of the fence is not that of the last epoch, and a few words
       more to make it long

found  what is looked for in target s.t (rows of it; 0 is good)
   >2  it has other rows

finding: the digest of the fence is not that of the last epoch, and a few words
         more to make it long
    digest_of_fence
      0000000000000000000000000000000000000000000000000000000000000000
    digest_of_epoch
      1111111111111111111111111111111111111111111111111111111111111111
warning: it has other rows
    epoch  counted
        3       10
       12        9
    ...
not proved: a thing
not checked: which records are in s.u: its query selects no _partition and
             _offset
20 epochs verified from epoch 5 on, 1 finding
";
        assert_eq!(shown, expected);
        let json: Vec<serde_json::Value> =
            all[1..].iter().map(|found| serde_json::to_value(line(found, found.edits_disturb)).unwrap()).collect();
        assert_eq!(
            json[1],
            serde_json::json!({
                "severity": "warning", "what": "it has other rows", "target": "s.t", "columns": ["epoch", "counted"],
                "rows": ["3, 10", "12, 9", "..."],
            })
        );
        let nothing = Verification::default();
        assert!(text("orders", &nothing, &|_| false, &[]).starts_with("job orders: no epochs\n"));
    }
}
