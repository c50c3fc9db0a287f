//! docs/reference.md, held against the program: job file, exit codes, states, fields of JSON, log, control tables.

use std::collections::{BTreeMap, BTreeSet};

use harness::{
    records::{Record, send},
    world::World,
};
use serde_json::Value;

fn page() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference.md")).expect("the page")
}

/// The rows of the table below a heading, each as its cells; without head and rule.
fn table(heading: &str) -> Vec<Vec<String>> {
    let page = page();
    let after = page.split(&format!("\n{heading}\n")).nth(1).unwrap_or_else(|| panic!("no heading {heading}"));
    let lines = after.lines().take_while(|line| !line.starts_with('#')).filter(|line| line.starts_with('|'));
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_string()).collect();
    lines.skip(2).map(cells).collect()
}

/// What stands in backquotes.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(String::from).collect()
}

/// First cells, without backquotes.
fn names(heading: &str) -> BTreeSet<String> {
    table(heading).iter().map(|cells| cells[0].trim_matches('`').to_string()).collect()
}

/// The paths of everything in a value.
fn paths(value: &Value, at: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            let below = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            paths(value, &below, into);
        }),
        Value::Array(items) if items.iter().any(Value::is_string) && at == "made" => drop(into.insert(at.into())),
        Value::Array(items) if items.is_empty() => drop(into.insert(at.into())),
        Value::Array(items) => items.iter().for_each(|item| paths(item, &format!("{at}[]"), into)),
        _ => drop(into.insert(at.into())),
    }
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

fn has_fields(heading: &str, output: &str) {
    let objects = objects(output);
    assert!(!objects.is_empty(), "{heading}: no output");
    let mut found = BTreeSet::new();
    objects.iter().for_each(|object| paths(object, "", &mut found));
    assert_eq!(found, names(heading), "{heading}: {output}");
}

