//! What the processes of a cluster tell each other while they work, beside the engine's sockets and in threads of its own, so that
//! a dataflow that has much to do is not taken for a dead one.
//!
//! A star: process 0 has a link to each other process. Twice a second each says on its links that it lives, how long each of its
//! workers has been at its present step, and whether it was told to stop.
//!
//! * Silence of [`DEAD_AFTER`], or a link that breaks, ends whoever notices. A host that is stopped or cut off closes no socket.
//! * A worker that stands still for [`STANDS_AFTER`] ends all: operators never block, so it is caught in something that does not end.
//! * Who is told to stop tells process 0, whose clock decides where the job ends.
//! * A process that ends sends its exit code and why, and process 0 passes it on. What needs a person ends all with the same code, on every machine.
//! * A process that has loaded everything says so in its last message, and nobody waits for it after that.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    sockets::Link,
    wire::{self, Exit},
};
use crate::error::{Code, CodedError, Result};
use operators::threads::named;

/// How often a process says that it lives.
pub const BEAT_EVERY: Duration = Duration::from_millis(500);
/// How long silence is taken for death. A host that is gone is found by TCP in half the time; this is for those that are stopped.
pub const DEAD_AFTER: Duration = Duration::from_secs(20);
/// How long a worker may be at one step. A step runs all operators that have something to do; with hundreds of targets on a busy
/// machine that is many seconds.
pub const STANDS_AFTER: Duration = Duration::from_secs(120);
/// How long a word may take to leave. Who does not read for so long has all buffers of its socket full, and is as good as gone.
const SAID_WITHIN: Duration = Duration::from_secs(2);
/// The longest word.
const WORD_BYTES: usize = 1 << 20;

/// When each worker of this process began its present step.
pub struct Steps {
    base: Instant,
    /// Milliseconds since `base`, and one more; 0 for a worker that is complete.
    began: Vec<AtomicU64>,
}

impl Steps {
    /// The steps of so many workers, which all begin now.
    pub fn new(workers: usize) -> Steps {
        Steps { base: Instant::now(), began: (0..workers).map(|_| AtomicU64::new(1)).collect() }
    }

    /// A worker begins a step.
    pub fn begin(&self, worker: usize) {
        self.began[worker].store(self.base.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
    }

    /// A worker has made its last one.
    pub fn complete(&self, worker: usize) {
        self.began[worker].store(0, Ordering::Relaxed);
    }

    /// All begin now, but for those that are complete: this process was stopped, and they with it.
    fn forgive(&self) {
        let now = self.base.elapsed().as_millis() as u64 + 1;
        for began in &self.began {
            // A worker may become complete beside this.
            let _ = began.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| (at != 0).then_some(now));
        }
    }

    /// How long each has been at its step, in milliseconds; 0 for one that is complete.
    fn stood_ms(&self) -> Vec<u64> {
        let now = self.base.elapsed().as_millis() as u64 + 1;
        let began = self.began.iter().map(|began| began.load(Ordering::Relaxed));
        began.map(|began| if began == 0 { 0 } else { now.saturating_sub(began) }).collect()
    }

