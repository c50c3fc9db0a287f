//! What a job means against the tables as they are. Its hash tells whether it changed.

mod changes;
mod text;

use std::sync::Arc;

use checkpoint::Epoch;
use connectors::{TableKind, TableName, TargetColumn, Warehouse, dead_letter_columns};
use operators::{
    decode::Format,
    query::Query,
    schema::{Mode, SourceColumn, Target},
    sink::fit,
    step::Step,
    values::Policy,
};

use crate::{
    error::{Code, CodedError, Result},
    job::{self, Job},
};
pub use changes::{Change, changes};
pub use text::meaning;

/// A job that can run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its streams, in the order of the job file.
    pub streams: Vec<StreamPlan>,
    /// Its targets, by number; after them, as the last one, the dead letters.
    pub targets: Arc<[Arc<Target>]>,
    /// What fills each target but the last.
    pub flows: Vec<Flow>,
    /// SHA-256 of what it means, in hex.
    pub hash: String,
    /// What it means, as a JSON document with the hashes of its parts.
    pub text: String,
}

/// The way from a stream to a target.
#[derive(Clone, Debug)]
pub struct Flow {
    /// The number of the stream.
    pub stream: usize,
    /// What happens to its rows between decode and fit, in this order.
    pub steps: Vec<Arc<dyn Step>>,
}

/// The steps of a target, in their order. An operator that changes rows or drops some is a line here: before the query if it judges what
/// came (late rows, duplicates), after it if it is about the result. One that adds columns also tells them to the reader of the SELECT,
/// which knows the declared ones so far (`job/target.rs`).
fn steps(target: &job::TargetOptions) -> Vec<Arc<dyn Step>> {
    vec![Arc::new(Query { selection: Arc::new(target.selection.clone()) })]
}

/// A stream.
#[derive(Clone, Debug)]
pub struct StreamPlan {
    /// Its name.
    pub name: String,
    /// How its values are written.
    pub format: Format,
    /// The declared columns.
    pub columns: Arc<[SourceColumn]>,
}

/// Gives the columns of a table, as the catalog has them; `None` if there is none.
pub type Catalog<'a> = dyn FnMut(&TableName) -> connectors::Result<Option<Vec<TargetColumn>>> + 'a;

/// Reads the targets' columns and holds the queries against them. All that is wrong is said at once.
pub fn plan(job: &Job, catalog: &mut Catalog<'_>) -> Result<Plan> {
    let (mut missing, mut unfit) = (Vec::new(), Vec::new());
    let (mut targets, mut flows) = (Vec::new(), Vec::new());
    for (number, target) in job.targets.iter().enumerate() {
        let Some(columns) = catalog(&target.table)? else {
            missing.push(no_table(job, target).what);
            continue;
        };
        let stream = job.streams.iter().position(|s| s.name == target.selection.stream);
        let stream = stream.ok_or_else(|| CodedError::new(Code::Bug, "a query of no stream"))?;
        match fit_target(target, &columns) {
            Ok(columns) => {
                let policies = target.selection.columns.iter().map(|c| c.policy).collect();
                let (table, stream, mode) = (target.table.clone(), Some(stream), target.mode);
                targets.push(Arc::new(Target { number, stream, table, columns: columns.into(), mode, policies }));
            }
            Err(mut findings) => unfit.append(&mut findings),
        }
        flows.push(Flow { stream, steps: steps(target) });
    }
    if !missing.is_empty() {
        return Err(CodedError::new(Code::Names, missing.join("\n")));
    }
    if !unfit.is_empty() {
        return Err(CodedError::new(Code::Target, unfit.join("\n")));
    }
    let streams = job.streams.iter().map(|stream| StreamPlan {
        name: stream.name.clone(),
        format: stream.format,
        columns: stream.columns.as_slice().into(),
    });
    let (hash, text) = text::hash_and_text(job, &targets)?;
    targets.push(Arc::new(dead_letters(job, catalog)?));
    Ok(Plan { streams: streams.collect(), hash, text, targets: targets.into(), flows })
}

/// What a plan means otherwise than that of the newest epoch, and which epoch that is; `None` if it means the same, or there is none.
///
/// # Errors
/// As those of [`Warehouse`].
pub fn changed(plan: &Plan, warehouse: &mut dyn Warehouse) -> connectors::Result<Option<(Epoch, Vec<Change>)>> {
    let Some((epoch, hash)) = warehouse.loaded_plan()?.filter(|(_, hash)| *hash != plan.hash) else { return Ok(None) };
    let what = match warehouse.plan_text(&hash)? {
        Some(before) => changes(&before, &plan.text),
        None => vec![Change {
            part: "the plan".into(),
            what: "changed; what it was before is not in the control tables".into(),
        }],
    };
    Ok(Some((epoch, what)))
}

