//! `tidegate explain JOB`: the job as it is understood, with every default.
//!
//! What comes out is a job file again, which means the same: that is tested, and so the explanation cannot lie. What the
//! file did not say is marked as a default. Secrets stay where they are.

use std::time::Duration;

use checkpoint::Micros;
use connectors::{StartAt, redshift::Tls};
use operators::{
    sink::encode::Compression,
    values::{Action, Policy, path::Path},
};
use toml::de::{DeTable, DeValue};

use super::{Job, Property, Secret, Stream, Target, parse, read_file, rendered};
use crate::error::{Code, Error, Result};

/// The job of a file, explained.
pub fn explain(path: &str) -> Result<String> {
    let text = read_file(path)?;
    let job = parse(&text).map_err(|findings| rendered(path, &text, &findings))?;
    Ok(explained(&job, &text))
}

/// An explained job as one JSON object: the keys of the job file, without the marks.
pub fn json(explained: &str) -> Result<String> {
    let read: serde_json::Value = toml::from_str(explained).map_err(|e| Error::new(Code::Bug, e.to_string()))?;
    Ok(read.to_string() + "\n")
}

/// The job, and the text of its file, which says what was set.
fn explained(job: &Job, text: &str) -> String {
    let (document, _) = DeTable::parse_recoverable(text);
    let document = document.get_ref();
    let is_set = |section: &str, key: &str| {
        let section = document.get(section).map(|section| section.get_ref());
        section.and_then(DeValue::as_table).is_some_and(|table| table.contains_key(key))
    };
    let setting = |section: &str, key: &str, value: String| {
        let mark = if is_set(section, key) { "" } else { "  # default" };
        format!("{key} = {value}{mark}\n")
    };
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

    let epoch = &job.epoch;
    out += "\n[epoch]\n";
    out += &setting("epoch", "interval", time_text(epoch.interval));
    out += &setting("epoch", "max_bytes", size_text(epoch.max_bytes));
    if epoch.max_bytes > job.epoch_bytes() {
        out += &format!("# ends at {} already, a quarter of the memory budget\n", size_text(job.epoch_bytes()));
    }
    match epoch.max_rows {
        u64::MAX => out += "# max_rows: no limit  # default\n",
        rows => out += &setting("epoch", "max_rows", rows.to_string()),
    }
    out += &setting("epoch", "idle_interval", time_text(epoch.idle_interval));

    let staging = &job.staging;
    let slash = if staging.prefix.is_empty() { "" } else { "/" };
    out += &format!("\n[staging]\nurl = {}\n", quoted(&format!("s3://{}{slash}{}", staging.bucket, staging.prefix)));
    for (key, value) in [("region", &staging.region), ("endpoint", &staging.endpoint)] {
        match value {
            Some(value) => out += &format!("{key} = {}\n", quoted(value)),
            None => out += &format!("# {key}: as the environment says, else that of AWS  # default\n"),
        }
    }
    match &staging.keys {
        Some((id, secret)) => {
            out += &format!("access_key_id = {}\nsecret_access_key = {}\n", secret_text(id), secret_text(secret));
        }
        None => {
            out += "# access_key_id, secret_access_key: the chain of the environment, web identity, instance role  # default\n"
        }
    }
    let compression = match staging.compression {
        Compression::Zstd => "zstd",
        Compression::Snappy => "snappy",
        Compression::None => "none",
    };
    out += &setting("staging", "compression", quoted(compression));
    out += &setting("staging", "file_size", size_text(staging.file_bytes));

    let redshift = &job.redshift;
    out += &format!("\n[redshift]\nhost = {}\n", quoted(&redshift.host));
    out += &setting("redshift", "port", redshift.port.to_string());
    for (key, value) in [("database", &redshift.database), ("user", &redshift.user)] {
        out += &format!("{key} = {}\n", quoted(value));
    }
    out += &format!("password = {}\niam_role = {}\n", secret_text(&redshift.password), quoted(&redshift.iam_role));
    out += &setting("redshift", "schema", quoted(&redshift.schema));
    match &redshift.tls {
        Tls::Off => out += "tls = \"off\"\n",
        Tls::VerifyFull { ca_file } => {
            out += &setting("redshift", "tls", quoted("verify-full"));
            match ca_file {
                Some(file) => out += &format!("ca_file = {}\n", quoted(file)),
                None => out += "# ca_file: the authorities of the system  # default\n",
            }
        }
    }
    out += &setting("redshift", "statement_timeout", time_text(redshift.statement_timeout));

    out += "\n[errors]\n";
    out += &setting("errors", "reject", quoted(if job.errors.halt { "halt" } else { "dead-letter" }));
    let above = job.errors.halt_above.map_or("off".into(), |share| format!("{}%", share * 100.0));
    out += &setting("errors", "halt_above", quoted(&above));
    out += &format!("# dead letters go to {}\n", job.dead_letters());
    out += "\n[memory]\n";
    out += &setting("memory", "budget", size_text(job.budget_bytes));
    out += "\n[history]\n";
    out + &match job.keep {
        Some(keep) => setting("history", "keep", time_text(keep)),
        None => "# keep: for ever  # default\n".into(),
    }
}

