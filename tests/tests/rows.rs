//! Records as they come: each bad one becomes a dead letter that names it, each good one a row, whatever stands beside it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use harness::{
    checkers,
    proxy::{Action, Kind, Moment, Proxy},
    records::{Record, send},
    world::{self, STACK, World},
};

/// What must become of a record.
#[derive(Clone, Debug)]
enum Fate {
    /// A row. What its columns must be, besides `id`: name and text.
    Row(Vec<(&'static str, String)>),
    /// A dead letter: stage, column, how its reason begins.
    Dead(&'static str, Option<&'static str>, &'static str),
    /// Nothing: skipped and counted.
    Skipped,
}

use Fate::{Dead, Skipped};

const COLUMNS: &str = "id bigint, small smallint, d double precision, n decimal(10,2), s varchar(10), t varchar(65535), \
    one char(3), day date, at timestamptz, wall timestamp, flag boolean, k varchar(65535), h varchar(65535), \
    b1 varbyte(3000000), b2 varbyte(3000000), kafka_partition integer NOT NULL, kafka_offset bigint NOT NULL, kafka_timestamp timestamptz";

fn job(world: &World, more: &str) -> String {
    let name = &world.name;
    let lines = format!(
        r#"
[[stream]]
name = "s"
topic = "{name}"
columns = [
  {{ name = "id", type = "bigint" }}, {{ name = "small", type = "smallint" }}, {{ name = "d", type = "double precision" }},
  {{ name = "n", type = "decimal(10,2)" }}, {{ name = "s", type = "varchar(10)" }}, {{ name = "t", type = "varchar(65535)" }},
  {{ name = "one", type = "char(3)" }}, {{ name = "day", type = "date" }}, {{ name = "at", type = "timestamptz" }},
  {{ name = "wall", type = "timestamp" }}, {{ name = "flag", type = "boolean" }}, {{ name = "deep", type = "varchar(9)", path = "a.b[1]" }},
  {{ name = "b1", type = "varbyte(3000000)" }}, {{ name = "b2", type = "varbyte(3000000)" }}, {{ name = "zero", type = "integer" }},
]
[[target]]
table = "public.{name}"
query = """SELECT id, small, d, n, s, nvl(t, deep) AS t, one, day, at, wall, flag, _key AS k, _headers AS h, b1, b2,
   _partition AS kafka_partition, _offset AS kafka_offset, _timestamp AS kafka_timestamp FROM s"""
[[target]]
table = "public.{name}_second"
query = "SELECT id, 100 / nvl(zero, 1) AS q, _partition AS kafka_partition, _offset AS kafka_offset FROM s WHERE id >= 0 OR id % 10 = 0 OR id IS NULL"
{more}"#
    );
    let job = world.job_file(&[lines]);
    job.display().to_string()
}

/// Every kind of record, and its fate in the first target. Ids of good ones are negative, so that WHERE leaves nine of ten out
/// of the second, and all of these.
fn kinds() -> Vec<(&'static str, Record, Fate)> {
    let row = |columns: &[(&'static str, &str)]| Fate::Row(columns.iter().map(|(n, v)| (*n, v.to_string())).collect());
    let of = |text: &str| Record::of(text);
    let long = |bytes: usize| "x".repeat(bytes);
    let base64 = |bytes: usize| "AAAA".repeat(bytes / 3);
    let headers = Record { headers: 10_000, ..of(r#"{"id":-1}"#) };
    let big_key = Record { key: Some(vec![b'k'; 1_000_000]), ..of(r#"{"id":-1}"#) };
    let bad_key = Record { key: Some(vec![0xff]), ..of(r#"{"id":-1}"#) };
    let at = |ms| Record { timestamp_ms: Some(ms), ..of(r#"{"id":-1}"#) };
    vec![
        ("cut off", of(r#"{"id":-1,"s":"#), Dead("decode", None, "not JSON: the end")),
        ("empty", of(""), Dead("decode", None, "the record is not a JSON object")),
        ("blanks", of("  \n"), Dead("decode", None, "the record is not a JSON object")),
        ("a list", of("[1]"), Dead("decode", None, "the record is not a JSON object")),
        ("a tombstone", Record::default(), Skipped),
        (
            "deep",
            Record::of(format!("{{\"x\":{}", "[".repeat(100_000))),
            Dead("decode", None, "objects and arrays nested more than 128 deep"),
        ),
        ("a key twice", of(r#"{"id":-7,"s":"a","s":"b","id":-1}"#), row(&[("s", "b")])),
        (
            "too large a double",
            of(r#"{"id":-1,"d":1e400}"#),
            Dead("decode", Some("d"), "out of range for double precision: 1e400"),
        ),
        (
            "too large a bigint",
            of(r#"{"id":1000000000000000000000000000000}"#),
            Dead("decode", Some("id"), "out of range for bigint: 1"),
        ),
        ("minus zero", of(r#"{"id":-1,"d":-0.0}"#), row(&[("d", "-0")])),
        ("not a number", of(r#"{"id":-1,"d":"NaN"}"#), row(&[("d", "NaN")])),
        ("infinite", of(r#"{"id":-1,"d":"-Infinity"}"#), row(&[("d", "-Infinity")])),
        ("NaN without quotes", of(r#"{"id":-1,"d":NaN}"#), Dead("decode", None, "not JSON: 'N'")),
        (
            "a decimal that is none",
            of(r#"{"id":-1,"n":"NaN"}"#),
            Dead("decode", Some("n"), "a string that is not a number: \"NaN\""),
        ),
        (
            "too many places",
            of(r#"{"id":-1,"n":1.005}"#),
            Dead("decode", Some("n"), "more digits after the point than decimal(10,2): 1.005"),
        ),
        (
            "too large a decimal",
            of(r#"{"id":-1,"n":123456789}"#),
            Dead("decode", Some("n"), "out of range for decimal(10,2): 123456789"),
        ),
        (
            "an exact bigint",
            of(r#"{"id":-9007199254740993,"n":-12345678.90}"#),
            row(&[("id", "-9007199254740993"), ("n", "-12345678.90")]),
        ),
        ("no UTF-8", Record::of(*b"{\"id\":-1,\"s\":\"\xff\"}"), Dead("decode", None, "not UTF-8: at byte 14")),
        (
            "half a surrogate pair",
            of(r#"{"id":-1,"s":"\ud800"}"#),
            Dead("decode", Some("s"), "half a surrogate pair: "),
        ),
        ("half a pair that nobody asks for", of(r#"{"id":-1,"x":"\ud800","y":["\udc00"]}"#), row(&[])),
        ("NUL", of(r#"{"id":-1,"s":"a\u0000b"}"#), Dead("decode", Some("s"), "text with a NUL character")),
        (
            "65,536 bytes",
            Record::of(format!(r#"{{"id":-1,"t":"{}"}}"#, long(65_536))),
            Dead("decode", Some("t"), "longer than varchar(65535): 65536 bytes"),
        ),
        ("65,535 bytes", Record::of(format!(r#"{{"id":-1,"t":"{}"}}"#, long(65_535))), row(&[("t", &long(65_535))])),
        (
            "characters of 4 bytes",
            Record::of(format!(r#"{{"id":-1,"t":"{}"}}"#, "😀".repeat(16_383))),
            row(&[("t", &"😀".repeat(16_383))]),
        ),
        (
            "ten characters of 3 bytes",
            of(r#"{"id":-1,"s":"ああああああああああ"}"#),
            Dead("decode", Some("s"), "longer than varchar(10): 30 bytes"),
        ),
        (
            "characters of 2 bytes in char",
            of(r#"{"id":-1,"one":"ä"}"#),
            Dead("decode", Some("one"), "a character of several bytes"),
        ),
        (
            "a row over 4 MB",
            Record::of(format!(r#"{{"id":-1,"b1":"{0}","b2":"{0}"}}"#, base64(2_400_000))),
            Dead("fit", None, "a row of more than 4194304 bytes: 4800"),
        ),
        ("day zero", of(r#"{"id":-1,"day":"0000-00-00"}"#), Dead("decode", Some("day"), "not a date: \"0000-00-00\"")),
        (
            "the last day",
            of(r#"{"id":-1,"day":"9999-12-31","at":"9999-12-31T23:59:59.999999Z"}"#),
            row(&[("day", "9999-12-31"), ("at", "9999-12-31 23:59:59.999999+00")]),
        ),
        ("the year 20000", of(r#"{"id":-1,"day":"20000-01-01"}"#), Dead("decode", Some("day"), "not a date")),
        (
            "a leap second",
            of(r#"{"id":-1,"at":"2016-12-31T23:59:60Z"}"#),
            Dead("decode", Some("at"), "not a timestamp with an offset: \"2016-12-31T23:59:60Z\" (a leap second)"),
        ),
        ("an odd zone", of(r#"{"id":-1,"at":"2026-01-01T00:00:00+14:45"}"#), row(&[("at", "2025-12-31 09:15:00+00")])),
        (
            "nanoseconds",
            of(r#"{"id":-1,"wall":"2026-01-01T00:00:00.123456789"}"#),
            row(&[("wall", "2026-01-01 00:00:00.123456")]),
        ),
        (
            "a moment where the wall's time is declared",
            of(r#"{"id":-1,"wall":"2026-01-01T00:00:00Z"}"#),
            Dead("decode", Some("wall"), "not a timestamp without an offset"),
        ),
        ("a millisecond into 1970", at(1), row(&[("kafka_timestamp", "1970-01-01 00:00:00.001+00")])), // 0 is "now" to the producer
        ("before 1970", at(-1_000_000), row(&[("kafka_timestamp", "\\N")])),
        ("the year 292278994", at(i64::MAX), row(&[("kafka_timestamp", "\\N")])),
        (
            "text where a number is declared",
            of(r#"{"id":"one"}"#),
            Dead("decode", Some("id"), "a string that is not a number: \"one\""),
        ),
        (
            "values in other clothes",
            of(
                r#"{"id":"-1","small":1e2,"n":" +12.50","d":"0.5","flag":"Yes","day":"2026-11-24T00:00:00Z","wall":"2026-11-24 10:54"}"#,
            ),
            row(&[
                ("small", "100"),
                ("n", "12.50"),
                ("d", "0.5"),
                ("flag", "t"),
                ("day", "2026-11-24"),
                ("wall", "2026-11-24 10:54:00"),
            ]),
        ),
        ("a number where text is declared", of(r#"{"id":-1,"s":1.50}"#), row(&[("s", "1.50")])),
        ("a list where text is declared", of(r#"{"id":-1,"s":[1, 2]}"#), row(&[("s", "[1, 2]")])),
        ("just the fetch limit", Record::of(format!(r#"{{"id":-1,"pad":"{}"}}"#, long(100_000 - 18))), row(&[])),
        ("a byte over the fetch limit", Record::of(format!(r#"{{"id":-1,"pad":"{}"}}"#, long(100_001 - 18))), row(&[])),
        ("ten thousand headers", headers, Dead("fit", Some("h"), "longer than varchar(65535): ")),
        ("a key of a megabyte", big_key, Dead("fit", Some("k"), "longer than varchar(65535): 1000000 bytes")),
        ("a key that is not text", bad_key, Dead("query", Some("_key"), "not UTF-8: at byte 0")),
        (
            "a key and headers",
            Record { key: Some(b"k \xc3\xa4".to_vec()), headers: 2, ..of(r#"{"id":-1}"#) },
            row(&[("k", "k ä"), ("h", r#"[{"key":"h0","value":"v"},{"key":"h1","value":"v"}]"#)]),
        ),
        ("a value inside another", of(r#"{"id":-1,"a":{"b":[0,"in"]}}"#), row(&[("t", "in")])),
    ]
}

const EACH: usize = 10;
const PARTITIONS: i32 = 12;

fn good(n: usize) -> Record {
    Record::of(format!(
        r#"{{"id":{},"small":{},"d":{n}.5,"n":{n}.25,"s":"s{}","day":"2026-11-24","flag":{}}}"#,
        -1 - n as i64,
        n % 100,
        n % 1000,
        n.is_multiple_of(3)
    ))
}

/// Bad ones first, last, alone, beside each other, and anywhere.
fn lay_out(kinds: &[(&'static str, Record, Fate)], goods: usize) -> Vec<(i32, Record, Option<usize>)> {
    let mut all = Vec::new();
    let mut n = 0;
    let mut good_ones = |all: &mut Vec<_>, partition, count| {
        for _ in 0..count {
            all.push((partition, good(n), None));
            n += 1;
        }
    };
    let kind = |all: &mut Vec<_>, partition, kind: usize| all.push((partition, kinds[kind].1.clone(), Some(kind)));
    for number in 0..kinds.len() {
        // First in a partition of good ones, and all beside each other.
        kind(&mut all, 0, number);
        kind(&mut all, 2, number);
        kind(&mut all, 2, number);
        // A partition of nothing else.
        kind(&mut all, 3, number);
    }
    good_ones(&mut all, 0, goods / 10);
    good_ones(&mut all, 1, goods / 10);
    for number in 0..kinds.len() {
        // Last in a partition.
        kind(&mut all, 1, number);
    }
    // Each between good ones, in the other partitions.
    let rest = goods - goods / 5;
    let places = kinds.len() * (EACH - 5);
    for place in 0..places {
        let partition = 4 + (place as i32 % (PARTITIONS - 4));
        good_ones(&mut all, partition, rest / places);
        kind(&mut all, partition, place % kinds.len());
    }
    all
}

#[test]
fn every_bad_record_is_a_dead_letter_and_every_good_one_a_row() {
    let kinds = kinds();
    for killed in [false, true] {
        let mut world = World::bare(if killed { "rows_killed" } else { "rows" });
        // Many epochs, so that a kill comes between two of them.
        world.more = "[epoch]\ninterval = \"50ms\"\nmax_rows = 3000\n".into();
        let proxy = Proxy::start(Kind::Redshift, STACK.redshift.address());
        world.redshift_at(proxy.address());
        let name = &world.name;
        let settings = [("max.message.bytes", "16000000"), ("message.timestamp.after.max.ms", "9223372036854775807")];
        world.create_topic_with(name, PARTITIONS, &settings);
        world.sql(&format!(
            "CREATE TABLE {name} ({})",
            COLUMNS
                .replace("varbyte(3000000)", "bytea CHECK (octet_length(@) <= 3000000)")
                .replacen('@', "b1", 1)
                .replacen('@', "b2", 1)
        ));
        world.sql(&format!("CREATE TABLE {name}_second (id bigint, q integer, kafka_partition integer NOT NULL, kafka_offset bigint NOT NULL)"));
        world.sql(&format!("ALTER TABLE {name} OWNER TO loader"));
        world.sql(&format!("ALTER TABLE {name}_second OWNER TO loader"));
        let job = job(&world, "[memory]\nbudget = \"200 MB\"\n");
        let job = {
            // As small as a fetch may be, so that some records are just it.
            let text = std::fs::read_to_string(&job).expect("the job file");
            let with = text.replace(
                "\"fetch.wait.max.ms\" = 20",
                "\"fetch.wait.max.ms\" = 20, \"fetch.message.max.bytes\" = 100000",
            );
            std::fs::write(&job, with).expect("the job file");
            job
        };
        let ended = world.start(&["init", &job]).end(Duration::from_secs(30));
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        let sent = lay_out(&kinds, 100_000);
        let records: Vec<(i32, Record)> =
            sent.iter().map(|(partition, record, _)| (*partition, record.clone())).collect();
        let offsets = send(name, &records);

        let run = || world.start(&["run", &job, "--workers", "2", "--until-caught-up"]);
        if killed {
            let epochs = || world.number(&format!("SELECT count(*) FROM tidegate.{name}_manifest"));
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time");
            let given = std::env::var("TIDEGATE_SEED").ok().map(|seed| seed.parse().expect("a number"));
            let seed: u64 = given.unwrap_or(u64::from(now.subsec_micros()));
            for round in 1..=3u64 {
                // On the way of its first load, which stands still for a while as everything else goes on.
                let moment = [Moment::Copy, Moment::Commit, Moment::Committed][((seed + round) % 3) as usize];
                let wait = Duration::from_millis(seed * round % 300);
                let pid = Arc::new(AtomicI32::new(0));
                let target = pid.clone();
                let kill = move || {
                    std::thread::sleep(wait);
                    world::send(target.load(Ordering::SeqCst), 9);
                };
                proxy.at(moment, Action::Do(Arc::new(kill)));
                let running = run();
                pid.store(running.pid(), Ordering::SeqCst);
                assert_eq!(running.end(Duration::from_secs(60)).code, None, "seed {seed}: killed");
                println!("TIDEGATE_SEED={seed}: killed at {moment:?} and {wait:?}, with {} epochs loaded", epochs());
            }
        }
        let ended = run().end(Duration::from_secs(300));
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        println!("{}", ended.said.lines().last().unwrap_or_default());
        check(&world, &kinds, &sent, &offsets);
        listed(&world, &job);
    }
}

type Row = Vec<Option<String>>;

fn check(
    world: &World,
    kinds: &[(&'static str, Record, Fate)],
    sent: &[(i32, Record, Option<usize>)],
    offsets: &[i64],
) {
    let name = &world.name;
    let by_place = |rows: Vec<Row>| -> BTreeMap<(i32, i64), Row> {
        let number = |text: &Option<String>| text.as_deref().unwrap_or_default().parse::<i64>().expect("a number");
        let count = rows.len();
        let map: BTreeMap<_, _> =
            rows.into_iter().map(|row| ((number(&row[0]) as i32, number(&row[1])), row)).collect();
        assert_eq!(map.len(), count, "a record is there twice");
        map
    };
    const SHOWN: [&str; 13] =
        ["id", "d", "n", "s", "t", "day", "at", "wall", "kafka_timestamp", "flag", "small", "k", "h"];
    let rows = by_place(world.sql(&format!("SELECT kafka_partition, kafka_offset, {} FROM {name}", SHOWN.join(", "))));
    let letters = by_place(world.sql(&format!(
        "SELECT kafka_partition, kafka_offset, target, topic, stage, column_name, reason, left(raw_bytes, 40), raw_truncated \
         FROM tidegate.{name}_dead_letters"
    )));
    let second = by_place(world.sql(&format!("SELECT kafka_partition, kafka_offset, id, q FROM {name}_second")));
    let (mut dead, mut skipped, mut undecoded, mut tenth) = (0, 0, 0, 0);
    for ((partition, record, kind), offset) in sent.iter().zip(offsets) {
        let place = (*partition, *offset);
        let Some(kind) = kind else {
            let row = rows.get(&place).unwrap_or_else(|| panic!("a good one at {place:?} is missing"));
            let text = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
            let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            // As it was written, but for the words of truth.
            let written = |column: &str| match &value[column] {
                serde_json::Value::String(text) => Some(text.clone()),
                serde_json::Value::Bool(truth) => Some(if *truth { "t" } else { "f" }.to_string()),
                serde_json::Value::Number(number) => Some(number.to_string()),
                _ => None,
            };
            for (column, found) in SHOWN.iter().zip(&row[2..]) {
                match *column {
                    "kafka_timestamp" => assert!(found.is_some(), "{place:?}"),
                    "h" => assert_eq!(found.as_deref(), Some("[]"), "{place:?}"),
                    _ => assert_eq!(*found, written(column), "{column} at {place:?}"),
                }
            }
            let of_second = second.get(&place).map(|row| (row[2].clone(), row[3].as_deref()));
            let is_tenth = value["id"].as_i64().is_some_and(|id| id % 10 == 0);
            tenth += usize::from(is_tenth);
            assert_eq!(of_second, is_tenth.then(|| (written("id"), Some("100"))), "{place:?}");
            continue;
        };
        let (what, _, fate) = &kinds[*kind];
        match fate {
            Fate::Row(columns) => {
                let row = rows
                    .get(&place)
                    .unwrap_or_else(|| panic!("{what} at {place:?} is missing: {:?}", letters.get(&place)));
                for (column, expected) in columns {
                    let found = &row[2 + SHOWN.iter().position(|s| s == column).expect("a column that is shown")];
                    assert_eq!(found.as_deref().unwrap_or("\\N"), expected, "{what}: {column}");
                }
            }
            Fate::Dead(stage, column, reason) => {
                let letter = letters.get(&place).unwrap_or_else(|| panic!("{what} at {place:?} is not a dead letter"));
                assert!(!rows.contains_key(&place), "{what} is a row as well");
                let target = if *stage == "decode" { String::new() } else { format!("public.{name}") };
                assert_eq!(letter[2].as_deref(), Some(target.as_str()), "{what}");
                assert_eq!((letter[3].as_deref(), letter[4].as_deref()), (Some(name.as_str()), Some(*stage)), "{what}");
                assert_eq!(letter[5].as_deref(), *column, "{what}");
                assert!(letter[6].as_deref().unwrap_or_default().starts_with(reason), "{what}: {:?}", letter[6]);
                let value = record.value.as_deref().unwrap_or_default();
                let hex = checkpoint::hex(&value[..value.len().min(20)]);
                assert_eq!(letter[7].as_deref(), Some(hex.as_str()), "{what}");
                assert_eq!(letter[8].as_deref(), Some(if value.len() > 32_767 { "t" } else { "f" }), "{what}");
                dead += 1;
                undecoded += usize::from(*stage == "decode");
            }
            Fate::Skipped => {
                assert!(!rows.contains_key(&place) && !letters.contains_key(&place), "{what}");
                skipped += 1;
            }
        }
    }
    assert_eq!(letters.len(), dead, "dead letters that nobody expects");
    assert_eq!(rows.len(), sent.len() - dead - skipped);
    let counts = world.sql(&format!(
        "SELECT sum(records_read), sum(loaded), sum(skipped), sum(undecoded), sum(dead_letters) FROM tidegate.{name}_rows WHERE target = 'public.{name}'"
    ));
    let expected = [sent.len(), rows.len(), skipped, undecoded, dead - undecoded];
    assert_eq!(counts[0], expected.map(|n| Some(n.to_string())));
    assert_eq!(second.len(), tenth);
    let counts = world.sql(&format!(
        "SELECT sum(records_read), sum(loaded), sum(filtered), sum(skipped), sum(undecoded) FROM tidegate.{name}_rows WHERE target = 'public.{name}_second'"
    ));
    assert_eq!(
        counts[0],
        [sent.len(), tenth, sent.len() - tenth - skipped - undecoded, skipped, undecoded].map(|n| Some(n.to_string()))
    );
    checkers::control_tables_of(world, &[name.clone(), format!("{name}_second")]);
    println!("{name}: {} records, {} rows, {dead} dead letters, {skipped} skipped", sent.len(), rows.len());
}

/// `dead-letters` shows each kind once.
fn listed(world: &World, job: &str) {
    let name = &world.name;
    let all = world.number(&format!("SELECT count(*) FROM tidegate.{name}_dead_letters"));
    let json = world.output(&["dead-letters", job, "--json"]);
    let groups: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(groups.iter().filter_map(|g| g["count"].as_i64()).sum::<i64>(), all);
    let bigint = groups.iter().find(|g| g["reason"] == "out of range for bigint").expect("that kind");
    assert_eq!((&bigint["stage"], &bigint["column"], &bigint["count"]), (&"decode".into(), &"id".into(), &EACH.into()));
    assert_eq!(bigint["example"]["record"], r#"{"id":1000000000000000000000000000000}"#);
    each(world, job, all);
    let shown = world.output(&["dead-letters", job, "--reason", "leap second", "--since", "1h"]);
    assert!(shown.contains("10 at decode column at: not a timestamp with an offset"), "{shown}");
    assert!(shown.ends_with("10 dead letters of 1 kind\n"), "{shown}");
    let none = world.output(&["dead-letters", job, "--since", "2999-01-01"]);
    assert_eq!(none, "no dead letters\n");
}

/// `dead-letters --all` shows each, with all of it that is kept, and nothing of it acts on a terminal.
fn each(world: &World, job: &str, all: i64) {
    let name = &world.name;
    let json = world.output(&["dead-letters", job, "--all", "--json"]);
    let letters: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(letters.len() as i64, all);
    let number = |letter: &serde_json::Value, key: &str| letter[key].as_i64().unwrap_or_default();
    assert!(letters.is_sorted_by_key(|letter| ["epoch", "partition", "offset"].map(|key| number(letter, key))));
    let bytes = |letter: &serde_json::Value| match letter["record_hex"].as_str() {
        Some(hex) => hex.to_string(),
        None => checkpoint::hex(letter["record"].as_str().unwrap_or_default().as_bytes()),
    };
    let kept = world.sql(&format!("SELECT coalesce(raw_bytes, '') FROM tidegate.{name}_dead_letters"));
    let mut kept: Vec<String> = kept.into_iter().filter_map(|row| row[0].clone()).collect();
    let mut shown: Vec<String> = letters.iter().map(bytes).collect();
    kept.sort_unstable();
    shown.sort_unstable();
    assert!(shown == kept, "every byte that is kept is there");
    let replaced = letters.iter().find(|letter| letter["record_hex"].is_string()).expect("one that is not UTF-8");
    assert!(replaced["record"].as_str().is_some_and(|text| text.contains('\u{fffd}')), "{replaced}");
    let text = world.output(&["dead-letters", job, "--all"]);
    assert!(text.ends_with(&format!("\n{all} dead letters\n")), "the sum is the last line");
    assert!(text.contains("\n    {\"id\":1000000000000000000000000000000}\n"), "as it was sent");
    assert!(text.contains("<0xFF>") && !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')));
}

/// A record may be a row of one target and a dead letter of another; halting is a choice.
#[test]
fn a_record_that_fails_for_one_target_is_a_row_of_the_other() {
    let world = World::bare("halves");
    let name = &world.name;
    world.create_topic(name, 1);
    world.sql(&format!("CREATE TABLE {name} (id bigint, kafka_partition integer, kafka_offset bigint)"));
    world.sql(&format!(
        "CREATE TABLE {name}_second (kafka_offset bigint, note varchar(5) NOT NULL DEFAULT 'none', kafka_partition integer, \
         q integer, id smallint NOT NULL)"
    ));
    for table in [name.clone(), format!("{name}_second")] {
        world.sql(&format!("ALTER TABLE {table} OWNER TO loader"));
    }
    let lines = |errors: &str| {
        let text = format!(
            r#"
[[stream]]
name = "s"
topic = "{name}"
columns = [ {{ name = "id", type = "bigint" }} ]
[[target]]
table = "public.{name}"
query = "SELECT id, _partition AS kafka_partition, _offset AS kafka_offset FROM s"
[[target]]
table = "public.{name}_second"
query = "SELECT id, 10 / id AS q, _partition AS kafka_partition, _offset AS kafka_offset FROM s WHERE id <> 5 OR id IS NULL"
{errors}"#
        );
        world.job_file(&[text]).display().to_string()
    };
    let job = lines("[errors]\nhalt_above = \"10%\"\n");
    assert_eq!(world.start(&["init", &job]).end(Duration::from_secs(30)).code, Some(0));
    let id = |id: i64| (0, Record::of(format!(r#"{{"id":{id}}}"#)));
    // A good row, an expression that fails, one that WHERE leaves out, one that does not fit, one that is NULL.
    let mut records = vec![id(1), id(0), id(5), id(40_000), (0, Record::of("{}")), (0, Record::of("bad"))];
    records.extend((0..2000).map(|_| id(2)));
    send(name, &records);
    let ended = world.start(&["run", &job, "--until-caught-up"]).end(Duration::from_secs(60));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let letters = world.sql(&format!(
        "SELECT target, stage, column_name, kafka_offset FROM tidegate.{name}_dead_letters ORDER BY kafka_offset"
    ));
    let second = format!("public.{name}_second");
    let row = |target: &str, stage: &str, column: Option<&str>, offset: i64| -> Row {
        vec![Some(target.into()), Some(stage.into()), column.map(String::from), Some(offset.to_string())]
    };
    assert_eq!(
        letters,
        [
            row(&second, "query", Some("q"), 1),
            row(&second, "fit", Some("id"), 3),
            row(&second, "fit", Some("id"), 4),
            row("", "decode", None, 5)
        ]
    );
    // Its columns stand in another order, and one that is not selected has its default.
    let sums = world
        .sql(&format!("SELECT note, count(*), sum(id), sum(q), sum(kafka_partition) FROM {name}_second GROUP BY note"));
    assert_eq!(sums, [["none", "2001", "4001", "10010", "0"].map(|text| Some(text.to_string())).to_vec()]);
    let counts = world.sql(&format!(
        "SELECT sum(loaded), sum(filtered), sum(undecoded), sum(dead_letters) FROM tidegate.{name}_rows GROUP BY target HAVING sum(records_read) > 0 ORDER BY target"
    ));
    let number = |n: i64| Some(n.to_string());
    assert_eq!(
        counts,
        [vec![number(2005), number(0), number(1), number(0)], vec![number(2001), number(1), number(1), number(3)]]
    );
    checkers::control_tables_of(&world, &[name.clone(), format!("{name}_second")]);

    // Another job file: what it means otherwise is named, before it loads and when it does.
    let newest = world.number(&format!("SELECT max(epoch) FROM tidegate.{name}_manifest"));
    let text = std::fs::read_to_string(&job).expect("the job file");
    let changed = format!("{job}.changed");
    let text = text
        .replace("WHERE id <> 5", "WHERE id <> 6")
        .replace("name = \"id\", type", "name = \"id\", strict = true, type");
    std::fs::write(&changed, text).expect("another job file");
    let expected = [
        format!("stream s: column id: strict changed from false to true since epoch {newest}"),
        format!("target {second}: query changed since epoch {newest}"),
    ];
    let checked = world.output(&["check", &changed, "--json"]);
    let checked: Vec<serde_json::Value> =
        checked.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for note in &expected {
        assert!(checked.iter().any(|line| line["kind"] == "note" && line["what"] == **note), "{note}: {checked:?}");
    }
    let ended = world.start(&["run", &changed, "--until-caught-up", "--log", "json"]).end(Duration::from_secs(60));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let lines = ended.said.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let said: Vec<serde_json::Value> = lines.filter(|line| line["event"] == "plan-changed").collect();
    assert_eq!(said.iter().map(|line| line["message"].as_str().unwrap_or_default()).collect::<Vec<_>>(), expected);
    let of_target = (&said[1]["part"], &said[1]["change"], &said[1]["since_epoch"]);
    assert_eq!(of_target, (&format!("target {second}").into(), &"query changed".into(), &newest.into()));
    assert!(!world.output(&["check", &job]).contains("since epoch"), "what did not change is not named");

    // Above its limit the job halts, and loads nothing of what it has read.
    let before = world.number(&format!("SELECT next_epoch FROM tidegate.{name}_fence"));
    send(name, &(0..2000).map(|n| if n % 5 == 0 { (0, Record::of("bad")) } else { id(1) }).collect::<Vec<_>>());
    let ended = world.start(&["run", &job, "--until-caught-up"]).end(Duration::from_secs(60));
    assert_eq!(ended.code, Some(23), "{}", ended.said);
    assert!(ended.said.contains("TG-4002") && ended.said.contains("of the last"), "{}", ended.said);
    assert_eq!(world.number(&format!("SELECT next_epoch FROM tidegate.{name}_fence")), before);
}

/// One stream out of several topics, which tells them apart.
#[test]
fn a_stream_reads_several_topics() {
    let world = World::bare("several");
    let name = &world.name;
    let topics = [format!("{name}_a"), format!("{name}_b"), format!("{name}_c")];
    for (partitions, topic) in (1..).zip(&topics) {
        world.create_topic(topic, partitions);
    }
    world.sql(&format!(
        "CREATE TABLE {name} (id bigint, topic varchar(249), kafka_partition integer, kafka_offset bigint)"
    ));
    world.sql(&format!("ALTER TABLE {name} OWNER TO loader"));
    let lines = format!(
        r#"
[[stream]]
name = "s"
topics = ["{}", "{}", "{}"]
columns = [ {{ name = "id", type = "bigint" }} ]
[[target]]
table = "public.{name}"
query = "SELECT id, _topic AS topic, _partition AS kafka_partition, _offset AS kafka_offset FROM s"
"#,
        topics[0], topics[1], topics[2]
    );
    let job = world.job_file(&[lines]).display().to_string();
    assert_eq!(world.start(&["init", &job]).end(Duration::from_secs(30)).code, Some(0));
    for (count, topic) in (1..).zip(&topics) {
        let records: Vec<_> = (0..count * 100).map(|n| (n % count, Record::of(format!(r#"{{"id":{n}}}"#)))).collect();
        send(topic, &records);
        send(topic, &[(0, Record::of("bad"))]);
    }
    let ended = world.start(&["run", &job, "--until-caught-up", "--workers", "3"]).end(Duration::from_secs(60));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let counts = world.sql(&format!("SELECT topic, count(*), sum(id) FROM {name} GROUP BY topic ORDER BY topic"));
    let expected = (1..).zip(&topics).map(|(count, topic): (i64, _)| {
        let rows = count * 100;
        vec![Some(topic.clone()), Some(rows.to_string()), Some((rows * (rows - 1) / 2).to_string())]
    });
    assert_eq!(counts, expected.collect::<Vec<_>>());
    let letters = world.sql(&format!("SELECT topic, kafka_offset FROM tidegate.{name}_dead_letters ORDER BY topic"));
    let expected = topics.iter().map(|topic| vec![Some(topic.clone()), Some("100".to_string())]);
    assert_eq!(letters, expected.collect::<Vec<_>>());
}

/// What a policy changes is loaded changed, and said per column with the load.
#[test]
fn what_a_policy_changes_is_said() {
    let world = World::bare("policies");
    let name = &world.name;
    world.create_topic(name, 1);
    world.sql(&format!("CREATE TABLE {name} (a varchar(4), b smallint, c decimal(5,1))"));
    world.sql(&format!("ALTER TABLE {name} OWNER TO loader"));
    let lines = format!(
        r#"
[[stream]]
name = "s"
topic = "{name}"
columns = [ {{ name = "a", type = "varchar(10)", on = {{ long = "truncate", nul = "strip" }} }}, {{ name = "b", type = "integer" }},
  {{ name = "c", type = "decimal(5,1)", on = {{ scale = "round" }} }} ]
[[target]]
table = "public.{name}"
query = "SELECT a, b, c FROM s"
on = {{ b = {{ range = "null" }} }}
"#
    );
    let job = world.job_file(&[lines]).display().to_string();
    assert_eq!(world.start(&["init", &job]).end(Duration::from_secs(30)).code, Some(0));
    let records = [
        r#"{"a":"0123456789ab","b":1,"c":1.25}"#,
        r#"{"a":"x\u0000y","b":40000,"c":-1.25}"#,
        r#"{"a":"abcde","b":2,"c":1.2}"#,
    ];
    send(name, &records.map(|record| (0, Record::of(record))));
    let ended = world.start(&["run", &job, "--until-caught-up"]).end(Duration::from_secs(60));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let text = |text: &str| Some(text.to_string());
    assert_eq!(
        world.sql(&format!("SELECT a, b, c FROM {name} ORDER BY a")),
        [
            [text("0123"), text("1"), text("1.3")],
            [text("abcd"), text("2"), text("1.2")],
            [text("xy"), None, text("-1.3")]
        ]
    );
    for line in [
        "s: 2 values of column a did not fit and were changed",
        "s: 2 values of column c did not fit and were changed",
        &format!("public.{name}: 2 values of column a did not fit and were changed"),
        &format!("public.{name}: 1 value of column b did not fit and was changed"),
    ] {
        assert!(ended.said.contains(line), "{line}: {}", ended.said);
    }
}

/// Bytes as they are, beside the same as text: what is not UTF-8 is a dead letter of the one and a row of the other.
#[test]
fn a_raw_stream_takes_bytes_as_they_are() {
    let world = World::bare("raw");
    let name = &world.name;
    let topics = ["bytes", "text"].map(|kind| format!("{name}-{kind}"));
    topics.iter().for_each(|topic| world.create_topic(topic, 1));
    world.sql(&format!("CREATE TABLE {name} (body bytea CHECK (octet_length(body) <= 20), body_offset bigint)"));
    world.sql(&format!("CREATE TABLE {name}_text (body varchar(20), body_offset bigint)"));
    [name, &format!("{name}_text")]
        .iter()
        .for_each(|table| drop(world.sql(&format!("ALTER TABLE {table} OWNER TO loader"))));
    let [bytes, text] = &topics;
    let lines = format!(
        r#"
[[stream]]
name = "b"
topic = "{bytes}"
format = "raw"
columns = [ {{ name = "body", type = "varbyte(20)" }} ]
[[stream]]
name = "t"
topic = "{text}"
format = "raw"
columns = [ {{ name = "body", type = "varchar(20)", on = {{ long = "truncate" }} }} ]
[[target]]
table = "public.{name}"
query = "SELECT body, _offset AS body_offset FROM b"
[[target]]
table = "public.{name}_text"
query = "SELECT upper(body) AS body, _offset AS body_offset FROM t WHERE body <> 'left out'"
"#
    );
    let job = world.job_file(&[lines]).display().to_string();
    assert_eq!(world.start(&["init", &job]).end(Duration::from_secs(30)).code, Some(0));
    let values: [&[u8]; 6] = [b"plain", b"", b"\xff\x00\x01", b"twenty-one bytes long", b"left out", b"{\"a\":1}"];
    for topic in &topics {
        let of = |value: &&[u8]| (0, Record { value: Some(value.to_vec()), ..Record::default() });
        let mut records: Vec<_> = values.iter().map(of).collect();
        records.push((0, Record::default()));
        send(topic, &records);
    }
    let ended = world.start(&["run", &job, "--until-caught-up"]).end(Duration::from_secs(60));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let rows = |columns: &str, table: &str| -> Vec<(String, String)> {
        let rows = world.sql(&format!("SELECT {columns}, body_offset FROM {table} ORDER BY body_offset"));
        rows.into_iter().map(|row| (row[0].clone().unwrap_or_default(), row[1].clone().unwrap_or_default())).collect()
    };
    let expected = |rows: &[(&str, &str)]| -> Vec<(String, String)> {
        rows.iter().map(|(body, offset)| (body.to_string(), offset.to_string())).collect()
    };
    let hex = [("706c61696e", "0"), ("", "1"), ("ff0001", "2"), ("6c656674206f7574", "4"), ("7b2261223a317d", "5")];
    assert_eq!(rows("encode(body, 'hex')", name), expected(&hex));
    let texts = [("PLAIN", "0"), ("", "1"), ("TWENTY-ONE BYTES LON", "3"), ("{\"A\":1}", "5")];
    assert_eq!(rows("body", &format!("{name}_text")), expected(&texts));
    let letters = world.sql(&format!(
        "SELECT stage, reason, topic, kafka_offset FROM tidegate.{name}_dead_letters ORDER BY kafka_offset"
    ));
    let letters: Vec<Vec<String>> = letters.into_iter().map(|row| row.into_iter().flatten().collect()).collect();
    assert_eq!(
        letters,
        [["decode", "not UTF-8: at byte 0", text, "2"], ["decode", "longer than varbyte(20): 21 bytes", bytes, "3"]]
    );
    assert!(ended.said.contains("t: 1 value of column body did not fit and was changed"), "{}", ended.said);
    let (code, said, _) = world.finish(&["verify", &job]);
    assert_eq!(code, Some(0), "{said}");
}
