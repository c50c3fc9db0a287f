//! `tidegate run`: recovers, starts the workers, and ends in good order or not at all.

use std::{
    sync::{
        Arc, Mutex, Once, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use connectors::{Log, Objects, Secret, Warehouse, kafka, redshift, s3};
use operators::{Time, ending::Reason, failure, heartbeat::HeartbeatOptions, places::Place, query::SourceValue};
use signal_hook::consts::{SIGINT, SIGTERM};
use timely::{CommunicationConfig, WorkerConfig};
use tracing::{info, warn};

use crate::{
    cluster::{
        Cluster, Met, allocators,
        control::{BEAT_EVERY, Control, STANDS_AFTER, Steps},
    },
    error::{Code, Error, Result},
    gc,
    graph::{self, Context, Ends, Ports},
    halts,
    job::{Job, Property},
    memory::{self, Shape, Shares},
    report::{Report, facts::Facts, log, meter::Meter, screen, state::State},
    source,
    start::{self, Started},
    takeover::TakeOver,
};

/// How long the open epoch may take to be loaded after a signal to stop.
const DRAIN_WITHIN: Duration = Duration::from_secs(25);
/// How long a cluster may take to end once all is loaded: somebody may be stopped just then, and no heart beats any more.
const END_WITHIN: Duration = Duration::from_secs(60);

/// How long a process whose link to another broke waits for the control to say why.
const SAID_WITHIN: Duration = Duration::from_secs(5);

/// The control connection, once the processes of a cluster work.
static CONTROL: OnceLock<Control> = OnceLock::new();

/// Whether there is anything to drain. Who looks keeps it until it has acted on that.
static WORKING: Mutex<bool> = Mutex::new(false);

/// From here on a stop drains. A process of a cluster says so before it says to another that it goes on: one that ended then would
/// take the others with it.
pub fn begin() {
    *WORKING.lock().unwrap_or_else(PoisonError::into_inner) = true;
}

/// What the command line says about a run.
pub struct Options {
    /// Which process of which cluster this is, and its worker threads.
    pub cluster: Cluster,
    /// End once everything that is in the topics now is loaded.
    pub until_caught_up: bool,
    /// Show a live view.
    pub live: bool,
    /// A parent closes our standard input to say "stop", and when it is gone.
    pub stop_at_eof: bool,
    /// What is done about a process that holds the fence.
    pub take_over: TakeOver,
}

/// Runs a job until it is done or stopped.
pub fn run(job: &Job, options: &Options) -> Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    on_signal(stop.clone())?;
    if options.stop_at_eof {
        stop_at_eof(stop.clone())?;
    }
    end_at_panic();
    let starting = State::Starting.name();
    info!(event = "state", state = starting, job = job.name, "starting job {}", job.name);

    let cluster = &options.cluster;
    memory::admit(job, cluster.workers)?;
    let log: Arc<dyn Log> = Arc::new(kafka(job, cluster.workers)?);
    let objects: Arc<dyn Objects> = Arc::new(staging(job)?);
    let is_first = cluster.process == 0;
    halts::arm(job);
    let started = match is_first {
        true => start::first(job, options, &*log, &*objects)?,
        false => start::other(job, options, &*log, &*objects)?,
    };
    let Started { plan, recovered, warehouse, met } = started;

    let places = &recovered.places;
    let (generation, first) = (recovered.holder.generation, recovered.history.next_epoch);
    let (partitions, workers) = (places.len(), cluster.workers * cluster.processes());
    info!(
        event = "started",
        job = job.name,
        generation = generation.0,
        first_epoch = first.0,
        partitions,
        workers,
        processes = cluster.processes(),
        process = cluster.process,
        plan = plan.hash,
        "job {}: generation {generation}, from epoch {first}, {partitions} partitions, {workers} workers",
        job.name
    );
    let nameless = without_ids(places);
    if is_first && !nameless.is_empty() {
        let topics = nameless.join(", ");
        warn!(
            event = "no-topic-ids",
            topics,
            "the brokers give no ids of topics ({topics}): one that is deleted and made again while the job is down is noticed only if \
             it ends before the loaded offsets, or has another record at the last one"
        );
    }
    let facts = Facts::new(places, cluster.workers, job.epoch.interval, options.until_caught_up, stop.clone());
    let report = Report::new(facts, options.live && is_first);
    let ending = Reason::default();
    if is_first {
        report.start();
        source::watch(places, log.clone(), ending.clone(), report.clone())?;
    }

    let meter = report.facts.meter.clone();
    let ports = Ports { log, objects: objects.clone(), warehouse };
    let context = Context::new(job, plan, recovered, ports, options, Ends { stop, ending }, report.watch());
    let ended = context.fetch.ended.clone();
    if is_first {
        gc::start(context.staging.clone(), objects, &report);
    }
    begin();
    work(context, cluster, met, meter)?;
    report.done(is_first);
    ended.get().map_or(Ok(()), |ending| Err(ending.into()))
}

/// The topics of which the brokers know no id: those before Kafka 2.8.
fn without_ids(places: &[Place]) -> Vec<&str> {
    let nameless = places.iter().filter(|place| place.topic_id.is_empty()).map(|place| &*place.partition.topic);
    let mut topics: Vec<&str> = nameless.collect();
    topics.dedup();
    topics
}

/// Runs the workers of this process until the dataflow is complete.
pub fn work(context: Context, cluster: &Cluster, met: Option<Met>, meter: Arc<Meter>) -> Result<()> {
    let bug = |e: String| Error::new(Code::Bug, format!("cannot start the workers: {e}"));
    let steps = Arc::new(Steps::new(cluster.workers));
    // Longer than a step may take, and than the control takes to say which worker stands still.
    let dead_after = STANDS_AFTER + STANDS_AFTER / 4;
    let heart = met.is_some().then_some(HeartbeatOptions { threads: cluster.workers, every: BEAT_EVERY, dead_after });
    let (builders, guard) = match (met, cluster.workers) {
        (Some(Met { sockets, control }), _) => {
            let (stop, end) = (context.clock.stop.clone(), Box::new(end_as_told));
            let control = Control::start(cluster.process, control, steps.clone(), stop, end)?;
            let _ = CONTROL.set(control); // once in a process
            allocators(cluster, sockets)?
        }
        (None, 1) => CommunicationConfig::Thread.try_build().map_err(bug)?,
        (None, workers) => CommunicationConfig::Process(workers).try_build().map_err(bug)?,
    };
    let (at_end, threads) = (Arc::new(Once::new()), cluster.workers);
    let workers = timely::execute::execute_from(builders, guard, WorkerConfig::default(), move |worker| {
        meter.attach(worker);
        let complete = worker.dataflow::<Time, _, _>(|scope| graph::build(scope, &context));
        let place = worker.index() % threads;
        if let Some(heart) = heart {
            let at_end = at_end.clone();
            let is_complete = move || {
                let done = complete.done();
                if done {
                    at_end.call_once(end_in_time);
                }
                done
            };
            worker.dataflow::<Time, _, _>(|scope| operators::heartbeat(scope, heart, is_complete));
        }
        while worker.step_or_park(Some(BEAT_EVERY)) {
            steps.begin(place);
        }
        steps.complete(place);
    });
    for result in workers.map_err(bug)?.join() {
        result.map_err(|e| Error::new(Code::Bug, e))?;
    }
    Ok(())
}

/// A secret that must be there now, and is read anew each time it is used.
fn secret_of(secret: &crate::job::Secret, place: &str) -> Result<Secret> {
    secret.resolve().map_err(|e| Error::new(Code::JobFile, format!("{place}: {e}")))?;
    let secret = secret.clone();
    Ok(Secret::new(move || secret.resolve()))
}

/// The Kafka of a job.
pub fn kafka(job: &Job, workers: usize) -> Result<kafka::Kafka> {
    let mut properties = Vec::new();
    for (name, value) in &job.properties {
        let value = match value {
            Property::Plain(text) => Secret::from(text.as_str()),
            Property::Secret(secret) => secret_of(secret, &format!("[kafka] {name}"))?,
        };
        properties.push((name.clone(), value));
    }
    let Shares { queue_kb, batch, .. } = memory::share(job.budget_bytes, Shape::of(job, workers));
    // They cost something, so they are only asked for where a query looks at them.
    let headers = job.targets.iter().any(|t| t.selection.uses(SourceValue::Headers));
    Ok(kafka::Kafka::new(kafka::Settings {
        brokers: job.brokers.clone(),
        job: job.name.clone(),
        properties,
        queue_kb: queue_kb as usize,
        batch_bytes: batch as usize,
        headers,
        answer_within: kafka::ANSWER_WITHIN,
    }))
}

/// The staging place of a job.
pub fn staging(job: &Job) -> Result<s3::S3> {
    let staging = &job.staging;
    let keys = match &staging.keys {
        Some((id, secret)) => Some((secret_of(id, "[staging]")?, secret_of(secret, "[staging]")?)),
        None => None,
    };
    Ok(s3::S3::new(s3::Settings {
        bucket: staging.bucket.clone(),
        prefix: staging.prefix.clone(),
        region: staging.region.clone(),
        endpoint: staging.endpoint.clone(),
        keys,
        retries_within: s3::RETRIES_WITHIN,
    })?)
}

/// The warehouse of a job.
pub fn warehouse(job: &Job) -> Result<Box<dyn Warehouse>> {
    Ok(Box::new(redshift(job)?))
}

/// The Redshift of a job.
pub fn redshift(job: &Job) -> Result<redshift::Redshift> {
    let redshift = &job.redshift;
    let password = secret_of(&redshift.password, "[redshift] password")?;
    let settings = redshift::Settings {
        host: redshift.host.clone(),
        port: redshift.port,
        database: redshift.database.clone(),
        user: redshift.user.clone(),
        password,
        iam_role: redshift.iam_role.clone(),
        tls: redshift.tls.clone(),
        statement_timeout: redshift.statement_timeout,
        application_name: format!("tidegate-{}", job.name),
    };
    Ok(redshift::Redshift::new(settings, &redshift.schema, &job.name)?)
}

/// All is loaded: if the others do not end as well they are lost.
fn end_in_time() {
    // Without the thread it waits for ever, as it would without a deadline.
    let _ = thread::Builder::new().name("end".into()).spawn(|| {
        thread::sleep(END_WITHIN);
        end(&Error::new(Code::PeerLost, "all is loaded, but another process does not end"));
    });
}

/// The first signal drains the job, with a deadline; the second ends it at once.
fn on_signal(stop: Arc<AtomicBool>) -> Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT]).map_err(|e| Error {
        code: Code::Bug,
        what: "cannot listen for signals".into(),
        source: Some(Box::new(e)),
    })?;
    spawn("signals", move || {
        let mut signals = signals.forever();
        signals.next();
        drain(&stop);
        signals.next();
        signal_hook::low_level::exit(130);
    })
}

