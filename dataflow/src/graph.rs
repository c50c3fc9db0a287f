//! The pipeline: every operator, in order, on one screen.

use std::sync::{Arc, Mutex, atomic::AtomicBool};

use checkpoint::names::Staging;
use connectors::{Log, Objects, Warehouse};
use operators::{
    Fitted, Raw, Rows, Time,
    background::Pool,
    clock::ClockOptions,
    dead_letters::{RejectOptions, Rejects},
    decode::DecodeOptions,
    ending::Reason,
    events::Watch,
    fetch::FetchOptions,
    held::Held,
    outage::OUTAGE,
    signals::Piece,
    sink::{
        self,
        encode::{EncodeOptions, Encoded},
        load::LoadOptions,
        look::LOOK,
        seal::SealOptions,
        upload::UPLOADS,
    },
    stage::Outputs,
    step::Tools,
};
use timely::{
    Accountable,
    container::NoopBuilder,
    dataflow::{
        ProbeHandle, Scope, Stream,
        channels::pact::Pipeline,
        operators::{Concatenate, ConnectLoop, Feedback, Probe, generic::operator::Operator},
    },
};

use crate::{
    job::Job,
    memory::{self, Shape, Shares},
    plan::{Plan, StreamPlan},
    ports::Ports,
    recover::Recovered,
    start::Options,
};

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
    /// The options of clock.
    pub clock: ClockOptions,
    /// The options of fetch.
    pub fetch: FetchOptions,
    /// The options of encode.
    pub encode: EncodeOptions,
    /// The threads that upload.
    pub uploads: Pool,
    /// The options of seal.
    pub seal: SealOptions,
    /// The options of load.
    pub load: LoadOptions,
    /// Who stands between the operators, in tests.
    pub between: Option<Between>,
}

/// For tests of what is noticed when an operator loses a batch, or gives it twice. Called with the operator that a batch comes
/// from and its rows; says how often it is given on.
pub type Between = Arc<dyn Fn(Edge, u64) -> usize + Send + Sync>;

/// Where a batch comes from: the name of the operator ("letters" for what was set aside), and the number of its stream or target.
pub type Edge = (&'static str, usize);

/// What ends a run from outside: somebody who stops it, or a reason that is found beside the dataflow.
pub struct Ends {
    /// Set to stop.
    pub stop: Arc<AtomicBool>,
    /// Where a reason is left.
    pub ending: Reason,
}

impl Context {
    /// The context of a start that has the fence.
    pub fn new(
        job: &Job,
        plan: Plan,
        recovered: Recovered,
        ports: Ports,
        options: &Options,
        Ends { stop, ending }: Ends,
        watch: Watch,
    ) -> Context {
        let Shares { worker, page, .. } = memory::share(job.budget_bytes, Shape::of(job, options.cluster.workers));
        let feeds = |stream| plan.flows.iter().filter(|flow| flow.stream == stream).count();
        let Recovered { holder, fence_id, history, places } = recovered;
        let first = history.next_epoch;
        let staging =
            Staging { job: job.name.clone(), fence_id, generation: holder.generation, nonce: holder.nonce.clone() };
        let staging = Arc::new(staging);
        let partitions = places.len();
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
                ending: ending.clone(),
                threads: options.cluster.workers,
            },
            fetch: FetchOptions {
                first,
                places: places.into(),
                targets: (0..plan.streams.len()).map(feeds).collect(),
                budget_bytes: worker,
                retry: OUTAGE,
                ended: Reason::default(),
            },
            encode: EncodeOptions {
                compression: job.staging.compression,
                file_bytes: job.staging.file_bytes as usize,
                page_bytes: page as usize,
            },
            uploads: Pool::new("upload", UPLOADS),
            seal: SealOptions { history, plan: plan.hash.clone(), partitions, targets: plan.targets.clone() },
            load: LoadOptions {
                holder,
                staging,
                targets: plan.targets.clone(),
                idle_interval: job.epoch.idle_interval,
                log,
                retry: OUTAGE,
                keep: job.keep,
                ending,
                look: LOOK,
            },
            plan,
            between: None,
        }
    }
}

