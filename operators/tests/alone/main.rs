//! Each operator alone, on a real worker, in any interleaving of what it is given: what comes first when nothing says so.

#![allow(clippy::unwrap_used)] // a test from end to end

mod clock;
mod encode;
mod fetch;
mod harness;
mod load;
mod seal;
