//! A start: the fence is read without holding it, T1 takes it, T2 reads once it is taken.

use checkpoint::protocol::Snapshot;

use crate::{
    Protocol,
    bounds::Flaw,
    decisions::{self, Read},
    reached::Reached::*,
    world::{Cut, Phase, Sealed, Shown, Take, UNKNOWN, World},
};

impl Protocol {
    pub fn start(&self, world: &mut World, p: usize) {
        let listed = if self.adopted(world) { 0 } else { world.highest_witness() };
        let process = &mut world.processes[p];
        (process.phase, process.nonce, process.listed) = (Phase::Reading, p as u8 + 1, listed);
    }

    pub fn read(&self, world: &mut World, p: usize, shown: Shown) {
        let mut tables = world.shown(shown);
        if decisions::went_back(&world.processes[p], &tables.fence, self.flaw)
            && self.flaw != Flaw::WitnessWithoutBarrier
        {
            // Or the reader was shown what was: a barrier tells, which waits for the lock.
            if world.locked(self.flaw) {
                return;
            }
            tables = world.tables;
        }
        let process = &mut world.processes[p];
        match decisions::after_read(process, &tables, self.flaw) {
            Read::Again => self.reached(ShownOlder),
            Read::Halt => self.halt(world, p),
            Read::Ours { generation } => {
                self.reached(TakenUnanswered);
                self.taken(world, p, generation);
            }
            Read::Take { from } => {
                (process.phase, process.asked) = (Phase::Taking, Some(from));
                world.takes.push(Take { owner: p as u8, from, ghost: false });
                world.takes.sort_unstable();
            }
        }
    }

    pub fn take_arrives(&self, world: &mut World, i: usize) {
        let take = world.takes.remove(i);
        let p = usize::from(take.owner);
        let applies = world.tables.fence.generation == take.from || self.flaw == Flaw::TakeInTwoStatements;
        if applies {
            world.change(|tables| {
                tables.fence.generation = take.from + 1;
                tables.fence.nonce = take.owner + 1;
            });
        }
        match (applies, take.ghost) {
            (true, false) => self.taken(world, p, take.from + 1),
            (false, false) => world.processes[p].phase = Phase::Reading,
            (true, true) if world.processes[p].phase == Phase::Gone => self.reached(GhostOfTheDead),
            (true, true) => self.reached(Ghost),
            (false, true) => {}
        }
    }

    pub fn taken(&self, world: &mut World, p: usize, generation: u8) {
        let process = &mut world.processes[p];
        process.generation = generation;
        process.asked = None;
        process.phase = if self.bounds.restore.is_some() { Phase::Witnessing } else { Phase::Looking };
    }

    pub fn put_witness(&self, world: &mut World, p: usize) {
        let bit = 1 << world.processes[p].generation;
        let there = world.witness & bit != 0;
        world.witness |= bit;
        world.processes[p].phase = Phase::Looking;
        // Put only if it is not there: if it is, this generation was taken before.
        let believed = self.adopted(world) || matches!(self.flaw, Flaw::WitnessIgnored | Flaw::WitnessOverwritten);
        if there && !believed {
            self.halt(world, p);
        }
    }

    pub fn look(&self, world: &mut World, p: usize, shown: Shown) {
        let tables = world.shown(shown);
        let process = &mut world.processes[p];
        match decisions::after_look(process, &tables.fence, self.flaw) {
            Some(Snapshot::Older) => return self.reached(ShownOlder),
            Some(Snapshot::Fenced { .. }) => {
                self.reached(FencedAtStart);
                return process.end(Phase::Gone);
            }
            None => return self.halt(world, p),
            Some(Snapshot::Valid) => {}
        }
        let Some(cut) = decisions::admit(&tables, self.flaw) else { return self.halt(world, p) };
        let fence = tables.fence;
        process.phase = Phase::Ready;
        process.listed = 0;
        (process.next_epoch, process.digest, process.cut) = (fence.next_epoch, fence.digest, cut);
        if self.flaw == Flaw::NewerFence {
            (process.generation, process.nonce) = (fence.generation, fence.nonce);
        }
        let announced = |partition: usize| match cut[partition] {
            UNKNOWN if self.bounds.reads(p, partition) => 0,
            end => end,
        };
        let announced: Cut = std::array::from_fn(announced);
        if announced != cut {
            process.sealed.push(Sealed::new(fence.digest, fence.next_epoch, announced, p));
        }
    }
}
