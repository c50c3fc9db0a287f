//! Declarations that may be what a column should have been, the nearest first. Pure; which of them take the values is
//! tried elsewhere.

use connectors::ColumnKind;
use operators::{
    schema::SourceColumn,
    values::{
        Action, Policy,
        reading::{Epoch, Layout, Reading},
        zone::Zone,
    },
};

use super::{
    epoch::epoch,
    layouts,
    seen::{Seen, digits},
};

/// Declarations of the same family, the nearest first.
pub fn nearby(declared: &SourceColumn, values: &[Seen]) -> Vec<SourceColumn> {
    use ColumnKind::*;
    let of = |kind: ColumnKind| with(declared, kind, Reading::default());
    let length = longest(values);
    let is_longer = |most: &u32| length > *most as usize;
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
            near.extend(decimals(values, 0, 0).map(of));
            near.push(of(Double));
        }
        Decimal(precision, scale) => {
            near.extend(decimals(values, u32::from(precision - scale), u32::from(*scale)).map(of));
        }
        Real => near.push(of(Double)),
        Double | Other(_) => {}
        Char(most) => {
            near.extend((is_longer(most) && wide(length) <= 4096).then(|| of(Char(wide(length)))));
            near.push(of(Varchar(wide(length))));
        }
        Varchar(most) => near.extend(is_longer(most).then(|| of(Varchar(wide(length))))),
        Varbyte(most) => {
            let room = wide(length).max(length.min(16_777_216) as u32);
            near.extend(is_longer(most).then(|| of(Varbyte(room))));
        }
        Date => near.extend(dates(declared, values)),
        Timestamp | TimestampTz => near.extend(times(declared, values)),
    }
    near.retain(|column| column != declared);
    near
}

/// Instead of a date.
fn dates(declared: &SourceColumn, values: &[Seen]) -> Vec<SourceColumn> {
    use ColumnKind::{Date, Timestamp, TimestampTz};
    let own = own(declared);
    let epoch = |epoch: Epoch| with(declared, TimestampTz, Reading { epoch: Some(epoch), ..Reading::default() });
    let layout = |kind: ColumnKind, layout: Layout, base: Reading| {
        with(declared, kind, Reading { layout: Some(layout), ..base })
    };
    let days = layouts::days().map(|day| layout(Date, day, own.clone()));
    let plain = [TimestampTz, Timestamp].map(|kind| with(declared, kind, Reading::default()));
    let times = layouts::times().map(|time| layout(Timestamp, time, Reading::default()));
    days.chain(plain).chain(self::epoch(values).map(epoch)).chain(times).collect()
}

/// Instead of a timestamp.
fn times(declared: &SourceColumn, values: &[Seen]) -> Vec<SourceColumn> {
    use ColumnKind::{Date, Timestamp, TimestampTz};
    let (kind, own) = (declared.kind.clone(), own(declared));
    let read = |reading: Reading| with(declared, kind.clone(), reading);
    let zone = own.zone.or(Zone::parse("UTC"));
    let epoch = epoch(values).or(own.epoch);
    let mut near = vec![read(Reading { epoch, ..own.clone() })];
    near.extend((kind == Timestamp).then(|| with(declared, TimestampTz, Reading::default())));
    near.push(read(Reading { zone, ..own.clone() }));
    near.push(read(Reading { epoch, zone, ..own.clone() }));
    near.push(with(declared, Date, Reading::default()));
    let layout_zone = if kind == TimestampTz { zone } else { own.zone };
    let all = layouts::times().chain(layouts::days());
    near.extend(all.map(|layout| read(Reading { layout: Some(layout), zone: layout_zone, ..own.clone() })));
    near
}

/// How the column is read now, less that it is strict.
fn own(declared: &SourceColumn) -> Reading {
    Reading { strict: false, any_case: false, ..declared.reading.clone() }
}

