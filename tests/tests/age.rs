//! A job that has run for long: what is asked of it reads no more than it must. Measured in rows that the database reads, of a history
//! of 340 epochs and of one of 3,040. `make proof` measures times and memory as well, of 30,000 and 300,000 epochs of 100 partitions, and
//! starts with 20 and 2,000 partitions; each as a ratio of one run.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use checkpoint::{
    Counts, Cut, Digest, Epoch, EpochRecord, Fate, History, Kind, Micros, Nonce, Position, Span, TopicPartition,
    protocol::{self, Holder, Range, Start, Taken},
};
use connectors::{Load, Log, Process, Took, Warehouse};
use harness::{
    records::{Record, send},
    world::{World, until},
};

use crate::ports::{kafka, redshift};

const PARTITIONS: i32 = 8;

/// The fence, as a process takes it.
fn held(world: &World) -> (connectors::redshift::Redshift, Holder) {
    let mut warehouse = redshift(&world.name, |_| {});
    let process = Process { host: "here".into(), id: 1, started_at: Micros(0) };
    let nonce = Nonce::new([9; 16]);
    warehouse.record(&process, &nonce).expect("recorded");
    let fence = warehouse.read().expect("tables").fence;
    assert_eq!(warehouse.take(fence.generation, &mut |_| {}).expect("the fence"), Took::Yes);
    let facts = warehouse.read().expect("tables");
    let taken = protocol::after_taking(fence.generation, &nonce, &facts.fence).expect("ours");
    let Taken::Ours(holder) = taken else { panic!("{taken:?}") };
    warehouse.hold(&holder).expect("held");
    (warehouse, holder)
}

