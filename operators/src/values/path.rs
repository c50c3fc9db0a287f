//! Where in a record a value stands: `a.b[0].c`.

use std::fmt;

/// Steps from the top of a record down to a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path(pub Vec<Segment>);

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// The value of this key of an object, as the record spells it.
    Key(String),
    /// The element at this place of an array, counted from 0.
    Item(usize),
}

/// The most steps.
const PATH_SEGMENTS_MAX: usize = 64;

impl Path {
    /// A top-level key, whatever characters it has.
    pub fn key(name: &str) -> Path {
        Path(vec![Segment::Key(name.into())])
    }

    /// Reads `a.b[0].c`. A key with other characters than letters, digits, `_`, `-`, `@`, `$` and blanks between them is written
    /// `["a.b"]`, as a JSON string in brackets.
    pub fn parse(text: &str) -> Result<Path, String> {
        let mut steps = Vec::new();
        let mut rest = text;
        if let Some((root, _)) = without_root(text) {
            return Err(format!("{text:?} begins with `{root}`, as JSONPath does; a path begins with the first key"));
        }
        while !rest.is_empty() {
            if let Some(inside) = rest.strip_prefix('[') {
                let (step, after) = bracket(inside).ok_or_else(|| format!("{rest:?} is not [0] or [\"key\"]"))?;
                steps.push(step);
                rest = after;
            } else {
                let key = match (steps.is_empty(), rest.strip_prefix('.')) {
                    (true, None) => rest,
                    (false, Some(key)) => key,
                    (true, Some(_)) => return Err("it begins with a point".into()),
                    (false, None) => return Err(format!("a point is missing before {rest:?}")),
                };
                let end = key.find(['.', '[']).unwrap_or(key.len());
                let (name, after) = key.split_at(end);
                if !is_bare(name) {
                    return Err(format!("{name:?} cannot stand by itself; write it in brackets, [\"...\"]"));
                }
                steps.push(Segment::Key(name.into()));
                rest = after;
            }
        }
        match steps.first() {
            None => Err("it is empty".into()),
            Some(Segment::Item(_)) => Err("a record is an object, so it begins with a key".into()),
            Some(Segment::Key(_)) if steps.len() > PATH_SEGMENTS_MAX => {
                Err(format!("more than {PATH_SEGMENTS_MAX} steps"))
            }
            Some(Segment::Key(_)) => Ok(Path(steps)),
        }
    }

    /// What was meant by a text that is not a path: JSONPath, or blanks around the path. `None` if nobody can tell.
    pub fn meant(text: &str) -> Option<Path> {
        let text = text.trim();
        let path = without_root(text).map_or(text, |(_, path)| path.strip_prefix('.').unwrap_or(path));
        Path::parse(path).or_else(|_| Path::parse(&path.replace("['", "[\"").replace("']", "\"]"))).ok()
    }
}

/// The root of JSONPath at the beginning of a text, and what follows it.
fn without_root(text: &str) -> Option<(char, &str)> {
    let text = text.trim_start();
    let root = text.chars().next().filter(|c| matches!(c, '$' | '@'))?;
    let path = text[1..].trim_start();
    (path.is_empty() || path.starts_with(['.', '['])).then_some((root, path))
}

/// Whether a key may stand without brackets around it.
fn is_bare(key: &str) -> bool {
    !key.is_empty() && key.trim() == key && key.chars().all(is_plain)
}

/// Whether a key may have this character without brackets around it.
fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '@' | '$' | ' ')
}

fn bracket(inside: &str) -> Option<(Segment, &str)> {
    if inside.starts_with('"') {
        let mut values = serde_json::Deserializer::from_str(inside).into_iter::<String>();
        let key = values.next()?.ok()?;
        return Some((Segment::Key(key), inside[values.byte_offset()..].strip_prefix(']')?));
    }
    let (number, after) = inside.split_once(']')?;
    Some((Segment::Item(number.parse().ok()?), after))
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(place, step)| match step {
            Segment::Key(key) if is_bare(key) && !matches!(key.as_str(), "$" | "@") => {
                write!(f, "{}{key}", if place == 0 { "" } else { "." })
            }
            Segment::Key(key) => write!(f, "[{}]", serde_json::Value::from(key.as_str())),
            Segment::Item(number) => write!(f, "[{number}]"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let key = |name: &str| Segment::Key(name.into());
        for (text, steps) in [
            ("a", vec![key("a")]),
            ("a.b[0].c", vec![key("a"), key("b"), Segment::Item(0), key("c")]),
            (r#"["a.b"].c["]\""][12][3]"#, vec![key("a.b"), key("c"), key("]\""), Segment::Item(12), Segment::Item(3)]),
            ("user-Agent.Größe", vec![key("user-Agent"), key("Größe")]),
        ] {
            let path = Path(steps);
            assert_eq!(path.to_string(), text, "as a person writes it");
            assert_eq!(Path::parse(text), Ok(path), "{text}");
        }
        for odd in ["$", "@", " ", " a", "", "a b", "é", "\n", "[0]"] {
            let path = Path(vec![key(odd), key("x"), Segment::Item(3), key(odd)]);
            assert_eq!(Path::parse(&path.to_string()), Ok(path), "{odd:?}");
        }
        for text in ["$", "$.a", "$[0]", "$['a']", " $.a", "@.a", "@", " @['a']", "  $"] {
            assert!(Path::parse(text).unwrap_err().contains("JSONPath"), "{text}");
        }
        for (text, meant) in [
            ("$.id", Some("id")),
            (" $.id", Some("id")),
            ("@.id", Some("id")),
            (" id ", Some("id")),
            ("$.a[0].b", Some("a[0].b")),
            (r#"$["id"]"#, Some("id")),
            (r#"$["a.b"][0]"#, Some(r#"["a.b"][0]"#)),
            ("$['a']['b c']", Some("a.b c")),
            ("a['b']", Some("a.b")),
            ("$", None),
            ("$..id", None),
            ("$.a[*].b", None),
            ("$[0]", None),
        ] {
            assert_eq!(Path::meant(text).map(|path| path.to_string()).as_deref(), meant, "{text}");
        }
        for text in ["$type", "@timestamp", "@type.x", "a.$"] {
            assert_eq!(Path::parse(text).unwrap().to_string().replace("[\"$\"]", ".$"), text, "keys as they are");
        }
        for text in
            ["", ".a", "a.", "a..b", "[0]", "a[", "a[x]", "a[-1]", "a[0]b", "a[\"x]", "a/b", "a[]", " a", "a ", "a. b"]
        {
            assert!(Path::parse(text).is_err(), "{text}");
        }
        assert!(Path::parse(&"a.".repeat(100)).is_err());
    }
}
