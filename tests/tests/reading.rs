//! What a column says of how it is read, all the way into the table.

use std::time::Duration;

use harness::{
    records::{Record, send},
    world::World,
};

#[test]
fn values_are_read_as_their_columns_say() {
    let world = World::bare("reading");
    let name = &world.name;
    world.create_topic(name, 1);
    world.sql(&format!(
        "CREATE TABLE {name} (id bigint, amount decimal(12,2), at timestamptz, local timestamptz, wall timestamp, day date, \
         flag boolean, record bigint)"
    ));
    world.sql(&format!("ALTER TABLE {name} OWNER TO loader"));
    let lines = format!(
        r#"
[[stream]]
name = "s"
topic = "{name}"
keys = "ignore-case"
columns = [
  {{ name = "id", type = "bigint", on = {{ empty = "null" }} }}, {{ name = "amount", type = "decimal(12,2)" }},
  {{ name = "at", type = "timestamptz", time = "epoch_ms" }}, {{ name = "local", type = "timestamptz", zone = "Europe/Tallinn" }},
  {{ name = "wall", type = "timestamp", time = "epoch_s", zone = "Europe/Tallinn" }},
  {{ name = "day", type = "date", layout = "DD/MM/YYYY" }}, {{ name = "flag", type = "boolean", strict = true }},
]
[[target]]
table = "public.{name}"
query = "SELECT id, amount, at, local, wall, day, flag, _offset AS record FROM s"
"#
    );
    let job = world.job_file(&[lines]).display().to_string();
    assert_eq!(world.start(&["init", &job]).end(Duration::from_secs(30)).code, Some(0));
    // A record, and its row; or the column that is to blame, and how the reason begins.
    type Case = (&'static str, Result<&'static str, (&'static str, &'static str)>);
    let cases: Vec<Case> = vec![
        (r#"{"ID":"7","Amount":" +12.50 ","AT":1732575600123}"#, Ok("7|12.50|2024-11-25 23:00:00.123+00|||||")),
        (r#"{"id":1e3,"at":"1732575600123.4567"}"#, Ok("1000||2024-11-25 23:00:00.123456+00|||||")),
        (r#"{"id":"","at":"2026-11-24T10:00Z"}"#, Ok("||2026-11-24 10:00:00+00|||||")),
        (r#"{"id":1,"ID":2,"at":-1}"#, Ok("2||1969-12-31 23:59:59.999+00|||||")),
        (r#"{"local":"2026-07-15 12:00"}"#, Ok("|||2026-07-15 09:00:00+00||||")),
        (r#"{"local":"2026-10-25T03:30:00"}"#, Ok("|||2026-10-25 01:30:00+00||||")),
        (r#"{"local":"2026-03-29T03:30:00"}"#, Err(("local", "a time that no clock showed in that zone: "))),
        (r#"{"wall":1732575600}"#, Ok("||||2024-11-26 01:00:00|||")),
        (r#"{"wall":"2026-07-15T09:00:00Z"}"#, Ok("||||2026-07-15 12:00:00|||")),
        (r#"{"day":"24/11/2026"}"#, Ok("|||||2026-11-24||")),
        (r#"{"day":"2026-11-24"}"#, Err(("day", "not a time of that form: "))),
        (r#"{"flag":true}"#, Ok("||||||t|")),
        (r#"{"flag":"true"}"#, Err(("flag", "a string where boolean is declared"))),
        (r#"{"id":"12.34"}"#, Err(("id", "a number that is not whole: 12.34"))),
        (
            r#"{"local":1732575600}"#,
            Err(("local", "a number where timestamptz is declared, without `time` = epoch_s, ")),
        ),
    ];
    send(name, &cases.iter().map(|(record, _)| (0, Record::of(*record))).collect::<Vec<_>>());
    let ended = world.start(&["run", &job, "--until-caught-up"]).end(Duration::from_secs(60));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let rows = world.sql(&format!("SELECT * FROM {name} ORDER BY record"));
    let letters = world.sql(&format!(
        "SELECT kafka_offset, column_name, reason FROM tidegate.{name}_dead_letters ORDER BY kafka_offset"
    ));
    let (mut rows, mut letters) = (rows.into_iter(), letters.into_iter());
    for (offset, (record, expected)) in cases.iter().enumerate() {
        match expected {
            Ok(row) => {
                let found = rows.next().unwrap_or_default().into_iter().map(Option::unwrap_or_default);
                assert_eq!(found.collect::<Vec<_>>().join("|"), format!("{row}{offset}"), "{record}");
            }
            Err((column, reason)) => {
                let found = letters.next().unwrap_or_default();
                let found: Vec<&str> = found.iter().map(|value| value.as_deref().unwrap_or_default()).collect();
                let is_it = found[..2] == [&offset.to_string(), *column] && found[2].starts_with(reason);
                assert!(is_it, "{record}: {found:?}");
            }
        }
    }
    assert!(
        ended.said.contains("values of column at did not fit") || ended.said.contains("1 value of column at"),
        "{}",
        ended.said
    );
}
