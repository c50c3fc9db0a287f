//! `tidegate explain JOB`: the job as it is understood, with every default.
//!
//! What comes out is a job file again, which means the same: that is tested, and so the explanation cannot lie. What the
//! file did not say is marked as a default. Secrets stay where they are.

use std::time::Duration;

use checkpoint::Micros;
use connectors::{StartAt, redshift::Tls};
use operators::{
    decode::Format,
    schema::SourceColumn,
    values::{Action, Policy, path::Path, reading::Reading},
};
use toml::de::DeTable;

use super::{
    Job, Property, Secret, StreamOptions, TargetOptions,
    keys::{self, Absent, Kind},
    parse, read_file, rendered, target,
};
use crate::error::{Code, CodedError, Result};

/// The job of a file, explained.
pub fn explain(path: &str) -> Result<String> {
    let text = read_file(path)?;
    let job = parse(&text).map_err(|findings| rendered(path, &text, &findings))?;
    Ok(explained(&job, &text))
}

/// An explained job as one JSON object: the keys of the job file, without the marks.
pub fn json(explained: &str) -> Result<String> {
    let read: serde_json::Value = toml::from_str(explained).map_err(|e| CodedError::new(Code::Bug, e.to_string()))?;
    Ok(read.to_string() + "\n")
}

/// The job, and the text of its file, which says what was set.
fn explained(job: &Job, text: &str) -> String {
    let (document, _) = DeTable::parse_recoverable(text);
    let document = document.get_ref();
    let mut out = format!("version = 1\njob = {}\n", quoted(&job.name));

    out += &format!("\n[kafka]\nbrokers = {}\n", quoted(&job.brokers));
    let properties: Vec<String> = job
        .properties
        .iter()
        .map(|(name, value)| {
            let value = match value {
                Property::Plain(text) => quoted(text),
                Property::Secret(secret) => secret_text(secret),
            };
            format!("{} = {value}", quoted(name))
        })
        .collect();
    if !properties.is_empty() {
        out += &format!("properties = {{ {} }}\n", properties.join(", "));
    }
    for (name, value) in connectors::kafka::DEFAULTS {
        if !job.properties.iter().any(|(set, _)| set == name) {
            out += &format!("# property {} = {}  # default\n", quoted(name), quoted(value));
        }
    }

    let streams = sections(document, "stream");
    for (stream, set) in job.streams.iter().zip(streams) {
        out += &stream_text(stream, set);
    }
    for target in &job.targets {
        out += &target_text(target);
    }

    for section in ["epoch", "staging", "redshift", "errors", "memory", "history"] {
        out += &section_text(job, document, section);
    }
    out
}

/// A section of which there is one: each of its keys with what the job has, or what holds without it.
fn section_text(job: &Job, document: &DeTable<'_>, section: &str) -> String {
    let set = document.get(section).and_then(|section| section.get_ref().as_table());
    let mut out = format!("\n[{section}]\n");
    for key in keys::of(section).filter(|key| key.kind != Kind::NotYet) {
        let mark = if set.is_some_and(|set| set.contains_key(key.name)) { "" } else { "  # default" };
        match (value(job, section, key.name), key.default) {
            (Is(value), _) => out += &format!("{} = {value}{mark}\n", key.name),
            (NotSet, Absent::Said(what)) => {
                // Those that go with it say the same.
                let with = keys::of(section).filter(|other| other.default == Absent::With(key.name));
                let names: Vec<&str> = [key.name].into_iter().chain(with.map(|other| other.name)).collect();
                out += &format!("# {}: {what}  # default\n", names.join(", "));
            }
            (NotSet | Meaningless, _) => {}
        }
        if (section, key.name) == ("epoch", "max_bytes") && job.epoch.max_bytes > job.epoch_bytes() {
            out += &format!("# ends at {} already, a quarter of the memory budget\n", size_text(job.epoch_bytes()));
        }
    }
    if section == "errors" {
        out += &format!("# dead letters go to {}\n", job.dead_letters());
    }
    out
}

/// What a job has for a key, as a job file writes it.
enum Has {
    Is(String),
    NotSet,
    /// Beside the others.
    Meaningless,
}

