//! Proof over the whole house, as one program: a local stack is started once, for all of it.

mod check;
mod cluster;
mod commit;
mod demo;
mod exactly_once;
mod exit_codes;
mod gc;
mod guide;
mod live;
mod outage;
mod ports;
mod reference;
mod rows;
mod source;
mod sql;
mod takeover;
mod tidy;
mod verify;
