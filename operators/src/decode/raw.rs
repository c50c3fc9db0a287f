//! A record's bytes as they are, in the one column of the stream.

use connectors::ColumnKind;

use super::columns::{BadRecord, Builders, Value};
use crate::{schema::SourceColumn, values::path::Segment};

/// Decodes records of one stream.
pub struct Decoder {
    /// Whether the column takes text; else it takes bytes.
    is_text: bool,
}

impl Decoder {
    /// For this column, which [`check`] has seen.
    pub fn new(columns: &[SourceColumn]) -> Decoder {
        Decoder { is_text: columns.iter().any(|column| !matches!(column.kind, ColumnKind::Varbyte(_))) }
    }

    /// Decodes one record into one row. When it fails the row is taken back.
    pub fn decode(&mut self, record: &[u8], builders: &mut Builders) -> Result<(), BadRecord> {
        let set = match self.is_text {
            false => builders.set(0, Value::Bytes(record)),
            true => match std::str::from_utf8(record) {
                Ok(text) => builders.set(0, Value::Text(text)),
                Err(e) => return Err(BadRecord::new(format!("not UTF-8: at byte {}", e.valid_up_to()))),
            },
        };
        match set {
            Ok(()) => {
                builders.end_row();
                Ok(())
            }
            Err(problem) => {
                builders.roll_back();
                Err(BadRecord { column: Some(0), reason: problem.reason() })
            }
        }
    }
}

/// Whether a stream of this format can have these columns, or why not.
pub fn check(columns: &[SourceColumn]) -> Result<(), String> {
    let [column] = columns else {
        return Err(format!("a stream of format \"raw\" has one column, not {}", columns.len()));
    };
    let has_path = !matches!(column.path.0.as_slice(), [Segment::Key(key)] if key.eq_ignore_ascii_case(&column.name));
    if has_path {
        return Err(format!("column {} of format \"raw\" has a path, and the record has no parts", column.name));
    }
    match column.kind {
        ColumnKind::Char(_) | ColumnKind::Varchar(_) | ColumnKind::Varbyte(_) => Ok(()),
        _ => Err(format!(
            "column {} of format \"raw\" is {}; it must be char, varchar or varbyte",
            column.name, column.kind
        )),
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Array, cast::AsArray};

    use super::*;
    use crate::values::{Action, Policy, path::Path};

    fn decoded(column: SourceColumn, records: &[&[u8]]) -> (arrow_array::ArrayRef, u64, Vec<String>) {
        let columns = [column];
        let (mut decoder, mut builders) = (Decoder::new(&columns), Builders::new(&columns));
        let failed = records.iter().filter_map(|record| decoder.decode(record, &mut builders).err());
        let failed = failed.map(|error| error.reason).collect();
        let (mut arrays, changed) = builders.finish();
        (arrays.remove(0), changed[0], failed)
    }

    #[test]
    fn text_is_text_and_bytes_are_bytes() {
        let records: [&[u8]; 5] = [b"a", b"", b"\xff", b"toolong", b"no json {"];
        let column = SourceColumn::new("body", ColumnKind::Varchar(9));
        let (texts, changed, failed) = decoded(column, &records);
        let texts: Vec<_> = texts.as_string::<i32>().iter().collect();
        assert_eq!(texts, [Some("a"), Some(""), Some("toolong"), Some("no json {")]);
        assert_eq!((changed, failed), (0, vec!["not UTF-8: at byte 0".to_string()]));

        let (bytes, _, failed) = decoded(SourceColumn::new("body", ColumnKind::Varbyte(3)), &records);
        let bytes: Vec<_> = bytes.as_binary::<i32>().iter().collect();
        assert_eq!(bytes, [Some(&b"a"[..]), Some(b""), Some(b"\xff")]);
        assert_eq!(failed, ["longer than varbyte(3): 7 bytes", "longer than varbyte(3): 9 bytes"]);

        let policy = Policy { long: Action::Truncate, ..Policy::default() };
        let column = SourceColumn { policy, ..SourceColumn::new("body", ColumnKind::Varbyte(3)) };
        let (bytes, changed, failed) = decoded(column, &records);
        assert_eq!(bytes.as_binary::<i32>().value(3), b"too");
        assert_eq!((bytes.len(), changed, failed.len()), (5, 2, 0));
    }

    #[test]
    fn other_columns_are_refused() {
        let column = |kind| SourceColumn::new("body", kind);
        assert_eq!(check(&[column(ColumnKind::Char(5))]), Ok(()));
        assert_eq!(
            check(&[column(ColumnKind::BigInt)]).unwrap_err(),
            "column body of format \"raw\" is bigint; it must be char, varchar or varbyte"
        );
        let two = [column(ColumnKind::Varchar(5)), column(ColumnKind::Varchar(5))];
        assert_eq!(check(&two).unwrap_err(), "a stream of format \"raw\" has one column, not 2");
        let inside = SourceColumn { path: Path::parse("a.b").unwrap(), ..column(ColumnKind::Char(5)) };
        assert_eq!(
            check(&[inside]).unwrap_err(),
            "column body of format \"raw\" has a path, and the record has no parts"
        );
        assert!(check(&[]).is_err());
    }
}
