//! JSON text to columns, in one pass, without a tree ([`crate::values::json`] has the grammar).
//!
//! The declared columns drive it: their paths make a tree of what is wanted, and the record is read along it. A key that
//! leads nowhere is skipped, but not unread: text that is not JSON is refused also inside a value that nobody asked for. Of
//! a key that stands twice in one object the later counts, with all that is below it.
//!
//! Records of one topic have their keys in one order, mostly. So each node remembers which key followed which, and that
//! one is tried first; the search by name is for the rest.

use super::columns::{BadRecord, Builders, Value};
use crate::{
    schema::SourceColumn,
    values::{json::Text, path::Segment},
};

/// Decodes records of one stream.
pub struct Decoder {
    /// What is wanted of a record; the first is the record itself.
    nodes: Vec<Node>,
    /// Room for text with escapes.
    unescaped: String,
    /// Whether keys match in any case.
    any_case: bool,
    /// The columns of the record under way that a value was refused for, and why. A key may stand twice, and the later one counts.
    refused: Vec<(usize, String)>,
}

/// A record may have any keys, so a stream may have any columns.
pub fn check(_columns: &[SourceColumn]) -> Result<(), String> {
    Ok(())
}

/// What is wanted of a value, and of what is below it.
#[derive(Default)]
struct Node {
    /// The columns that want the value itself.
    columns: Vec<usize>,
    /// The keys that lead on, and the node of each.
    keys: Vec<(Box<[u8]>, usize)>,
    /// The places of an array that lead on, in order, and the node of each.
    items: Vec<(usize, usize)>,
    /// `follows[i]` is the key that came after key `i - 1` last time; `follows[0]` the first one.
    follows: Vec<usize>,
    /// All columns of the nodes below.
    below: Vec<usize>,
}

impl Decoder {
    /// A decoder for these columns.
    pub fn new(columns: &[SourceColumn]) -> Decoder {
        let mut nodes = vec![Node::default()];
        let any_case = columns.iter().any(|column| column.reading.any_case);
        for (column, declared) in columns.iter().enumerate() {
            let mut at = 0;
            for step in &declared.path.0 {
                nodes[at].below.push(column);
                at = child(&mut nodes, at, step, any_case);
            }
            nodes[at].columns.push(column);
        }
        for node in &mut nodes {
            node.follows = (0..=node.keys.len()).collect();
            node.items.sort_unstable();
        }
        Decoder { nodes, unescaped: String::new(), any_case, refused: Vec::new() }
    }

    /// Decodes one record into one row. When it fails the row is taken back.
    pub fn decode(&mut self, record: &[u8], builders: &mut Builders) -> Result<(), BadRecord> {
        let result = match std::str::from_utf8(record) {
            Ok(text) => {
                self.refused.clear();
                self.record(Text::new(text), builders)
            }
            Err(e) => Err(BadRecord::new(format!("not UTF-8: at byte {}", e.valid_up_to()))),
        };
        match result {
            Ok(()) => builders.end_row(),
            Err(_) => builders.roll_back(),
        }
        result
    }

    fn record(&mut self, mut text: Text<'_>, builders: &mut Builders) -> Result<(), BadRecord> {
        text.blanks();
        if text.peek() != Some(b'{') {
            return Err(BadRecord::new("the record is not a JSON object"));
        }
        self.object(0, &mut text, builders)?;
        text.end()?;
        match self.refused.iter().position(|(column, _)| !builders.is_set(*column)) {
            None => Ok(()),
            Some(first) => {
                let (column, reason) = self.refused.swap_remove(first);
                Err(BadRecord { column: Some(column), reason })
            }
        }
    }

    /// An object of which something below is wanted; its bracket is next.
    fn object(&mut self, node: usize, text: &mut Text<'_>, builders: &mut Builders) -> Result<(), BadRecord> {
        text.enter()?;
        if text.leave(b'}') {
            return Ok(());
        }
        let mut place = 0; // after the key that came last; 0 at the beginning
        loop {
            let key = self.key(node, text, place)?;
            text.blanks();
            text.expect(b':')?;
            text.blanks();
            match key {
                Some(key) => {
                    self.value(self.nodes[node].keys[key].1, text, builders)?;
                    self.nodes[node].follows[place] = key;
                    place = key + 1;
                }
                None => text.skip_unread()?,
            }
            text.blanks();
            if text.leave(b'}') {
                return Ok(());
            }
            text.expect(b',')?;
            text.blanks();
        }
    }

