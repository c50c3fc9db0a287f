//! The pipeline: every operator, in order, on one screen.

use std::sync::{Arc, Mutex, atomic::AtomicBool};

use checkpoint::names::Staging;
use connectors::{Acquired, Log, Objects, Warehouse};
use operators::{
    Time,
    clock::ClockOptions,
    dead_letters::{RejectOptions, Rejects},
    decode::DecodeOptions,
    events::Watch,
    fetch::FetchOptions,
    sink::{self, encode::EncodeOptions, load::LoadOptions, seal::SealOptions},
};
use timely::dataflow::{
    ProbeHandle, Scope,
    operators::{Concatenate, ConnectLoop, Feedback, Probe},
};

use crate::{job::Job, plan::Plan, recover::Recovered, run::Options};

/// Everything the operators need, the same for all workers of a process.
pub struct Context {
    /// What the job means.
    pub plan: Plan,
    /// Kafka.
    pub log: Arc<dyn Log>,
    /// S3.
    pub objects: Arc<dyn Objects>,
    /// Redshift; worker 0 takes it.
    pub warehouse: Mutex<Option<Box<dyn Warehouse>>>,
    /// Names of staged objects.
    pub staging: Arc<Staging>,
    /// Who watches.
    pub watch: Watch,
    /// What is done about records that cannot be loaded.
    pub errors: RejectOptions,
    /// For clock.
    pub clock: ClockOptions,
    /// For fetch.
    pub fetch: FetchOptions,
    /// For encode.
    pub encode: EncodeOptions,
    /// For seal.
    pub seal: SealOptions,
    /// For load.
    pub load: LoadOptions,
}

/// The three systems of a job.
pub struct Ports {
    /// Kafka.
    pub log: Arc<dyn Log>,
    /// S3.
    pub objects: Arc<dyn Objects>,
    /// Redshift; only process 0 has it.
    pub warehouse: Option<Box<dyn Warehouse>>,
}

impl Context {
    /// For a start that has the fence. `workers` share the job's memory budget.
    pub fn new(
        job: &Job,
        plan: Plan,
        recovered: Recovered,
        ports: Ports,
        options: &Options,
        stop: Arc<AtomicBool>,
        watch: Watch,
    ) -> Context {
        let Acquired { holder, fence_id, admitted } = recovered.acquired;
        let first = admitted.next_epoch;
        let staging =
            Staging { job: job.name.clone(), fence_id, generation: holder.generation, nonce: holder.nonce.clone() };
        let staging = Arc::new(staging);
        let partitions = recovered.places.len();
        let log = ports.log;
        Context {
            log: log.clone(),
            objects: ports.objects,
            warehouse: Mutex::new(ports.warehouse),
            staging: staging.clone(),
            watch,
            errors: job.errors,
            clock: ClockOptions {
                first,
                interval: job.epoch.interval,
                max_bytes: job.epoch_bytes(),
                max_rows: job.epoch.max_rows,
                until_caught_up: options.until_caught_up,
                stop,
                threads: options.cluster.workers,
            },
            fetch: FetchOptions {
                first,
                places: recovered.places.into(),
                streams: plan.streams.len(),
                // The last quarter waits in the client's own queue, before fetch.
                budget_bytes: job.budget_bytes * 3 / 4 / options.cluster.workers as u64,
            },
            encode: EncodeOptions { compression: job.staging.compression, file_bytes: job.staging.file_bytes as usize },
            seal: SealOptions {
                first,
                cut: admitted.cut,
                digest: admitted.digest,
                plan: plan.hash.clone(),
                partitions,
                targets: plan.targets.clone(),
            },
            load: LoadOptions {
                holder,
                staging,
                targets: plan.targets.clone(),
                idle_interval: job.epoch.idle_interval,
                log,
            },
            plan,
        }
    }
}

/// Builds the dataflow of one worker. All workers build the same. The result tells when it is complete.
pub fn build(scope: Scope<'_, Time>, context: &Context) -> ProbeHandle<Time> {
    let Context { plan, log, objects, staging, watch, fetch, .. } = context;
    let (to_fetch, commands) = scope.feedback(1);
    let (to_clock, told) = scope.feedback(1);

    let fetched = operators::fetch(scope, commands, told.clone(), log.clone(), fetch.clone(), watch.clone());
    operators::clock(scope, fetched.stats, told, context.clock.clone(), watch.clone()).connect_loop(to_fetch);

    // What decode, query and fit set aside goes one way from here on: a target of its own, the last.
    let rejects = Rejects::new(context.errors, fetch.places.clone());
    let mut letters = Vec::new();
    let mut decoded = Vec::new();
    for (raw, stream) in fetched.streams.into_iter().zip(&plan.streams) {
        let options = DecodeOptions { stream: stream.name.clone(), columns: stream.columns.clone() };
        let (rows, rejected) = operators::decode(raw, options, rejects.clone(), watch.clone());
        letters.push(rejected);
        decoded.push(rows);
    }

    let mut fitted = Vec::new();
    for ((stream, query), target) in plan.queries.iter().zip(plan.targets.iter()) {
        let (rows, places) = (decoded[*stream].clone(), fetch.places.clone());
        let (rows, rejected) = operators::query(rows, target.name(), query.clone(), places, rejects.clone());
        letters.push(rejected);
        let (rows, rejected) = sink::fit(rows, target.clone(), rejects.clone(), watch.clone());
        letters.push(rejected);
        fitted.push(rows);
    }
    fitted.push(scope.concatenate(letters));

    let pieces = fitted.into_iter().zip(plan.targets.iter()).map(|(rows, target)| {
        let encoded = sink::encode(rows, target.clone(), context.encode.clone());
        sink::upload(scope, encoded, target.number, staging.clone(), objects.clone(), watch.clone())
    });
    let pieces = scope.concatenate(pieces.collect::<Vec<_>>());

    let sealed = sink::seal(scope, fetched.reports, pieces, context.seal.clone());
    // A lock that a panic poisoned: the process is ending anyway.
    let warehouse = if scope.index() == 0 { context.warehouse.lock().ok().and_then(|mut w| w.take()) } else { None };
    let loaded = sink::load(scope, sealed, warehouse, objects.clone(), context.load.clone(), watch.clone());
    let (complete, loaded) = loaded.probe();
    loaded.connect_loop(to_clock);
    complete
}