/// Builds the dataflow of one worker. All workers build the same. The result tells when it is complete.
pub fn build(scope: Scope<'_, Time>, context: &Context) -> ProbeHandle<Time> {
    let Context { plan, log, objects, staging, watch, fetch, .. } = context;
    let (to_fetch, commands) = scope.feedback(1);
    let (to_clock, told) = scope.feedback(1);
    let (from_seal, staged) = scope.feedback(1);

    let held = Held::default();
    let fetched = operators::fetch(scope, commands, staged, log.clone(), fetch.clone(), held.clone(), watch.clone());
    operators::clock(scope, fetched.stats, told, context.clock.clone(), watch.clone()).connect_loop(to_fetch);

    // What decode, the steps and fit set aside goes one way from here on: a target of its own, the last. What became of the
    // records that go no further they say to seal.
    let rejects = Rejects::new(context.errors, fetch.places.clone());
    let mut aside = Aside { letters: Vec::new(), pieces: Vec::new() };
    let mut decoded = Vec::new();
    for (number, (raw, stream)) in fetched.streams.into_iter().zip(&plan.streams).enumerate() {
        let StreamPlan { name, format, columns } = stream.clone();
        let options = DecodeOptions { stream: name, format, columns };
        let raw = between(("fetch", number), raw, context, Raw::len);
        let rows = aside.of(operators::decode(raw, number, options, rejects.clone(), watch.clone()));
        decoded.push(between(("decode", number), rows, context, Rows::len));
    }

    let mut fitted = Vec::new();
    for (flow, target) in plan.flows.iter().zip(plan.targets.iter()) {
        let (target, places, rejects, watch) = (target.clone(), fetch.places.clone(), rejects.clone(), watch.clone());
        let tools = Tools { target, places, rejects, watch };
        let mut rows = decoded[flow.stream].clone();
        // Late rows, duplicates, joins and windows are steps: `plan::steps` has their order.
        for step in &flow.steps {
            rows = aside.of(step.build(rows, &tools));
            rows = between((step.name(), tools.target.number), rows, context, Rows::len);
        }
        let Tools { target, rejects, watch, .. } = tools;
        let number = target.number;
        let rows = aside.of(sink::fit(rows, target, rejects, watch));
        fitted.push(between(("fit", number), rows, context, Fitted::len));
    }
    let Aside { letters, mut pieces } = aside;
    fitted.push(between(("letters", 0), scope.concatenate(letters), context, Fitted::len));

    for (rows, target) in fitted.into_iter().zip(plan.targets.iter()) {
        let files = sink::encode(rows, target.clone(), context.encode.clone(), held.files.clone());
        let rows = |files: &Vec<Encoded>| files.iter().map(|file| file.rows as usize).sum();
        let files = between(("encode", target.number), files, context, rows);
        let (staging, objects) = (staging.clone(), objects.clone());
        pieces.push(sink::upload(scope, files, target.number, staging, objects, &context.uploads, watch.clone()));
    }
    let pieces = scope.concatenate(pieces);

    let sealed = sink::seal(scope, fetched.reports, pieces, context.seal.clone());
    // Fetch looks at its frontier alone.
    let is_staged = sealed
        .clone()
        .unary::<NoopBuilder<Vec<u64>>, _, _, _>(Pipeline, "Staged", |_, _| |input, _| input.for_each(|_, _| {}));
    is_staged.connect_loop(from_seal);
    // A lock that a panic poisoned: the process is ending anyway.
    let warehouse = if scope.index() == 0 { context.warehouse.lock().ok().and_then(|mut w| w.take()) } else { None };
    let loaded = sink::load(scope, sealed, warehouse, objects.clone(), context.load.clone(), watch.clone());
    let (complete, loaded) = loaded.probe();
    loaded.connect_loop(to_clock);
    complete
}

/// What operators set aside, from all of them.
struct Aside<'s> {
    /// Dead letters.
    letters: Vec<Stream<'s, Time, Fitted>>,
    /// What became of records that go no further, for seal.
    pieces: Vec<Stream<'s, Time, Vec<Piece>>>,
}

impl<'s> Aside<'s> {
    /// The rows of an operator, which go on.
    fn of<T>(&mut self, outputs: Outputs<'s, T>) -> Stream<'s, Time, T> {
        let Outputs { rows, letters, fates } = outputs;
        self.letters.push(letters);
        self.pieces.push(fates);
        rows
    }
}

/// The same stream, but for tests that put themselves between.
fn between<'s, C: Accountable + Clone + Default + 'static>(
    from: Edge,
    stream: Stream<'s, Time, C>,
    context: &Context,
    rows: impl Fn(&C) -> usize + 'static,
) -> Stream<'s, Time, C> {
    let Some(times) = context.between.clone() else { return stream };
    stream.unary::<NoopBuilder<C>, _, _, _>(Pipeline, "Between", move |_, _| {
        move |input, output| {
            input.for_each(|capability, data| {
                for _ in 0..times(from, rows(data) as u64) {
                    output.session_with_builder(&capability).give_container(&mut data.clone());
                }
            });
        }
    })
}
