//! What a target's table asks for, from checked values to a committed transaction.
//!
//! ```text
//!   every worker, for each target:  fit -> encode -> upload --+
//!                                                             |  files, at their epoch
//!   every worker:  decode, query, fit -- fates -----------------+
//!                                                             |
//!   every worker:  fetch -- spans, what was read ---+         |
//!                                                   v         v
//!   worker 0:                                      seal ------+--> load --> loaded epochs, back to fetch and clock
//! ```
//!
//! An epoch is sealed when the frontier of both inputs of seal has passed it: then every worker's files, fates and
//! spans of it are there, because each operator above holds a capability for the epoch until it has passed on all it has.

pub mod encode;
pub mod fit;
pub mod history;
pub mod load;
pub mod look;
pub mod seal;
pub mod upload;

pub use encode::encode;
pub use fit::fit;
pub use load::load;
pub use seal::seal;
pub use upload::upload;
