//! Every key of a job file, and what is said when it is wrong.

use connectors::{StartAt, redshift::Tls};
use operators::values::{Action, Policy, path::Path};

use super::*;

pub(super) const GOOD: &str = r#"
version = 1
job = "clicks"
[kafka]
brokers = "localhost:9092"
properties = { "security.protocol" = "SASL_SSL", "sasl.mechanism" = "PLAIN", "sasl.username" = "u", "sasl.password" = { env = "KAFKA_PASSWORD" }, "fetch.max.bytes" = 1_000_000 }
[[stream]]
name = "Clicks"
topic = "clicks"
format = "json"
start = { time = "2026-11-24T00:00:00Z" }
columns = [ { name = "event_id", type = "varchar(36)" }, { name = "userId", type = "bigint" } ]
[[target]]
table = "Analytics.Clicks"
mode = "append"
query = "SELECT event_id, userid, _offset AS kafka_offset FROM clicks"
[[target]]
table = "analytics.a"
query = "SELECT event_id FROM clicks"
[epoch]
interval = "10s"
max_bytes = "64 MB"
[staging]
url = "s3://bucket/some/prefix/"
access_key_id = { env = "A" }
secret_access_key = { file = "/run/secret" }
[redshift]
host = "h"
database = "d"
user = "u"
password = { env = "P" }
iam_role = "arn:aws:iam::1:role/r"
tls = "off"
"#;

#[test]
fn a_whole_job() {
    let job = parse(GOOD).unwrap();
    assert_eq!((job.name.as_str(), job.brokers.as_str(), job.properties.len()), ("clicks", "localhost:9092", 5));
    assert_eq!(job.properties[0], ("fetch.max.bytes".into(), Property::Plain("1000000".into())));
    assert_eq!((job.streams[0].name.as_str(), job.streams[0].start), ("clicks", StartAt::Time(1_795_478_400_000)));
    let tables: Vec<String> = job.targets.iter().map(|t| t.table.to_string()).collect();
    assert_eq!(tables, ["analytics.a", "analytics.clicks"], "in name order");
    assert_eq!(
        (job.epoch.interval, job.epoch.max_bytes, job.epoch.idle_interval),
        (Duration::from_secs(10), 64_000_000, Duration::from_secs(60))
    );
    assert_eq!((job.staging.bucket.as_str(), job.staging.prefix.as_str()), ("bucket", "some/prefix"));
    assert_eq!((job.redshift.port, job.redshift.schema.as_str(), job.redshift.tls), (5439, "tidegate", Tls::Off));
    assert_eq!(job.budget_bytes, 1_000_000_000);
}

/// The findings of the good file after one change.
fn after(from: &str, to: &str) -> Vec<Finding> {
    let text = GOOD.replacen(from, to, 1);
    assert_ne!(text, GOOD, "{from} is not in the file");
    parse(&text).map(|_| ()).expect_err(to)
}

