//! From arrays to an array: how the rows of a call are gone through.

use std::{borrow::Cow, sync::Arc};

use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray, builder::StringBuilder, cast::AsArray};
use arrow_buffer::NullBuffer;

use super::kinds::TEXT_BYTES_MAX;

/// What a function does with its arguments, all of one length.
pub type Run = Arc<dyn Fn(&[ArrayRef]) -> Result<ArrayRef, String> + Send + Sync>;

/// Whether each of the rows has all values.
fn nulls(arrays: &[ArrayRef]) -> Option<NullBuffer> {
    arrays.iter().fold(None, |nulls, array| NullBuffer::union(nulls.as_ref(), array.nulls()))
}

/// A column of values, one for each row in which no argument is NULL.
pub(super) fn values<To: ArrowPrimitiveType>(
    arrays: &[ArrayRef],
    mut of: impl FnMut(usize) -> Result<Option<To::Native>, String>,
) -> Result<PrimitiveArray<To>, String> {
    let nulls = nulls(arrays);
    let rows = arrays.first().map_or(0, |array| array.len());
    let all = (0..rows).map(|row| match nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
        true => of(row),
        false => Ok(None),
    });
    all.collect()
}

/// A column of texts, one for each row in which no argument is NULL.
pub(super) fn texts<'a>(
    arrays: &'a [ArrayRef],
    mut of: impl FnMut(usize) -> Result<Option<Cow<'a, str>>, String>,
) -> Result<ArrayRef, String> {
    let nulls = nulls(arrays);
    let rows = arrays.first().map_or(0, |array| array.len());
    let mut built = StringBuilder::with_capacity(rows, rows * 16);
    for row in 0..rows {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            built.append_null();
            continue;
        }
        let text = of(row)?;
        if let Some(text) = &text
            && text.len() > TEXT_BYTES_MAX as usize
        {
            return Err(format!("a text longer than any in Redshift: {} bytes", text.len()));
        }
        built.append_option(text);
    }
    Ok(Arc::new(built.finish()))
}

/// The text of an argument that was compiled as text.
pub(super) fn text_of(array: &ArrayRef, row: usize) -> &str {
    array.as_string::<i32>().value(row)
}

/// The number of an argument that was compiled as a whole number.
pub(super) fn integer_of(array: &ArrayRef, row: usize) -> i64 {
    array.as_primitive::<arrow_array::types::Int64Type>().value(row)
}
