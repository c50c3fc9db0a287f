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
//!
//! Decode, query, fit and encode are plain functions of batches, with or without a dataflow around them:
//!
//! ```
//! use std::sync::Arc;
//!
//! use checkpoint::TopicPartition;
//! use connectors::{ColumnKind, RawBatch, TableName, TargetColumn};
//! use operators::{
//!     Raw,
//!     dead_letters::{RejectOptions, Rejects},
//!     decode::{Decode, DecodeOptions, Format},
//!     events::{Changes, Watch},
//!     places::Place,
//!     query::{Evaluate, select},
//!     rows::Origin,
//!     schema::{SourceColumn, Target},
//!     sink::{
//!         encode::{Compression, EncodeOptions, EpochFiles, Files},
//!         fit::Fit,
//!     },
//!     values::Policy,
//! };
//!
//! // A stream with two columns, a query, and a table with one.
//! let columns = [SourceColumn::new("id", ColumnKind::BigInt), SourceColumn::new("country", ColumnKind::Varchar(2))];
//! let streams = [("clicks".to_string(), columns.to_vec())];
//! let selection = select::parse("SELECT id FROM clicks WHERE country = 'ee'", &streams).unwrap();
//! let column = TargetColumn { name: "id".into(), kind: ColumnKind::Integer, not_null: false, has_default: false, is_identity: false };
//! let target = Arc::new(Target {
//!     table: TableName { schema: "public".into(), table: "clicks".into() },
//!     stream: Some(0),
//!     columns: vec![column].into(),
//!     policies: vec![Policy::default()],
//!     ..Target::default()
//! });
//!
//! // The stages.
//! let partition = TopicPartition::new("clicks", 0);
//! let place = Place { partition, topic_id: String::new(), stream: 0, start: 0, leader_epoch: None, until: None };
//! let places: Arc<[Place]> = [place].into();
//! let (rejects, watch): (_, Watch) = (Rejects::new(RejectOptions::default(), places.clone()), Arc::new(|_| {}));
//! let options = DecodeOptions { stream: "clicks".into(), format: Format::Json, columns: columns.into() };
//! let mut decode = Decode::new(options, rejects.clone(), watch.clone());
//! let query = Evaluate { target: target.name(), selection: Arc::new(selection), places, rejects: rejects.clone() };
//! let fit = Fit { target: target.clone(), rejects, changes: Changes::new(target.name(), watch) };
//! let options = EncodeOptions { compression: Compression::Zstd, file_bytes: 1 << 20, page_bytes: 1 << 16 };
//! let mut file = EpochFiles::new(Files::new(&target, 7, &options));
//!
//! // Four records of epoch 7: one that is loaded, one that WHERE leaves out, one that is not JSON, one that does not fit.
//! let mut raw = RawBatch::default();
//! let values = [r#"{"id":1,"country":"ee"}"#, r#"{"id":2,"country":"de"}"#, "{", r#"{"id":3000000000,"country":"ee"}"#];
//! for (offset, value) in values.iter().enumerate() {
//!     raw.partitions.push(0);
//!     raw.offsets.push(offset as i64);
//!     raw.timestamps_ms.push(0);
//!     raw.keys.push(None).unwrap();
//!     raw.values.push(Some(value.as_bytes())).unwrap();
//! }
//! let decoded = decode.batch(7, Raw::new(Origin::new(raw, &[0])));
//! let selected = query.batch(7, decoded.rows);
//! let fitted = fit.batch(7, selected.rows);
//! file.add(&fitted.rows).unwrap();
//!
//! assert_eq!(decoded.letters.map(|letters| letters.len()), Some(1));
//! assert_eq!(fitted.letters.map(|letters| letters.len()), Some(1));
//! let file = file.end().unwrap().expect("a file");
//! assert_eq!((file.rows, &file.body[..4]), (1, &b"PAR1"[..]));
//! ```

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
pub mod reasons;
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
pub mod trial;
pub mod values;

pub use clock::clock;
pub use decode::decode;
pub use failure::{Failure, fail};
pub use fetch::fetch;
pub use heartbeat::heartbeat;
pub use rows::{Fitted, Raw, Rows};
pub use time::Time;
