//! Of `check`: whether each target is a table that takes what its query gives, and whether our user has all rights.

use std::collections::BTreeMap;

use connectors::{Fault, Inspect, Table, TableKind, TableName, TargetColumn, Warehouse};
use operators::query::select::SelectedColumn;

use super::said::Said;
use crate::{
    error::{Code, CodedError},
    job::{Job, TargetOptions},
    plan,
};

/// The columns of the tables that are there.
pub(super) type Catalog = BTreeMap<TableName, Vec<TargetColumn>>;

/// What came of looking at all targets.
pub(super) struct Looked {
    /// What there is to say.
    pub said: Vec<Said>,
    /// The columns of those that can be filled.
    pub columns: Catalog,
    /// Whether nothing is in the way of reading the control tables.
    pub is_readable: bool,
}

/// Looks at all targets.
pub(super) fn look(job: &Job, warehouse: &mut dyn Warehouse, inspect: &mut dyn Inspect) -> Looked {
    let names: Vec<TableName> = job.targets.iter().map(|target| target.table.clone()).collect();
    let found = match warehouse.tables(&names) {
        Ok(found) => found,
        Err(error) => {
            let skipped = Said::NotChecked("tables, columns and rights", "the catalog did not answer".into());
            let said = vec![Said::Found("redshift".into(), error.into()), skipped];
            return Looked { said, columns: Catalog::new(), is_readable: false };
        }
    };
    let (mut said, mut fillable) = (Vec::new(), Vec::new());
    for target in &job.targets {
        let key = |part: &str| format!("target {}: {part}", target.table);
        let Some(Table { kind, columns }) = found.get(&target.table) else {
            said.push(Said::Found(key("table"), plan::no_table(job, target)));
            continue;
        };
        if let Some(what) = plan::not_a_table(&target.table, *kind) {
            said.push(Said::Found(key("table"), CodedError::new(Code::NotATable, what)));
            continue;
        }
        said.push(match plan::fit_target(target, columns) {
            Ok(_) => Said::Good(format!("table {}: its columns take what the query gives", target.table)),
            Err(findings) => Said::Found(key("query"), CodedError::new(Code::Target, findings.join("\n"))),
        });
        fillable.push(target.table.clone());
    }
    let (rights, is_readable) = rights(job, &fillable, inspect);
    said.extend(rights);
    let tables = found.into_iter().filter(|(_, table)| table.kind == TableKind::Table);
    let columns = tables.map(|(name, table)| (name, table.columns)).collect();
    Looked { said, columns, is_readable }
}

/// The rights on everything that is there, and whether those on the control tables are.
fn rights(job: &Job, targets: &[TableName], inspect: &mut dyn Inspect) -> (Vec<Said>, bool) {
    let missing = match inspect.missing_rights(targets, job.keep.is_some()) {
        Ok(missing) => missing,
        Err(error) => return (vec![Said::Found("redshift.user".into(), error.into())], false),
    };
    if missing.is_empty() {
        let what = format!("user {} has the rights that run, load and verify need", job.redshift.user);
        return (vec![Said::Good(what)], true);
    }
    let found = missing.iter().map(|right| {
        let key = right.target.as_ref().map_or("redshift.user".into(), |target| format!("target {target}: table"));
        Said::Found(key, connectors::Error::new(Fault::Denied, right.to_string()).remedy(right.grant.clone()).into())
    });
    (found.collect(), missing.iter().all(|right| right.target.is_some()))
}

/// The column of the table that the name of a selected one means.
pub(super) fn named<'c>(
    catalog: &'c Catalog,
    target: &TargetOptions,
    selected: &SelectedColumn,
) -> Option<&'c TargetColumn> {
    plan::column_of(catalog.get(&target.table)?, &selected.name)
}
