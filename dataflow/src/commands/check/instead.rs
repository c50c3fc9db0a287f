//! What to declare instead of a column that values do not fit. Pure: a declaration is tried on the values before it is
//! named.

use connectors::ColumnKind;
use operators::{
    decode::Format,
    schema::SourceColumn,
    trial::least,
    values::{Action, Policy, reading::Reading},
};

use super::{
    candidates::{is_text, longest, nearby, others, texts},
    epoch, layouts,
    seen::{Seen, Taken, count, is_other_id, take},
};
use crate::job::explain::quoted;

/// A declaration that takes all values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instead {
    /// The declaration.
    pub column: SourceColumn,
    /// What it does to the values, and what they do not say.
    pub but: Option<String>,
}

/// Values of one column, to try declarations on.
struct Values<'v> {
    declared: &'v SourceColumn,
    format: Format,
    all: &'v [Seen],
    /// How many have something in them that could be lost.
    given: usize,
}

/// The declaration that takes all of these values and changes the fewest of them; of several the nearest. `None` if
/// there is none.
pub fn instead(declared: &SourceColumn, format: Format, values: &[Seen]) -> Option<Instead> {
    let given = values.iter().filter(|value| !value.is_nothing()).count();
    let values = Values { declared, format, all: values, given };
    let near = nearby(declared, values.all);
    let others = others(declared, values.all);
    if let Some((column, taken)) = values.best(&near, &others) {
        let but = values.but(&column, &taken);
        return Some(Instead { column, but });
    }
    values.of_most(&near, &others)
}

/// The nearest declaration of the same family that takes all of these values and loses none of them, if there is one.
pub fn same_family(declared: &SourceColumn, format: Format, values: &[Seen]) -> Option<SourceColumn> {
    let near = nearby(declared, values);
    let mut columns =
        std::iter::once(declared).chain(near.iter().filter(|column| is_text(&column.kind) == is_text(&declared.kind)));
    let keeps =
        |column: &&SourceColumn| take(column, format, values).is_some_and(|taken| taken.lost + taken.altered == 0);
    columns.find(keeps).cloned()
}

