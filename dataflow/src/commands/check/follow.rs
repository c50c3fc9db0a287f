//! What the targets of a stream need once one of its columns is declared otherwise. What is named here was compiled and
//! tried on the sample.

use connectors::{ColumnKind, TargetColumn};
use operators::{
    query::select::{self, Selection, Value},
    schema::SourceColumn,
    sink::fit,
    trial::{self, Decoded, Sample},
    values::{Action, Policy},
};

use super::{
    column::{in_sql, table_needs},
    said::{counted, shown_reason},
    target::{Catalog, named},
};
use crate::job::{StreamOptions, TargetOptions};

/// A column of a stream that is declared otherwise.
pub struct Proposed<'a> {
    /// The stream as it is.
    pub stream: &'a StreamOptions,
    /// The column's number in it.
    pub number: usize,
    /// The column as it would be.
    pub column: &'a SourceColumn,
    /// Records of the stream.
    pub samples: &'a [&'a Sample],
}

impl Proposed<'_> {
    /// What the queries and tables of these targets need then, and what fails there.
    pub fn needs<'t>(&self, targets: impl Iterator<Item = &'t TargetOptions>, catalog: &Catalog) -> Vec<String> {
        let mut columns = self.stream.columns.clone();
        if let Some(column) = columns.get_mut(self.number) {
            *column = self.column.clone();
        }
        let decoded = self.decoded(&columns);
        let streams = [(self.stream.name.clone(), columns)];
        let needs = |target: &TargetOptions| match select::parse(&target.selection.text, &streams) {
            Ok(selection) => self.of_target(target, selection, &decoded, catalog),
            Err(refusal) => {
                let help = if refusal.help.is_empty() { String::new() } else { format!(" ({})", refusal.help) };
                vec![format!("change the query of {}, which is refused then: {}{help}", target.table, refusal.what)]
            }
        };
        targets.flat_map(needs).collect()
    }

    fn decoded(&self, columns: &[SourceColumn]) -> Vec<Decoded<'_>> {
        self.samples.iter().map(|sample| trial::decode(sample, self.stream.format, columns)).collect()
    }

    /// `selection` is the target's query as it is compiled then.
    fn of_target(
        &self,
        target: &TargetOptions,
        mut selection: Selection,
        decoded: &[Decoded<'_>],
        catalog: &Catalog,
    ) -> Vec<String> {
        let declared = self.stream.columns.get(self.number).map(|column| column.policy).unwrap_or_default();
        for (new, old) in selection.columns.iter_mut().zip(&target.selection.columns) {
            new.policy = overlaid(new.policy, old.policy, declared);
        }
        let filled: Vec<Option<&TargetColumn>> =
            selection.columns.iter().map(|selected| named(catalog, target, selected)).collect();
        let is_fit =
            |kind: &ColumnKind, column: &TargetColumn| !column.is_identity && fit::can_fit(kind, &column.kind).is_ok();
        let fits: Vec<Option<TargetColumn>> = selection
            .columns
            .iter()
            .zip(&filled)
            .map(|(selected, column)| column.filter(|column| is_fit(&selected.kind, column)).cloned())
            .collect();
        let loaded: Vec<_> = decoded.iter().map(|decoded| decoded.load(&selection, &fits)).collect();
        let records: usize = self.samples.iter().map(|sample| sample.len()).sum();
        let failing = |what: String, faults: Vec<&trial::Fault>| {
            let first = faults.first()?;
            let count = faults.len();
            let reason = shown_reason(&first.reason);
            Some(format!("{what} fails then in {count} of {}: {reason}", counted(records, "record")))
        };
        let table = &target.table;
        let mut needs = Vec::new();
        for (place, selected) in selection.columns.iter().enumerate() {
            if !trial::inputs(selected, &selection).contains(&self.number) {
                continue;
            }
            let queried = loaded.iter().flat_map(|loaded| &loaded.query);
            let queried = queried.filter(|fault| fault.column.as_ref() == Some(&selected.name)).collect();
            needs.extend(failing(format!("change the query of {table}: its column {}", selected.name), queried));
            let Some(column) = filled[place] else { continue };
            let own = table_needs(table, column, &selected.kind);
            let cast = fits[place].is_none().then(|| self.cast(selected, column)).flatten();
            let is_enough = own.is_some();
            needs.extend(own.map(|own| own + &cast.unwrap_or_default()));
            if !is_enough {
                let fitted = loaded.iter().flat_map(|loaded| &loaded.fit);
                let fitted = fitted.filter(|fault| fault.column.as_ref() == Some(&column.name)).collect();
                needs.extend(failing(format!("column {} of {table}", column.name), fitted));
            }
        }
        if trial::filter_inputs(&selection).contains(&self.number) {
            let condition = loaded.iter().flat_map(|loaded| &loaded.query).filter(|fault| fault.column.is_none());
            needs.extend(failing(format!("change the query of {table}: its WHERE"), condition.collect()));
        }
        needs
    }

    /// The CAST that makes the new column what the table has, if it takes most of the values.
    fn cast(&self, selected: &select::SelectedColumn, filled: &TargetColumn) -> Option<String> {
        let Value::Input(_) = selected.value else { return None };
        let (now, new) = (&filled.kind, &self.column.kind);
        let cast = format!("CAST({} AS {now}) AS {}", in_sql(&self.column.name), in_sql(&selected.name));
        let query = format!("SELECT {cast} FROM {}", in_sql(&self.stream.name));
        let streams = [(self.stream.name.clone(), vec![self.column.clone()])];
        let selection = select::parse(&query, &streams).ok()?;
        let wanted = [Some(filled.clone())];
        let (mut taken, mut given) = (0, 0);
        for decoded in self.decoded(std::slice::from_ref(self.column)) {
            let loaded = decoded.load(&selection, &wanted);
            taken += loaded.values;
            given += loaded.values + loaded.query.len() + loaded.fit.len();
        }
        use ColumnKind::*;
        let loses = match (new, now) {
            (Decimal(_, 1..) | Real | Double, SmallInt | Integer | BigInt) | (Double, Real) => ", which rounds",
            (Decimal(_, from), Decimal(_, to)) if from > to => ", which rounds",
            (Real | Double, Decimal(..)) => ", which rounds",
            (Timestamp | TimestampTz, Date) => ", which leaves out the time of the day",
            _ => "",
        };
        let text = format!(", or write {cast} in its query");
        match () {
            () if taken == 0 || taken * 2 <= given => None,
            () if taken == given => Some(text + loses),
            () => Some(format!("{text}, which takes {taken} of {given} values")),
        }
    }
}

/// What a selected column does with values: what the target says itself, and else what the stream's column does.
fn overlaid(new: Policy, selected: Policy, declared: Policy) -> Policy {
    let of = |new: Action, selected: Action, declared: Action| if selected == declared { new } else { selected };
    Policy {
        long: of(new.long, selected.long, declared.long),
        range: of(new.range, selected.range, declared.range),
        scale: of(new.scale, selected.scale, declared.scale),
        nul: of(new.nul, selected.nul, declared.nul),
        empty: of(new.empty, selected.empty, declared.empty),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_target_says_stays_with_it() {
        let reject = Policy::default();
        let (range, long) = (Policy { range: Action::Null, ..reject }, Policy { long: Action::Truncate, ..reject });
        assert_eq!(overlaid(range, reject, reject), range, "as the new declaration has it");
        assert_eq!(overlaid(reject, range, range), reject, "as it was declared, and is not any more");
        assert_eq!(
            overlaid(range, long, reject),
            Policy { long: Action::Truncate, ..range },
            "with the target's own word"
        );
    }
}
