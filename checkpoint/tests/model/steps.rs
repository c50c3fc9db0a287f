//! What can happen next in a world, and what becomes of it.
//!
//! One action is one thing that others can see, or a decision on what was read. So BEGIN, the first UPDATE, COPY and the
//! INSERTs are one action: nobody sees them before COMMIT. Reading the fence and sending T1 are one, because what lies
//! between them is what may lie between sending and arriving.

use crate::{
    Protocol,
    bounds::Flaw,
    world::{Cut, Few, PARTITIONS, Phase, Shown, UNKNOWN, World},
};

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A start begins, with the list of witnesses.
    Start(usize),
    /// A start reads the fence without holding it and sends T1, unless the fence is its own already.
    Read(usize, Shown),
    /// A T1 comes to the server and is carried out.
    TakeArrives(usize),
    PutWitness(usize),
    /// T2.
    Look(usize, Shown),
    /// A load: BEGIN, the UPDATE of the fence, COPY, INSERT. So many of the sealed epochs, which end here.
    Begin(usize, Few<Cut, 2>, u8),
    SendCommit(usize),
    /// The server carries out a COMMIT.
    Commit(usize),
    /// The server notices that the client is gone before it carried out the COMMIT.
    Rollback(usize),
    /// The barrier after a lost COMMIT, and what is read after it.
    Resolve(usize),
    /// A connection breaks.
    Lose(usize),
    /// `kill -9`.
    Crash(usize),
    /// A start that waits for the lock ends the session that has it.
    EndSession(usize),
    /// A person deletes the offsets of epochs below this one.
    Prune(u8),
    /// A person keeps a copy of the control tables.
    Save,
    /// And puts it back.
    Restore,
}

impl Protocol {
    pub fn possible(&self, world: &World, actions: &mut Vec<Action>) {
        for p in 0..self.bounds.processes {
            self.possible_for(p, world, actions);
        }
        if !world.locked(self.flaw) {
            actions.extend((0..world.takes.len()).map(Action::TakeArrives));
        }
        for (i, load) in world.loads.iter().enumerate().filter(|(_, load)| load.sent) {
            actions.push(Action::Commit(i));
            if load.orphan {
                actions.push(Action::Rollback(i));
            }
        }
        if self.bounds.prune && !world.pruned {
            actions.extend((1..=world.tables.fence.next_epoch).map(Action::Prune));
        }
        if let Some(restore) = self.bounds.restore
            && !world.restored
        {
            match world.saved {
                None => actions.push(Action::Save),
                Some((fence, _)) if restore.any_moment || fence.generation < world.highest_witness() => {
                    actions.push(Action::Restore);
                }
                Some(_) => {}
            }
        }
    }

    fn possible_for(&self, p: usize, world: &World, actions: &mut Vec<Action>) {
        let process = &world.processes[p];
        let shown = || (0..=world.older.len() as u8).map(|n| if n == 0 { Shown::Now } else { Shown::Before(n) });
        let unlocked = !world.locked(self.flaw);
        match process.phase {
            Phase::New if p == 0 || world.processes[p - 1].phase != Phase::New => actions.push(Action::Start(p)),
            Phase::Reading => actions.extend(shown().map(|shown| Action::Read(p, shown))),
            Phase::Witnessing => actions.push(Action::PutWitness(p)),
            Phase::Looking => actions.extend(shown().map(|shown| Action::Look(p, shown))),
            Phase::Ready if unlocked => self.plans(p, world, actions),
            Phase::Loading => actions.push(Action::SendCommit(p)),
            Phase::Doubting if unlocked || self.flaw == Flaw::LookWithoutBarrier => actions.push(Action::Resolve(p)),
            _ => {}
        }
        let connected = matches!(process.phase, Phase::Taking | Phase::Loading | Phase::Committing);
        if connected && world.losses > 0 {
            actions.push(Action::Lose(p));
        }
        if !matches!(process.phase, Phase::New | Phase::Gone | Phase::Halted) && world.crashes > 0 {
            actions.push(Action::Crash(p));
        }
        let holds = matches!(process.phase, Phase::Loading | Phase::Committing) && !unlocked;
        let waits = |q: usize| q != p && world.processes[q].phase == Phase::Taking;
        if holds && world.ends > 0 && (0..self.bounds.processes).any(waits) {
            actions.push(Action::EndSession(p));
        }
    }

    pub fn step(&self, before: &World, action: Action) -> Option<World> {
        let mut world = *before;
        match action {
            Action::Start(p) => self.start(&mut world, p),
            Action::Read(p, shown) => self.read(&mut world, p, shown),
            Action::TakeArrives(i) => self.take_arrives(&mut world, i),
            Action::PutWitness(p) => self.put_witness(&mut world, p),
            Action::Look(p, shown) => self.look(&mut world, p, shown),
            Action::Begin(p, plan, count) => self.begin(&mut world, p, &plan, count),
            Action::SendCommit(p) => {
                world.processes[p].phase = Phase::Committing;
                world.loads.iter_mut().find(|load| usize::from(load.owner) == p && !load.orphan)?.sent = true;
            }
            Action::Commit(i) => self.commit(&mut world, i),
            Action::Rollback(i) => {
                world.loads.remove(i);
            }
            Action::Resolve(p) => self.resolve(&mut world, p),
            Action::Lose(p) => {
                world.losses -= 1;
                self.disconnect(&mut world, p);
            }
            Action::Crash(p) => {
                world.crashes -= 1;
                self.disconnect(&mut world, p);
                world.processes[p].end(Phase::Gone);
            }
            Action::EndSession(p) => {
                world.ends -= 1;
                self.disconnect(&mut world, p);
                world.loads.retain(|load| usize::from(load.owner) != p);
            }
            Action::Prune(below) => {
                world.pruned = true;
                for row in world.tables.manifest.iter_mut().filter(|row| row.epoch < below) {
                    row.offsets = [UNKNOWN; PARTITIONS];
                }
            }
            Action::Save => world.saved = Some((world.tables.fence, world.tables.manifest)),
            Action::Restore => self.restore(&mut world)?,
        }
        self.forget(&mut world);
        (world != *before).then_some(world)
    }

    /// Puts back to the default what nothing can depend on any more.
    fn forget(&self, world: &mut World) {
        let reads =
            |phase| matches!(phase, Phase::New | Phase::Reading | Phase::Taking | Phase::Witnessing | Phase::Looking);
        let reader = world.processes[..self.bounds.processes].iter().any(|process| reads(process.phase));
        if !(self.bounds.stale && reader) && self.flaw != Flaw::StaleRefusal {
            world.older = Few::default();
        }
        // Generations only grow, so a T1 that is too late stays too late, unless a person turns time back.
        let generation = world.tables.fence.generation;
        let for_good = self.bounds.restore.is_none() && self.flaw != Flaw::TakeInTwoStatements;
        if for_good {
            world.takes.retain(|take| !take.ghost || take.from >= generation);
        }
        if !self.bounds.prune {
            return;
        }
        // What is older than the newest full cut is never read.
        let full = world.tables.fence.full;
        for row in world.tables.manifest.iter_mut().filter(|row| row.epoch < full) {
            row.offsets = [UNKNOWN; PARTITIONS];
        }
    }
}