impl Values<'_> {
    /// The one that changes the fewest, text left aside.
    fn best(&self, near: &[SourceColumn], others: &[SourceColumn]) -> Option<(SourceColumn, Taken)> {
        let declared = std::slice::from_ref(self.declared);
        // What is cut is cut less in a wider column.
        let is_cut = match self.declared.kind {
            ColumnKind::Char(most) | ColumnKind::Varchar(most) | ColumnKind::Varbyte(most) => {
                longest(self.all) > most as usize
            }
            _ => false,
        };
        let columns = if is_cut { near.iter().chain(declared) } else { declared.iter().chain(near) };
        let taken = columns.filter_map(|column| self.mended(column));
        let best = taken.min_by_key(|(_, taken)| taken.changed());
        if best.as_ref().is_some_and(|(_, taken)| taken.lost * 2 < self.given.max(1)) {
            return best;
        }
        // It would lose half of them: rather another type that loses none, if there is one.
        let other = others.iter().find_map(|column| Some((column.clone(), self.take(column)?)));
        // A time that there was not may well be NULL; numbers, of which none would be left, may not.
        let is_time = is_time(&self.declared.kind);
        other.or(best.filter(|(_, taken)| is_time || taken.lost < self.given))
    }

    /// The column with as few words of `on` as take all values.
    fn mended(&self, column: &SourceColumn) -> Option<(SourceColumn, Taken)> {
        if let Some(taken) = self.take(column) {
            return Some((column.clone(), taken));
        }
        let with = |policy: &Policy| SourceColumn { policy: *policy, ..column.clone() };
        let most = or(
            column.policy,
            Policy {
                long: Action::Truncate,
                range: Action::Null,
                scale: Action::Round,
                nul: Action::Truncate,
                empty: Action::Null,
            },
        );
        let policy = least(column.policy, most, |policy| self.take(&with(policy)).is_some())?;
        let column = with(&policy);
        let taken = self.take(&column)?;
        Some((column, taken))
    }

    fn take(&self, column: &SourceColumn) -> Option<Taken> {
        if self.changes_ids(column) { None } else { take(column, self.format, self.all) }
    }

    /// Whether a large id would become another one in silence.
    fn changes_ids(&self, column: &SourceColumn) -> bool {
        let is_new = column.kind == ColumnKind::Double && self.declared.kind != ColumnKind::Double;
        is_new && self.all.iter().filter_map(Seen::number).any(is_other_id)
    }

    /// Where nothing but text takes all: another type that takes most, or else text.
    fn of_most(&self, near: &[SourceColumn], others: &[SourceColumn]) -> Option<Instead> {
        let given = self.all.iter().filter(|value| **value != Seen::Null).count();
        let count = |column: &SourceColumn| match self.changes_ids(column) {
            true => 0,
            false => count(column, self.format, self.all),
        };
        let all = std::iter::once(self.declared).chain(near).chain(others);
        let counted: Vec<(usize, &SourceColumn)> = all.map(|column| (count(column), column)).collect();
        // Of several the first, which is the declared one if it is among them.
        let (taking, best) = counted.into_iter().rev().max_by_key(|(taking, _)| *taking)?;
        let of = format!("{taking} of {} values that were seen", given);
        let is_most = taking * 2 > given;
        if is_most && taking < given && best != self.declared {
            let but = Some(format!("it takes {of}; the others would be dead letters"));
            return Some(Instead { column: best.clone(), but });
        }
        let texts = texts(self.declared, self.all);
        let (column, taken) = texts.iter().find_map(|column| Some((column.clone(), self.take(column)?)))?;
        let mut but = self.but(&column, &taken);
        if is_most && best == self.declared {
            but = Some(format!(
                "as text the query can look at all values; as it is the column takes {of}, so mend the producer, or let the others be dead \
                 letters"
            ));
        }
        Some(Instead { column, but })
    }

    /// What is done to the values, and what they leave open.
    fn but(&self, column: &SourceColumn, taken: &Taken) -> Option<String> {
        let Reading { epoch, layout, zone, .. } = &column.reading;
        let text = (is_text(&column.kind) && !is_text(&self.declared.kind))
            .then(|| "no other type takes all values that were seen; as text the query can look at them".into());
        let swapped = layout.as_ref().and_then(layouts::month_first).map(|layout| SourceColumn {
            reading: Reading { layout: Some(layout), ..column.reading.clone() },
            ..column.clone()
        });
        let swapped = swapped.filter(|swapped| self.take(swapped).is_some()).and_then(|swapped| swapped.reading.layout);
        let swapped = swapped.map(|layout| {
            let layout = quoted(layout.text());
            format!("or layout = {layout}: these values do not tell whether the day or the month comes first")
        });
        let is_guessed =
            zone.is_some() && self.declared.reading.zone.is_none() && !layout.as_ref().is_some_and(layouts::says_utc);
        let zone = is_guessed.then(|| "instead of UTC write the zone whose clock the times are from".into());
        let is_time = is_time(&self.declared.kind);
        let several = "the numbers count in several units, which the query can tell apart with CASE".to_string();
        let epoch = match epoch {
            Some(epoch) => epoch::far(self.all, *epoch),
            None => (is_time && epoch::is_several(self.all)).then_some(several),
        };
        let is_exact = !matches!(self.declared.kind, ColumnKind::Real | ColumnKind::Double);
        let double = (column.kind == ColumnKind::Double && is_exact)
            .then(|| "double precision keeps about 15 digits of a number".into());
        let said: Vec<String> = [text, taken.words(column, self.all), epoch, swapped, zone, double, self.noise(column)]
            .into_iter()
            .flatten()
            .collect();
        (!said.is_empty()).then(|| said.join("; "))
    }

    /// Digits that come of computing with doubles may be no reason for more of them.
    fn noise(&self, column: &SourceColumn) -> Option<String> {
        let kind = &self.declared.kind;
        let (ColumnKind::Decimal(_, own), ColumnKind::Decimal(_, scale)) = (kind, &column.kind) else { return None };
        if *scale <= (*own).max(9) {
            return None;
        }
        let policy = Policy { scale: Action::Round, ..self.declared.policy };
        let rounded = SourceColumn { policy, ..self.declared.clone() };
        let words = self.take(&rounded)?.words(&rounded, self.all)?;
        Some(format!("or keep {kind} with on = {{ scale = \"round\" }}: {words}"))
    }
}

