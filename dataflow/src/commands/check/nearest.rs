//! The key of the records that somebody may have meant by a path that none of them has. Pure.

use std::collections::BTreeMap;

use operators::values::path::{Path, Segment};

/// The paths that records have, and how many records have each.
pub type Paths = BTreeMap<Vec<Segment>, usize>;

/// A path that records have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Near {
    /// The path.
    pub path: Path,
    /// How many records have it.
    pub records: usize,
    /// Whether it differs in the case of its keys alone.
    pub is_case: bool,
}

/// The nearest to a path that no record has. `taken` are paths of other columns: a key that somebody has declared is
/// not the misspelt one. `fits` says whether the column takes what stands at a path.
pub fn nearest(declared: &Path, paths: &Paths, taken: &[&Path], fits: &dyn Fn(&Path) -> bool) -> Option<Near> {
    // What a value stands in is not that value.
    let all = || paths.iter().filter(|(path, _)| !path.is_empty() && !is_around(path, &declared.0));
    let by_case = all().filter(|(path, _)| differs_in_case(path, &declared.0)).collect();
    let free = || all().filter(|(path, _)| !taken.iter().any(|taken| taken.0 == **path));
    // The same letters: `userId` for `user_id`, `orderId` for `order.id`, `items[0].id` for `items.id`.
    let letters = folded(&declared.0);
    let by_letters = free().filter(|(path, _)| !letters.is_empty() && folded(path) == letters);
    // The same name further in, or further out: `id` for `payload.id`.
    let last = declared.0.last().map(|last| folded(std::slice::from_ref(last))).unwrap_or_default();
    let is_last = |path: &[Segment]| {
        !last.is_empty() && path.last().is_some_and(|step| folded(std::slice::from_ref(step)) == last)
    };
    let by_last = free().filter(|(path, _)| is_last(path));
    let distance = |path: &[Segment]| strsim::damerau_levenshtein(&folded(path), &letters);
    let limit = (letters.chars().count() / 3).min(3);
    let mut misspelt: Vec<Found<'_>> = free().filter(|(path, _)| distance(path) <= limit).collect();
    misspelt.sort_by_key(|(path, _)| distance(path));
    let kinds = [(by_case, true), (by_records(by_letters), false), (by_records(by_last), false), (misspelt, false)];
    let found = kinds.into_iter().flat_map(|(found, is_case)| found.into_iter().map(move |found| (found, is_case)));
    let near =
        |((path, records), is_case): (Found<'_>, bool)| Near { path: Path(path.clone()), records: *records, is_case };
    found.map(near).find(|near| fits(&near.path))
}

/// A path, and how many records have it.
type Found<'p> = (&'p Vec<Segment>, &'p usize);

/// Those that most records have first, and of these the shortest.
fn by_records<'p>(found: impl Iterator<Item = Found<'p>>) -> Vec<Found<'p>> {
    let mut found: Vec<Found<'p>> = found.collect();
    found.sort_by_key(|(path, records)| (std::cmp::Reverse(**records), path.len()));
    found
}

/// Whether what stands at a path has the other path in it.
fn is_around(path: &[Segment], declared: &[Segment]) -> bool {
    declared.get(..path.len()).is_some_and(|beginning| path.len() < declared.len() && differs_in_case(beginning, path))
}

/// The keys that most records have at their top, for whoever has to look for himself.
pub fn top(paths: &Paths, most: usize) -> Vec<String> {
    let mut keys: Vec<(&Vec<Segment>, &usize)> = paths.iter().filter(|(path, _)| path.len() == 1).collect();
    keys.sort_by_key(|(_, records)| std::cmp::Reverse(**records));
    keys.into_iter().take(most).map(|(path, _)| Path(path.clone()).to_string()).collect()
}

fn differs_in_case(a: &[Segment], b: &[Segment]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|steps| match steps {
            (Segment::Key(a), Segment::Key(b)) => a.eq_ignore_ascii_case(b),
            (a, b) => a == b,
        })
}

/// Letters and digits of all keys, in one case.
fn folded(path: &[Segment]) -> String {
    let keys = path.iter().filter_map(|step| match step {
        Segment::Key(key) => Some(key.as_str()),
        Segment::Item(_) => None,
    });
    keys.flat_map(str::chars).filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(declared: &str, paths: &[&str], taken: &[&str]) -> Option<(String, bool)> {
        let path = |text: &&str| Path::parse(text).unwrap();
        let paths: Paths = paths.iter().map(|text| (path(text).0, 5)).collect();
        let taken: Vec<Path> = taken.iter().map(path).collect();
        let found = nearest(&path(&declared), &paths, &taken.iter().collect::<Vec<_>>(), &|path| {
            !path.to_string().ends_with("odd")
        });
        found.map(|near| (near.path.to_string(), near.is_case))
    }

    #[test]
    fn what_was_meant() {
        let has =
            ["id", "userId", "orderId", "payload", "payload.amount", "items", "items[0].sku", "placedAt", "Größe"];
        for (declared, found) in [
            ("userid", Some(("userId", true))),
            ("ID", Some(("id", true))),
            ("user_id", Some(("userId", false))),
            ("user-id", Some(("userId", false))),
            ("order.id", Some(("orderId", false))),
            ("amount", Some(("payload.amount", false))),
            ("data.amount", Some(("payload.amount", false))),
            ("items.sku", Some(("items[0].sku", false))),
            ("plcedAt", Some(("placedAt", false))),
            ("palcedAt", Some(("placedAt", false))),
            ("größe", Some(("Größe", true))),
            ("country", None),
            ("ix", None),
        ] {
            let expected = found.map(|(path, is_case)| (path.to_string(), is_case));
            assert_eq!(near(declared, &has, &[]), expected, "{declared}");
        }
        assert_eq!(near("userIds", &["userId"], &["userId"]), None, "it is another column");
        assert_eq!(near("USERID", &["userId"], &["userId"]), Some(("userId".into(), true)));
        assert_eq!(near("a", &[], &[]), None);
        assert_eq!(near("a.odd", &["odd", "b.odd"], &[]), None, "the column does not take what stands there");
        assert_eq!(near("odds", &["odd", "oddt"], &[]), Some(("oddt".into(), false)), "the next one that it takes");
        let order = ["payload", "payload.order", "payload.order.id", "payload.order.total"];
        let taken = ["payload.order.id", "payload.order.total"];
        assert_eq!(near("payload.order.qty", &order, &taken), None, "not what it stands in");
        assert_eq!(near("payload.order.order", &order, &taken), None, "not what it stands in");
        let paths: Paths = [("a", 1), ("b", 5), ("c.d", 9)].map(|(p, n)| (Path::parse(p).unwrap().0, n)).into();
        assert_eq!(top(&paths, 9), ["b", "a"]);
    }
}
