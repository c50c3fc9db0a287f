//! COMMIT whose fate is unknown: cut before it arrives, cut after it arrived, answer lost. Resolved each time, and never
//! with a second copy.

use std::time::Duration;

use harness::{
    events::Events,
    proxy::{Action, Kind, Moment, Proxy},
    world::{STACK, World, until},
};

/// Five loads, each with the same accident at its COMMIT.
fn five_times(prefix: &str, moment: Moment, action: &Action) {
    let mut world = World::new(prefix, 2);
    let mut events = Events::new(&world.name, 2);
    let proxy = Proxy::start(Kind::Redshift, STACK.redshift.address());
    world.redshift_at(proxy.address());
    let running = world.run(1, &[]);
    for round in 1..=5 {
        proxy.at(moment, action.clone());
        events.produce(1000);
        until(Duration::from_secs(60), "the accident", || proxy.sprung() == round);
        until(Duration::from_secs(60), "it is resolved", || world.rows() == events.ledger.len() as i64);
    }
    running.signal(15);
    let ended = running.end(Duration::from_secs(30));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(ended.said.matches("the answer to COMMIT is lost").count() >= 5, "{}", ended.said);
    world.check(&events.ledger);
}

#[test]
fn cut_before_commit_arrives() {
    five_times("cut_before", Moment::Commit, &Action::Cut);
}

/// The transaction is still open when the question begins what became of it.
#[test]
fn cut_after_commit_was_sent() {
    five_times("cut_after", Moment::Commit, &Action::CutAndDeliver(Duration::from_secs(3)));
}

#[test]
fn the_answer_is_lost() {
    five_times("answer_lost", Moment::Committed, &Action::Cut);
}

/// COMMIT is answered, and the transaction was rolled back: only looking shows it.
#[test]
fn a_commit_that_does_nothing_is_seen() {
    let mut world = World::new("no_commit", 2);
    let mut events = Events::new(&world.name, 2);
    let proxy = Proxy::start(Kind::Redshift, STACK.redshift.address());
    world.redshift_at(proxy.address());
    proxy.at(Moment::Commit, Action::Instead("ROLLBACK"));
    events.produce(2000);
    let ended = world.catch_up(1);
    assert!(proxy.sprung() == 1 && ended.said.contains("the manifest row is not there"), "{}", ended.said);
    world.check(&events.ledger);
}

/// Cut while COPY runs: the transaction is gone, and the same files are loaded again.
#[test]
fn cut_during_copy() {
    let mut world = World::new("cut_copy", 2);
    let mut events = Events::new(&world.name, 2);
    events.produce(2000);
    let proxy = Proxy::start(Kind::Redshift, STACK.redshift.address());
    world.redshift_at(proxy.address());
    proxy.at(Moment::Copy, Action::Cut);
    let ended = world.catch_up(1);
    assert!(proxy.sprung() == 1 && ended.said.contains("trying again: loading epoch"), "{}", ended.said);
    world.check(&events.ledger);
}
