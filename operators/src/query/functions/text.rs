//! Functions on text. Lengths and places count characters, from 1.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use arrow_array::{ArrayRef, types::Int32Type};
use checkpoint::hex;
use connectors::ColumnKind;
use md5::Digest as _;
use regex::Regex;

use super::{
    arguments::{Arguments, Function},
    kinds::{TEXT, TEXT_BYTES_MAX},
    run::{Run, integer_of, text_of, texts, values},
    typed::{Typed, call},
};
use crate::values::cut;

/// The functions on text.
pub const FUNCTIONS: &[Function] = &[
    Function {
        names: &["upper"],
        form: "upper(text)",
        compile: |a| one(&a, "upper", |t| mapped(t, char::to_uppercase)),
    },
    Function {
        names: &["lower"],
        form: "lower(text)",
        compile: |a| one(&a, "lower", |t| mapped(t, char::to_lowercase)),
    },
    Function {
        names: &["initcap"],
        form: "initcap(text)",
        compile: |a| one(&a, "initcap", |t| Cow::Owned(initcap(t))),
    },
    Function {
        names: &["reverse"],
        form: "reverse(text)",
        compile: |a| one(&a, "reverse", |t| Cow::Owned(t.chars().rev().collect())),
    },
    Function {
        names: &["len", "length", "char_length", "character_length"],
        form: "len(text)",
        compile: |a| number(&a, "len", 1, |t| t[0].chars().count()),
    },
    Function {
        names: &["octet_length"],
        form: "octet_length(text)",
        compile: |a| number(&a, "octet_length", 1, |t| t[0].len()),
    },
    Function {
        names: &["strpos"],
        form: "strpos(text, what)",
        compile: |a| number(&a, "strpos", 2, |t| place_of(t[1], t[0])),
    },
    Function {
        names: &["charindex"],
        form: "charindex(what, text)",
        compile: |a| number(&a, "charindex", 2, |t| place_of(t[0], t[1])),
    },
    Function {
        names: &["btrim", "trim"],
        form: "btrim(text [, characters])",
        compile: |a| trim(&a, "btrim", true, true),
    },
    Function { names: &["ltrim"], form: "ltrim(text [, characters])", compile: |a| trim(&a, "ltrim", true, false) },
    Function { names: &["rtrim"], form: "rtrim(text [, characters])", compile: |a| trim(&a, "rtrim", false, true) },
    Function {
        names: &["concat"],
        form: "concat(text, text)",
        compile: |a| {
            a.count(2..=2)?;
            join(&a)
        },
    },
    Function { names: &["replace"], form: "replace(text, old, new)", compile: replace },
    Function { names: &["translate"], form: "translate(text, characters, others)", compile: translate },
    Function { names: &["left"], form: "left(text, number)", compile: |a| end(&a, "left") },
    Function { names: &["right"], form: "right(text, number)", compile: |a| end(&a, "right") },
    Function { names: &["substring", "substr"], form: "substring(text, start [, number])", compile: substring },
    Function { names: &["split_part"], form: "split_part(text, delimiter, number)", compile: split_part },
    Function { names: &["repeat", "replicate"], form: "repeat(text, number)", compile: repeat },
    Function { names: &["lpad"], form: "lpad(text, number [, with])", compile: |a| pad(&a, "lpad") },
    Function { names: &["rpad"], form: "rpad(text, number [, with])", compile: |a| pad(&a, "rpad") },
    Function {
        names: &["md5"],
        form: "md5(text)",
        compile: |a| one(&a, "md5", |t| Cow::Owned(hex(&md5::Md5::digest(t.as_bytes())))),
    },
    Function { names: &["sha2"], form: "sha2(text, bits)", compile: sha2 },
    Function { names: &["regexp_substr"], form: "regexp_substr(text, 'pattern')", compile: regexp_substr },
    Function {
        names: &["regexp_replace"],
        form: "regexp_replace(text, 'pattern' [, 'replacement'])",
        compile: regexp_replace,
    },
    Function { names: &["regexp_count"], form: "regexp_count(text, 'pattern')", compile: regexp_count },
    Function { names: &["regexp_instr"], form: "regexp_instr(text, 'pattern')", compile: regexp_instr },
];