use Has::{Is, Meaningless, NotSet};

fn value(job: &Job, section: &str, key: &str) -> Has {
    let Job { epoch, staging, redshift, errors, .. } = job;
    let text = |text: &str| Is(quoted(text));
    let maybe = |value: &Option<String>| value.as_ref().map_or(NotSet, |value| Is(quoted(value)));
    let secrets = |which: fn(&(Secret, Secret)) -> &Secret| {
        staging.keys.as_ref().map_or(NotSet, |keys| Is(secret_text(which(keys))))
    };
    match (section, key) {
        ("epoch", "interval") => Is(time_text(epoch.interval)),
        ("epoch", "max_bytes") => Is(size_text(epoch.max_bytes)),
        ("epoch", "max_rows") if epoch.max_rows < u64::MAX => Is(epoch.max_rows.to_string()),
        ("epoch", "idle_interval") => Is(time_text(epoch.idle_interval)),
        ("staging", "url") => {
            let slash = if staging.prefix.is_empty() { "" } else { "/" };
            text(&format!("s3://{}{slash}{}", staging.bucket, staging.prefix))
        }
        ("staging", "region") => maybe(&staging.region),
        ("staging", "endpoint") => maybe(&staging.endpoint),
        ("staging", "access_key_id") => secrets(|(id, _)| id),
        ("staging", "secret_access_key") => secrets(|(_, secret)| secret),
        ("staging", "compression") => text(staging.compression.word()),
        ("staging", "file_size") => Is(size_text(staging.file_bytes)),
        ("redshift", "host") => text(&redshift.host),
        ("redshift", "port") => Is(redshift.port.to_string()),
        ("redshift", "database") => text(&redshift.database),
        ("redshift", "user") => text(&redshift.user),
        ("redshift", "password") => Is(secret_text(&redshift.password)),
        ("redshift", "iam_role") => text(&redshift.iam_role),
        ("redshift", "schema") => text(&redshift.schema),
        ("redshift", "tls") => text(if redshift.tls == Tls::Off { "off" } else { "verify-full" }),
        ("redshift", "ca_file") => match &redshift.tls {
            Tls::Off => Meaningless,
            Tls::VerifyFull { ca_file } => maybe(ca_file),
        },
        ("redshift", "statement_timeout") => Is(time_text(redshift.statement_timeout)),
        ("errors", "reject") => text(if errors.halt { "halt" } else { "dead-letter" }),
        ("errors", "halt_above") => {
            text(&errors.halt_above.map_or("off".into(), |share| format!("{}%", share * 100.0)))
        }
        ("memory", "budget") => Is(size_text(job.budget_bytes)),
        ("history", "keep") => job.keep.map_or(NotSet, |keep| Is(time_text(keep))),
        _ => NotSet,
    }
}

fn stream_text(stream: &StreamOptions, set: &DeTable<'_>) -> String {
    let mark = |key: &str| if set.contains_key(key) { "" } else { "  # default" };
    let topics: Vec<String> = stream.topics.iter().map(|topic| quoted(topic)).collect();
    let start = match stream.start {
        StartAt::Earliest => quoted("earliest"),
        StartAt::Latest => quoted("latest"),
        StartAt::Time(ms) => {
            format!("{{ time = {} }}", moment_text(Micros(ms * 1000)))
        }
    };
    let mut out = format!(
        "\n[[stream]]\nname = {}\ntopics = [{}]\nformat = {}{}\nstart = {start}{}\nstrict = {}{}\n",
        quoted(&stream.name),
        topics.join(", "),
        quoted(stream.format.word()),
        mark("format"),
        mark("start"),
        stream.strict,
        mark("strict")
    );
    // Raw records have no keys, and the key is refused there.
    if stream.format != Format::Raw {
        out += &format!("keys = {}{}\n", quoted(if stream.any_case { "ignore-case" } else { "exact" }), mark("keys"));
    }
    out += "columns = [\n";
    for column in &stream.columns {
        out += &format!("  {},\n", column_text(column, stream.strict));
    }
    out + "]\n"
}

