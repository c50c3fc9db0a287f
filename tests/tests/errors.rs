//! What a person is told: each error is one line with the system, what was asked, of what, the code and the words; what to do is below.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use harness::{
    events::Events,
    world::{STACK, World, binary},
};

/// The lines of a message: of the error, and of the remedy.
fn told(said: &str) -> (String, String) {
    let lines: Vec<&str> = said.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("error[")).unwrap_or_else(|| panic!("no error: {said}"));
    assert!(lines[at + 2].starts_with("  remedy: "), "an error of several lines: {said}");
    (lines[at + 1].trim().into(), lines[at + 2].trim().into())
}

/// A system that takes connections, reads what comes, and gives this answer; none at all if it is empty.
fn server(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for mut socket in listener.incoming().flatten() {
            if answer.is_empty() {
                silent.push(socket);
                continue;
            }
            let _ = socket.read(&mut [0; 8192]);
            let _ = socket.write_all(answer);
        }
    });
    address
}

/// An address at which packets are lost: a listener whose queue is full takes no connection, and says nothing.
fn hole() -> (String, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::mem::forget(listener); // it lives as long as the test
    let full = std::iter::from_fn(|| TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok());
    (address.to_string(), full.collect())
}

fn at(address: &str) -> Vec<(String, String)> {
    let (host, port) = address.rsplit_once(':').expect("host and port");
    let name = |name: &str, value: &str| (name.to_string(), value.to_string());
    vec![
        name("KAFKA_BROKERS", address),
        name("S3_ENDPOINT", &format!("http://{address}")),
        name("REDSHIFT_HOST", host),
        name("REDSHIFT_PORT", port),
    ]
}

/// All three at once, whatever way of not answering it is; and each finding says who, where, and what to look at.
#[test]
fn systems_that_do_not_answer_are_found_in_seconds() {
    let mut world = World::bare("away");
    let job = world.own_job().display().to_string();
    let (silent, (hole, _full)) = (server(b""), hole());
    for address in ["127.0.0.1:1", silent.as_str(), "nowhere.invalid:9", hole.as_str()] {
        world.env = at(address);
        let (code, said, wrong) = world.finish_within(10, &["check", &job]);
        assert_eq!(code, Some(4), "{said}{wrong}");
        for (line, key) in [
            (format!("finding[TG-2001]: kafka.brokers: Kafka METADATA topic {}", world.name), "`kafka.brokers`"),
            ("finding[TG-2001]: staging.url, region, endpoint: S3 PUT s3://".into(), "`staging.endpoint`"),
            (
                format!("finding[TG-2001]: redshift.host, port: Redshift login to {} at {address}: ", "dev"),
                "`redshift.host`",
            ),
        ] {
            let mut lines = said.lines();
            let found = lines.find(|found| found.starts_with(&line)).unwrap_or_else(|| panic!("{line}: {said}"));
            assert!(found.contains(address), "{address}: {found}");
            let remedy = lines.next().unwrap_or_default();
            assert!(remedy.contains(key), "{found}: {remedy}");
        }
        assert!(said.contains("3 findings"), "{said}");
        for command in ["status", "epochs", "dead-letters", "verify"] {
            let (code, _, said) = world.finish_within(10, &[command, &job]);
            assert_eq!(code, Some(5), "{command}: {said}");
            let (line, remedy) = told(&said);
            assert!(line.starts_with("Redshift login to ") && line.contains(address), "{command}: {line}");
            assert!(remedy.contains("`redshift.host`"), "{command}: {remedy}");
        }
    }
}