fn one(arguments: &Arguments, name: &str, of: fn(&str) -> Cow<'_, str>) -> Result<Typed, String> {
    arguments.count(1..=1)?;
    let run: Run = Arc::new(move |arrays| texts(arrays, |row| Ok(Some(of(text_of(&arrays[0], row))))));
    Ok(call(name, vec![arguments.text(0)?], TEXT, run))
}

fn number(arguments: &Arguments, name: &str, count: usize, of: fn(&[&str]) -> usize) -> Result<Typed, String> {
    arguments.count(count..=count)?;
    let run: Run = Arc::new(move |arrays| {
        let result = values::<Int32Type>(arrays, |row| {
            let all: Vec<&str> = arrays.iter().map(|array| text_of(array, row)).collect();
            Ok(Some(of(&all) as i32))
        })?;
        Ok(Arc::new(result))
    });
    let arguments = (0..count).map(|i| arguments.text(i)).collect::<Result<_, _>>()?;
    Ok(call(name, arguments, ColumnKind::Integer, run))
}

/// Characters that have no single counterpart stay as they are.
fn mapped<I: Iterator<Item = char>>(text: &str, of: fn(char) -> I) -> Cow<'_, str> {
    let one = |c: char| {
        let mut mapped = of(c);
        match (mapped.next(), mapped.next()) {
            (Some(only), None) => only,
            _ => c,
        }
    };
    if text.chars().all(|c| one(c) == c) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(one).collect())
}

fn initcap(text: &str) -> String {
    let mut inside = false;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let mut buffer = [0; 4];
        let c = &*c.encode_utf8(&mut buffer);
        out += &if inside { mapped(c, char::to_lowercase) } else { mapped(c, char::to_uppercase) };
        inside = c.chars().all(char::is_alphanumeric);
    }
    out
}

fn place_of(what: &str, text: &str) -> usize {
    text.find(what).map_or(0, |at| text[..at].chars().count() + 1)
}

fn trim(arguments: &Arguments, name: &str, start: bool, end: bool) -> Result<Typed, String> {
    arguments.count(1..=2)?;
    let run: Run = Arc::new(move |arrays| {
        texts(arrays, |row| {
            let mut text = text_of(&arrays[0], row);
            let set = arrays.get(1).map_or(" ", |set| text_of(set, row));
            let all: HashSet<char> = set.chars().collect();
            let in_set = |c: char| all.contains(&c);
            if start {
                text = text.trim_start_matches(in_set);
            }
            if end {
                text = text.trim_end_matches(in_set);
            }
            Ok(Some(Cow::Borrowed(text)))
        })
    });
    let arguments = (0..arguments.len()).map(|i| arguments.text(i)).collect::<Result<_, _>>()?;
    Ok(call(name, arguments, TEXT, run))
}

/// `text || text`; NULL if one of them is.
pub fn join(arguments: &Arguments) -> Result<Typed, String> {
    let parts = (0..arguments.len()).map(|i| arguments.text(i)).collect::<Result<_, _>>()?;
    let run: Run = Arc::new(|arrays| {
        texts(arrays, |row| Ok(Some(arrays.iter().map(|array| text_of(array, row)).collect::<String>().into())))
    });
    Ok(call("||", parts, TEXT, run))
}

fn replace(arguments: Arguments) -> Result<Typed, String> {
    arguments.count(3..=3)?;
    let run: Run = Arc::new(|arrays| {
        texts(arrays, |row| {
            let (text, old, new) = (text_of(&arrays[0], row), text_of(&arrays[1], row), text_of(&arrays[2], row));
            let count = if old.is_empty() { 0 } else { text.matches(old).count() };
            // Known before it is made.
            let bytes = text.len() - count * old.len() + count.saturating_mul(new.len());
            if bytes > TEXT_BYTES_MAX as usize {
                return Err(too_long(bytes as i64));
            }
            Ok(Some(if count == 0 { Cow::Borrowed(text) } else { Cow::Owned(text.replace(old, new)) }))
        })
    });
    Ok(call("replace", vec![arguments.text(0)?, arguments.text(1)?, arguments.text(2)?], TEXT, run))
}

