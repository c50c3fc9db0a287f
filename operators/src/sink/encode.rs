//! Rows to Parquet files.
//!
//! * Input: rows that fit. Output: whole files of each epoch, for upload, each with the records that it holds.
//! * Time: it holds a capability for each epoch it has rows of, until the input's frontier has passed it; then it closes the
//!   file, sends it, and drops the capability.
//! * State: one open writer for each open epoch, which holds compressed pages only. A file that has reached its size is
//!   sent before its epoch ends.
//! * Failure: none that a row could cause; fit has seen to it.

use std::{collections::BTreeMap, sync::Arc};

use arrow_array::{ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use checkpoint::Tally;
use parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    basic::{Compression as ParquetCompression, ZstdLevel},
    errors::ParquetError,
    file::properties::{EnabledStatistics, WriterProperties, WriterVersion},
};
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{
        Stream,
        channels::pact::Pipeline,
        operators::{Capability, generic::operator::Operator},
    },
};

use crate::{
    Time,
    failure::{Failure, fail},
    held::{Account, Lease},
    rows::Fitted,
    schema::Target,
    stamp::{epoch_of, hold},
    values::arrow::arrow_type,
};

/// How files are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Zstandard, level 1: the smallest files for hardly more work.
    Zstd,
    /// Snappy.
    Snappy,
    /// None.
    None,
}

impl Compression {
    /// All of them.
    pub const ALL: &[Compression] = &[Compression::Zstd, Compression::Snappy, Compression::None];

    /// Their words in the job file.
    pub const WORDS: &[&str] = &[Compression::Zstd.word(), Compression::Snappy.word(), Compression::None.word()];

    /// Its word in the job file.
    pub const fn word(self) -> &'static str {
        match self {
            Compression::Zstd => "zstd",
            Compression::Snappy => "snappy",
            Compression::None => "none",
        }
    }
}

/// How files are made.
#[derive(Clone, Debug)]
pub struct EncodeOptions {
    /// How they are compressed.
    pub compression: Compression,
    /// The size at which a file is closed and another begun, in bytes.
    pub file_bytes: usize,
    /// The size at which a page of a column is compressed, and its dictionary given up, in bytes. Each column of each open file holds
    /// about so much.
    pub page_bytes: usize,
}

/// A whole Parquet file, on its way to upload.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// Its bytes.
    pub body: Bytes,
    /// Its rows.
    pub rows: u64,
    /// The records that they are of.
    pub records: Tally,
    /// What it counts for in the worker's budget.
    pub lease: Option<Arc<Lease>>,
}

/// A file with one dead letter, as a job would stage it, and its columns: to see whether it can be loaded.
pub fn sample() -> Result<(Bytes, Vec<String>), String> {
    let columns = connectors::dead_letter_columns();
    let fields = columns.iter().filter_map(|c| Some(Field::new(&c.name, arrow_type(&c.kind)?, true)));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut texts = ["", "check", "check", "", "nothing was wrong", ""].into_iter();
    let values = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Utf8 => Arc::new(StringArray::from(vec![texts.next().unwrap_or_default()])) as ArrayRef,
        DataType::Boolean => Arc::new(BooleanArray::from(vec![false])),
        DataType::Int32 => Arc::new(Int32Array::from(vec![0])),
        DataType::Int64 => Arc::new(Int64Array::from(vec![0])),
        kind => new_null_array(kind, 1),
    });
    let batch = RecordBatch::try_new(schema.clone(), values.collect()).map_err(|e| e.to_string())?;
    let names = columns.into_iter().map(|c| c.name).collect();
    let options = EncodeOptions { compression: Compression::Zstd, file_bytes: usize::MAX, page_bytes: 1 << 20 };
    let written = Files::of(schema, &options).begin().and_then(|mut writer| {
        writer.write(&batch)?;
        writer.into_inner()
    });
    written.map(|body| (body.into(), names)).map_err(|e| e.to_string())
}