/// A target whose table is not there.
pub fn no_table(job: &Job, target: &job::TargetOptions) -> CodedError {
    let (database, user) = (&job.redshift.database, &job.redshift.user);
    let what = format!("table {} is not in database {database}, or user {user} may not see it", target.table);
    CodedError::new(Code::Names, what)
}

/// The target of the dead letters, which must have the columns that `init` gives it.
pub fn dead_letters(job: &Job, catalog: &mut Catalog<'_>) -> Result<Target> {
    let (table, wanted) = (job.dead_letters(), dead_letter_columns());
    let Some(found) = catalog(&table)? else {
        return Err(CodedError::new(Code::NoTables, format!("there is no table {table}")));
    };
    let unlike = wanted.iter().find(|w| !found.iter().any(|f| f.name == w.name && f.kind == w.kind));
    if let Some(column) = unlike {
        let what = format!("table {table} has no column {} of type {}", column.name, column.kind);
        return Err(CodedError::new(Code::OtherTables, what));
    }
    let policies = vec![Policy::default(); wanted.len()];
    Ok(Target { number: job.targets.len(), stream: None, table, columns: wanted.into(), mode: Mode::Append, policies })
}

/// The columns of the table that the query fills, in its order; or everything that is in the way.
pub fn fit_target(target: &job::TargetOptions, columns: &[TargetColumn]) -> Result<Vec<TargetColumn>, Vec<String>> {
    let table = &target.table;
    let (mut chosen, mut findings) = (Vec::new(), Vec::new());
    let mut filled: Vec<&str> = Vec::new();
    for selected in &target.selection.columns {
        match column_of(columns, &selected.name) {
            None => {
                let near = near(columns, &selected.name);
                findings.push(format!("table {table} has no column {}{near}", selected.name));
            }
            Some(column) if filled.contains(&column.name.as_str()) => {
                let what =
                    "the query fills it twice: a name in quotes that the table has not means the one in lower case";
                findings.push(format!("column {} of table {table}: {what}", column.name));
            }
            Some(column) if column.is_identity => {
                let what = "Redshift numbers it (IDENTITY): leave it out of the query, or make it GENERATED BY DEFAULT AS IDENTITY";
                findings.push(format!("column {} of table {table}: {what}", column.name));
            }
            Some(column) if let Err(reason) = fit::can_fit(&selected.kind, &column.kind) => {
                findings.push(format!(
                    "column {} of table {table} is {} and the query gives {}: {reason}",
                    column.name, column.kind, selected.kind
                ));
            }
            Some(column) => chosen.push(column.clone()),
        }
        filled.extend(column_of(columns, &selected.name).map(|column| column.name.as_str()));
    }
    for column in columns.iter().filter(|c| c.not_null && !c.has_default) {
        if !filled.contains(&column.name.as_str()) {
            findings.push(format!(
                "column {} of table {table} is NOT NULL without a default, and the query does not fill it",
                column.name
            ));
        }
    }
    if findings.is_empty() { Ok(chosen) } else { Err(findings) }
}

/// The column that a query's name means. A name in quotes is the one that is written so; where the table has none, the one in lower
/// case, to which Redshift folds names unless it is told otherwise.
pub fn column_of<'c>(columns: &'c [TargetColumn], name: &str) -> Option<&'c TargetColumn> {
    let is = |name: &str| columns.iter().find(|column| column.name == name);
    is(name).or_else(|| is(&name.to_lowercase()))
}

/// What may have been meant.
fn near(columns: &[TargetColumn], name: &str) -> String {
    let other_case = columns.iter().find(|column| column.name.to_lowercase() == name.to_lowercase());
    if let Some(column) = other_case {
        return format!("; it has one in another case, which is written in quotes: AS \"{}\"", column.name);
    }
    let near = columns.iter().map(|column| (strsim::damerau_levenshtein(&column.name, name), &column.name)).min();
    let near = near.filter(|(distance, _)| *distance <= 3);
    near.map_or(String::new(), |(_, name)| format!("; did you mean {name}?"))
}