fn is_time(kind: &ColumnKind) -> bool {
    matches!(kind, ColumnKind::Date | ColumnKind::Timestamp | ColumnKind::TimestampTz)
}

/// What a column says already stays.
fn or(own: Policy, new: Policy) -> Policy {
    let or = |own: Action, new| if own == Action::Reject { new } else { own };
    Policy {
        long: or(own.long, new.long),
        range: or(own.range, new.range),
        scale: or(own.scale, new.scale),
        nul: or(own.nul, new.nul),
        empty: or(own.empty, new.empty),
    }
}

#[cfg(test)]
mod tests {
    use operators::values::{path::Path, reading::Epoch};

    use super::*;
    use crate::job::{self, explain::column_text};

    fn declared(text: &str) -> SourceColumn {
        let (kind, rest) = text.split_once(';').unwrap_or((text, ""));
        let mut column = SourceColumn::new("c", ColumnKind::parse(kind).unwrap());
        match rest.trim() {
            "" => {}
            "strict" => column.reading.strict = true,
            "epoch" => column.reading.epoch = Some(Epoch::Millis),
            "seconds" => column.reading.epoch = Some(Epoch::Seconds),
            "empty" => column.policy.empty = Action::Null,
            path => column.path = Path::parse(path).unwrap(),
        }
        column
    }

    fn line(text: &str, format: Format, values: &[&str]) -> Option<String> {
        let values: Vec<Seen> = values.iter().map(|value| Seen::of_json(value).unwrap()).collect();
        let column = declared(text);
        assert_eq!(take(&column, format, &values), None, "{text} takes {values:?}");
        let instead = instead(&column, format, &values)?;
        assert!(take(&instead.column, format, &values).is_some(), "{instead:?}");
        let text = column_text(&instead.column, column.reading.strict);
        let job = job::of_text(&format!(
            "version = 1\njob = \"j\"\n[kafka]\nbrokers = \"b:1\"\n[staging]\nurl = \"s3://b/p\"\n[redshift]\nhost = \"h\"\ndatabase = \"d\"\n\
             user = \"u\"\npassword = {{ env = \"P\" }}\niam_role = \"arn:r\"\n[[stream]]\nname = \"s\"\ntopic = \"t\"\nformat = \"{}\"\nstrict = {}\n\
             columns = [ {text} ]\n[[target]]\ntable = \"public.t\"\nquery = \"SELECT c FROM s\"\n",
            format.word(),
            column.reading.strict
        ));
        assert_eq!(job.streams[0].columns, [instead.column], "as the job file reads it");
        let inner = text.strip_prefix("{ name = \"c\", type = \"")?.strip_suffix(" }")?;
        Some(inner.replacen('"', "", 1))
    }