/// The end of standard input drains the job, with the same deadline.
fn stop_at_eof(stop: Arc<AtomicBool>) -> Result<()> {
    spawn("parent", move || {
        // Nothing is ever said there; an error is an end as well.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        drain(&stop);
    })
}

fn drain(stop: &AtomicBool) {
    stop.store(true, Ordering::Relaxed);
    let working = WORKING.lock().unwrap_or_else(PoisonError::into_inner);
    if !*working {
        // Nothing was read. If it has just taken the fence, whoever had it before finds itself shut out at its next load.
        info!(event = "state", state = State::Stopped.name(), "stopped before it began");
        screen::clear();
        signal_hook::low_level::exit(0);
    }
    drop(working);
    thread::spawn(|| {
        thread::sleep(DRAIN_WITHIN);
        end(&Error::new(Code::Drain, format!("not drained within {} s", DRAIN_WITHIN.as_secs())));
    });
}

/// Starts a thread.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let spawned = thread::Builder::new().name(name.into()).spawn(work);
    spawned.map(drop).map_err(|e| Error {
        code: Code::Bug,
        what: "cannot start a thread".into(),
        source: Some(Box::new(e)),
    })
}

/// A panic in any thread ends the process at once: the other workers would wait for the failed one for ever. The first one
/// counts; what panics after it does so because of it.
pub fn end_at_panic() {
    let default = std::panic::take_hook();
    let ending = AtomicBool::new(false);
    std::panic::set_hook(Box::new(move |info| {
        if ending.swap(true, Ordering::SeqCst) {
            loop {
                thread::park(); // the process is ending
            }
        }
        if let Some(failure) = failure::take() {
            end(&failure.into());
        }
        let name = thread::current().name().map(String::from).unwrap_or_default();
        // The engine's threads that hold the sockets know no other way to say that one broke.
        if let Some(process) = name.strip_prefix("timely:recv-").or(name.strip_prefix("timely:send-")) {
            let why = info.payload_as_str().unwrap_or("its connection broke");
            // Whoever ended has said why on the control connection, which ends this process with that; or it closes as well.
            thread::sleep(SAID_WITHIN);
            end(&Error::new(Code::PeerLost, format!("process {process}: {why}")));
        }
        screen::clear();
        default(info); // with the trace, which the maker of the program needs
        end(&Error::new(Code::Bug, info.to_string()));
    }));
}

