//! Old epochs are folded into one row: nobody notices, and what is left can be verified.

use std::time::Duration;

use harness::{
    events::Events,
    world::{STACK, World, until},
};
use stack::redshift::Accident;

use crate::age::aged;

/// What verify says of a job: its exit code and all its words.
fn verify(world: &World, more: &[&str]) -> (Option<i32>, String) {
    let job = world.own_job().display().to_string();
    let mut arguments = vec!["verify", job.as_str()];
    arguments.extend(more);
    let (code, said, wrong) = world.finish(&arguments);
    (code, format!("{said}{wrong}"))
}

fn prune(world: &World, more: &[&str]) -> (Option<i32>, String) {
    let job = world.own_job().display().to_string();
    let mut arguments = vec!["prune", job.as_str()];
    arguments.extend(more);
    let (code, said, wrong) = world.finish(&arguments);
    (code, format!("{said}{wrong}"))
}

/// How many rows each control table has below an epoch, but for decisions.
fn below(world: &World, epoch: u64) -> Vec<i64> {
    let count = |table: &str| {
        world.number(&format!("SELECT count(*) FROM tidegate.{}_{table} WHERE epoch < {epoch}", world.name))
    };
    ["manifest", "rows", "offsets", "cuts"].map(count).to_vec()
}

#[test]
fn old_epochs_become_one_row_and_nobody_notices() {
    let world = aged("folded", 340);
    let name = &world.name;
    let (code, said) = prune(&world, &[]);
    assert!(code == Some(2) && said.contains("give --keep"), "{said}");
    // All of its epochs but those of today are two months old.
    let (code, said) = prune(&world, &["--keep", "3650d"]);
    assert!(
        code == Some(0) && said.starts_with("no epochs folded: none was closed before 20") && said.ends_with("Z\n"),
        "{said}"
    );
    let read = world.number(&format!("SELECT sum(records_read) FROM tidegate.{name}_rows"));
    let (code, said) = prune(&world, &["--keep", "1d", "--json"]);
    assert!(code == Some(0) && said == "{\"base\":300,\"epochs\":300}\n300 epochs folded into one row\n", "{said}");
    assert_eq!(below(&world, 300), [0, 0, 0, 0]);
    assert_eq!(world.number(&format!("SELECT count(*) FROM tidegate.{name}_offsets WHERE epoch <= 300")), 0);
    assert_eq!(world.number(&format!("SELECT sum(records_read) FROM tidegate.{name}_rows")), read, "the sums are kept");
    let (code, said) = verify(&world, &[]);
    assert!(code == Some(0) && said.contains("from epoch 301 on, no problems"), "{said}");
    let (code, said) = prune(&world, &["--keep", "1d"]);
    assert!(code == Some(0) && said.starts_with("no epochs folded: none was closed before 20"), "{said}");
    // What anyone may run says the same.
    let (code, statements) = verify(&world, &["--sql"]);
    assert_eq!(code, Some(0), "{statements}");
    let each: Vec<&str> = statements.split(";\n\n").filter(|statement| statement.contains("SELECT")).collect();
    assert!(each.len() > 10, "{statements}");
    each.into_iter().for_each(|sql| assert!(world.sql(sql).is_empty(), "{sql}"));
    // A dead letter of an epoch that has no row any more is shown.
    let letters = format!("tidegate.{name}_dead_letters");
    world.sql(&format!(
        "INSERT INTO {letters} SELECT 50, '', '{name}', 1, 49, 0, NULL, 'decode', NULL, 'not JSON: x', '7b', false"
    ));
    let job = world.own_job().display().to_string();
    let shown = world.output(&["dead-letters", &job]);
    assert!(shown.contains("at offset 49, epoch 50, which was folded into the base"), "{shown}");
    world.sql(&format!("DELETE FROM {letters}"));
    // A start, people, another fold: as before.
    world.catch_up(2);
    assert!(world.output(&["epochs", &job, "--last", "1000"]).contains(" base "), "the base is shown");
    world.output(&["status", &job]);
    let (code, said) = verify(&world, &["--new"]);
    assert!(code == Some(0), "{said}");

    // What is wrong is found: in a row from before the base, in the base, in its cut, and what was not taken away.
    for (change, undo, finding) in [
        (
            format!("DELETE FROM {name} WHERE kafka_partition = 3 AND kafka_offset = 50"),
            format!("INSERT INTO {name} (id, kafka_partition, kafka_offset) VALUES (1, 3, 50)"),
            "does not have as many rows as were counted",
        ),
        (
            format!(
                "UPDATE tidegate.{name}_rows SET loaded = loaded + 1 WHERE epoch = 300 AND target = 'public.{name}'"
            ),
            format!(
                "UPDATE tidegate.{name}_rows SET loaded = loaded - 1 WHERE epoch = 300 AND target = 'public.{name}'"
            ),
            "does not have as many rows as were counted",
        ),
        (
            format!("UPDATE tidegate.{name}_cuts SET end_offset = 299 WHERE epoch = 300 AND kafka_partition = 1"),
            format!("UPDATE tidegate.{name}_cuts SET end_offset = 300 WHERE epoch = 300 AND kafka_partition = 1"),
            "not the one that was written",
        ),
        (
            format!("UPDATE tidegate.{name}_manifest SET digest = 'x' WHERE epoch = 300"),
            String::new(),
            "the digest of an epoch is not that of its history",
        ),
        (
            format!(
                "INSERT INTO tidegate.{name}_rows (epoch, target, records_read, loaded, taken, filtered, skipped, undecoded, dead_letters) VALUES (7, 'x', 0, 0, 0, 0, 0, 0, 0)"
            ),
            format!("DELETE FROM tidegate.{name}_rows WHERE epoch = 7"),
            "what was folded into the base is still there",
        ),
    ] {
        let digest = world.sql(&format!("SELECT digest FROM tidegate.{name}_manifest WHERE epoch = 300"));
        world.sql(&change);
        let (code, said) = verify(&world, &["--json"]);
        assert!(code == Some(4) && said.contains(finding), "{change}: {said}");
        let digest = digest[0][0].clone().expect("a digest");
        let undo = if undo.is_empty() {
            format!("UPDATE tidegate.{name}_manifest SET digest = '{digest}' WHERE epoch = 300")
        } else {
            undo
        };
        world.sql(&undo);
        assert_eq!(verify(&world, &[]).0, Some(0), "{undo}");
    }
}