    #[test]
    fn the_line_to_write_instead() {
        for (kind, values, expected) in [
            ("integer", &["12.34", "5"][..], "decimal(12,2)"),
            ("bigint", &["\"12.3\""], "decimal(11,1)"),
            ("smallint", &["40000"], "integer"),
            ("smallint", &["3000000000"], "bigint"),
            ("bigint", &["18446744073709551615"], "decimal(22,0)"),
            ("smallint", &["40000", "50000", "1e400"], "integer, on = { range = \"null\" }"),
            ("integer", &["5", "1e400", "\"\""], "integer, on = { range = \"null\", empty = \"null\" }"),
            ("integer", &["0.30000000000000004"], "decimal(27,17)"),
            ("integer", &["3000000000", "9007199254740993", "0.30000000000000004"], "decimal(35,17)"),
            ("integer", &["9007199254740993", "1e60"], "bigint, on = { range = \"null\" }"),
            (
                "integer",
                &["12345678901234567890123456789012345678", "1e-9"],
                "decimal(19,9), on = { range = \"null\" }",
            ),
            ("integer", &["1.5", "1e60"], "double precision"),
            ("integer", &["1e-7", "2"], "decimal(17,7)"),
            ("integer", &["1", "\"\""], "integer, on = { empty = \"null\" }"),
            ("integer", &["1", "\" \"", "3000000000"], "bigint, on = { empty = \"null\" }"),
            ("integer; strict", &["\"1\""], "integer, strict = false"),
            ("integer", &["true", "false"], "boolean"),
            ("bigint", &["\"2026-11-24T10:00:00Z\""], "timestamptz"),
            ("bigint", &["\"N/A\"", "5"], "varchar(64)"),
            ("bigint", &["{\"a\":1}"], "varchar(64)"),
            ("bigint", &["1", "2", "\"N/A\""], "varchar(64)"),
            ("decimal(5,2)", &["123456.7"], "decimal(12,2)"),
            ("decimal(12,2)", &["1.005"], "decimal(13,3)"),
            ("decimal(12,2)", &["0.30000000000000004"], "decimal(27,17)"),
            ("decimal(12,2)", &["1e60"], "double precision"),
            (
                "decimal(12,2)",
                &["12345678901.23", "12345678901.24", "1e60"],
                "decimal(15,2), on = { range = \"null\" }",
            ),
            ("decimal(5,2)", &["1.25", "2.5", "1e60"], "decimal(5,2), on = { range = \"null\" }"),
            ("decimal(12,2)", &["\"NaN\"", "1"], "double precision"),
            ("real", &["1e39"], "double precision"),
            ("double precision", &["1e400", "1"], "double precision, on = { range = \"null\" }"),
            ("double precision", &["1e400"], "varchar(64)"),
            ("decimal(38,10)", &["1234567890123456789012345678901234567890"], "varchar(256)"),
            ("date", &["\"0000-00-00\""], "date, on = { range = \"null\" }"),
            ("boolean", &["0", "2"], "smallint"),
            ("boolean", &["\"on\""], "varchar(64)"),
            ("char(3)", &["\"abcd\""], "char(64)"),
            ("char(3)", &["\"ä\""], "varchar(64)"),
            ("varchar(10)", &["\"0123456789abcdef0123456789abcdef01\""], "varchar(256)"),
            ("varchar(10)", &["\"a\\u0000\""], "varchar(10), on = { nul = \"strip\" }"),
            ("varbyte(2)", &["\"AAECAw==\""], "varbyte(64)"),
            ("varbyte(9)", &["\"not base64\""], "varchar(64)"),
            ("date", &["\"24/11/2026\"", "\"01/02/2026\""], "date, layout = \"DD/MM/YYYY\""),
            ("date", &["\"11/24/2026\""], "date, layout = \"MM/DD/YYYY\""),
            ("date", &["\"20261124\""], "date, layout = \"YYYYMMDD\""),
            ("date", &["\"2026-11-24T10:00:00Z\""], "timestamptz"),
            ("date", &["1795514400000"], "timestamptz, time = \"epoch_ms\""),
            ("date", &["\"0000-00-00\"", "\"2026-11-24\""], "date, on = { range = \"null\" }"),
            ("timestamp", &["1795514400"], "timestamp, time = \"epoch_s\""),
            ("timestamptz", &["1795514400123", "\"2026-11-24T10:00:00Z\""], "timestamptz, time = \"epoch_ms\""),
            ("timestamptz", &["\"1795514400123456\""], "timestamptz, time = \"epoch_us\""),
            ("timestamptz", &["1795514400123456789"], "timestamptz, time = \"epoch_ns\""),
            ("timestamptz", &["5"], "bigint"),
            ("timestamptz", &["0.5"], "decimal(11,1)"),
            ("timestamptz", &["1795514400", "0", "0"], "timestamptz, time = \"epoch_s\""),
            ("timestamptz; seconds", &["1795514400123"], "timestamptz, time = \"epoch_ms\""),
            ("integer; empty", &["12.5", "\"\""], "decimal(11,1), on = { empty = \"null\" }"),
            ("integer; empty", &["\"N/A\"", "\"\""], "varchar(64)"),
            ("timestamptz", &["\"2026-11-24 10:00\""], "timestamptz, zone = \"UTC\""),
            ("timestamptz; epoch", &["\"2026-11-24 10:00\"", "5"], "timestamptz, time = \"epoch_ms\", zone = \"UTC\""),
            ("timestamp", &["\"2026-11-24T10:00:00Z\""], "timestamptz"),
            ("timestamp", &["\"2026-11-24T10:00:00Z\"", "\"2026-11-24 10:00\""], "timestamp, zone = \"UTC\""),
            ("timestamp", &["\"2026-11-24\""], "date"),
            ("timestamp", &["\"24.11.2026 10:00\""], "timestamp, layout = \"DD.MM.YYYY HH24:MI\""),
            ("date", &["\"25-Nov-2026\""], "date, layout = \"DD-Mon-YYYY\""),
            ("date", &["\"11-25-2026\""], "date, layout = \"MM-DD-YYYY\""),
            ("date", &["\"25.11.26\""], "date, layout = \"DD.MM.YY\""),
            ("timestamp", &["\"11/25/26 10:00\""], "timestamp, layout = \"MM/DD/YY HH24:MI\""),
            ("date", &["\"25/Nov/2026\""], "date, layout = \"DD/Mon/YYYY\""),
            ("date", &["\"25 November 2026\""], "date, layout = \"DD Month YYYY\""),
            ("date", &["\"2026.11.25\""], "date, layout = \"YYYY.MM.DD\""),
            ("timestamp", &["\"25-Nov-2026 10:00:00\""], "timestamp, layout = \"DD-Mon-YYYY HH24:MI:SS\""),
            ("timestamp", &["\"25/Nov/2026:10:00:00\""], "timestamp, layout = \"DD/Mon/YYYY:HH24:MI:SS\""),
            ("timestamp", &["\"25.11.2026 10:00:00.123\""], "timestamp, layout = \"DD.MM.YYYY HH24:MI:SS.MS\""),
            ("timestamp", &["\"25.11.2026 10:00:00.123456\""], "timestamp, layout = \"DD.MM.YYYY HH24:MI:SS.US\""),
            ("timestamp", &["\"25.11.2026 10:00:00,123\""], "timestamp, layout = \"DD.MM.YYYY HH24:MI:SS,MS\""),
            ("timestamp", &["\"20261125\""], "timestamp, layout = \"YYYYMMDD\""),
            ("timestamptz", &["\"20261125\""], "timestamptz, layout = \"YYYYMMDD\", zone = \"UTC\""),
            ("timestamp", &["\"20261125100000\""], "timestamp, layout = \"YYYYMMDDHH24MISS\""),
            ("timestamp", &["\"20261125 100000\""], "timestamp, layout = \"YYYYMMDD HH24MISS\""),
            ("timestamp", &["\"20261125T100000\""], "timestamp, layout = \"YYYYMMDD\\\"T\\\"HH24MISS\""),
            (
                "timestamptz",
                &["\"20261125T100000Z\""],
                "timestamptz, layout = \"YYYYMMDD\\\"T\\\"HH24MISS\\\"Z\\\"\", zone = \"UTC\"",
            ),
            (
                "timestamptz",
                &["\"11/24/2026 10:00:00\""],
                "timestamptz, layout = \"MM/DD/YYYY HH24:MI:SS\", zone = \"UTC\"",
            ),
            (
                "timestamptz",
                &["\"0000-00-00 00:00:00\"", "\"2026-11-24T10:00:00Z\""],
                "timestamptz, on = { range = \"null\" }",
            ),
            ("integer; a.b[0]", &["12.5"], "decimal(11,1), path = \"a.b[0]\""),
        ] {
            assert_eq!(line(kind, Format::Json, values).as_deref(), Some(expected), "{kind} {values:?}");
        }
        let long = format!("\"{}\"", "x".repeat(70_000));
        let expected = "varchar(65535), on = { long = \"truncate\" }";
        assert_eq!(line("varchar(10)", Format::Json, &[&long]).as_deref(), Some(expected));
        let usual = format!("\"{}\"", "x".repeat(150));
        let values = [&usual, &usual, &long, &usual].map(String::as_str);
        assert_eq!(line("varchar(100)", Format::Json, &values).as_deref(), Some(expected));
        assert_eq!(line("varchar(3)", Format::Raw, &["\"abcd\""]).as_deref(), Some("varchar(64)"));
        let raw = instead(&declared("varchar(9)"), Format::Raw, &[Seen::of_bytes(b"\xff")]).unwrap();
        assert_eq!(raw.column.kind, ColumnKind::Varbyte(64));
    }