/// What is in the way where the name of a target is not that of a table.
pub fn not_a_table(name: &TableName, kind: TableKind) -> Option<String> {
    (kind != TableKind::Table).then(|| format!("{name} is {kind}, which COPY does not fill"))
}

#[cfg(test)]
mod tests {
    use operators::query::select;

    use super::*;
    use connectors::ColumnKind;

    fn column(name: &str, kind: ColumnKind, not_null: bool, has_default: bool) -> TargetColumn {
        TargetColumn { name: name.into(), kind, not_null, has_default, is_identity: false }
    }

    #[test]
    fn a_query_is_held_against_its_table() {
        let streams = [(
            "s".to_string(),
            vec![SourceColumn::new("a", ColumnKind::BigInt), SourceColumn::new("b", ColumnKind::Varchar(5))],
        )];
        let target = |query: &str| job::TargetOptions {
            verify_from: None,
            mode: Mode::Append,
            table: connectors::TableName { schema: "x".into(), table: "t".into() },
            selection: select::parse(query, &streams).unwrap(),
        };
        let columns = [
            column("amount", ColumnKind::SmallInt, true, false),
            column("b", ColumnKind::Varchar(3), false, false),
            column("at", ColumnKind::TimestampTz, true, true),
            column("n", ColumnKind::Other("super".into()), false, false),
        ];
        let fitted = fit_target(&target("SELECT b, a AS amount FROM s"), &columns).unwrap();
        assert_eq!(fitted.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["b", "amount"]);
        let findings = fit_target(&target("SELECT a AS amuont, b AS at, a AS n FROM s"), &columns).unwrap_err();
        for part in [
            "no column amuont; did you mean amount?",
            "column at of table x.t is timestamptz",
            "SUPER columns come later",
            "column amount of table x.t is NOT NULL",
        ] {
            assert!(findings.iter().any(|f| f.contains(part)), "{part}: {findings:?}");
        }
        // A number that Redshift gives is no column of a query, and is not missed in it.
        let identity =
            |name: &str, is_identity| TargetColumn { is_identity, ..column(name, ColumnKind::BigInt, true, true) };
        let numbered = [identity("a", true), identity("n", false), column("b", ColumnKind::Varchar(9), false, false)];
        assert_eq!(fit_target(&target("SELECT b FROM s"), &numbered).unwrap().len(), 1);
        assert_eq!(fit_target(&target("SELECT b, a AS n FROM s"), &numbered).unwrap().len(), 2);
        let findings = fit_target(&target("SELECT a, b FROM s"), &numbered).unwrap_err();
        assert!(findings[0].contains("column a of table x.t: Redshift numbers it (IDENTITY)"), "{findings:?}");
    }

    #[test]
    fn a_name_in_quotes_is_the_one_that_is_written_so() {
        let streams = [("s".to_string(), vec![SourceColumn::new("a", ColumnKind::BigInt)])];
        let target = |query: &str| job::TargetOptions {
            verify_from: None,
            mode: Mode::Append,
            table: connectors::TableName { schema: "x".into(), table: "t".into() },
            selection: select::parse(query, &streams).unwrap(),
        };
        let named = |names: &[&str]| -> Vec<TargetColumn> {
            names.iter().map(|name| column(name, ColumnKind::BigInt, false, false)).collect()
        };
        for (query, table, filled) in [
            (r#"SELECT a AS "userId" FROM s"#, named(&["userId"]), Ok(vec!["userId"])),
            (r#"SELECT a AS "userId" FROM s"#, named(&["userid", "userId"]), Ok(vec!["userId"])),
            (r#"SELECT a AS userId FROM s"#, named(&["userId", "userid"]), Ok(vec!["userid"])),
            (r#"SELECT a AS "userId", a AS userid FROM s"#, named(&["userid", "userId"]), Ok(vec!["userId", "userid"])),
            // As Redshift folds it.
            (r#"SELECT a AS "userId" FROM s"#, named(&["userid"]), Ok(vec!["userid"])),
            (r#"SELECT a AS userId FROM s"#, named(&["userId"]), Err("in quotes: AS \"userId\"")),
            (r#"SELECT a AS "userId", a AS userid FROM s"#, named(&["userid"]), Err("the query fills it twice")),
        ] {
            let fitted = fit_target(&target(query), &table);
            match filled {
                Ok(filled) => {
                    assert_eq!(fitted.unwrap().iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), filled, "{query}")
                }
                Err(part) => assert!(fitted.unwrap_err().join("; ").contains(part), "{query}"),
            }
        }
    }
}
