//! Bytes to columns of the declared types.
//!
//! * Input: raw batches of one stream. Output: the same rows with the declared columns, the dead letters of those
//!   that do not decode, and the fates of these and of tombstones, which are left out.
//! * Time: each batch at its own; see [`mod@crate::stage`].
//! * Failure: none that a record could cause, unless the job says to halt at them.
//!
//! A format is a file with a plain function from bytes to the checked builders of [`columns`], which take a row back when it
//! turns out bad in the middle, so the rows beside it are not lost with it; and a line in `formats!` below.

pub mod columns;
pub mod json;
pub mod raw;

use std::sync::Arc;

use arrow_array::{Array, ArrayRef};
use checkpoint::{Fate, Fates};
use timely::dataflow::Stream;

use crate::{
    Rows, Time,
    dead_letters::Rejects,
    events::{Changes, Watch},
    rows::{Index, Origin, Raw, Rejected, others},
    schema::SourceColumn,
    signals::Of,
    stage::{Outputs, Split, split},
};
use columns::Builders;

/// What the formats have in common, from one line for each: its documentation, its variant, its word in the job file, and its module,
/// which has a `Decoder` and a function `check` of the columns that a stream of it may have. The format is looked at once a batch.
macro_rules! formats {
    ($($(#[$doc:meta])* $name:ident $word:literal = $module:ident,)*) => {
        /// How the values of a stream's records are written.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Format {
            $($(#[$doc])* $name,)*
        }

        impl Format {
            /// All of them.
            pub const ALL: &[Format] = &[$(Format::$name),*];

            /// Their words in the job file.
            pub const WORDS: &[&str] = &[$($word),*];

            /// Its word in the job file.
            pub fn word(self) -> &'static str {
                match self {
                    $(Format::$name => $word,)*
                }
            }

            /// Whether a stream of this format can have these columns, or why not.
            pub fn check(self, columns: &[SourceColumn]) -> Result<(), String> {
                match self {
                    $(Format::$name => $module::check(columns),)*
                }
            }
        }

        /// The decoder of a stream, by its format.
        pub(crate) enum Decoder {
            $($name($module::Decoder),)*
        }

        impl Decoder {
            pub(crate) fn new(format: Format, columns: &[SourceColumn]) -> Decoder {
                match format {
                    $(Format::$name => Decoder::$name($module::Decoder::new(columns)),)*
                }
            }

            pub(crate) fn batch(&mut self, origin: &Origin, columns: &[SourceColumn], builders: &mut Builders) -> Decoded {
                match self {
                    $(Decoder::$name(decoder) => {
                        decode_batch(origin, columns, |record, builders| decoder.decode(record, builders), builders)
                    })*
                }
            }
        }
    };
}

formats! {
    /// A JSON object.
    Json "json" = json,
    /// The bytes as they are, in one column.
    Raw "raw" = raw,
}

/// What decode must know of a stream.
#[derive(Clone)]
pub struct DecodeOptions {
    /// The stream's name.
    pub stream: String,
    /// How its values are written.
    pub format: Format,
    /// The declared columns, in their order.
    pub columns: Arc<[SourceColumn]>,
}

/// Builds decode for the stream of this number.
pub fn decode<'s>(
    raw: Stream<'s, Time, Raw>,
    stream: usize,
    options: DecodeOptions,
    rejects: Rejects,
    watch: Watch,
) -> Outputs<'s, Rows> {
    let mut decode = Decode::new(options, rejects, watch);
    split("Decode", Of::Stream(stream), raw, move |epoch, rows| decode.batch(epoch, rows))
}

/// Decode without a dataflow around it.
pub struct Decode {
    options: DecodeOptions,
    rejects: Rejects,
    changes: Changes,
    decoder: Decoder,
    builders: Builders,
}

impl Decode {
    /// The decoder of one stream.
    pub fn new(options: DecodeOptions, rejects: Rejects, watch: Watch) -> Decode {
        let decoder = Decoder::new(options.format, &options.columns);
        let builders = Builders::new(&options.columns);
        Decode { changes: Changes::new(options.stream.clone(), watch), options, rejects, decoder, builders }
    }

    /// A raw batch with its columns, and the dead letters of those that do not decode.
    pub fn batch(&mut self, epoch: Time, raw: Raw) -> Split<Rows> {
        let (declared, Raw { origin, lease }) = (&self.options.columns, raw);
        self.rejects.saw(&origin);
        let Decoded { columns, changed, rejected } = self.decoder.batch(&origin, declared, &mut self.builders);
        for (column, values) in declared.iter().zip(changed).filter(|(_, values)| *values > 0) {
            self.changes.add(&column.name, values);
        }
        let letters = self.rejects.set_aside(epoch, "decode", "", &origin, &Index::all(origin.len()), &rejected);
        let (index, fates) = leave_out(&origin, &rejected);
        Split { rows: Rows { columns, origin, index, lease }, letters, fates }
    }
}

