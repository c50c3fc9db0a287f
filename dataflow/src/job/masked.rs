//! The text of a job file as messages show it: nobody may read a secret in it, wherever somebody wrote one, and whatever is wrong with
//! the line. Pure, and byte for byte as long as the file.
//!
//! Where servers are declared a value is shown if its key is known and is no secret. Where records and queries are declared all is shown
//! but for what follows a key that may be one.

use std::ops::Range;

use connectors::kafka::{NAMES, PropertyProblem, check_property};

use super::keys;

/// Keys with one of these in them may hold a secret, also where the key is misspelt.
const MAY_BE_SECRET: [&str; 7] = ["pas", "secre", "jaas", "key", "pem", "token", "cred"];
/// Sections without servers.
const OF_RECORDS: [&str; 3] = ["[[stream", "[[target", "[[table"];
/// The quotes of texts of several lines.
const LONG_QUOTES: [&str; 2] = ["\"\"\"", "'''"];

/// The text with stars for what is hidden; `hidden` is so in any case.
pub fn masked(text: &str, hidden: impl Iterator<Item = Range<usize>>) -> String {
    let (mut shown, mut of_records, mut inside) = (String::new(), false, None);
    for line in text.split_inclusive('\n') {
        if let (None, Some(header)) = (inside, header(line)) {
            of_records = OF_RECORDS.iter().any(|section| header.starts_with(section));
            shown += line;
            continue;
        }
        shown += &match (of_records, inside) {
            (true, _) => masked_line(line),
            (false, Some(_)) => stars(line),
            (false, None) => careful_line(line),
        };
        for quotes in LONG_QUOTES {
            // An odd number opens or closes.
            if line.matches(quotes).count() % 2 == 1 && inside.is_none_or(|open| open == quotes) {
                inside = if inside.is_some() { None } else { Some(quotes) };
            }
        }
    }
    let mut bytes = shown.into_bytes();
    for hidden in hidden {
        let hidden = bytes.get_mut(hidden).into_iter().flatten();
        hidden.filter(|byte| **byte != b'\n').for_each(|byte| *byte = b'*');
    }
    // What is hidden is whole, so what is left is text.
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The name of a section in its brackets, if the line is one and nothing else.
fn header(line: &str) -> Option<&str> {
    let line = line.trim();
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_.-[] ".contains(c);
    (line.starts_with('[') && line.ends_with(']') && line.chars().all(is_name)).then_some(line)
}

/// A star for each byte.
fn stars(text: &str) -> String {
    text.bytes().map(|byte| if matches!(byte, b'\n' | b'\r' | b' ' | b'\t') { byte as char } else { '*' }).collect()
}

/// A line of which what does not follow a known key is hidden.
fn careful_line(line: &str) -> String {
    let (mut shown, mut quote, mut begins, mut equals) = (String::new(), None, 0, None);
    let piece = |from: usize, to: usize, equals: Option<usize>| match equals {
        Some(at) if is_open(&line[from..at]) && !line[at + 1..to].trim_start().starts_with('[') => {
            line[from..to].to_string()
        }
        Some(at) => line[from..=at].to_string() + &stars(&line[at + 1..to]),
        None => stars(&line[from..to]),
    };
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '=') if equals.is_none() => equals = Some(at),
            (None, ',' | '{' | '}') => {
                shown += &piece(begins, at, equals.take());
                shown.push(c);
                begins = at + 1;
            }
            (None, '#') => {
                shown += &piece(begins, at, equals.take());
                return shown + "#" + &stars(&line[at + 1..]);
            }
            (None, _) => {}
        }
    }
    shown + &piece(begins, line.len(), equals)
}

/// Whether anyone may read what such a key says.
fn is_open(key: &str) -> bool {
    let key = key.trim().trim_matches(['"', '\'']).trim();
    let is_ours = keys::KEYS.iter().any(|known| known.name == key && known.kind != keys::Kind::Secret);
    let is_property = NAMES.contains(&key)
        && check_property(key, None).is_ok()
        && check_property(key, Some("")) != Err(PropertyProblem::Secret);
    // The parts of a secret's form; and what `properties` says is in its own keys.
    matches!(key, "env" | "file") || key != "properties" && is_ours || is_property
}

/// A line with stars for what follows such a key, unless that says where the secret is.
fn masked_line(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    for (equals, _) in lower.match_indices('=') {
        let begins = lower[..equals].rfind(['{', ',', '=']).map_or(0, |at| at + 1);
        let (key, value) = (lower[begins..equals].trim(), lower[equals + 1..].trim_start());
        // A word, as keys are. A condition of a query has several, mostly.
        let is_key = key.chars().all(|c| c.is_alphanumeric() || "._-\"'*".contains(c));
        let says_where = value.strip_prefix('{').is_some_and(|rest| {
            let rest = rest.trim_start();
            rest.starts_with("env") || rest.starts_with("file")
        });
        // What matches keys of records is a word of ours.
        if is_key && !says_where && key != "keys" && MAY_BE_SECRET.iter().any(|word| key.contains(word)) {
            let at = line.len() - value.len();
            return line[..at].to_string() + &stars(&line[at..]);
        }
    }
    line.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wherever_a_secret_is_written_it_is_not_shown() {
        for line in [
            "properties = { \"sasl.password\": \"canary\" }",
            "properties = { \"sasl.password \" = \"canary\" }",
            "properties = [\"sasl.password=canary\"]",
            "properties = \"sasl.password=canary\"",
            "properties = { \"client.rack\" = \"a\", \"basic.auth.user.info\" = \"u:canary\" }",
            "\"sasl.kerberos.kinit.cmd\" = \"kinit -p canary\"",
            "\"sasl.password\" = \"canary\"",
            "password: \"canary\"",
            "password \"canary\"",
            "password = canary",
            "pwd = \"canary\"",
            "pw = 'canary'",
            "host = \"h\" # canary",
            "canary",
            "password = \"\"\"\ncanary\\q\"\"\"",
            "iam_role = \"arn:x\", pw = \"canary\"",
        ] {
            let text = format!(
                "version = 1\n[redshift]\n{line}\nport = 5439\n[[target]]\nquery = \"SELECT canaries FROM s\"\n"
            );
            let shown = masked(&text, std::iter::empty());
            assert!(!shown.contains("canary") && shown.len() == text.len(), "{line}: {shown}");
            assert!(
                shown.contains("version = 1") && shown.contains("port = 5439") && shown.contains("SELECT canaries"),
                "{shown}"
            );
        }
    }

    #[test]
    fn what_is_no_secret_is_shown() {
        let text = "[kafka]\nbrokers = \"b:1,c:2\"\nproperties = { \"sasl.password\" = { env = \"NAME\" }, \"sasl.username\" = \"ü\" }\n\
                    [redshift]\npassword = { file = \"/run/p\" }\nschema = \"tidegate\"\n[[stream]]\nkeys = \"ignore_case\"\n\
                    columns = [ { name = \"a\", type = \"bigint\" }, { name = \"b\", tipe = \"char(3)\" } ]\n\
                    [[target]]\nquery = \"\"\"\nSELECT a FROM s WHERE api_key = 1 AND b = 'x'\n[x]\n\"\"\"\n";
        assert_eq!(masked(text, std::iter::empty()), text);
    }
}
