//! `verify` says whether the tables keep their promise, and sees each way in which somebody can break it.

use std::time::Duration;

use harness::{
    events::Events,
    gate::alone,
    records::{Record, send},
    world::World,
};

#[test]
fn each_change_of_the_tables_is_found() {
    let world = World::new("verified", 2);
    let name = &world.name;
    let mut events = Events::new(name, 2);
    for _ in 0..3 {
        events.produce(400);
        send(name, &[(0, Record::of("bad")), (1, Record::of(r#"{"id":null}"#))]);
        world.catch_up(2);
    }
    let job = world.own_job().display().to_string();
    let verify = |more: &[&str]| {
        let mut arguments = vec!["verify", &job];
        arguments.extend(more);
        world.finish(&arguments)
    };
    let (code, said, wrong) = verify(&[]);
    assert_eq!(code, Some(0), "{said}{wrong}");
    assert!(said.ends_with("epochs verified, no problems\n"), "{said}");
    // What was looked for, where, and how much of it there is.
    assert!(said.starts_with(&format!("job {name}: epochs 0 to ")), "{said}");
    for place in ["the control tables", &format!("target public.{name}")] {
        let head = format!("found  what is looked for in {place}");
        let below = said.split(&head).nth(1).expect("a heading");
        let checks: Vec<&str> = below.lines().skip(1).take_while(|line| !line.is_empty()).collect();
        let is_good = |line: &&str| line.starts_with("    0  ") || line.starts_with("       ");
        assert!(checks.len() > 2 && checks.iter().all(is_good), "{said}");
    }
    assert_eq!(said.lines().find(|line| line.chars().count() > 80), None);

    let control = |table: &str| format!("tidegate.{name}_{table}");
    let (manifest, offsets, rows, letters, fence) =
        (control("manifest"), control("offsets"), control("rows"), control("dead_letters"), control("fence"));
    for (what, change, finding) in [
        ("a row deleted", format!("DELETE FROM {name} WHERE id = 7"), "as many rows of an epoch as were counted"),
        ("a row doubled", format!("INSERT INTO {name} SELECT * FROM {name} WHERE id = 7"), "twice"),
        (
            "a row deleted and another doubled",
            format!("DELETE FROM {name} WHERE id = 7; INSERT INTO {name} SELECT * FROM {name} WHERE id = 8"),
            "twice",
        ),
        (
            "a row from nowhere",
            format!("UPDATE {name} SET kafka_offset = 1000000 WHERE id = 7"),
            "comes from outside of what was read",
        ),
        (
            "an offsets row shifted",
            format!(
                "UPDATE {offsets} SET start_offset = start_offset + 1, end_offset = end_offset + 1 WHERE epoch = 2 AND kafka_partition = 0"
            ),
            "do not begin where those of the epoch before it ended",
        ),
        ("a manifest row removed", format!("DELETE FROM {manifest} WHERE epoch = 1"), "missing from the manifest"),
        (
            "the last manifest row removed",
            format!("DELETE FROM {manifest} WHERE epoch = (SELECT max(epoch) FROM {manifest})"),
            "the fence does not follow the last epoch",
        ),
        (
            "a digest edited",
            format!("UPDATE {manifest} SET digest = repeat('0', 64) WHERE epoch = 1"),
            "the digest of an epoch is not that of its history",
        ),
        (
            "a fingerprint edited",
            format!("UPDATE {offsets} SET last_fingerprint = repeat('0', 64) WHERE epoch = 2 AND kafka_partition = 1"),
            "the digest of an epoch is not that of its history",
        ),
        (
            "a time edited",
            format!("UPDATE {manifest} SET closed_at = closed_at + interval '1 microsecond' WHERE epoch = 2"),
            "the digest of an epoch is not that of its history",
        ),
        ("a count edited", format!("UPDATE {rows} SET filtered = filtered + 1 WHERE epoch = 2"), "do not add up"),
        ("counts removed", format!("DELETE FROM {rows} WHERE epoch = 2"), "an epoch has no counts"),
        (
            "a dead letter deleted",
            format!("DELETE FROM {letters} WHERE epoch = 2"),
            "other dead letters than were counted",
        ),
        (
            "a dead letter moved",
            format!("UPDATE {letters} SET kafka_offset = 1000000 WHERE epoch = 2"),
            "outside of what its epoch read",
        ),
        (
            "the fence moved",
            format!("UPDATE {fence} SET digest = repeat('0', 64)"),
            "the digest of the fence is not that of the last epoch",
        ),
    ] {
        let tables = [name, &manifest, &offsets, &rows, &letters, &fence];
        for table in tables {
            world.sql(&format!("CREATE TABLE {table}_saved AS SELECT * FROM {table}"));
        }
        world.sql(&change);
        let (code, said, wrong) = verify(&[]);
        assert_eq!(code, Some(4), "{what}: {said}{wrong}");
        // Over all lines of a finding; what was looked for in vain stands above them.
        let findings = said.split_once("\nfinding: ").map_or("", |(_, findings)| findings);
        let findings = findings.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(findings.contains(finding), "{what}: {said}");
        assert_eq!(said.lines().find(|line| line.chars().count() > 80), None, "{what}");
        assert!(wrong.contains("TG-1005"), "{wrong}");
        for table in tables {
            world.sql(&format!(
                "DELETE FROM {table}; INSERT INTO {table} SELECT * FROM {table}_saved; DROP TABLE {table}_saved"
            ));
        }
        assert_eq!(verify(&[]).0, Some(0), "{what}: restored");
    }
    // Rows that somebody else adds are a warning where that is known.
    world.sql(&format!("INSERT INTO {name} (id, kafka_partition, kafka_offset) VALUES (-1, 0, 1000000)"));
    assert_eq!(verify(&[]).0, Some(4));
    let target = format!("public.{name}");
    let (code, said, _) = verify(&["--edited", &target, "--json"]);
    assert_eq!(code, Some(0), "{said}");
    let lines: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(
        !lines.is_empty() && lines.iter().all(|line| line["severity"] == "warning" && line["target"] == *target),
        "{said}"
    );
    let outside = lines.iter().find(|line| line["columns"][1] == "kafka_offset").expect("the row from outside");
    assert_eq!(
        (&outside["columns"][0], &outside["rows"][0]),
        (&"kafka_partition".into(), &"0, 1000000".into()),
        "{said}"
    );
    let (_, said, _) = verify(&[]);
    assert!(said.contains("    kafka_partition  kafka_offset\n                  0       1000000\n"), "{said}");
    let (code, _, wrong) = verify(&["--edited", "public.nothing"]);
    assert_eq!((code, wrong.contains("no such target")), (Some(2), true), "{wrong}");
    // Anyone can run the statements; the added row shows in three of them.
    let statements = world.output(&["verify", &job, "--sql"]);
    let counted = statements.split(';').map(str::trim).filter(|sql| !sql.is_empty());
    let found = counted.filter(|sql| !world.sql(sql).is_empty()).count();
    assert_eq!(found, 2, "other rows than counted, and one from outside");

    events.produce(100);
    let status: serde_json::Value = serde_json::from_str(&world.output(&["status", &job, "--json"])).expect("JSON");
    let newest = world.number(&format!("SELECT max(epoch) FROM {manifest}"));
    assert_eq!(
        (&status["job"], &status["last_epoch"], &status["process"]),
        (&(**name).into(), &newest.into(), &"unknown".into())
    );
    assert_eq!((status["generation"].as_i64(), status["dead_letters"].as_i64()), (Some(3), Some(6)), "{status}");
    assert!(status["lag_offsets"].as_i64().unwrap_or(0) >= 100, "{status}");
    world.catch_up(1);
    let said = world.output(&["status", &job]);
    assert!(said.contains("generation 4") && said.contains("2 partitions, 0 offsets not loaded"), "{said}");

    let epochs = world.output(&["epochs", &job, "--last", "2", "--json"]);
    let epochs: Vec<serde_json::Value> = epochs.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(epochs.len(), 2);
    let newest = world.number(&format!("SELECT max(epoch) FROM {manifest}"));
    assert_eq!(epochs[0]["epoch"].as_i64(), Some(newest));
    let shown = world.output(&["epochs", &job]);
    assert!(shown.starts_with("epoch  kind          generation  closed at"), "{shown}");
    // A heading, and what epoch 0 is.
    assert_eq!(shown.lines().count() as i64, newest + 3);
    assert!(shown.contains("epoch 0 is an announcement"), "{shown}");
    let (code, _, said) = world.finish(&["explain", "tg-1005"]);
    assert_eq!(code, Some(0), "{said}");
    let ended = world.start(&["explain", "TG-9999"]).end(Duration::from_secs(10));
    assert_eq!(ended.code, Some(2), "{}", ended.said);
    assert!(ended.said.contains("TG-1000"), "{}", ended.said);
}

/// How the loader's user is set up is his affair: what is written and read is UTC, in one form.
#[test]
fn the_settings_of_the_user_do_not_matter() {
    let _alone = alone(); // the settings are those of all jobs
    let world = World::new("settings", 2);
    let name = &world.name;
    let mut events = Events::new(name, 2);
    world.sql("ALTER ROLE loader SET timezone = 'Asia/Tokyo'; ALTER ROLE loader SET datestyle = 'German, DMY'");
    let _back = Back(&world);
    for _ in 0..2 {
        events.produce(200);
        send(name, &[(0, Record::of("bad"))]);
        world.catch_up(1);
    }
    assert_eq!(world.rows(), events.ledger.len() as i64);
    let job = world.own_job().display().to_string();
    let (code, said, wrong) = world.finish(&["verify", &job]);
    assert_eq!(code, Some(0), "{said}{wrong}");
    let off = format!(
        "SELECT max(abs(extract(epoch FROM loaded_at - now() AT TIME ZONE 'UTC')))::bigint FROM tidegate.{name}_manifest"
    );
    assert!(world.number(&off) < 3600, "{} s from UTC", world.number(&off));
    let status: serde_json::Value = serde_json::from_str(&world.output(&["status", &job, "--json"])).expect("JSON");
    for time in [&status["loaded_at"], &status["complete_up_to"]] {
        assert!(is_rfc_3339(time), "{status}");
    }
    let objects = |arguments: &[&str]| -> Vec<serde_json::Value> {
        world.output(arguments).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let letters = objects(&["dead-letters", &job, "--json"]);
    assert_eq!(letters.len(), 1);
    let example = &letters[0]["example"];
    assert!(is_rfc_3339(&example["closed_at"]) && is_rfc_3339(&example["timestamp"]), "{example}");
    let newest = &objects(&["epochs", &job, "--json"])[0];
    assert!(is_rfc_3339(&newest["closed_at"]) && is_rfc_3339(&newest["loaded_at"]), "{newest}");
    // What a command says another one takes.
    let at = newest["closed_at"].as_str().expect("a time");
    assert_eq!(world.finish(&["verify", &job, "--since", at]).0, Some(0));
    let (code, _, wrong) = world.finish(&["verify", &job, "--since", "2026-11-24 10:00"]);
    assert!(code == Some(2) && wrong.contains("no offset such as Z"), "{wrong}");
    assert!(wrong.contains("like 2026-11-24T10:00:00Z"), "{wrong}");
    for command in ["status", "epochs", "dead-letters"] {
        let text = world.output(&[command, &job]);
        let times = text.split_whitespace().filter(|word| word.starts_with("20") && word.contains(':'));
        let times: Vec<&str> = times.map(|time| time.trim_end_matches(',')).collect();
        assert!(!times.is_empty() && times.iter().all(|time| time.len() == 20 && time.ends_with('Z')), "{text}");
    }
    assert_eq!(world.finish(&["check", &job]).0, Some(0));
}

/// A moment in UTC, with six digits of a second.
fn is_rfc_3339(value: &serde_json::Value) -> bool {
    let (text, form) = (value.as_str().unwrap_or_default(), "0000-00-00T00:00:00.000000Z");
    let fits = |(c, wanted): (char, char)| if wanted == '0' { c.is_ascii_digit() } else { c == wanted };
    text.len() == form.len() && text.chars().zip(form.chars()).all(fits)
}

/// The settings as they were.
struct Back<'w>(&'w World);

impl Drop for Back<'_> {
    fn drop(&mut self) {
        self.0.sql("ALTER ROLE loader RESET timezone; ALTER ROLE loader RESET datestyle");
    }
}
