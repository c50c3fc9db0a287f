//! Plain SQL over the control tables, and a reader that looks all the while.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::world::{STACK, World, wait};

/// Cuts are contiguous and counts match: what anyone can check with SQL alone. The world's own table is the only target.
pub fn control_tables(world: &World) {
    control_tables_of(world, std::slice::from_ref(&world.name));
}

/// The same with these tables as targets, which have columns `kafka_partition` and `kafka_offset` and are filled from the
/// world's own topic.
pub fn control_tables_of(world: &World, tables: &[String]) {
    let job = format!("tidegate.{}", world.name);
    let letters = format!("{job}_dead_letters");
    let mut checks = of_job(&job, &letters);
    tables.iter().for_each(|table| checks.extend(of_target(&job, table)));
    for (what, sql) in checks {
        let found = world.sql(&sql);
        assert!(found.is_empty(), "{}: {what}: {found:?}", world.name);
    }
}

type Checks = Vec<(&'static str, String)>;

fn of_job(job: &str, letters: &str) -> Checks {
    vec![
        (
            "an epoch is missing or there twice",
            format!(
                "SELECT epoch FROM (SELECT epoch, row_number() OVER (ORDER BY epoch) - 1 AS place FROM {job}_manifest) m WHERE epoch <> place"
            ),
        ),
        (
            "next_epoch is not behind the manifest",
            format!(
                "SELECT next_epoch FROM {job}_fence WHERE next_epoch <> (SELECT max(epoch) + 1 FROM {job}_manifest)"
            ),
        ),
        (
            "the fence has another digest than the last epoch",
            format!(
                "SELECT digest FROM {job}_fence WHERE digest <> (SELECT digest FROM {job}_manifest ORDER BY epoch DESC LIMIT 1)"
            ),
        ),
        (
            "a span does not begin where the one before it ended",
            format!(
                "SELECT * FROM (SELECT topic, kafka_partition, epoch, start_offset, lag(end_offset) OVER (PARTITION BY topic, kafka_partition ORDER BY epoch) AS before FROM {job}_offsets) o WHERE start_offset <> before"
            ),
        ),
        (
            "offsets of an epoch that is not in the manifest",
            format!("SELECT epoch FROM {job}_offsets WHERE epoch NOT IN (SELECT epoch FROM {job}_manifest)"),
        ),
        (
            "an epoch without counts",
            format!(
                "SELECT epoch FROM {job}_manifest WHERE kind = 'data' AND epoch NOT IN (SELECT epoch FROM {job}_rows)"
            ),
        ),
        (
            "counts do not add up",
            format!(
                "SELECT * FROM {job}_rows WHERE (records_read <> taken + filtered + skipped + undecoded + dead_letters OR loaded <> taken) AND target <> '{letters}'"
            ),
        ),
        (
            "an epoch has other dead letters than were counted",
            format!(
                "SELECT r.epoch, r.loaded FROM {job}_rows r WHERE r.target = '{letters}' AND r.loaded <> (SELECT count(*) FROM {letters} d WHERE d.epoch = r.epoch)"
            ),
        ),
        (
            "an epoch has other dead letters than records that were set aside",
            format!(
                "SELECT epoch FROM {job}_rows GROUP BY epoch HAVING sum(CASE WHEN target = '{letters}' THEN loaded ELSE 0 END) <> max(undecoded) + sum(dead_letters)"
            ),
        ),
        (
            "a dead letter lies outside the cuts of its epoch",
            format!(
                "SELECT d.epoch, d.kafka_offset FROM {letters} d WHERE NOT EXISTS (SELECT 1 FROM {job}_offsets o WHERE o.epoch = d.epoch AND o.topic = d.topic AND o.kafka_partition = d.kafka_partition AND d.kafka_offset >= o.start_offset AND d.kafka_offset < o.end_offset) LIMIT 3"
            ),
        ),
    ]
}

fn of_target(job: &str, table: &str) -> Checks {
    vec![
        (
            "the table does not have as many rows as were counted",
            format!(
                "SELECT 1 FROM (SELECT sum(loaded) AS counted FROM {job}_rows WHERE target = 'public.{table}') c WHERE counted <> (SELECT count(*) FROM {table})"
            ),
        ),
        (
            "a record is there twice",
            format!("SELECT kafka_partition, kafka_offset FROM {table} GROUP BY 1, 2 HAVING count(*) > 1"),
        ),
        (
            "a row lies outside the cuts",
            format!(
                "SELECT kafka_partition, kafka_offset FROM {table} t WHERE NOT EXISTS (SELECT 1 FROM (SELECT kafka_partition AS p, min(start_offset) AS low, max(end_offset) AS high FROM {job}_offsets GROUP BY 1) o WHERE o.p = t.kafka_partition AND t.kafka_offset >= o.low AND t.kafka_offset < o.high) LIMIT 3"
            ),
        ),
        (
            "an epoch does not have as many rows as were counted",
            format!(
                "SELECT r.epoch, r.loaded, count(t.kafka_offset) FROM {job}_rows r \
             LEFT JOIN {job}_offsets o ON o.epoch = r.epoch AND o.end_offset > o.start_offset \
             LEFT JOIN {table} t ON t.kafka_partition = o.kafka_partition AND t.kafka_offset >= o.start_offset AND t.kafka_offset < o.end_offset \
             WHERE r.target = 'public.{table}' GROUP BY 1, 2 HAVING r.loaded <> count(t.kafka_offset)"
            ),
        ),
    ]
}

/// A reader that takes one transaction over counts and table, again and again.
pub struct Watcher {
    stop: Arc<AtomicBool>,
    /// Transactions so far.
    pub samples: Arc<AtomicU64>,
    /// Those that began and ended while a load was open.
    pub while_loading: Arc<AtomicU64>,
    thread: Option<JoinHandle<Vec<String>>>,
}

impl Watcher {
    /// Starts to look. `loading` says whether a load is open.
    pub fn start(world: &World, loading: Arc<AtomicBool>) -> Watcher {
        let stop = Arc::new(AtomicBool::new(false));
        let (samples, while_loading) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let sql = format!(
            "SELECT coalesce(sum(r.loaded), 0), (SELECT count(*) FROM {0}) + (SELECT count(*) FROM tidegate.{0}_dead_letters) \
             FROM tidegate.{0}_rows r JOIN tidegate.{0}_manifest m ON m.epoch = r.epoch",
            world.name
        );
        let (stopping, counted, open) = (stop.clone(), samples.clone(), while_loading.clone());
        let thread = thread::spawn(move || {
            let client = wait(async {
                let (client, connection) =
                    STACK.redshift.direct().connect(tokio_postgres::NoTls).await.expect("PostgreSQL answers");
                tokio::spawn(connection);
                client
            });
            let mut torn = Vec::new();
            while !stopping.load(Ordering::Relaxed) {
                let before = loading.load(Ordering::SeqCst);
                // One statement is one snapshot, as one transaction of Redshift is.
                let rows = wait(client.simple_query(&sql)).expect("an answer");
                let after = loading.load(Ordering::SeqCst);
                if let Some(tokio_postgres::SimpleQueryMessage::Row(row)) =
                    rows.iter().find(|m| matches!(m, tokio_postgres::SimpleQueryMessage::Row(_)))
                    && row.get(0) != row.get(1)
                {
                    torn.push(format!("{:?} rows counted and {:?} in the table", row.get(0), row.get(1)));
                }
                counted.fetch_add(1, Ordering::Relaxed);
                open.fetch_add(u64::from(before && after), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(5));
            }
            torn
        });
        Watcher { stop, samples, while_loading, thread: Some(thread) }
    }

    /// Ends it; what it saw must be whole, and it must have looked often enough.
    pub fn end(mut self, samples: u64, while_loading: u64) {
        self.stop.store(true, Ordering::Relaxed);
        let torn = self.thread.take().expect("a thread").join().expect("its words");
        assert!(torn.is_empty(), "half an epoch was seen: {}", torn.join("; "));
        let (all, open) = (self.samples.load(Ordering::Relaxed), self.while_loading.load(Ordering::Relaxed));
        println!("reader: {all} samples, {open} while a load was open");
        assert!(all >= samples && open >= while_loading, "{all} samples, {open} while a load was open");
    }
}