/// A job with so many epochs after the announcement, each of one record a partition, and with everything that they left: the topic
/// has the records, the table the rows. The control tables are filled by the door that a process uses.
pub fn aged(prefix: &str, epochs: u64) -> World {
    let world = World::new(prefix, PARTITIONS);
    let record = |partition| (partition, Record::of(r#"{"id":1}"#));
    for _ in 0..epochs.div_ceil(100) {
        let records: Vec<_> = (0..100).flat_map(|_| (0..PARTITIONS).map(record)).collect();
        send(&world.name, &records);
    }
    let log = kafka(&world.name, |_| {});
    let topic_id = log.topic_id(&world.name).expect("an answer").expect("the topic");
    let (mut warehouse, holder) = held(&world);
    let facts = warehouse.read().expect("tables");
    let mut history = protocol::admit(&facts).expect("tables");
    let (target, letters) = (format!("public.{}", world.name), format!("tidegate.{}_dead_letters", world.name));
    let partitions = || (0..PARTITIONS).map(|number| TopicPartition::new(world.name.as_str(), number));
    let starts = partitions().map(|p| (p, Start { topic_id: topic_id.clone(), offset: 0 })).collect();
    let names = [letters.clone(), target.clone()];
    let first = protocol::announcement(&history, &starts, &names, Micros(1), "plan").expect("new topics");
    let mut links = vec![history.link(first).expect("a link")];
    let mut counts = Counts { records_read: PARTITIONS as u64, loaded: PARTITIONS as u64, ..Counts::default() };
    counts.fates[Fate::Taken as usize] = PARTITIONS as u64;
    for number in 0..epochs as i64 {
        let span = |partition| Span {
            partition,
            topic_id: topic_id.clone(),
            start: number,
            end: number + 1,
            leader_epoch: None,
            last: None,
        };
        let record = EpochRecord {
            epoch: history.next_epoch,
            kind: Kind::Data,
            closed_at: Micros(1_790_000_000_000_000 + number),
            watermark: None,
            plan: "plan".into(),
            spans: partitions().map(span).collect(),
            decision: None,
            counts: [(letters.clone(), Counts::default()), (target.clone(), counts)].into(),
        };
        links.push(history.link(record).expect("a link"));
    }
    for links in links.chunks(500) {
        let (Some(first), Some(last)) = (links.first(), links.last()) else { continue };
        let range = Range { first: first.record.epoch, last: last.record.epoch, digest: last.digest.clone() };
        let load = Load { holder: holder.clone(), range, links: links.to_vec(), copies: Vec::new(), adopt: None };
        let loaded = warehouse.load(&load, &mut |_| {}).expect("an answer");
        assert_eq!(loaded, protocol::Outcome::Committed);
    }
    drop(warehouse);
    world.sql(&format!(
        "INSERT INTO {} (id, kafka_partition, kafka_offset) SELECT 1, p, o FROM generate_series(0, {}) p, generate_series(0, {}) o",
        world.name,
        PARTITIONS - 1,
        epochs - 1
    ));
    assert_eq!(history.next_epoch, Epoch(epochs + 1));
    // What Redshift knows of the blocks of a table whose rows came in this order.
    world.sql(&format!("CREATE INDEX ON {} (kafka_offset)", world.name));
    // All that was a day ago.
    let manifest = format!("tidegate.{}_manifest", world.name);
    world.sql(&format!("UPDATE {manifest} SET loaded_at = loaded_at - interval '1 day'"));
    world.sql("ANALYZE");
    // What is left of the last hundred is read now, so that every start after it finds nothing to load.
    world.catch_up(1);
    world
}

/// How many rows the database has read of each of the job's tables, once it has said all.
fn rows_read(world: &World) -> BTreeMap<String, i64> {
    let sql = format!(
        "SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname LIKE '{}%'",
        world.name
    );
    let mut seen = Vec::new();
    until(Duration::from_secs(30), "the counters rest", || {
        let before = std::mem::replace(&mut seen, world.sql(&sql));
        std::thread::sleep(Duration::from_millis(1_200));
        before == seen
    });
    let text = |cell: &Option<String>| cell.clone().expect("a value");
    seen.iter().map(|row| (text(&row[0]).replace(&world.name, ""), text(&row[1]).parse().expect("a number"))).collect()
}

#[test]
fn what_is_asked_of_an_old_job_reads_what_it_reads_of_a_young_one() {
    let (young, old) = (aged("young", 340), aged("old", 3_040));
    for (what, arguments) in [
        ("a start", &["run", "JOB", "--until-caught-up"][..]),
        ("status", &["status", "JOB"]),
        ("epochs", &["epochs", "JOB"]),
        ("gc", &["gc", "JOB", "--dry-run"]),
        ("verify --last", &["verify", "JOB", "--last", "100"]),
    ] {
        let read = |world: &World| {
            let job = world.own_job().display().to_string();
            let arguments: Vec<&str> = arguments.iter().map(|a| if *a == "JOB" { job.as_str() } else { a }).collect();
            let before = rows_read(world);
            world.output(&arguments);
            let read = rows_read(world).into_iter().map(|(table, rows)| (rows - before[&table], table));
            read.filter(|(rows, _)| *rows > 0).collect::<Vec<_>>()
        };
        let sum = |read: &[(i64, String)]| read.iter().map(|(rows, _)| rows).sum::<i64>();
        let (few, many) = (read(&young), read(&old));
        let said = format!("{what} reads of 340 epochs {} {few:?}, and of 3,040 {} {many:?}", sum(&few), sum(&many));
        println!("{said}");
        assert!(sum(&few) > 0 && sum(&many) * 2 <= sum(&few) * 3, "{said}");
    }
}

/// Each part of the history is verified as the whole is; and what was verified is not looked at again.
#[test]
fn a_part_of_the_history_is_verified() {
    let world = aged("part", 340);
    let job = world.own_job().display().to_string();
    let verify = |more: &[&str]| {
        let mut arguments = vec!["verify", job.as_str()];
        arguments.extend(more);
        let (code, said, wrong) = world.finish(&arguments);
        (code, format!("{said}{wrong}"))
    };
    // What was found, without the lines that say what is looked for; in one line.
    let findings = |said: &str| {
        let all: Vec<&str> = said.split("\nfinding: ").skip(1).flat_map(str::split_whitespace).collect();
        all.join(" ")
    };
    let newest = world.number(&format!("SELECT max(epoch) FROM tidegate.{}_manifest", world.name));
    let all = format!("{} epochs verified, no problems\n", newest + 1);
    for (scope, said) in [
        (&[][..], all.as_str()),
        (&["--last", "5"], "from epoch 301 on, no problems\n"),
        (&["--last", "100000"], &all),
        // The history that the test has made up is of one second in the past; what it read itself is of now.
        (&["--since", "1h"], "from epoch 301 on, no problems\n"),
    ] {
        let (code, found) = verify(scope);
        assert!(code == Some(0) && found.ends_with(said), "{scope:?}: {found}");
    }
    // The whole was marked above.
    let (code, found) = verify(&["--new"]);
    assert!(code == Some(0) && found.contains("from epoch 301 on"), "{found}");
    // (what is changed, in which epoch's offsets, what is found): in the part it is found, and before it only by the whole.
    let name = &world.name;
    let row = |offset: u64| format!("kafka_partition = 3 AND kafka_offset = {offset}");
    for (at, in_part) in [(50, false), (320, true)] {
        for (change, undo, finding) in [
            (
                format!("DELETE FROM {name} WHERE {}", row(at)),
                format!("INSERT INTO {name} (id, kafka_partition, kafka_offset) VALUES (1, 3, {at})"),
                "as many rows of an epoch as were counted",
            ),
            (
                format!("INSERT INTO {name} (id, kafka_partition, kafka_offset) VALUES (77, 3, {at})"),
                format!("DELETE FROM {name} WHERE id = 77"),
                "is in table",
            ),
            (
                format!("UPDATE tidegate.{name}_rows SET filtered = 1 WHERE epoch = {at} AND target = 'public.{name}'"),
                format!("UPDATE tidegate.{name}_rows SET filtered = 0 WHERE epoch = {at} AND target = 'public.{name}'"),
                "do not add up",
            ),
            (
                format!(
                    "UPDATE tidegate.{name}_offsets SET leader_epoch = 9 WHERE epoch = {at} AND kafka_partition = 2"
                ),
                format!(
                    "UPDATE tidegate.{name}_offsets SET leader_epoch = NULL WHERE epoch = {at} AND kafka_partition = 2"
                ),
                "the digest of an epoch is not that of its history",
            ),
        ] {
            world.sql(&change);
            let (code, found) = verify(&[]);
            assert!(code == Some(4) && findings(&found).contains(finding), "{change}: {found}");
            for scope in [&["--last", "20"][..], &["--new"]] {
                let (code, found) = verify(scope);
                assert_eq!(
                    (code == Some(4), findings(&found).contains(finding)),
                    (in_part, in_part),
                    "{change} {scope:?}: {found}"
                );
            }
            world.sql(&undo);
        }
    }
    // A row far above what was read is found by a part as well.
    world.sql(&format!("INSERT INTO {name} (id, kafka_partition, kafka_offset) VALUES (78, 3, 1000000)"));
    let (code, found) = verify(&["--last", "1"]);
    assert!(code == Some(4) && found.contains("comes from outside of what was read"), "{found}");
}

/// A job of so many epochs of so many partitions, of which the last 300 are real, and all before them rows like theirs that a script
/// has written.
fn ancient(prefix: &str, epochs: u64, partitions: i32) -> World {
    let world = World::new(prefix, partitions);
    let name = &world.name;
    let real: i64 = 300;
    for _ in 0..real / 20 {
        let record = |partition| (partition, Record::of(r#"{"id":1}"#));
        let records: Vec<_> = (0..20).flat_map(|_| (0..partitions).map(record)).collect();
        send(name, &records);
    }
    let topic_id = kafka(name, |_| {}).topic_id(name).expect("an answer").expect("the topic");
    let (mut warehouse, holder) = held(&world);
    // The script's part ends with a whole cut.
    let old = epochs - real as u64 - 1;
    let all = || (0..partitions).map(|number| TopicPartition::new(name.as_str(), number));
    let at = |end| Position { topic_id: topic_id.clone(), end, leader_epoch: None, last: None };
    let cut = Cut::new(all().map(|partition| (partition, at(0))));
    let (digest, cut_digest) = (Digest("0".repeat(64)), cut.digest());
    let (target, letters) = (format!("public.{name}"), format!("tidegate.{name}_dead_letters"));
    let zeros = "0, 0, 0, 0, 0, 0";
    let manifest = |from: u64, to: u64| {
        format!(
            "INSERT INTO tidegate.{name}_manifest (epoch, kind, generation, nonce, closed_at, digest, cut_digest, plan, loaded_at) \
             SELECT e, 'data', 1, '', '2026-01-01'::timestamptz + e * interval '1 second', '{}', '{}', 'plan', '2026-01-01' \
             FROM generate_series({from}, {to}) e",
            digest.0, cut_digest.0
        )
    };
    for sql in [
        manifest(0, old),
        format!(
            "INSERT INTO tidegate.{name}_rows (epoch, target, records_read, taken, filtered, skipped, undecoded, dead_letters, loaded) \
             SELECT e, t, {zeros}, 0 FROM generate_series(0, {old}) e, (VALUES ('{target}'), ('{letters}')) v(t)"
        ),
        format!(
            "INSERT INTO tidegate.{name}_offsets (epoch, topic, topic_id, kafka_partition, start_offset, end_offset) \
             SELECT e, '{name}', '{topic_id}', p, 0, 0 FROM generate_series(0, {old}) e, generate_series(0, {}) p",
            partitions - 1
        ),
        format!(
            "INSERT INTO tidegate.{name}_cuts (epoch, topic, topic_id, kafka_partition, end_offset) \
             SELECT e, '{name}', '{topic_id}', p, 0 FROM generate_series({}, {old}, 100) e, generate_series(0, {}) p",
            old % 100,
            partitions - 1
        ),
        format!(
            "UPDATE tidegate.{name}_fence SET next_epoch = {}, digest = '{}', cut_digest = '{}', cut_epoch = {old}",
            old + 1,
            digest.0,
            cut_digest.0
        ),
        // What an old job has loaded, at offsets that nobody asks for any more.
        format!(
            "INSERT INTO {name} (id, kafka_partition, kafka_offset) SELECT 1, 0, -1 - e FROM generate_series(0, {epochs} * 10) e"
        ),
    ] {
        world.sql(&sql);
    }
    let mut history = History { next_epoch: Epoch(old + 1), digest, cut, cut_epoch: Some(Epoch(old)) };
    let moved = partitions as u64;
    let mut counts = Counts { records_read: moved, loaded: moved, ..Counts::default() };
    counts.fates[Fate::Taken as usize] = moved;
    let mut links = Vec::new();
    for number in 0..real {
        let span = |partition| Span {
            partition,
            topic_id: topic_id.clone(),
            start: number,
            end: number + 1,
            leader_epoch: None,
            last: None,
        };
        let record = EpochRecord {
            epoch: history.next_epoch,
            kind: Kind::Data,
            closed_at: Micros(1_790_000_000_000_000 + number),
            watermark: None,
            plan: "plan".into(),
            spans: all().map(span).collect(),
            decision: None,
            counts: [(letters.clone(), Counts::default()), (target.clone(), counts)].into(),
        };
        links.push(history.link(record).expect("a link"));
    }
    for links in links.chunks(50) {
        let (Some(first), Some(last)) = (links.first(), links.last()) else { continue };
        let range = Range { first: first.record.epoch, last: last.record.epoch, digest: last.digest.clone() };
        let load = Load { holder: holder.clone(), range, links: links.to_vec(), copies: Vec::new(), adopt: None };
        let loaded = warehouse.load(&load, &mut |_| {}).expect("an answer");
        assert_eq!(loaded, protocol::Outcome::Committed);
    }
    drop(warehouse);
    world.sql(&format!(
        "INSERT INTO {name} (id, kafka_partition, kafka_offset) SELECT 1, p, o FROM generate_series(0, {}) p, \
         generate_series(0, {}) o",
        partitions - 1,
        real - 1
    ));
    world.sql(&format!("CREATE INDEX ON {name} (kafka_offset)"));
    world.sql("ANALYZE");
    world.catch_up(1);
    world
}

/// Seconds and the most bytes that were resident, each the median of three.
fn costs(world: &World, arguments: &[&str]) -> (f64, u64) {
    let job = world.own_job().display().to_string();
    let arguments: Vec<&str> = arguments.iter().map(|a| if *a == "JOB" { job.as_str() } else { a }).collect();
    let mut all: Vec<(f64, u64)> = (0..3)
        .map(|_| {
            let since = Instant::now();
            let (mut running, mut most) = (world.start(&arguments), 0);
            while running.runs() {
                most = most.max(running.most_resident_bytes().unwrap_or(0));
                thread::sleep(Duration::from_millis(1));
            }
            let took = since.elapsed().as_secs_f64();
            let ended = running.end(Duration::from_secs(5));
            assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.said);
            (took, most)
        })
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    all[1]
}

const ASKED: [(&str, &[&str]); 4] = [
    ("a start", &["run", "JOB", "--until-caught-up"]),
    ("status", &["status", "JOB"]),
    ("epochs", &["epochs", "JOB"]),
    ("verify --last", &["verify", "JOB", "--last", "100"]),
];

/// Memory in the ordinary run; times in the proof, where nothing runs beside it.
#[test]
fn an_old_job_costs_what_a_young_one_does() {
    let proof = std::env::var_os("TIDEGATE_PROOF").is_some();
    let (few, many, partitions) = if proof { (30_000, 300_000, 100) } else { (1_000, 10_000, 8) };
    let _alone = proof.then(harness::gate::alone);
    let (young, old) = (ancient("younger", few, partitions), ancient("older", many, partitions));
    for (what, arguments) in ASKED {
        let (young, old) = (costs(&young, arguments), costs(&old, arguments));
        let (time, memory) = (old.0 / young.0, old.1 as f64 / young.1 as f64);
        println!(
            "{what}: {:.2} s of {few} epochs, {:.2} s of {many}: {time:.2} times; {} and {} MB: {memory:.2} times",
            young.0,
            old.0,
            young.1 >> 20,
            old.1 >> 20
        );
        assert!(memory <= 1.5, "{what}: {memory} times the memory");
        assert!(!proof || time <= 1.5, "{what}: {time} times the time");
    }
}

/// One reader asks for the last loaded record of all partitions; it was one client each.
#[test]
fn a_start_with_many_partitions_is_not_much_slower() {
    let proof = std::env::var_os("TIDEGATE_PROOF").is_some();
    let (few, many) = (20, if proof { 2_000 } else { 200 });
    let _alone = proof.then(harness::gate::alone);
    let of = |partitions: i32| {
        let world = World::new("wide", partitions);
        let records: Vec<_> = (0..partitions).map(|partition| (partition, Record::of(r#"{"id":1}"#))).collect();
        send(&world.name, &records);
        world.catch_up(1);
        assert_eq!(world.rows(), i64::from(partitions));
        costs(&world, ASKED[0].1)
    };
    let (narrow, wide) = (of(few), of(many));
    let ratio = wide.0 / narrow.0;
    println!("a start with {few} partitions: {:.2} s; with {many}: {:.2} s: {ratio:.2} times", narrow.0, wide.0);
    assert!(!proof || ratio <= 3.0, "{ratio} times");
}
