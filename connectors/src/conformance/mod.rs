//! What the ports promise, as functions that a twin in memory, the local stack and the real services must all pass.
//!
//! They panic where a promise is not kept, as tests do.

#![allow(clippy::unwrap_used)] // each is a test

mod inspect;
mod log;
mod objects;
mod trouble;
mod warehouse;

pub use inspect::{SetAside, inspect};
pub use log::{Producer, barred_log, log, reader, unseen};
pub use objects::{barred_objects, objects, troubled_objects};
pub use trouble::Trouble;
pub use warehouse::{barred_warehouse, refused_warehouse, troubled_warehouse, warehouse};
