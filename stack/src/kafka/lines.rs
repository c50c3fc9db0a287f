//! Lines of text as records, in the form of kcat's producer: a key before a separator, an empty value as a tombstone.

use std::io::BufRead;

use rdkafka::error::KafkaError;

use super::topics::{Record, Sender, Topic};
use crate::error::{Result, StackError};

/// What a line says, and what is said of all of them.
#[derive(Clone, Debug, Default)]
pub struct Form {
    /// What stands between a key and its value; without it a line is a value.
    pub key_separator: Option<String>,
    /// Whether an empty value is a tombstone, and an empty key none.
    pub empty_is_null: bool,
    /// Headers of each record.
    pub headers: Vec<(String, String)>,
    /// The partition of each record.
    pub partition: Option<i32>,
    /// The timestamp of each record, in ms since 1970.
    pub timestamp_ms: Option<i64>,
}

impl Form {
    /// The record of a line, which is any bytes without the line's end.
    fn record(&self, line: &[u8]) -> Result<Record, String> {
        let (key, value) = match &self.key_separator {
            None => (None, line),
            Some(separator) => {
                let at = line.windows(separator.len()).position(|part| part == separator.as_bytes());
                let Some(at) = at else {
                    let line = String::from_utf8_lossy(line);
                    let shown: String = line.chars().take(60).collect();
                    return Err(format!("no {separator:?} in {shown:?}, and a key ends with it (--key-separator)"));
                };
                (Some(&line[..at]), &line[at + separator.len()..])
            }
        };
        let there = |bytes: &&[u8]| !(self.empty_is_null && bytes.is_empty());
        let Form { headers, partition, timestamp_ms, .. } = self.clone();
        let (key, value) = (key.filter(there).map(<[u8]>::to_vec), Some(value).filter(there).map(<[u8]>::to_vec));
        Ok(Record { key, value, headers, partition, timestamp_ms })
    }
}

/// Sends each line as a record. How many.
///
/// # Errors
/// The first line that is not a record, or that Kafka refuses, with its number. What came before it is sent.
pub fn produce(brokers: &str, topic: &Topic, form: &Form, mut lines: impl BufRead) -> Result<u64> {
    let mut sender = Sender::new(brokers, topic)?;
    let mut sent = 0;
    let (mut line, mut stopped) = (Vec::new(), None);
    while stopped.is_none() && lines.read_until(b'\n', &mut line).map_err(StackError::io("read a line"))? > 0 {
        let record = form.record(line.strip_suffix(b"\n").unwrap_or(&line));
        stopped = record.and_then(|record| sender.send_patiently(&record).map_err(|e| refused(&e))).err();
        sent += u64::from(stopped.is_none());
        line.clear();
    }
    // Whatever is wrong with a line, those before it are waited for.
    match (sender.finish(), stopped) {
        (Err((before, error)), _) => Err(StackError::Line { number: before + 1, why: refused(&error), sent: before }),
        (Ok(_), Some(why)) => Err(StackError::Line { number: sent + 1, why, sent }),
        (Ok(sent), None) => Ok(sent),
    }
}

fn refused(error: &KafkaError) -> String {
    format!("Kafka refused it: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_record() {
        let some = |text: &str| Some(text.as_bytes().to_vec());
        let keyed = Form { key_separator: Some(":".into()), ..Form::default() };
        let null = Form { empty_is_null: true, ..keyed.clone() };
        for (form, line, key, value) in [
            (&Form::default(), "a:1", None, some("a:1")),
            (&Form::default(), "", None, some("")),
            (&keyed, "a:1:2", some("a"), some("1:2")),
            (&keyed, ":1", some(""), some("1")),
            (&keyed, "a:", some("a"), some("")),
            (&null, "a:", some("a"), None),
            (&null, ":1", None, some("1")),
            (&Form { key_separator: Some("=>".into()), ..Form::default() }, "a=>b", some("a"), some("b")),
        ] {
            assert_eq!(form.record(line.as_bytes()), Ok(Record { key, value, ..Record::default() }), "{line}");
        }
        assert_eq!(Form::default().record(b"\xff\r").unwrap().value, Some(b"\xff\r".to_vec()), "any bytes");
        let refused = keyed.record(b"a 1").unwrap_err();
        assert_eq!(refused, r#"no ":" in "a 1", and a key ends with it (--key-separator)"#);
    }
}
