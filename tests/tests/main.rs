//! Proof over the whole house, as one program: it is linked once, starts one local stack, and its tests run beside each other.
//! What must have the machine for itself says `alone()`.

mod age;
mod check;
mod cluster;
mod commit;
mod decisions;
mod demo;
mod errors;
mod exactly_once;
mod exit_codes;
mod gc;
mod guide;
mod heals;
mod history;
mod live;
mod many;
mod outage;
mod ports;
mod reading;
mod reference;
mod region;
mod rooms;
mod rows;
mod secrets;
mod source;
mod sql;
mod starts;
mod stops;
mod tables;
mod takeover;
mod target;
mod tidy;
mod verify;
