//! The shape of decode, query and fit: a batch in, and out of it rows that go on, dead letters, and what became of the others.
//!
//! * Rows and dead letters leave at the time of their batch.
//! * What became of records travels beside them, straight to seal: it is added up by epoch and sent when the input's frontier has
//!   passed it; until then a capability is held. It does not travel in the batches, because a batch without rows is not sent
//!   on, and one that is split between workers has to be counted the same before and after.

use std::collections::BTreeMap;

use checkpoint::Fates;
use timely::{
    Accountable,
    container::{CapacityContainerBuilder, NoopBuilder},
    dataflow::{
        Stream,
        channels::pact::Pipeline,
        operators::{
            Capability,
            generic::{OutputBuilder, builder_rc::OperatorBuilder},
        },
    },
};

use crate::{
    Time,
    reasons::Reasons,
    rows::Fitted,
    signals::{Of, Piece},
    stamp::{epoch_of, hold},
};

/// What an operator makes of a batch.
#[derive(Clone, Default)]
pub struct Split<T> {
    /// Those that go on.
    pub rows: T,
    /// The records that were set aside, if there are any, as rows of the dead letters' table.
    pub letters: Option<Fitted>,
    /// The fates of all that do not go on.
    pub fates: Fates,
}

/// The outputs of such an operator.
pub struct Outputs<'s, T> {
    /// Rows.
    pub rows: Stream<'s, Time, T>,
    /// Dead letters.
    pub letters: Stream<'s, Time, Fitted>,
    /// What became of the records of each epoch that do not go on, and why they were rejected, for seal.
    pub fates: Stream<'s, Time, Vec<Piece>>,
}

/// A batch in one of its states: what the engine carries.
pub trait Batch: Accountable + Clone + Default + 'static {}

impl<T: Accountable + Clone + Default + 'static> Batch for T {}

/// The number of the output of fates.
const FATES: usize = 2;

/// Builds an operator that does this with each batch. `of` is whose records it counts.
pub fn split<'s, In: Batch, Out: Batch>(
    name: &str,
    of: Of,
    input: Stream<'s, Time, In>,
    mut act: impl FnMut(Time, In) -> Split<Out> + 'static,
) -> Outputs<'s, Out> {
    let mut builder = OperatorBuilder::new(name.into(), input.scope());
    let mut input = builder.new_input(input, Pipeline);
    let (output, rows) = builder.new_output();
    let mut rows_output = OutputBuilder::<_, NoopBuilder<Out>>::from(output);
    let (output, letters) = builder.new_output();
    let mut letters_output = OutputBuilder::<_, NoopBuilder<Fitted>>::from(output);
    let (output, fates) = builder.new_output();
    let mut fates_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Piece>>>::from(output);
    builder.build(move |capabilities| {
        drop(capabilities);
        let mut open: BTreeMap<Time, (Capability<Time>, Fates, Reasons)> = BTreeMap::new();
        move |frontiers| {
            input.for_each(|capability, batch: &mut In| {
                let epoch = epoch_of(&capability);
                let Split { mut rows, letters, fates } = act(epoch, std::mem::take(batch));
                if rows.record_count() > 0 {
                    rows_output.activate().session_with_builder(&capability).give_container(&mut rows);
                }
                if fates != Fates::default() {
                    let new = || (hold(&capability, FATES), Fates::default(), Reasons::default());
                    let (_, all, reasons) = open.entry(epoch).or_insert_with(new);
                    all.merge(&fates);
                    letters.iter().for_each(|letters| reasons.add(letters));
                }
                if let Some(mut letters) = letters {
                    letters_output.activate().session_with_builder(&capability).give_container(&mut letters);
                }
            });
            while let Some(entry) = open.first_entry() {
                if frontiers[0].less_equal(entry.key()) {
                    break;
                }
                let (held, fates, reasons) = entry.remove();
                let mut output = fates_output.activate();
                let mut session = output.session(&held);
                session.give(Piece::Fates { of, fates });
                if !reasons.is_empty() {
                    session.give(Piece::Reasons { of, reasons });
                }
            }
        }
    });
    Outputs { rows, letters, fates }
}
