//! The way out of each halt that needs a decision: it is shown as a command, says what it will do, does it when told to, and leaves
//! a row that says who and why. `status` shows the halt when the process is gone.

use std::time::Duration;

use harness::{
    events::Events,
    world::{World, until},
};

/// The command that a halted start shows, as arguments.
fn shown(said: &str) -> Vec<String> {
    let line = said.lines().find_map(|line| line.trim().strip_prefix("command: tidegate ")).expect("a command");
    line.split(' ').map(String::from).collect()
}

fn finish(world: &World, arguments: &[String]) -> (Option<i32>, String, String) {
    world.finish(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn halts(world: &World, code: i32, id: &str) -> String {
    let ended = world.run(1, &["--until-caught-up"]).end(Duration::from_secs(60));
    assert_eq!(ended.code, Some(code), "{}", ended.said);
    assert!(ended.said.contains(id), "{}", ended.said);
    ended.said
}

/// Refused without --yes, then done; the row that it leaves.
fn decide(world: &World, said: &str, kind: &str, words: &[&str]) {
    let mut command = shown(said);
    let rows = world.rows();
    let fence = || world.sql(&format!("SELECT generation, next_epoch FROM tidegate.{}_fence", world.name));
    let before = fence();
    let (code, text, wrong) = finish(world, &command);
    assert_eq!(code, Some(4), "{text}{wrong}");
    assert!(wrong.contains("TG-1007") && wrong.contains("--yes"), "{wrong}");
    for word in words {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert_eq!(fence(), before, "it was only said");
    command.extend(["--why".into(), "it's known".into(), "--yes".into()]);
    let (code, text, wrong) = finish(world, &command);
    assert_eq!(code, Some(0), "{text}{wrong}");
    assert_eq!(world.rows(), rows);
    let decided = world.sql(&format!(
        "SELECT decided_by, decided_why FROM tidegate.{}_manifest WHERE kind = '{kind}' ORDER BY epoch DESC LIMIT 1",
        world.name
    ));
    let [by, why] = [0, 1].map(|column| decided[0][column].clone().expect("it is said"));
    assert!(by.contains('@') && why == "it's known", "{by} {why}");
}

fn verified(world: &World, unproved: bool) {
    let (code, said, wrong) = world.finish(&["verify", &world.own_job().display().to_string()]);
    assert_eq!(code, Some(0), "{said}{wrong}");
    assert_eq!(said.contains("not proved: which records of topic"), unproved, "{said}");
}

#[test]
fn records_that_retention_took_can_be_passed_over() {
    let world = World::new("accept_loss", 1);
    let own = world.own_job().display().to_string();
    let mut events = Events::new(&world.name, 1);
    events.produce(1000);
    world.catch_up(1);
    events.produce(1000);
    let end = world.ends(&world.name, 1)[0];
    let low = end - 100;
    world.delete_records(&world.name, 0, low);
    let from = world.number(&format!("SELECT max(end_offset) FROM tidegate.{}_offsets", world.name));
    let said = halts(&world, 21, "TG-3102");
    assert!(said.contains(&format!("--partition {}/0 --from {from} --to {low}", world.name)), "{said}");
    // The process is gone, and the halt is not.
    let status = world.output(&["status", &own]);
    assert!(
        status.contains("halted since") && status.contains("TG-3102") && status.contains("accept-loss"),
        "{status}"
    );
    // What does not fit is refused, and says where the partition stands.
    for (from, to) in [(from + 1, low), (from, from), (from, end + 1000)] {
        let (from, to) = (from.to_string(), to.to_string());
        let partition = format!("{}/0", world.name);
        let (code, text, wrong) =
            world.finish(&["accept-loss", &own, "--partition", &partition, "--from", &from, "--to", &to, "--yes"]);
        assert_eq!(code, Some(2), "{text}{wrong}");
    }
    decide(&world, &said, "loss", &[&format!("offsets {from} to {} are passed over", low - 1)]);
    world.catch_up(1);
    let status = world.output(&["status", &own]);
    assert!(!status.contains("halted since"), "{status}");
    let there = world.sql(&format!("SELECT kafka_offset FROM {} ORDER BY 1", world.name));
    let there: Vec<i64> =
        there.iter().map(|row| row[0].as_deref().expect("an offset").parse().expect("a number")).collect();
    let kept: Vec<i64> = events.ledger.keys().map(|(_, offset)| *offset).filter(|o| !(from..low).contains(o)).collect();
    assert_eq!(there, kept, "all but what was passed over, each once");
    harness::checkers::control_tables(&world);
    verified(&world, false);
}

#[test]
fn a_topic_that_was_made_anew_can_be_read_on() {
    let world = World::new("accept_new", 2);
    let mut events = Events::new(&world.name, 2);
    events.produce(500);
    world.catch_up(1);
    let before = world.rows();
    world.delete_topic(&world.name);
    world.create_topic(&world.name, 1);
    let mut again = Events::new(&world.name, 1);
    again.produce(700);
    let said = halts(&world, 21, "TG-3101");
    decide(&world, &said, "new-source", &["goes on at offset 0 of the new topic", "is forgotten"]);
    world.catch_up(1);
    assert_eq!(world.rows(), before + again.ledger.len() as i64);
    verified(&world, true);
    // It is the topic of the job from here on.
    again.produce(100);
    world.catch_up(2);
    assert_eq!(world.rows(), before + again.ledger.len() as i64);
    verified(&world, true);
}

#[test]
fn a_topic_with_the_same_offsets_goes_on_where_the_old_one_was_left() {
    let world = World::new("accept_mirror", 1);
    let own = world.own_job().display().to_string();
    let mut events = Events::new(&world.name, 1);
    events.produce(500);
    world.catch_up(1);
    let before = world.rows();
    let stood = world.number(&format!("SELECT max(end_offset) FROM tidegate.{}_offsets", world.name));
    world.delete_topic(&world.name);
    world.create_topic(&world.name, 1);
    Events::new(&world.name, 1).produce(900);
    let end = world.ends(&world.name, 1)[0];
    halts(&world, 21, "TG-3101");
    let arguments = ["accept-new-source", &own, "--topic", &world.name, "--keep-offsets", "--yes"];
    let (code, said, wrong) = world.finish(&arguments);
    assert_eq!(code, Some(0), "{said}{wrong}");
    assert!(said.contains(&format!("stood at offset {stood}, goes on at offset {stood}")), "{said}");
    world.catch_up(1);
    let offsets = world.number(&format!(
        "SELECT sum(records_read) FROM tidegate.{0}_rows WHERE target = 'public.{0}' AND epoch > (SELECT max(epoch) FROM \
         tidegate.{0}_manifest WHERE kind = 'new-source')",
        world.name
    ));
    assert!(offsets > 0 && offsets <= end - stood, "{offsets} of {stood}..{end}");
    assert_eq!(world.rows(), before + offsets);
}

/// A topic that is the one that was read is not read again from its beginning, whatever somebody types.
#[test]
fn the_same_topic_is_not_accepted_as_a_new_one() {
    let world = World::new("accept_same", 1);
    let own = world.own_job().display().to_string();
    let mut events = Events::new(&world.name, 1);
    events.produce(300);
    world.catch_up(1);
    let (code, said, wrong) = world.finish(&["accept-new-source", &own, "--topic", &world.name, "--yes"]);
    assert_eq!(code, Some(2), "{said}{wrong}");
    assert!(wrong.contains("would be loaded twice"), "{wrong}");
    world.catch_up(1);
    world.check(&events.ledger);
}

/// A person's decision is not made beside a process that works.
#[test]
fn a_decision_is_refused_while_a_process_works() {
    let world = World::new("decide_beside", 1);
    let own = world.own_job().display().to_string();
    let mut events = Events::new(&world.name, 1);
    events.produce(500);
    let running = world.run(1, &[]);
    until(Duration::from_secs(60), "it works", || world.rows() == events.ledger.len() as i64);
    let generation = || world.sql(&format!("SELECT generation FROM tidegate.{}_fence", world.name));
    let before = generation();
    for arguments in [&["accept-new-source", &own, "--topic", &world.name, "--yes"][..], &["init", &own, "--adopt"]] {
        let (code, said, wrong) = world.finish(arguments);
        assert_eq!(code, Some(20), "{arguments:?}: {said}{wrong}");
        assert!(wrong.contains("TG-3002"), "{arguments:?}: {wrong}");
    }
    assert_eq!(generation(), before);
    events.produce(500);
    until(Duration::from_secs(60), "it goes on", || world.rows() == events.ledger.len() as i64);
    running.signal(15);
    let ended = running.end(Duration::from_secs(30));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    world.check(&events.ledger);
}