/// Between its loads, while records come; also when the first try fails; and rows of sessions of long ago are forgotten.
#[test]
fn a_running_job_folds_between_its_loads() {
    let mut world = aged("folds", 340);
    world.more += "[history]\nkeep = \"1d\"\n";
    let name = world.name.clone();
    let sessions = format!("tidegate.{name}_sessions");
    world.sql(&format!("UPDATE {sessions} SET started_at = '2020-01-01' WHERE process_id = 1"));
    let newest = format!("SELECT count(*) FROM {name}");
    let before = world.number(&newest);
    let mut events = Events::new(&name, 8);
    let running = world.run(1, &[]);
    let base = format!("SELECT max(epoch) FROM tidegate.{name}_manifest WHERE kind = 'base'");
    until(Duration::from_secs(60), "it is folded", || {
        events.produce(100);
        // The first slice has two whole cuts, and the next one the third.
        world.number(&base) == 300
    });
    assert_eq!(below(&world, 300), [0, 0, 0, 0]);
    events.produce(100);
    let all = before + events.ledger.len() as i64;
    until(Duration::from_secs(60), "it goes on", || world.number(&newest) == all);
    assert_eq!(world.number(&format!("SELECT count(*) FROM {sessions} WHERE started_at < '2021-01-01'")), 0);
    running.signal(15);
    let ended = running.end(Duration::from_secs(30));
    assert!(
        ended.code == Some(0) && ended.said.contains("old epochs into one row, that of epoch 300"),
        "{}",
        ended.said
    );
    let (code, said) = verify(&world, &[]);
    assert_eq!(code, Some(0), "{said}");
}

