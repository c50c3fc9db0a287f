//! A secret gets nowhere that a person, a log or another system keeps: not into a message, an explanation, a process list or SQL.

use std::time::Duration;

use harness::world::{STACK, World, until};

const CANARY: &str = "canary-3f9d1c7e";

/// All that the program says of a job, by every command that looks at it.
fn said(world: &World) -> String {
    let job = world.own_job().display().to_string();
    let mut all = String::new();
    for arguments in [
        &["check", &job][..],
        &["check", &job, "--json"],
        &["explain", &job],
        &["explain", &job, "--json"],
        &["status", &job],
        &["run", &job, "--until-caught-up", "--verbose", "--log", "json"],
    ] {
        let (_, output, said) = world.finish(arguments);
        all += &(output + &said);
    }
    all
}

/// Gives a world these properties and the secret.
fn with(world: &mut World, properties: &str) {
    world.env.push(("CANARY".into(), CANARY.into()));
    world.properties = properties.into();
}

#[test]
fn a_secret_is_not_said() {
    let login =
        "\"security.protocol\" = \"SASL_PLAINTEXT\", \"sasl.mechanism\" = \"PLAIN\", \"sasl.username\" = \"loader\"";
    for (name, properties, expected) in [
        ("misspelt", ", \"sasl.pasword\" = { env = \"CANARY\" }", "did you mean `sasl.password`?"),
        ("of Java", ", \"sasl.jaas.config\" = { env = \"CANARY\" }", "write `sasl.username`"),
        ("written out", ", \"sasl.password\" = \"canary-3f9d1c7e\"", "`sasl.password` is a secret"),
        (
            "of another kind, to the end",
            ", \"security.protocol\" = \"SSL\", \"ssl.curves.list\" = { env = \"CANARY\" }",
            "`ssl.curves.list` failed",
        ),
        ("of another kind", ", \"security.protocol\" = { env = \"CANARY\" }", "`security.protocol` cannot have"),
        (
            "a wrong password",
            &format!(", {login}, \"sasl.password\" = {{ env = \"CANARY\" }}"),
            "Authentication failed",
        ),
    ] {
        let mut world = World::new("secret_kafka", 1);
        with(&mut world, properties);
        if name == "a wrong password" {
            world.kafka_at(STACK.kafka.broker().expect("a real one").login_address());
        }
        let said = said(&world);
        assert!(said.contains(expected), "{name}: {said}");
        assert!(!said.contains(CANARY), "{name}: {said}");
    }
    for which in [0, 1] {
        let mut world = World::new("secret", 1);
        with(&mut world, "");
        world.secrets[which] = "{ env = \"CANARY\" }".into();
        let said = said(&world);
        assert!(!said.contains(CANARY), "{which}: {said}");
    }
}

/// Where a running job could be seen from outside: its command line, and what the warehouse knows of its sessions.
#[test]
fn a_running_job_shows_no_secret() {
    let mut world = World::new("secret_running", 1);
    // A line end does not belong to a secret, wherever it is.
    world.env.push(("PASSWORD".into(), format!("{}\n", stack::redshift::PASSWORD)));
    world.secrets[0] = "{ env = \"PASSWORD\" }".into();
    let running = world.run(1, &[]);
    let sessions = "SELECT query, application_name FROM pg_stat_activity";
    let ours = || world.sql(&format!("{sessions} WHERE application_name = 'tidegate-{}'", world.name));
    until(Duration::from_secs(60), "it is logged in", || !ours().is_empty());
    let line = std::fs::read(format!("/proc/{}/cmdline", running.pid())).expect("a process");
    let shown = String::from_utf8_lossy(&line).into_owned() + &format!("{:?}", world.sql(sessions));
    assert!(shown.contains("run") && !shown.contains(stack::redshift::PASSWORD), "{shown}");
    drop(running);
}