#[test]
fn each_mistake_is_found_and_named() {
    for (from, to, what, help) in [
        ("version = 1", "version = 2", "version 2", "reads version 1"),
        ("version = 1", "", "no `version`", "version = 1"),
        ("job = \"clicks\"", "job = \"Clicks\"", "cannot be the name", "lower case"),
        ("database = \"d\"", "datbase = \"d\"", "unknown key `datbase`", "did you mean `database`?"),
        (
            "brokers = \"localhost:9092\"",
            "brokers = 9092",
            "`brokers` must be a string, not an integer",
            "brokers = \"...\"",
        ),
        ("\"security.protocol\"", "\"isolation.level\"", "`isolation.level` cannot be set", "aborted transactions"),
        ("\"security.protocol\"", "\"group.id\"", "`group.id` cannot be set", "never by a consumer group"),
        ("{ env = \"KAFKA_PASSWORD\" }", "[]", "`sasl.password` must be a string, a whole number", "write it like"),
        ("topic = \"clicks\"", "topic = \"clicks\"\ntopics = [\"other\"]", "exclude each other", "`topics`"),
        (
            "topic = \"clicks\"",
            "topic = \"clicks.*\"",
            "\"clicks.*\" cannot be the name of a topic",
            "a pattern is not one",
        ),
        ("topic = \"clicks\"", "topic = \"\"", "\"\" cannot be the name of a topic", "Kafka"),
        ("topic = \"clicks\"", "topics = [\"clicks \"]", "\"clicks \" cannot be the name of a topic", "Kafka"),
        (
            "\"fetch.max.bytes\"",
            "\"fetch.max.byte\"",
            "no property `fetch.max.byte`",
            "did you mean `fetch.max.bytes`?",
        ),
        ("\"fetch.max.bytes\"", "\"max.poll.records\"", "a property of the Java client", "leave it out"),
        ("{ env = \"KAFKA_PASSWORD\" }", "\"plain\"", "`sasl.password` is a secret", "env"),
        ("\"fetch.max.bytes\" = ", "\"broker.address.family\" = ", "`broker.address.family`: ", "CONFIGURATION.md"),
        ("\"fetch.max.bytes\" = ", "\"plugin.library.paths\" = ", "`plugin.library.paths` cannot be set", "code"),
        ("name = \"Clicks\"", "name = \"my-clicks\"", "\"my-clicks\" cannot be the name of a stream", "\"my_clicks\""),
        (
            "name = \"Clicks\"",
            "name = \"all clicks\"",
            "\"all clicks\" cannot be the name of a stream",
            "\"all_clicks\"",
        ),
        ("name = \"Clicks\"", "name = \"1st\"", "\"1st\" cannot be the name of a stream", "no digit first"),
        ("name = \"Clicks\"", "name = \"\"", "\"\" cannot be the name of a stream", "letters"),
        (
            "name = \"Clicks\"",
            "name = \"User\"",
            "\"User\" cannot be the name of a stream: SQL reserves",
            "\"User_stream\"",
        ),
        ("topic = \"clicks\"", "topics = []", "`topics` is empty", "[\"a\", \"b\"]"),
        ("topic = \"clicks\"", "topics = [\"a\", \"a\"]", "topic a is listed twice", ""),
        ("topic = \"clicks\"", "topics = [1]", "`topics` must be a list of strings, not an integer", "[\"...\"]"),
        (
            "start = { time = \"2026-11-24T00:00:00Z\" }",
            "start = \"sometime\"",
            "`start` cannot be \"sometime\"",
            "earliest",
        ),
        (
            "start = { time = \"2026-11-24T00:00:00Z\" }",
            "dedup = {}",
            "`dedup` (removing duplicates) is not supported yet",
            "",
        ),
        ("format = \"json\"", "format = \"xml\"", "`format` cannot be \"xml\"", "\"json\""),
        ("format = \"json\"", "format = \"raw\"", "format \"raw\" has one column, not 2", ""),
        ("type = \"bigint\"", "type = \"uuid\"", "type \"uuid\" is not supported", "bigint"),
        ("varchar(36)", "varchar(70000)", "1 to 65535 bytes", ""),
        (
            "type = \"bigint\" }",
            "type = \"bigint\" }, { name = \"EVENT_ID\", type = \"bigint\" }",
            "two columns EVENT_ID",
            "",
        ),
        ("type = \"bigint\" }", "type = \"bigint\" }, { name = \"_key\", type = \"bigint\" }", "begins with _", ""),
        (
            "name = \"userId\"",
            "name = \"userId\", path = \"$.user.id\"",
            "begins with `$`, as JSONPath does",
            "write \"user.id\"",
        ),
        ("name = \"userId\"", "name = \"userId\", path = ' @.a[0].b'", "begins with `@`", "write \"a[0].b\""),
        ("name = \"userId\"", "name = \"userId\", path = '$[\"id\"]'", "begins with `$`", "write \"id\""),
        ("name = \"userId\"", "name = \"userId\", path = ' id'", "cannot stand by itself", "write \"id\""),
        ("name = \"userId\"", "name = \"userId\", path = '$..id'", "begins with `$`", "a.b[0].c"),
        ("interval = \"10s\"", "max_rows = 0", "`max_rows` cannot be 0", "1 or more"),
        ("s3://bucket/some/prefix/", "s3://bucket//x", "\"s3://bucket//x\" is not a place on S3", "empty parts"),
        ("s3://bucket/some/prefix/", "s3://bucket/a/../b", "is not a place on S3", "empty parts"),
        ("name = \"userId\"", "name = \"userId\", path = \"a.[0]\"", "`path`", "a.b[0].c"),
        (
            "name = \"userId\"",
            "name = \"userId\", time = \"epoch_s\"",
            "`time` has no meaning for type bigint",
            "remove",
        ),
        ("type = \"bigint\"", "type = \"date\", zone = \"UTC\"", "`zone` has no meaning for type date", "remove"),
        ("type = \"bigint\"", "type = \"timestamp\", time = \"ms\"", "`time` cannot be \"ms\"", "\"epoch_ms\""),
        ("type = \"bigint\"", "type = \"timestamp\", zone = \"CET5\"", "\"CET5\" is not a time zone", "Europe/"),
        ("type = \"bigint\"", "type = \"date\", layout = \"DD.MM.YYY\"", "`layout`: ", "DD/MM/YYYY"),
        (
            "type = \"bigint\"",
            "type = \"date\", layout = \"IYYY\"",
            "`layout`: IYYY can be shown and not read",
            "DD/MM",
        ),
        (
            "type = \"bigint\"",
            "type = \"timestamptz\", layout = \"YYYY-MM-DD\"",
            "`layout` names no time zone",
            "zone = \"UTC\"",
        ),
        ("type = \"bigint\"", "type = \"bigint\", strict = \"yes\"", "`strict` must be true or false", "strict = true"),
        ("format = \"json\"", "format = \"json\"\nkeys = \"any\"", "`keys` cannot be \"any\"", "ignore-case"),
        ("\"sasl.mechanism\" = \"PLAIN\", ", "", "a login takes `sasl.mechanism`, which is not there", "SCRAM-SHA-512"),
        ("\"sasl.username\" = \"u\", ", "", "a login takes `sasl.username`", "as secrets"),
        ("brokers = \"localhost:9092\"", "brokers = \"http://b:9092\"", "hosts and ports, and not URLs", "host:9092"),
        ("brokers = \"localhost:9092\"", "brokers = \"b:99999\"", "not a number from 1 to 65535", "host:9092"),
        ("host = \"h\"", "host = \"h:5439\"", "has a port in it", "as `port`"),
        ("host = \"h\"", "host = \"\"", "is not the name of a host", "alone"),
        ("user = \"u\"", "user = \"\"", "`user`: \"\" is not a name", "127"),
        ("tls = \"off\"", "tls = \"off\"\nschema = \"pg_x\"", "a name of Redshift's own", "pg_"),
        ("iam_role = \"arn:aws:iam::1:role/r\"", "iam_role = \"r\"", "is not a role", "ARN"),
        ("s3://bucket/some/prefix/", "s3://bucket/a\\tb", "not a place on S3", "not shown"),
        (
            "s3://bucket/some/prefix/\"",
            "s3://bucket\"\nendpoint = \"localhost:9000\"",
            "not the address of a server",
            "https://host:port",
        ),
        (
            "s3://bucket/some/prefix/\"",
            "s3://bucket\"\nregion = \"US East 1\"",
            "not the name of a region",
            "eu-central-1",
        ),
        ("name = \"userId\"", "name = \"userId\", on = { rnage = \"null\" }", "unknown key `rnage`", "`range`"),
        ("name = \"userId\"", "name = \"userId\", on = { range = \"round\" }", "`range` cannot be", "\"null\""),
        (
            "name = \"userId\"",
            "name = \"userId\", on = { long = \"null\" }",
            "`long` has no meaning for type bigint",
            "remove",
        ),
        (
            "name = \"userId\"",
            "name = \"userId\", strict = true, on = { empty = \"null\" }",
            "with strict = true",
            "remove",
        ),
        (
            "name = \"userId\", type = \"bigint\"",
            "name = \"userId\", type = \"timestamp\", zone = \"Europe/Talinn\"",
            "not a time zone",
            "Europe/Tallinn",
        ),
        ("type = \"bigint\"", "type = \"super\"", "come later", "varchar(n)"),
        ("type = \"bigint\"", "type = \"time\"", "whether Redshift loads TIME", "varchar(n)"),
        ("type = \"bigint\"", "type = \"decimal\"", "needs its precision and scale", "decimal(p,s)"),
        ("mode = \"append\"", "on = { nothing = { long = \"null\" } }", "selects no column nothing", ""),
        (
            "mode = \"append\"",
            "on = { event_id = \"null\" }",
            "`event_id` must be a table, not a string",
            "event_id = { ... }",
        ),
        ("mode = \"append\"", "mode = \"upsert\"", "`mode` cannot be \"upsert\"", "\"append\""),
        ("Analytics.Clicks", "clicks", "is not a table with its schema", "analytics.clicks"),
        ("Analytics.Clicks", "analytics.a", "belongs to another target", ""),
        ("Analytics.Clicks", "tidegate.clicks_rows", "one of the job's own tables", "another name"),
        ("SELECT event_id, userid", "SELECT event_id, nothing", "no column nothing", ""),
        ("interval = \"10s\"", "interval = \"10\"", "is not a time", "30s"),
        ("max_bytes = \"64 MB\"", "max_bytes = 64", "`max_bytes` must be a string, not an integer", ""),
        ("s3://bucket/some/prefix/", "http://bucket", "not a place on S3", "s3://bucket/prefix"),
        ("secret_access_key = { file = \"/run/secret\" }", "", "go together", ""),
        ("password = { env = \"P\" }", "password = \"secret\"", "`password` is a secret", "env"),
        ("password = { env = \"P\" }", "", "no `password`", "env"),
        ("host = \"h\"", "host = \"${TIDEGATE_TEST_NO_SUCH_NAME}\"", "no variable TIDEGATE_TEST_NO_SUCH_NAME", ""),
        ("tls = \"off\"", "tls = \"maybe\"", "`tls` cannot be \"maybe\"", "verify-full"),
        ("tls = \"off\"", "port = 70000", "70000 is not a port", ""),
        ("tls = \"off\"", "port = 0", "0 is not a port", "65535"),
        ("[epoch]", "[memory]\nbudget = \"1 MB\"\n[epoch]", "`budget` is too small", "32 MB"),
        ("[epoch]", "[errors]\nreject = \"ignore\"\n[epoch]", "`reject` cannot be \"ignore\"", "\"halt\""),
        ("[epoch]", "[errors]\nhalt_above = \"5\"\n[epoch]", "`halt_above`: \"5\" is not a share", "\"5%\""),
        (
            "[epoch]",
            "[[stream]]\nname = \"b\"\ntopic = \"b\"\ncolumns = [ { name = \"a\", type = \"date\" } ]\n[epoch]",
            "no target reads stream b",
            "[[target]]",
        ),
        (
            "[epoch]",
            "[status]\naddress = \"x\"\n[epoch]",
            "`status` (status page and metrics) is not supported yet",
            "",
        ),
        ("[epoch]", "[epoch", "not TOML", ""),
    ] {
        let findings = after(from, to);
        assert!(findings.iter().any(|f| f.what.contains(what) && f.help.contains(help)), "{to}: {findings:?}");
        assert_eq!(findings.len(), 1, "{to}: {findings:?}");
    }
}

