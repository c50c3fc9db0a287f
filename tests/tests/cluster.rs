//! Several processes that are one job: the same tables as one worker makes; whichever is killed, frozen or cut off, all end
//! within a stated time; and whatever knocks at a port does not disturb the start.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use harness::{
    events::{Events, event, raw},
    world::{Running, World, send, until},
};
use stack::ports::Ports;

/// Silence that is taken for death, and a margin for machines that are busy.
const ALL_ENDED_WITHIN: Duration = Duration::from_secs(20 + 8);
const KILL: i32 = 9;
const STOP: i32 = 19;
const CONTINUE: i32 = 18;
const TERMINATE: i32 = 15;

/// Nobody who takes any port that is free gets one of these; they are held to the end of all tests.
fn free_hosts(count: usize) -> Vec<String> {
    static HELD: Mutex<Vec<Ports>> = Mutex::new(Vec::new());
    let ports = Ports::hold(count).expect("free ports");
    let hosts = ports.addresses().iter().map(|address| address.to_string()).collect();
    HELD.lock().expect("the ports").push(ports);
    hosts
}

/// One process of the world's own job.
fn member(world: &World, hosts: &[String], process: usize, workers: usize, more: &[&str]) -> Running {
    let (hosts, process) = (hosts.join(","), process.to_string());
    world.run(workers, &[&["--hosts", &hosts, "--process", &process], more].concat())
}

fn members(world: &World, processes: usize, workers: usize, more: &[&str]) -> Vec<Running> {
    let hosts = free_hosts(processes);
    (0..processes).map(|process| member(world, &hosts, process, workers, more)).collect()
}

/// They end, in whatever order, with these codes.
fn end(members: Vec<Running>, within: Duration, expected: &[i32]) {
    let ends: Vec<_> = members.into_iter().map(|member| thread::spawn(move || member.end(within))).collect();
    for ended in ends.into_iter().map(|end| end.join().expect("it ended in time")) {
        assert!(ended.code.is_some_and(|code| expected.contains(&code)), "{:?}: {}", ended.code, ended.said);
        assert_eq!(ended.code == Some(11), ended.said.contains("TG-2202"), "{}", ended.said);
    }
}

#[test]
fn processes_load_what_one_worker_loads() {
    let world = World::new("cluster", 6);
    let mut events = Events::new(&world.name, 6);
    for (processes, workers) in [(2, 1), (3, 2), (1, 1), (2, 3)] {
        events.produce(6000);
        end(members(&world, processes, workers, &["--until-caught-up"]), Duration::from_secs(60), &[0]);
        assert_eq!(world.rows(), events.ledger.len() as i64, "{processes} x {workers}");
    }
    events.end_with_transactions();
    end(members(&world, 2, 2, &["--until-caught-up"]), Duration::from_secs(60), &[0]);
    world.check(&events.ledger);
}

#[test]
fn whoever_is_killed_or_frozen_all_end_and_a_start_goes_on() {
    let world = World::new("lost_peer", 6);
    let mut events = Events::new(&world.name, 6);
    for signal in [KILL, STOP] {
        for victim in 0..3 {
            events.produce(2000);
            let mut all = members(&world, 3, 1, &[]);
            until(Duration::from_secs(60), "it works", || world.rows() == events.ledger.len() as i64);
            events.produce(500); // in the middle of something
            let gone = all.remove(victim);
            gone.signal(signal);
            let since = Instant::now();
            end(all, ALL_ENDED_WITHIN, &[11]);
            println!("signal {signal} to process {victim}: all ended after {:.1} s", since.elapsed().as_secs_f64());
            if signal == STOP {
                gone.signal(CONTINUE);
                end(vec![gone], ALL_ENDED_WITHIN, &[11, 20]);
            }
        }
    }
    end(members(&world, 2, 1, &["--until-caught-up"]), Duration::from_secs(60), &[0]);
    world.check(&events.ledger);
}

/// Passes bytes on between two processes, until it is cut: then both sides hear nothing, and no socket closes.
struct Wire {
    address: SocketAddr,
    cut: Arc<AtomicBool>,
}

