//! The protocol, in every order in which things can happen.
//!
//! A model checker walks through all worlds that can be reached from one in which nothing has started, and holds each against what
//! must always be true. Tests with real processes see some orders of events; this sees all, of a small job: a log of a few
//! records, two or three incarnations of the process, each of which may be a zombie (it is simply not its turn for as long as the
//! checker likes).
//!
//! T1 is the one statement by which a start takes the fence, `UPDATE fence SET generation = s + 1, nonce = n WHERE generation = s`.
//! T2 is the one snapshot that it reads once it has it. A *ghost* is a T1 that nobody waits for any more and that may still arrive.
//! A *witness* is an object on S3 that names a generation: listed before a start reads the fence, put after its T1.
//!
//! How to read it:
//!
//! * [`world`]: what there is. The tables, transactions that the server has open, messages under way, processes, S3's witnesses.
//! * [`steps`]: what can happen next, one line for each kind of step. [`acquire`] is a start, [`load`] a load, [`trouble`] what
//!   processes, connections and persons do to them.
//! * [`decisions`]: what a process makes of what it read. Where the protocol has a function for it, that one is called.
//! * [`properties`]: what must hold. [`reached`]: what a run must have come across.
//! * [`bounds`]: how large a run is, and the flaws.
//!
//! What is assumed of the database is in three places. An UPDATE of the fence waits while a load has it locked, and then sees
//! what that one committed (`World::locked`, and each user of it). A transaction is atomic, and dies with its session unless its
//! COMMIT is under way, which may then be carried out or not, whenever the server likes ([`steps::Action::Commit`],
//! [`steps::Action::Rollback`]). Reads of a start may show what was, up to two commits ago ([`world::Shown`]); reads after a
//! barrier, and after an UPDATE that changed nothing, may not. Nothing is assumed of keys, clocks and answers.
//!
//! A model is worth what it can find. Each flaw leaves one rule of the protocol out, and the checker must find a way to harm; the
//! test prints the shortest. `cargo test -p tidegate-checkpoint --test model -- --nocapture` shows all; with `TIDEGATE_PROOF=1` the
//! bounds are wider, and it takes minutes.

mod acquire;
mod bounds;
mod decisions;
mod load;
mod properties;
mod reached;
mod steps;
mod trouble;
mod world;

use std::sync::{Arc, atomic::AtomicBool};

use stateright::{Checker, HasDiscoveries, Model};

use crate::{
    bounds::{Bounds, Flaw, Restore, Survive},
    properties::{ALL, ALONE, GROWS, NAMED, ONCE, PROPERTIES, QUIET},
    reached::{Counters, Reached},
    steps::Action,
};

/// The protocol within bounds, with or without a flaw.
struct Protocol {
    bounds: Bounds,
    flaw: Flaw,
    /// The properties that count, by their places.
    watched: &'static [usize],
    counters: Arc<Counters>,
    /// A property was broken already.
    told: AtomicBool,
}

impl Protocol {
    fn reached(&self, what: Reached) {
        self.counters.add(what);
    }
}

