//! What must be remembered so that a job can be killed at any moment and go on exactly where its tables stand.
//!
//! Everything here is pure: no dataflow, no Arrow, no sockets, no clock. The files in the order of their story:
//!
//! * [`epoch`]: the numbers a job counts with, [`Epoch`], [`Generation`] and [`Nonce`];
//! * [`cut`]: where an epoch ends in every partition ([`Cut`]) and what it read there ([`Span`]);
//! * [`fates`]: what becomes of a record, and the equations that the counts of an epoch must satisfy;
//! * [`manifest`]: the row that says "this epoch is in", and the digest that chains it to all before it;
//! * [`fence`]: the row that says who may load, and where the history ends;
//! * [`history`]: where the epochs so far end, and how one more is put to them;
//! * [`fold`]: old epochs become one row, so that a history does not grow for ever;
//! * [`hex`](mod@hex): bytes as hex digits, which digests, nonces and dead letters are;
//! * [`names`]: the only place that names an object on S3, and [`garbage`]: which of them nobody can need any more;
//! * [`witness`]: what S3 remembers of the starts, so that tables which are not the ones they were are found out;
//! * [`protocol`]: facts in, decision out. Whether an epoch is in, who may load, when to halt;
//! * [`invariants`]: I1 to I15, one sentence each.

pub mod cut;
pub mod epoch;
pub mod fates;
pub mod fence;
pub mod fold;
pub mod garbage;
pub mod hex;
pub mod history;
pub mod invariants;
pub mod manifest;
pub mod names;
pub mod protocol;
pub mod witness;

pub use cut::{Cut, LastRecord, Position, Span, TopicPartition};
pub use epoch::{Epoch, Generation, Micros, Nonce};
pub use fates::{Counts, Fate, Fates, Tally};
pub use hex::hex;
pub use history::{History, Link};
pub use invariants::{Broken, Invariant};
pub use manifest::{Decision, Digest, EpochRecord, Kind};
