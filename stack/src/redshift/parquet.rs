//! Parquet to rows, by position and by strict physical type, as Spectrum reads it.

use std::io::Write;

use arrow_array::{Array, RecordBatch, cast::AsArray, types::*};
use bytes::Bytes;
use parquet::{
    arrow::arrow_reader::ParquetRecordBatchReaderBuilder,
    basic::{LogicalType, TimeUnit, Type as Physical},
    schema::types::ColumnDescriptor,
};

use super::errors::SqlError;
use crate::hex::hex;

/// A column of the table that COPY fills, in the order of the files.
pub(super) struct Column {
    pub(super) name: String,
    /// As `format_type` spells it.
    pub(super) kind: String,
}

const SCAN_ERROR: &str = "Spectrum Scan Error";
const NO_MATCH: u32 = 15007;

/// A whole file as PostgreSQL's COPY text.
pub(super) fn to_text(key: &str, body: Bytes, columns: &[Column]) -> Result<Vec<u8>, SqlError> {
    let unreadable = |e: &dyn std::fmt::Display| SqlError::internal(SCAN_ERROR, 15001, format!("{key}: {e}"));
    let builder = ParquetRecordBatchReaderBuilder::try_new(body).map_err(|e| unreadable(&e))?;
    let schema = builder.parquet_schema();
    let in_file = schema.num_columns();
    if in_file != columns.len() {
        let context = format!(
            "Unmatched number of columns between table and file. Table columns: {}, Data columns: {in_file}, File name: {key}",
            columns.len()
        );
        return Err(SqlError::internal(SCAN_ERROR, NO_MATCH, context));
    }
    for (i, column) in columns.iter().enumerate() {
        fits(key, column, &schema.column(i))?;
    }
    let reader = builder.with_batch_size(8192).build().map_err(|e| unreadable(&e))?;
    let mut text = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|e| unreadable(&e))?;
        write_rows(&batch, columns, &mut text)?;
    }
    Ok(text)
}

/// Whether a file's column may be loaded into a column of the table: the physical type must be the one, without widening.
fn fits(key: &str, column: &Column, file: &ColumnDescriptor) -> Result<(), SqlError> {
    let (physical, logical) = (file.physical_type(), file.logical_type_ref());
    let int = |bits: i8| matches!(logical, Some(LogicalType::Integer(i)) if i.bit_width == bits && i.is_signed);
    let micros = |utc: bool| matches!(logical, Some(LogicalType::Timestamp(t)) if t.unit == TimeUnit::MICROS && t.is_adjusted_to_u_t_c == utc);
    let kind = column.kind.split('(').next().unwrap_or_default().trim();
    let zoned = column.kind.ends_with("with time zone");
    let good = match kind {
        "smallint" => physical == Physical::INT32 && int(16),
        "integer" => physical == Physical::INT32 && (logical.is_none() || int(32)),
        "bigint" => physical == Physical::INT64 && (logical.is_none() || int(64)),
        "real" => physical == Physical::FLOAT,
        "double precision" => physical == Physical::DOUBLE,
        "boolean" => physical == Physical::BOOLEAN,
        "date" => physical == Physical::INT32 && matches!(logical, Some(LogicalType::Date)),
        "numeric" => return decimal_fits(key, column, file),
        "character" => physical == Physical::BYTE_ARRAY && matches!(logical, Some(LogicalType::String)),
        "varbyte" => physical == Physical::BYTE_ARRAY && logical.is_none(),
        "character varying" => physical == Physical::BYTE_ARRAY && matches!(logical, Some(LogicalType::String)),
        _ if column.kind.starts_with("timestamp") => physical == Physical::INT64 && micros(zoned),
        _ => return Err(SqlError::not_played(format!("COPY into column {} of type {}", column.name, column.kind))),
    };
    if good {
        return Ok(());
    }
    Err(incompatible(key, column, file))
}

fn incompatible(key: &str, column: &Column, file: &ColumnDescriptor) -> SqlError {
    let context = format!(
        "File '{key}' has an incompatible Parquet schema for column '{}'. Column type: {}, Parquet schema: {:?} {:?}",
        column.name,
        column.kind.to_uppercase(),
        file.physical_type(),
        file.logical_type_ref()
    );
    SqlError::internal(SCAN_ERROR, NO_MATCH, context)
}

