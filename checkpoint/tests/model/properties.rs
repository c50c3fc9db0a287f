//! What must hold in every world that can be reached.

use std::sync::atomic::Ordering;

use stateright::{Model, Property};

use crate::{
    Protocol,
    bounds::{Bounds, Flaw},
    steps::Action,
    world::{Phase, Tables, World, known},
};

fn no_duplicate(_: &Protocol, world: &World) -> bool {
    world.tables.rows.iter().flatten().all(|times| *times <= 1)
}

/// No record is missing that the manifest names, and none is there that it does not.
fn rows_are_what_the_manifest_names(_: &Protocol, world: &World) -> bool {
    let manifest = &world.tables.manifest;
    let contiguous = manifest.iter().enumerate().all(|(i, row)| usize::from(row.epoch) == i);
    let end = manifest.last().map_or(Tables::init().fence.cut, |row| row.end);
    let named = |p: usize, offset: usize| offset < usize::from(known(end[p]));
    let rows = world.tables.rows.iter().enumerate();
    let mut right = rows.flat_map(|(p, rows)| rows.iter().enumerate().map(move |(o, n)| (p, o, *n)));
    world.restored || contiguous && right.all(|(p, offset, times)| (times > 0) == named(p, offset))
}

fn nobody_halts_unless_a_person_meddled(_: &Protocol, world: &World) -> bool {
    world.pruned || world.restored || world.processes.iter().all(|process| process.phase != Phase::Halted)
}

fn one_process_can_load(protocol: &Protocol, world: &World) -> bool {
    let fence = &world.tables.fence;
    let nonce_counts = protocol.flaw != Flaw::LoadWithoutNonce;
    let able = world.processes.iter().filter(|process| {
        process.believes() && process.generation == fence.generation && (process.nonce == fence.nonce || !nonce_counts)
    });
    able.count() <= 1
}

fn generations_only_grow(_: &Protocol, world: &World) -> bool {
    let newest = world.tables.fence.generation;
    world.restored || world.processes.iter().all(|process| process.generation <= newest)
}

type Holds = fn(&Protocol, &World) -> bool;

/// No record is in the target twice.
pub const ONCE: usize = 0;
/// The rows are those that the manifest names.
pub const NAMED: usize = 1;
/// Nobody halts unless a person meddled: no holder meets a contradiction, and no start either.
pub const QUIET: usize = 2;
/// Of all that believe to hold the fence, at most one can load.
pub const ALONE: usize = 3;
/// Nobody holds a generation that the fence does not know yet.
pub const GROWS: usize = 4;
/// All of these.
pub const ALL: &[usize] = &[ONCE, NAMED, QUIET, ALONE, GROWS];

pub const PROPERTIES: [(&str, Holds); 5] = [
    ("no record is in the target twice", no_duplicate),
    ("the rows are those that the manifest names", rows_are_what_the_manifest_names),
    ("nobody halts unless a person meddled", nobody_halts_unless_a_person_meddled),
    ("one process can load", one_process_can_load),
    ("generations only grow", generations_only_grow),
];

/// A property is a plain function: this makes one of each line. Of a run that breaks some, the first world that does is kept, which
/// is the nearest one with one thread.
fn holds<const I: usize>(protocol: &Protocol, world: &World) -> bool {
    !protocol.watched.contains(&I) || PROPERTIES[I].1(protocol, world) || protocol.told.swap(true, Ordering::Relaxed)
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let Bounds { crashes, losses, ends, .. } = self.bounds;
        vec![World { tables: Tables::init(), crashes, losses, ends, ..World::default() }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        self.possible(world, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        self.step(world, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(PROPERTIES[0].0, holds::<0>),
            Property::always(PROPERTIES[1].0, holds::<1>),
            Property::always(PROPERTIES[2].0, holds::<2>),
            Property::always(PROPERTIES[3].0, holds::<3>),
            Property::always(PROPERTIES[4].0, holds::<4>),
        ]
    }
}
