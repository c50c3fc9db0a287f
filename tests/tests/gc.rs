//! Staged files are deleted when nobody can need them any more, and never before: under load, beside a zombie, after a COMMIT
//! whose fate was unknown, in the middle of a COPY. What is there is read from the store itself.

use std::{sync::Arc, time::Duration};

use harness::{
    events::Events,
    proxy::{Action, Kind, Moment, Proxy},
    world::{STACK, World, send, until},
};

const KILL: i32 = 9;
const STOP: i32 = 19;
const CONTINUE: i32 = 18;
const TERMINATE: i32 = 15;

/// Everything that the world's job has staged. Witnesses are none of it.
fn staged(world: &World) -> Vec<String> {
    let below = format!("staging/{}/", world.name);
    let keys = STACK.s3.store().keys(STACK.s3.bucket());
    let staged = |key: &String| key.starts_with(&below) && !key.contains("/generation=");
    keys.into_iter().map(|(key, _)| key).filter(staged).collect()
}

/// The last epoch of a load, if this is one of its COPY manifests, or what says that it is in.
fn load_of(key: &str) -> Option<u64> {
    let (_, name) = key.split_once("/load/e=")?;
    match name.strip_suffix(".loaded") {
        Some(last) => last.parse().ok(),
        None => name.split('-').nth(1)?.parse().ok(),
    }
}

fn newest_load(keys: &[String]) -> Option<u64> {
    keys.iter().filter_map(|key| load_of(key)).max()
}

/// Those of one generation.
fn of_generation(world: &World, generation: u64) -> usize {
    staged(world).iter().filter(|key| key.contains(&format!("/g={generation}-"))).count()
}

/// The loaded epochs have been in for an hour.
fn an_hour_later(world: &World) {
    world.sql(&format!("UPDATE tidegate.{}_manifest SET loaded_at = loaded_at - interval '1 hour'", world.name));
}

fn loaded(world: &World, events: &Events) {
    until(Duration::from_secs(60), "all is loaded", || world.rows() == events.ledger.len() as i64);
}

/// The loader has done what follows a COMMIT: rows are seen a moment before their load has its witness.
fn witnessed(world: &World) {
    let has_it = |keys: &[String]| {
        let witness = format!("/load/e={}.loaded", newest_load(keys).unwrap_or_default());
        keys.iter().any(|key| key.ends_with(&witness))
    };
    until(Duration::from_secs(30), "the newest load has its witness", || has_it(&staged(world)));
}

#[test]
fn what_a_killed_start_left_goes_and_what_is_needed_stays() {
    let mut world = World::new("garbage", 2);
    let mut events = Events::new(&world.name, 2);
    let proxy = Proxy::start(Kind::Redshift, STACK.redshift.address());
    world.redshift_at(proxy.address());
    events.produce(1000);
    let running = world.run(1, &[]);
    loaded(&world, &events);
    // Killed with files that are staged and not loaded.
    let pid = running.pid();
    proxy.at(Moment::Copy, Action::Do(Arc::new(move || send(pid, KILL))));
    events.produce(1000);
    running.end(Duration::from_secs(30));
    assert!(of_generation(&world, 1) >= 4, "files and COPY manifests of two epochs: {:?}", staged(&world));

    let running = world.run(1, &[]);
    loaded(&world, &events);
    until(Duration::from_secs(20), "its successor has collected them", || of_generation(&world, 1) == 0);
    let job = world.own_job().display().to_string();
    let gc = |more: &[&str]| world.output(&[&["gc", &job], more].concat());
    witnessed(&world);
    let before = staged(&world);
    assert!(!before.is_empty());
    assert_eq!(gc(&[]), "", "what was loaded just now is kept for a while");
    assert_eq!(staged(&world), before);
    an_hour_later(&world);
    // What names the newest load bears witness, and stays.
    let (kept, garbage): (Vec<String>, Vec<String>) =
        before.iter().cloned().partition(|key| load_of(key).is_some() && load_of(key) == newest_load(&before));
    let said = gc(&["--dry-run"]);
    assert_eq!(said.lines().count(), garbage.len(), "{said}");
    assert_eq!(staged(&world), before, "only said");
    let lines: Vec<serde_json::Value> =
        gc(&["--json"]).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let files: Vec<&str> = lines.iter().filter_map(|line| line["file"].as_str()).collect();
    let expected: Vec<String> = garbage.iter().map(|key| format!("s3://{}/{key}", STACK.s3.bucket())).collect();
    assert_eq!(files, expected);
    assert!(!kept.is_empty());
    assert_eq!(staged(&world), kept);
    // Under load, again and again.
    for _ in 0..5 {
        events.produce(1000);
        an_hour_later(&world);
        gc(&[]);
    }
    loaded(&world, &events);
    running.signal(TERMINATE);
    assert_eq!(running.end(Duration::from_secs(30)).code, Some(0));
    world.check(&events.ledger);
}

#[test]
fn a_zombie_loses_its_files_and_does_no_harm() {
    let mut world = World::new("garbage_zombie", 2);
    let mut events = Events::new(&world.name, 2);
    let direct = world.elsewhere();
    let proxy = Proxy::start(Kind::Redshift, STACK.redshift.address());
    world.redshift_at(proxy.address());
    events.produce(1000);
    let zombie = world.run(1, &[]);
    loaded(&world, &events);
    // Stopped with its transaction open, before its COPY.
    let pid = zombie.pid();
    proxy.at(Moment::Copy, Action::Do(Arc::new(move || send(pid, STOP))));
    events.produce(1000);
    until(Duration::from_secs(30), "it is stopped", || proxy.sprung() == 1);
    let successor = direct.run(1, &["--take-over"]);
    loaded(&world, &events);
    until(Duration::from_secs(20), "its files are gone", || of_generation(&world, 1) == 0);
    send(pid, CONTINUE);
    let ended = zombie.end(Duration::from_secs(60));
    assert_eq!(ended.code, Some(20), "{}", ended.said);
    // Whatever it staged after it came back is of no use to anybody.
    events.produce(1000);
    loaded(&world, &events);
    successor.signal(TERMINATE);
    assert_eq!(successor.end(Duration::from_secs(30)).code, Some(0));
    direct.output(&["gc", &direct.own_job().display().to_string()]);
    assert_eq!(of_generation(&world, 1), 0);
    world.check(&events.ledger);
}

#[test]
fn what_a_transaction_can_still_need_stays() {
    let mut world = World::new("garbage_open", 2);
    let mut events = Events::new(&world.name, 2);
    let proxy = Proxy::start(Kind::Redshift, STACK.redshift.address());
    world.redshift_at(proxy.address());
    let running = world.run(1, &[]);
    let job = world.own_job().display().to_string();
    let second = Duration::from_secs(1);
    let accidents = [
        (Moment::Copy, Action::Hold(second)),
        (Moment::Commit, Action::Hold(second)),
        (Moment::Commit, Action::Cut),
        (Moment::Committed, Action::Cut),
        (Moment::Copy, Action::Cut),
    ];
    for (round, (moment, action)) in accidents.into_iter().enumerate() {
        proxy.at(moment, action);
        events.produce(1000);
        until(Duration::from_secs(30), "the accident", || proxy.sprung() == round as u32 + 1);
        for _ in 0..3 {
            an_hour_later(&world);
            world.output(&["gc", &job]);
        }
        loaded(&world, &events);
    }
    running.signal(TERMINATE);
    let ended = running.end(Duration::from_secs(30));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    world.check(&events.ledger);
}
