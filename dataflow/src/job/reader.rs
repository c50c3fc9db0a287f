//! Reads a TOML file key by key, and says of everything that is wrong where it stands. What a key may be and what holds without it
//! is declared in `keys.rs`: to ask for a key that is not there, or not to ask for one that is, is a finding of every job file.
//!
//! One mistake is one finding. A misspelt key is read as the one that was meant, so that nothing else is said to be missing; and what
//! a message lists or suggests is what would be taken in that place.

use std::{collections::BTreeSet, ops::Range, time::Duration};

use checkpoint::Micros;
use operators::values::timestamp;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    elsewhere::{Secret, System, What},
    findings::Findings,
    keys::{self, Absent, Key, Kind},
    secret::secret_of,
    spelling::nearest,
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
    /// Keys that have no meaning here, because of what others say.
    meaningless: BTreeSet<&'static str>,
}

/// The name of the whole file as a section.
const ROOT: &str = "job file";

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
        Section::new(findings, Some(table), span, ROOT, "")
    }

    /// A table with the keys that are declared for `path`. Those that mean something, though not yet, are refused.
    fn new(
        findings: &mut Findings,
        table: Option<&'a DeTable<'a>>,
        span: Range<usize>,
        name: &'a str,
        path: &'static str,
    ) -> Section<'a> {
        let section = Section { table, span, name, path, asked: BTreeSet::new(), meaningless: BTreeSet::new() };
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

    /// Takes the meaning from a key, because of what others say: it is refused where it is written, and never suggested. Before it is
    /// asked for.
    pub fn refuse(&mut self, findings: &mut Findings, key: &'static str, why: &str, help: &str) {
        if let Some(span) = self.key_span(key) {
            findings.add(span, format!("`{key}` has no meaning {why}"), help);
        }
        self.meaningless.insert(key);
    }

    /// Whether the key is written here, whatever its value is, under its own name or a misspelt one.
    pub fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Whether the key would be taken here.
    fn takes(&self, key: &Key) -> bool {
        let is_excluded = keys::of(self.path).any(|other| match (other.default, key.default) {
            (Absent::Or(instead), _) if instead == key.name => self.is_written(other.name),
            (_, Absent::Or(instead)) if instead == other.name => self.is_written(other.name),
            _ => false,
        });
        key.kind != Kind::NotYet && !self.meaningless.contains(key.name) && !is_excluded
    }

    fn is_written(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// The key that is meant by one that is not declared.
    fn meant_by(&self, written: &str) -> Option<&'static Key> {
        let near = nearest(written, keys::of(self.path).map(|key| key.name))?;
        keys::find(self.path, near).filter(|key| self.takes(key))
    }

    /// A key as it is written, perhaps misspelt, and its value.
    fn entry(&self, key: &str) -> Option<(Range<usize>, Value<'a>)> {
        let mut written = self.table.into_iter().flat_map(entries);
        if self.is_written(key) {
            return written.find(|(name, _, _)| *name == key).map(|(_, span, value)| (span, value));
        }
        let is_meant = |name: &str| {
            keys::find(self.path, name).is_none() && self.meant_by(name).is_some_and(|meant| meant.name == key)
        };
        written.find(|(name, _, _)| is_meant(name)).map(|(_, span, value)| (span, value))
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
        let value = if self.meaningless.contains(name) { None } else { self.entry(name).map(|(_, value)| value) };
        Some((key, value))
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
        let value = value?;
        let secret = secret_of(findings, key.name, value)?;
        let system = if self.path == "redshift" { System::Redshift } else { System::S3 };
        findings.need(system, key.name, What::Secret(secret.clone()), value.span());
        Some(secret)
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
                let span = self.entry(key.name).map_or(value.span(), |(span, _)| span);
                return Some(Section::new(findings, Some(table), span, key.name, path));
            }
            Some((value, _)) => {
                wrong_type(findings, key.name, value, ("a table", &format!("[{}]", key.name)));
                return None;
            }
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

    /// Tables `[[key]]`. Where there must be some and are none, they are missed.
    pub fn sections(&mut self, findings: &mut Findings, key: &'static str) -> Vec<Section<'a>> {
        let Some((key, value)) = self.ask(findings, key, |kind| matches!(kind, Kind::Tables(_))) else {
            return Vec::new();
        };
        let Kind::Tables(path) = key.kind else { return Vec::new() };
        let items = match value.map(|value| (value, value.get_ref())) {
            Some((_, DeValue::Array(items))) if !items.is_empty() => items,
            Some((_, DeValue::Array(_))) | None => {
                if key.default == Absent::Required {
                    self.missing_tables(findings, key, path);
                }
                return Vec::new();
            }
            Some((value, _)) => {
                wrong_type(findings, key.name, value, ("a list of tables", &self.tables_form(key, path)));
                return Vec::new();
            }
        };
        let mut sections = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::Table(table) => {
                    sections.push(Section::new(findings, Some(table), item.span(), key.name, path));
                }
                _ => wrong_type(findings, key.name, item, ("a table", &self.tables_form(key, path))),
            }
        }
        sections
    }

    fn missing_tables(&self, findings: &mut Findings, key: &Key, path: &str) {
        let form = self.tables_form(key, path);
        match self.path {
            "" => {
                let what = format!("the {} has no [[{}]]", self.name, key.name);
                findings.add(self.span(), what, format!("add {form}"));
            }
            _ => findings.add(self.span(), no_key(self.name, key.name), format!("add {form}")),
        }
    }

    /// How tables of a key are written, with what each must have.
    fn tables_form(&self, key: &Key, path: &str) -> String {
        let required = keys::of(path).filter(|key| matches!(key.default, Absent::Required | Absent::Or(_)));
        let required: Vec<&str> = required.map(|key| key.name).collect();
        match self.path {
            "" => format!("[[{}]] with {}", key.name, required.join(", ")),
            _ => {
                let required: Vec<String> = required.iter().map(|name| format!("{name} = \"...\"")).collect();
                format!("{} = [ {{ {} }} ]", key.name, required.join(", "))
            }
        }
    }

    /// Refuses every key that is not declared, with the one that was meant, or all that would be taken.
    pub fn finish(self, findings: &mut Findings) {
        for key in keys::of(self.path).filter(|key| key.kind != Kind::NotYet && !self.asked.contains(key.name)) {
            findings.add(self.span(), format!("a bug: nobody reads the key {}", key.path()), "");
        }
        for (name, span, value) in self.table.into_iter().flat_map(entries) {
            if keys::find(self.path, name).is_some() {
                continue;
            }
            let meant = self.meant_by(name);
            let is_there = meant.is_some_and(|meant| self.is_written(meant.name));
            let help = match (meant, self.elsewhere(name)) {
                (Some(meant), _) if !is_there => format!("did you mean `{}`?", meant.name),
                (_, Some(section)) => format!("it is a key of [{section}]"),
                (Some(meant), None) => format!("did you mean `{}`, which is there already?", meant.name),
                (None, None) => {
                    let mut taken: Vec<&str> =
                        keys::of(self.path).filter(|key| self.takes(key)).map(|key| key.name).collect();
                    taken.sort_unstable();
                    let taken: Vec<String> = taken.iter().map(|name| format!("`{name}`")).collect();
                    format!("{} knows {}", in_brackets(self.name), taken.join(", "))
                }
            };
            // A value is not judged under a name that is a guess. A table is: each of its keys is a mistake of its own.
            if meant.is_some() && !is_there && !matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_)) {
                findings.0.retain(|finding| finding.span != value.span());
            }
            findings.add(span, format!("unknown key `{name}`"), help);
            if let (Some(Kind::Secret), Some(finding)) = (meant.map(|key| key.kind), findings.0.last_mut())
                && value.get_ref().is_str()
            {
                finding.hidden = Some(value.span());
            }
        }
    }

    /// The section that has a key of this name, if there is one alone.
    fn elsewhere(&self, name: &str) -> Option<&'static str> {
        let is_here = |section: &str| section.is_empty() || section == self.path;
        let mut found = keys::KEYS.iter().filter(|key| key.name == name && key.kind != Kind::NotYet);
        match (found.next(), found.next()) {
            (Some(key), None) if !is_here(key.section) => Some(key.section),
            _ => None,
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
    format!("{} has no `{key}`", in_brackets(section))
}

/// A section as messages name it.
fn in_brackets(section: &str) -> String {
    match section {
        ROOT => format!("the {section}"),
        section => format!("[{section}]"),
    }
}