/// A misspelt key, section or list is read as what was meant, so that nothing else is said to be missing.
#[test]
fn a_misspelt_key_is_one_finding() {
    let good = GOOD.replace(
        "[epoch]",
        "[errors]\nreject = \"halt\"\n[memory]\nbudget = \"64 MB\"\n[history]\nkeep = \"9d\"\n[epoch]",
    );
    let mut tried = 0;
    // The good file has a `time` of another place.
    for key in keys::KEYS.iter().filter(|key| key.kind != keys::Kind::NotYet && key.path() != "stream.columns.time") {
        // As in `stagging`: one letter comes twice.
        let (begins, ends) = key.name.split_at(key.name.len() / 2);
        let wrong = format!("{begins}{}{ends}", &ends[..1]);
        let section = format!("\n[{}]\n", key.section.split('.').next().unwrap());
        let from = good.find(&section.replace("[stream]", "[[stream]]").replace("[target]", "[[target]]")).unwrap_or(0);
        let forms = [("\n", " = "), ("{ ", " = "), (", ", " = "), ("\n[", "]\n"), ("\n[[", "]]\n")];
        let places = forms.iter().filter_map(|(before, after)| {
            let written = format!("{before}{}{after}", key.name);
            let at = from + good[from..].find(&written)?;
            Some((at, good[..at].to_string() + &good[at..].replace(&written, &format!("{before}{wrong}{after}"))))
        });
        let Some((_, text)) = places.min() else { continue };
        tried += 1;
        let findings = parse(&text).map(|_| ()).expect_err(&wrong);
        // A list of which each item is misspelt is misspelt more than once.
        let all_alike = findings.iter().all(|f| f.what == format!("unknown key `{wrong}`"));
        assert!(
            all_alike && findings[0].help == format!("did you mean `{}`?", key.name),
            "{wrong}: {findings:?}\n{text}"
        );
        let most = good.matches(&format!("{} = ", key.name)).count().max(1);
        assert!(findings.len() <= most, "{wrong}: {findings:?}");
    }
    assert!(tried > 30, "{tried}");
    for (from, to, what, help) in [
        ("[staging]", "[stagging]", "`stagging`", "`staging`"),
        ("[staging]", "[Staging]", "`Staging`", "`staging`"),
        ("[[stream]]", "[[streams]]", "`streams`", "`stream`"),
        ("brokers = ", "brokrs = ", "`brokrs`", "`brokers`"),
        ("brokers = ", "BROKERS = ", "`BROKERS`", "`brokers`"),
        ("user = ", "username = ", "`username`", "`user`"),
        ("user = ", "user_name = ", "`user_name`", "`user`"),
        ("topic = ", "topc = ", "`topc`", "`topic`"),
        ("columns = ", "colums = ", "`colums`", "`columns`"),
        ("name = \"userId\"", "nmae = \"userId\"", "`nmae`", "`name`"),
        ("version = 1", "verison = 1", "`verison`", "`version`"),
        ("password = { env = \"P\" }", "pssword = \"canary\"", "`pssword`", "`password`"),
        ("interval = \"10s\"", "interval_ms = 10000", "`interval_ms`", "`interval`"),
        (
            "interval = \"10s\"",
            "interval = \"10s\"\nintervall = 5",
            "`intervall`",
            "`interval`, which is there already?",
        ),
        ("tls = \"off\"", "region = \"eu-north-1\"", "`region`", "it is a key of [staging]"),
        ("[kafka]", "brokers = \"b:9092\"\n[kafka]", "`brokers`", "it is a key of [kafka]"),
    ] {
        let text = GOOD.replacen(from, to, 1);
        let findings = parse(&text).map(|_| ()).expect_err(to);
        assert_eq!(findings.len(), 1, "{to}: {findings:?}");
        assert_eq!(findings[0].what, format!("unknown key {what}"), "{to}");
        assert!(findings[0].help.contains(help), "{to}: {findings:?}");
        assert!(!render("job.toml", &text, &findings).contains("canary"), "{to}");
    }
    // Where several are misspelt, each has its own finding, and one that is really missing is not taken for found.
    let two =
        GOOD.replace("database = ", "databse = ").replace("[[stream]]\nname = \"Clicks\"\n", "[[stream]]\n").replace(
            "[epoch]",
            "[[stream]]\nnmae = \"b\"\ntopic = \"b\"\ncolumns = [ { name = \"a\", type = \"date\" } ]\n[epoch]",
        );
    let findings = parse(&two).unwrap_err();
    for what in ["unknown key `databse`", "unknown key `nmae`", "[stream] has no `name`"] {
        assert_eq!(findings.iter().filter(|f| f.what == what).count(), 1, "{what}: {findings:?}");
    }
}

