//! The doors: the only code that opens sockets to other systems.
//!
//! Four ports say what Tidegate needs of them, in its own words and without theirs (no SQL, no HTTP):
//!
//! * [`Log`], [`Reader`]: a topic's records in order, and what is known of its partitions. Kafka.
//! * [`Objects`]: objects that are written once, whole or not at all. S3.
//! * [`Warehouse`]: the fence, the manifest, and the load that moves both and the rows in one transaction. Redshift.
//! * [`Inspect`]: what its tables say of a job, for a person to read. Redshift.
//!
//! Every port blocks its caller, with a deadline; who must not block calls it from a thread. Every error says whether
//! the thing happened ([`Error`]). [`memory`] has a twin of each port, and [`conformance`] one function for each
//! promised behaviour, which twin and real one pass alike.

#[cfg(any(feature = "redshift", feature = "s3"))]
mod background;
pub mod conformance;
mod error;
pub mod faults;
pub mod inspect;
#[cfg(feature = "kafka")]
pub mod kafka;
mod log;
pub mod memory;
#[cfg(any(feature = "redshift", feature = "s3"))]
mod network;
mod objects;
#[cfg(feature = "redshift")]
pub mod redshift;
pub mod retry;
#[cfg(feature = "s3")]
pub mod s3;
mod secret;
mod trust;
mod types;
mod warehouse;

pub use error::{Error, Fault, Happened, Result};
pub use inspect::Inspect;
pub use log::{BytesColumn, Log, RawBatch, Read, ReadFrom, Reader, Run, StartAt};
pub use objects::Objects;
pub use secret::Secret;
pub use trust::Trust;
pub use types::{ColumnKind, Table, TableKind, TableName, TargetColumn};
pub use warehouse::{
    Adoption, CopyFrom, Fold, Folded, HaltNote, Load, LoadStep, OpenSession, Process, Took, Warehouse,
    dead_letter_columns, dead_letter_table,
};
