//! Which name was meant by one that is not known.

/// The nearest of these names, unless it is another word altogether. Case counts for nothing, and so does a part more or less, as in
/// `user_name` for `user`.
pub fn nearest<'n>(written: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let written = written.to_lowercase();
    let is_part = |part: &str, whole: &str| whole.strip_prefix(part).is_some_and(|rest| rest.starts_with(['_', '-']));
    let distance = |known: &str| match is_part(known, &written) || is_part(&written, known) {
        true => 1,
        false => strsim::damerau_levenshtein(known, &written),
    };
    let (distance, name) = known.map(|known| (distance(known), known)).min()?;
    (distance <= name.len().max(written.len()) / 2).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant() {
        let known = ["brokers", "database", "host", "iam_role", "staging", "stream", "user"];
        for (written, meant) in [
            ("brokrs", Some("brokers")),
            ("Brokers", Some("brokers")),
            ("DATABASE", Some("database")),
            ("stagging", Some("staging")),
            ("streams", Some("stream")),
            ("iam-role", Some("iam_role")),
            ("user_name", Some("user")),
            ("iam", Some("iam_role")),
            ("bootstrap", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(written, known.into_iter()), meant, "{written}");
        }
    }
}