/// A thing of the wrong kind is not missing as well.
#[test]
fn what_is_something_else_is_one_finding() {
    for (from, to, what) in [
        ("[kafka]\nbrokers = \"localhost:9092\"\nproperties", "kafka = 5\nproperties", "`kafka` must be a table"),
        ("topic = \"clicks\"", "topics = \"clicks\"", "`topics` must be a list of strings"),
        ("version = 1", "version = [1]", "`version` must be a whole number"),
    ] {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD);
        let findings = parse(&text).map(|_| ()).expect_err(to);
        assert!(findings.iter().any(|f| f.what.contains(what)), "{to}: {findings:?}");
        assert!(findings.iter().all(|f| !f.what.contains("has no")), "{to}: {findings:?}");
    }
    let single = GOOD.replacen("[[stream]]", "[stream]", 1);
    let findings = parse(&single).unwrap_err();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].what.contains("`stream` must be a list of tables, not a table"), "{findings:?}");
    assert_eq!(findings[0].help, "write it like [[stream]] with name, topic, columns");
}

/// What a message lists as known is taken, if it is written there.
#[test]
fn a_key_that_is_listed_is_taken() {
    let good = GOOD.replace(
        "[epoch]",
        "[errors]\nreject = \"halt\"\n[memory]\nbudget = \"64 MB\"\n[history]\nkeep = \"9d\"\n[epoch]",
    );
    let raw =
        good.replace("format = \"json\"", "format = \"raw\"").replace(", { name = \"userId\", type = \"bigint\" }", "");
    let tls = good.replace("tls = \"off\"", "tls = \"verify-full\"");
    let topics = good.replace("topic = \"clicks\"", "topics = [\"clicks\"]");
    let typed = |kind: &str| good.replace("type = \"bigint\"", &format!("type = \"{kind}\""));
    let (date, time, text) = (typed("date"), typed("timestamptz"), typed("varchar(9)"));
    let mut listings = 0;
    for (file, before) in [
        (&good, "\nversion = 1\n"),
        (&good, "\n[kafka]\n"),
        (&good, "\n[[stream]]\n"),
        (&raw, "\n[[stream]]\n"),
        (&topics, "\n[[stream]]\n"),
        (&good, "{ name = \"userId\", "),
        (&date, "{ name = \"userId\", "),
        (&time, "{ name = \"userId\", "),
        (&text, "{ name = \"userId\", "),
        (&raw, "{ name = \"event_id\", "),
        (&good, "\n[[target]]\n"),
        (&good, "\n[errors]\n"),
        (&good, "\n[memory]\n"),
        (&good, "\n[history]\n"),
        (&good, "\n[epoch]\n"),
        (&good, "\n[staging]\n"),
        (&good, "\n[redshift]\n"),
        (&tls, "\n[redshift]\n"),
    ] {
        let findings_with = |key: &str| {
            let end = if before.ends_with('\n') { "\n" } else { ", " };
            let text = file.replacen(before, &format!("{before}{key} = 1{end}"), 1);
            assert_ne!(text, *file, "{before}");
            parse(&text).err().unwrap_or_default()
        };
        let findings = findings_with("xqzwxqzwxqzw");
        let unknown = findings.iter().find(|f| f.what == "unknown key `xqzwxqzwxqzw`").expect(before);
        let (_, known) = unknown.help.split_once(" knows ").expect("a listing");
        listings += 1;
        for name in known.split(", ").map(|name| name.trim_matches('`')) {
            for finding in findings_with(name) {
                for refused in ["has no meaning", "not supported yet", "exclude each other", "unknown key", "a bug"] {
                    assert!(!finding.what.contains(refused), "{before} {name}: {finding:?}");
                }
            }
        }
    }
    assert_eq!(listings, 18);
}

