//! The keys of the job file, each declared once: what it is called, what it may be, its default, since when there is it, and a line of
//! documentation. The reader, `tidegate explain`, the reference page, suggestions and `tidegate schema` come from here.

use operators::{decode::Format, schema::Mode, sink::encode::Compression, values::reading::Epoch};

/// A key of the job file.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The section in which it stands; "" is the file itself.
    pub section: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// What holds without it.
    pub default: Absent,
    /// The version of the program that had it first.
    pub since: &'static str,
    /// A line of documentation.
    pub what: &'static str,
}

/// What a key may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The version of the job file, a number.
    Version,
    /// A string, with `${NAME}` replaced.
    Text,
    /// A whole number, or a string that holds one.
    Number,
    /// True or false.
    Flag,
    /// Such as `30s`.
    Time,
    /// Such as `64 MB`.
    Size,
    /// Such as `5%`, or `off`.
    Share,
    /// Such as `2026-11-24T00:00:00Z`.
    Moment,
    /// Where a topic begins.
    Start,
    /// `{ env = "NAME" }` or `{ file = "path" }`.
    Secret,
    /// One of a few words.
    Words(&'static [&'static str]),
    /// A list of strings.
    Texts,
    /// A table of names with strings, numbers, booleans or secrets.
    Properties,
    /// A table with the keys of a section.
    Table(&'static str),
    /// A list of tables with the keys of a section.
    Tables(&'static str),
    /// A table of names, each with a table of the keys of a section.
    Named(&'static str),
    /// Means something, though not yet: it is refused.
    NotYet,
}

/// What holds where a key is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// It must be there.
    Required,
    /// It must be there, or this one, and not both.
    Or(&'static str),
    /// This value, as a person would write it.
    Written(&'static str),
    /// What a sentence says.
    Said(&'static str),
    /// That of this key, without which it must not be there.
    With(&'static str),
    /// Nothing.
    Nothing,
}

impl Key {
    /// Its line of documentation, with the words that it may be.
    pub fn documentation(&self) -> String {
        match self.kind {
            Kind::Words([word]) => format!("{}; only `\"{word}\"`", self.what),
            Kind::Words(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
                format!("{}; one of {}", self.what, words.join(", "))
            }
            _ => self.what.into(),
        }
    }

    /// Its name with that of its section.
    pub fn path(&self) -> String {
        if self.section.is_empty() { self.name.to_string() } else { format!("{}.{}", self.section, self.name) }
    }
}

/// The keys of a section.
pub fn of(section: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |key| key.section == section)
}

/// The key of a section.
pub fn find(section: &str, name: &str) -> Option<&'static Key> {
    of(section).find(|key| key.name == name)
}

macro_rules! keys {
    ($([$section:literal] $($name:literal : $kind:expr, $default:expr, since $since:literal, $what:expr;)*)*) => {
        /// Every key, in the order of the reference page and of what `tidegate explain` prints.
        pub static KEYS: &[Key] = &[$($(Key {
            section: $section,
            name: $name,
            kind: $kind,
            default: $default,
            since: $since,
            what: $what,
        },)*)*];
    };
}

use Absent::{Nothing, Or, Required, Said, With, Written};
use Kind::{
    Flag, Moment, Named, NotYet, Number, Properties, Secret, Share, Size, Start, Table, Tables, Text, Texts, Time,
    Version, Words,
};

keys! {
    [""]
    "version": Version, Required, since "0.1", "1";
    "job": Text, Required, since "0.1", "name of the job: a letter, then letters, digits and `_`, all lower case, at most 41";
    "kafka": Table("kafka"), Required, since "0.1", "the topics' cluster";
    "stream": Tables("stream"), Required, since "0.1", "what is read: append-only topics";
    "target": Tables("target"), Required, since "0.1", "what is filled: a table, and the query that fills it";
    "epoch": Table("epoch"), Nothing, since "0.1", "when epochs end";
    "staging": Table("staging"), Required, since "0.1", "where files wait for their load";
    "redshift": Table("redshift"), Required, since "0.1", "the warehouse";
    "errors": Table("errors"), Nothing, since "0.1", "what is done about records that cannot be loaded";
    "memory": Table("memory"), Nothing, since "0.1", "what a process may hold";
    "history": Table("history"), Nothing, since "0.1", "what is kept of old epochs";
    "table": NotYet, Nothing, since "0.1", "a topic whose newest row per key counts";
    "status": NotYet, Nothing, since "0.1", "status page and metrics";

    ["kafka"]
    "brokers": Text, Required, since "0.1", "`host:port`, several with commas";
    "properties": Properties, Nothing, since "0.1",
        "properties of librdkafka, but for those on which the protocol depends; each is refused with its reason";

    ["stream"]
    "name": Text, Required, since "0.1",
        "its name in queries: letters, digits, `_` and `$`, no word that SQL reserves; not case-sensitive";
    "topic": Text, Or("topics"), since "0.1", "its topic; instead of `topics`";
    "topics": Texts, Nothing, since "0.1", "its topics, whose records have the same columns; a topic belongs to one stream";
    "format": Words(Format::WORDS), Written("json"), since "0.1",
        "how values are written; raw values are loaded as they are, into the one column of the stream";
    "start": Start, Written("earliest"), since "0.1",
        "where a topic begins that the job has not read yet: also `\"latest\"`, or `{ time = \"2026-11-24T00:00:00Z\" }`";
    "columns": Tables("stream.columns"), Required, since "0.1", "columns of its records: a list of `{ name, type, path, time, layout, zone, strict, on }`; see [types](types.md)";
    "strict": Flag, Written("false"), since "0.1",
        "takes a value in its type's own form alone, for columns that do not say otherwise: see [types](types.md)";
    "keys": Words(&["exact", "ignore-case"]), Written("exact"), since "0.1", "how the keys of a record match those of columns; the case is that of ASCII";
    "event_time": NotYet, Nothing, since "0.1", "event time and late rows";
    "dedup": NotYet, Nothing, since "0.1", "removing duplicates";
    "key": NotYet, Nothing, since "0.1", "columns out of the record's key";

    ["stream.columns"]
    "name": Text, Required, since "0.1", "its name in queries; not case-sensitive";
    "type": Text, Required, since "0.1", "its type, as Redshift writes it: see [types](types.md)";
    "path": Text, Said("its name"), since "0.1", "where the record has it, like `\"a.b[0].c\"`";
    "time": Words(Epoch::WORDS), Nothing, since "0.1", "what a number counts since 1970, where a time is declared";
    "layout": Text, Nothing, since "0.1", "how times and dates are written, as a pattern of `to_timestamp`";
    "zone": Text, Nothing, since "0.1", "the time zone of times that name none";
    "strict": Flag, Said("as its stream says"), since "0.1", "takes a value in its type's own form alone";
    "on": Table("on"), Nothing, since "0.1", "what is done with a value that does not fit";

    ["target"]
    "table": Text, Required, since "0.1", "`schema.table`; a table belongs to one target. A name that is not in lower case stands in double quotes";
    "mode": Words(Mode::WORDS), Written("append"), since "0.1", "how rows get into the table: each is added";
    "query": Text, Required, since "0.1", "a SELECT over one stream: see [queries](sql.md)";
    "on": Named("on"), Said("as the stream's columns say"), since "0.1",
        "by column, what is done with a value that does not fit";
    "verify_from": Moment, Said("all"), since "0.1",
        "`verify` looks at rows from the first whole cut on that was closed at this moment or later; for targets whose old rows others \
         take away";
    "key": NotYet, Nothing, since "0.1", "the key of an upsert";

    ["on"]
    "long": Words(&["reject", "truncate", "null"]), Said("`\"reject\"` for a stream's column; what the stream says for a target's"), since "0.1",
        "a text that is too long";
    "range": Words(&["reject", "null"]), Said("as for `long`"), since "0.1", "a number or time out of range";
    "scale": Words(&["reject", "round", "truncate", "null"]), Said("as for `long`"), since "0.1", "a number with too many decimal places";
    "nul": Words(&["reject", "strip", "null"]), Said("as for `long`"), since "0.1", "a text with a NUL in it";
    "empty": Words(&["reject", "null"]), Said("as for `long`"), since "0.1", "an empty text where the type has no such value";

    ["epoch"]
    "interval": Time, Written("30s"), since "0.1", "the longest an epoch stays open";
    "max_bytes": Size, Written("256 MB"), since "0.1", "the most bytes of an epoch; never more than a quarter of the memory budget";
    "max_rows": Number, Said("no limit"), since "0.1", "the most records of an epoch";
    "idle_interval": Time, Written("1m"), since "0.1", "how long epochs without rows (control records only) wait for a load";

    ["staging"]
    "url": Text, Required, since "0.1", "`s3://bucket/prefix`";
    "region": Text, Said("as the environment says, else that of AWS"), since "0.1", "the bucket's region";
    "endpoint": Text, Said("as the environment says, else that of AWS"), since "0.1", "another server that speaks S3's protocol";
    "access_key_id": Secret, Said("the chain of the environment, web identity, instance role"), since "0.1",
        "a secret; both keys or neither";
    "secret_access_key": Secret, With("access_key_id"), since "0.1", "a secret";
    "compression": Words(Compression::WORDS), Written("zstd"), since "0.1",
        "compression of the Parquet files";
    "file_size": Size, Written("128 MB"), since "0.1", "the size at which a file is closed";

    ["redshift"]
    "host": Text, Required, since "0.1", "host";
    "port": Number, Written("5439"), since "0.1", "port";
    "database": Text, Required, since "0.1", "database";
    "user": Text, Required, since "0.1", "user";
    "password": Secret, Required, since "0.1", "a secret";
    "iam_role": Text, Required, since "0.1", "the role by which COPY reads what is staged";
    "schema": Text, Written("tidegate"), since "0.1", "schema of the control tables";
    "tls": Words(&["verify-full", "off"]), Written("verify-full"), since "0.1", "how the connection is encrypted; `\"off\"` is for loopback and tunnels";
    "ca_file": Text, Said("the authorities of the system"), since "0.1", "authorities in PEM form";
    "statement_timeout": Time, Written("15m"), since "0.1", "the longest a statement of a load may run";
    "query_group": NotYet, Nothing, since "0.1", "workload management";

    ["errors"]
    "reject": Words(&["dead-letter", "halt"]), Written("dead-letter"), since "0.1",
        "what becomes of a record that cannot be loaded";
    "halt_above": Share, Written("off"), since "0.1",
        "halts when more than this share of a worker's last 10,000 records cannot be loaded, like `\"5%\"`";

    ["memory"]
    "budget": Size, Written("1 GB"), since "0.1", "what all workers of a process may hold: batches, open files, files on their way to S3";

    ["history"]
    "keep": Time, Said("for ever"), since "0.1",
        "how long epochs are kept as they are, at least `\"1d\"`; what is older is folded into one row between loads, some at a time";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::written::{parse_duration, parse_share, parse_size};

    #[test]
    fn each_default_is_what_its_key_may_be() {
        for key in KEYS {
            let Written(text) = key.default else { continue };
            let is_good = match key.kind {
                Text | Start => true,
                Number => text.parse::<u64>().is_ok(),
                Flag => text.parse::<bool>().is_ok(),
                Time => parse_duration(text).is_some(),
                Size => parse_size(text).is_some(),
                Share => parse_share(text).is_some(),
                Words(words) => words.contains(&text),
                other => panic!("{}: a default for {other:?}", key.path()),
            };
            assert!(is_good, "{}: {text}", key.path());
        }
    }

    #[test]
    fn no_key_is_declared_twice_and_each_section_has_some() {
        for (number, key) in KEYS.iter().enumerate() {
            assert!(KEYS[..number].iter().all(|other| other.path() != key.path()), "{}", key.path());
            let below = match key.kind {
                Table(section) | Tables(section) | Named(section) => section,
                _ => key.section,
            };
            assert!(of(below).count() > 0, "{}", key.path());
        }
    }

    /// The table of the reference page is made of the keys; `TIDEGATE_WRITE_DOCS=1 cargo test` writes it anew. What stands in a table
    /// within a table is said on the page of types.
    #[test]
    fn the_reference_page_has_every_key() {
        let mut table = String::from("| key | default | since | what it is |\n| --- | --- | --- | --- |\n");
        let is_shown = |key: &&Key| {
            !matches!(key.kind, NotYet | Table(_)) && !["stream.columns", "on"].contains(&key.section) && !is_list(key)
        };
        for key in KEYS.iter().filter(is_shown) {
            let default = match (key.default, key.kind) {
                (Written(text), Number | Flag) => format!("`{text}`"),
                (Written(text), _) => format!("`\"{text}\"`"),
                (Said(text), _) => text.to_string(),
                (With(other), _) => find(key.section, other).map_or(String::new(), |other| match other.default {
                    Said(text) => text.to_string(),
                    _ => String::new(),
                }),
                _ => String::new(),
            };
            table += &format!("| `{}` | {default} | {} | {} |\n", key.path(), key.since, key.documentation());
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference.md");
        let page = std::fs::read_to_string(path).unwrap();
        let begins = page.find("| key | default |").expect("a table of keys");
        let ends = begins + page[begins..].find("\n\n").expect("something after it") + 1;
        if std::env::var_os("TIDEGATE_WRITE_DOCS").is_some() {
            std::fs::write(path, format!("{}{table}{}", &page[..begins], &page[ends..])).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap();
        assert!(page.contains(&table), "run it with TIDEGATE_WRITE_DOCS=1");
    }

    /// `[[stream]]` and `[[target]]`, whose keys are shown.
    fn is_list(key: &Key) -> bool {
        key.section.is_empty() && matches!(key.kind, Tables(_))
    }
}