fn translate(arguments: Arguments) -> Result<Typed, String> {
    arguments.count(3..=3)?;
    let run: Run = Arc::new(|arrays| {
        texts(arrays, |row| {
            let (text, from, to) = (text_of(&arrays[0], row), text_of(&arrays[1], row), text_of(&arrays[2], row));
            // The first place of a character counts.
            let mut others: HashMap<char, Option<char>> = HashMap::new();
            let mut to = to.chars();
            for c in from.chars() {
                let other = to.next();
                others.entry(c).or_insert(other);
            }
            let one = |c: char| others.get(&c).copied().unwrap_or(Some(c));
            Ok(Some(text.chars().filter_map(one).collect::<String>().into()))
        })
    });
    Ok(call("translate", vec![arguments.text(0)?, arguments.text(1)?, arguments.text(2)?], TEXT, run))
}

/// The text from character `from` up to before character `to`, both counted from 0.
fn slice(text: &str, from: i64, to: i64) -> &str {
    let mut places = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    let from = from.max(0);
    let Some(start) = places.nth(from as usize) else { return "" };
    if to <= from {
        return "";
    }
    let end = places.nth((to - from - 1) as usize).unwrap_or(text.len());
    &text[start..end]
}

fn end(arguments: &Arguments, name: &'static str) -> Result<Typed, String> {
    arguments.count(2..=2)?;
    let run: Run = Arc::new(move |arrays| {
        texts(arrays, |row| {
            let (text, count) = (text_of(&arrays[0], row), integer_of(&arrays[1], row));
            if count < 0 {
                return Err(format!("{name}() with a negative length: {count}"));
            }
            let skip = if name == "left" { 0 } else { text.chars().count() as i64 - count };
            Ok(Some(Cow::Borrowed(slice(text, skip, skip.max(0).saturating_add(count)))))
        })
    });
    Ok(call(name, vec![arguments.text(0)?, arguments.integer(1)?], TEXT, run))
}

fn substring(arguments: Arguments) -> Result<Typed, String> {
    arguments.count(2..=3)?;
    let run: Run = Arc::new(|arrays| {
        texts(arrays, |row| {
            let (text, start) = (text_of(&arrays[0], row), integer_of(&arrays[1], row).saturating_sub(1));
            let end = match arrays.get(2).map(|count| integer_of(count, row)) {
                Some(count) if count < 0 => return Err(format!("substring() with a negative length: {count}")),
                Some(count) => start.saturating_add(count),
                None => i64::MAX,
            };
            Ok(Some(Cow::Borrowed(slice(text, start, end))))
        })
    });
    let mut compiled = vec![arguments.text(0)?, arguments.integer(1)?];
    if arguments.len() == 3 {
        compiled.push(arguments.integer(2)?);
    }
    Ok(call("substring", compiled, TEXT, run))
}

fn split_part(arguments: Arguments) -> Result<Typed, String> {
    arguments.count(3..=3)?;
    let run: Run = Arc::new(|arrays| {
        texts(arrays, |row| {
            let (text, delimiter) = (text_of(&arrays[0], row), text_of(&arrays[1], row));
            let number = integer_of(&arrays[2], row);
            let Some(place) = usize::try_from(number).ok().and_then(|n| n.checked_sub(1)) else {
                return Err(format!("split_part() counts from 1: {number}"));
            };
            let part = match delimiter.is_empty() {
                true => (place == 0).then_some(text),
                false => text.split(delimiter).nth(place),
            };
            Ok(Some(Cow::Borrowed(part.unwrap_or(""))))
        })
    });
    Ok(call("split_part", vec![arguments.text(0)?, arguments.text(1)?, arguments.integer(2)?], TEXT, run))
}

fn too_long(bytes: i64) -> String {
    format!("a text longer than any in Redshift: {bytes} bytes")
}