/// Declarations of other families that are no text.
pub fn others(declared: &SourceColumn, values: &[Seen]) -> Vec<SourceColumn> {
    use ColumnKind::*;
    if is_text(&declared.kind) {
        return Vec::new();
    }
    let kinds =
        [BigInt].into_iter().chain(decimals(values, 0, 0)).chain([Double, Boolean, TimestampTz, Timestamp, Date]);
    let kinds = kinds.filter(|kind| *kind != declared.kind);
    kinds.map(|kind| with(declared, kind, Reading::default())).collect()
}

/// Text and bytes, which take nearly everything.
pub fn texts(declared: &SourceColumn, values: &[Seen]) -> Vec<SourceColumn> {
    let length = wide(longest(values));
    let of = |kind: ColumnKind| with(declared, kind, Reading::default());
    let (text, bytes) = (of(ColumnKind::Varchar(length)), of(ColumnKind::Varbyte(length)));
    let policy = Policy { long: Action::Truncate, nul: Action::Truncate, ..text.policy };
    let cut = SourceColumn { policy, ..text.clone() };
    match declared.kind {
        ColumnKind::Char(_) | ColumnKind::Varchar(_) => vec![bytes],
        ColumnKind::Varbyte(_) => vec![text, cut],
        _ => vec![text, cut, bytes],
    }
}

/// Whether values of a type are text or bytes.
pub fn is_text(kind: &ColumnKind) -> bool {
    matches!(kind, ColumnKind::Char(_) | ColumnKind::Varchar(_) | ColumnKind::Varbyte(_))
}

/// The same column with another type, which keeps what is said of its key.
fn with(declared: &SourceColumn, kind: ColumnKind, reading: Reading) -> SourceColumn {
    let any_case = declared.reading.any_case;
    // A word that cannot act on the new type would be refused.
    let policy = declared.policy.of_kind(&kind);
    SourceColumn { kind, reading: Reading { any_case, ..reading }, policy, ..declared.clone() }
}

/// Decimals with at least so many digits before and after the point: the one that has all digits of all numbers, or,
/// where there is none, those that leave out the greatest numbers, or the last digits.
fn decimals(values: &[Seen], least_whole: u32, least_scale: u32) -> impl Iterator<Item = ColumnKind> {
    let mut all: Vec<(u32, u32)> = values.iter().filter_map(Seen::number).map(digits).collect();
    all.sort_unstable();
    let scale_of = |all: &[(u32, u32)]| all.iter().map(|(_, scale)| *scale).fold(least_scale, u32::max);
    let whole_of = |all: &[(u32, u32)]| all.last().map_or(0, |(whole, _)| *whole);
    let fits = |all: &[(u32, u32)]| whole_of(all).max(least_whole) + scale_of(all) <= 38 && scale_of(all) <= 37;
    let decimal = |whole: u32, scale: u32| {
        // What is declared has room enough for what fits it; else with room for greater numbers than those that were
        // seen.
        let is_room = whole <= least_whole && least_whole > 0;
        let digits = if is_room { least_whole } else { (whole + 2).max(10) } + scale;
        let digits = if digits <= 38 { digits } else { whole.max(least_whole) + scale };
        ColumnKind::Decimal(digits as u8, scale as u8)
    };
    let kept = (0..=all.len()).rev().map(|count| &all[..count]).find(|all| fits(all));
    let smaller = kept.map(|kept| decimal(whole_of(kept), scale_of(kept)));
    let whole = whole_of(&all).max(least_whole);
    let rounded = (kept.is_none_or(|kept| kept.len() < all.len()) && whole < 38)
        .then(|| decimal(whole_of(&all), scale_of(&all).min(38 - whole).min(37)));
    smaller.into_iter().chain(rounded)
}

/// The longest of them, in bytes.
pub fn longest(values: &[Seen]) -> usize {
    values.iter().map(Seen::bytes).max().unwrap_or(0)
}

/// A length with room for longer values than those that were seen.
fn wide(longest: usize) -> u32 {
    let steps = [64, 256, 1024, 4096, 16_384, 65_535];
    steps.into_iter().find(|step| *step as usize >= longest * 2).unwrap_or(65_535)
}
