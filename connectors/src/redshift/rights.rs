//! The rights that our user needs, and those that it lacks.
//!
//! What is needed is a list ([`needed`]). All of it is asked in few statements, because a start has hundreds of targets to ask for. Whoever may
//! not use a schema is not told of the tables in it, so these are asked about once the schema may be used.

use std::collections::BTreeMap;

use super::{
    database::Redshift,
    session::Session,
    text::{grant, literal, name},
};
use crate::{Result, TableName, inspect::MissingRight};

/// How many rights are asked about in one statement.
const AT_ONCE: usize = 200;

/// What a right is on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum On {
    Database,
    Schema(String),
    Table(TableName),
}

/// Who needs a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum By {
    Init,
    Run,
    Verify,
    /// `prune`, and a run that folds old epochs.
    Prune,
}

impl By {
    fn command(self) -> &'static str {
        match self {
            By::Init => "init",
            By::Run => "run",
            By::Verify => "verify",
            By::Prune => "prune",
        }
    }
}

type Need = (On, &'static str, By);

/// What the commands do with each control table.
const CONTROL: &[(&str, &[(&str, By)])] = &[
    ("version", &[("SELECT", By::Run)]),
    ("fence", &[("SELECT", By::Run), ("UPDATE", By::Run)]),
    ("manifest", &[("SELECT", By::Run), ("INSERT", By::Run), ("UPDATE", By::Prune), ("DELETE", By::Prune)]),
    ("rows", &[("SELECT", By::Verify), ("INSERT", By::Run), ("DELETE", By::Prune)]),
    ("offsets", &[("SELECT", By::Run), ("INSERT", By::Run), ("DELETE", By::Prune)]),
    ("cuts", &[("SELECT", By::Run), ("INSERT", By::Run), ("DELETE", By::Prune)]),
    ("plans", &[("SELECT", By::Run), ("INSERT", By::Run)]),
    ("sessions", &[("SELECT", By::Run), ("INSERT", By::Run), ("DELETE", By::Prune)]),
    ("halts", &[("INSERT", By::Run)]),
    ("verified", &[("SELECT", By::Verify), ("INSERT", By::Verify)]),
    ("dead_letters", &[("SELECT", By::Verify), ("INSERT", By::Run)]),
];

/// What is needed of a job with these control tables, none if they are not made yet, and these targets. Pure.
fn needed(control: Option<&dyn Fn(&str) -> TableName>, targets: &[TableName]) -> Vec<Need> {
    // A start tries COPY on a temporary table.
    let mut needs: Vec<Need> = vec![(On::Database, "TEMP", By::Run)];
    for (table, rights) in control.iter().flat_map(|name| CONTROL.iter().map(|(suffix, rights)| (name(suffix), rights)))
    {
        needs.push((On::Schema(table.schema.clone()), "USAGE", By::Run));
        needs.extend(rights.iter().map(|(right, by)| (On::Table(table.clone()), *right, *by)));
    }
    for target in targets {
        needs.push((On::Schema(target.schema.clone()), "USAGE", By::Run));
        needs.push((On::Table(target.clone()), "INSERT", By::Run));
        needs.push((On::Table(target.clone()), "SELECT", By::Verify));
    }
    needs.sort();
    needs.dedup();
    needs
}

/// Who asks, and where.
struct Asker {
    user: String,
    database: String,
}

/// One entry for each thing that rights are missing on.
fn grouped(asker: &Asker, lacking: &[Need], targets: &[TableName]) -> Vec<MissingRight> {
    let mut things: BTreeMap<&On, Vec<&Need>> = BTreeMap::new();
    lacking.iter().for_each(|need| things.entry(&need.0).or_default().push(need));
    let missing = things.into_iter().map(|(on, needs)| {
        let rights: Vec<&'static str> = needs.iter().map(|(_, right, _)| *right).collect();
        let mut by: Vec<By> = needs.iter().map(|(.., by)| *by).collect();
        by.sort();
        by.dedup();
        let (shown, place, target) = match on {
            On::Database => {
                (format!("database {}", asker.database), format!("DATABASE {}", name(&asker.database)), None)
            }
            On::Schema(schema) => {
                let target = targets.iter().find(|target| target.schema == *schema);
                (format!("schema {schema}"), format!("SCHEMA {}", name(schema)), target)
            }
            On::Table(table) => {
                let place = format!("{}.{}", name(&table.schema), name(&table.table));
                (format!("table {table}"), place, targets.iter().find(|target| *target == table))
            }
        };
        MissingRight {
            user: asker.user.clone(),
            on: shown,
            target: target.cloned(),
            grant: grant(&rights.join(", "), &place, &asker.user),
            rights,
            needed_by: by.into_iter().map(By::command).collect(),
        }
    });
    missing.collect()
}

impl Redshift {
    /// Everything that our user lacks.
    pub(super) fn find_missing_rights(&mut self, targets: &[TableName], folds: bool) -> Result<Vec<MissingRight>> {
        let schema = self.tables.schema.clone();
        let (there, _) = {
            let mut session = self.connect()?;
            self.tables.there(&mut session)?
        };
        let needs = match there.is_empty() {
            true => {
                // Making them takes more than using them does.
                let exists = format!("SELECT 1 FROM pg_namespace WHERE nspname = {}", literal(&schema));
                let exists = !self.on_catalog(|session| session.run(&exists))?.rows.is_empty();
                let control = match exists {
                    true => {
                        vec![(On::Schema(schema.clone()), "CREATE", By::Init), (On::Schema(schema), "USAGE", By::Init)]
                    }
                    false => vec![(On::Database, "CREATE", By::Init)],
                };
                control.into_iter().chain(needed(None, targets)).collect()
            }
            false => needed(Some(&|suffix: &str| self.tables.table_name(suffix)), targets),
        };
        self.lacking(needs.into_iter().filter(|(.., by)| folds || *by != By::Prune).collect(), targets)
    }

    /// What our user lacks to run the job.
    pub(super) fn missing_rights_of_run(&mut self, targets: &[TableName]) -> Result<Vec<MissingRight>> {
        let needs = needed(Some(&|suffix: &str| self.tables.table_name(suffix)), targets);
        self.lacking(needs.into_iter().filter(|(.., by)| *by == By::Run).collect(), targets)
    }

    fn lacking(&mut self, needs: Vec<Need>, targets: &[TableName]) -> Result<Vec<MissingRight>> {
        self.on_catalog(|session| {
            let (around, tables): (Vec<Need>, Vec<Need>) =
                needs.into_iter().partition(|(on, ..)| !matches!(on, On::Table(_)));
            let mut lacking = ask(session, around)?;
            let closed = |table: &TableName| {
                lacking.iter().any(|(on, right, _)| *right == "USAGE" && *on == On::Schema(table.schema.clone()))
            };
            let open = tables.into_iter().filter(|(on, ..)| !matches!(on, On::Table(table) if closed(table)));
            let open = open.collect();
            lacking.extend(ask(session, open)?);
            if lacking.is_empty() {
                return Ok(Vec::new());
            }
            let who = session.run("SELECT current_user, current_database()")?.rows;
            let Some(row) = who.first() else { return Err(crate::Error::bug("a function without a row")) };
            let asker = Asker { user: row.text(0)?.into(), database: row.text(1)?.into() };
            Ok(grouped(&asker, &lacking, targets))
        })
    }
}

/// Those of some needs that are not met.
fn ask(session: &mut Session, needs: Vec<Need>) -> Result<Vec<Need>> {
    let mut lacking = Vec::new();
    for some in needs.chunks(AT_ONCE) {
        let questions = some.iter().map(|(on, right, _)| match on {
            On::Database => format!("has_database_privilege(current_database(), '{right}')"),
            On::Schema(schema) => format!("has_schema_privilege({}, '{right}')", literal(schema)),
            On::Table(table) => {
                let table = format!("{}.{}", name(&table.schema), name(&table.table));
                format!("has_table_privilege({}, '{right}')", literal(&table))
            }
        });
        let rows = session.run(&format!("SELECT {}", questions.collect::<Vec<_>>().join(", ")))?.rows;
        let Some(row) = rows.first() else { return Err(crate::Error::bug("a function without a row")) };
        for (place, need) in some.iter().enumerate() {
            if !matches!(row.text(place)?, "t" | "true") {
                lacking.push(need.clone());
            }
        }
    }
    Ok(lacking)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_once_for_each_thing_with_its_grant() {
        let table = |schema: &str, table: &str| TableName { schema: schema.into(), table: table.into() };
        let targets = [table("public", "Clicks")];
        let needs = needed(Some(&|suffix: &str| table("tidegate", &format!("job_{suffix}"))), &targets);
        assert_eq!(needs.iter().filter(|(on, ..)| matches!(on, On::Schema(_))).count(), 2);
        let asker = Asker { user: "IAMR:load".into(), database: "dev".into() };
        let of = |on: On| -> Vec<Need> { needs.iter().filter(|need| need.0 == on).cloned().collect() };
        let line = |missing: &MissingRight| format!("{missing}. {}", missing.grant);
        let said = |needs: &[Need]| grouped(&asker, needs, &targets).iter().map(line).collect::<Vec<_>>();
        assert_eq!(
            said(&of(On::Table(targets[0].clone()))),
            ["user IAMR:load has no INSERT and no SELECT on table public.Clicks, which is needed for: run, verify. \
              GRANT INSERT, SELECT ON \"public\".\"Clicks\" TO \"IAMR:load\""]
        );
        let around = [of(On::Database), of(On::Schema("public".into()))].concat();
        assert_eq!(
            grouped(&asker, &around, &targets).iter().map(|m| m.grant.as_str()).collect::<Vec<_>>(),
            ["GRANT TEMP ON DATABASE \"dev\" TO \"IAMR:load\"", "GRANT USAGE ON SCHEMA \"public\" TO \"IAMR:load\""]
        );
    }
}
