//! The live view of `run`, on a real terminal: what it shows, and what takes it away.

use std::{
    fs::File,
    io::{Read, Write},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::termios::{Winsize, tcsetwinsize};

use harness::{
    events::Events,
    gate::alone,
    proxy::{Kind, Proxy},
    terminal::Terminal,
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

/// The program on a terminal at which somebody sits.
struct Session {
    script: Child,
    written: Receiver<Vec<u8>>,
    terminal: Terminal,
    /// The terminal as a file.
    file: File,
}

impl Session {
    fn start(world: &World, rows: usize, columns: usize) -> Session {
        let job = world.own_job();
        let line = format!("tty; stty rows {rows} cols {columns}; exec {} run {}", binary().display(), job.display());
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).envs(STACK.env()).envs(world.env.iter().map(|(k, v)| (k, v)));
        command.env("TERM", "xterm").env("NO_COLOR", "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = command.spawn().expect("`script`, of util-linux, makes a terminal");
        let mut output = script.stdout.take().expect("it is piped");
        let (to, written) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 65536];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                if to.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        let file = File::open("/dev/null").expect("it is there");
        let mut session = Session { script, written, terminal: Terminal::new(rows, columns), file };
        session.until("its name", |seen| seen.first().is_some_and(|row| row.starts_with("/dev/")));
        session.file = File::open(&session.terminal.seen()[0]).expect("a terminal");
        session
    }

    /// Waits until what can be seen is as it must be. What a person saw last, if it never is.
    fn until(&mut self, what: &str, is_so: impl Fn(&[String]) -> bool) {
        let since = Instant::now();
        while !is_so(&self.terminal.seen()) {
            assert!(since.elapsed() < Duration::from_secs(40), "{what}: {:#?}", self.terminal.seen());
            if let Ok(bytes) = self.written.recv_timeout(Duration::from_millis(100)) {
                self.terminal.write(&bytes);
            }
        }
    }

    /// Somebody pulls at the corner of the terminal.
    fn resize(&mut self, rows: usize, columns: usize) {
        self.written.try_iter().for_each(|bytes| self.terminal.write(&bytes));
        self.terminal.resize(rows, columns);
        let size = Winsize { ws_row: rows as u16, ws_col: columns as u16, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.file, size).expect("a terminal");
        // What stood there may look right as it is.
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(1) {
            if let Ok(bytes) = self.written.recv_timeout(Duration::from_millis(100)) {
                self.terminal.write(&bytes);
            }
        }
    }

    fn press(&mut self, keys: &[u8]) {
        let input = self.script.stdin.as_mut().expect("it is piped");
        input.write_all(keys).and_then(|()| input.flush()).expect("somebody reads what is typed");
    }

    /// Waits for the end: exit code, and what can be seen then.
    fn end(mut self) -> (Option<i32>, Vec<String>) {
        let code = self.script.wait().expect("it was started").code();
        self.written.iter().for_each(|bytes| self.terminal.write(&bytes));
        assert!(self.terminal.cursor().is_some(), "the cursor is hidden");
        (code, self.terminal.seen())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.script.kill(); // the terminal hangs up, which ends what runs on it
        let _ = self.script.wait();
    }
}

/// The rows of a live view, wherever they are.
fn of_the_view(seen: &[String]) -> Vec<&String> {
    let starts = ["idle", "running", "retrying", "draining", "behind", "  "];
    // A change of the state is said in a line of its own.
    let is_said = |row: &String| row.contains(" (was ");
    seen.iter().filter(|row| starts.iter().any(|start| row.starts_with(start)) && !is_said(row)).collect()
}

#[test]
fn a_view_stands_once_on_a_terminal_of_any_size_and_goes_away() {
    let _alone = alone(); // what it looks for must be on the screen within seconds
    let world = World::new("live_size", 1);
    Events::new(&world.name, 1).produce(2000);
    let mut session = Session::start(&world, 24, 120);
    let name = world.name.clone();
    let topic = format!("  topic {name}: all loaded");
    session.until("a view", |seen| seen.contains(&topic) && of_the_view(seen)[0].starts_with("idle"));
    for (rows, columns) in [(24, 60), (24, 30), (24, 120), (10, 120), (4, 120), (24, 120), (40, 20), (24, 100)] {
        session.resize(rows, columns);
        let (topic, name) = (topic.clone(), name.clone());
        session.until(&format!("one view of {rows} rows and {columns} columns"), move |seen| {
            let view = of_the_view(seen);
            let is_whole = |row: &&String| row.chars().count() < columns;
            let states = view.iter().filter(|row| row.starts_with("idle")).count();
            let named = view.iter().filter(|row| row.contains(&*name)).count();
            let shows_topic = if columns >= 60 { named == usize::from(rows > 4) } else { true };
            let ends = if rows > 10 && columns >= 60 { seen.last() == Some(&topic) } else { true };
            states == 1 && view.len() < rows.min(9) && view.iter().all(is_whole) && shows_topic && ends
        });
    }
    session.press(b"\x03");
    let (code, seen) = session.end();
    assert_eq!(code, Some(0), "{seen:#?}");
    assert_eq!(of_the_view(&seen), Vec::<&String>::new(), "{seen:#?}");
    assert!(seen.last().is_some_and(|row| row.starts_with("done: 2000 records read, 2000 rows loaded")), "{seen:#?}");
    assert!(!seen.iter().any(|row| row.contains("^C")), "{seen:#?}");
}

#[test]
fn an_outage_and_a_stop_in_it_say_since_and_until_when() {
    let _alone = alone(); // what it looks for must be on the screen within seconds
    let mut world = World::new("live_outage", 1);
    let proxy = Proxy::start(Kind::Redshift, STACK.redshift.address());
    world.redshift_at(proxy.address());
    let mut events = Events::new(&world.name, 1);
    events.produce(100);
    let mut session = Session::start(&world, 24, 200);
    session.until("it works", |seen| of_the_view(seen).first().is_some_and(|row| row.starts_with("idle since ")));
    proxy.down(true);
    events.produce(100);
    session.until("an outage", |seen| {
        let has = |parts: &[&str]| seen.iter().any(|row| parts.iter().all(|part| row.contains(part)));
        has(&["retrying since ", ": 100 offsets not loaded"])
            && has(&["loading epochs into Redshift: ", "Redshift "])
            && has(&["    since ", ", next try ", ", gives up at "])
            && has(&["  no load for "])
    });
    session.press(b"\x03");
    session.until("it drains", |seen| {
        of_the_view(seen)
            .first()
            .is_some_and(|row| row.starts_with("draining since ") && row.contains(", at most until "))
    });
    session.press(b"\x03");
    let (code, seen) = session.end();
    assert_eq!(code, Some(130), "{seen:#?}");
    assert_eq!(of_the_view(&seen), Vec::<&String>::new(), "{seen:#?}");
    assert!(
        seen.last().is_some_and(|row| row.contains("ended at once: what was not loaded is read again")),
        "{seen:#?}"
    );
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
