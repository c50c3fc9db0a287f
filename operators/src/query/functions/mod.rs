//! The functions, operators and casts of a query, as Redshift means them.
//!
//! DataFusion's expressions know how to evaluate CASE, AND, IN, LIKE and comparisons over batches; what a function, an
//! operator or a cast *means* differs from system to system, so those are ours: each is a [`Call`] of a plain function from
//! arrays to an array. One that fails on a row fails the batch, and whoever evaluates it finds the row
//! ([`mod@crate::query`]).
//!
//! A function that is not in [`find`] does not exist. So nothing volatile does: what a query gives for a record must be the
//! same whenever the record is read again.

mod arguments;
pub mod arithmetic;
pub mod cast;
pub mod interval;
mod json;
mod kinds;
pub mod logic;
mod run;
pub mod text;
mod time;
mod typed;
mod written_time;

pub use arguments::{Arguments, Function};
pub use kinds::{TEXT, TEXT_BYTES_MAX};
pub use run::Run;
pub use typed::{Call, Kind, Typed, call, number};

/// The function of this name, in lower case.
pub fn find(name: &str) -> Option<&'static Function> {
    all().find(|function| function.names.contains(&name))
}

/// All functions.
pub fn all() -> impl Iterator<Item = &'static Function> {
    [text::FUNCTIONS, json::FUNCTIONS, time::FUNCTIONS, arithmetic::FUNCTIONS].into_iter().flatten()
}

/// Whether the first argument of a function is the name of a part of a time, which may stand without quotes.
pub fn time_part_first(name: &str) -> bool {
    time::PART_FIRST.contains(&name)
}

/// Whether a word is a part of a time; if not, in words.
pub fn check_time_part(word: &str) -> Result<(), String> {
    time::part(word).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page lists each function with its form, and no other.
    #[test]
    fn the_page_on_queries_knows_every_function() {
        let page = include_str!("../../../../docs/sql.md");
        let listed: Vec<&str> =
            page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(form, _)| form)).collect();
        for function in all() {
            assert!(listed.contains(&function.form), "{}", function.form);
        }
        // Four more are forms of CASE.
        assert_eq!(listed.len(), all().count() + 4, "{listed:?}");
    }

    #[test]
    fn names_are_unique_and_no_function_is_volatile() {
        let mut seen = std::collections::BTreeSet::new();
        for name in all().flat_map(|function| function.names) {
            assert!(seen.insert(name), "{name} twice");
        }
        for volatile in ["random", "getdate", "sysdate", "now", "current_timestamp", "timeofday"] {
            assert!(find(volatile).is_none(), "{volatile}");
        }
    }
}
