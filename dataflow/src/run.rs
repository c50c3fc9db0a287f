//! `tidegate run`: recovers, starts the workers, and ends in good order or not at all.

use std::sync::{
    Arc, Once,
    atomic::{AtomicBool, Ordering},
};

use connectors::{Log, Objects};
use operators::{Time, ending::Reason, heartbeat::HeartbeatOptions, places::Place};
use timely::{CommunicationConfig, WorkerConfig};
use tracing::{info, warn};

use crate::{
    cluster::{
        Cluster, Met, allocators,
        control::{BEAT_EVERY, Control, STANDS_AFTER, Steps},
    },
    error::{Code, CodedError, Result},
    gc,
    graph::{self, Context, Ends},
    halts,
    job::Job,
    memory,
    ports::{Ports, kafka, staging},
    process::{begin, end_as_told, end_at_panic, end_in_time, on_signal, stop_at_eof, tell_others_by},
    report::{Report, Voice, facts::Facts, handed::hand_over, meter::Meter},
    source,
    start::{self, Options, Started},
    state::State,
};

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
    let report = Report::new(facts, Voice { live: options.voice.live && is_first, ..options.voice });
    let (ending, told_to_stop) = (Reason::default(), stop.clone());
    if options.stop_at_eof {
        hand_over(&report)?;
    }
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
    } else {
        report.facts.only_reads();
    }
    begin();
    work(context, cluster, met, meter)?;
    report.done(is_first);
    if let Some(ending) = ended.get() {
        return Err(ending.into());
    }
    // Whoever told it to stop is told that it has drained.
    let is_judged = is_first && options.until_caught_up && !told_to_stop.load(Ordering::Relaxed);
    let above = is_judged.then(|| report.rejected_above(options.max_rejected)).flatten();
    above.map_or(Ok(()), Err)
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
    let bug = |e: String| CodedError::new(Code::Bug, format!("cannot start the workers: {e}"));
    let steps = Arc::new(Steps::new(cluster.workers));
    // Longer than a step may take, and than the control takes to say which worker stands still.
    let dead_after = STANDS_AFTER + STANDS_AFTER / 4;
    let heart = met.is_some().then_some(HeartbeatOptions { threads: cluster.workers, every: BEAT_EVERY, dead_after });
    let (builders, guard) = match (met, cluster.workers) {
        (Some(Met { sockets, control }), _) => {
            let (stop, end) = (context.clock.stop.clone(), Box::new(end_as_told));
            tell_others_by(Control::start(cluster.process, control, steps.clone(), stop, end)?);
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
        result.map_err(|e| CodedError::new(Code::Bug, e))?;
    }
    Ok(())
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
            leader_epoch: None,
            until: None,
        };
        let places = [place("a", 0, ""), place("a", 1, ""), place("b", 0, "id"), place("c", 0, "")];
        assert_eq!(without_ids(&places), ["a", "c"]);
    }
}