/// Something else answers there: with TLS or without it, or it is not what it should be.
#[test]
fn what_answers_and_is_not_as_the_job_file_says_names_the_key() {
    let mut world = World::new("other_door", 1);
    let job = world.own_job();
    let text = std::fs::read_to_string(&job).expect("the job file");
    let encrypted = job.with_extension("tls");
    std::fs::write(&encrypted, text.replace("tls = \"off\"", "tls = \"verify-full\"")).expect("written");
    let https = job.with_extension("https");
    std::fs::write(&https, text.replace("endpoint = \"${S3_ENDPOINT}\"", "endpoint = \"${S3_ENDPOINT_TLS}\""))
        .expect("written");
    let s3 = STACK.s3.endpoint().replace("http://", "https://");
    world.env.push(("S3_ENDPOINT_TLS".into(), s3));
    let run = |world: &World, job: &std::path::Path| {
        let (code, _, said) = world.finish(&["run", &job.display().to_string(), "--until-caught-up"]);
        let (line, remedy) = told(&said);
        (code, said, line, remedy)
    };
    let (code, said, line, remedy) = run(&world, &encrypted);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("TG-1010") && line.contains("`redshift.tls`"), "{said}");
    assert!(remedy.contains("tls = \"off\" in [redshift]"), "{remedy}");
    let (code, said, line, remedy) = run(&world, &https);
    assert_eq!(code, Some(3), "{said}");
    assert!(line.contains("S3 PUT s3://") && line.contains("does not speak TLS"), "{line}");
    assert!(remedy.contains("endpoint = \"http://"), "{remedy}");

    // A web server, and something that is no HTTP at all.
    let web = server(b"HTTP/1.1 404 Not Found\r\nContent-Length: 15\r\nConnection: close\r\n\r\n<html>no</html>");
    world.env.push(("S3_ENDPOINT".into(), format!("http://{web}")));
    let (code, said, _, remedy) = run(&world, &job);
    assert_eq!(code, Some(3), "{said}");
    assert!(remedy.contains(&format!("{web} does not answer like S3")), "{said}");
    // Another server at the address of Redshift.
    let mut world = World::bare("other_door");
    for (name, value) in at(&web).split_off(2) {
        world.env.push((name, value));
    }
    let (code, said, line, _) = run(&world, &encrypted);
    assert_eq!(code, Some(3), "{said}");
    assert!(line.contains("it does not answer like Redshift"), "{line}");
}

/// Kafka's words decide, because there is no code: what a broker without TLS says to one that wants it.
#[test]
fn tls_to_a_broker_without_it_names_the_property() {
    let mut world = World::bare("kafka_tls");
    world.properties = ", \"security.protocol\" = \"ssl\"".into();
    let job = world.own_job().display().to_string();
    let (code, said, wrong) = world.finish_within(10, &["check", &job]);
    assert_eq!(code, Some(4), "{said}{wrong}");
    let mut lines = said.lines();
    let found = lines.find(|line| line.contains("kafka.brokers: Kafka METADATA")).unwrap_or_else(|| panic!("{said}"));
    assert!(lines.next().is_some_and(|remedy| remedy.contains("`security.protocol`")), "{found}");
}

/// The whole request is for whoever looks closely, and nobody sees a key.
#[test]
fn an_error_of_s3_is_one_line() {
    let mut world = World::bare("s3_line");
    let job = world.own_job().display().to_string();
    let (owner, bucket) = (STACK.s3.owner().id.clone(), STACK.s3.bucket());
    for (name, value, words, remedy) in [
        ("AWS_SECRET_ACCESS_KEY", "wrong", "403 SignatureDoesNotMatch", "`staging.secret_access_key`"),
        ("AWS_ACCESS_KEY_ID", "NOBODY", "403 NotSignedUp", "`staging.access_key_id`"),
        ("S3_BUCKET", "nothing", "404 NoSuchBucket", "`staging.url`"),
    ] {
        world.env = vec![(name.into(), value.into())];
        let asked = if name == "S3_BUCKET" { value } else { bucket };
        for more in [&[][..], &["--verbose"]] {
            let (_, said, wrong) = world.finish(&[&["check", &job][..], more].concat());
            let found = said.lines().find(|line| line.contains(": S3 ")).unwrap_or_else(|| panic!("{said}{wrong}"));
            assert_eq!(found.matches(&format!("s3://{asked}/")).count(), 1, "{found}");
            assert!(found.contains(words) && found.len() < 300, "{found}");
            assert!(said.contains(remedy), "{said}");
            for hidden in [owner.as_str(), "http://", "AWS4", "Error performing", "<Error>"] {
                assert!(!found.contains(hidden), "{hidden}: {found}");
            }
        }
    }
}

