//! How the processes of a cluster meet: the steps of [`super`], from either side.

use std::{
    collections::BTreeMap,
    io,
    sync::mpsc::RecvTimeoutError,
    time::{Duration, Instant},
};

use connectors::retry::Retry;
use tracing::{info, warn};

use super::{
    Cluster, Met, Sockets,
    sockets::{self, Door, Link, deadline, dial, knocking, without_deadline},
    wire::{self, Answer, Exit, Hello, Ready, StartId, WELCOME_BYTES, Welcome, refuse},
};
use crate::error::{Code, CodedError, Result};

/// How long process 0 may take to take the fence and to look at every partition, while the others wait. Long, because keep-alive
/// finds one that is gone.
const FENCE_WITHIN: Duration = Duration::from_secs(30 * 60);
/// How long a process that will not start may take to be told why.
const LAST_WORD_WITHIN: Duration = Duration::from_secs(2);

/// Who this process is to the others.
pub fn hello(cluster: &Cluster, job: &str, meaning: &str) -> Hello {
    Hello {
        version: env!("CARGO_PKG_VERSION").into(),
        job: job.into(),
        meaning: meaning.into(),
        process: cluster.process,
        processes: cluster.processes(),
        workers: cluster.workers,
        start: None,
    }
}

fn not_met(what: impl Into<String>) -> impl FnOnce(io::Error) -> CodedError {
    let what = what.into();
    |e| CodedError { code: Code::NotMet, what, source: Some(Box::new(e)) }
}

/// Process 0, with all others waiting for its word.
pub struct Gathered {
    links: BTreeMap<usize, Link>,
    door: Door,
    us: Hello,
    within: Duration,
}

/// Process 0 waits for all others.
pub fn gather(cluster: &Cluster, us: &Hello) -> Result<Gathered> {
    let door = open(cluster)?;
    let until = Instant::now() + cluster.meet_within;
    let links = let_in(&door, us, until)?;
    Ok(Gathered { links, door, us: us.clone(), within: cluster.meet_within })
}

impl Gathered {
    /// There will be no start, and a person is needed: all end with that.
    pub fn refuse(mut self, exit: &Exit) {
        for link in self.links.values_mut() {
            let told = deadline(link, LAST_WORD_WITHIN).and_then(|()| wire::write(link, &Answer::Ended(exit.clone())));
            drop(told); // it may be gone; then it hears nothing, and ends with 10
        }
    }

    /// Hands all of them the start, and waits until they have met each other.
    pub fn welcome(mut self, welcome: Welcome) -> Result<Met> {
        let us = Hello { start: Some(welcome.start.clone()), ..self.us };
        let answer = Answer::Welcome(Box::new(welcome));
        for (process, link) in &mut self.links {
            let lost = || not_met(format!("process {process} is gone before the start"));
            deadline(link, self.within).map_err(lost())?;
            wire::write(link, &answer).map_err(lost())?;
        }
        let links = let_in(&self.door, &us, Instant::now() + self.within)?;
        for (process, link) in &mut self.links {
            let lost = || not_met(format!("process {process} did not meet the others"));
            wire::read::<Ready>(link, WELCOME_BYTES).map_err(lost())?;
        }
        for (process, link) in &mut self.links {
            wire::write(link, &Ready).map_err(not_met(format!("process {process} is gone before the start")))?;
        }
        in_order(links, self.links)
    }
}

/// A process that is not the first, and what it was told.
pub struct Joined {
    /// What the start is.
    pub welcome: Welcome,
    first: Link,
    door: Door,
    us: Hello,
    until: Instant,
}

/// Goes to process 0 and waits for its word.
pub fn join(cluster: &Cluster, us: Hello) -> Result<Joined> {
    let door = open(cluster)?; // before anybody may call
    let until = Instant::now() + cluster.meet_within;
    let at = &cluster.hosts[0];
    let mut retry = Retry::new(knocking(cluster.meet_within));
    let (first, answer) = loop {
        match ask(cluster, &us, until) {
            Ok(answered) => break answered,
            // It ended, or something between us did: whoever starts it again waits for us.
            Err(_) if retry.rest() => {}
            Err(error) => return Err(not_met(format!("process 0 at {at} did not answer"))(error)),
        }
    };
    match answer {
        Answer::Refused(why) => {
            Err(CodedError::new(Code::NotMet, format!("process 0 at {at} refuses this process: {why}")))
        }
        Answer::Ended(exit) => Err(exit.error()),
        Answer::Welcome(welcome) => {
            let us = Hello { start: Some(welcome.start.clone()), ..us };
            // The others have the same word at the same time.
            let until = Instant::now() + cluster.meet_within;
            Ok(Joined { welcome: *welcome, first, door, us, until })
        }
    }
}