impl Wire {
    /// The first `spared` connections are never cut.
    fn to(server: String, spared: usize) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let cut = Arc::new(AtomicBool::new(false));
        let is_cut = cut.clone();
        thread::spawn(move || {
            for (number, client) in listener.incoming().flatten().enumerate() {
                let Ok(server) = TcpStream::connect(&server) else { continue };
                for (mut from, mut to) in [
                    (client.try_clone().expect("a socket"), server.try_clone().expect("a socket")),
                    (server.try_clone().expect("a socket"), client.try_clone().expect("a socket")),
                ] {
                    let is_cut = is_cut.clone();
                    thread::spawn(move || {
                        let mut bytes = [0; 1 << 16];
                        while let Ok(count @ 1..) = from.read(&mut bytes) {
                            while number >= spared && is_cut.load(Ordering::Relaxed) {
                                thread::sleep(Duration::from_millis(10)); // for ever: its sockets stay open
                            }
                            if to.write_all(&bytes[..count]).is_err() {
                                return;
                            }
                        }
                        let _ = to.shutdown(std::net::Shutdown::Both); // it may be closed
                    });
                }
            }
        });
        Wire { address, cut }
    }
}

/// Both connections; and, in the proof because it is found by the slow beat alone, only that of the engine.
#[test]
fn a_link_that_goes_silent_ends_all() {
    let world = World::new("cut_link", 2);
    let mut events = Events::new(&world.name, 2);
    let proof = std::env::var_os("TIDEGATE_PROOF").is_some();
    for (spared, within) in
        [(0, ALL_ENDED_WITHIN), (1, Duration::from_secs(180))].into_iter().take(1 + usize::from(proof))
    {
        events.produce(2000);
        let hosts = free_hosts(2);
        // The connection that was opened first is the control's.
        let wire = Wire::to(hosts[0].clone(), spared);
        // Process 1 knows process 0 by the address of the wire.
        let through = [wire.address.to_string(), hosts[1].clone()];
        let first = member(&world, &hosts, 0, 1, &[]);
        until(Duration::from_secs(30), "it listens", || TcpStream::connect(&hosts[0]).is_ok());
        let all = vec![first, member(&world, &through, 1, 1, &[])];
        until(Duration::from_secs(60), "it works", || world.rows() == events.ledger.len() as i64);
        wire.cut.store(true, Ordering::Relaxed);
        events.produce(500);
        let since = Instant::now();
        end(all, within, &[11]);
        println!("{spared} connections spared: all ended after {:.1} s", since.elapsed().as_secs_f64());
    }
    end(members(&world, 2, 1, &["--until-caught-up"]), Duration::from_secs(60), &[0]);
    world.check(&events.ledger);
}

