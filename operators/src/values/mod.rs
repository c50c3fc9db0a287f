//! Single values: text to numbers, moments and bytes, and what is done with one that does not fit.
//!
//! Pure functions, used by decode on what a record says and by fit on what a column takes. Nothing here rounds, wraps or
//! cuts by itself: a value that a type cannot hold exactly is a [`Problem`], and the column's [`Policy`] says what becomes
//! of it.

pub mod arrow;
pub mod json;
pub mod lenient;
pub mod number;
pub mod path;
pub mod pattern;
pub mod reading;
pub mod shown;
pub mod timestamp;
pub mod zone;

use connectors::ColumnKind;

pub use shown::{Visible, shown};

/// What is wrong with a value. Its text begins with words that do not depend on the value, then a colon and what was
/// found, so that dead letters can be counted by reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Longer than the column, in bytes.
    Long(String),
    /// Beyond the least or the greatest value of the type.
    Range(String),
    /// More digits after the point than the column has.
    Scale(String),
    /// Text with a NUL character, which Redshift takes into no text.
    Nul,
    /// A text without anything in it, where the type has no such value.
    Empty(String),
    /// A value of another kind altogether; no policy applies.
    Kind(String),
}

impl Problem {
    /// As the reason of a dead letter.
    pub fn reason(self) -> String {
        match self {
            Problem::Long(text)
            | Problem::Range(text)
            | Problem::Scale(text)
            | Problem::Empty(text)
            | Problem::Kind(text) => text,
            Problem::Nul => "text with a NUL character".into(),
        }
    }
}

/// What becomes of a value with a problem.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Action {
    /// The record becomes a dead letter.
    #[default]
    Reject,
    /// NULL stands for the value.
    Null,
    /// What does not fit is cut off: bytes at the end of a text, digits at the end of a number, NUL characters.
    Truncate,
    /// Digits after the point are rounded, half away from zero as Redshift does.
    Round,
}

impl Action {
    fn word(self) -> &'static str {
        match self {
            Action::Reject => "reject",
            Action::Null => "null",
            Action::Truncate => "truncate",
            Action::Round => "round",
        }
    }
}

/// What is done with values that do not fit, for one column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Text or bytes too long: reject, truncate or null.
    pub long: Action,
    /// Out of range: reject or null.
    pub range: Action,
    /// Too many digits after the point: reject, round, truncate or null.
    pub scale: Action,
    /// NUL characters: reject, truncate (they are left out) or null.
    pub nul: Action,
    /// A text without anything in it, where that is not a value: reject or null.
    pub empty: Action,
}

impl Policy {
    /// What it says, as a job file writes it: by key, the action and its word.
    pub fn words(&self) -> [(&'static str, Action, &'static str); 5] {
        let Policy { long, range, scale, nul, empty } = *self;
        // To leave a character out is to strip it.
        let of_nul = if nul == Action::Truncate { "strip" } else { nul.word() };
        let said = |key, action: Action| (key, action, action.word());
        [said("long", long), said("range", range), said("scale", scale), ("nul", nul, of_nul), said("empty", empty)]
    }

    /// The keys that can act where values of this type are read from records.
    pub fn keys_of(kind: &ColumnKind) -> &'static [&'static str] {
        use ColumnKind::*;
        match kind {
            Boolean => &["empty"],
            SmallInt | Integer | BigInt | Real | Double | Date | Timestamp | TimestampTz => &["range", "empty"],
            Decimal(..) => &["range", "scale", "empty"],
            Char(_) | Varchar(_) => &["long", "nul"],
            Varbyte(_) => &["long"],
            Other(_) => &[],
        }
    }

    /// What of it can act where values of this type are read.
    pub fn of_kind(self, kind: &ColumnKind) -> Policy {
        let of = |key, action| if Policy::keys_of(kind).contains(&key) { action } else { Action::Reject };
        Policy {
            long: of("long", self.long),
            range: of("range", self.range),
            scale: of("scale", self.scale),
            nul: of("nul", self.nul),
            empty: of("empty", self.empty),
        }
    }

    /// What it says of a problem.
    pub fn action(&self, problem: &Problem) -> Action {
        match problem {
            Problem::Long(_) => self.long,
            Problem::Range(_) => self.range,
            Problem::Scale(_) => self.scale,
            Problem::Nul => self.nul,
            Problem::Empty(_) => self.empty,
            Problem::Kind(_) => Action::Reject,
        }
    }
}