#[test]
fn every_field_of_json_is_in_the_page_and_the_other_way_round() {
    let mut world = World::bare("reference");
    world.create_topic(&world.name, 2);
    world.create_table(&world.name);
    let name = &world.name.clone();
    world.more = "[epoch]\ninterval = \"300ms\"\n".into();
    let job = world.own_job().display().to_string();
    has_fields("### `tidegate init --json`", &world.output(&["init", &job, "--json"]));

    // A record that is loaded, one that is changed to fit, one that does not decode.
    let text = std::fs::read_to_string(&job).expect("the job file");
    let cuts = r#"{ name = "note", type = "varchar(40)", on = { long = "truncate" } }"#;
    std::fs::write(&job, text.replace(r#"{ name = "note", type = "varchar(40)" }"#, cuts)).expect("written");
    let long = format!(r#"{{"id":2,"note":"{}"}}"#, "x".repeat(50));
    let records = [r#"{"id":1}"#, long.as_str(), r#"{"id":"three"}"#].map(Record::of);
    send(name, &records.into_iter().enumerate().map(|(n, record)| (n as i32 % 2, record)).collect::<Vec<_>>());
    let (code, _, said) = world.finish(&["run", &job, "--until-caught-up", "--verbose", "--log", "json"]);
    assert_eq!(code, Some(0), "{said}");
    let documented: BTreeMap<String, BTreeSet<String>> = table("### `tidegate run --log json`")
        .into_iter()
        .map(|cells| (cells[0].trim_matches('`').to_string(), quoted(&cells[2]).into_iter().collect()))
        .collect();
    let mut seen = BTreeSet::new();
    let mut hold = |said: &str| {
        for line in objects(said) {
            let Some(event) = line["event"].as_str().map(String::from) else {
                assert_eq!(line["level"], "WARN", "a library may warn: {line}");
                continue;
            };
            let known = documented.get(&event).unwrap_or_else(|| panic!("{event} is not in the page"));
            let fields = line.as_object().expect("an object").keys();
            let general = ["timestamp", "level", "message", "event"];
            fields.filter(|f| !general.contains(&f.as_str())).for_each(|field| {
                assert!(known.contains(field) || field.starts_with("--"), "{event}: {field} is not in the page")
            });
            seen.insert(event);
        }
    };
    hold(&said);
    let (code, output, said) = world.finish(&["run", &job, "--quiet", "--until-caught-up"]);
    assert_eq!((code, output.as_str(), said.as_str()), (Some(0), "", ""), "quiet is quiet");
    world.sql(&format!("ALTER TABLE {name} RENAME TO {name}_gone"));
    let (code, _, said) = world.finish(&["run", &job, "--until-caught-up", "--log", "json"]);
    assert_eq!(code, Some(3), "{said}");
    hold(&said);
    let last = objects(&said).pop().expect("a last line");
    assert_eq!((&last["event"], &last["code"], &last["exit_code"]), (&"error".into(), &"TG-1002".into(), &3.into()));
    for event in ["state", "started", "step", "loaded", "changed", "done", "error"] {
        assert!(seen.contains(event), "{event} was not seen");
    }

    let (code, findings, _) = world.finish(&["check", &job, "--json"]);
    assert_eq!(code, Some(4), "{findings}");
    has_fields("### `tidegate check --json`", &findings);
    world.sql(&format!("ALTER TABLE {name}_gone RENAME TO {name}"));
    has_fields("### `tidegate status --json`", &world.output(&["status", &job, "--json"]));
    has_fields("### `tidegate epochs --json`", &world.output(&["epochs", &job, "--json"]));
    has_fields("### `tidegate dead-letters --json`", &world.output(&["dead-letters", &job, "--json"]));
    has_fields("### `tidegate dead-letters --all --json`", &world.output(&["dead-letters", &job, "--all", "--json"]));
    has_fields("### `tidegate explain --json CODE`", &world.output(&["explain", "--json"]));
    world.sql(&format!("DELETE FROM {name} WHERE id = 1"));
    let (code, findings, _) = world.finish(&["verify", &job, "--json"]);
    assert_eq!(code, Some(4), "{findings}");
    has_fields("### `tidegate verify --json`", &findings);
    has_fields("### `tidegate init --adopt --json`", &world.output(&["init", &job, "--adopt", "--json"]));

    control_tables(&world);
    job_file(&world, &job);
}

/// Columns and types, as the database has them.
fn control_tables(world: &World) {
    let suffixes = [
        "version",
        "fence",
        "manifest",
        "rows",
        "offsets",
        "cuts",
        "times",
        "watermarks",
        "plans",
        "sessions",
        "halts",
        "verified",
        "dead_letters",
    ];
    for suffix in suffixes {
        let columns = world.sql(&format!(
            "SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a \
             WHERE a.attrelid = 'tidegate.{}_{suffix}'::regclass AND a.attnum > 0 ORDER BY a.attnum",
            world.name
        ));
        let of_database = columns.into_iter().map(|row| {
            let kind = row[1].clone().unwrap_or_default();
            let kind = kind.replace("character varying", "varchar").replace("timestamp with time zone", "timestamptz");
            (row[0].clone().unwrap_or_default(), kind.replace(" without time zone", ""))
        });
        let of_page = table(&format!("### `<job>_{suffix}`"));
        let of_page = of_page.iter().map(|cells| (cells[0].trim_matches('`').to_string(), cells[1].clone()));
        assert_eq!(of_page.collect::<Vec<_>>(), of_database.collect::<Vec<_>>(), "{suffix}");
    }
}

/// Every key that an explained job has, set or by default, and its default.
fn job_file(world: &World, job: &str) {
    let explained = world.output(&["explain", job]);
    let documented: BTreeMap<String, String> = table("## Job file")
        .into_iter()
        .map(|cells| (cells[0].trim_matches('`').to_string(), cells[1].trim_matches('`').to_string()))
        .collect();
    let mut section = String::new();
    let mut shown = BTreeSet::new();
    for line in explained.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_matches(|c| c == '[' || c == ']').to_string() + ".";
            continue;
        }
        let (line, is_default) = match line.strip_suffix("  # default") {
            Some(line) => (line, true),
            None => (line, false),
        };
        let Some((key, value)) =
            line.trim_start_matches("# ").split_once(" = ").or(line.trim_start_matches("# ").split_once(": "))
        else {
            continue;
        };
        if key.contains(' ') && !key.contains(", ") {
            continue; // a remark
        }
        for key in key.split(", ") {
            let key = format!("{section}{key}");
            let default = documented.get(&key).unwrap_or_else(|| panic!("{key} is not in the page"));
            if is_default {
                assert_eq!(value, default, "{key}");
            }
            shown.insert(key);
        }
    }
    // `topic` is shown as `topics`; the others stand only where a job has them.
    let optional = ["stream.topic", "target.on", "target.verify_from", "redshift.ca_file", "kafka.properties"];
    let missing: Vec<&String> =
        documented.keys().filter(|key| !shown.contains(*key) && !optional.contains(&key.as_str())).collect();
    assert!(missing.is_empty(), "not shown: {missing:?}\n{explained}");
}

#[test]
fn commands_codes_and_states_are_those_of_the_program() {
    let world = World::bare("reference");
    let help = world.output(&["help"]);
    let commands = help.split("Commands:").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap_or_default();
    // A name begins after two blanks; what follows is more of the line above.
    let of_program = commands.lines().filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    let of_program: BTreeSet<String> = of_program
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(String::from)
        .collect();
    assert_eq!(of_program, names("## Commands"));

    let codes = objects(&world.output(&["explain", "--json"]));
    let of_program: BTreeSet<String> = codes.iter().map(|code| code["exit_code"].to_string()).collect();
    let without_error: BTreeSet<String> = ["0", "130"].map(String::from).into();
    assert_eq!(of_program.union(&without_error).cloned().collect::<BTreeSet<_>>(), names("## Exit codes"));
    for code in &codes {
        let row =
            table("## Exit codes").into_iter().find(|cells| code["exit_code"] == cells[0].parse::<u8>().unwrap_or(0));
        let again = row.and_then(|cells| cells.get(2).cloned()).unwrap_or_default();
        let state = code["state"].as_str().unwrap_or_default();
        assert_eq!(again == "no", state == "halted" || state == "fenced", "{code}");
        assert!(names("## States").contains(state), "{state}");
    }
}

/// What no run of this test says is found in the source: every event and its fields.
#[test]
fn every_event_of_the_source_is_in_the_page() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../dataflow/src");
    let mut found = BTreeSet::new();
    let mut folders = vec![std::path::PathBuf::from(root)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a source file");
            found.extend(text.split("event = \"").skip(1).filter_map(|rest| rest.split('"').next().map(String::from)));
        }
    }
    assert_eq!(found, names("### `tidegate run --log json`"));
}

/// Each error code is raised by a test, which names it.
#[test]
fn every_error_code_is_raised_by_a_test() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let mut tests = String::new();
    for file in ["dataflow/src/error.rs", "dataflow/src/job/tests.rs"] {
        let text = std::fs::read_to_string(format!("{root}/{file}")).expect("a source file");
        tests += text.split("#[cfg(test)]").last().unwrap_or_default();
    }
    for folder in ["tests/tests", "dataflow/tests"] {
        for entry in std::fs::read_dir(format!("{root}/{folder}")).expect("a folder") {
            tests += &std::fs::read_to_string(entry.expect("an entry").path()).expect("a source file");
        }
    }
    for code in objects(&World::bare("reference").output(&["explain", "--json"])) {
        let id = code["code"].as_str().unwrap_or_default();
        assert!(tests.contains(id), "no test raises {id}");
    }
}
