//! What becomes of a job whose control tables somebody changes, empties, drops, restores or copies: it halts, or it is right; no row
//! comes twice. And tables of another program.

use std::time::Duration;

use harness::{
    events::Events,
    world::{World, until},
};

/// Four epochs, in the last two of which one partition stood still.
fn with_history(prefix: &str) -> (World, Events) {
    let world = World::new(prefix, 2);
    let mut events = Events::new(&world.name, 2);
    events.produce(200);
    world.catch_up(1);
    for _ in 0..2 {
        events.send(50, Some(0));
        events.flush();
        world.catch_up(1);
    }
    (world, events)
}

fn control(world: &World, suffix: &str) -> String {
    format!("tidegate.{}_{suffix}", world.name)
}

fn start(world: &World) -> (Option<i32>, String) {
    let ended = world.run(1, &["--until-caught-up"]).end(Duration::from_secs(60));
    (ended.code, ended.said)
}

/// What was seen: the offsets of old epochs are gone, and a partition that had stood still began at 0 again.
#[test]
fn offsets_that_are_gone_double_nothing() {
    let (world, events) = with_history("pruned");
    let rows = world.rows();
    let offsets = control(&world, "offsets");
    for below in [1, 2, 3, 100] {
        world.sql(&format!("CREATE TABLE kept_{0} AS SELECT * FROM {offsets}", world.name));
        world.sql(&format!("DELETE FROM {offsets} WHERE epoch < {below}"));
        let (code, said) = start(&world);
        assert!(code == Some(0) || (code == Some(22) && said.contains("TG-3201")), "below {below}: {said}");
        assert_eq!(code == Some(0), below == 1, "below {below}: nothing of epoch 0 is read: {said}");
        assert_eq!(world.rows(), rows, "below {below}");
        world.sql(&format!("DELETE FROM {offsets}"));
        world.sql(&format!("INSERT INTO {offsets} SELECT * FROM kept_{}", world.name));
        world.sql(&format!("DROP TABLE kept_{}", world.name));
    }
    world.catch_up(1);
    world.check(&events.ledger);
}

/// A table that is dropped is not made anew beside the others.
#[test]
fn a_table_that_is_gone_is_not_made_anew() {
    let (world, events) = with_history("dropped");
    let rows = world.rows();
    let own = world.own_job().display().to_string();
    for suffix in ["offsets", "cuts", "manifest", "fence", "version", "sessions", "dead_letters"] {
        let table = control(&world, suffix);
        world.sql(&format!("ALTER TABLE {table} RENAME TO {}_{suffix}_away", world.name));
        let ended = world.start(&["init", &own]).end(Duration::from_secs(30));
        assert_eq!(ended.code, Some(3), "{suffix}: {}", ended.said);
        assert!(ended.said.contains("TG-1006") && ended.said.contains(&world.name), "{suffix}: {}", ended.said);
        let (code, said) = start(&world);
        assert_eq!(code, Some(3), "{suffix}: {said}");
        assert_eq!(world.rows(), rows, "{suffix}");
        world.sql(&format!("ALTER TABLE {table}_away RENAME TO {}_{suffix}", world.name));
    }
    world.catch_up(1);
    world.check(&events.ledger);
}

#[test]
fn tables_without_a_version_are_refused_by_name() {
    let world = World::bare("old_tables");
    let own = world.own_job().display().to_string();
    world.create_topic(&world.name, 1);
    world.create_table(&world.name);
    world.sql("CREATE SCHEMA IF NOT EXISTS tidegate");
    world.sql("GRANT ALL ON SCHEMA tidegate TO loader");
    let fence = control(&world, "fence");
    world.sql(&format!("CREATE TABLE {fence} (generation bigint)"));
    world.sql(&format!("GRANT ALL ON {fence} TO loader"));
    for command in [&["init", &own][..], &["run", &own], &["status", &own], &["verify", &own]] {
        let ended = world.start(command).end(Duration::from_secs(60));
        assert_eq!(ended.code, Some(3), "{command:?}: {}", ended.said);
        assert!(ended.said.contains("TG-1006") && ended.said.contains(&fence), "{command:?}: {}", ended.said);
    }
    // And those of another format.
    let other = World::new("other_format", 1);
    other.sql(&format!("UPDATE {} SET format = 99", control(&other, "version")));
    let (code, said) = start(&other);
    assert!(code == Some(3) && said.contains("format 99"), "{said}");
}