/// What a run gave.
struct Run {
    counters: Arc<Counters>,
    /// The property that does not hold, and a way to the world in which it does not; the shortest, if one thread searched.
    broken: Option<(&'static str, Vec<Action>)>,
}

fn run(name: &str, bounds: Bounds, flaw: Flaw, watched: &'static [usize], threads: usize) -> Run {
    let counters = Arc::new(Counters::default());
    let protocol = Protocol { bounds, flaw, watched, counters: counters.clone(), told: AtomicBool::new(false) };
    let checker = protocol.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let broken = checker.discoveries().into_iter().next().map(|(property, path)| (property, path.into_actions()));
    let (worlds, steps, depth) = (checker.unique_state_count(), checker.state_count(), checker.max_depth());
    println!("{name}: {worlds} worlds, {steps} steps between them, depth {depth}");
    let reached = Reached::ALL.iter().map(|what| format!("{what:?} {}", counters.get(*what)));
    println!("    {}", reached.collect::<Vec<_>>().join(", "));
    if let Some((property, path)) = &broken {
        println!("    broken in {} steps: {property}", path.len());
        path.iter().for_each(|action| println!("        {action:?}"));
    }
    Run { counters, broken }
}

/// All properties hold, and the run came across what it is about.
fn holds(name: &str, bounds: Bounds, reached: &[Reached]) {
    let run = run(name, bounds, Flaw::None, ALL, 2);
    assert!(run.broken.is_none(), "{name}: {:?}", run.broken);
    for what in reached {
        assert!(run.counters.get(*what) > 0, "{name}: never {what:?}");
    }
}

/// The property is broken; says in how many steps.
fn breaks(name: &str, bounds: Bounds, flaw: Flaw, watched: &'static [usize], expected: usize) {
    let name = format!("{name}, {flaw:?}");
    let Some((property, path)) = run(&name, bounds, flaw, watched, 1).broken else {
        panic!("{name}: nothing was found");
    };
    assert_eq!(property, PROPERTIES[expected].0, "{name}, in {} steps: {path:?}", path.len());
}

/// What a run of the whole protocol must come across. Not there: a refused load that is in already. The barrier sees it first.
const WHOLE: &[Reached] = &[
    Reached::EverythingLoaded,
    Reached::TakenUnanswered,
    Reached::Ghost,
    Reached::GhostOfTheDead,
    Reached::ShownOlder,
    Reached::FencedAtStart,
    Reached::ZombieRefused,
    Reached::DoubtCommitted,
    Reached::DoubtNotCommitted,
    Reached::DoubtFenced,
    Reached::CommitOfTheDead,
];

fn proof() -> bool {
    std::env::var_os("TIDEGATE_PROOF").is_some()
}

#[test]
fn two_incarnations() {
    let bounds = Bounds { log: [3, 2], second_from: 1, crashes: 2, losses: 2, ..Bounds::SMALL };
    holds("two incarnations, a topic more for the second", bounds, WHOLE);
}

#[test]
fn three_incarnations() {
    let bounds = Bounds { processes: 3, ..Bounds::SMALL };
    holds("three incarnations", bounds, WHOLE);
    if proof() {
        holds("three incarnations, two lost connections", Bounds { losses: 2, ..bounds }, WHOLE);
        holds("three incarnations, two kills", Bounds { crashes: 2, ..bounds }, WHOLE);
    }
}

#[test]
fn three_incarnations_and_two_topics() {
    let bounds = Bounds { processes: 3, log: [2, 1], per_epoch: 1, ..Bounds::SMALL };
    holds("three incarnations, two topics", bounds, WHOLE);
    holds("three incarnations, a topic more for the second", Bounds { second_from: 1, ..bounds }, WHOLE);
    if proof() {
        let bounds = Bounds { log: [2, 2], ..bounds };
        holds("three incarnations, a topic more for the last", Bounds { second_from: 2, ..bounds }, WHOLE);
        holds("three incarnations, two topics, four records", bounds, WHOLE);
    }
}

/// Rows that a start needs are gone: it halts. Rows that nobody needs are gone: nothing happens.
#[test]
fn a_pruned_table_is_right_or_halts() {
    let bounds = Bounds { log: [2, 1], prune: true, ..Bounds::SMALL };
    holds("pruned offsets", bounds, &[Reached::EverythingLoaded, Reached::Halted]);
    if proof() {
        let bounds = Bounds { processes: 3, second_from: 1, per_epoch: 1, ..bounds };
        holds("pruned offsets, three incarnations", bounds, &[Reached::EverythingLoaded, Reached::Halted]);
    }
}

/// Small runs with a restore: what they are about are starts, not loads.
fn restored(survive: Survive) -> Bounds {
    let restore = Some(Restore { survive, any_moment: false, adopted: false });
    Bounds { log: [2, 0], crashes: 0, losses: 0, ends: 0, restore, ..Bounds::SMALL }
}

#[test]
fn tables_put_back_halt_a_start() {
    let bounds = Bounds { processes: 3, losses: 1, ..restored(Survive::Nobody) };
    holds("control tables put back", bounds, &[Reached::EverythingLoaded, Reached::Halted]);
    let bounds = restored(Survive::Starts);
    holds("control tables put back during a start", bounds, &[Reached::EverythingLoaded, Reached::Halted]);
}

#[test]
fn every_flaw_is_found() {
    let small = Bounds::SMALL;
    for (flaw, expected) in [
        (Flaw::AcquireWithoutNonce, QUIET),
        (Flaw::HaltWhenShownOlder, QUIET),
        (Flaw::OlderSnapshot, QUIET),
        (Flaw::NewerFence, ALONE),
        (Flaw::TakeInTwoStatements, QUIET),
        (Flaw::InsertOnly, QUIET),
        (Flaw::LookWithoutBarrier, QUIET),
        (Flaw::StaleRefusal, QUIET),
    ] {
        breaks("small", small, flaw, ALL, expected);
    }
    // Not only halts: harm.
    breaks("small", small, Flaw::InsertOnly, &[ONCE], ONCE);
    breaks("small", small, Flaw::TakeInTwoStatements, &[GROWS], GROWS);
    let pruned = Bounds { log: [2, 1], prune: true, ..small };
    breaks("pruned offsets", pruned, Flaw::CutUnchecked, &[NAMED], NAMED);
    breaks("pruned offsets", pruned, Flaw::CutUnchecked, &[ONCE], ONCE);
    breaks("put back", restored(Survive::Nobody), Flaw::WitnessIgnored, ALL, ONCE);
    breaks("put back", restored(Survive::Nobody), Flaw::WitnessWithoutBarrier, ALL, QUIET);
    breaks("put back during a start", restored(Survive::Starts), Flaw::WitnessOverwritten, ALL, ONCE);
}

/// As long as generations are never given twice, a load needs no nonce. They are, when a person puts the tables back and says that
/// all is well: then it is the nonce that tells a zombie from the start that got its generation again.
#[test]
fn the_nonce_of_a_load_tells_equal_generations_apart() {
    let restore = Some(Restore { survive: Survive::All, any_moment: false, adopted: true });
    let adopted = Bounds { log: [1, 0], restore, ..restored(Survive::All) };
    let sound = run("put back and adopted", adopted, Flaw::None, &[ALONE], 2);
    assert!(sound.broken.is_none(), "{:?}", sound.broken);
    breaks("put back and adopted", adopted, Flaw::LoadWithoutNonce, &[ALONE], ALONE);
}

/// What witnesses that name generations alone do not see. Should one of these be mended, its line goes to the test that holds.
#[test]
fn what_the_witnesses_do_not_see() {
    // An earlier moment of the same generation.
    let restore = Some(Restore { survive: Survive::Nobody, any_moment: true, adopted: false });
    breaks("put back within a generation", Bounds { restore, ..restored(Survive::Nobody) }, Flaw::None, ALL, ONCE);
    // The generation that the tables go back to still has a process, which is not a start and looks at no witness.
    breaks("put back under a zombie", restored(Survive::All), Flaw::None, ALL, ONCE);
    // Of two starts that read the fence before, one lifts it to where the other read it.
    let starts = Bounds { processes: 3, ..restored(Survive::Starts) };
    breaks("put back during two starts", starts, Flaw::None, ALL, ONCE);
}