#[test]
fn what_is_said_about_values_and_records_that_do_not_fit() {
    let text = GOOD
        .replace(
            "name = \"userId\", type = \"bigint\"",
            "name = \"who\", type = \"varchar(9)\", path = \"a.userId\", on = { long = \"truncate\", nul = \"strip\" }",
        )
        .replace("SELECT event_id, userid", "SELECT event_id, who AS u")
        .replace("mode = \"append\"", "on = { U = { nul = \"null\" } }")
        .replace("topic = \"clicks\"", "topics = [\"a\", \"b\"]")
        .replace("[epoch]", "[errors]\nhalt_above = \"2.5%\"\n[epoch]");
    let job = parse(&text).unwrap();
    assert_eq!(job.errors, RejectOptions { halt: false, halt_above: Some(0.025) });
    assert_eq!(job.streams[0].topics, ["a", "b"]);
    let column = &job.streams[0].columns[1];
    assert_eq!((column.name.as_str(), &column.path), ("who", &Path::parse("a.userId").unwrap()));
    let policy = Policy { long: Action::Truncate, nul: Action::Truncate, ..Policy::default() };
    assert_eq!(column.policy, policy);
    let selected = &job.targets[1].selection.columns[1];
    assert_eq!((selected.name.as_str(), selected.policy), ("u", Policy { nul: Action::Null, ..policy }));
    assert_eq!(parse(GOOD).unwrap().errors, RejectOptions { halt: false, halt_above: None });
}