    /// An array of which an element is wanted; its bracket is next.
    fn array(&mut self, node: usize, text: &mut Text<'_>, builders: &mut Builders) -> Result<(), BadRecord> {
        let (mut place, mut next) = (0, 0);
        text.skip_all(b']', |text| {
            let wanted = self.nodes[node].items.get(next).filter(|(item, _)| *item == place).map(|(_, child)| *child);
            place += 1;
            match wanted {
                Some(child) => {
                    next += 1;
                    self.value(child, text, builders)
                }
                None => Ok(text.skip_unread()?),
            }
        })
    }

    /// Which of the node's keys stands here, if any.
    #[inline]
    fn key(&mut self, node: usize, text: &mut Text<'_>, place: usize) -> Result<Option<usize>, BadRecord> {
        let Node { keys, follows, .. } = &self.nodes[node];
        let guess = follows.get(place).copied().unwrap_or(usize::MAX);
        if keys.get(guess).is_some_and(|(name, _)| is_plain(name) && text.take_key(name)) {
            return Ok(Some(guess));
        }
        text.expect(b'"')?;
        let start = text.at;
        let key = match text.string(&mut self.unescaped) {
            Ok(key) => key,
            Err(why) => {
                // Half a surrogate pair is in no key that is declared.
                text.at = start;
                return text.skip_unread_key().map(|()| None).map_err(|_| why.into());
            }
        };
        let any_case = self.any_case;
        Ok(keys.iter().position(|(name, _)| is_key(name, key, any_case)))
    }

    /// A value that is wanted, or something below it.
    #[inline]
    fn value(&mut self, node: usize, text: &mut Text<'_>, builders: &mut Builders) -> Result<(), BadRecord> {
        if !self.nodes[node].below.is_empty() {
            return self.inner(node, text, builders);
        }
        self.leaf(node, text, builders)
    }

    /// A value of which something below is wanted. Where it is not such an object or array, that is missing.
    fn inner(&mut self, node: usize, text: &mut Text<'_>, builders: &mut Builders) -> Result<(), BadRecord> {
        let start = text.at;
        let wanted = &self.nodes[node];
        // A key that stands twice: what the earlier one left below is gone.
        wanted.below.iter().for_each(|column| builders.unset(*column));
        if !self.refused.is_empty() {
            self.refused.retain(|(column, _)| !wanted.below.contains(column));
        }
        match text.peek() {
            Some(b'{') if !wanted.keys.is_empty() => self.object(node, text, builders)?,
            Some(b'[') if !wanted.items.is_empty() => self.array(node, text, builders)?,
            _ => text.skip_unread()?,
        }
        if self.nodes[node].columns.is_empty() {
            return Ok(());
        }
        // The value itself is wanted as well: read it once more.
        text.at = start;
        self.leaf(node, text, builders)
    }

    #[inline]
    fn leaf(&mut self, node: usize, text: &mut Text<'_>, builders: &mut Builders) -> Result<(), BadRecord> {
        let start = text.at;
        let value = match text.peek() {
            Some(b'"') => {
                text.at += 1;
                match text.string(&mut self.unescaped) {
                    Ok(string) => Value::Text(string),
                    Err(why) => return self.half(node, start, why, text, builders),
                }
            }
            Some(b'-' | b'0'..=b'9') => Value::Number(text.number()?),
            Some(b'{' | b'[') => {
                // It stays as it is written, and half a surrogate pair is an escape like others then.
                text.skip_unread()?;
                Value::Nested(&text.text[start..text.at])
            }
            Some(b't') => text.word("true").map(|()| Value::Boolean(true))?,
            Some(b'f') => text.word("false").map(|()| Value::Boolean(false))?,
            Some(b'n') => text.word("null").map(|()| Value::Null)?,
            _ => return Err(text.unexpected("where a value should be").into()),
        };
        for column in &self.nodes[node].columns {
            if let Err(problem) = builders.set(*column, value) {
                refuse(&mut self.refused, *column, problem.reason());
            }
        }
        Ok(())
    }

