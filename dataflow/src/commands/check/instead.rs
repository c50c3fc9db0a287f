//! What to declare instead of a column that values do not fit. Pure: a declaration is tried on the values before it is named.

use connectors::ColumnKind;
use operators::{
    decode::{
        Format,
        columns::{Builders, Value},
    },
    schema::SourceColumn,
    values::{
        Action, Policy, json, lenient,
        reading::{Epoch, Layout, Reading},
        zone::Zone,
    },
};

/// A value as a record has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Said to be null.
    Null,
    /// Text.
    Text(String),
    /// Bytes that are not text.
    Bytes(Vec<u8>),
    /// A number as it is written.
    Number(String),
    /// True or false.
    Boolean(bool),
    /// A list or an object as it is written.
    Nested(String),
}

impl Seen {
    /// The value of a JSON text; `None` for a string that is not text, with half a surrogate pair.
    pub fn of_json(text: &str) -> Option<Seen> {
        Some(match text.as_bytes().first()? {
            b'"' => Seen::Text(json::unquote(text).ok()?),
            b'{' | b'[' => Seen::Nested(text.into()),
            b'n' => Seen::Null,
            b't' => Seen::Boolean(true),
            b'f' => Seen::Boolean(false),
            _ => Seen::Number(text.into()),
        })
    }

    /// The value of a record without parts.
    pub fn of_bytes(bytes: &[u8]) -> Seen {
        match std::str::from_utf8(bytes) {
            Ok(text) => Seen::Text(text.into()),
            Err(_) => Seen::Bytes(bytes.into()),
        }
    }

    fn value(&self, as_bytes: bool) -> Value<'_> {
        match self {
            Seen::Text(text) if as_bytes => Value::Bytes(text.as_bytes()),
            Seen::Null => Value::Null,
            Seen::Text(text) => Value::Text(text),
            Seen::Bytes(bytes) => Value::Bytes(bytes),
            Seen::Number(text) => Value::Number(text),
            Seen::Boolean(truth) => Value::Boolean(*truth),
            Seen::Nested(text) => Value::Nested(text),
        }
    }

    /// The number that it is, or that its text holds.
    fn number(&self) -> Option<&str> {
        match self {
            Seen::Number(text) => Some(text),
            Seen::Text(text) => lenient::number(text).ok(),
            _ => None,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Seen::Null => 0,
            Seen::Text(text) | Seen::Number(text) | Seen::Nested(text) => text.len(),
            Seen::Bytes(bytes) => bytes.len(),
            Seen::Boolean(_) => 5,
        }
    }
}

/// A declaration that takes all values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instead {
    /// The declaration.
    pub column: SourceColumn,
    /// What the values do not say.
    pub but: Option<String>,
}

/// The nearest declaration that takes all of these values; `None` if there is none.
pub fn instead(declared: &SourceColumn, format: Format, values: &[Seen]) -> Option<Instead> {
    let taken =
        |column: &SourceColumn| format.check(std::slice::from_ref(column)).is_ok() && takes(column, format, values);
    let near = nearby(declared, values);
    let all = || std::iter::once(declared).chain(&near);
    // A text without anything in it is no reason for another type.
    let without_empty = || {
        let empty = |column: &SourceColumn| Policy { empty: Action::Null, ..column.policy };
        let mut columns = all().map(|column| SourceColumn { policy: empty(column), ..column.clone() });
        columns.find(&taken)
    };
    let found = near.iter().find(|column| taken(column)).cloned().or_else(without_empty);
    let found = found.or_else(|| all().find_map(|column| mended(column, &taken)));
    if let Some(column) = found {
        let but = but(declared, &column, &taken);
        return Some(Instead { column, but });
    }
    // Nothing but text takes all: perhaps another type takes most.
    let given: Vec<&Seen> = values.iter().filter(|value| **value != Seen::Null).collect();
    let count = |column: &SourceColumn| {
        let is_taken = |value: &&&Seen| takes(column, format, std::slice::from_ref(**value));
        if format.check(std::slice::from_ref(column)).is_ok() { given.iter().filter(is_taken).count() } else { 0 }
    };
    let far = far(declared, values);
    let most = all().chain(far.iter().filter(|column| !is_text(&column.kind))).map(|column| (count(column), column));
    // Of several the first, which is the declared one if it is among them.
    let (taking, best) = most.rev().max_by_key(|(taking, _)| *taking)?;
    let of = format!("{taking} of {} values that were seen", given.len());
    if taking * 2 > given.len() && taking < given.len() && best != declared {
        let but = Some(format!("it takes {of}; the others would be dead letters"));
        return Some(Instead { column: best.clone(), but });
    }
    let column = far.iter().find(|column| taken(column))?.clone();
    let mut but = but(declared, &column, &taken);
    if taking * 2 > given.len() && best == declared {
        but = Some(format!(
            "as text the query can look at all values; as it is the column takes {of}, so mend the producer, or let the others be dead letters"
        ));
    }
    Some(Instead { column, but })
}

