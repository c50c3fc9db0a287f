//! What two plans differ in, by stream, column, target and query: text of [`super::text`] in, words out.
//!
//! The older text may be that of another release. What this program does not know it compares all the same, under the name that it has
//! there; what only the older form or only the newer one can say is no change.

use std::{collections::BTreeMap, fmt};

use operators::values::path::{Path, Segment};
use serde_json::{Map, Value};

/// One thing that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Of what: `stream clicks`, `target shop.drift`, or `the plan`.
    pub part: String,
    /// What: `query changed`.
    pub what: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.part, self.what)
    }
}

/// A plan as a document.
struct Document {
    format: String,
    parts: BTreeMap<String, Map<String, Value>>,
}

impl Document {
    /// `None` if it is not one.
    fn parse(text: &str) -> Option<Document> {
        let document: Value = serde_json::from_str(text).ok()?;
        let parts = document["parts"].as_array()?.iter();
        let part = |part: &Value| Some((part["part"].as_str()?.to_string(), part["means"].as_object()?.clone()));
        Some(Document { format: document["format"].as_str()?.into(), parts: parts.filter_map(part).collect() })
    }
}

/// What changed from one plan to another, whose hashes differ; in the order of the parts. Never nothing.
pub fn changes(before: &str, now: &str) -> Vec<Change> {
    let of_plan = |what: &str| Change { part: "the plan".into(), what: what.into() };
    let (Some(before), Some(now)) = (Document::parse(before), Document::parse(now)) else {
        return vec![of_plan("changed; what it was before is written in a form that this release does not read")];
    };
    let mut found = Vec::new();
    if before.format != now.format {
        found.push(of_plan(&format!("written as {:?} instead of {:?}", now.format, before.format)));
    }
    let mut names: Vec<&String> = before.parts.keys().chain(now.parts.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let same_format = before.format == now.format;
    for name in names {
        let whats = match (before.parts.get(name), now.parts.get(name)) {
            (Some(before), Some(now)) => of_part(before, now, same_format),
            (None, _) => vec!["added".into()],
            (_, None) => vec!["removed".into()],
        };
        found.extend(whats.into_iter().map(|what| Change { part: name.clone(), what }));
    }
    if found.is_empty() {
        found.push(of_plan("changed in something that this release does not know"));
    }
    found
}

/// What changed in a stream or a target.
fn of_part(before: &Map<String, Value>, now: &Map<String, Value>, same_format: bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut differing = differing(before, now, same_format);
    differing.sort_by_key(|(key, ..)| *key == "columns"); // what is about the whole comes first
    for (key, old, new) in differing {
        match key {
            "topics" => {
                found.extend(missing(old, new).map(|topic| format!("topic {topic} removed")));
                found.extend(missing(new, old).map(|topic| format!("topic {topic} added")));
            }
            "columns" => found.extend(of_columns(old, new, same_format)),
            "query" => found.push("query changed".into()),
            _ => found.push(changed(key, old, new, "none")),
        }
    }
    found
}

/// The keys whose values differ, those of the newer one first. Between two formats what only one of them has is no difference.
fn differing<'v>(
    before: &'v Map<String, Value>,
    now: &'v Map<String, Value>,
    same_format: bool,
) -> Vec<(&'v str, &'v Value, &'v Value)> {
    let keys = now.keys().chain(before.keys().filter(|key| !now.contains_key(*key)));
    let values = keys.map(|key| (key.as_str(), value(before, key), value(now, key)));
    let in_both = |key: &str| before.contains_key(key) && now.contains_key(key);
    values.filter(|(key, old, new)| old != new && (same_format || in_both(key))).collect()
}

fn value<'v>(object: &'v Map<String, Value>, key: &str) -> &'v Value {
    object.get(key).unwrap_or(&Value::Null)
}

/// The texts of a list that are not in another.
fn missing<'v>(list: &'v Value, other: &'v Value) -> impl Iterator<Item = &'v str> {
    let items = |value: &'v Value| value.as_array().map_or(&[][..], Vec::as_slice);
    let others = items(other);
    items(list).iter().filter(move |item| !others.contains(item)).filter_map(Value::as_str)
}

/// What changed in the columns of a part.
fn of_columns(before: &Value, now: &Value, same_format: bool) -> Vec<String> {
    let columns = |value| -> Vec<(&str, &Map<String, Value>)> {
        let list = Value::as_array(value).map_or(&[][..], Vec::as_slice);
        list.iter().filter_map(|column| Some((column["name"].as_str()?, column.as_object()?))).collect()
    };
    let (before, now) = (columns(before), columns(now));
    let find = |columns: &[(&str, _)], wanted: &str| columns.iter().position(|(name, _)| *name == wanted);
    let mut found = Vec::new();
    let mut places = Vec::new();
    for (name, new) in &now {
        match find(&before, name) {
            None => found.push(format!("column {name} added")),
            Some(place) => {
                places.push(place);
                found.extend(
                    of_column(before[place].1, new, same_format)
                        .into_iter()
                        .map(|what| format!("column {name}: {what}")),
                );
            }
        }
    }
    let gone = before.iter().filter(|(name, _)| find(&now, name).is_none());
    found.extend(gone.map(|(name, _)| format!("column {name} removed")));
    if !places.is_sorted() {
        found.push("columns in another order".into());
    }
    found
}

/// What changed in one column.
fn of_column(before: &Map<String, Value>, now: &Map<String, Value>, same_format: bool) -> Vec<String> {
    let mut found = Vec::new();
    let empty = Map::new();
    for (key, old, new) in differing(before, now, same_format) {
        match key {
            "from" => found.push(changed("type of the query", old, new, "none")),
            // What is done with values that do not fit, each kind by itself.
            "on" | "read" => {
                let inner = |value: &'_ Value| value.as_object().cloned().unwrap_or_else(|| empty.clone());
                let (old, new) = (inner(old), inner(new));
                found.extend(differing(&old, &new, same_format).into_iter().map(|(inner, old, new)| {
                    match (key, inner) {
                        ("on", _) => changed(&format!("on {inner}"), old, new, "reject"),
                        (_, "any_case") => changed("keys", &case(old), &case(new), "exact"),
                        (_, "strict") => changed(inner, old, new, "false"),
                        _ => changed(inner, old, new, "none"),
                    }
                }));
            }
            "not_null" => found.push(match new {
                Value::Bool(true) => "now NOT NULL in the table".into(),
                _ => "NOT NULL in the table no longer".into(),
            }),
            _ => found.push(changed(key, old, new, "none")),
        }
    }
    found
}

fn case(any: &Value) -> Value {
    if *any == Value::Bool(true) { "ignore-case".into() } else { Value::Null }
}

/// That something changed, and from what to what where that is short. `absent` is what it means that nothing is said.
fn changed(what: &str, old: &Value, new: &Value, absent: &str) -> String {
    let short = |value: &Value| match value {
        Value::Null => Some(absent.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(steps) if what == "path" => path(steps),
        _ => None,
    };
    match (short(old), short(new)) {
        (Some(old), Some(new)) => format!("{what} changed from {old} to {new}"),
        _ => format!("{what} changed"),
    }
}

/// A path as the job file has it.
fn path(steps: &[Value]) -> Option<String> {
    let step = |step: &Value| match step {
        Value::String(key) => Some(Segment::Key(key.clone())),
        Value::Number(item) => Some(Segment::Item(item.as_u64()? as usize)),
        _ => None,
    };
    Some(Path(steps.iter().map(step).collect::<Option<_>>()?).to_string())
}

#[cfg(test)]
#[path = "changes_tests.rs"]
mod tests;