fn repeat(arguments: Arguments) -> Result<Typed, String> {
    arguments.count(2..=2)?;
    let run: Run = Arc::new(|arrays| {
        texts(arrays, |row| {
            let (text, count) = (text_of(&arrays[0], row), integer_of(&arrays[1], row).max(0));
            // Known before it is made.
            let bytes = (text.len() as i64).saturating_mul(count);
            if bytes > i64::from(TEXT_BYTES_MAX) {
                return Err(too_long(bytes));
            }
            Ok(Some(text.repeat(if text.is_empty() { 0 } else { count as usize }).into()))
        })
    });
    Ok(call("repeat", vec![arguments.text(0)?, arguments.integer(1)?], TEXT, run))
}

fn pad(arguments: &Arguments, name: &'static str) -> Result<Typed, String> {
    arguments.count(2..=3)?;
    let run: Run = Arc::new(move |arrays| {
        texts(arrays, |row| {
            let (text, count) = (text_of(&arrays[0], row), integer_of(&arrays[1], row).max(0));
            if count > i64::from(TEXT_BYTES_MAX) {
                return Err(format!("a text longer than any in Redshift: {count} characters"));
            }
            let with = arrays.get(2).map_or(" ", |with| text_of(with, row));
            let missing = count - text.chars().count() as i64;
            if missing <= 0 || with.is_empty() {
                return Ok(Some(Cow::Borrowed(slice(text, 0, count))));
            }
            let filling: String = with.chars().cycle().take(missing as usize).collect();
            Ok(Some(if name == "lpad" { filling + text } else { text.to_string() + &filling }.into()))
        })
    });
    let mut compiled = vec![arguments.text(0)?, arguments.integer(1)?];
    if arguments.len() == 3 {
        compiled.push(arguments.text(2)?);
    }
    Ok(call(name, compiled, TEXT, run))
}

fn sha2(arguments: Arguments) -> Result<Typed, String> {
    arguments.count(2..=2)?;
    let bits = arguments.0[1].expr.to_string();
    let digest: fn(&[u8]) -> String = match bits.as_str() {
        "0" | "256" => |text| hex(&sha2::Sha256::digest(text)),
        "224" => |text| hex(&sha2::Sha224::digest(text)),
        "384" => |text| hex(&sha2::Sha384::digest(text)),
        "512" => |text| hex(&sha2::Sha512::digest(text)),
        _ => return Err("the number of bits must be written as 0, 224, 256, 384 or 512".into()),
    };
    let run: Run =
        Arc::new(move |arrays| texts(arrays, |row| Ok(Some(digest(text_of(&arrays[0], row).as_bytes()).into()))));
    Ok(call(format!("sha2 {bits}"), vec![arguments.text(0)?], TEXT, run))
}

/// How large a compiled pattern may be, in bytes.
const PATTERN_BYTES: usize = 1 << 20;

/// A pattern, compiled once.
pub fn pattern(text: &str, any_case: bool) -> Result<Regex, String> {
    let built = regex::RegexBuilder::new(text).case_insensitive(any_case).size_limit(PATTERN_BYTES).build();
    built.map_err(|e| format!("{text:?} is not a pattern: {}", cut(&e.to_string().replace('\n', " "), 200)))
}

fn regexp_substr(arguments: Arguments) -> Result<Typed, String> {
    arguments.count(2..=2)?;
    let found = pattern(arguments.quoted(1)?, false)?;
    let name = format!("regexp_substr {found:?}");
    let run: Run = Arc::new(move |arrays| {
        texts(arrays, |row| Ok(Some(found.find(text_of(&arrays[0], row)).map_or("", |m| m.as_str()).into())))
    });
    Ok(call(name, vec![arguments.text(0)?], TEXT, run))
}

fn regexp_replace(arguments: Arguments) -> Result<Typed, String> {
    arguments.count(2..=3)?;
    let found = pattern(arguments.quoted(1)?, false)?;
    let new = if arguments.len() == 3 { arguments.quoted(2)?.to_string() } else { String::new() };
    // Groups are \1 in Redshift; what is $1 elsewhere is a dollar sign and a one.
    let mut groups = new.replace('$', "$$");
    for digit in 0..=9 {
        groups = groups.replace(&format!("\\{digit}"), &format!("${{{digit}}}"));
    }
    let name = format!("regexp_replace {found:?} {new:?}");
    let run: Run = Arc::new(move |arrays| {
        texts(arrays, |row| Ok(Some(found.replace_all(text_of(&arrays[0], row), groups.as_str()))))
    });
    Ok(call(name, vec![arguments.text(0)?], TEXT, run))
}

