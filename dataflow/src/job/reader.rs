//! Reads a TOML file key by key, and says of everything that is wrong where it stands. What a key may be and what holds without it
//! is declared in `keys.rs`: to ask for a key that is not there, or not to ask for one that is, is a finding of every job file.

use std::{collections::BTreeSet, ops::Range, time::Duration};

use checkpoint::Micros;
use operators::values::timestamp;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    findings::Findings,
    keys::{self, Absent, Key, Kind},
    secret::{Secret, secret_of},
    written::{expand, parse_duration, parse_share, parse_size},
};

/// A table of the file, and which of its keys were asked for.
pub struct Section<'a> {
    /// `None` where the file leaves it out, so that every default holds.
    table: Option<&'a DeTable<'a>>,
    span: Range<usize>,
    /// As messages say it.
    name: &'a str,
    /// As its keys are declared.
    path: &'static str,
    asked: BTreeSet<&'static str>,
}

/// A value and its place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Its bytes in the file.
    pub span: Range<usize>,
}

/// Some value of the file.
type Value<'a> = &'a Spanned<DeValue<'a>>;

impl<'a> Section<'a> {
    /// The whole file.
    pub fn root(findings: &mut Findings, table: &'a DeTable<'a>, span: Range<usize>) -> Section<'a> {
        Section::new(findings, Some(table), span, "job file", "")
    }

    /// A table with the keys that are declared for `path`. Those that mean something, though not yet, are refused.
    fn new(
        findings: &mut Findings,
        table: Option<&'a DeTable<'a>>,
        span: Range<usize>,
        name: &'a str,
        path: &'static str,
    ) -> Section<'a> {
        let section = Section { table, span, name, path, asked: BTreeSet::new() };
        for key in keys::of(path).filter(|key| key.kind == Kind::NotYet) {
            if let Some(span) = section.key_span(key.name) {
                findings.add(span, format!("`{}` ({}) is not supported yet", key.name, key.what), "remove it");
            }
        }
        section
    }

    /// Where it stands.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// A key as it is declared, and its value.
    fn ask(
        &mut self,
        findings: &mut Findings,
        name: &'static str,
        is: impl Fn(Kind) -> bool,
    ) -> Option<(&'static Key, Option<Value<'a>>)> {
        let declared = keys::find(self.path, name).filter(|key| is(key.kind));
        let Some(key) = declared else {
            findings.add(
                self.span(),
                format!("a bug: [{}] {name} is declared as something else, or not", self.path),
                "",
            );
            return None;
        };
        self.asked.insert(name);
        Some((key, self.table.and_then(|table| table.get(name))))
    }

    /// A key of one kind, and its value.
    fn of_kind(
        &mut self,
        findings: &mut Findings,
        key: &'static str,
        kind: Kind,
    ) -> Option<(&'static Key, Option<Value<'a>>)> {
        self.ask(findings, key, |declared| declared == kind)
    }

    /// Where the key stands, if it is there.
    fn key_span(&self, key: &str) -> Option<Range<usize>> {
        self.table?.keys().find(|k| k.get_ref() == key).map(|k| k.span())
    }

    /// A string with `${NAME}` replaced, or the default.
    fn string(&self, findings: &mut Findings, key: &Key, value: Option<Value<'a>>) -> Option<Placed<String>> {
        let Some(value) = value else { return self.absent(findings, key) };
        match value.get_ref() {
            DeValue::String(text) => {
                expand(findings, text, value.span()).map(|text| Placed { value: text, span: value.span() })
            }
            _ => {
                wrong_type(findings, key.name, value, ("a string", &format!("{} = \"...\"", key.name)));
                None
            }
        }
    }

    /// The default, as it is written. A key that must be there is missed.
    fn absent(&self, findings: &mut Findings, key: &Key) -> Option<Placed<String>> {
        match key.default {
            Absent::Written(text) => Some(Placed { value: text.into(), span: self.span() }),
            Absent::Required => {
                self.missing(findings, key);
                None
            }
            _ => None,
        }
    }

    fn missing(&self, findings: &mut Findings, key: &Key) {
        let example = if key.kind == Kind::Secret { "{ env = \"NAME\" }" } else { "\"...\"" };
        findings.add(self.span(), no_key(self.name, key.name), format!("add {} = {example}", key.name));
    }

    /// A string with `${NAME}` replaced.
    pub fn text(&mut self, findings: &mut Findings, key: &'static str) -> Option<Placed<String>> {
        let (key, value) = self.of_kind(findings, key, Kind::Text)?;
        self.string(findings, key, value)
    }

    /// A string that is missed if it is not there, whatever is declared.
    pub fn required(&mut self, findings: &mut Findings, key: &'static str) -> Option<Placed<String>> {
        let (key, value) = self.of_kind(findings, key, Kind::Text)?;
        if value.is_none() {
            self.missing(findings, key);
            return None;
        }
        self.string(findings, key, value)
    }

    /// A whole number, or a string that holds one once `${NAME}` is replaced.
    pub fn number(&mut self, findings: &mut Findings, key: &'static str) -> Option<Placed<u64>> {
        let (key, value) = self.ask(findings, key, |kind| matches!(kind, Kind::Number | Kind::Version))?;
        let text = match value.map(|value| (value.get_ref(), value.span())) {
            None if key.kind == Kind::Version => return None, // it has a finding of its own
            None => self.absent(findings, key)?,
            Some((DeValue::Integer(number), span)) => Placed { value: number.as_str().replace('_', ""), span },
            Some((DeValue::String(text), span)) => Placed { value: expand(findings, text, span.clone())?, span },
            _ => {
                wrong_type(findings, key.name, value?, ("a whole number", &format!("{} = 1000", key.name)));
                return None;
            }
        };
        match text.value.parse() {
            Ok(number) => Some(Placed { value: number, span: text.span }),
            Err(_) => {
                let what = format!("`{}`: {} is not a whole number", key.name, text.value);
                findings.add(text.span, what, format!("write it like {} = 1000", key.name));
                None
            }
        }
    }

    /// A string that means something: what it means, or `refusal` of it and `help`.
    fn parsed<T>(
        &mut self,
        findings: &mut Findings,
        (key, kind): (&'static str, Kind),
        parse: impl Fn(&str) -> Option<T>,
        (what, help): (&str, &str),
    ) -> Option<Placed<T>> {
        let (key, value) = self.of_kind(findings, key, kind)?;
        let text = self.string(findings, key, value)?;
        let Some(value) = parse(&text.value) else {
            findings.add(text.span, format!("`{}`: {:?} is not a {what}", key.name, text.value), help);
            return None;
        };
        Some(Placed { value, span: text.span })
    }

    /// True or false, or the default.
    pub fn flag(&mut self, findings: &mut Findings, key: &'static str) -> Option<bool> {
        let (key, value) = self.of_kind(findings, key, Kind::Flag)?;
        match (value.map(|value| (value, value.get_ref())), key.default) {
            (Some((_, DeValue::Boolean(flag))), _) => return Some(*flag),
            (Some((value, _)), _) => {
                wrong_type(findings, key.name, value, ("true or false", &format!("{} = true", key.name)))
            }
            (None, Absent::Written(text)) => return text.parse().ok(),
            (None, _) => {}
        }
        None
    }

    /// A time such as `30s`.
    pub fn duration(&mut self, findings: &mut Findings, key: &'static str) -> Option<Duration> {
        let help = "write it like \"500ms\", \"30s\", \"10m\", \"1h\" or \"90d\"";
        self.parsed(findings, (key, Kind::Time), parse_duration, ("time", help)).map(|time| time.value)
    }

    /// A size such as `256 MB`, in bytes.
    pub fn size(&mut self, findings: &mut Findings, key: &'static str) -> Option<Placed<u64>> {
        self.parsed(findings, (key, Kind::Size), parse_size, ("size", "write it like \"256 MB\" or \"1 GB\""))
    }

    /// A share such as `5%`; `None` within if it is `off`.
    pub fn share(&mut self, findings: &mut Findings, key: &'static str) -> Option<Option<f64>> {
        let help = "write it like \"5%\", from 0% up to 100%, or \"off\"";
        self.parsed(findings, (key, Kind::Share), parse_share, ("share", help)).map(|share| share.value)
    }

    /// A moment such as `2026-11-24T00:00:00Z`.
    pub fn moment(&mut self, findings: &mut Findings, key: &'static str) -> Option<Micros> {
        let parse = |text: &str| timestamp::moment(text).ok().map(|(micros, _)| Micros(micros));
        let help = "write it like \"2026-11-24T00:00:00Z\"";
        self.parsed(findings, (key, Kind::Moment), parse, ("moment", help)).map(|moment| moment.value)
    }

    /// One of a few words, which are those that are declared.
    pub fn one_of<T: Copy>(&mut self, findings: &mut Findings, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let declared = |kind| match kind {
            Kind::Words(declared) => words.iter().map(|(word, _)| word).eq(declared),
            _ => false,
        };
        let (key, value) = self.ask(findings, key, declared)?;
        let text = self.string(findings, key, value)?;
        let found = words.iter().find(|(word, _)| *word == text.value).map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            findings.add(
                text.span,
                format!("`{}` cannot be {:?}", key.name, text.value),
                format!("it can be {}", known.join(" or ")),
            );
        }
        found
    }

    /// `{ env = "NAME" }` or `{ file = "path" }`. A secret that is written out is refused.
    pub fn secret(&mut self, findings: &mut Findings, key: &'static str) -> Option<Secret> {
        let (key, value) = self.of_kind(findings, key, Kind::Secret)?;
        if value.is_none() {
            self.absent(findings, key);
        }
        secret_of(findings, key.name, value?)
    }

    /// Where a topic begins: the value of the file, or the word that is the default.
    pub fn start(&mut self, findings: &mut Findings, key: &'static str) -> Option<Result<Value<'a>, &'static str>> {
        let (key, value) = self.of_kind(findings, key, Kind::Start)?;
        match (value, key.default) {
            (Some(value), _) => Some(Ok(value)),
            (None, Absent::Written(text)) => Some(Err(text)),
            (None, _) => None,
        }
    }

    /// A table below this one. Where the file leaves it out, it is one without keys, unless it must be there.
    pub fn section(&mut self, findings: &mut Findings, key: &'static str) -> Option<Section<'a>> {
        let (key, value) = self.ask(findings, key, |kind| matches!(kind, Kind::Table(_)))?;
        let Kind::Table(path) = key.kind else { return None };
        match value.map(|value| (value, value.get_ref())) {
            Some((value, DeValue::Table(table))) => {
                let span = self.key_span(key.name).unwrap_or_else(|| value.span());
                return Some(Section::new(findings, Some(table), span, key.name, path));
            }
            Some((value, _)) => wrong_type(findings, key.name, value, ("a table", &format!("[{}]", key.name))),
            None => {}
        }
        if key.default == Absent::Required {
            findings.add(
                self.span(),
                format!("the {} has no [{}]", self.name, key.name),
                format!("add [{}]", key.name),
            );
            return None;
        }
        Some(Section::new(findings, None, self.span(), key.name, path))
    }

    /// A table of properties: names with values of several kinds.
    pub fn properties(
        &mut self,
        findings: &mut Findings,
        key: &'static str,
    ) -> impl Iterator<Item = (&'a str, Range<usize>, Value<'a>)> + use<'a> {
        let found = self.of_kind(findings, key, Kind::Properties).and_then(|(key, value)| {
            let value = value?;
            let table = value.get_ref().as_table();
            if table.is_none() {
                wrong_type(findings, key.name, value, ("a table", &format!("[{}]", key.name)));
            }
            table
        });
        found.into_iter().flat_map(entries)
    }

    /// A table below this one, where keys are names and values tables.
    pub fn named_sections(
        &mut self,
        findings: &mut Findings,
        key: &'static str,
    ) -> Vec<(&'a str, Range<usize>, NamedSection<'a>)> {
        let Some((key, Some(value))) = self.ask(findings, key, |kind| matches!(kind, Kind::Named(_))) else {
            return Vec::new();
        };
        let Kind::Named(path) = key.kind else { return Vec::new() };
        let Some(table) = value.get_ref().as_table() else {
            wrong_type(findings, key.name, value, ("a table", &format!("[{}]", key.name)));
            return Vec::new();
        };
        entries(table).map(|(name, span, value)| (name, span, NamedSection { name, path, value })).collect()
    }

    /// A list of at least one string, each with `${NAME}` replaced.
    pub fn texts(&mut self, findings: &mut Findings, key: &'static str) -> Option<Vec<Placed<String>>> {
        let (key, value) = self.of_kind(findings, key, Kind::Texts)?;
        let (key, value) = (key.name, value?);
        let DeValue::Array(items) = value.get_ref() else {
            wrong_type(findings, key, value, ("a list of strings", &format!("{key} = [\"...\"]")));
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
                _ => wrong_type(findings, key, item, ("a list of strings", &format!("{key} = [\"...\"]"))),
            }
        }
        Some(texts)
    }

    /// Tables `[[key]]`.
    pub fn sections(&mut self, findings: &mut Findings, key: &'static str) -> Vec<Section<'a>> {
        let Some((key, Some(value))) = self.ask(findings, key, |kind| matches!(kind, Kind::Tables(_))) else {
            return Vec::new();
        };
        let Kind::Tables(path) = key.kind else { return Vec::new() };
        let key = key.name;
        let mut sections = Vec::new();
        if let DeValue::Array(items) = value.get_ref() {
            for item in items.iter() {
                match item.get_ref() {
                    DeValue::Table(table) => {
                        sections.push(Section::new(findings, Some(table), item.span(), key, path));
                    }
                    _ => wrong_type(findings, key, item, ("a table", &format!("[[{key}]]"))),
                }
            }
        } else {
            wrong_type(findings, key, value, ("a list of tables", &format!("[[{key}]]")));
        }
        sections
    }

    /// Refuses every key that is not declared, with the nearest one that is.
    pub fn finish(self, findings: &mut Findings) {
        let mut known: Vec<&Key> = keys::of(self.path).collect();
        known.sort_by_key(|key| key.name);
        for key in known.iter().filter(|key| key.kind != Kind::NotYet && !self.asked.contains(key.name)) {
            findings.add(self.span(), format!("a bug: nobody reads the key {}", key.path()), "");
        }
        for key in self.table.into_iter().flat_map(|table| table.keys()) {
            let name = key.get_ref().as_ref();
            if known.iter().any(|known| known.name == name) {
                continue;
            }
            let near = known.iter().map(|known| (strsim::damerau_levenshtein(known.name, name), known.name)).min();
            let help = match near {
                Some((distance, known)) if distance <= known.len().max(name.len()) / 2 => {
                    // One mistake, one finding: the key is there, under another name.
                    let missing = no_key(self.name, known);
                    findings.0.retain(|finding| finding.what != missing);
                    format!("did you mean `{known}`?")
                }
                _ => {
                    let known: Vec<String> = known.iter().map(|known| format!("`{}`", known.name)).collect();
                    format!("[{}] knows {}", self.name, known.join(", "))
                }
            };
            findings.add(key.span(), format!("unknown key `{name}`"), help);
        }
    }
}

