//! The port of whoever looks at a job from outside.

use std::ops::ControlFlow;

use checkpoint::garbage::Live;

use super::database::Redshift;
use crate::{
    Inspect, Result, TableName,
    inspect::{
        Check, DeadLetter, EpochSummary, Filled, Group, MissingRight, OtherJob, Scope, Standing, Verification, Which,
    },
};

impl Inspect for Redshift {
    fn log_in(&mut self) -> Result<String> {
        self.isolation()
    }

    fn slices(&mut self) -> Result<Option<u64>> {
        self.count_slices()
    }

    fn missing_rights(&mut self, targets: &[TableName], folds: bool) -> Result<Vec<MissingRight>> {
        self.find_missing_rights(targets, folds)
    }

    fn other_jobs(&mut self) -> Result<Vec<OtherJob>> {
        self.find_other_jobs()
    }

    fn topics_of(&mut self, other: &OtherJob) -> Result<Vec<(String, String)>> {
        self.find_topics_of(other)
    }

    fn standing(&mut self) -> Result<Standing> {
        self.read_standing()
    }

    fn live(&mut self, minutes: u32) -> Result<(String, Live)> {
        self.read_live(minutes)
    }

    fn epochs(&mut self, most: u64) -> Result<Vec<EpochSummary>> {
        self.read_epochs(most)
    }

    fn dead_letters(&mut self, which: &Which) -> Result<Vec<Group>> {
        self.read_dead_letters(which)
    }

    fn each_dead_letter(
        &mut self,
        which: &Which,
        each: &mut dyn FnMut(Vec<DeadLetter>) -> ControlFlow<()>,
    ) -> Result<()> {
        self.read_each_dead_letter(which, each)
    }

    fn verify(&mut self, targets: &[Filled], scope: Scope) -> Result<Verification> {
        self.run_checks(targets, scope)
    }

    fn verify_sql(&mut self, targets: &[Filled]) -> Result<Vec<Check>> {
        self.list_checks(targets)
    }
}
