//! Reads a TOML file key by key, and says of everything that is wrong where it stands.

use std::{collections::BTreeSet, ops::Range, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// Something wrong with the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Bytes of the file.
    pub span: Range<usize>,
    /// What is wrong.
    pub what: String,
    /// What to do about it; may be empty.
    pub help: String,
}

/// All findings of a file, in the order they were made.
#[derive(Default)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    /// One more.
    pub fn add(&mut self, span: Range<usize>, what: impl Into<String>, help: impl Into<String>) {
        self.0.push(Finding { span, what: what.into(), help: help.into() });
    }
}

/// A table of the file, and which of its keys were asked for.
pub struct Section<'a> {
    table: &'a DeTable<'a>,
    span: Range<usize>,
    name: &'a str,
    known: BTreeSet<&'static str>,
}

/// A value and its place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Its bytes in the file.
    pub span: Range<usize>,
}

/// A secret: where it is to be found, never the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// In a variable of the environment.
    Env(String),
    /// In a file; line ends at its end do not belong to it.
    File(String),
}

impl Secret {
    /// The secret, where it is used.
    pub fn resolve(&self) -> Result<String, String> {
        match self {
            Secret::Env(name) => std::env::var(name).map_err(|_| format!("the environment has no variable {name}")),
            Secret::File(path) => {
                let text =
                    std::fs::read_to_string(path).map_err(|e| format!("cannot read the secret in {path}: {e}"))?;
                Ok(text.trim_end_matches(['\n', '\r']).to_string())
            }
        }
    }
}

impl<'a> Section<'a> {
    /// The table `name`, at `span`.
    pub fn new(table: &'a DeTable<'a>, span: Range<usize>, name: &'a str) -> Section<'a> {
        Section { table, span, name, known: BTreeSet::new() }
    }

    /// Where it stands.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    fn get(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.insert(key);
        self.table.get(key)
    }

    /// Where the key stands, if it is there.
    fn key_span(&self, key: &str) -> Option<Range<usize>> {
        self.table.keys().find(|k| k.get_ref() == key).map(|k| k.span())
    }

    fn wrong_type(&self, findings: &mut Findings, key: &str, value: &Spanned<DeValue<'_>>, example: &str) {
        findings.add(
            value.span(),
            format!("`{key}` is a {}", value.get_ref().type_str()),
            format!("write it like {example}"),
        );
    }