/// One start for each column of each table that a start reads: it halts, or nothing is other than it was.
#[test]
fn whatever_column_somebody_changes_no_row_comes_twice() {
    let (world, mut events) = with_history("columns");
    events.produce(40);
    let rows = world.rows();
    let changes = [
        ("fence", "fence_id", "'other'"),
        ("fence", "namespace", "'other'"),
        ("fence", "generation", "generation - 1"),
        ("fence", "nonce", "repeat('a', 32)"),
        ("fence", "next_epoch", "next_epoch - 1"),
        ("fence", "digest", "repeat('0', 64)"),
        ("fence", "cut_digest", "repeat('0', 64)"),
        ("fence", "cut_epoch", "cut_epoch + 1"),
        ("fence", "cut_epoch", "NULL"),
        ("manifest", "epoch", "epoch + 1"),
        ("manifest", "kind", "'loss'"),
        ("manifest", "kind", "'anything'"),
        ("manifest", "closed_at", "closed_at + interval '1 second'"),
        ("manifest", "watermark", "closed_at"),
        ("manifest", "digest", "repeat('0', 64)"),
        ("manifest", "cut_digest", "repeat('0', 64)"),
        ("manifest", "plan", "'x'"),
        ("manifest", "decided_by", "'x'"),
        ("offsets", "epoch", "epoch + 1"),
        ("offsets", "topic", "topic || 'x'"),
        ("offsets", "topic_id", "'x'"),
        ("offsets", "kafka_partition", "kafka_partition + 1"),
        ("offsets", "start_offset", "start_offset - 1"),
        ("offsets", "end_offset", "end_offset - 1"),
        ("offsets", "leader_epoch", "leader_epoch + 1"),
        ("offsets", "last_offset", "last_offset - 1"),
        ("offsets", "last_fingerprint", "repeat('0', 64)"),
        ("offsets", "last_offset", "NULL"),
        ("cuts", "epoch", "epoch + 1"),
        ("cuts", "topic", "topic || 'x'"),
        ("cuts", "topic_id", "'x'"),
        ("cuts", "kafka_partition", "kafka_partition + 2"),
        ("cuts", "end_offset", "end_offset + 1"),
        ("cuts", "leader_epoch", "7"),
        ("cuts", "last_offset", "7"),
    ];
    for (suffix, column, value) in changes {
        let table = control(&world, suffix);
        world.sql(&format!("CREATE TABLE kept_{0} AS SELECT * FROM {table}", world.name));
        world.sql(&format!("UPDATE {table} SET {column} = {value}"));
        let (code, said) = start(&world);
        assert_eq!(code, Some(22), "{suffix}.{column} = {value}: {said}");
        assert_eq!(world.rows(), rows, "{suffix}.{column} = {value}");
        world.sql(&format!("DELETE FROM {table}"));
        world.sql(&format!("INSERT INTO {table} SELECT * FROM kept_{}", world.name));
        world.sql(&format!("DROP TABLE kept_{}", world.name));
    }
    world.catch_up(1);
    world.check(&events.ledger);
}

/// Everything dropped and made anew: only S3 remembers.
#[test]
fn tables_that_are_all_made_anew_halt_the_job() {
    let (world, events) = with_history("anew_tables");
    let rows = world.rows();
    world.sql(&format!(
        "DO $$ DECLARE t text; BEGIN FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'tidegate' AND tablename LIKE \
         '{}\\\\_%' LOOP EXECUTE 'DROP TABLE tidegate.' || quote_ident(t); END LOOP; END $$",
        world.name
    ));
    world.init();
    for _ in 0..2 {
        let (code, said) = start(&world);
        assert_eq!(code, Some(22), "{said}");
        assert!(said.contains("TG-3205") && said.contains("made anew") && said.contains("--adopt"), "{said}");
        assert_eq!(world.rows(), rows);
    }
    // Somebody empties the target, and says that this is meant.
    world.sql(&format!("TRUNCATE {}", world.name));
    let own = world.own_job().display().to_string();
    let ended = world.start(&["init", &own, "--adopt"]).end(Duration::from_secs(60));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    world.catch_up(1);
    world.check(&events.ledger);
    let (code, said, wrong) = world.finish(&["verify", &own]);
    assert_eq!(code, Some(0), "{said}{wrong}");
}

/// Everything as it was at one earlier moment, which looks whole from inside.
#[test]
fn tables_that_are_all_restored_to_an_earlier_moment_halt_the_job() {
    let (world, mut events) = with_history("restored");
    let name = &world.name;
    let tables: Vec<String> = world
        .sql(&format!("SELECT 'tidegate.' || tablename FROM pg_tables WHERE schemaname = 'tidegate' AND tablename LIKE '{name}\\\\_%'"))
        .into_iter()
        .filter_map(|mut row| row.remove(0))
        .chain([name.clone()])
        .collect();
    for (n, table) in tables.iter().enumerate() {
        world.sql(&format!("CREATE TABLE backup_{name}_{n} AS SELECT * FROM {table}"));
    }
    events.produce(100);
    world.catch_up(1);
    let restore = |but: &str| {
        for (n, table) in tables.iter().enumerate().filter(|(_, table)| *table != but) {
            world.sql(&format!("DELETE FROM {table}"));
            world.sql(&format!("INSERT INTO {table} SELECT * FROM backup_{name}_{n}"));
        }
    };
    // The control tables alone: what was loaded since would come twice.
    let rows = world.rows();
    restore(name);
    let (code, said) = start(&world);
    assert_eq!(code, Some(22), "{said}");
    assert!(said.contains("TG-3205") && said.contains("restored to an earlier moment"), "{said}");
    assert_eq!(world.rows(), rows);
    // Then the target as well, and a person says so.
    restore("nothing");
    let own = world.own_job().display().to_string();
    let ended =
        world.start(&["init", &own, "--adopt", "--why", "restored the night's backup"]).end(Duration::from_secs(60));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    world.catch_up(1);
    world.check(&events.ledger);
    let (code, said, wrong) = world.finish(&["verify", &own]);
    assert_eq!(code, Some(0), "{said}{wrong}");
    assert_eq!(world.number(&format!("SELECT count(*) FROM {} WHERE kind = 'adopt'", control(&world, "manifest"))), 1);
}

