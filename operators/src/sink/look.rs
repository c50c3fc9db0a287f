//! Whether the targets' tables are still what they were when the job started.
//!
//! The columns that fit goes by are those of the start. A longer one only rejects what would fit by now; a shorter one, or one that is gone, makes
//! COPY refuse the load. So load looks now and then, after a load that is in (a job that loads nothing asks nothing): at an interval, and
//! sooner where records were set aside, which may have been too long for a column that is longer by now. A column that the query does
//! not fill matters only if it must be filled.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use connectors::{Result, Table, TableKind, TableName, TargetColumn, Warehouse};

use crate::schema::Target;

/// How often it is looked.
#[derive(Clone, Copy, Debug)]
pub struct Intervals {
    /// In any case.
    pub every: Duration,
    /// Where records were set aside.
    pub set_aside: Duration,
}

/// How often a running job looks.
pub const LOOK: Intervals = Intervals { every: Duration::from_secs(60), set_aside: Duration::from_secs(5) };

/// When to look again. It is told the time.
pub struct Look {
    intervals: Intervals,
    last: Instant,
}

impl Look {
    /// The targets were seen at this moment.
    pub fn new(intervals: Intervals, seen: Instant) -> Look {
        Look { intervals, last: seen }
    }

    /// Whether it is time, after a load with records that were set aside or without any.
    pub fn is_due(&self, now: Instant, has_set_aside: bool) -> bool {
        let interval = if has_set_aside { self.intervals.set_aside } else { self.intervals.every };
        now.duration_since(self.last) >= interval
    }

    /// Asks the warehouse. What is not as it was, if anything.
    pub fn ask(&mut self, warehouse: &mut dyn Warehouse, targets: &[Arc<Target>]) -> Result<Option<String>> {
        self.last = Instant::now();
        // The dead letters are one of the control tables, which have a version of their own.
        let targets: Vec<&Target> = targets.iter().filter(|t| t.stream.is_some()).map(|t| &**t).collect();
        let names: Vec<TableName> = targets.iter().map(|target| target.table.clone()).collect();
        let found = warehouse.tables(&names)?;
        let changes: Vec<String> =
            targets.iter().flat_map(|target| changes(target, found.get(&target.table))).collect();
        Ok((!changes.is_empty()).then(|| changes.join("; ")))
    }
}

/// What is other than it was, of the columns that a target fills and of those that it must fill. Pure.
fn changes(target: &Target, found: Option<&Table>) -> Vec<String> {
    let table = &target.table;
    let Some(Table { kind, columns }) = found else { return vec![format!("table {table} is gone")] };
    if *kind != TableKind::Table {
        return vec![format!("{table} is {kind} now, and was a table")];
    }
    let filled = target.columns.at(0);
    let of = |name: &str| columns.iter().find(|column| column.name == name);
    let mut changes: Vec<String> = filled
        .iter()
        .filter_map(|was| change(was, of(&was.name)))
        .map(|what| format!("table {table}: {what}"))
        .collect();
    let is_new = |column: &&TargetColumn| {
        column.not_null && !column.has_default && !filled.iter().any(|was| was.name == column.name)
    };
    changes.extend(columns.iter().filter(is_new).map(|column| {
        format!("table {table}: column {} is NOT NULL without a default, and the query does not fill it", column.name)
    }));
    changes
}

fn change(was: &TargetColumn, found: Option<&TargetColumn>) -> Option<String> {
    let name = &was.name;
    let Some(now) = found else { return Some(format!("column {name} is gone")) };
    if now.kind != was.kind {
        return Some(format!("column {name} is {} now, and was {}", now.kind, was.kind));
    }
    if now.is_identity {
        return Some(format!("Redshift alone numbers column {name} now"));
    }
    match (was.not_null, now.not_null) {
        (false, true) => Some(format!("column {name} refuses NULL now")),
        (true, false) => Some(format!("column {name} takes NULL now")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use connectors::ColumnKind;

    use super::*;

    fn column(name: &str, kind: ColumnKind, not_null: bool) -> TargetColumn {
        TargetColumn { name: name.into(), kind, not_null, has_default: false, is_identity: false }
    }

    #[test]
    fn what_concerns_the_query_is_a_change() {
        let note = |bytes| column("note", ColumnKind::Varchar(bytes), false);
        let target = Target {
            table: TableName { schema: "s".into(), table: "t".into() },
            columns: vec![column("id", ColumnKind::BigInt, true), note(40)].into(),
            ..Target::default()
        };
        let table = |columns| Some(Table { kind: TableKind::Table, columns });
        let id = || column("id", ColumnKind::BigInt, true);
        for (found, said) in [
            (table(vec![id(), note(40)]), ""),
            (table(vec![column("other", ColumnKind::Date, false), note(40), id()]), ""),
            (table(vec![id(), note(80)]), "table s.t: column note is varchar(80) now, and was varchar(40)"),
            (table(vec![id(), note(10)]), "table s.t: column note is varchar(10) now, and was varchar(40)"),
            (table(vec![id()]), "table s.t: column note is gone"),
            (table(vec![column("id", ColumnKind::BigInt, false), note(40)]), "table s.t: column id takes NULL now"),
            (table(vec![id(), TargetColumn { not_null: true, ..note(40) }]), "table s.t: column note refuses NULL now"),
            (
                table(vec![TargetColumn { is_identity: true, ..id() }, note(40)]),
                "table s.t: Redshift alone numbers column id now",
            ),
            (
                table(vec![id(), note(40), column("k", ColumnKind::Date, true)]),
                "table s.t: column k is NOT NULL without a default, and the query does not fill it",
            ),
            (
                Some(Table { kind: TableKind::View, columns: vec![id(), note(40)] }),
                "s.t is a view now, and was a table",
            ),
            (None, "table s.t is gone"),
        ] {
            assert_eq!(changes(&target, found.as_ref()).join("; "), said);
        }
    }

    #[test]
    fn it_is_looked_sooner_where_records_were_set_aside() {
        let begun = Instant::now();
        let look = Look::new(LOOK, begun);
        let after = |seconds, set_aside| look.is_due(begun + Duration::from_secs(seconds), set_aside);
        assert_eq!([after(4, true), after(6, true), after(59, false), after(60, false)], [false, true, false, true]);
    }
}
