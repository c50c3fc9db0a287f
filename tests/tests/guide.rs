//! docs/guide.md as a new user would follow it: every command, in order, in an empty folder, with systems of its own.

use std::{fs, path::Path, process::Command};

use harness::{gate::beside_others, world::binary};

/// A block of code: its language, the file that it is to be saved as, and its text.
struct Block {
    language: String,
    file: Option<String>,
    text: String,
}

fn blocks() -> Vec<Block> {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide.md")).expect("the guide");
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for line in page.lines() {
        match line.strip_prefix("```") {
            Some(_) if open => open = false,
            Some(info) => {
                let mut words = info.split(' ').map(String::from);
                let language = words.next().unwrap_or_default();
                blocks.push(Block { language, file: words.next(), text: String::new() });
                open = true;
            }
            None if open => {
                if let Some(block) = blocks.last_mut() {
                    block.text += &format!("{line}\n");
                }
            }
            None => {}
        }
    }
    blocks
}

/// Runs the script and returns what it printed; its background jobs end with it, also when it fails.
fn run(script: &str, folder: &Path) -> String {
    let path =
        format!("{}:{}", binary().parent().expect("its folder").display(), std::env::var("PATH").unwrap_or_default());
    let script = format!("set -euo pipefail; trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n{script}");
    let mut command = Command::new("timeout");
    command.args(["300", "bash", "-c", &script]).current_dir(folder).env("PATH", path);
    // A new user has none of our variables.
    let ours = |name: &str| ["KAFKA_", "S3_", "AWS_", "REDSHIFT_"].iter().any(|prefix| name.starts_with(prefix));
    std::env::vars().map(|(name, _)| name).filter(|name| ours(name)).for_each(|name| {
        command.env_remove(name);
    });
    let output = command.output().expect("bash runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn every_command_of_the_guide_works() {
    let _place = beside_others();
    let folder = tempfile::tempdir().expect("a folder");
    let blocks = blocks();
    for block in &blocks {
        if let Some(file) = &block.file {
            fs::write(folder.path().join(file), &block.text).expect("written");
        }
        if block.language == "json" {
            serde_json::from_str::<serde_json::Value>(&block.text).unwrap_or_else(|e| panic!("{e}: {}", block.text));
        }
    }
    let script: Vec<&str> = blocks.iter().filter(|b| b.language == "sh").map(|b| b.text.as_str()).collect();
    assert!(script.len() > 8, "the guide has commands");
    let said = run(&script.join("\n"), folder.path());
    for part in [
        "5000 records sent to orders",
        "interval = \"2s\"\n",
        "tidegate.orders_manifest\n",
        "no findings\n",
        "topic orders: 4 partitions, 0 offsets not loaded",
        "epoch 0 is an announcement: it has no rows, and notes where each partition of a new topic begins\n",
        "count  sum\n5000   ",
        "1 at decode column customer_id: a string that is not a number",
        // The record in SQL, and whole.
        "{\"id\":5001,\"customer\":{\"id\":\"unknown\"},\"total\":1.00}\n",
        "\"record\":\"{\\\"id\\\":5001,",
        "found  what is looked for in target analytics.orders",
        "no problems",
        "tls = \"verify-full\"  # default\n",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    let statements = fs::read_to_string(folder.path().join("verify.sql")).expect("the statements");
    assert!(statements.contains("-- no row, or: "), "{statements}");
}

/// The codes after which the service does not start again are those after which a person is needed.
#[test]
fn the_service_is_started_again_only_where_that_helps() {
    let unit = blocks().into_iter().find(|block| block.language == "ini").expect("the unit").text;
    let line = unit.lines().find_map(|line| line.strip_prefix("RestartPreventExitStatus=")).expect("the codes");
    assert_eq!(line, "2 3 6 20 21 22 23");
    assert!(unit.contains("Restart=on-failure"));
}