/// The longest beginning of a text with at most so many bytes.
pub fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// Whether Redshift takes a text into a column of so many bytes; `single` is for CHAR, which takes no character of several.
pub fn check_text(text: &str, most: usize, single: bool) -> Result<(), Problem> {
    if text.as_bytes().contains(&0) {
        return Err(Problem::Nul);
    }
    if single && !text.is_ascii() {
        return Err(Problem::Kind("a character of several bytes where char takes only those of one".into()));
    }
    if text.len() > most {
        let kind = if single { "char" } else { "varchar" };
        return Err(Problem::Long(format!("longer than {kind}({most}): {} bytes", text.len())));
    }
    Ok(())
}

/// A text as its policy wants it: itself, what is left of it, or `None` for NULL; and whether it was changed.
pub fn fit_text<'a>(
    text: &'a str,
    most: usize,
    single: bool,
    policy: &Policy,
    spare: &'a mut String,
) -> Result<(Option<&'a str>, bool), Problem> {
    let Err(problem) = check_text(text, most, single) else { return Ok((Some(text), false)) };
    match (policy.action(&problem), &problem) {
        (Action::Null, _) => Ok((None, true)),
        (Action::Truncate, Problem::Long(_)) => Ok((Some(cut(text, most)), true)),
        (Action::Truncate, Problem::Nul) => {
            spare.clear();
            spare.extend(text.chars().filter(|c| *c != '\0'));
            // Without them it may still be too long.
            match check_text(spare, most, single) {
                Ok(()) => Ok((Some(spare), true)),
                Err(Problem::Long(why)) => match policy.long {
                    Action::Truncate => Ok((Some(cut(spare, most)), true)),
                    Action::Null => Ok((None, true)),
                    _ => Err(Problem::Long(why)),
                },
                Err(other) => Err(other),
            }
        }
        _ => Err(problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_their_policies() {
        let fit = |text: &str, most, single, policy: Policy| {
            fit_text(text, most, single, &policy, &mut String::new())
                .map(|(text, changed)| (text.map(str::to_string), changed))
                .map_err(Problem::reason)
        };
        let some = |text: &str| Some(text.to_string());
        let reject = Policy::default();
        let cut = Policy { long: Action::Truncate, nul: Action::Truncate, ..reject };
        let null = Policy { long: Action::Null, nul: Action::Null, ..reject };
        assert_eq!(fit("äöü", 6, false, reject), Ok((some("äöü"), false)), "bytes count, and these are six");
        assert_eq!(fit("äöü", 5, false, reject), Err("longer than varchar(5): 6 bytes".into()));
        assert_eq!(fit("äöü", 5, false, cut), Ok((some("äö"), true)), "never in the middle of a character");
        assert_eq!(fit("äöü", 5, false, null), Ok((None, true)));
        assert_eq!(fit("a\0b", 9, false, reject), Err("text with a NUL character".into()));
        assert_eq!(fit("a\0b", 9, false, cut), Ok((some("ab"), true)));
        assert_eq!(fit("a\0bcd", 2, false, cut), Ok((some("ab"), true)));
        assert_eq!(fit("a\0b", 9, false, null), Ok((None, true)));
        assert_eq!(fit("abc", 3, true, reject), Ok((some("abc"), false)));
        assert_eq!(fit("abc", 2, true, cut), Ok((some("ab"), true)));
        assert!(fit("ä", 9, true, cut).is_err(), "no policy makes one byte of two");
    }
}