/// Says who we are and waits for the answer.
fn ask(cluster: &Cluster, us: &Hello, until: Instant) -> io::Result<(Link, Answer)> {
    let mut first = dial(&cluster.hosts[0], until)?;
    deadline(&mut first, cluster.meet_within + FENCE_WITHIN)?;
    wire::write(&mut first, us)?;
    let answer = wire::read(&mut first, WELCOME_BYTES)?;
    Ok((first, answer))
}

impl Joined {
    /// Meets all others, and says so to the first.
    pub fn meet(mut self, cluster: &Cluster) -> Result<Met> {
        let mut links = BTreeMap::new();
        for process in 0..self.us.process {
            let at = &cluster.hosts[process];
            let lost = || not_met(format!("process {process} at {at} cannot be reached"));
            let mut link = dial(at, self.until).map_err(lost())?;
            deadline(&mut link, cluster.meet_within).map_err(lost())?;
            wire::write(&mut link, &self.us).map_err(lost())?;
            links.insert(process, link);
        }
        links.extend(let_in(&self.door, &self.us, self.until)?);
        let lost = || not_met("process 0 is gone before the start");
        wire::write(&mut self.first, &Ready).map_err(lost())?;
        wire::read::<Ready>(&mut self.first, WELCOME_BYTES).map_err(lost())?;
        in_order(links, BTreeMap::from([(0, self.first)]))
    }
}

fn open(cluster: &Cluster) -> Result<Door> {
    let at = &cluster.hosts[cluster.process];
    Door::open(at).map_err(not_met(format!("process {} cannot listen at {at}", cluster.process)))
}

/// Waits for every process of a higher number. Whoever does not belong here is told why, and does not disturb.
fn let_in(door: &Door, us: &Hello, until: Instant) -> Result<BTreeMap<usize, Link>> {
    let mut links: BTreeMap<usize, Link> = BTreeMap::new();
    let missing = |links: &BTreeMap<usize, Link>| -> Vec<String> {
        (us.process + 1..us.processes).filter(|p| !links.contains_key(p)).map(|p| p.to_string()).collect()
    };
    loop {
        if missing(&links).is_empty() {
            // Those that came early may be gone again, and what follows is not to be done for half a cluster.
            links.retain(|_, link| sockets::lives(link));
            if missing(&links).is_empty() {
                return Ok(links);
            }
        }
        let caller = door.callers.recv_timeout(until.saturating_duration_since(Instant::now()));
        let (mut link, peer) = match caller {
            Ok(caller) => caller,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                let what = format!("process {} did not come in time", missing(&links).join(", "));
                return Err(CodedError::new(Code::NotMet, what));
            }
        };
        match refuse(us, &peer) {
            Some(why) => {
                warn!(event = "refused", from = peer.process, why, "refused process {}: {why}", peer.process);
                let _ = wire::write(&mut link, &Answer::Refused(why)); // it may be gone already
            }
            None => {
                info!(event = "met", process = peer.process, "process {} is here", peer.process);
                // One that was started again comes a second time; its first socket is dead.
                links.insert(peer.process, link);
            }
        }
    }
}

/// The engine's sockets, one for each process, with a gap where this one is; and those that the processes go on to speak through.
fn in_order(links: BTreeMap<usize, Link>, control: BTreeMap<usize, Link>) -> Result<Met> {
    let processes = links.len() + 1;
    let mut sockets: Sockets = (0..processes).map(|_| None).collect();
    for (process, link) in links.iter().chain(&control) {
        without_deadline(link).map_err(not_met(format!("the socket to process {process} cannot be used")))?;
    }
    for (process, link) in links {
        sockets[process] = Some(link);
    }
    Ok(Met { sockets, control })
}

