//! How a process comes to its start: the first by the fence, the others by its word.

use std::collections::BTreeMap;

use checkpoint::{Epoch, Generation, History, Nonce, protocol::Holder};
use connectors::{ColumnKind, Log, Objects, TableName, TargetColumn, Warehouse};
use tracing::info;

use crate::{
    cluster::{
        Cluster, Met,
        meeting::{gather, hello, join, start_id},
        wire::{Column, Exit, Table, Welcome, needs_a_person},
    },
    error::{Code, CodedError, Result},
    halts,
    job::Job,
    plan::{self, Plan, meaning},
    ports::warehouse,
    preflight::{self, preflight},
    process::begin,
    recover::{Manner, Recovered, recover},
    report::Voice,
    state::State,
    takeover::TakeOver,
};

/// What the command line says about a run.
pub struct Options {
    /// Which process of which cluster this is, and its worker threads.
    pub cluster: Cluster,
    /// End once everything that is in the topics now is loaded.
    pub until_caught_up: bool,
    /// The share of a target's records, from 0 to 1, above which such a run ends with an error once all is loaded.
    pub max_rejected: f64,
    /// How what happens is said.
    pub voice: Voice,
    /// A parent closes our standard input to say "stop", and when it is gone.
    pub stop_at_eof: bool,
    /// What is done about a process that holds the fence.
    pub take_over: TakeOver,
}

/// A process that may begin.
pub struct Started {
    /// What the job means.
    pub plan: Plan,
    /// Its right, and where it goes on.
    pub recovered: Recovered,
    /// Redshift; only process 0 has it.
    pub warehouse: Option<Box<dyn Warehouse>>,
    /// The connections to the other processes; `None` if there are none.
    pub met: Option<Met>,
}

/// Alone, or first: it waits for the others, then takes the fence, then tells them.
pub fn first(job: &Job, options: &Options, log: &dyn Log, objects: &dyn Objects) -> Result<Started> {
    let cluster = &options.cluster;
    let gathered = || gather(cluster, &hello(cluster, &job.name, &meaning(job)?));
    let mut warehouse = warehouse(job)?;
    let looked = look(job, objects, &mut *warehouse);
    if cluster.is_alone() {
        let Looked { plan, .. } = looked?;
        let recovered = recover(job, &plan, log, objects, &mut *warehouse, &manner(options))?;
        return Ok(Started { plan, recovered, warehouse: Some(warehouse), met: None });
    }
    let Looked { plan, tables } = match looked {
        Ok(looked) => looked,
        Err(error) => {
            // The others would start again for ever; so they are waited for, to be told.
            if needs_a_person(error.code)
                && let Ok(gathered) = gathered()
            {
                gathered.refuse(&Exit::of(cluster.process, &error));
            }
            return Err(error);
        }
    };
    let (state, processes) = (State::WaitingForPeers.name(), cluster.processes());
    info!(event = "state", state, job = job.name, "{state}: {processes} processes in all");
    let gathered = gathered()?;
    let recovered = match recover(job, &plan, log, objects, &mut *warehouse, &manner(options)) {
        Ok(recovered) => recovered,
        Err(error) => {
            if needs_a_person(error.code) {
                gathered.refuse(&Exit::of(cluster.process, &error));
            }
            return Err(error);
        }
    };
    begin();
    let met = gathered.welcome(Welcome {
        start: start_id(&recovered.holder),
        fence_id: recovered.fence_id.clone(),
        next_epoch: recovered.history.next_epoch.0,
        places: recovered.places.clone(),
        tables,
        plan: plan.hash.clone(),
    })?;
    Ok(Started { plan, recovered, warehouse: Some(warehouse), met: Some(met) })
}

fn manner(options: &Options) -> Manner {
    Manner { take_over: options.take_over.clone(), until_caught_up: options.until_caught_up }
}

/// What process 0 knows before anybody is met.
struct Looked {
    plan: Plan,
    tables: Vec<Table>,
}

/// Everything that can be found without the fence and without the others.
fn look(job: &Job, objects: &dyn Objects, warehouse: &mut dyn Warehouse) -> Result<Looked> {
    // Before the catalog is asked for anything: whether there are control tables, all of them, and ours.
    halts::found(warehouse.read().map_err(CodedError::of_tables)?.fence.generation);
    let names: Vec<TableName> =
        job.targets.iter().map(|target| target.table.clone()).chain([job.dead_letters()]).collect();
    let found = warehouse.tables(&names)?;
    let not_tables: Vec<String> =
        found.iter().filter_map(|(name, table)| plan::not_a_table(name, table.kind)).collect();
    if !not_tables.is_empty() {
        return Err(CodedError::new(Code::NotATable, not_tables.join("\n")));
    }
    let tables = found.iter().map(|(name, table)| to_wire(name, &table.columns)).collect();
    let plan = plan::plan(job, &mut |name| Ok(found.get(name).map(|table| table.columns.clone())))?;
    let filled: Vec<TableName> = plan.targets.iter().map(|target| target.table.clone()).collect();
    preflight(job, &filled, objects, warehouse)?;
    Ok(Looked { plan, tables })
}

/// Not the first: it is told everything.
pub fn other(job: &Job, options: &Options, log: &dyn Log, objects: &dyn Objects) -> Result<Started> {
    let cluster = &options.cluster;
    // Before it says that it is there, after which the first takes the fence.
    preflight::reach(job, log, objects)?;
    info!(event = "state", state = State::WaitingForPeers.name(), job = job.name, "waiting for process 0");
    let mut joined = join(cluster, hello(cluster, &job.name, &meaning(job)?))?;
    begin();
    let told: BTreeMap<TableName, Vec<TargetColumn>> = joined.welcome.tables.drain(..).map(from_wire).collect();
    let plan = plan::plan(job, &mut |table| Ok(told.get(table).cloned()))?;
    let welcome = &joined.welcome;
    let nonce = Nonce::parse(&welcome.start.nonce).filter(|_| plan.hash == welcome.plan);
    let Some(nonce) = nonce else {
        return Err(CodedError::new(Code::NotMet, "process 0 has another plan of this job"));
    };
    let holder = Holder { generation: Generation(welcome.start.generation), nonce };
    halts::taken(holder.generation);
    // Where the manifest ends is process 0's business.
    let (fence_id, next_epoch) = (welcome.fence_id.clone(), Epoch(welcome.next_epoch));
    let history = History { next_epoch, ..History::new(&fence_id) };
    let recovered = Recovered { holder, fence_id, history, places: std::mem::take(&mut joined.welcome.places) };
    let met = Some(joined.meet(cluster)?);
    Ok(Started { plan, recovered, warehouse: None, met })
}

fn to_wire(table: &TableName, columns: &[TargetColumn]) -> Table {
    let column = |column: &TargetColumn| Column {
        name: column.name.clone(),
        kind: column.kind.to_string(),
        not_null: column.not_null,
        has_default: column.has_default,
        is_identity: column.is_identity,
    };
    let (schema, name) = (table.schema.clone(), table.table.clone());
    Table { schema, table: name, columns: columns.iter().map(column).collect() }
}

fn from_wire(table: Table) -> (TableName, Vec<TargetColumn>) {
    let column = |column: Column| TargetColumn {
        name: column.name,
        kind: ColumnKind::parse(&column.kind).unwrap_or(ColumnKind::Other(column.kind)),
        not_null: column.not_null,
        has_default: column.has_default,
        is_identity: column.is_identity,
    };
    let name = TableName { schema: table.schema, table: table.table };
    (name, table.columns.into_iter().map(column).collect())
}
