//! Which staged objects nobody can need any more.
//!
//! Two rules, and both go by what the name of an object says, never by its age or by what no list mentions:
//!
//! * of an older generation: it lost the fence, so no transaction of it can commit any more. One that is in the middle of its
//!   COPY fails loudly, because every entry of a COPY manifest is mandatory, and would have been fenced anyway;
//! * of the newest generation, and of epochs whose manifest rows were read: they are in. But what names the newest load stays: it
//!   bears witness of what is in ([`crate::witness`]).
//!
//! What is of a newer generation than the one that was read is left alone: whoever collects may be a zombie itself. So is
//! whatever has another name.

use crate::{Epoch, Generation};

/// What the name of a staged object says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// Whose it is.
    pub generation: Generation,
    /// The newest epoch that it belongs to.
    pub epoch: Epoch,
    /// Whether it names a load: a COPY manifest, or what was put when the load was read back.
    pub is_load: bool,
}

/// What the control tables said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    /// The newest generation.
    pub generation: Generation,
    /// The newest epoch that is in, and was for a while; `None` if there is none.
    pub loaded: Option<Epoch>,
}

/// Whether an object can be deleted.
pub fn is_garbage(named: Named, live: Live) -> bool {
    if named.generation != live.generation {
        return named.generation < live.generation;
    }
    live.loaded.is_some_and(|loaded| named.epoch < loaded || (named.epoch == loaded && !named.is_load))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_transaction_can_need() {
        let live = Live { generation: Generation(5), loaded: Some(Epoch(10)) };
        for (generation, epoch, garbage) in [
            (4, 11, true), // staged by a start that was killed, and read again by its successor
            (4, 3, true),
            (5, 10, true),
            (5, 9, true),
            (5, 11, false), // sealed, or being loaded
            (6, 3, false),  // of a start that is newer than what was read
        ] {
            for is_load in [false, true] {
                let named = Named { generation: Generation(generation), epoch: Epoch(epoch), is_load };
                let kept = is_load && (generation, epoch) == (5, 10);
                assert_eq!(is_garbage(named, live), garbage && !kept, "{named:?}");
            }
        }
        let named = Named { generation: Generation(5), epoch: Epoch(0), is_load: false };
        assert!(!is_garbage(named, Live { loaded: None, ..live }));
    }
}