    /// A string with `${NAME}` replaced.
    pub fn text(&mut self, findings: &mut Findings, key: &'static str) -> Option<Placed<String>> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::String(text) => {
                expand(findings, text, value.span()).map(|value_text| Placed { value: value_text, span: value.span() })
            }
            _ => {
                self.wrong_type(findings, key, value, &format!("{key} = \"...\""));
                None
            }
        }
    }

    /// A string that must be there.
    pub fn required(&mut self, findings: &mut Findings, key: &'static str) -> Option<Placed<String>> {
        if self.get(key).is_none() {
            findings.add(self.span.clone(), no_key(self.name, key), format!("add {key} = \"...\""));
        }
        self.text(findings, key)
    }

    /// A whole number, or a string that holds one once `${NAME}` is replaced.
    pub fn number(&mut self, findings: &mut Findings, key: &'static str) -> Option<Placed<u64>> {
        let value = self.get(key)?;
        let text = match value.get_ref() {
            DeValue::Integer(number) => Some(number.as_str().replace('_', "")),
            DeValue::String(text) => expand(findings, text, value.span()),
            _ => {
                self.wrong_type(findings, key, value, &format!("{key} = 1000"));
                None
            }
        }?;
        match text.parse() {
            Ok(number) => Some(Placed { value: number, span: value.span() }),
            Err(_) => {
                findings.add(value.span(), format!("`{key}`: {text} is not a whole number"), "");
                None
            }
        }
    }

    /// A time such as `30s`.
    pub fn duration(&mut self, findings: &mut Findings, key: &'static str) -> Option<Duration> {
        let text = self.text(findings, key)?;
        let duration = parse_duration(&text.value);
        if duration.is_none() {
            findings.add(
                text.span,
                format!("`{key}`: {:?} is not a time", text.value),
                "write it like \"500ms\", \"30s\", \"10m\", \"1h\" or \"90d\"",
            );
        }
        duration
    }

    /// A size such as `256 MB`, in bytes.
    pub fn size(&mut self, findings: &mut Findings, key: &'static str) -> Option<Placed<u64>> {
        let text = self.text(findings, key)?;
        let size = parse_size(&text.value);
        if size.is_none() {
            findings.add(
                text.span.clone(),
                format!("`{key}`: {:?} is not a size", text.value),
                "write it like \"256 MB\" or \"1 GB\"",
            );
        }
        size.map(|value| Placed { value, span: text.span })
    }

    /// One of a few words.
    pub fn one_of<T: Copy>(&mut self, findings: &mut Findings, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(findings, key)?;
        let found = words.iter().find(|(word, _)| *word == text.value).map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            findings.add(
                text.span,
                format!("`{key}` cannot be {:?}", text.value),
                format!("it can be {}", known.join(" or ")),
            );
        }
        found
    }

    /// `{ env = "NAME" }` or `{ file = "path" }`. A secret that is written out is refused.
    pub fn secret(&mut self, findings: &mut Findings, key: &'static str) -> Option<Secret> {
        let value = self.get(key)?;
        secret_of(findings, key, value)
    }

    /// A table below this one.
    pub fn section(&mut self, findings: &mut Findings, key: &'static str) -> Option<Section<'a>> {
        let value = self.get(key)?;
        let span = self.key_span(key).unwrap_or_else(|| value.span());
        match value.get_ref() {
            DeValue::Table(table) => Some(Section::new(table, span, key)),
            _ => {
                self.wrong_type(findings, key, value, &format!("[{key}]"));
                None
            }
        }
    }

    /// A table below this one, where keys are names.
    pub fn named_section(&self, findings: &mut Findings, name: &'a str) -> Option<Section<'a>> {
        let value = self.table.get(name)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Section::new(table, value.span(), name)),
            _ => {
                self.wrong_type(findings, name, value, &format!("{name} = {{ ... }}"));
                None
            }
        }
    }

    /// A list of at least one string, each with `${NAME}` replaced.
    pub fn texts(&mut self, findings: &mut Findings, key: &'static str) -> Option<Vec<Placed<String>>> {
        let value = self.get(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(findings, key, value, &format!("{key} = [\"...\"]"));
            return None;
        };
        let mut texts = Vec::new();
        if items.is_empty() {
            findings.add(value.span(), format!("`{key}` is empty"), format!("write it like {key} = [\"a\", \"b\"]"));
        }
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(text) => {
                    texts.extend(expand(findings, text, item.span()).map(|value| Placed { value, span: item.span() }))
                }
                _ => self.wrong_type(findings, key, item, &format!("{key} = [\"...\"]")),
            }
        }
        Some(texts)
    }

    /// Tables `[[key]]`.
    pub fn sections(&mut self, findings: &mut Findings, key: &'static str) -> Vec<Section<'a>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let mut sections = Vec::new();
        if let DeValue::Array(items) = value.get_ref() {
            for item in items.iter() {
                match item.get_ref() {
                    DeValue::Table(table) => sections.push(Section::new(table, item.span(), key)),
                    _ => self.wrong_type(findings, key, item, &format!("[[{key}]]")),
                }
            }
        } else {
            self.wrong_type(findings, key, value, &format!("[[{key}]]"));
        }
        sections
    }

    /// Every key of this table, for tables whose keys are names.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, Range<usize>, &'a Spanned<DeValue<'a>>)> {
        self.table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value))
    }

    /// The raw value of a key, for those that may have several forms.
    pub fn any(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.get(key)
    }

    /// Refuses a key that means something, though not yet.
    pub fn not_yet(&mut self, findings: &mut Findings, key: &'static str, what: &str) {
        if self.get(key).is_some() {
            let span = self.key_span(key).unwrap_or_else(|| self.span.clone());
            findings.add(span, format!("`{key}` ({what}) is not supported yet"), "");
        }
    }

    /// Refuses every key that nobody asked for, with the nearest one that exists.
    pub fn finish(self, findings: &mut Findings) {
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if self.known.contains(name) {
                continue;
            }
            let near = self.known.iter().map(|known| (strsim::damerau_levenshtein(known, name), *known)).min();
            let help = match near {
                Some((distance, known)) if distance <= known.len().max(name.len()) / 2 => {
                    // One mistake, one finding: the key is there, under another name.
                    let missing = no_key(self.name, known);
                    findings.0.retain(|finding| finding.what != missing);
                    format!("did you mean `{known}`?")
                }
                _ => format!(
                    "[{}] knows {}",
                    self.name,
                    self.known.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ")
                ),
            };
            findings.add(key.span(), format!("unknown key `{name}`"), help);
        }
    }
}

fn no_key(section: &str, key: &str) -> String {
    format!("[{section}] has no `{key}`")
}

/// A secret in one of its two forms.
pub fn secret_of(findings: &mut Findings, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Secret> {
    let help = "write { env = \"NAME\" } or { file = \"path\" }, so that it is not in the job file";
    if let DeValue::Table(table) = value.get_ref()
        && let Some((kind, name)) = table.iter().next()
        && let (1, Some(name)) = (table.len(), name.get_ref().as_str())
    {
        match kind.get_ref().as_ref() {
            "env" => return Some(Secret::Env(name.into())),
            "file" => return Some(Secret::File(name.into())),
            _ => {}
        }
    }
    findings.add(value.span(), format!("`{key}` is a secret"), help);
    None
}

/// Replaces `${NAME}` by the environment's value.
pub fn expand(findings: &mut Findings, text: &str, span: Range<usize>) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        out += &rest[..start];
        let Some(end) = rest[start..].find('}') else {
            findings.add(span, "`${` without `}`", "");
            return None;
        };
        let name = &rest[start + 2..start + end];
        match std::env::var(name) {
            Ok(value) => out += &value,
            Err(_) => {
                findings.add(span, format!("the environment has no variable {name}"), "");
                return None;
            }
        }
        rest = &rest[start + end + 1..];
    }
    Some(out + rest)
}

/// A time such as `30s` or `90d`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let millis = match text[digits..].trim() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).filter(|ms| *ms > 0).map(Duration::from_millis)
}

fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let bytes = match text[digits..].trim() {
        "B" => 1,
        "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes).filter(|b| *b > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes() {
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("10 m"), Some(Duration::from_secs(600)));
        assert_eq!(parse_size("256 MB"), Some(256_000_000));
        assert_eq!(parse_size("1GiB"), Some(1 << 30));
        for bad in ["", "s", "10", "-1s", "0s", "1 day", "1.5h", "99999999999999999999h"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
        for bad in ["", "MB", "10", "0 MB", "1 mb", "1.5 GB"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }
}
