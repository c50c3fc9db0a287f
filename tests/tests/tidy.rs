//! The rules of the house, as tests: who may know whom, what a file begins with, what must not be in it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").into()
}

/// Every package that a package of ours builds on, itself left out; tests' own dependencies do not count.
fn builds_on(package: &str, features: &str) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--package", package]);
    cargo.args(["--features", features]).current_dir(root());
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let names = text.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != package).map(String::from).collect()
}

#[test]
fn arrows_point_one_way() {
    const OURS: [&str; 7] = [
        "tidegate-checkpoint",
        "tidegate-connectors",
        "tidegate-operators",
        "tidegate",
        "tidegate-stack",
        "tidegate-tests",
        "tidegate-bench",
    ];
    // What each may build on, of ours and of the systems it must not know.
    for (package, features, ours, never) in [
        (
            "tidegate-checkpoint",
            "",
            &[][..],
            &["timely", "arrow-array", "parquet", "rdkafka", "object_store", "tokio-postgres", "toml"][..],
        ),
        (
            "tidegate-connectors",
            "kafka,s3,redshift",
            &["tidegate-checkpoint"],
            &["timely", "arrow-array", "arrow-schema", "parquet", "toml"],
        ),
        (
            "tidegate-operators",
            "",
            &["tidegate-checkpoint", "tidegate-connectors"],
            // DataFusion's expressions bring tokio for an engine that we do not use; our own use of it is looked for below.
            &["rdkafka", "object_store", "tokio-postgres", "reqwest", "toml", "datafusion"],
        ),
        ("tidegate", "", &["tidegate-checkpoint", "tidegate-connectors", "tidegate-operators"], &[]),
        ("tidegate-stack", "", &[], &["timely"]),
        ("tidegate-tests", "", &["tidegate-stack"], &["timely"]),
        (
            "tidegate-bench",
            "",
            &["tidegate-checkpoint", "tidegate-connectors", "tidegate-operators"],
            // It reads the topic by itself, to say what that alone costs; the whole it runs as a program.
            &["object_store", "tokio-postgres"],
        ),
    ] {
        let found = builds_on(package, features);
        let of_ours: BTreeSet<&str> = found.iter().map(String::as_str).filter(|name| OURS.contains(name)).collect();
        assert_eq!(of_ours, ours.iter().copied().collect(), "{package}");
        for name in never {
            assert!(!found.contains(*name), "{package} builds on {name}");
        }
    }
}

#[test]
fn operators_are_synchronous() {
    for (path, text) in files(".rs") {
        if path.starts_with("operators") || path.starts_with("checkpoint") {
            for word in
                [concat!("tok", "io::"), concat!("async", " fn"), concat!(".aw", "ait"), concat!("std::", "net")]
            {
                assert!(!text.contains(word), "{}: {word}", path.display());
            }
        }
    }
}

fn files(ending: &str) -> Vec<(PathBuf, String)> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let listed = String::from_utf8(listed.expect("git runs").stdout).expect("UTF-8");
    let paths = listed.lines().filter(|path| path.ends_with(ending)).map(PathBuf::from);
    let files: Vec<(PathBuf, String)> =
        paths.filter_map(|path| Some((path.clone(), std::fs::read_to_string(root().join(&path)).ok()?))).collect();
    assert!(!files.is_empty(), "no file {ending}");
    files
}

#[test]
fn every_file_says_what_it_is_for() {
    for (path, text) in files(".rs") {
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//! ") && first.len() > 12, "{}: {first}", path.display());
    }
    for (path, text) in files(".toml") {
        assert!(text.starts_with("# "), "{}", path.display());
    }
}

/// A file that is not a module of the program would be neither compiled nor run.
#[test]
fn every_file_of_tests_is_run() {
    let modules = include_str!("main.rs").lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    let named: BTreeSet<PathBuf> = modules.map(|module| format!("tests/tests/{module}.rs").into()).collect();
    let there = files(".rs").into_iter().map(|(path, _)| path).filter(|path| path.starts_with("tests/tests"));
    let there: BTreeSet<PathBuf> = there.filter(|path| !path.ends_with("main.rs")).collect();
    assert_eq!(named, there);
}

#[test]
fn unsafe_code_stands_in_one_file() {
    let with: Vec<PathBuf> = files(".rs")
        .into_iter()
        .filter(|(_, text)| text.contains(concat!("allow(unsafe", "_code)")))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(with, [PathBuf::from("connectors/src/kafka/native.rs")]);
}

#[test]
fn no_test_is_switched_off_and_nothing_is_left_undone() {
    let banned = [
        concat!("#[ign", "ore"),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("d", "bg!("),
        concat!("FIX", "ME"),
    ];
    for (path, text) in files(".rs") {
        for word in banned {
            assert!(!text.contains(word), "{}: {word}", path.display());
        }
    }
}