fn takes(column: &SourceColumn, format: Format, values: &[Seen]) -> bool {
    // In JSON bytes are base64; a record without parts is what it is.
    let as_bytes = format == Format::Raw && matches!(column.kind, ColumnKind::Varbyte(_));
    let mut builders = Builders::new(std::slice::from_ref(column));
    values.iter().all(|value| {
        let is_taken = builders.set(0, value.value(as_bytes)).is_ok();
        builders.roll_back();
        is_taken
    })
}

/// The column with as few words of `on` as take all values.
fn mended(column: &SourceColumn, taken: &impl Fn(&SourceColumn) -> bool) -> Option<SourceColumn> {
    let own = column.policy;
    let or = |own: Action, new| if own == Action::Reject { new } else { own };
    let mut column = SourceColumn {
        policy: Policy {
            long: or(own.long, Action::Truncate),
            range: or(own.range, Action::Null),
            scale: or(own.scale, Action::Round),
            nul: or(own.nul, Action::Truncate),
            empty: or(own.empty, Action::Null),
        },
        ..column.clone()
    };
    if !taken(&column) {
        return None;
    }
    let takes_back: [fn(&mut Policy, &Policy); 5] = [
        |policy, own| policy.long = own.long,
        |policy, own| policy.range = own.range,
        |policy, own| policy.scale = own.scale,
        |policy, own| policy.nul = own.nul,
        |policy, own| policy.empty = own.empty,
    ];
    for take_back in takes_back {
        let mut less = column.clone();
        take_back(&mut less.policy, &own);
        if taken(&less) {
            column = less;
        }
    }
    Some(column)
}

/// Declarations of the same family, the nearest first.
fn nearby(declared: &SourceColumn, values: &[Seen]) -> Vec<SourceColumn> {
    use ColumnKind::*;
    let of = |kind: ColumnKind| with(declared, kind, Reading::default());
    let read = |kind: ColumnKind, reading: Reading| with(declared, kind, reading);
    let own = Reading { strict: false, any_case: false, ..declared.reading.clone() };
    let (whole, fraction) = digits(values);
    let length = values.iter().map(Seen::bytes).max().unwrap_or(0);
    let exact = |least_whole: u32, least_scale: u32| {
        let scale = fraction.max(least_scale);
        let digits = (whole + 2).max(10).max(least_whole) + scale;
        let fits = if digits <= 38 { digits } else { whole.max(least_whole) + scale };
        (fits <= 38 && scale <= 37).then(|| of(Decimal(fits as u8, scale as u8)))
    };
    // Digits that come of computing with doubles.
    let is_noise = fraction > 9;
    let mut near = Vec::new();
    if declared.reading.strict {
        near.push(SourceColumn { reading: Reading { strict: false, ..declared.reading.clone() }, ..declared.clone() });
    }
    match &declared.kind {
        SmallInt | Integer | BigInt | Boolean => {
            let all = [SmallInt, Integer, BigInt];
            let wider =
                all.iter().skip(all.iter().position(|kind| *kind == declared.kind).map_or(0, |place| place + 1));
            near.extend(wider.cloned().map(of));
            near.extend(is_noise.then(|| of(Double)));
            near.extend(exact(0, 0));
            near.push(of(Double));
        }
        Decimal(precision, scale) if is_noise => {
            let (whole, scale) = (u32::from(precision - scale).max(whole), u32::from(*scale));
            near.extend((whole + scale <= 38).then(|| of(Decimal((whole + scale) as u8, scale as u8))));
        }
        Decimal(precision, scale) => near.extend(exact(u32::from(precision - scale), u32::from(*scale))),
        Real => near.push(of(Double)),
        Double | Other(_) => {}
        Char(_) => {
            near.extend((wide(length) <= 4096).then(|| of(Char(wide(length)))));
            near.push(of(Varchar(wide(length))));
        }
        Varchar(_) => near.push(of(Varchar(wide(length)))),
        Varbyte(_) => near.push(of(Varbyte(wide(length).max(length.min(16_777_216) as u32)))),
        Date => {
            near.extend(layouts().map(|layout| read(Date, Reading { layout: Some(layout), ..own.clone() })));
            near.extend([of(TimestampTz), of(Timestamp)]);
            near.extend(
                epoch(values).map(|epoch| read(TimestampTz, Reading { epoch: Some(epoch), ..Reading::default() })),
            );
            near.extend(
                moments().map(|layout| read(Timestamp, Reading { layout: Some(layout), ..Reading::default() })),
            );
        }
        kind @ (Timestamp | TimestampTz) => {
            let zone = own.zone.or(Zone::parse("UTC"));
            let epoch = epoch(values).or(own.epoch);
            near.push(read(kind.clone(), Reading { epoch, ..own.clone() }));
            near.extend((*kind == Timestamp).then(|| of(TimestampTz)));
            near.push(read(kind.clone(), Reading { zone, ..own.clone() }));
            near.push(read(kind.clone(), Reading { epoch, zone, ..own.clone() }));
            near.push(of(Date));
            let zone = if *kind == TimestampTz { zone } else { own.zone };
            let all = moments().chain(layouts());
            near.extend(all.map(|layout| read(kind.clone(), Reading { layout: Some(layout), zone, ..own.clone() })));
        }
    }
    near.retain(|column| column != declared);
    near
}