    fn are_complete(&self) -> bool {
        self.began.iter().all(|began| began.load(Ordering::Relaxed) == 0)
    }
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Word {
    /// It lives.
    Beat {
        /// How long each of its workers has been at its step.
        stood_ms: Vec<u64>,
        /// Whether it was told to stop.
        stop: bool,
    },
    /// It is complete. Nothing follows.
    Complete,
    /// A process ends, and with what. Nothing follows.
    End(Exit),
}

/// What was heard last of another process.
#[derive(Clone, Debug)]
struct Peer {
    at: Instant,
    stood_ms: Vec<u64>,
    /// It has said its last word.
    complete: bool,
}

/// Pure: why this process must end, by what it has heard. `limits` are [`DEAD_AFTER`] and [`STANDS_AFTER`].
fn lost(peers: &BTreeMap<usize, Peer>, now: Instant, limits: (Duration, Duration)) -> Option<String> {
    peers.iter().filter(|(_, peer)| !peer.complete).find_map(|(process, peer)| {
        let silent = now.saturating_duration_since(peer.at);
        if silent > limits.0 {
            return Some(format!("process {process} was silent for {:.1} s", silent.as_secs_f64()));
        }
        stands(*process, &peer.stood_ms, limits.1)
    })
}

/// Pure: which worker of a process stands still.
fn stands(process: usize, stood_ms: &[u64], limit: Duration) -> Option<String> {
    let worker = stood_ms.iter().position(|stood| Duration::from_millis(*stood) > limit)?;
    Some(format!("worker {worker} of process {process} has stood still for {} s", stood_ms[worker] / 1000))
}

/// How this process ends when the control says so. It does not return.
pub type End = Box<dyn Fn(&CodedError) + Send + Sync>;

/// The control of a process. Clones are the same.
#[derive(Clone)]
pub struct Control(Arc<Inner>);

struct Inner {
    process: usize,
    /// For writing. Reading has a thread for each.
    links: BTreeMap<usize, Mutex<Link>>,
    peers: Mutex<BTreeMap<usize, Peer>>,
    steps: Arc<Steps>,
    stop: Arc<AtomicBool>,
    /// This process has said its last word, and hears nobody any more.
    over: AtomicBool,
    limits: (Duration, Duration),
    end: End,
}

impl Control {
    /// Begins to speak and to listen.
    ///
    /// # Errors
    /// A link cannot be used, or a thread cannot start.
    pub fn start(
        process: usize,
        links: BTreeMap<usize, Link>,
        steps: Arc<Steps>,
        stop: Arc<AtomicBool>,
        end: End,
    ) -> Result<Control> {
        Control::with_limits(process, links, steps, stop, (DEAD_AFTER, STANDS_AFTER), end)
    }

    fn with_limits(
        process: usize,
        links: BTreeMap<usize, Link>,
        steps: Arc<Steps>,
        stop: Arc<AtomicBool>,
        limits: (Duration, Duration),
        end: End,
    ) -> Result<Control> {
        let wrong = |e: std::io::Error| CodedError {
            code: Code::NotMet,
            what: "the control connection of the cluster cannot be used".into(),
            source: Some(Box::new(e)),
        };
        let mut readers = Vec::new();
        for (peer, link) in &links {
            link.set_write_timeout(Some(SAID_WITHIN)).map_err(wrong)?;
            readers.push((*peer, link.try_clone().map_err(wrong)?));
        }
        let heard = |peer: &usize| {
            let new = Peer { at: Instant::now(), stood_ms: Vec::new(), complete: false };
            (*peer, new)
        };
        let peers = Mutex::new(links.keys().map(heard).collect());
        let links = links.into_iter().map(|(peer, link)| (peer, Mutex::new(link))).collect();
        let over = AtomicBool::new(false);
        let control = Control(Arc::new(Inner { process, links, peers, steps, stop, over, limits, end }));
        for (peer, link) in readers {
            let control = control.clone();
            named(format!("hear-{peer}"), move || control.hear(peer, link)).map_err(wrong)?;
        }
        let speaker = control.clone();
        named("control", move || speaker.speak()).map_err(wrong)?;
        Ok(control)
    }

    /// Tells the others with what this process ends. What it says after this is not heard.
    pub fn tell(&self, error: &CodedError) {
        if !self.0.over.swap(true, Ordering::SeqCst) {
            self.say(&Word::End(Exit::of(self.0.process, error)));
        }
    }

    fn peers(&self) -> MutexGuard<'_, BTreeMap<usize, Peer>> {
        self.0.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says a word to all. Who cannot be told is gone, or has ended well a moment ago: whoever listens to it knows which.
    fn say(&self, word: &Word) {
        for link in self.0.links.values() {
            let _ = wire::write(&mut *link.lock().unwrap_or_else(PoisonError::into_inner), word);
        }
    }