/// What a column of an open file holds for its codec, which the writer does not count: a context for each way.
const fn codec_bytes(compression: Compression) -> u64 {
    match compression {
        Compression::Zstd => 96 << 10,
        Compression::Snappy | Compression::None => 0,
    }
}

/// What a column of an open file holds at least, with pages of the smallest size that is of use.
pub const fn least_bytes(compression: Compression) -> u64 {
    (48 << 10) + codec_bytes(compression)
}

/// Rows in a row group: large ones compress better and cost less.
const ROW_GROUP_ROWS: usize = 1 << 20;

/// Builds encode for one target.
pub fn encode<'s>(
    rows: Stream<'s, Time, Fitted>,
    target: Arc<Target>,
    options: EncodeOptions,
    held: Account,
) -> Stream<'s, Time, Vec<Encoded>> {
    let name = format!("Encode {}", target.number);
    rows.unary_frontier::<CapacityContainerBuilder<Vec<Encoded>>, _, _, _>(Pipeline, &name, move |capability, _| {
        drop(capability);
        let mut open: BTreeMap<Time, (Capability<Time>, EpochFiles, Lease)> = BTreeMap::new();
        let closed = held.clone();
        let staged_soon = move |file: Encoded| {
            let lease = Some(Arc::new(closed.lease(file.body.len() as u64)));
            Encoded { lease, ..file }
        };
        move |(input, frontier), output| {
            input.for_each(|capability, rows: &mut Fitted| {
                let rows = std::mem::take(rows);
                let epoch = epoch_of(&capability);
                let begin = || EpochFiles::new(Files::new(&target, epoch, &options));
                let new = || (hold(&capability, 0), begin(), held.lease(0));
                let (at, state, lease) = open.entry(epoch).or_insert_with(new);
                let full =
                    state.add(&rows).unwrap_or_else(|e| fail(Failure::Bug(format!("cannot write Parquet: {e}"))));
                if let Some(file) = full {
                    output.session(at).give(staged_soon(file));
                }
                lease.set(state.bytes());
            });
            while let Some(entry) = open.first_entry() {
                if frontier.less_equal(entry.key()) {
                    break;
                }
                let (at, state, _lease) = entry.remove();
                let last = state.end().unwrap_or_else(|e| fail(Failure::Bug(format!("cannot write Parquet: {e}"))));
                if let Some(file) = last {
                    output.session(&at).give(staged_soon(file));
                }
            }
        }
    })
}

/// How to begin a file of a target, in one epoch.
pub struct Files {
    schema: SchemaRef,
    properties: WriterProperties,
    file_bytes: usize,
    /// What the codecs of all columns hold.
    codecs: u64,
}

impl Files {
    /// A column of a type that cannot be loaded, which the plan has refused already, ends the process.
    pub fn new(target: &Target, epoch: Time, options: &EncodeOptions) -> Files {
        let fields = target.columns.at(epoch).iter().map(|column| match arrow_type(&column.kind) {
            // Optional even where the table says NOT NULL: the schema of a file does not depend on the table's constraints.
            Some(kind) => Field::new(&column.name, kind, true),
            None => fail(Failure::Bug(format!("column {} of type {} cannot be loaded", column.name, column.kind))),
        });
        Files::of(Arc::new(Schema::new(fields.collect::<Vec<_>>())), options)
    }

    fn of(schema: SchemaRef, options: &EncodeOptions) -> Files {
        let compression = match options.compression {
            Compression::Zstd => ParquetCompression::ZSTD(ZstdLevel::try_new(1).unwrap_or_default()),
            Compression::Snappy => ParquetCompression::SNAPPY,
            Compression::None => ParquetCompression::UNCOMPRESSED,
        };
        // Page version 1: what Redshift is known to read.
        let properties = WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .set_compression(compression)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_data_page_size_limit(options.page_bytes)
            .set_dictionary_page_size_limit(options.page_bytes)
            .set_created_by("tidegate".into())
            .build();
        let codecs = schema.fields().len() as u64 * codec_bytes(options.compression);
        Files { schema, properties, file_bytes: options.file_bytes, codecs }
    }