/// Declarations of other families; the last one is text, which takes nearly everything.
fn far(declared: &SourceColumn, values: &[Seen]) -> Vec<SourceColumn> {
    use ColumnKind::*;
    let length = values.iter().map(Seen::bytes).max().unwrap_or(0);
    let of = |kind: ColumnKind| with(declared, kind, Reading::default());
    let text = of(Varchar(wide(length)));
    let cut = SourceColumn {
        policy: Policy { long: Action::Truncate, nul: Action::Truncate, ..text.policy },
        ..text.clone()
    };
    if matches!(declared.kind, Char(_) | Varchar(_)) {
        return vec![of(Varbyte(wide(length)))];
    }
    // Blanks alone are no time and no number, and NULL anyway.
    let own = [BigInt, Double, Boolean, TimestampTz, Timestamp, Date].map(of).into_iter();
    own.filter(|column| column.kind != declared.kind).chain([text, cut, of(Varbyte(wide(length)))]).collect()
}

/// The same column with another type, which keeps what is said of its key.
fn with(declared: &SourceColumn, kind: ColumnKind, reading: Reading) -> SourceColumn {
    let any_case = declared.reading.any_case;
    // A word that cannot act on the new type would be refused.
    let policy = declared.policy.of_kind(&kind);
    SourceColumn { kind, reading: Reading { any_case, ..reading }, policy, ..declared.clone() }
}

/// The most digits before and after the point, of all numbers.
fn digits(values: &[Seen]) -> (u32, u32) {
    values
        .iter()
        .filter_map(Seen::number)
        .map(digits_of)
        .fold((0, 0), |most, one| (most.0.max(one.0), most.1.max(one.1)))
}

fn digits_of(number: &str) -> (u32, u32) {
    let number = number.trim_start_matches('-');
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    // Beyond these it fits into no decimal.
    let exponent = exponent.parse::<i64>().unwrap_or(1000).clamp(-1000, 1000);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let leading = if whole == "0" { 0 } else { whole.len() as i64 };
    let moved = |length: i64| length.clamp(0, 1000) as u32;
    (moved(leading + exponent), moved(fraction.len() as i64 - exponent))
}

/// A length with room for longer values than those that were seen.
fn wide(longest: usize) -> u32 {
    let steps = [64, 256, 1024, 4096, 16_384, 65_535];
    steps.into_iter().find(|step| *step as usize >= longest * 2).unwrap_or(65_535)
}

/// What most of the numbers count, if that makes them times between 1980 and 2100; else nothing is guessed.
fn epoch(values: &[Seen]) -> Option<Epoch> {
    // Only to guess: nothing of it becomes a value.
    let numbers: Vec<f64> = values.iter().filter_map(Seen::number).filter_map(|text| text.parse().ok()).collect();
    let of_unit = |unit: &Epoch| match unit {
        Epoch::Seconds => 1.0,
        Epoch::Millis => 1e3,
        Epoch::Micros => 1e6,
        Epoch::Nanos => 1e9,
    };
    let is_near = |number: &&f64, unit: f64| (315_532_800.0 * unit..=4_102_444_800.0 * unit).contains(*number);
    let count = |unit: &Epoch| numbers.iter().filter(|number| is_near(number, of_unit(unit))).count();
    Epoch::ALL.iter().find(|unit| count(unit) * 2 > numbers.len()).copied()
}

/// How days are written, beside `YYYY-MM-DD`.
const DAYS: [&str; 8] =
    ["DD/MM/YYYY", "MM/DD/YYYY", "DD.MM.YYYY", "DD-MM-YYYY", "YYYY/MM/DD", "YYYYMMDD", "DD Mon YYYY", "Mon DD, YYYY"];