/// Names the start.
pub fn start_id(holder: &checkpoint::protocol::Holder) -> StartId {
    StartId { generation: holder.generation.0, nonce: holder.nonce.as_str().into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        thread,
    };

    fn free_hosts(count: usize) -> Vec<String> {
        let held: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        held.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect()
    }

    fn cluster(hosts: &[String], process: usize, within: Duration) -> Cluster {
        Cluster { hosts: hosts.to_vec(), process, workers: 1, meet_within: within }
    }

    fn welcome() -> Welcome {
        Welcome {
            start: StartId { generation: 7, nonce: "n".into() },
            fence_id: "f".into(),
            next_epoch: 3,
            places: Vec::new(),
            tables: Vec::new(),
            plan: "p".into(),
        }
    }

    /// All three meet in whatever order they start; who speaks to whom shows in what they send each other.
    #[test]
    fn three_processes_meet() {
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let hosts = free_hosts(3);
            let starts: Vec<_> = order
                .into_iter()
                .map(|process| {
                    let cluster = cluster(&hosts, process, Duration::from_secs(20));
                    let run = move || {
                        let us = hello(&cluster, "j", "m");
                        let met = match process {
                            0 => gather(&cluster, &us).unwrap().welcome(welcome()).unwrap(),
                            _ => {
                                let joined = join(&cluster, us).unwrap();
                                assert_eq!((joined.welcome.start.generation, joined.welcome.next_epoch), (7, 3));
                                joined.meet(&cluster).unwrap()
                            }
                        };
                        let spoken_to: Vec<usize> = met.control.keys().copied().collect();
                        assert_eq!(spoken_to, if process == 0 { vec![1, 2] } else { vec![0] });
                        let mut sockets = met.sockets;
                        for socket in sockets.iter_mut().flatten() {
                            socket.write_all(&[process as u8]).unwrap();
                        }
                        let mut heard = Vec::new();
                        for socket in sockets.iter_mut().flatten() {
                            let mut byte = [0];
                            socket.read_exact(&mut byte).unwrap();
                            heard.push(usize::from(byte[0]));
                        }
                        (process, heard)
                    };
                    let started = thread::spawn(run);
                    thread::sleep(Duration::from_millis(50));
                    started
                })
                .collect();
            for start in starts {
                let (process, heard) = start.join().unwrap();
                assert_eq!(heard, (0..3).filter(|other| *other != process).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_stranger_is_told_why_and_the_start_goes_on() {
        let hosts = free_hosts(2);
        let first = cluster(&hosts, 0, Duration::from_secs(20));
        let gathering = thread::spawn(move || {
            let us = hello(&first, "j", "m");
            gather(&first, &us).unwrap().welcome(welcome()).unwrap()
        });
        let mut garbage = loop {
            if let Ok(socket) = TcpStream::connect(&hosts[0]) {
                break socket;
            }
        };
        garbage.write_all(&[7; 100]).unwrap();
        let second = cluster(&hosts, 1, Duration::from_secs(20));
        let wrong = join(&second, hello(&second, "other", "m")).err().unwrap().render();
        assert!(wrong.contains("refuses this process: its job is other, and here it is j"), "{wrong}");
        let wrong = join(&second, hello(&second, "j", "other")).err().unwrap().render();
        assert!(wrong.contains("its job file means something else than the one here"), "{wrong}");
        let right = join(&second, hello(&second, "j", "m")).unwrap().meet(&second).unwrap();
        assert_eq!((right.sockets.len(), gathering.join().unwrap().sockets.len()), (2, 2));
    }

    /// What needs a person at process 0 is the reason of all, and they do not wait for their deadline.
    #[test]
    fn a_start_that_is_refused_is_refused_to_all() {
        let hosts = free_hosts(2);
        let first = cluster(&hosts, 0, Duration::from_secs(20));
        let gathering = thread::spawn(move || {
            let exit = Exit::of(0, &CodedError::new(Code::Tables, "the digest of epoch 7 is another one"));
            gather(&first, &hello(&first, "j", "m")).unwrap().refuse(&exit);
        });
        let second = cluster(&hosts, 1, Duration::from_secs(20));
        let error = join(&second, hello(&second, "j", "m")).err().unwrap();
        gathering.join().unwrap();
        assert_eq!((error.code.id(), error.code.exit_code()), ("TG-3201", 22));
        assert!(error.render().contains("process 0 ended: the digest of epoch 7 is another one"), "{}", error.render());
    }

    #[test]
    fn a_meeting_has_a_deadline_and_says_who_is_missing() {
        let hosts = free_hosts(3);
        let short = Duration::from_millis(300);
        let first = cluster(&hosts, 0, short);
        let error = gather(&first, &hello(&first, "j", "m")).err().unwrap();
        assert_eq!((error.code.id(), error.code.exit_code()), ("TG-2201", 10));
        assert!(error.render().contains("process 1, 2 did not come in time"), "{}", error.render());
        let second = cluster(&hosts, 1, short);
        let error = join(&second, hello(&second, "j", "m")).err().unwrap();
        assert!(error.render().contains("did not answer"), "{}", error.render());
    }
}
