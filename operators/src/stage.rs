//! The shape of decode, query and fit: a batch in, and out of it rows that go on, dead letters, and what became of the others.
//!
//! * Rows and dead letters leave at the time of their batch.
//! * What became of records travels beside them, straight to seal: it is added up by epoch and sent when the input's frontier has
//!   passed it; until then a capability is held. It does not travel in the batches, because one that has no rows any more is
//!   none, and one that is parted between workers has to be counted the same before and after.

use std::collections::BTreeMap;

use checkpoint::Fates;
use timely::{
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
    Rows, Time,
    signals::{Of, Piece},
    stamp::{epoch_of, hold},
};

/// What an operator makes of a batch.
#[derive(Clone, Default)]
pub struct Split {
    /// Those that go on.
    pub rows: Rows,
    /// The records that were set aside, if there are any, as rows of the dead letters' table.
    pub letters: Option<Rows>,
    /// The fates of all that do not go on.
    pub fates: Fates,
}

/// The outputs of such an operator.
pub struct Outputs<'s> {
    /// Rows.
    pub rows: Stream<'s, Time, Rows>,
    /// Dead letters.
    pub letters: Stream<'s, Time, Rows>,
    /// What became of the records of each epoch that do not go on, for seal.
    pub fates: Stream<'s, Time, Vec<Piece>>,
}

/// The number of the output of fates.
const FATES: usize = 2;

/// Builds an operator that does this with each batch. `of` is whose records it counts.
pub fn split<'s>(
    name: &str,
    of: Of,
    input: Stream<'s, Time, Rows>,
    mut act: impl FnMut(Time, Rows) -> Split + 'static,
) -> Outputs<'s> {
    let mut builder = OperatorBuilder::new(name.into(), input.scope());
    let mut input = builder.new_input(input, Pipeline);
    let (output, rows) = builder.new_output();
    let mut rows_output = OutputBuilder::<_, NoopBuilder<Rows>>::from(output);
    let (output, letters) = builder.new_output();
    let mut letters_output = OutputBuilder::<_, NoopBuilder<Rows>>::from(output);
    let (output, fates) = builder.new_output();
    let mut fates_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Piece>>>::from(output);
    builder.build(move |capabilities| {
        drop(capabilities);
        let mut open: BTreeMap<Time, (Capability<Time>, Fates)> = BTreeMap::new();
        move |frontiers| {
            input.for_each(|capability, batch: &mut Rows| {
                let epoch = epoch_of(&capability);
                let Split { mut rows, letters, fates } = act(epoch, std::mem::take(batch));
                if !rows.is_empty() {
                    rows_output.activate().session_with_builder(&capability).give_container(&mut rows);
                }
                if let Some(mut letters) = letters {
                    letters_output.activate().session_with_builder(&capability).give_container(&mut letters);
                }
                if fates != Fates::default() {
                    let new = || (hold(&capability, FATES), Fates::default());
                    open.entry(epoch).or_insert_with(new).1.merge(&fates);
                }
            });
            while let Some(entry) = open.first_entry() {
                if frontiers[0].less_equal(entry.key()) {
                    break;
                }
                let (held, fates) = entry.remove();
                fates_output.activate().session(&held).give(Piece::Fates { of, fates });
            }
        }
    });
    Outputs { rows, letters, fates }
}
