//! A load: of sealed epochs, conditional on the fence; and what becomes of it.

use checkpoint::protocol::Outcome;

use crate::{
    Protocol,
    bounds::Flaw,
    decisions,
    reached::Reached::*,
    steps::Action,
    world::{Cut, Few, Load, Phase, Sealed, Shown, World},
};

impl Protocol {
    /// All loads that a process may try now: of the epochs that it has sealed, and of those that it may seal yet.
    pub fn plans(&self, p: usize, world: &World, actions: &mut Vec<Action>) {
        let process = &world.processes[p];
        let sealed: Few<Cut, 2> = process.sealed.iter().map(|epoch| epoch.end).collect();
        let announces = process.sealed.first().is_some_and(|epoch| epoch.announces(&process.cut));
        if announces {
            actions.push(Action::Begin(p, sealed, 1));
            return;
        }
        let mut plans = vec![sealed];
        let mut grown = 0;
        while grown < plans.len() {
            let plan = plans[grown];
            grown += 1;
            if plan.len() < self.bounds.sealed {
                let from = plan.last().copied().unwrap_or(process.cut);
                for end in self.bounds.ends(p, &from) {
                    let mut more = plan;
                    more.push(end);
                    plans.push(more);
                }
            }
        }
        for plan in plans {
            // All that is sealed; or less, where it was sealed before.
            for count in 1..=plan.len() {
                if count == plan.len() || plan.len() == sealed.len() {
                    actions.push(Action::Begin(p, plan, count as u8));
                }
            }
        }
    }

    pub fn begin(&self, world: &mut World, p: usize, plan: &Few<Cut, 2>, count: u8) {
        let process = &mut world.processes[p];
        for end in &plan[process.sealed.len()..] {
            let before = process.sealed.last().map_or(process.digest, |epoch| epoch.digest);
            let number = process.next_epoch + process.sealed.len() as u8;
            process.sealed.push(Sealed::new(before, number, *end, p));
        }
        process.loading = count;
        let fence = &world.tables.fence;
        let held = fence.generation == process.generation
            && (fence.nonce == process.nonce || self.flaw == Flaw::LoadWithoutNonce);
        let next = match self.flaw {
            Flaw::InsertOnly => world.tables.row(process.next_epoch).is_none(),
            _ => fence.next_epoch == process.next_epoch,
        };
        if held && next {
            process.phase = Phase::Loading;
            world.loads.push(Load {
                owner: p as u8,
                generation: process.generation,
                first: process.next_epoch,
                from: process.cut,
                epochs: process.sealed[..usize::from(count)].iter().copied().collect(),
                ..Load::default()
            });
            return;
        }
        let shown = if self.flaw == Flaw::StaleRefusal { Shown::Before(1) } else { Shown::Now };
        let outcome = decisions::after_refusal(&world.processes[p], &world.shown(shown));
        match &outcome {
            Outcome::Fenced { .. } => self.reached(ZombieRefused),
            Outcome::Committed => self.reached(LoadedAlready),
            _ => {}
        }
        self.settle(world, p, outcome);
    }

    pub fn commit(&self, world: &mut World, i: usize) {
        let load = world.loads.remove(i);
        world.change(|tables| tables.commit(&load));
        let process = &mut world.processes[usize::from(load.owner)];
        if !load.orphan {
            process.acknowledge();
        } else if process.phase == Phase::Gone {
            self.reached(CommitOfTheDead);
        }
        if world.tables.fence.cut == self.bounds.end() {
            self.reached(EverythingLoaded);
        }
    }

    pub fn resolve(&self, world: &mut World, p: usize) {
        let outcome = decisions::after_barrier(&world.processes[p], &world.tables);
        match &outcome {
            Outcome::Committed => self.reached(DoubtCommitted),
            Outcome::NotCommitted => self.reached(DoubtNotCommitted),
            Outcome::Fenced { .. } => self.reached(DoubtFenced),
            Outcome::Halt(_) => {}
        }
        self.settle(world, p, outcome);
    }

    pub fn settle(&self, world: &mut World, p: usize, outcome: Outcome) {
        let process = &mut world.processes[p];
        match outcome {
            Outcome::Committed => process.acknowledge(),
            Outcome::NotCommitted => (process.phase, process.loading) = (Phase::Ready, 0),
            Outcome::Fenced { .. } => process.end(Phase::Gone),
            Outcome::Halt(_) => self.halt(world, p),
        }
    }
}
