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

/// The nearest to a path that no record has. `taken` are paths of other columns: a key that somebody has declared is not the misspelt one.
pub fn nearest(declared: &Path, paths: &Paths, taken: &[&Path]) -> Option<Near> {
    let near = |found: Option<(&Vec<Segment>, &usize)>, is_case| {
        found.map(|(path, records)| Near { path: Path(path.clone()), records: *records, is_case })
    };
    let all = || paths.iter().filter(|(path, _)| !path.is_empty());
    let by_case = all().find(|(path, _)| differs_in_case(path, &declared.0));
    if by_case.is_some() {
        return near(by_case, true);
    }
    let free = || all().filter(|(path, _)| !taken.iter().any(|taken| taken.0 == **path));
    // The same letters: `userId` for `user_id`, `orderId` for `order.id`, `items[0].id` for `items.id`.
    let letters = folded(&declared.0);
    let best = |found: &mut dyn Iterator<Item = (&'_ Vec<Segment>, &'_ usize)>| {
        let most = found.max_by_key(|(path, records)| (**records, std::cmp::Reverse(path.len())));
        most.map(|(path, records)| Near { path: Path(path.clone()), records: *records, is_case: false })
    };
    // The same name further in, or further out: `id` for `payload.id`.
    let last = declared.0.last().map(|last| folded(std::slice::from_ref(last))).unwrap_or_default();
    let is_last = |path: &[Segment]| {
        !last.is_empty() && path.last().is_some_and(|step| folded(std::slice::from_ref(step)) == last)
    };
    best(&mut free().filter(|(path, _)| !letters.is_empty() && folded(path) == letters))
        .or_else(|| best(&mut free().filter(|(path, _)| is_last(path))))
        .or_else(|| {
            let distance = |path: &[Segment]| strsim::damerau_levenshtein(&folded(path), &letters);
            let limit = (letters.chars().count() / 3).min(3);
            near(free().min_by_key(|(path, _)| distance(path)).filter(|(path, _)| distance(path) <= limit), false)
        })
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
        let found = nearest(&path(&declared), &paths, &taken.iter().collect::<Vec<_>>());
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
        let paths: Paths = [("a", 1), ("b", 5), ("c.d", 9)].map(|(p, n)| (Path::parse(p).unwrap().0, n)).into();
        assert_eq!(top(&paths, 9), ["b", "a"]);
    }
}