/// A decimal must have the column's precision and scale, and the smallest form that holds it; what a fixed length that is
/// another is called is measured, the rest follows from the same reader's checks.
fn decimal_fits(key: &str, column: &Column, file: &ColumnDescriptor) -> Result<(), SqlError> {
    let inside = column.kind.trim_start_matches("numeric(").trim_end_matches(')');
    let (precision, scale) = inside.split_once(',').unwrap_or((inside, "0"));
    let (precision, scale): (i32, i32) = (precision.trim().parse().unwrap_or(0), scale.trim().parse().unwrap_or(0));
    match file.logical_type_ref() {
        Some(LogicalType::Decimal(d)) if d.precision == precision && d.scale == scale => {}
        _ => return Err(incompatible(key, column, file)),
    }
    // Bytes of the least two's complement number that holds so many digits.
    let bytes = (1..=16).find(|bytes| (8.0 * f64::from(*bytes) - 1.0) * 2f64.log10() >= f64::from(precision));
    match file.physical_type() {
        Physical::INT32 if precision <= 9 => Ok(()),
        Physical::INT64 if precision <= 18 => Ok(()),
        Physical::FIXED_LEN_BYTE_ARRAY if Some(file.type_length()) == bytes => Ok(()),
        Physical::FIXED_LEN_BYTE_ARRAY => {
            let context = format!(
                "column '{}' has an invalid type length. Expecting: {} len in file: {}",
                column.name,
                bytes.unwrap_or(0),
                file.type_length()
            );
            Err(SqlError::internal(SCAN_ERROR, 15001, context))
        }
        _ => Err(incompatible(key, column, file)),
    }
}

/// The length that a text or bytes column allows, in bytes.
fn limit(column: &Column) -> Option<usize> {
    let (kind, rest) = column.kind.split_once('(')?;
    ["character varying", "character", "varbyte"].contains(&kind).then(|| rest.strip_suffix(')')?.parse().ok())?
}

fn write_rows(batch: &RecordBatch, columns: &[Column], out: &mut Vec<u8>) -> Result<(), SqlError> {
    let limits: Vec<Option<usize>> = columns.iter().map(limit).collect();
    for row in 0..batch.num_rows() {
        for (i, column) in columns.iter().enumerate() {
            if i > 0 {
                out.push(b'\t');
            }
            let array = batch.column(i);
            if array.is_null(row) {
                out.extend_from_slice(b"\\N");
                continue;
            }
            write_value(array.as_ref(), row, column, limits[i], out)?;
        }
        out.push(b'\n');
    }
    Ok(())
}

fn write_value(
    array: &dyn Array,
    row: usize,
    column: &Column,
    limit: Option<usize>,
    out: &mut Vec<u8>,
) -> Result<(), SqlError> {
    use arrow_schema::DataType;
    let written = match array.data_type() {
        DataType::Int16 => write!(out, "{}", array.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => write!(out, "{}", array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => write!(out, "{}", array.as_primitive::<Int64Type>().value(row)),
        DataType::Float32 => write!(out, "{}", array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => write!(out, "{}", array.as_primitive::<Float64Type>().value(row)),
        DataType::Boolean => write!(out, "{}", array.as_boolean().value(row)),
        DataType::Date32 => {
            write_date(i64::from(array.as_primitive::<Date32Type>().value(row)), out);
            Ok(())
        }
        DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, zone) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            write_date(micros.div_euclid(86_400_000_000), out);
            let rest = micros.rem_euclid(86_400_000_000);
            let (seconds, fraction) = (rest / 1_000_000, rest % 1_000_000);
            let zone = if zone.is_some() { "+00" } else { "" };
            write!(out, " {:02}:{:02}:{:02}.{fraction:06}{zone}", seconds / 3600, seconds / 60 % 60, seconds % 60)
        }
        DataType::Decimal128(..) => {
            write!(out, "{}", array.as_primitive::<Decimal128Type>().value_as_string(row))
        }
        DataType::Binary => {
            let bytes = array.as_binary::<i32>().value(row);
            too_long(column, limit, bytes.len())?;
            out.extend_from_slice(b"\\\\x");
            out.extend_from_slice(hex(bytes).as_bytes());
            Ok(())
        }
        DataType::Utf8 => {
            let text = array.as_string::<i32>().value(row);
            too_long(column, limit, text.len())?;
            if text.contains('\0') || (column.kind.starts_with("character(") && !text.is_ascii()) {
                let context = format!("column {}: a character that the type does not take", column.name);
                return Err(SqlError::internal(SCAN_ERROR, NO_MATCH, context));
            }
            write_text(text.as_bytes(), out);
            Ok(())
        }
        other => return Err(SqlError::not_played(format!("Parquet column {} of type {other}", column.name))),
    };
    written.map_err(|e| SqlError::internal(SCAN_ERROR, 15001, e.to_string()))
}

fn too_long(column: &Column, limit: Option<usize>, length: usize) -> Result<(), SqlError> {
    let Some(limit) = limit.filter(|limit| length > *limit) else { return Ok(()) };
    let context = format!(
        "The length of the data column {} is longer than the length defined in the table. Table: {limit}, Data: {length}",
        column.name
    );
    Err(SqlError::internal(SCAN_ERROR, NO_MATCH, context))
}

/// Years before 1 are out of the range of both systems, so PostgreSQL refuses what this writes for them.
fn write_date(days: i64, out: &mut Vec<u8>) {
    // Days to civil by Howard Hinnant's algorithm.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let _ = write!(out, "{year:04}-{month:02}-{day:02}"); // a Vec takes all
}

fn write_text(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => out.push(*byte),
        }
    }
}