fn layouts() -> impl Iterator<Item = Layout> {
    DAYS.iter().filter_map(|day| Layout::parse(day).ok())
}

fn moments() -> impl Iterator<Item = Layout> {
    const TIMES: [&str; 4] = [" HH24:MI:SS", " HH24:MI", " HH12:MI:SS AM", " HH12:MI AM"];
    let with_time = |day| TIMES.iter().filter_map(move |time| Layout::parse(&format!("{day}{time}")).ok());
    DAYS.iter().copied().chain(["YYYY-MM-DD"]).flat_map(with_time)
}

/// What the values leave open.
fn but(declared: &SourceColumn, column: &SourceColumn, taken: &impl Fn(&SourceColumn) -> bool) -> Option<String> {
    let swapped = column.reading.layout.as_ref().and_then(|layout| {
        let text = layout.text();
        let other = text.strip_prefix("DD/MM").map(|rest| format!("MM/DD{rest}"))?;
        let layout = Layout::parse(&other).ok()?;
        Some(SourceColumn { reading: Reading { layout: Some(layout), ..column.reading.clone() }, ..column.clone() })
    });
    if swapped.is_some_and(|swapped| taken(&swapped)) {
        return Some("or MM/DD: these values do not tell whether the day or the month comes first".into());
    }
    if column.reading.zone.is_some() && declared.reading.zone.is_none() {
        return Some("instead of UTC write the zone whose clock the times are from".into());
    }
    (is_text(&column.kind) && !is_text(&declared.kind))
        .then(|| "no other type takes all values that were seen; as text the query can look at them".into())
}

fn is_text(kind: &ColumnKind) -> bool {
    matches!(kind, ColumnKind::Char(_) | ColumnKind::Varchar(_) | ColumnKind::Varbyte(_))
}

#[cfg(test)]
mod tests {
    use operators::values::path::Path;

    use super::*;
    use crate::job::explain::column_text;

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
        assert!(!takes(&column, format, &values), "{text} takes {values:?}");
        let instead = instead(&column, format, &values)?;
        assert!(takes(&instead.column, format, &values), "{instead:?}");
        let text = column_text(&instead.column, column.reading.strict);
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
            ("integer", &["0.30000000000000004"], "double precision"),
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
            ("decimal(12,2)", &["0.30000000000000004"], "decimal(12,2), on = { scale = \"round\" }"),
            ("decimal(12,2)", &["1e60"], "decimal(12,2), on = { range = \"null\" }"),
            ("decimal(12,2)", &["\"NaN\"", "1"], "double precision"),
            ("real", &["1e39"], "double precision"),
            ("double precision", &["1e400"], "double precision, on = { range = \"null\" }"),
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
            ("timestamptz; seconds", &["1795514400123"], "timestamptz, time = \"epoch_ms\""),
            ("integer; empty", &["12.5", "\"\""], "decimal(11,1), on = { empty = \"null\" }"),
            ("integer; empty", &["\"N/A\"", "\"\""], "varchar(64)"),
            ("timestamptz", &["\"2026-11-24 10:00\""], "timestamptz, zone = \"UTC\""),
            ("timestamptz; epoch", &["\"2026-11-24 10:00\"", "5"], "timestamptz, time = \"epoch_ms\", zone = \"UTC\""),
            ("timestamp", &["\"2026-11-24T10:00:00Z\""], "timestamptz"),
            ("timestamp", &["\"2026-11-24T10:00:00Z\"", "\"2026-11-24 10:00\""], "timestamp, zone = \"UTC\""),
            ("timestamp", &["\"2026-11-24\""], "date"),
            ("timestamp", &["\"24.11.2026 10:00\""], "timestamp, layout = \"DD.MM.YYYY HH24:MI\""),
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
        let expected = "varchar(10), on = { long = \"truncate\" }";
        assert_eq!(line("varchar(10)", Format::Json, &[&long]).as_deref(), Some(expected));
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
        assert!(but("date", &["\"01/02/2026\""]).unwrap().contains("MM/DD"));
        assert_eq!(but("date", &["\"24/02/2026\""]), None);
        assert!(but("timestamptz", &["\"2026-11-24 10:00\""]).unwrap().contains("the zone whose clock"));
        assert!(but("integer", &["\"N/A\""]).unwrap().contains("as text"));
        assert_eq!(but("integer", &["5.5"]), None);
        assert!(
            but("integer", &["1", "2", "\"N/A\""]).unwrap().contains("takes 2 of 3 values that were seen, so mend")
        );
        assert!(but("date", &["1", "2", "\"N/A\"", "null"]).unwrap().contains("it takes 2 of 3 values"));
    }
}
