//! The other jobs of the database, by the control tables that they have in any schema.

use std::collections::{BTreeMap, BTreeSet};

use checkpoint::Micros;

use super::{
    database::Redshift,
    session::Session,
    text::{literal, name},
};
use crate::{
    Error, Fault, Result, TableName,
    inspect::{NewestLoad, OtherJob},
};

/// By which tables a job is known.
const MARKS: [&str; 4] = ["_version", "_fence", "_manifest", "_plans"];
/// How many jobs are asked about in one statement.
const AT_ONCE: usize = 50;

/// Schema and name of the jobs that have all of these tables. Pure.
fn jobs_of(tables: &[TableName]) -> Vec<(String, String)> {
    let mut found: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for TableName { schema, table } in tables {
        for mark in MARKS {
            if let Some(job) = table.strip_suffix(mark).filter(|job| !job.is_empty()) {
                found.entry((schema, job)).or_default().insert(mark);
            }
        }
    }
    let whole = found.into_iter().filter(|(_, marks)| marks.len() == MARKS.len());
    whole.map(|((schema, job), _)| (schema.into(), job.into())).collect()
}

impl Redshift {
    /// Each with its newest plan, if it is shown to us.
    pub(super) fn find_other_jobs(&mut self) -> Result<Vec<OtherJob>> {
        let ours = (self.tables.schema.clone(), self.tables.job().to_string());
        let mut session = self.connect_to_read()?;
        let like = MARKS.map(|mark| format!("tablename LIKE '%{mark}'")).join(" OR ");
        let rows = session.run(&format!("SELECT schemaname, tablename FROM pg_tables WHERE {like}"))?.rows;
        let tables = rows.iter().map(|row| Ok(TableName { schema: row.text(0)?.into(), table: row.text(1)?.into() }));
        let mut jobs = jobs_of(&tables.collect::<Result<Vec<_>>>()?);
        jobs.retain(|job| *job != ours);
        let mut others = Vec::new();
        for some in jobs.chunks(AT_ONCE) {
            others.append(&mut looked_at(&mut session, some)?);
        }
        Ok(others)
    }

    /// What another job has read.
    pub(super) fn find_topics_of(&mut self, other: &OtherJob) -> Result<Vec<(String, String)>> {
        let offsets = format!("{}.{}", name(&other.schema), name(&format!("{}_offsets", other.job)));
        let mut session = self.connect_to_read()?;
        let rows = session.run(&format!("SELECT DISTINCT topic, topic_id FROM {offsets}"))?.rows;
        rows.iter().map(|row| Ok((row.text(0)?.into(), row.text(1)?.into()))).collect()
    }
}

fn looked_at(session: &mut Session, jobs: &[(String, String)]) -> Result<Vec<OtherJob>> {
    let table = |(schema, job): &(String, String), suffix: &str| {
        format!("{}.{}", name(schema), name(&format!("{job}_{suffix}")))
    };
    let usable = rights(session, jobs, |(schema, _)| format!("has_schema_privilege({}, 'usage')", literal(schema)))?;
    let (open, closed): (Vec<_>, Vec<_>) = jobs.iter().cloned().zip(usable).partition(|(_, usable)| *usable);
    let open: Vec<(String, String)> = open.into_iter().map(|(job, _)| job).collect();
    let readable = rights(session, &open, |job| {
        let may = |suffix| format!("has_table_privilege({}, 'select')", literal(&table(job, suffix)));
        format!("{} AND {}", may("manifest"), may("plans"))
    })?;
    let (shown, hidden): (Vec<_>, Vec<_>) = open.into_iter().zip(readable).partition(|(_, shown)| *shown);
    let shown: Vec<(String, String)> = shown.into_iter().map(|(job, _)| job).collect();
    let not_shown = closed.into_iter().chain(hidden).map(|((schema, job), _)| OtherJob { schema, job, newest: None });
    let mut others: Vec<OtherJob> = not_shown.collect();
    // The newest epoch of each that has a plan; that of a decision is empty.
    let newest = shown.iter().enumerate().map(|(number, job)| {
        format!(
            "SELECT {number} AS job, plan, at FROM (SELECT plan, loaded_at::varchar AS at FROM {} WHERE plan <> '' \
             ORDER BY epoch DESC LIMIT 1) AS j{number}",
            table(job, "manifest")
        )
    });
    let newest = union(session, newest.collect())?;
    let texts = newest.iter().map(|row| {
        let (schema, job) = &shown[row.0];
        format!(
            "SELECT {} AS job, part::varchar, text FROM {} WHERE hash = {}",
            row.0,
            table(&(schema.clone(), job.clone()), "plans"),
            literal(&row.1)
        )
    });
    let mut parts = union(session, texts.collect())?;
    parts.sort_by_key(|(job, part, _)| (*job, part.parse::<u32>().unwrap_or_default()));
    for (number, _, at) in newest {
        let loaded_at = Micros::from_text(&at)
            .ok_or_else(|| Error::new(Fault::Corrupt, format!("Redshift SELECT manifest: {at:?} is not a moment")))?;
        let plan = parts.iter().filter(|(job, ..)| *job == number).map(|(.., text)| text.as_str()).collect();
        let (schema, job) = shown[number].clone();
        others.push(OtherJob { schema, job, newest: Some(NewestLoad { loaded_at, plan }) });
    }
    Ok(others)
}

/// Whether a condition holds, for each job.
fn rights(
    session: &mut Session,
    jobs: &[(String, String)],
    condition: impl Fn(&(String, String)) -> String,
) -> Result<Vec<bool>> {
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let conditions: Vec<String> = jobs.iter().map(condition).collect();
    let rows = session.run(&format!("SELECT {}", conditions.join(", ")))?.rows;
    let Some(row) = rows.first() else { return Err(crate::Error::bug("a function without a row")) };
    (0..jobs.len()).map(|place| Ok(matches!(row.text(place)?, "t" | "true"))).collect()
}

/// The rows of several SELECTs, each of which gives the number of a job and two texts.
fn union(session: &mut Session, selects: Vec<String>) -> Result<Vec<(usize, String, String)>> {
    if selects.is_empty() {
        return Ok(Vec::new());
    }
    let rows = session.run(&selects.join(" UNION ALL "))?.rows;
    rows.iter().map(|row| Ok((row.number(0)?, row.text(1)?.into(), row.text(2)?.into()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_has_all_its_marks() {
        let table = |schema: &str, table: &str| TableName { schema: schema.into(), table: table.into() };
        let all = |schema: &str, job: &str| MARKS.map(|mark| table(schema, &format!("{job}{mark}")));
        let others = [table("public", "_plans"), table("public", "seating_plans"), table("a", "half_fence")];
        let tables = [all("a", "x").as_slice(), &others, &all("b", "x_plans")].concat();
        let jobs = [("a", "x"), ("b", "x_plans")].map(|(schema, job)| (schema.to_string(), job.to_string()));
        assert_eq!(jobs_of(&tables), jobs);
    }
}