fn stream_text(stream: &Stream, set: &DeTable<'_>) -> String {
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
        "\n[[stream]]\nname = {}\ntopics = [{}]\nformat = {}{}\nstart = {start}{}\ncolumns = [\n",
        quoted(&stream.name),
        topics.join(", "),
        quoted(stream.format.word()),
        mark("format"),
        mark("start")
    );
    for column in &stream.columns {
        let path = match column.path == Path::key(&column.name) {
            true => String::new(),
            false => format!(", path = {}", quoted(&column.path.to_string())),
        };
        let on = policy_text(&column.policy).map_or(String::new(), |on| format!(", on = {on}"));
        out += &format!("  {{ name = {}, type = \"{}\"{path}{on} }},\n", quoted(&column.name), column.kind);
    }
    out + "]\n"
}

fn target_text(target: &Target) -> String {
    let selection = &target.selection;
    let own: Vec<String> = selection.columns.iter().map(|column| format!("{} {}", column.name, column.kind)).collect();
    let looks_at: Vec<&str> = selection.schema.fields().iter().map(|field| field.name().as_str()).collect();
    let policies: Vec<String> = selection
        .columns
        .iter()
        .filter_map(|column| Some(format!("{} = {}", quoted(&column.name), policy_text(&column.policy)?)))
        .collect();
    let on = if policies.is_empty() { String::new() } else { format!("on = {{ {} }}\n", policies.join(", ")) };
    let from = target.verify_from.map_or(String::new(), |from| format!("verify_from = {}\n", moment_text(from)));
    format!(
        "\n[[target]]\ntable = {}\nmode = {}\nquery = {}\n{on}{from}# reads {} of stream {}\n# fills {}\n",
        quoted(&target.table.to_string()),
        quoted(target.mode.word()),
        quoted(&selection.text),
        looks_at.join(", "),
        selection.stream,
        own.join(", ")
    )
}

/// What a policy says beyond the default, which is to reject.
fn policy_text(policy: &Policy) -> Option<String> {
    let word = |key: &str, action: Action| match action {
        Action::Reject => None,
        Action::Truncate if key == "nul" => Some("strip"),
        Action::Truncate => Some("truncate"),
        Action::Round => Some("round"),
        Action::Null => Some("null"),
    };
    let Policy { long, range, scale, nul } = *policy;
    let said: Vec<String> = [("long", long), ("range", range), ("scale", scale), ("nul", nul)]
        .into_iter()
        .filter_map(|(key, action)| Some(format!("{key} = \"{}\"", word(key, action)?)))
        .collect();
    if said.is_empty() { None } else { Some(format!("{{ {} }}", said.join(", "))) }
}

fn sections<'a>(document: &'a DeTable<'a>, name: &str) -> Vec<&'a DeTable<'a>> {
    let items = document.get(name).and_then(|items| items.get_ref().as_array());
    items.into_iter().flat_map(|items| items.iter()).filter_map(|item| item.get_ref().as_table()).collect()
}

/// A string of TOML: JSON's are strings of TOML as well.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn secret_text(secret: &Secret) -> String {
    match secret {
        Secret::Env(name) => format!("{{ env = {} }}", quoted(name)),
        Secret::File(path) => format!("{{ file = {} }}", quoted(path)),
    }
}

fn moment_text(at: Micros) -> String {
    quoted(&(at.to_text().replacen(' ', "T", 1) + "Z"))
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
            .replace("name = \"userId\", type = \"bigint\"", "name = \"userId\", type = \"decimal(9,2)\", path = \"a[0].B\", on = { scale = \"round\", range = \"null\" }")
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
