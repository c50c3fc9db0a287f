//! What happens to rows. The operators, in the order data flows:
//!
//! * [`mod@clock`]: ends epochs, by time, bytes, rows or a full memory budget; the only one that knows what time it is;
//! * [`mod@fetch`]: raw batches out of Kafka, each in the epoch that is open when it arrives, and the spans of every epoch;
//! * [`mod@decode`]: bytes to columns of the declared types;
//! * [`mod@query`]: the SELECT of a target;
//! * (exchange, enrich, window and dedup have their place here when they come;)
//! * [`sink`]: what a target's table asks for: [`mod@sink::fit`], [`mod@sink::encode`], [`mod@sink::upload`], then [`mod@sink::seal`] and
//!   [`mod@sink::load`] on worker 0.
//!
//! What stands between decode and fit is a list of [`step`]s for each target; today that is query alone.
//!
//! Decode, query and fit have one shape, [`stage`]: they set aside what they cannot pass on, as [`dead_letters`], which are rows of
//! one more target and go the same way from encode on; and they tell seal what became of the records that do not go on.
//!
//! No stage knows another. The words that they share stand below them: [`places`], [`schema`], [`signals`] (what they tell each other
//! beside the rows), [`rows`] (what travels on an edge), [`reject_limit`].
//!
//! Besides them: [`values`] are single values and what is done with those that do not fit, [`stamp`] says at which epoch a message goes, [`background`] the one bridge between a worker and what blocks, [`failure`] how an operator ends the process,
//! [`events`] what it tells whoever watches, [`mod@heartbeat`] whether the engine still carries anything between
//! the workers, [`held`] what a worker holds.
//!
//! The rules of the engine: operators never block; each drops its initial capability at once unless it is a source, holds
//! one for each epoch that it has not passed on, and sends only on one that it holds.

pub mod background;
pub mod clock;
pub mod dead_letters;
pub mod decode;
pub mod ending;
pub mod events;
pub mod failure;
pub mod fetch;
pub mod heartbeat;
pub mod held;
pub mod outage;
pub mod places;
pub mod query;
pub mod reject_limit;
pub mod rows;
pub mod schema;
pub mod signals;
pub mod sink;
pub mod stage;
pub mod stamp;
pub mod step;
pub mod threads;
pub mod time;
pub mod values;

pub use clock::clock;
pub use decode::decode;
pub use failure::{Failure, fail};
pub use fetch::fetch;
pub use heartbeat::heartbeat;
pub use rows::{Fitted, Raw, Rows};
pub use time::Time;