    /// A string that cannot be read: no JSON at all, or half a surrogate pair, which is JSON and no text.
    #[cold]
    fn half(
        &mut self,
        node: usize,
        start: usize,
        why: String,
        text: &mut Text<'_>,
        builders: &mut Builders,
    ) -> Result<(), BadRecord> {
        text.at = start;
        text.skip_unread().map_err(|_| why.clone())?;
        for column in &self.nodes[node].columns {
            builders.unset(*column);
            refuse(&mut self.refused, *column, why.clone());
        }
        Ok(())
    }
}

/// The value that stands here is not one of the column, which is its last word unless the key stands once more.
#[cold]
fn refuse(refused: &mut Vec<(usize, String)>, column: usize, reason: String) {
    refused.retain(|(earlier, _)| *earlier != column);
    refused.push((column, reason));
}

fn is_key(name: &[u8], key: &str, any_case: bool) -> bool {
    *name == *key.as_bytes() || any_case && name.eq_ignore_ascii_case(key.as_bytes())
}

/// Whether a key is written as it is. One that needs an escape is looked for by what the record's key says.
fn is_plain(name: &[u8]) -> bool {
    name.iter().all(|b| !matches!(b, b'"' | b'\\') && *b >= 0x20)
}

/// The node that a step leads to, made if it is not there yet.
fn child(nodes: &mut Vec<Node>, at: usize, step: &Segment, any_case: bool) -> usize {
    let new = nodes.len();
    match step {
        Segment::Key(name) => {
            if let Some((_, node)) = nodes[at].keys.iter().find(|(key, _)| is_key(key, name, any_case)) {
                return *node;
            }
            nodes[at].keys.push((name.as_bytes().into(), new));
        }
        Segment::Item(place) => {
            if let Some((_, node)) = nodes[at].items.iter().find(|(item, _)| item == place) {
                return *node;
            }
            nodes[at].items.push((*place, new));
        }
    }
    nodes.push(Node::default());
    new
}

#[cfg(test)]
mod tests {
    use arrow_array::{Array, cast::AsArray, types::Int64Type};
    use proptest::prelude::*;

    use super::*;
    use crate::values::{path::Path, reading::Reading};
    use connectors::ColumnKind;

    fn columns() -> Vec<SourceColumn> {
        [("id", ColumnKind::BigInt), ("name", ColumnKind::Varchar(1000)), ("x", ColumnKind::Double)]
            .map(|(name, kind)| SourceColumn::new(name, kind))
            .into()
    }

    /// Id and name of a record, or why it has none.
    type Row = Result<(Option<i64>, Option<String>), String>;

    /// Each record's row, decoded one after the other by one decoder.
    fn decode(records: &[&str]) -> Vec<Row> {
        let columns = columns();
        let (mut decoder, mut builders) = (Decoder::new(&columns), Builders::new(&columns));
        let results: Vec<_> = records.iter().map(|r| decoder.decode(r.as_bytes(), &mut builders)).collect();
        let (arrays, _) = builders.finish();
        let (ids, names) = (arrays[0].as_primitive::<Int64Type>(), arrays[1].as_string::<i32>());
        let mut row = 0;
        results
            .into_iter()
            .map(|result| {
                result.map_err(|e| e.reason)?;
                row += 1;
                let at = row - 1;
                Ok((ids.is_valid(at).then(|| ids.value(at)), names.is_valid(at).then(|| names.value(at).to_string())))
            })
            .collect()
    }

    fn one(record: &str) -> Row {
        decode(&[record]).remove(0)
    }

