//! The demonstration runs from beginning to end, as a new user would run it.

use std::{path::Path, process::Command};

use harness::gate::alone;

#[test]
fn the_demonstration_ends_well() {
    let _alone = alone(); // clicks come for some seconds, and the kill must be among them
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let output = Command::new(root.join("scripts/demo"))
        .env("DEMO_SECONDS", "9")
        .env("DEMO_BUILT", "1")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    for part in [
        "no findings",
        "== kill -9",
        "generation 2",
        "18000 clicks sent, 180 of them broken",
        "no problems",
        "45 at decode column price: a string that is not a number",
        "180 dead letters of 4 kinds",
        "turnover",
        "== done",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