    fn begin(&self) -> Result<ArrowWriter<Vec<u8>>, ParquetError> {
        let options = ArrowWriterOptions::new().with_properties(self.properties.clone()).with_skip_arrow_metadata(true);
        ArrowWriter::try_new_with_options(Vec::new(), self.schema.clone(), options)
    }
}

/// What one epoch has so far. The pure core of encode.
pub struct EpochFiles {
    files: Files,
    writer: Option<ArrowWriter<Vec<u8>>>,
    rows_in_file: u64,
    records_in_file: Tally,
}

impl EpochFiles {
    /// Nothing yet.
    pub fn new(files: Files) -> EpochFiles {
        EpochFiles { files, writer: None, rows_in_file: 0, records_in_file: Tally::default() }
    }

    /// Adds a batch; gives the file if it is full.
    pub fn add(&mut self, rows: &Fitted) -> Result<Option<Encoded>, ParquetError> {
        let batch = RecordBatch::try_new(self.files.schema.clone(), rows.columns.clone())?;
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => self.writer.insert(self.files.begin()?),
        };
        writer.write(&batch)?;
        self.rows_in_file += batch.num_rows() as u64;
        self.records_in_file.add(Tally::of(rows.records.iter()));
        if writer.bytes_written() + writer.in_progress_size() < self.files.file_bytes {
            return Ok(None);
        }
        self.close_file()
    }

    fn close_file(&mut self) -> Result<Option<Encoded>, ParquetError> {
        let Some(writer) = self.writer.take() else { return Ok(None) };
        let (rows, records) = (std::mem::take(&mut self.rows_in_file), std::mem::take(&mut self.records_in_file));
        let mut body = writer.into_inner()?;
        body.shrink_to_fit(); // it has grown by doubling, and may wait for S3
        Ok(Some(Encoded { body: body.into(), rows, records, lease: None }))
    }

    /// How many bytes it holds.
    fn bytes(&self) -> u64 {
        let codecs = self.files.codecs;
        self.writer.as_ref().map_or(0, |writer| (writer.memory_size() + writer.bytes_written()) as u64 + codecs)
    }

    /// The last file, if rows are left.
    pub fn end(mut self) -> Result<Option<Encoded>, ParquetError> {
        self.close_file()
    }
}

#[cfg(test)]
mod tests {
    use connectors::{ColumnKind, TableName, TargetColumn};
    use parquet::file::reader::{FileReader, SerializedFileReader};

    use super::*;
    use crate::rows::Records;

    fn target() -> Target {
        let column = |name: &str, kind| TargetColumn {
            name: name.into(),
            kind,
            not_null: true,
            has_default: false,
            is_identity: false,
        };
        Target {
            table: TableName { schema: "s".into(), table: "t".into() },
            columns: vec![
                column("a", ColumnKind::BigInt),
                column("b", ColumnKind::Varchar(9)),
                column("c", ColumnKind::SmallInt),
                column("d", ColumnKind::TimestampTz),
                column("e", ColumnKind::Decimal(9, 2)),
                column("f", ColumnKind::Decimal(18, 2)),
                column("g", ColumnKind::Decimal(20, 2)),
                column("h", ColumnKind::Date),
                column("i", ColumnKind::Timestamp),
                column("j", ColumnKind::Varbyte(9)),
                column("k", ColumnKind::Char(1)),
                column("l", ColumnKind::Real),
            ]
            .into(),
            ..Target::default()
        }
    }