    #[test]
    fn records() {
        let row = |id: i64, name: &str| Ok((Some(id), Some(name.to_string())));
        assert_eq!(one(r#"{"id":1,"name":"a"}"#), row(1, "a"));
        assert_eq!(one(" {\n\t\"name\" : \"a\" , \"id\" : 1 }\r\n"), row(1, "a"));
        assert_eq!(one(r#"{"other":{"id":[7,{}],"y":"\"}"},"id":1,"name":"a","z":[]}"#), row(1, "a"));
        assert_eq!(one(r#"{"id":1,"id":2,"name":"a","name":"b"}"#), row(2, "b"));
        assert_eq!(one(r#"{"id":1,"name":"a\n\u00e4\ud83d\ude00\/"}"#), row(1, "a\nä😀/"));
        assert_eq!(one(r#"{"i\u0064":1,"name":"a"}"#), row(1, "a"));
        assert_eq!(one(r#"{"id":1,"name":{"a": [1, "x"]}}"#), row(1, r#"{"a": [1, "x"]}"#));
        assert_eq!(one(r#"{"id":1,"name":1.50}"#), row(1, "1.50"));
        assert_eq!(
            one(r#"{"u":"\ud800","y":[{"z":"\uDC00\""}],"id":1,"name":"a"}"#),
            row(1, "a"),
            "nobody asks for it"
        );
        assert_eq!(one(r#"{"\ud800":1,"id":1,"name":"a"}"#), row(1, "a"));
        for bad in [r#"{"u":"\u12"}"#, r#"{"\u12":1}"#, r#"{"u":"\x"}"#, r#"{"name":"\ud800"}"#, r#"{"name":["\u80"]}"#]
        {
            assert!(one(bad).is_err(), "{bad}");
        }
        assert_eq!(one(r#"{"id":1,"name":["\ud800"]}"#), row(1, r#"["\ud800"]"#), "as it is written");
        assert_eq!(one(r#"{"id":null}"#), Ok((None, None)));
        assert_eq!(one("{}"), Ok((None, None)));
        assert_eq!(one(r#"{"ID":1,"Name":"a"}"#), Ok((None, None)), "keys have their case");
    }

    #[test]
    fn of_a_key_that_stands_twice_the_later_counts() {
        let row = |id: i64, name: &str| Ok((Some(id), Some(name.to_string())));
        assert_eq!(one(r#"{"id":"zz","name":"\ud800","id":2,"name":"b"}"#), row(2, "b"));
        assert_eq!(one(r#"{"id":"zz","id":null,"name":"b"}"#), Ok((None, Some("b".into()))));
        for (bad, reason) in [
            (r#"{"id":2,"id":"zz"}"#, "\"zz\""),
            (r#"{"id":"yy","id":"zz","name":"\ud800"}"#, "\"zz\""),
            (r#"{"name":"a","name":"\ud800"}"#, "half a surrogate pair"),
            (r#"{"id":"zz","id":2"#, "not JSON"),
        ] {
            assert!(one(bad).unwrap_err().contains(reason), "{bad}");
        }
        // What was refused is of one record alone.
        assert_eq!(decode(&[r#"{"id":"zz","name":"a"}"#, r#"{"name":"b"}"#])[1], Ok((None, Some("b".into()))));
        let below = |name: &str, path: &str| SourceColumn {
            path: Path::parse(path).unwrap(),
            ..SourceColumn::new(name, ColumnKind::BigInt)
        };
        let columns = [below("b", "a.b"), below("c", "a.c")];
        let (mut decoder, mut builders) = (Decoder::new(&columns), Builders::new(&columns));
        assert_eq!(decoder.decode(br#"{"a":{"b":"zz","c":1},"a":{"c":2}}"#, &mut builders), Ok(()));
        let bad = decoder.decode(br#"{"a":{"b":1},"a":{"c":"zz"}}"#, &mut builders).unwrap_err();
        assert_eq!(bad.column, Some(1));
        let (arrays, _) = builders.finish();
        assert!(arrays[0].is_null(0) && arrays[1].as_primitive::<Int64Type>().value(0) == 2 && arrays[0].len() == 1);
    }

    #[test]
    fn keys_in_any_case() {
        let any_case = |name: &str, path: &str| SourceColumn {
            path: Path::parse(path).unwrap(),
            reading: Reading { any_case: true, ..Reading::default() },
            ..SourceColumn::new(name, ColumnKind::BigInt)
        };
        let columns = [any_case("id", "Id"), any_case("inner", "a.B"), any_case("again", "ID")];
        let (mut decoder, mut builders) = (Decoder::new(&columns), Builders::new(&columns));
        let records = [
            (r#"{"id":1,"A":{"b":2}}"#, [Some(1), Some(2)]),
            (r#"{"Id":3,"a":{"B":4}}"#, [Some(3), Some(4)]),
            (r#"{"ID":5,"iD":6,"a":{"B":1},"A":{}}"#, [Some(6), None]),
            (r#"{"ID":7}"#, [Some(7), None]),
            (r#"{"ıd":7}"#, [None, None]),
        ];
        for (record, expected) in records {
            decoder.decode(record.as_bytes(), &mut builders).unwrap();
            let (arrays, _) = builders.finish();
            let found = |i: usize| arrays[i].is_valid(0).then(|| arrays[i].as_primitive::<Int64Type>().value(0));
            assert_eq!([found(0), found(1)], expected, "{record}");
            assert_eq!(found(2), found(0), "{record}: two columns of one key");
        }
    }

    #[test]
    fn the_order_of_keys_does_not_matter_to_what_comes_out() {
        let records = [
            r#"{"id":1,"name":"a"}"#,
            r#"{"name":"b","id":2}"#,
            r#"{"x":1,"id":3}"#,
            r#"{"name":"d"}"#,
            r#"{"id":5,"name":"e","x":2}"#,
        ];
        let got: Vec<_> = decode(&records).into_iter().map(Result::unwrap).collect();
        let text = |t: &str| Some(t.to_string());
        assert_eq!(
            got,
            [(Some(1), text("a")), (Some(2), text("b")), (Some(3), None), (None, text("d")), (Some(5), text("e"))]
        );
    }

    #[test]
    fn a_bad_record_does_not_disturb_the_others() {
        let got = decode(&[
            r#"{"id":1,"name":"a"}"#,
            r#"{"name":"bad","id":1.5}"#,
            r#"{"id":3,"name":"#,
            r#"{"id":4,"name":"d"}"#,
        ]);
        assert!(got[0].is_ok() && got[3] == Ok((Some(4), Some("d".into()))));
        assert_eq!(got[1], Err("a number that is not whole: 1.5".into()));
        assert_eq!(got[2], Err("not JSON: the end at byte 15 where a value should be".into()));
    }

    #[test]
    fn what_is_no_json() {
        for text in [
            "",
            "x",
            "1",
            "[]",
            "{",
            "{}x",
            "{,}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{a:1}"#,
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":.5}"#,
            r#"{"a":+1}"#,
            r#"{"a":1e}"#,
            r#"{"a":-}"#,
            r#"{"a":tru}"#,
            r#"{"a":nulll}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":"\u12"}"#,
            "{\"a\":\"\n\"}",
            r#"{"a":"}"#,
            r#"{"a":[1 2]}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":{"b" 1}}"#,
            r#"{"a":'b'}"#,
            r#"{"a":NaN}"#,
            r#"{"name":"\ud800"}"#,
            r#"{"name":"\ud800\u0041"}"#,
            r#"{"name":"\udc00"}"#,
            "{\"a\":1}\u{a0}",
        ] {
            assert!(one(text).is_err(), "{text}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
        assert_eq!(one(&deep), Err("objects and arrays nested more than 128 deep".into()));
        // The same for every path, wanted or not, and the record itself is one.
        for (arrays, fits) in [(126, true), (127, false)] {
            let record = format!(r#"{{"a":{{"b":{}{}}}}}"#, "[".repeat(arrays), "]".repeat(arrays));
            for path in ["a", "a.b", "c"] {
                let too_deep = by_path(&[path], &record).is_err_and(|e| e.reason.ends_with("more than 128 deep"));
                assert_eq!(too_deep, !fits, "{path}: {arrays}");
            }
        }
        let columns = columns();
        let error = Decoder::new(&columns).decode(b"{\"a\":\"\xff\"}", &mut Builders::new(&columns)).unwrap_err();
        assert_eq!(error.reason, "not UTF-8: at byte 6");
    }

    /// Each record's columns as text.
    fn by_path(paths: &[&str], record: &str) -> Result<Vec<Option<String>>, BadRecord> {
        let column = |path: &&str| SourceColumn {
            path: Path::parse(path).unwrap(),
            ..SourceColumn::new(path, ColumnKind::Varchar(100))
        };
        let columns: Vec<SourceColumn> = paths.iter().map(column).collect();
        let (mut decoder, mut builders) = (Decoder::new(&columns), Builders::new(&columns));
        decoder.decode(record.as_bytes(), &mut builders)?;
        let (arrays, _) = builders.finish();
        Ok(arrays.iter().map(|a| a.is_valid(0).then(|| a.as_string::<i32>().value(0).to_string())).collect())
    }

    #[test]
    fn values_inside_others() {
        let paths = ["a", "a.b", "a.b[1]", "a.b[3].c", "x", "x"];
        let some = |text: &str| Some(text.to_string());
        for (record, expected) in [
            (
                r#"{"a":{"b":[1,"\u0032",3,{"c":true}]},"x":7}"#,
                [
                    some(r#"{"b":[1,"\u0032",3,{"c":true}]}"#),
                    some(r#"[1,"\u0032",3,{"c":true}]"#),
                    some("2"),
                    some("true"),
                    some("7"),
                    some("7"),
                ],
            ),
            // Not there, or there is something else on the way.
            ("{}", [None, None, None, None, None, None]),
            (r#"{"a":null,"x":null}"#, [None, None, None, None, None, None]),
            (r#"{"a":"text"}"#, [some("text"), None, None, None, None, None]),
            (r#"{"a":[{"b":1}]}"#, [some(r#"[{"b":1}]"#), None, None, None, None, None]),
            (r#"{"a":{"b":{"1":2}}}"#, [some(r#"{"b":{"1":2}}"#), some(r#"{"1":2}"#), None, None, None, None]),
            (r#"{"a":{"b":[]}}"#, [some(r#"{"b":[]}"#), some("[]"), None, None, None, None]),
            // The later counts, with all that is below it.
            (r#"{"a":{"b":[1,2]},"a":{"c":1}}"#, [some(r#"{"c":1}"#), None, None, None, None, None]),
            (r#"{"a":{"b":[1,2],"b":3}}"#, [some(r#"{"b":[1,2],"b":3}"#), some("3"), None, None, None, None]),
            (r#"{"a":{"b":[1,2]},"a":null}"#, [None, None, None, None, None, None]),
        ] {
            assert_eq!(by_path(&paths, record), Ok(expected.to_vec()), "{record}");
        }
        for record in [r#"{"a":{"b":[1,}}"#, r#"{"a":{"b":[1]"#, r#"{"a":{b:1}}"#, r#"{"a":{"b":[1 2]}}"#] {
            assert!(by_path(&paths, record).is_err(), "{record}");
        }
        let error = by_path(&["a.b"], &format!(r#"{{"a":{{"b":"{}"}}}}"#, "x".repeat(101))).unwrap_err();
        assert_eq!(error, BadRecord { column: Some(0), reason: "longer than varchar(100): 101 bytes".into() });
    }

    #[test]
    fn keys_that_need_an_escape() {
        let paths = [r#"["a\"b"]"#, r#"["c\\d"]"#];
        let some = |text: &str| Some(text.to_string());
        assert_eq!(by_path(&paths, r#"{"a\"b":1,"c\\d":2}"#), Ok(vec![some("1"), some("2")]));
        assert!(by_path(&paths, r#"{"a"b":1}"#).is_err() && by_path(&paths, r#"{"c\d":1}"#).is_err());
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::btree_map("[a-z\"\\\\]{0,4}|id|name|x", inner, 0..6)
                    .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// What serde_json writes we read, and what it refuses after a change of one byte we refuse as well.
        #[test]
        fn we_accept_what_serde_json_accepts(value in json(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let columns = [SourceColumn::new("unused", ColumnKind::Varchar(65535))];
            let accepts = |bytes: &[u8]| Decoder::new(&columns).decode(bytes, &mut Builders::new(&columns)).is_ok();
            let mut text = serde_json::to_vec(&serde_json::json!({ "v": value })).unwrap();
            prop_assert!(accepts(&text), "{}", String::from_utf8_lossy(&text));
            let at = at.index(text.len());
            text[at] = byte;
            let theirs = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&text);
            // Numbers beyond f64 are JSON all the same; serde_json alone refuses them.
            let too_large = theirs.as_ref().is_err_and(|e| e.to_string().starts_with("number out of range"));
            prop_assert!(too_large || accepts(&text) == theirs.is_ok(), "{} {theirs:?}", String::from_utf8_lossy(&text));
        }

        #[test]
        fn strings_come_out_as_they_went_in(name in any::<String>(), id in any::<i64>()) {
            prop_assume!(!name.contains('\0') && name.len() <= 1000);
            let text = serde_json::json!({ "name": name, "id": id }).to_string();
            prop_assert_eq!(one(&text), Ok((Some(id), Some(name))));
        }
    }
}