/// A right that is missing is a GRANT to copy; one that is taken away while the job runs as well.
#[test]
fn a_missing_right_prints_the_grant() {
    let world = World::new("grants", 1);
    let name = &world.name;
    let mut events = Events::new(name, 1);
    events.send(10, None);
    events.flush();
    let job = world.own_job().display().to_string();
    for (right, table, command, grant) in [
        ("SELECT", "manifest", "status", r#"GRANT SELECT ON "tidegate"."{}_manifest" TO "loader""#),
        ("SELECT", "dead_letters", "dead-letters", r#"GRANT SELECT ON "tidegate"."{}_dead_letters" TO "loader""#),
        ("UPDATE", "fence", "run", r#"GRANT UPDATE ON "tidegate"."{}_fence" TO "loader""#),
        ("INSERT", "plans", "run", r#"GRANT INSERT ON "tidegate"."{}_plans" TO "loader""#),
    ] {
        world.sql(&format!("REVOKE {right} ON tidegate.{name}_{table} FROM loader"));
        let arguments = [command, &job, "--until-caught-up"];
        let (code, _, said) = world.finish(&arguments[..if command == "run" { 3 } else { 2 }]);
        assert_eq!(code, Some(6), "{command}: {said}");
        let (line, remedy) = told(&said);
        assert!(line.contains(&format!("tidegate.{name}_{table}")), "{line}");
        assert!(remedy.contains(&grant.replace("{}", name)), "{remedy}");
        world.sql(&format!("GRANT {right} ON tidegate.{name}_{table} TO loader"));
    }
    world.catch_up(1);
    world.check(&events.ledger);
    let nobody = World::bare("grants_schema");
    let text = std::fs::read_to_string(nobody.own_job()).expect("the job file");
    let path = nobody.own_job().with_extension("closed");
    std::fs::write(&path, text.replace("[redshift]\n", "[redshift]\nschema = \"closed\"\n")).expect("written");
    world.sql("CREATE SCHEMA IF NOT EXISTS closed");
    let (code, _, said) = nobody.finish(&["init", &path.display().to_string()]);
    assert_eq!(code, Some(6), "{said}");
    assert!(said.contains(r#"remedy: GRANT USAGE, CREATE ON SCHEMA "closed" TO "loader""#), "{said}");
}

/// Output that a full disk does not take, and a process that may open nothing: neither is a success, nor a bug.
#[test]
fn what_the_machine_lacks_is_said() {
    let world = World::bare("machine");
    let job = world.own_job();
    let run = |script: &str| {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script]).arg(binary()).arg(&job).envs(STACK.env()).envs(world.env.iter().cloned());
        let ended = command.output().expect("a shell");
        (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
    };
    for (script, words) in [
        ("\"$0\" explain \"$1\" > /dev/full", "not all of the output was written: No space left on device"),
        ("\"$0\" schema > /dev/full", "No space left on device"),
        ("ulimit -n 4; \"$0\" status \"$1\"", "the client \"redshift\" cannot be started: Too many open files"),
    ] {
        let (code, said) = run(script);
        assert_eq!(code, Some(1), "{script}: {said}");
        let (line, remedy) = told(&said);
        assert!(
            said.contains("error[TG-0002]") && line.contains(words) && remedy.contains("limits"),
            "{script}: {said}"
        );
    }
    assert_eq!(run("\"$0\" explain \"$1\" | head -1 > /dev/null").0, Some(0), "a reader that has seen enough");
}

/// As Kafka refuses it: the operation of the ACL, and the topic.
#[test]
fn a_missing_right_on_a_topic_names_the_operation() {
    let mut world = World::new("acl", 1);
    let (name, password) = stack::kafka::LOGINS[1];
    world.properties = format!(
        ", \"security.protocol\" = \"SASL_PLAINTEXT\", \"sasl.mechanism\" = \"PLAIN\", \"sasl.username\" = \"{name}\", \
         \"sasl.password\" = {{ env = \"KPW\" }}"
    );
    world.env.push(("KPW".into(), password.to_string()));
    world.kafka_at(STACK.kafka.broker().expect("a real one").login_address());
    let job = world.own_job().display().to_string();
    let (code, said, wrong) = world.finish(&["check", &job]);
    assert_eq!(code, Some(4), "{said}{wrong}");
    assert!(said.contains("TOPIC_AUTHORIZATION_FAILED"), "{said}");
    assert!(said.contains(&format!("--operation DESCRIBE --topic {}", world.name)), "{said}");
}

/// All that is not there at once, each with its key and its line; of those systems alone that a command reaches.
#[test]
fn what_the_environment_lacks_is_named_with_key_and_line() {
    let mut world = World::new("lacks", 1);
    world.secrets = ["{ file = \"/nowhere/password\" }".into(), "{ env = \"NO_SUCH_KEY\" }".into()];
    world.properties =
        ", \"sasl.password\" = { env = \"NO_SUCH_PASSWORD\" }, \"ssl.ca.location\" = \"/nowhere/ca.pem\"".into();
    let job = world.own_job();
    let text = std::fs::read_to_string(&job).expect("the job file");
    let line_of = |part: &str| text.lines().position(|line| line.contains(part)).expect("a line") + 1;
    let said_of = |command: &str, path: &std::path::Path| {
        let (code, output, said) = world.finish(&[command, &path.display().to_string()]);
        assert_eq!(code, Some(3), "{command}: {output}{said}");
        said
    };
    let all = [
        ("`sasl.password`: the environment has no variable NO_SUCH_PASSWORD", "brokers", 1),
        ("`ssl.ca.location`: cannot read /nowhere/ca.pem", "brokers", 1),
        ("`secret_access_key`: the environment has no variable NO_SUCH_KEY", "secret_access_key", 0),
        ("`password`: cannot read the secret in /nowhere/password", "password = ", 0),
    ];
    for command in ["check", "run"] {
        let said = said_of(command, &job);
        for (what, place, below) in all {
            assert!(said.contains(what), "{what}: {said}");
            let line = if below == 1 { line_of(place) + 1 } else { line_of(place) };
            assert!(said.contains(&format!("job.toml:{line}:")), "{what}: {line}: {said}");
        }
    }
    let said = said_of("epochs", &job);
    assert!(said.contains("/nowhere/password") && !said.contains("NO_SUCH"), "{said}");
    let said = said_of("status", &job);
    assert!(said.contains("NO_SUCH_PASSWORD") && !said.contains("NO_SUCH_KEY"), "{said}");
    // In an address as well, and two in one.
    let path = job.with_extension("places");
    std::fs::write(&path, text.replace("s3://${S3_BUCKET}/staging", "s3://${NO_BUCKET}/${NO_FOLDER}"))
        .expect("written");
    let said = said_of("check", &path);
    for variable in ["NO_BUCKET", "NO_FOLDER", "NO_SUCH_KEY", "NO_SUCH_PASSWORD"] {
        assert!(said.contains(variable), "{variable}: {said}");
    }
}

/// A database that is not there is not a job without control tables.
#[test]
fn a_database_that_is_not_there_is_named() {
    let mut world = World::bare("no_database");
    world.env.push(("REDSHIFT_DATABASE".into(), "nothing".into()));
    let job = world.own_job().display().to_string();
    for command in ["status", "epochs", "verify", "dead-letters", "run", "init"] {
        let (code, _, said) = world.finish(&[command, &job]);
        assert_eq!(code, Some(3), "{command}: {said}");
        assert!(said.contains("TG-1002") && said.contains("`redshift.database`"), "{command}: {said}");
    }
}

/// Whoever reads a message finds its page by the message's first line.
#[test]
fn the_page_of_a_code_begins_with_the_first_line_of_its_message() {
    let mut world = World::bare("pages");
    let job = world.own_job().display().to_string();
    for (command, env) in [
        ("status", ("REDSHIFT_PORT", "1")),
        ("status", ("REDSHIFT_PASSWORD", "wrong")),
        ("status", ("REDSHIFT_DATABASE", "nothing")),
        ("status", ("PATH", "/nowhere")),
        ("check", ("S3_BUCKET", "nothing")),
        ("run", ("REDSHIFT_PORT", "none")),
    ] {
        world.env = vec![(env.0.into(), env.1.into())];
        let (_, _, said) = world.finish(&[command, &job]);
        let first = said.lines().find(|line| line.starts_with("error[")).unwrap_or_else(|| panic!("{said}"));
        let code = first.split(['[', ']']).nth(1).expect("a code");
        assert_eq!(world.output(&["explain", code]).lines().next(), Some(first));
        let page = include_str!("../../docs/errors.md");
        assert!(page.contains(&format!("\n## {first}\n")), "{first}");
    }
}

/// With `--verbose` the request and the statement are there, below the line.
#[test]
fn the_whole_of_an_error_is_said_on_demand() {
    let mut world = World::new("verbose", 1);
    let job = world.own_job().display().to_string();
    world.sql(&format!("REVOKE SELECT ON tidegate.{}_manifest FROM loader", world.name));
    let (_, _, short) = world.finish(&["status", &job]);
    assert!(!short.contains("because: "), "{short}");
    let (_, _, whole) = world.finish(&["status", &job, "--verbose"]);
    assert!(whole.contains("because: the statement: SELECT "), "{whole}");
    world.sql(&format!("GRANT SELECT ON tidegate.{}_manifest TO loader", world.name));
    world.env.push(("S3_BUCKET".into(), "nothing".into()));
    let (_, _, whole) = world.finish(&["--verbose", "run", &job, "--until-caught-up"]);
    assert!(whole.contains("because: ") && whole.contains("http://"), "{whole}");
    assert!(whole.lines().all(|line| !line.contains("<Error>")), "{whole}");
}