    #[test]
    fn what_the_values_do_not_say_is_said() {
        let but = |kind: &str, values: &[&str]| {
            let values: Vec<Seen> = values.iter().map(|value| Seen::of_json(value).unwrap()).collect();
            instead(&declared(kind), Format::Json, &values).and_then(|instead| instead.but)
        };
        assert!(but("date", &["\"01/02/2026\""]).unwrap().contains("or layout = \"MM/DD/YYYY\": "));
        assert_eq!(but("date", &["\"24/02/2026\""]), None);
        assert!(but("timestamptz", &["\"2026-11-24 10:00\""]).unwrap().contains("the zone whose clock"));
        assert!(but("integer", &["\"N/A\""]).unwrap().contains("as text"));
        assert_eq!(but("integer", &["5.5"]), None);
        for (kind, values, said) in [
            ("smallint", &["40000", "50000", "1e400"][..], "it makes 1 of 3 values NULL"),
            ("integer", &["5", "\"\""], "it makes 1 of 2 values NULL"),
            ("varchar(9)", &["\"a\\u0000\"", "\"b\""], "it takes the NUL characters out of 1 of 2 values"),
            ("decimal(12,2)", &["0.30000000000000004"], "or keep decimal(12,2) with on = { scale = \"round\" }"),
            ("integer", &["1.5", "1e60"], "double precision keeps about 15 digits of a number"),
            (
                "timestamptz",
                &["1732575600123", "1732575600123", "1732575600"],
                "1 of 3 numbers would be times before 1980, as if they counted something else",
            ),
            (
                "timestamp",
                &["1732575600", "1732575600", "9732575600"],
                "1 of 3 numbers would be times after 2100, as if they counted something else",
            ),
            ("timestamptz", &["1732575600123", "1732575600"], "the numbers count in several units"),
        ] {
            let but = but(kind, values).unwrap_or_default();
            assert!(but.contains(said), "{kind} {values:?}: {but}");
        }
        let long = format!("\"{}\"", "x".repeat(70_000));
        let cut = but("varchar(9)", &[&long, "\"0123456789\"", "null"]);
        assert!(cut.as_deref().unwrap_or_default().contains("it cuts 1 of 2 values"), "{cut:?}");
        assert!(
            but("integer", &["1", "2", "\"N/A\""]).unwrap().contains("takes 2 of 3 values that were seen, so mend")
        );
        assert!(but("date", &["1", "2", "\"N/A\"", "null"]).unwrap().contains("it takes 2 of 3 values"));
    }
}