/// What came of a batch.
pub(crate) struct Decoded {
    /// The columns of the rows that decoded, in order.
    pub(crate) columns: Vec<ArrayRef>,
    /// How many values a policy changed, by column.
    pub(crate) changed: Vec<u64>,
    /// The rows that did not decode.
    pub(crate) rejected: Vec<Rejected>,
}

fn decode_batch(
    origin: &Origin,
    columns: &[SourceColumn],
    mut decode: impl FnMut(&[u8], &mut Builders) -> Result<(), columns::BadRecord>,
    builders: &mut Builders,
) -> Decoded {
    let mut rejected = Vec::new();
    for row in 0..origin.value.len() {
        if origin.value.is_null(row) {
            continue; // a tombstone
        }
        if let Err(error) = decode(origin.value.value(row), builders) {
            let column = error.column.map(|column| columns[column].name.clone());
            rejected.push(Rejected { row, column, reason: error.reason });
        }
    }
    let (columns, changed) = builders.finish();
    Decoded { columns, changed, rejected }
}

/// The records that became rows; and the fates of those that were rejected, and of tombstones, which are skipped.
pub(crate) fn leave_out(origin: &Origin, rejected: &[Rejected]) -> (Index, Fates) {
    let mut fates = Fates::default();
    let tombstones = origin.value.null_count();
    if tombstones + rejected.len() == 0 {
        return (Index::all(origin.len()), fates);
    }
    fates.add(Fate::Undecoded, origin.tally_of(rejected.iter().map(|r| r.row)));
    fates.add(Fate::Skipped, origin.tally_of((0..origin.len()).filter(|record| origin.value.is_null(*record))));
    let others = others(origin.len(), rejected);
    (Index::of(others.into_iter().filter(|record| origin.value.is_valid(*record))), fates)
}

#[cfg(test)]
mod tests {
    use arrow_array::{cast::AsArray, types::Int64Type};
    use checkpoint::Tally;
    use connectors::{ColumnKind, RawBatch};

    use super::*;
    use crate::rows::Records;

    fn batch(values: &[Option<&str>]) -> Origin {
        let mut raw = RawBatch::default();
        for (i, value) in values.iter().enumerate() {
            raw.partitions.push(0);
            raw.offsets.push(100 + i as i64);
            raw.timestamps_ms.push(0);
            raw.keys.push(None).unwrap();
            raw.values.push(value.map(str::as_bytes)).unwrap();
        }
        Origin::new(raw, &[7])
    }

    #[test]
    fn bad_records_and_tombstones_are_named_and_the_others_go_on() {
        let columns = [SourceColumn::new("a", ColumnKind::SmallInt)];
        let (mut decoder, mut builders) = (Decoder::new(Format::Json, &columns), Builders::new(&columns));
        let origin =
            batch(&[Some("{"), None, Some(r#"{"a":1}"#), Some(r#"{"a":70000}"#), Some(r#"{"a":2}"#), Some("")]);
        let decoded = decoder.batch(&origin, &columns, &mut builders);
        let named: Vec<_> = decoded.rejected.iter().map(|r| (r.row, r.column.as_deref())).collect();
        assert_eq!(named, [(0, None), (3, Some("a")), (5, None)]);
        assert_eq!(decoded.columns[0].as_primitive::<arrow_array::types::Int16Type>().values(), &[1, 2]);
        let (index, fates) = leave_out(&origin, &decoded.rejected);
        assert_eq!(Records::of(&origin, &index).iter().collect::<Vec<_>>(), [(7, 102), (7, 104)]);
        assert_eq!(fates.get(Fate::Skipped), Tally::of([(7, 101)]));
        assert_eq!(fates.get(Fate::Undecoded), Tally::of([(7, 100), (7, 103), (7, 105)]));
        assert_eq!(fates.total().count, 4);
        // The builders begin anew.
        let columns = [SourceColumn::new("a", ColumnKind::BigInt)];
        let (mut decoder, mut builders) = (Decoder::new(Format::Json, &columns), Builders::new(&columns));
        for value in [3, 4] {
            let text = format!(r#"{{"a":{value}}}"#);
            let decoded = decoder.batch(&batch(&[Some(&text)]), &columns, &mut builders);
            assert_eq!(decoded.columns[0].as_primitive::<Int64Type>().values(), &[value]);
        }
    }
}
