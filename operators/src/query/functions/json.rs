//! Functions on JSON in text, by the rules of decode.

use std::{borrow::Cow, sync::Arc};

use arrow_array::{Array, BooleanArray, cast::AsArray};
use connectors::ColumnKind;

use super::{
    arguments::{Arguments, Function},
    kinds::TEXT,
    run::{Run, text_of, texts},
    typed::{Typed, call},
};
use crate::values::{json, path::Segment};

/// The functions on JSON.
pub const FUNCTIONS: &[Function] = &[
    Function { names: &["is_valid_json"], form: "is_valid_json(text)", compile: is_valid_json },
    Function {
        names: &["json_extract_path_text"],
        form: "json_extract_path_text(text, 'key' [, 'key' ...] [, null_if_invalid])",
        compile: extract,
    },
];

/// Redshift says true of objects alone here; arrays have a function of their own.
fn is_valid_json(arguments: Arguments) -> Result<Typed, String> {
    arguments.count(1..=1)?;
    let run: Run = Arc::new(|arrays| {
        let all = arrays[0].as_string::<i32>();
        let object = |text: &str| text.trim_start().starts_with('{') && json::is_json(text);
        let bits = (0..all.len()).map(|row| all.is_valid(row).then(|| object(all.value(row))));
        Ok(Arc::new(BooleanArray::from_iter(bits)))
    });
    Ok(call("is_valid_json", vec![arguments.text(0)?], ColumnKind::Boolean, run))
}

/// How deep a path may go, as in Redshift.
const PATH_STEPS_MAX: usize = 5;

fn extract(mut arguments: Arguments) -> Result<Typed, String> {
    let null_if_invalid = arguments.last_word().unwrap_or(false);
    arguments.count(2..=PATH_STEPS_MAX + 1)?;
    let keys = (1..arguments.len()).map(|i| arguments.quoted(i).map(|key| Segment::Key(key.into())));
    let path: Vec<Segment> = keys.collect::<Result<_, _>>()?;
    let name = format!("json_extract_path_text {path:?} {null_if_invalid}");
    let run: Run = Arc::new(move |arrays| {
        texts(arrays, |row| match json::find(text_of(&arrays[0], row), &path) {
            Ok(None | Some("null")) => Ok(None),
            Ok(Some(found)) if found.starts_with('"') => json::unquote(found).map(|text| Some(Cow::Owned(text))),
            Ok(Some(found)) => Ok(Some(Cow::Borrowed(found))),
            Err(_) if null_if_invalid => Ok(None),
            Err(reason) => Err(reason),
        })
    });
    Ok(call(name, vec![arguments.text(0)?], TEXT, run))
}