/// A column as a job file declares it, in a stream that is strict or is not.
pub fn column_text(column: &SourceColumn, stream_strict: bool) -> String {
    let path = match column.path == Path::key(&column.name) {
        true => String::new(),
        false => format!(", path = {}", quoted(&column.path.to_string())),
    };
    let on = policy_text(&column.policy).map_or(String::new(), |on| format!(", on = {on}"));
    let read = reading_text(&column.reading, stream_strict);
    format!("{{ name = {}, type = \"{}\"{path}{read}{on} }}", quoted(&column.name), column.kind)
}

fn target_text(target: &TargetOptions) -> String {
    let selection = &target.selection;
    let own: Vec<String> = selection.columns.iter().map(|column| format!("{} {}", column.name, column.kind)).collect();
    let looks_at: Vec<&str> = selection.schema.fields().iter().map(|field| field.name().as_str()).collect();
    let policies: Vec<String> = selection
        .columns
        .iter()
        .filter_map(|column| {
            // What an empty text is was decided where it was read.
            let policy = Policy { empty: Action::Reject, ..column.policy };
            Some(format!("{} = {}", quoted(&column.name), policy_text(&policy)?))
        })
        .collect();
    let on = if policies.is_empty() { String::new() } else { format!("on = {{ {} }}\n", policies.join(", ")) };
    let from = target.verify_from.map_or(String::new(), |from| format!("verify_from = {}\n", moment_text(from)));
    format!(
        "\n[[target]]\ntable = {}\nmode = {}\nquery = {}\n{on}{from}# reads {} of stream {}\n# fills {}\n",
        quoted(&target::written(&target.table)),
        quoted(target.mode.word()),
        quoted(&selection.text),
        looks_at.join(", "),
        selection.stream,
        own.join(", ")
    )
}

/// How a column is read, where it is not as its type and its stream say.
fn reading_text(reading: &Reading, stream_strict: bool) -> String {
    let Reading { strict, any_case: _, epoch, layout, zone } = reading;
    let mut text = String::new();
    if let Some(epoch) = epoch {
        text += &format!(", time = {}", quoted(epoch.word()));
    }
    if let Some(layout) = layout {
        text += &format!(", layout = {}", quoted(layout.text()));
    }
    if let Some(zone) = zone {
        text += &format!(", zone = {}", quoted(&zone.to_string()));
    }
    if *strict != stream_strict {
        text += &format!(", strict = {strict}");
    }
    text
}

/// What a policy says beyond the default, which is to reject.
pub fn policy_text(policy: &Policy) -> Option<String> {
    let said: Vec<String> = policy
        .words()
        .into_iter()
        .filter(|(_, action, _)| *action != Action::Reject)
        .map(|(key, _, word)| format!("{key} = \"{word}\""))
        .collect();
    if said.is_empty() { None } else { Some(format!("{{ {} }}", said.join(", "))) }
}

fn sections<'a>(document: &'a DeTable<'a>, name: &str) -> Vec<&'a DeTable<'a>> {
    let items = document.get(name).and_then(|items| items.get_ref().as_array());
    items.into_iter().flat_map(|items| items.iter()).filter_map(|item| item.get_ref().as_table()).collect()
}

/// A string of TOML: JSON's are strings of TOML as well.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn secret_text(secret: &Secret) -> String {
    match secret {
        Secret::Env(name) => format!("{{ env = {} }}", quoted(name)),
        Secret::File(path) => format!("{{ file = {} }}", quoted(path)),
    }
}

fn moment_text(at: Micros) -> String {
    quoted(&at.to_string())
}

fn time_text(time: Duration) -> String {
    let ms = time.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
    let (number, unit) = units
        .into_iter()
        .find(|(unit, _)| ms.is_multiple_of(*unit))
        .map_or((ms, "ms"), |(unit, name)| (ms / unit, name));
    quoted(&format!("{number}{unit}"))
}