/// A value whose key is a name, and which must be a table.
pub struct NamedSection<'a> {
    name: &'a str,
    path: &'static str,
    value: Value<'a>,
}

impl<'a> NamedSection<'a> {
    /// The table.
    pub fn section(self, findings: &mut Findings) -> Option<Section<'a>> {
        match self.value.get_ref() {
            DeValue::Table(table) => Some(Section::new(findings, Some(table), self.value.span(), self.name, self.path)),
            _ => {
                wrong_type(findings, self.name, self.value, ("a table", &format!("{} = {{ ... }}", self.name)));
                None
            }
        }
    }
}

fn entries<'a>(table: &'a DeTable<'a>) -> impl Iterator<Item = (&'a str, Range<usize>, Value<'a>)> {
    table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value))
}

fn wrong_type(findings: &mut Findings, key: &str, value: &Spanned<DeValue<'_>>, (wanted, example): (&str, &str)) {
    let found = value.get_ref().type_str();
    let article = if found.starts_with(['a', 'i']) { "an" } else { "a" };
    findings.add(
        value.span(),
        format!("`{key}` must be {wanted}, not {article} {found}"),
        format!("write it like {example}"),
    );
}

fn no_key(section: &str, key: &str) -> String {
    format!("[{section}] has no `{key}`")
}