    fn rows(count: usize) -> Fitted {
        let numbers: Vec<i64> = (0..count as i64).collect();
        let texts: Vec<String> = numbers.iter().map(|n| n.to_string()).collect();
        let decimal = |precision| -> arrow_array::ArrayRef {
            let array = arrow_array::Decimal128Array::from(vec![150; count]);
            Arc::new(array.with_precision_and_scale(precision, 2).unwrap())
        };
        let records = Records { place: vec![3; count].into(), offset: numbers.clone().into(), within: None };
        Fitted {
            columns: vec![
                Arc::new(Int64Array::from(numbers.clone())),
                Arc::new(StringArray::from(texts)),
                Arc::new(arrow_array::Int16Array::from(vec![1; count])),
                Arc::new(arrow_array::TimestampMicrosecondArray::from(numbers.clone()).with_timezone("UTC")),
                decimal(9),
                decimal(18),
                decimal(20),
                Arc::new(arrow_array::Date32Array::from(vec![1; count])),
                Arc::new(arrow_array::TimestampMicrosecondArray::from(numbers)),
                Arc::new(arrow_array::BinaryArray::from_vec(vec![b"x"; count])),
                Arc::new(StringArray::from(vec!["x"; count])),
                Arc::new(arrow_array::Float32Array::from(vec![1.5; count])),
            ],
            records,
            lease: None,
        }
    }

    #[test]
    fn files_have_exactly_the_types_that_copy_wants() {
        for compression in [Compression::Zstd, Compression::Snappy, Compression::None] {
            let options = EncodeOptions { compression, file_bytes: 1 << 20, page_bytes: 1 << 20 };
            let mut epoch = EpochFiles::new(Files::new(&target(), 7, &options));
            assert!(epoch.add(&rows(10)).unwrap().is_none());
            let Encoded { body, rows, records, .. } = epoch.end().unwrap().unwrap();
            assert_eq!((rows, records), (10, Tally::of((0..10).map(|offset| (3, offset)))));
            let reader = SerializedFileReader::new(body).unwrap();
            let mut text = Vec::new();
            parquet::schema::printer::print_schema(&mut text, reader.metadata().file_metadata().schema());
            let expected = "message arrow_schema {\n  OPTIONAL INT64 a;\n  OPTIONAL BYTE_ARRAY b (STRING);\n  OPTIONAL INT32 c (INTEGER(16,true));\n  OPTIONAL INT64 d (TIMESTAMP(MICROS,true));\n  OPTIONAL INT32 e (DECIMAL(9,2));\n  OPTIONAL INT64 f (DECIMAL(18,2));\n  OPTIONAL FIXED_LEN_BYTE_ARRAY (9) g (DECIMAL(20,2));\n  OPTIONAL INT32 h (DATE);\n  OPTIONAL INT64 i (TIMESTAMP(MICROS,false));\n  OPTIONAL BYTE_ARRAY j;\n  OPTIONAL BYTE_ARRAY k (STRING);\n  OPTIONAL FLOAT l;\n}\n";
            assert_eq!(String::from_utf8(text).unwrap(), expected);
            assert_eq!(reader.metadata().file_metadata().version(), 1);
        }
    }

    #[test]
    fn a_full_file_is_sent_and_another_begun() {
        let options = EncodeOptions { compression: Compression::None, file_bytes: 50_000, page_bytes: 1 << 20 };
        let new = || EpochFiles::new(Files::new(&target(), 7, &options));
        let mut epoch = new();
        let (mut full, mut records) = (0, Tally::default());
        for _ in 0..10 {
            if let Some(file) = epoch.add(&rows(1000)).unwrap() {
                full += file.rows;
                records.add(file.records);
            }
        }
        assert!(full > 0);
        let last = epoch.end().unwrap();
        records.add(last.as_ref().map_or(Tally::default(), |file| file.records));
        assert_eq!(full + last.map_or(0, |file| file.rows), 10_000);
        let mut expected = Tally::default();
        (0..10).for_each(|_| expected.add(Tally::of((0..1000).map(|offset| (3, offset)))));
        assert_eq!(records, expected, "each file has the records of its own rows");
        assert!(new().end().unwrap().is_none(), "without rows there is no file");
    }
}