    /// One thread: beats, and looks after the others.
    fn speak(&self) {
        let Inner { process, steps, stop, over, limits, end, .. } = &*self.0;
        let mut looked = Instant::now();
        while !over.load(Ordering::SeqCst) {
            let now = Instant::now();
            if now.saturating_duration_since(looked) > BEAT_EVERY * 4 {
                // It was us who neither spoke nor listened.
                steps.forgive();
                self.peers().values_mut().for_each(|peer| peer.at = now);
            }
            looked = now;
            if steps.are_complete() {
                over.store(true, Ordering::SeqCst);
                self.say(&Word::Complete);
                return;
            }
            let stood_ms = steps.stood_ms();
            let ours = stands(*process, &stood_ms, limits.1);
            self.say(&Word::Beat { stood_ms, stop: stop.load(Ordering::Relaxed) });
            let lost = ours.or_else(|| lost(&self.peers(), Instant::now(), *limits));
            if let Some(why) = lost {
                return end(&CodedError::new(Code::PeerLost, why));
            }
            thread::sleep(BEAT_EVERY);
        }
    }

    /// One thread for each link: listens.
    fn hear(&self, from: usize, mut link: Link) {
        let Inner { process, stop, over, end, .. } = &*self.0;
        loop {
            let word = wire::read::<Word>(&mut link, WORD_BYTES);
            if over.load(Ordering::SeqCst) {
                return;
            }
            match word {
                Ok(Word::Beat { stood_ms, stop: told }) => {
                    if let Some(peer) = self.peers().get_mut(&from) {
                        (peer.at, peer.stood_ms) = (Instant::now(), stood_ms);
                    }
                    // The clock of process 0 decides where the job ends; that reaches the others through the dataflow.
                    if told && *process == 0 {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
                Ok(Word::Complete) => {
                    self.peers().entry(from).and_modify(|peer| peer.complete = true);
                    return;
                }
                Ok(Word::End(exit)) => {
                    if !over.swap(true, Ordering::SeqCst) {
                        // The others of a star hear it from here.
                        self.say(&Word::End(exit.clone()));
                        end(&exit.error());
                    }
                    return;
                }
                Err(error) => {
                    // Beside a process that is complete nobody is missed.
                    if !self.0.steps.are_complete() && !over.load(Ordering::SeqCst) {
                        end(&CodedError::new(
                            Code::PeerLost,
                            format!("process {from}: its control connection broke: {error}"),
                        ));
                    }
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use checkpoint::{Epoch, protocol::Halt};
    use std::{
        net::{TcpListener, TcpStream},
        sync::mpsc::{Receiver, channel},
    };

    fn pair() -> (Link, Link) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (one, listener.accept().unwrap().0)
    }

    struct Member {
        control: Control,
        steps: Arc<Steps>,
        stop: Arc<AtomicBool>,
        ends: Receiver<String>,
    }

    fn member(process: usize, links: BTreeMap<usize, Link>, limits: (Duration, Duration)) -> Member {
        let (send, ends) = channel();
        let send = Mutex::new(send);
        let end = move |error: &CodedError| {
            let _ = send.lock().unwrap().send(format!("{} {}", error.code.exit_code(), error.what));
        };
        let (steps, stop) = (Arc::new(Steps::new(1)), Arc::new(AtomicBool::new(false)));
        let control = Control::with_limits(process, links, steps.clone(), stop.clone(), limits, Box::new(end)).unwrap();
        Member { control, steps, stop, ends }
    }

    /// Process 0 and two others.
    fn star(limits: (Duration, Duration)) -> Vec<Member> {
        let ((one, at_one), (two, at_two)) = (pair(), pair());
        vec![
            member(0, BTreeMap::from([(1, one), (2, two)]), limits),
            member(1, BTreeMap::from([(0, at_one)]), limits),
            member(2, BTreeMap::from([(0, at_two)]), limits),
        ]
    }

    const LONG: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(60));
    const WAIT: Duration = Duration::from_secs(30);

    /// Whoever ends, the two others end with the same where a person is needed, and with "a peer is gone" else.
    #[test]
    fn what_one_ends_with_all_end_with() {
        for ends in 0..3 {
            for (error, code) in [
                (CodedError::from(Halt::NotWhole { epoch: Epoch(7), what: "no counts".into() }), 22),
                (CodedError::new(Code::Fenced, "generation 9 holds the fence"), 20),
                (CodedError::new(Code::Drain, "not drained"), 11),
                (CodedError::new(Code::Bug, "a bug"), 11),
            ] {
                let members = star(LONG);
                members[ends].control.tell(&error);
                for (process, member) in members.iter().enumerate().filter(|(process, _)| *process != ends) {
                    let said = member.ends.recv_timeout(WAIT).unwrap();
                    assert!(said.starts_with(&format!("{code} process {ends} ended")), "{process}: {said}");
                }
                assert!(members[ends].ends.try_recv().is_err(), "it ends by itself");
            }
        }
    }

    #[test]
    fn a_process_that_is_told_to_stop_tells_the_first() {
        let members = star(LONG);
        members[2].stop.store(true, Ordering::Relaxed);
        let since = Instant::now();
        while !members[0].stop.load(Ordering::Relaxed) {
            assert!(since.elapsed() < WAIT);
            thread::sleep(Duration::from_millis(5));
        }
        assert!(!members[1].stop.load(Ordering::Relaxed), "the clock tells the others, with the last epoch");
    }

    /// Complete, and then gone, in any order: nobody is missed.
    #[test]
    fn who_is_complete_is_not_missed() {
        for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
            let members = star(LONG);
            for process in order {
                members[process].steps.complete(0);
                let since = Instant::now();
                while !members[process].control.0.over.load(Ordering::SeqCst) {
                    assert!(since.elapsed() < WAIT);
                    thread::sleep(Duration::from_millis(5));
                }
            }
            for member in &members {
                member.control.0.links.values().for_each(|link| {
                    let _ = link.lock().unwrap().shutdown(std::net::Shutdown::Both);
                });
            }
            thread::sleep(BEAT_EVERY);
            assert!(members.iter().all(|member| member.ends.try_recv().is_err()));
        }
    }

    #[test]
    fn a_link_that_closes_without_a_word_ends_both_sides() {
        let members = star(LONG);
        let _ = members[1].control.0.links[&0].lock().unwrap().shutdown(std::net::Shutdown::Both);
        for process in [0, 1] {
            let said = members[process].ends.recv_timeout(WAIT).unwrap();
            assert!(said.starts_with(&format!("11 process {}: its control", 1 - process)), "{said}");
        }
    }

    /// A worker that stands still is found although its process lives and speaks.
    #[test]
    fn a_worker_that_stands_still_ends_all() {
        let members = star((Duration::from_secs(60), Duration::from_millis(1500)));
        let since = Instant::now();
        let ended = loop {
            // The worker of process 2 makes no step.
            members[0].steps.begin(0);
            members[1].steps.begin(0);
            assert!(since.elapsed() < WAIT);
            thread::sleep(Duration::from_millis(5));
            let ended = members.iter().find_map(|member| member.ends.try_recv().ok());
            if let Some(ended) = ended {
                break ended;
            }
        };
        assert!(ended.starts_with("11 worker 0 of process 2 has stood still for"), "{ended}");
    }

    #[test]
    fn silence_is_death_unless_it_was_announced() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let limits = (Duration::from_secs(10), Duration::from_secs(30));
        let peer = |s: u64| Peer { at: at(s), stood_ms: vec![0, 0], complete: false };
        let said = |peer: &Peer, now| {
            lost(&BTreeMap::from([(0, Peer { at: at(now), ..peer.clone() }), (2, peer.clone())]), at(now), limits)
        };
        assert_eq!(said(&peer(0), 10), None);
        assert_eq!(said(&peer(0), 11), Some("process 2 was silent for 11.0 s".into()));
        assert_eq!(said(&Peer { complete: true, ..peer(0) }, 60), None);
        let slow = Peer { stood_ms: vec![0, 30_000], ..peer(5) };
        assert_eq!(said(&slow, 5), None);
        let stands = Peer { stood_ms: vec![0, 30_001], ..peer(5) };
        assert_eq!(said(&stands, 5), Some("worker 1 of process 0 has stood still for 30 s".into()));
    }

    #[test]
    fn a_process_that_was_stopped_forgives_its_workers() {
        let steps = Steps {
            base: Instant::now() - Duration::from_secs(100),
            began: vec![AtomicU64::new(1), AtomicU64::new(0)],
        };
        assert!(steps.stood_ms()[0] >= 100_000 && steps.stood_ms()[1] == 0);
        steps.forgive();
        assert!(steps.stood_ms()[0] < 100_000 && !steps.are_complete());
        steps.complete(0);
        assert!(steps.are_complete());
    }
}