/// An adoption that fails half way leaves the tables as suspicious as they were.
#[test]
fn an_adoption_that_fails_hides_nothing() {
    let (world, mut events) = with_history("half_adopted");
    let (name, own) = (&world.name, world.own_job().display().to_string());
    let tables = ["fence", "manifest", "rows", "offsets", "cuts"].map(|suffix| control(&world, suffix));
    for (n, table) in tables.iter().enumerate() {
        world.sql(&format!("CREATE TABLE half_{name}_{n} AS SELECT * FROM {table}"));
    }
    events.produce(100);
    world.catch_up(1);
    for (n, table) in tables.iter().enumerate() {
        world.sql(&format!("DELETE FROM {table}"));
        world.sql(&format!("INSERT INTO {table} SELECT * FROM half_{name}_{n}"));
    }
    let rows = world.rows();
    // Somebody took the generation that the restored fence gives next, and went no further.
    world.sql(&format!("UPDATE {} SET generation = generation + 1, nonce = repeat('b', 32)", control(&world, "fence")));
    let (code, said) = start(&world);
    assert_eq!(code, Some(22), "{said}");
    assert!(said.contains("TG-3205") && said.contains("took the same generation"), "{said}");
    assert_eq!(world.rows(), rows);
    let (code, said, wrong) = world.finish(&["init", &own, "--adopt"]);
    assert_eq!(code, Some(0), "{said}{wrong}");
}

/// The same within one start: no generation tells, but what was staged for the loads since.
#[test]
fn tables_that_are_restored_within_one_generation_halt_the_job() {
    let world = World::new("rewound", 2);
    let mut events = Events::new(&world.name, 2);
    let (name, own) = (&world.name, world.own_job().display().to_string());
    let running = world.run(1, &[]);
    let mut load = || {
        events.produce(100);
        until(Duration::from_secs(60), "it is loaded", || world.rows() == events.ledger.len() as i64);
    };
    load();
    let tables = ["fence", "manifest", "rows", "offsets", "cuts"].map(|suffix| control(&world, suffix));
    for (n, table) in tables.iter().enumerate() {
        world.sql(&format!("CREATE TABLE rewind_{name}_{n} AS SELECT * FROM {table}"));
    }
    load();
    running.signal(15);
    let ended = running.end(Duration::from_secs(30));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let (rows, output) = (world.rows(), world.output(&["gc", &own]));
    assert_eq!(output, "", "nothing is old enough");
    for (n, table) in tables.iter().enumerate() {
        world.sql(&format!("DELETE FROM {table}"));
        world.sql(&format!("INSERT INTO {table} SELECT * FROM rewind_{name}_{n}"));
    }
    let (code, said) = start(&world);
    assert_eq!(code, Some(22), "{said}");
    assert!(said.contains("TG-3205") && said.contains("all epochs before"), "{said}");
    assert_eq!(world.rows(), rows);
}

/// A clone of the database halts, and can be made a job of its own that leaves the original alone.
#[test]
fn a_clone_is_adopted_and_leaves_the_original_alone() {
    let (world, mut events) = with_history("clone");
    let fence = control(&world, "fence");
    // As it looks in a clone: the namespace in the row is not that of the database.
    world.sql(&format!("UPDATE {fence} SET namespace = 'the-original'"));
    let (code, said) = start(&world);
    assert_eq!(code, Some(22), "{said}");
    assert!(said.contains("TG-3202") && said.contains("--adopt"), "{said}");
    let before = world.sql(&format!("SELECT fence_id FROM {fence}"));
    let own = world.own_job().display().to_string();
    let (code, said, wrong) = world.finish(&["init", &own, "--adopt"]);
    assert_eq!(code, Some(0), "{said}{wrong}");
    assert_ne!(world.sql(&format!("SELECT fence_id FROM {fence}")), before);
    events.produce(100);
    for _ in 0..2 {
        world.catch_up(1);
    }
    world.check(&events.ledger);
    let (code, said, wrong) = world.finish(&["verify", &own]);
    assert_eq!(code, Some(0), "{said}{wrong}");
}