/// Says why and ends, without running anything else: other threads may hold any lock. The first reason counts.
fn end(error: &Error) -> ! {
    alone_from_here();
    if let Some(control) = CONTROL.get() {
        control.tell(error);
    }
    log::error(error);
    halts::note(error);
    signal_hook::low_level::exit(i32::from(error.code.exit_code()))
}

/// The same for what another process said, which leaves its halt itself.
fn end_as_told(error: &Error) {
    alone_from_here();
    if let Some(control) = CONTROL.get() {
        control.tell(error);
    }
    log::error(error);
    signal_hook::low_level::exit(i32::from(error.code.exit_code()))
}

/// Whoever else wants to end the process waits for its end.
fn alone_from_here() {
    static ENDING: AtomicBool = AtomicBool::new(false);
    if ENDING.swap(true, Ordering::SeqCst) {
        loop {
            thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use checkpoint::TopicPartition;

    #[test]
    fn topics_without_ids_are_named_once() {
        let place = |topic: &str, partition, id: &str| Place {
            partition: TopicPartition::new(topic, partition),
            topic_id: id.into(),
            stream: 0,
            start: 0,
            until: None,
        };
        let places = [place("a", 0, ""), place("a", 1, ""), place("b", 0, "id"), place("c", 0, "")];
        assert_eq!(without_ids(&places), ["a", "c"]);
    }
}