#[test]
fn all_findings_are_shown_each_with_its_line() {
    let text = GOOD
        .replace("database = \"d\"", "datbase = \"d\"")
        .replace("type = \"bigint\"", "type = \"uuid\"")
        .replace("\"SELECT event_id FROM clicks\"", "\"\"\"\nSELECT\n  uper(event_id) AS event_id FROM clicks\"\"\"");
    let findings = parse(&text).map(|_| ()).unwrap_err();
    let shown = render("clicks.toml", &text, &findings);
    assert!(shown.contains("clicks.toml:12:") && shown.contains("type \"uuid\" is not supported"), "{shown}");
    assert!(shown.contains("clicks.toml:") && shown.contains("did you mean `database`?"), "{shown}");
    assert!(shown.contains("clicks.toml:21:3") && shown.contains("^^^^ did you mean upper?"), "{shown}");
}

/// Whatever the query is written with, the whole word that is wrong is underlined.
#[test]
fn the_caret_is_below_the_word_in_the_file() {
    for (written, line, carets) in [
        ("\"SELECT uper(event_id) AS e FROM clicks\"", "query = \"SELECT ", "^^^^"),
        (
            "\"SELECT \\\"event_id\\\", \\\"two words\\\" FROM clicks\"",
            "query = \"SELECT \\\"event_id\\\", ",
            "^^^^^^^^^^^^^",
        ),
        ("'''\n\tSELECT '漢字' || uper(event_id) AS e FROM clicks'''", "    SELECT '漢字__' || ", "^^^^"),
        ("'''\n  SELECT userid > 'a b' AS e\n  FROM clicks'''", "  SELECT userid > ", "^^^^^"),
        ("'''\n  SELECT 'a b'::int AS e\n  FROM clicks'''", "  SELECT ", "^^^^^"),
        ("\"\"\"SELECT event_id, \\\n   tagg AS e FROM clicks\"\"\"", "   ", "^^^^"),
        ("\"\"\"\n  SELECT event_id\n  FROM nothing\n\"\"\"", "  FROM ", "^^^^^^^"),
    ] {
        let text = GOOD.replace("\"SELECT event_id FROM clicks\"", written);
        assert_ne!(text, GOOD);
        let findings = parse(&text).map(|_| ()).unwrap_err();
        let shown = render("clicks.toml", &text, &findings);
        let indent = line.replace("__", "").chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum::<usize>();
        let expected = format!("| {}{carets}", " ".repeat(indent));
        assert!(
            shown.lines().any(|shown| shown.ends_with(&expected) || shown.contains(&format!("{expected} "))),
            "{shown}"
        );
        assert_eq!(findings.len(), 1, "{shown}");
    }
}