/// A fold that fails in the middle has done nothing, and is tried again; one that may not delete says so.
#[test]
fn a_fold_is_whole_or_not_at_all() {
    let world = aged("whole", 340);
    let name = &world.name;
    let before = below(&world, 1000);
    for (number, table) in ["rows", "offsets", "cuts", "manifest"].into_iter().enumerate() {
        let text = format!("DELETE FROM \"tidegate\".\"{name}_{table}\"");
        // Each is tried again, so it is enough to see that nothing of the first try is left.
        STACK.redshift.cause(
            &[&text],
            1,
            Accident::Error { state: "XX000", message: "disk full".into(), detail: None },
        );
        if number == 3 {
            let (code, said) = prune(&world, &["--keep", "1d"]);
            assert!(code == Some(0) && said.contains("300 epochs folded into the row of epoch 300\n"), "{said}");
        }
    }
    assert_ne!(below(&world, 1000), before);
    assert_eq!(verify(&world, &[]).0, Some(0));
}

/// Nobody waits for a slice that takes long: it is rolled back, and a smaller one is tried.
#[test]
fn a_fold_that_takes_long_lets_the_fence_go() {
    let world = aged("slow", 340);
    let text = format!("DELETE FROM \"tidegate\".\"{}_offsets\"", world.name);
    STACK.redshift.cause(&[&text], 1, Accident::Queue(Duration::from_secs(9)));
    let since = std::time::Instant::now();
    let folding = std::thread::scope(|scope| {
        let folding = scope.spawn(|| prune(&world, &["--keep", "1d"]));
        // Beside it a job loads.
        world.catch_up(1);
        folding.join().expect("it ended")
    });
    let (code, said) = folding;
    assert!(code == Some(0) && said.ends_with("300 epochs folded into one row\n"), "{said}");
    println!("folded, with a statement that would have taken 9 s, after {:.1} s", since.elapsed().as_secs_f64());
    assert_eq!(below(&world, 300), [0, 0, 0, 0]);
    assert_eq!(verify(&world, &[]).0, Some(0));
}

/// People take old rows of a target away, and say from where on it is to be verified.
#[test]
fn a_target_whose_old_rows_are_gone_is_verified_from_a_moment_on() {
    let mut world = aged("purged", 340);
    let name = world.name.clone();
    // The epochs of the made-up history are a microsecond apart.
    world.sql(&format!("DELETE FROM {name} WHERE kafka_offset < 150"));
    let (code, said) = verify(&world, &[]);
    assert!(code == Some(4) && said.contains("\nfinding: table public."), "{said}");
    let query = format!("FROM s_{name}\"\n");
    let line = World::line(&name, &name, "\"earliest\"");
    let declared = |from: &str| line.replace(&query, &format!("{query}verify_from = \"{from}\"\n"));
    let verify = |world: &mut World, from: &str| {
        let job = world.job_file(&[declared(from)]).display().to_string();
        let (code, said, wrong) = world.finish(&["verify", &job]);
        (code, said + &wrong)
    };
    let (code, said) = verify(&mut world, "2026-09-21T14:13:20.000150Z");
    assert_eq!(code, Some(0), "{said}");
    world.sql(&format!("DELETE FROM {name} WHERE kafka_offset = 250 AND kafka_partition = 2"));
    let (code, said) = verify(&mut world, "2026-09-21T14:13:20.000150Z");
    assert!(code == Some(4) && said.contains("\nfinding: table public."), "{said}");
    let (code, said) = verify(&mut world, "2026-09-21T14:13:20.000260Z");
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = verify(&mut world, "2030-01-01T00:00:00Z");
    assert!(code == Some(0) && said.contains("not proved: which rows are in public."), "{said}");
    let (code, said) = verify(&mut world, "yesterday");
    assert!(code == Some(3) && said.contains("`verify_from`"), "{said}");
}
