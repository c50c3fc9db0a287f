//! Proof over the whole house: runs the program that users get against the local stack, breaks things, and looks at the
//! tables with means that share nothing with it.
//!
//! * [`world`]: a stack, a topic, a table and a job file; runs and kills `tidegate`;
//! * [`records`]: records of any kind, and where Kafka put each;
//! * [`events`]: what is produced, and the ledger of what Kafka acknowledged;
//! * [`oracle`]: what must be in the table, as Kafka's own Java console consumer sees it;
//! * [`checkers`]: plain SQL over the control tables, and a reader that looks all the while;
//! * [`proxy`]: stands between the program and a server, and does harm at a chosen moment;
//! * [`terminal`]: what a person would see of it;
//! * [`gate`]: who runs beside whom.

pub mod checkers;
pub mod events;
pub mod gate;
pub mod oracle;
pub mod proxy;
pub mod records;
pub mod terminal;
pub mod world;