#[test]
fn an_empty_file_says_what_is_missing() {
    let findings = parse("").map(|_| ()).unwrap_err();
    for part in ["`version`", "`job`", "[kafka]", "[staging]", "[redshift]", "[[stream]]", "[[target]]"] {
        assert!(findings.iter().any(|f| f.what.contains(part)), "{part}");
    }
}

#[test]
fn keys_that_differ_in_their_case_alone() {
    let with = |keys: &str, path: &str| {
        let text = GOOD.replace("format = \"json\"", &format!("format = \"json\"\nkeys = \"{keys}\""));
        let other = format!("{{ name = \"other\", type = \"date\", path = \"{path}\" }}, {{ name = \"userId\"");
        let text = text.replace("{ name = \"userId\"", &other);
        parse(&text).map(|job| job.streams[0].columns.iter().all(|column| column.reading.any_case))
    };
    assert!(matches!(with("ignore-case", "created"), Ok(true)));
    assert!(matches!(with("exact", "USERID"), Ok(false)));
    assert!(matches!(with("ignore-case", "userId"), Ok(true)), "the same key twice");
    let findings = with("ignore-case", "USERID").unwrap_err();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].what.contains("columns other and userid are read from keys that differ"), "{findings:?}");
    let raw = GOOD.replace("format = \"json\"", "format = \"raw\"\nkeys = \"ignore-case\"");
    assert!(parse(&raw).unwrap_err().iter().any(|finding| finding.what.contains("`keys` has no meaning")));
}

