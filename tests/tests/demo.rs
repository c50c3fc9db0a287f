//! The demonstration runs from beginning to end, as a new user would run it.

use std::{path::Path, process::Command};

use harness::{gate::alone, world::binary};

#[test]
fn the_demonstration_ends_well() {
    let _alone = alone(); // clicks come for some seconds, and the kill must be among them
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let output = Command::new(root.join("scripts/demo"))
        .env("DEMO_SECONDS", "12")
        .env("DEMO_BIN", binary().parent().expect("its folder"))
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    for part in [
        "no findings",
        "== kill -9",
        "generation 2",
        "24000 clicks sent, 240 of them broken",
        "no problems",
        "60 at decode column price: a string that is not a number",
        "240 dead letters of 4 kinds",
        "turnover",
        "The kill interrupted what came after epoch ",
        "clicks: 24000 sent = 23760 rows (23760 distinct ids) + 240 dead letters (240 distinct offsets) + 0 left out",
        "purchases: 24000 sent = ",
        "purchases has fewer because of its query's WHERE",
        "== done",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // The kill came in the middle: something was in the topic and in no table, and was read again.
    let number_after = |before: &str| -> u64 {
        let (_, rest) = said.split_once(before).unwrap_or_else(|| panic!("{before}: {said}"));
        rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a number")
    };
    assert!(number_after("newest that is loaded, and ") > 0, "{said}");
    assert!(number_after("purchases: 24000 sent = ") > 1000, "{said}");
    let (last, first) = (number_after("interrupted what came after epoch "), number_after("its first one, epoch "));
    assert!(last > 0 && first == last + 1, "{said}");
}

/// Where cargo puts programs is for cargo to say: `CARGO_TARGET_DIR`, `build.target-dir` and `build.target` move them.
#[test]
fn no_script_takes_a_place_of_programs_for_granted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    for file in ["Makefile", "scripts/demo", "scripts/setup", "fuzz/run.sh", ".ci/run"] {
        let text = std::fs::read_to_string(root.join(file)).expect(file);
        for place in ["target/debug", "target/release", "target/$"] {
            assert!(!text.contains(place), "{file}: {place}");
        }
    }
}
