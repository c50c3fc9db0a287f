//! What goes wrong: connections, processes, persons.

use crate::{
    Protocol,
    bounds::Survive,
    reached::Reached::*,
    world::{Phase, Process, World},
};

impl Protocol {
    pub fn halt(&self, world: &mut World, p: usize) {
        self.reached(Halted);
        world.processes[p].end(Phase::Halted);
    }

    /// The connection of a process is no more. What it had under way is now nobody's.
    pub fn disconnect(&self, world: &mut World, p: usize) {
        let process = &mut world.processes[p];
        let owned = |owner: u8| usize::from(owner) == p;
        match process.phase {
            Phase::Taking => {
                process.phase = Phase::Reading;
                world.takes.iter_mut().filter(|take| owned(take.owner)).for_each(|take| take.ghost = true);
            }
            Phase::Loading => {
                (process.phase, process.loading) = (Phase::Ready, 0);
                world.loads.retain(|load| !owned(load.owner) || load.sent);
            }
            Phase::Committing => {
                process.phase = Phase::Doubting;
                world.loads.iter_mut().filter(|load| owned(load.owner)).for_each(|load| load.orphan = true);
            }
            _ => {}
        }
    }

    pub fn restore(&self, world: &mut World) -> Option<()> {
        let restore = self.bounds.restore?;
        let (fence, manifest) = world.saved?;
        if !world.loads.is_empty() {
            return None;
        }
        if restore.survive == Survive::Nobody {
            world.takes = Default::default();
        }
        let ends = |process: &Process| match restore.survive {
            Survive::Nobody => process.phase != Phase::New,
            Survive::Starts => !matches!(process.phase, Phase::New | Phase::Reading | Phase::Taking),
            Survive::All => false,
        };
        world.processes.iter_mut().filter(|process| ends(process)).for_each(|process| process.end(Phase::Gone));
        (world.tables.fence, world.tables.manifest) = (fence, manifest);
        (world.saved, world.older, world.restored) = (None, Default::default(), true);
        Some(())
    }

    /// Whether a person said that the tables, put back, are to be believed.
    pub fn adopted(&self, world: &World) -> bool {
        world.restored && self.bounds.restore.is_some_and(|restore| restore.adopted)
    }
}