#[test]
fn a_secret_that_is_written_out_is_not_shown() {
    for (from, to) in [
        ("password = { env = \"P\" }", "password = \"canary-ö\""),
        ("{ env = \"KAFKA_PASSWORD\" }", "\"canary-ö\""),
        ("secret_access_key = { file = \"/run/secret\" }", "secret_access_key = \"\"\"canary\nof two lines\"\"\""),
    ] {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD);
        let findings = parse(&text).unwrap_err();
        let shown = render("clicks.toml", &text, &findings);
        assert!(shown.contains("is a secret") && !shown.contains("canary") && !shown.contains("two lines"), "{shown}");
    }
    // Wherever the mistake is: in the name, in the form, or in the file as a whole.
    for (from, to) in [
        ("\"sasl.password\" = { env = \"KAFKA_PASSWORD\" }", "\"sasl.pasword\" = \"canary\""),
        ("\"sasl.password\" = { env = \"KAFKA_PASSWORD\" }", "\"sasl.jaas.config\" = \"x password=canary\""),
        ("\"sasl.password\" = { env = \"KAFKA_PASSWORD\" }", "sasl.password = \"canary\""),
        ("\"sasl.password\" = { env = \"KAFKA_PASSWORD\" }", "\"sasl.password\" = \"canary${x\""),
        ("password = { env = \"P\" }", "password = canary"),
        ("password = { env = \"P\" }", "password = \"canary"),
        ("password = { env = \"P\" }", "pasword = \"canary\""),
        ("secret_access_key = { file = \"/run/secret\" }", "secret_acces_key = \"canary\""),
    ] {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from}");
        let shown = render("clicks.toml", &text, &parse(&text).unwrap_err());
        assert!(!shown.contains("canary") && shown.contains("*****"), "{shown}");
    }
    let query = GOOD.replacen("event_id FROM clicks", "event_id FROM clicks\\nWHERE api_key = 1 AND nothing = 2", 1);
    let query = query.replacen(
        "query = \"SELECT event_id FROM clicks\\nWHERE api_key = 1 AND nothing = 2\"",
        "query = \"\"\"SELECT event_id FROM clicks\nWHERE api_key = 1 AND nothing = 2\"\"\"",
        1,
    );
    let shown = render("clicks.toml", &query, &parse(&query).unwrap_err());
    assert!(shown.contains("WHERE api_key = 1 AND nothing"), "{shown}");
    let keys = GOOD.replacen("format = \"json\"", "format = \"json\"\nkeys = \"ignore_case\"", 1);
    let shown = render("clicks.toml", &keys, &parse(&keys).unwrap_err());
    assert!(shown.contains("keys = \"ignore_case\""), "{shown}");
    let good = render(
        "clicks.toml",
        GOOD,
        &[Finding { span: 0..GOOD.len(), what: "x".into(), help: "".into(), hidden: None }],
    );
    assert!(!good.contains("**"), "where a secret is may be read: {good}");
}

#[test]
fn a_file_that_is_not_there_is_not_called_invalid_alone() {
    for path in ["/no/such/job.toml", "/tmp", concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/no.toml")] {
        let said = read_file(path).unwrap_err().render();
        assert!(said.starts_with("error[TG-1001]: the job file cannot be used\n"), "{said}");
        assert!(
            said.contains(&format!("cannot read {path}: ")) && said.contains("give the path of a job file"),
            "{said}"
        );
    }
}
