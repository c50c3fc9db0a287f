//! `check` finds what is wrong with a set-up, all at once, names the key and the remedy, and leaves nothing behind.

use harness::{
    records::{Record, send},
    world::World,
};

type Change<'a> = &'a [(&'a str, &'a str)];

/// What is wrong; changes of the environment and of the job file; keys and words that are named; what could not be checked.
type Setup<'a> = (&'a str, Change<'a>, Change<'a>, &'a [&'a str], &'a [&'a str]);

/// A job file that is another one after some replacements.
fn changed(own: &str, changes: &[(&str, &str)]) -> String {
    let mut text = std::fs::read_to_string(own).expect("the job file");
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let path = format!("{own}.{}", changes.iter().map(|(_, to)| to.len()).sum::<usize>());
    std::fs::write(&path, text).expect("another job file");
    path
}

#[test]
fn a_good_setup_and_fourteen_bad_ones() {
    let world = World::new("checked", 2);
    let name = &world.name;
    let good = Record::of(r#"{"id":1,"qty":2}"#);
    send(name, &(0..50).map(|n| (n % 2, good.clone())).collect::<Vec<_>>());
    let own = world.own_job().display().to_string();
    let before = || {
        let tables = ["fence", "manifest", "rows", "offsets", "cuts", "sessions", "halts", "dead_letters"];
        let contents = tables.map(|table| world.sql(&format!("SELECT * FROM tidegate.{name}_{table} ORDER BY 1")));
        (contents, world.rows())
    };
    let untouched = before();

    let (code, said, wrong) = world.finish(&["check", &own]);
    assert_eq!(code, Some(0), "{said}{wrong}");
    for part in [
        "2 partitions",
        "50 records decode",
        "written, read and removed",
        "logged in as",
        "4 slices",
        "columns take",
        "rolled back",
        "no findings",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }

    let topic = format!("topic = \"{name}\"");
    let table = format!("public.{name}\"");
    let no_right = format!("{name}_no_right");
    world.sql(&format!("CREATE TABLE {no_right} ({})", harness::world::COLUMNS));
    world.sql(&format!("GRANT SELECT ON {no_right} TO loader"));
    let no_right = format!("public.{no_right}\"");
    let other_type = "small smallint, qty integer";
    let wrong_type = format!("{name}_wrong_type");
    world.sql(&format!(
        "CREATE TABLE {wrong_type} ({})",
        harness::world::COLUMNS.replace(other_type, "small date, qty integer")
    ));
    world.sql(&format!("ALTER TABLE {wrong_type} OWNER TO loader"));
    let wrong_type = format!("public.{wrong_type}\"");
    let job_name = format!("job = \"{name}\"");
    let setups: [Setup<'_>; 14] = [
        (
            "a wrong password",
            &[("REDSHIFT_PASSWORD", "wrong")],
            &[],
            &["finding[TG-2002]: redshift.user, password"],
            &["tables, columns and rights"],
        ),
        (
            "nobody at the address",
            &[("REDSHIFT_PORT", "1")],
            &[],
            &["finding[TG-2001]: redshift.host, port", "127.0.0.1:1"],
            &["tables, columns and rights"],
        ),
        (
            "no broker",
            &[("KAFKA_BROKERS", "127.0.0.1:1")],
            &[],
            &["finding[TG-2001]: kafka.brokers"],
            &["topics and records"],
        ),
        (
            "no topic",
            &[],
            &[(&topic, "topic = \"no-such-topic\"")],
            &["finding[TG-1002]: stream s_", "no topic no-such-topic"],
            &["records of topic"],
        ),
        (
            "no table",
            &[],
            &[(&table, "public.no_such_table\"")],
            &["finding[TG-1002]: target public.no_such_table: table"],
            &[],
        ),
        (
            "no column",
            &[],
            &[("AS kafka_offset", "AS kafka_ofset")],
            &["finding[TG-1004]", "did you mean kafka_offset?"],
            &[],
        ),
        (
            "another type",
            &[],
            &[(&table, &wrong_type)],
            &["finding[TG-1004]", "column small", "is date and the query gives smallint"],
            &[],
        ),
        (
            "a role that may not be assumed",
            &[("REDSHIFT_IAM_ROLE", "arn:aws:iam::1:role/other")],
            &[],
            &["finding[TG-2002]: redshift.iam_role", "not authorized to assume"],
            &[],
        ),
        (
            "no such bucket",
            &[("S3_BUCKET", "nothing")],
            &[],
            &["finding[TG-1002]: staging.url"],
            &["whether Redshift may read"],
        ),
        (
            "a wrong key",
            &[("AWS_SECRET_ACCESS_KEY", "wrong")],
            &[],
            &["finding[TG-2002]: staging.access_key_id"],
            &["whether Redshift may read"],
        ),
        (
            "no right to insert",
            &[],
            &[(&table, &no_right)],
            &["finding[TG-2002]: target", "has no INSERT on table", "GRANT INSERT ON "],
            &[],
        ),
        (
            "no control tables",
            &[],
            &[(&job_name, "job = \"never_initialised\"")],
            &["finding[TG-1003]: job", "tidegate init"],
            &["whether Redshift may read"],
        ),
        (
            "an unknown key",
            &[],
            &[("tls = \"off\"", "tsl = \"off\"")],
            &["unknown key `tsl`", "did you mean `tls`?"],
            &[],
        ),
        (
            "three at once",
            &[("REDSHIFT_PASSWORD", "wrong"), ("S3_BUCKET", "nothing")],
            &[(&topic, "topic = \"no-such-topic\"")],
            &[
                "finding[TG-2002]: redshift.user",
                "finding[TG-1002]: staging.url",
                "finding[TG-1002]: stream s_",
                "3 findings",
            ],
            &["tables, columns and rights", "whether the topics still have"],
        ),
    ];
    for (what, env, changes, named, skipped) in setups {
        let job = changed(&own, changes);
        let mut other = world.elsewhere();
        other.env = env.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let (code, said, wrong) = other.finish(&["check", &job]);
        let said = said + &wrong;
        let expected = if what == "an unknown key" { 3 } else { 4 };
        assert_eq!(code, Some(expected), "{what}: {said}");
        for part in named {
            assert!(said.contains(part), "{what}: {part}: {said}");
        }
        assert!(said.contains("remedy: "), "{what}: {said}");
        for part in skipped {
            assert!(said.contains(&format!("not checked: {part}")), "{what}: {part}: {said}");
        }
        assert_eq!(before(), untouched, "{what} left something behind");
    }
    // The topic was made anew since it was loaded.
    world.catch_up(1);
    world.delete_topic(name);
    world.create_topic(name, 2);
    send(
        name,
        &(0..200)
            .map(|n| (n % 2, Record::of(if n % 4 == 0 { r#"{"id":"x"}"# } else { r#"{"id":1}"# })))
            .collect::<Vec<_>>(),
    );
    let (code, said, _) = world.finish(&["check", &own, "--json"]);
    assert_eq!(code, Some(4), "{said}");
    let finding: serde_json::Value = serde_json::from_str(said.lines().next().unwrap_or_default()).expect("JSON");
    assert_eq!(finding["code"], "TG-3101", "{said}");
    let (_, said, _) = world.finish(&["check", &own]);
    let note = format!(
        "note: stream s_{name}: columns: column id does not decode in 50 of 200 records: a string that is not a number"
    );
    assert!(said.contains(&note), "{said}");
    assert!(
        said.contains(&format!("table public.{name}: 150 of 200 sampled records become rows, 50 rejected")),
        "{said}"
    );
    // A column of another type: the job would run, and load nothing.
    let none = changed(&own, &[(r#"name = "id", type = "bigint""#, r#"name = "id", type = "date""#)]);
    let (_, said, _) = world.finish(&["check", &none]);
    let finding =
        format!("finding[TG-4003]: stream s_{name}: columns: column id does not decode in 200 of 200 records");
    assert!(said.contains(&finding), "{said}");
    let remedy = "remedy: write { name = \"id\", type = \"bigint\" } (it takes 150 of 200 values that were seen";
    assert!(said.contains(remedy), "{said}");
}

/// Records go the whole way: everything that fails is said at once, each with the line to write, which is then one that works.
#[test]
fn records_are_tried_the_whole_way() {
    let world = World::new("tried", 3);
    let name = &world.name;
    let record = |n: i32| {
        let (id, note) = (n - 5, if n % 10 == 0 { "x".repeat(41) } else { "x".into() });
        format!(
            r#"{{"id":{id},"smallInt":1,"qty":"{n}.50","amount":1,"flag":"on","note":"{note}","At":{}}}"#,
            1_795_514_400_000i64 + i64::from(n)
        )
    };
    send(name, &(0..60).map(|n| (n % 3, Record::of(record(n)))).collect::<Vec<_>>());
    let own = world.own_job().display().to_string();
    let by_zero = changed(&own, &[("SELECT id, small", "SELECT 100 / id AS id, small")]);
    let (code, said, wrong) = world.finish(&["check", &by_zero]);
    assert_eq!(code, Some(4), "{said}{wrong}");
    for part in [
        "column qty does not decode in 60 of 60 records: a number that is not whole: 0.50",
        "given \"0.50\")",
        "[0] at offset 0",
        "write { name = \"qty\", type = \"decimal(12,2)\" }",
        "column flag does not decode in 60 of 60 records: a string that is not true or false: \"on\"",
        "column note does not decode in 6 of 60 records: longer than varchar(40): 41 bytes",
        "write { name = \"note\", type = \"varchar(256)\" }; ALTER TABLE public.",
        "column id fails in the query in 1 of 60 records: division by zero",
        "column small: none of 60 sampled records has `small`",
        "column at: none of 60 sampled records has `at`, so it would be NULL; 60 of them have `At`",
        "0 of 60 sampled records become rows, 60 rejected",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // What it says to write, written. Only the table is as it was.
    let mended = changed(
        &own,
        &[
            ("{ name = \"qty\", type = \"integer\" }", "{ name = \"qty\", type = \"decimal(12,2)\" }"),
            ("{ name = \"flag\", type = \"boolean\" }", "{ name = \"flag\", type = \"varchar(64)\" }"),
            ("{ name = \"note\", type = \"varchar(40)\" }", "{ name = \"note\", type = \"varchar(256)\" }"),
            (
                "{ name = \"at\", type = \"timestamptz\" }",
                "{ name = \"at\", type = \"timestamptz\", path = \"At\", time = \"epoch_ms\" }",
            ),
            ("id, small, qty, amount, flag,", "id, small, CAST(qty AS integer) AS qty, amount, flag = 'on' AS flag,"),
        ],
    );
    let (code, said, wrong) = world.finish(&["check", &mended]);
    assert_eq!(code, Some(0), "{said}{wrong}");
    for part in [
        "60 records decode",
        "54 of 60 sampled records become rows, 6 rejected",
        "column note does not fit in 6 of 60 records: longer than varchar(40): 41 bytes",
        "ALTER COLUMN note TYPE varchar(256); or write on = { note = { long = \"truncate\" } } in this [[target]]",
        "no findings",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
