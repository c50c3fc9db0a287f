//! The live view of `run`, on a real terminal: what it shows, and what takes it away.

use std::process::Command;

use harness::{
    events::Events,
    gate::alone,
    world::{STACK, World, binary},
};

/// Runs the program on a terminal of its own (util-linux's `script` makes one), SIGTERM after some seconds. Exit code, and
/// everything that was drawn.
fn on_a_terminal(world: &World, seconds: u32, arguments: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String) {
    let line = format!(
        "stty cols 200; exec timeout --foreground -s TERM {seconds} {} {}",
        binary().display(),
        arguments.join(" ")
    );
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).envs(STACK.env()).envs(world.env.iter().map(|(k, v)| (k, v)));
    command.env("TERM", "xterm").env_remove("NO_COLOR").envs(env.iter().copied());
    let output = command.output().expect("`script`, of util-linux, makes a terminal");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_terminal_shows_the_job_and_a_log_is_above_it() {
    let _alone = alone(); // what it looks for must be on the screen within seconds
    let world = World::new("live", 2);
    let mut events = Events::new(&world.name, 2);
    events.produce(2000);
    let job = world.own_job().display().to_string();

    let (_, drawn) = on_a_terminal(&world, 10, &["run", &job], &[]);
    let topic = format!("topic {}: all loaded", world.name);
    for part in [
        "\u{1b}[32m", // green: all is well
        "idle",
        "records/s read",
        &topic,
        "last load: epoch 1,",
        "complete up to 2",
        "slowest stage: ",
        "loaded epoch 1: ",
        "done: ",
    ] {
        assert!(drawn.contains(part), "{part}: {drawn}");
    }
    // Lines for a person who sits there have no time before them.
    assert!(!drawn.contains(" INFO "), "{drawn}");

    let (_, drawn) = on_a_terminal(&world, 5, &["run", &job], &[("NO_COLOR", "1")]);
    assert!(drawn.contains("records/s read") && !drawn.contains("\u{1b}[32m"), "{drawn}");
    let (_, drawn) = on_a_terminal(&world, 5, &["run", &job, "--quiet"], &[]);
    assert_eq!(drawn, "");
    let (_, drawn) = on_a_terminal(&world, 5, &["run", &job, "--log", "json"], &[]);
    assert!(drawn.starts_with('{') && !drawn.contains("records/s read"), "{drawn}");

    events.produce(20_000);
    let (code, drawn) = on_a_terminal(&world, 60, &["run", &job, "--until-caught-up"], &[]);
    assert_eq!(code, Some(0), "{drawn}");
    assert!(drawn.contains("offsets read, ") && drawn.contains(" left"), "a bar: {drawn}");
    world.check(&events.ledger);
    // Off a terminal, a line for each load, with time and level.
    let (_, _, said) = world.finish(&["run", &job, "--until-caught-up"]);
    assert!(said.contains(" INFO  starting job") && !said.contains('\u{1b}'), "{said}");
}