fn size_text(bytes: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "KB")];
    let (number, unit) = units
        .into_iter()
        .find(|(unit, _)| bytes.is_multiple_of(*unit))
        .map_or((bytes, "B"), |(unit, name)| (bytes / unit, name));
    quoted(&format!("{number} {unit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same_again(text: &str) -> String {
        let job = parse(text).unwrap_or_else(|findings| panic!("{findings:?}"));
        let first = explained(&job, text);
        let again = parse(&first).unwrap_or_else(|findings| panic!("{findings:?}\n{first}"));
        // Everything that a job is, also what the explanation has no word for.
        assert_eq!(format!("{job:?}"), format!("{again:?}"), "{first}");
        first
    }

    /// Explain shows each key, set or not.
    #[test]
    fn no_key_is_forgotten() {
        let text = super::super::tests::GOOD
            .replace(
                "name = \"userId\", type = \"bigint\"",
                "name = \"userId\", type = \"timestamp\", path = \"a\", time = \"epoch_s\", layout = \"YYYY-MM-DD\", zone = \"UTC\", \
                 strict = true, on = { range = \"null\" }",
            )
            .replace(
                "mode = \"append\"",
                "verify_from = \"2026-11-24T00:00:00Z\"\non = { event_id = { long = \"null\", nul = \"strip\" } }",
            )
            .replace(
                "type = \"varchar(36)\"",
                "type = \"decimal(9,2)\", on = { scale = \"round\", empty = \"null\" }",
            )
            .replace("tls = \"off\"", "");
        let said = same_again(&text);
        for key in keys::KEYS.iter().filter(|key| key.kind != Kind::NotYet && key.path() != "stream.topic") {
            let is_said = |line: &str| {
                let line = line.trim_start_matches("# ");
                let starts = [format!("{} =", key.name), format!("{}:", key.name), format!("[{}]", key.name)];
                let inside = [format!("[[{}]]", key.name), format!(" {} = ", key.name), format!(", {}:", key.name)];
                starts.iter().any(|start| line.starts_with(start)) || inside.iter().any(|part| line.contains(part))
            };
            assert!(said.lines().any(is_said), "{}\n{said}", key.path());
        }
    }

    #[test]
    fn an_explained_job_is_the_same_job() {
        let plain = same_again(super::super::tests::GOOD);
        for part in [
            "topics = [\"clicks\"]\n",
            "interval = \"10s\"\n",
            "idle_interval = \"1m\"  # default\n",
            "start = { time = \"2026-11-24T00:00:00",
            "secret_access_key = { file = \"/run/secret\" }\n",
            "port = 5439  # default\n",
            "\"sasl.password\" = { env = \"KAFKA_PASSWORD\" }",
            "reject = \"dead-letter\"  # default\n",
            "# fills event_id varchar(36)\n",
        ] {
            assert!(plain.contains(part), "{part}\n{plain}");
        }
        let full = super::super::tests::GOOD
            .replace("name = \"userId\", type = \"bigint\"", "name = \"userId\", type = \"decimal(9,2)\", path = \"a[0].B\", on = { scale = \"round\", range = \"null\", empty = \"null\" }")
            .replace("topic = \"clicks\"", "topics = [\"clicks\", \"a.b\"]")
            .replace("[[target]]\ntable = \"analytics.a\"", "[[stream]]\nname = \"r\"\ntopic = \"r\"\nformat = \"raw\"\ncolumns = [ { name = \"body\", type = \"varbyte(9)\" } ]\n[[target]]\ntable = \"analytics.r\"\nquery = \"SELECT body FROM r\"\n[[target]]\ntable = \"analytics.a\"")
            .replace("event_id, userid, _offset", "upper(event_id) AS event_id, userid + 1 AS userid, _offset")
            .replace("mode = \"append\"", "on = { event_id = { long = \"truncate\", nul = \"strip\" } }")
            .replace("tls = \"off\"", "port = 5000\n[memory]\nbudget = \"64 MB\"\n[errors]\nreject = \"halt\"\nhalt_above = \"5%\"");
        let said = same_again(&full);
        for part in [
            "budget = \"64 MB\"\n",
            "# ends at \"16 MB\" already, a quarter of the memory budget\n",
            "on = { \"event_id\" = { long = \"truncate\", nul = \"strip\" } }\n",
            "halt_above = \"5%\"\n",
            "format = \"raw\"\n",
            "format = \"json\"\n",
            "mode = \"append\"\n",
            "tls = \"verify-full\"  # default\n",
        ] {
            assert!(said.contains(part), "{part}\n{said}");
        }
    }
}
