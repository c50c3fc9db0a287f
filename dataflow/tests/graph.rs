//! The whole graph over ports in memory: real workers and real frontiers, with nothing to wait for.

#![allow(clippy::unwrap_used)] // a test from end to end

use std::{
    collections::BTreeMap,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use checkpoint::{Fate, TopicPartition};
use connectors::{
    ColumnKind, TableName, TargetColumn, Warehouse, dead_letter_columns, dead_letter_table,
    memory::{Entry, MemoryLog, MemoryObjects, MemoryWarehouse},
};
use tidegate::{
    cluster::Cluster,
    graph::{Between, Context, Ends},
    job::{self, Job},
    plan::plan,
    ports::Ports,
    process::end_at_panic,
    recover::{Manner, recover},
    report::{Voice, meter::Meter},
    run,
    start::Options,
    takeover::TakeOver,
};

/// Two streams and three targets; of the second topic nothing is ever written.
const JOB: &str = r#"
version = 1
job = "graph"
[kafka]
brokers = "memory"
[[stream]]
name = "a"
topic = "a"
columns = [ { name = "n", type = "bigint" }, { name = "t", type = "varchar(20)" } ]
[[stream]]
name = "b"
topic = "b"
columns = [ { name = "n", type = "bigint" } ]
[[target]]
table = "public.one"
query = "SELECT n, t, _offset AS o FROM a"
[[target]]
table = "public.two"
query = "SELECT n FROM a"
[[target]]
table = "public.three"
query = "SELECT n FROM b"
[epoch]
interval = "5ms"
idle_interval = "20ms"
[memory]
budget = "32 MB"
[staging]
url = "s3://memory"
[redshift]
host = "memory"
database = "memory"
user = "memory"
password = { env = "NONE" }
iam_role = "arn:memory"
"#;

struct World {
    job: Job,
    log: MemoryLog,
    objects: MemoryObjects,
    warehouse: MemoryWarehouse,
}

const PARTITIONS: usize = 5;

/// The dead letters' name in the counts.
const LETTERS: &str = "tidegate.graph_dead_letters";

impl World {
    fn new() -> World {
        World::end_at_panic();
        World::without_hook()
    }

    fn end_at_panic() {
        // A worker that fails would be waited for by the others for ever; the program has a hook of its own for that.
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if thread::current().name().is_some_and(|name| name.starts_with("timely:")) {
                // Past the test runner, which would keep it to itself until the test ends.
                let _ = writeln!(std::io::stderr(), "{info}");
                signal_hook::low_level::exit(101);
            }
            default(info);
        }));
    }

    fn without_hook() -> World {
        let path = std::env::temp_dir().join(format!(
            "tidegate-graph-{}-{:?}.toml",
            std::process::id(),
            thread::current().id()
        ));
        std::fs::write(&path, JOB).unwrap();
        let job = job::load_for(&path.display().to_string(), &[]).unwrap();
        std::fs::remove_file(&path).unwrap();
        let column = |name: &str, kind| TargetColumn {
            name: name.into(),
            kind,
            not_null: false,
            has_default: false,
            is_identity: false,
        };
        let table = |name: &str| TableName { schema: "public".into(), table: name.into() };
        let tables = BTreeMap::from([
            (
                table("one"),
                vec![
                    column("n", ColumnKind::BigInt),
                    column("t", ColumnKind::Varchar(20)),
                    column("o", ColumnKind::BigInt),
                ],
            ),
            (table("two"), vec![column("n", ColumnKind::Integer)]),
            (table("three"), vec![column("n", ColumnKind::BigInt)]),
            (dead_letter_table("tidegate", "graph"), dead_letter_columns()),
        ]);
        let (log, objects) = (MemoryLog::default(), MemoryObjects::default());
        log.create("a", PARTITIONS);
        log.create("b", 1);
        let mut warehouse = MemoryWarehouse::new(tables, objects.clone());
        warehouse.init("fence").unwrap();
        World { job, log, objects, warehouse }
    }

    /// Runs the job with so many workers until it has caught up, or until `stop`.
    fn run(&self, workers: usize, stop: Option<Arc<AtomicBool>>) {
        self.run_with(workers, stop, None);
    }

    /// The same, with somebody between the operators.
    fn run_with(&self, workers: usize, stop: Option<Arc<AtomicBool>>, between: Option<Between>) {
        let cluster = Cluster::alone(workers);
        let until_caught_up = stop.is_none();
        let options = Options {
            cluster: cluster.clone(),
            until_caught_up,
            max_rejected: 0.5,
            voice: Voice { live: false, folded: false },
            stop_at_eof: false,
            take_over: TakeOver::Now,
        };
        let manner = Manner { take_over: TakeOver::Now, until_caught_up };
        let ports = Ports {
            log: Arc::new(self.log.clone()),
            objects: Arc::new(self.objects.clone()),
            warehouse: Some(Box::new(self.warehouse.clone())),
        };
        let mut warehouse = self.warehouse.clone();
        let plan = plan(&self.job, &mut |table| warehouse.columns(table)).unwrap();
        let recovered = recover(&self.job, &plan, &self.log, &self.objects, &mut warehouse, &manner).unwrap();
        let ends = Ends { stop: stop.unwrap_or_default(), ending: operators::ending::Reason::default() };
        let mut context = Context::new(&self.job, plan, recovered, ports, &options, ends, Arc::new(|_| {}));
        context.between = between;
        run::work(context, &cluster, None, Arc::new(Meter::new(workers))).unwrap();
    }

    /// So many entries more in each partition: records, tombstones, records that do not decode or do not fit one of the
    /// tables, and entries that nobody sees, also at the very end.
    fn fill(&self, count: i64) {
        for n in 0..count {
            for partition in 0..PARTITIONS as i32 {
                match (n + i64::from(partition)) % 11 {
                    1 => self.log.send("a", partition, r#"{"n":"#),
                    // Too large for one of the two tables.
                    2 => self.log.send("a", partition, r#"{"n":3000000000}"#),
                    3 => self.log.append("a", partition, Entry::Record { key: None, value: None, timestamp_ms: 0 }),
                    5 => self.log.append("a", partition, Entry::Unseen),
                    _ => self.log.send("a", partition, &format!(r#"{{"n":{n},"t":"x"}}"#)),
                }
            }
        }
        for partition in 0..PARTITIONS as i32 {
            self.log.append("a", partition, Entry::Unseen);
        }
    }

    /// Everything that was written is loaded once, and each epoch counted just what lies in its spans.
    fn check(&self) {
        let records = self.warehouse.records();
        let mut rows: BTreeMap<&str, u64> = BTreeMap::new();
        let mut set_aside = 0;
        for record in &records {
            let in_spans = record.spans.iter().filter(|s| &*s.partition.topic == "a");
            let in_spans: u64 = in_spans.map(|s| self.log.seen(&s.partition, s.start, s.end) as u64).sum();
            set_aside += record.counts["public.one"].of(Fate::Undecoded);
            for (target, counts) in &record.counts {
                if target == LETTERS {
                    continue;
                }
                set_aside += counts.of(Fate::DeadLetter);
                let expected = if target == "public.three" { 0 } else { in_spans };
                assert_eq!(counts.records_read, expected, "epoch {}, {target}", record.epoch);
                assert!(counts.add_up());
                *rows.entry(target).or_default() += counts.loaded;
            }
        }
        // Cuts that do not follow each other fail here, and a position short of the end as well.
        let cut = self.warehouse.cut().unwrap();
        for (partition, position) in cut.iter().filter(|(p, _)| &*p.topic == "a") {
            let end = connectors::Log::partitions(&self.log, "a").unwrap().unwrap()[&partition.partition].last_stable;
            assert_eq!(position.end, end, "{partition}");
        }
        let mut copied: BTreeMap<String, u64> = BTreeMap::new();
        for (target, count) in self.warehouse.copies() {
            *copied.entry(target).or_default() += count;
        }
        for target in ["public.one", "public.two"] {
            assert_eq!(copied.get(target).unwrap_or(&0), &rows[target], "{target}");
        }
        assert_eq!(copied.get("public.three"), None, "no COPY without rows");
        assert_eq!(copied.get(LETTERS).unwrap_or(&0), &set_aside, "each record that was set aside is one dead letter");
    }
}

#[test]
fn a_topic_that_stands_still_is_loaded_whole_by_any_number_of_workers() {
    for workers in [1, 2, 3, 8] {
        let world = World::new();
        world.fill(1000);
        world.run(workers, None);
        world.check();
        let letters: u64 = world.warehouse.copies().iter().filter(|(t, _)| t == LETTERS).map(|(_, n)| n).sum();
        assert_eq!(letters, 908, "of 5000 an eleventh does not decode, and an eleventh does not fit one table");
        let epochs = world.warehouse.records().len();
        world.run(workers, None);
        assert_eq!(world.warehouse.records().len(), epochs, "nothing moved, so there is no epoch");
    }
}

#[test]
fn a_topic_that_grows_is_cut_into_epochs_that_are_each_whole() {
    let world = Arc::new(World::new());
    for workers in [3, 1, 2] {
        let stop = Arc::new(AtomicBool::new(false));
        let (filling, stopping) = (world.clone(), stop.clone());
        let filler = thread::spawn(move || {
            for _ in 0..60 {
                filling.fill(40);
                thread::sleep(Duration::from_millis(3));
            }
            stopping.store(true, Ordering::Relaxed);
        });
        world.run(workers, Some(stop));
        filler.join().unwrap();
        world.run(workers, None);
        world.check();
    }
    assert!(world.warehouse.records().len() > 10, "{} epochs", world.warehouse.records().len());
}

/// Told to stop at any moment, with records coming all the while, a job ends and leaves whole epochs behind.
#[test]
fn a_stop_at_any_moment_leaves_whole_epochs() {
    let stops: u64 = if std::env::var_os("TIDEGATE_PROOF").is_some() { 2400 } else { 120 };
    let world = Arc::new(World::new());
    let done = Arc::new(AtomicBool::new(false));
    let (filling, enough) = (world.clone(), done.clone());
    let filler = thread::spawn(move || {
        while !enough.load(Ordering::Relaxed) {
            filling.fill(1);
            thread::sleep(Duration::from_micros(700));
        }
    });
    for number in 0..stops {
        let stop = Arc::new(AtomicBool::new(false));
        // Spread over the first three epochs, in no order; now and then before the first step.
        let moment = Duration::from_micros(if number % 10 == 0 { 0 } else { number * 7919 % 15_000 });
        let stopping = stop.clone();
        let stopper = thread::spawn(move || {
            thread::sleep(moment);
            stopping.store(true, Ordering::Relaxed);
        });
        world.run(1 + number as usize % 4, Some(stop));
        stopper.join().unwrap();
    }
    done.store(true, Ordering::Relaxed);
    filler.join().unwrap();
    world.run(1, None);
    world.check();
    assert!(world.warehouse.records().len() as u64 > stops / 2, "{} epochs", world.warehouse.records().len());
}

#[test]
fn control_records_alone_move_the_cut() {
    let world = World::new();
    world.log.append("a", 4, Entry::Unseen);
    world.run(2, None);
    world.check();
    assert_eq!(world.warehouse.copies(), []);
}

/// Topics of the same ids with other records where the newest loaded ones were, and topics that end before them.
#[test]
fn a_log_that_was_written_anew_is_not_read_on() {
    let world = World::new();
    world.fill(50);
    world.run(1, None);
    for entries in [50, 20] {
        let other = World::new();
        (0..entries * PARTITIONS as i64)
            .for_each(|n| other.log.send("a", (n % PARTITIONS as i64) as i32, r#"{"n":-1}"#));
        (0..PARTITIONS as i32).for_each(|partition| other.log.append("a", partition, Entry::Unseen));
        let mut warehouse = world.warehouse.clone();
        let plan = plan(&world.job, &mut |table| warehouse.columns(table)).unwrap();
        let manner = Manner { take_over: TakeOver::Now, until_caught_up: true };
        let result = recover(&world.job, &plan, &other.log, &world.objects, &mut warehouse, &manner);
        let error = result.err().expect("it halts");
        assert_eq!((error.code.id(), error.code.exit_code()), ("TG-3103", 21), "{}", error.render());
    }
}

/// What is done to the batches that come from an operator.
const SABOTAGE: [&str; 3] = ["lost", "twice", "one lost and another twice"];
const OPERATORS: [&str; 6] = ["fetch", "decode", "query", "fit", "encode", "letters"];
/// Says to [`a_saboteur`] which of them it is, and where.
const SABOTEUR: &str = "TIDEGATE_TEST_SABOTEUR";

/// How often the next batch is given on, if this was done to one before.
fn sabotage(what: &str, operator: &'static str) -> Between {
    let what = what.to_string();
    // The size of the batch that is lost, until it is made up for.
    let lost: Arc<std::sync::Mutex<(bool, Option<u64>)>> = Arc::default();
    Arc::new(move |from, rows| {
        let (done, owed) = &mut *lost.lock().unwrap();
        if from != (operator, 0) {
            return 1;
        }
        if *owed == Some(rows) {
            *owed = None;
            return 2;
        }
        if std::mem::replace(done, true) {
            return 1;
        }
        match what.as_str() {
            "lost" => 0,
            "twice" => 2,
            _ => {
                *owed = Some(rows);
                0
            }
        }
    })
}

/// Not a test of its own: the process of [`a_batch_that_an_operator_loses_or_doubles_is_noticed`].
#[test]
fn a_saboteur() {
    let Ok(task) = std::env::var(SABOTEUR) else { return };
    let (operator, what) = task.split_once(": ").unwrap();
    let operator = OPERATORS.into_iter().find(|o| *o == operator);
    end_at_panic();
    let mut world = World::without_hook();
    // All in one epoch, and each batch in a file of its own: the numbers add up when one is lost and another comes twice.
    world.job.epoch.interval = Duration::from_secs(600);
    world.job.staging.file_bytes = 1;
    world.fill(1000);
    world.run_with(2, None, operator.map(|operator| sabotage(what, operator)));
    world.check();
}

/// The program itself ends with 22, whichever operator it was.
#[test]
fn a_batch_that_an_operator_loses_or_doubles_is_noticed() {
    let run = |task: &str| {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_saboteur", "--nocapture"]).env(SABOTEUR, task);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = run("nobody: lost");
    assert_eq!(code, Some(0), "{said}");
    for operator in OPERATORS {
        for what in SABOTAGE {
            let (code, said) = run(&format!("{operator}: {what}"));
            assert_eq!(code, Some(22), "{operator}, {what}: {said}");
            let found = if what.contains("another") { "are not those that were read" } else { "met a fate" };
            assert!(said.contains(found), "{operator}, {what}: {said}");
        }
    }
}

/// A reader's position does not pass them, and nobody sees a record between it and the end of the log.
#[test]
fn aborted_records_below_an_open_transaction_are_caught_up_with() {
    let world = World::new();
    world.fill(50);
    let partition = TopicPartition::new("a", 2);
    let end = || connectors::Log::partitions(&world.log, "a").unwrap().unwrap()[&2].last_stable;
    let before = end();
    world.log.append("a", 2, Entry::Aborted);
    world.log.append("a", 2, Entry::Aborted);
    world.log.append("a", 2, Entry::Open(br#"{"n":1,"t":"x"}"#.to_vec()));
    world.log.append("a", 2, Entry::Unseen);
    assert_eq!(end(), before + 2);
    for workers in [1, 3] {
        world.run(workers, None);
        let cut = world.warehouse.cut().unwrap();
        assert_eq!(cut.get(&partition).unwrap().end, before, "what is recorded is where the reader stands");
    }
    world.log.commit("a", 2);
    world.log.append("a", 2, Entry::Unseen);
    world.run(2, None);
    world.check();
}