/// What a port scanner, a browser, a half-dead host and a process of another job, file or count do.
#[test]
fn what_knocks_at_the_port_does_not_disturb_the_start() {
    let world = World::new("knocks", 2);
    let mut events = Events::new(&world.name, 2);
    events.produce(1000);
    let hosts = free_hosts(2);
    let first = member(&world, &hosts, 0, 1, &["--until-caught-up"]);
    let knock = || loop {
        if let Ok(socket) = TcpStream::connect(&hosts[0]) {
            break socket;
        }
        thread::sleep(Duration::from_millis(20));
    };
    drop(knock());
    let silent = knock();
    let mut garbage = knock();
    let bytes: Vec<u8> = (0..100u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    garbage.write_all(&bytes).expect("sent");
    let mut browser = knock();
    browser.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");

    let refused = |running: Running, why: &str| {
        let ended = running.end(Duration::from_secs(20));
        assert_eq!(ended.code, Some(10), "{}", ended.said);
        assert!(ended.said.contains("TG-2201") && ended.said.contains(why), "{why}: {}", ended.said);
    };
    let other = World::new("knocks_other", 2);
    refused(member(&other, &hosts, 1, 1, &["--until-caught-up"]), "its job is knocks_other");
    refused(member(&world, &hosts, 1, 2, &["--until-caught-up"]), "its cluster is 2 processes of 2 workers");
    let three = [hosts.clone(), free_hosts(1)].concat();
    refused(member(&world, &three, 1, 1, &["--until-caught-up"]), "its cluster is 3 processes of 1 workers");
    let mut changed = world.elsewhere();
    changed.more += "[errors]\nreject = \"halt\"\n";
    refused(member(&changed, &hosts, 1, 1, &["--until-caught-up"]), "its job file means something else");
    // One that is gone again before the last is there does not count.
    let more = free_hosts(3);
    let waits = member(&world, &more, 0, 1, &["--meet-within", "6"]);
    let gone = member(&world, &more, 1, 1, &["--meet-within", "6"]);
    thread::sleep(Duration::from_secs(2));
    gone.signal(KILL);
    gone.end(Duration::from_secs(5));
    let late = member(&world, &more, 2, 1, &["--meet-within", "6"]);
    refused(waits, "process 1 did not come in time");
    refused(late, "did not answer");
    // Told to stop while it waits, it has nothing to drain.
    let waits = member(&world, &free_hosts(2), 0, 1, &[]);
    thread::sleep(Duration::from_secs(1));
    waits.signal(TERMINATE);
    end(vec![waits], Duration::from_secs(5), &[0]);
    // Alone it does not take the fence, and says whom it missed.
    let alone = member(&world, &free_hosts(2), 0, 1, &["--meet-within", "1"]);
    refused(alone, "process 1 did not come in time");
    assert_eq!(world.number(&format!("SELECT max(generation) FROM tidegate.{}_fence", world.name)), 0);

    let second = member(&world, &hosts, 1, 1, &["--until-caught-up"]);
    end(vec![first, second], Duration::from_secs(60), &[0]);
    drop((silent, garbage, browser));
    world.check(&events.ledger);
}

#[test]
fn a_signal_to_any_process_drains_all() {
    let world = World::new("drain_all", 4);
    let mut events = Events::new(&world.name, 4);
    for told in [0, 1] {
        events.produce(2000);
        let all = members(&world, 2, 1, &[]);
        until(Duration::from_secs(60), "it works", || world.rows() == events.ledger.len() as i64);
        all[told].signal(TERMINATE);
        end(all, Duration::from_secs(30), &[0]);
    }
    world.check(&events.ledger);
}

/// A parent starts both, starts both again when one is killed, and takes both with it.
#[test]
fn a_supervisor_starts_them_again_and_passes_on_what_it_is_told() {
    let world = World::new("supervised", 4);
    let mut events = Events::new(&world.name, 4);
    events.produce(2000);
    let parent = world.run(1, &["--processes", "2", "--supervise", "--log", "json"]);
    until(Duration::from_secs(60), "it works", || world.rows() == events.ledger.len() as i64);
    for child in [0, 1] {
        let children = children_of(parent.pid());
        assert_eq!(children.len(), 2, "{children:?}");
        send(children[child], KILL);
        events.produce(1000);
        until(Duration::from_secs(60), "it works again", || world.rows() == events.ledger.len() as i64);
    }
    parent.signal(TERMINATE);
    let ended = parent.end(Duration::from_secs(30));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let lines = ended.said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let again: Vec<_> = lines.filter(|line| line["event"] == "restarting").collect();
    assert_eq!(again.len(), 2, "{}", ended.said);
    for line in &again {
        let message = line["message"].as_str().expect("a message");
        assert!(message.contains("ended with a signal: all are started again"), "{message}");
    }
    // Each says how it is as soon as it reads.
    let states = ["starting", "running", "behind", "idle", "retrying"];
    assert!(again.iter().all(|line| states.contains(&line["state"].as_str().unwrap_or_default())), "{again:?}");

    // What needs a person ends it with that code; a parent that is killed leaves nobody behind.
    world.sql(&format!("ALTER TABLE {0} RENAME TO {0}_gone", world.name));
    let ended = world.run(1, &["--processes", "2", "--supervise"]).end(Duration::from_secs(60));
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    world.sql(&format!("ALTER TABLE {0}_gone RENAME TO {0}", world.name));
    events.produce(1000);
    let parent = world.run(1, &["--processes", "2", "--supervise"]);
    until(Duration::from_secs(60), "it works", || world.rows() == events.ledger.len() as i64);
    let children = children_of(parent.pid());
    parent.signal(KILL);
    until(Duration::from_secs(30), "nobody is left", || {
        children.iter().all(|child| !std::path::Path::new(&format!("/proc/{child}")).exists())
    });
    world.check(&events.ledger);
}

/// Two parents, as on two machines: what needs a person ends both with its code, whichever process has found it, instead of being
/// started again for ever by the other. It is left once.
#[test]
fn what_needs_a_person_ends_all_with_one_code() {
    for finder in [0, 1] {
        let mut world = World::new("one_code", 2);
        world.more += "[errors]\nreject = \"halt\"\n";
        let mut events = Events::new(&world.name, 2);
        events.produce(1000);
        let hosts = free_hosts(2);
        let parents: Vec<Running> =
            (0..2).map(|process| member(&world, &hosts, process, 1, &["--supervise"])).collect();
        until(Duration::from_secs(60), "it works", || world.rows() == events.ledger.len() as i64);
        // Process p reads partition p.
        raw(&world.name, finder, &event(3).replace("\"qty\":", "\"qty\":1e-9,\"q\":"));
        let (mut named, mut told) = (0, 0);
        for parent in parents {
            let ended = parent.end(Duration::from_secs(60));
            assert_eq!(ended.code, Some(23), "{}", ended.said);
            assert!(ended.said.contains("TG-4001") && ended.said.contains("column qty"), "{}", ended.said);
            named += 1;
            told += usize::from(ended.said.contains(&format!("process {finder} ended: ")));
        }
        assert_eq!((named, told), (2, 1));
        assert_eq!(world.number(&format!("SELECT count(*) FROM tidegate.{}_halts", world.name)), 1);
    }
}

/// The same at a start that process 0 alone can find to be impossible, and while they work, by whoever takes over.
#[test]
fn a_start_that_needs_a_person_ends_all_with_one_code() {
    let world = World::new("no_start", 2);
    let mut events = Events::new(&world.name, 2);
    events.produce(1000);
    let all = members(&world, 2, 1, &[]);
    until(Duration::from_secs(60), "it works", || world.rows() == events.ledger.len() as i64);
    let other = world.run(1, &["--take-over", "--until-caught-up"]).end(Duration::from_secs(60));
    assert_eq!(other.code, Some(0), "{}", other.said);
    events.produce(1000); // whoever has nothing to load does not notice
    for ended in all.into_iter().map(|member| member.end(Duration::from_secs(60))) {
        assert_eq!(ended.code, Some(20), "{}", ended.said);
        assert!(ended.said.contains("TG-3001"), "{}", ended.said);
    }
    world.sql(&format!("UPDATE tidegate.{}_fence SET digest = 'x'", world.name));
    let hosts = free_hosts(2);
    let parents: Vec<Running> = (0..2).map(|process| member(&world, &hosts, process, 1, &["--supervise"])).collect();
    for ended in parents.into_iter().map(|parent| parent.end(Duration::from_secs(60))) {
        assert_eq!(ended.code, Some(22), "{}", ended.said);
        assert!(ended.said.contains("TG-3201"), "{}", ended.said);
    }
}

fn children_of(pid: i32) -> Vec<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

#[test]
fn a_cluster_that_makes_no_sense_is_refused() {
    let world = World::new("usage", 1);
    for (arguments, why) in [
        (&["--processes", "2"][..], "needs --hosts and --process"),
        (&["--hosts", "a:1,b:2"], "--hosts needs --process"),
        (&["--hosts", "a:1,b:2", "--process", "2"], "numbered from 0 to 1"),
        (&["--hosts", "a:1,b:2", "--process", "0", "--processes", "3"], "--hosts names 2"),
    ] {
        let ended = world.run(1, arguments).end(Duration::from_secs(10));
        assert_eq!(ended.code, Some(2), "{}", ended.said);
        assert!(ended.said.contains(why), "{why}: {}", ended.said);
    }
}