fn regexp_count(arguments: Arguments) -> Result<Typed, String> {
    arguments.count(2..=2)?;
    let found = pattern(arguments.quoted(1)?, false)?;
    let name = format!("regexp_count {found:?}");
    let run: Run = Arc::new(move |arrays| {
        let of = |row| Ok(Some(found.find_iter(text_of(&arrays[0], row)).count() as i32));
        Ok(Arc::new(values::<Int32Type>(arrays, of)?) as ArrayRef)
    });
    Ok(call(name, vec![arguments.text(0)?], ColumnKind::Integer, run))
}

fn regexp_instr(arguments: Arguments) -> Result<Typed, String> {
    arguments.count(2..=2)?;
    let found = pattern(arguments.quoted(1)?, false)?;
    let name = format!("regexp_instr {found:?}");
    let run: Run = Arc::new(move |arrays| {
        let of = |row| {
            let text = text_of(&arrays[0], row);
            Ok(Some(found.find(text).map_or(0, |m| text[..m.start()].chars().count() as i32 + 1)))
        };
        Ok(Arc::new(values::<Int32Type>(arrays, of)?) as ArrayRef)
    });
    Ok(call(name, vec![arguments.text(0)?], ColumnKind::Integer, run))
}

/// `text ~ 'pattern'`.
pub fn matches(text: Typed, found: &str, any_case: bool) -> Result<Typed, String> {
    let regex = pattern(found, any_case)?;
    let name = format!("~{} {found:?}", if any_case { "*" } else { "" });
    let arguments = Arguments(vec![text]);
    let run: Run = Arc::new(move |arrays| {
        use arrow_array::{Array, BooleanArray, cast::AsArray};
        let texts = arrays[0].as_string::<i32>();
        let bits = (0..texts.len()).map(|row| texts.is_valid(row).then(|| regex.is_match(texts.value(row))));
        Ok(Arc::new(BooleanArray::from_iter(bits)))
    });
    Ok(call(name, vec![arguments.text(0)?], ColumnKind::Boolean, run))
}

/// `text ILIKE`: letters of ASCII are small, all others as they are.
pub fn small(text: Typed) -> Result<Typed, String> {
    one(&Arguments(vec![text]), "small letters", |text| match text.bytes().any(|b| b.is_ascii_uppercase()) {
        true => Cow::Owned(text.to_ascii_lowercase()),
        false => Cow::Borrowed(text),
    })
}

/// The text without blanks at its end, which do not count where texts are compared.
pub fn without_blanks(text: Typed) -> Typed {
    use arrow_array::{Array, cast::AsArray};
    let run: Run = Arc::new(|arrays| {
        let all = arrays[0].as_string::<i32>();
        let none = (0..all.len()).all(|row| all.is_null(row) || !all.value(row).ends_with(' '));
        if none {
            return Ok(arrays[0].clone());
        }
        // What is only compared may be longer than any column.
        let trimmed = all.iter().map(|text| text.map(|text| text.trim_end_matches(' ')));
        Ok(Arc::new(arrow_array::StringArray::from_iter(trimmed)))
    });
    call("without blanks at the end", vec![text.expr], TEXT, run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_count_characters() {
        for (from, to, expected) in
            [(0, 2, "aä"), (1, 3, "äö"), (-2, 1, "a"), (2, 99, "öx"), (4, 9, ""), (9, 12, ""), (2, 2, ""), (-5, -1, "")]
        {
            assert_eq!(slice("aäöx", from, to), expected, "{from}..{to}");
        }
    }

    #[test]
    fn characters_of_both_cases() {
        assert_eq!(mapped("straße ÄÖ", char::to_uppercase), "STRAßE ÄÖ");
        assert_eq!(initcap("hELLO wORLD-ok 1st"), "Hello World-Ok 1st");
        assert_eq!((place_of("ö", "aäöx"), place_of("z", "a"), place_of("", "a")), (3, 0, 1));
    }
}
