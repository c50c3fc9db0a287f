//! `--supervise`: a parent that starts the processes of this machine, and starts them again where that helps.
//!
//! One process that ends takes the whole cluster with it, and a start is cheap, so the answer to most troubles is to start
//! all again: after exit codes 10 to 13, after a kill, and after 5, because a machine that comes up during an outage has nobody
//! beside it either. After everything else a person is needed, or it is done. The pause between starts grows, and is short again once a
//! start has lived for a while.
//!
//! The parent says "stop" by closing a child's standard input, so children end in good order when the parent is told to stop,
//! and also when it is killed.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use operators::threads::named;
use signal_hook::consts::{SIGINT, SIGTERM};
use tracing::{info, warn};

use crate::{
    error::{Code, CodedError, Result},
    report::handed::Handed,
};

/// How long the others have to end once one has: the heartbeat's silence, and some.
const OTHERS_WITHIN: Duration = Duration::from_secs(40);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A start that lived so long was a good one.
const GOOD_AFTER: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What is done after all children ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Done,
    /// The process that ended first of its own fault, and its exit code; `None` if a signal ended it.
    Again(usize, Option<i32>),
    GiveUp(usize, i32),
}

/// Decides. `ended` are the children's numbers and exit codes, in the order of their ends. "My peer is gone" is nobody's own
/// reason, if somebody has another.
fn verdict(ended: &[(usize, Option<i32>)]) -> Verdict {
    let peer_lost = Some(i32::from(Code::PeerLost.exit_code()));
    let unreachable = Some(i32::from(Code::Unreachable.exit_code()));
    let heals = |code| matches!(code, None | Some(0 | 10..=13)) || code == unreachable;
    let fatal = ended.iter().find(|(_, code)| !heals(*code));
    if let Some((process, Some(code))) = fatal {
        return Verdict::GiveUp(*process, *code);
    }
    let bad = |own: bool| ended.iter().find(|(_, code)| *code != Some(0) && (!own || *code != peer_lost));
    match bad(true).or_else(|| bad(false)) {
        Some((process, code)) => Verdict::Again(*process, *code),
        None => Verdict::Done,
    }
}

/// The exit code after a stop, of children that do not all say 0. One that was told before it began, or after all was done, has
/// ended well, and then others that miss it (10, 11) have nothing to say.
fn stopped(ended: &[(usize, Option<i32>)]) -> i32 {
    let missed = [Code::NotMet, Code::PeerLost].map(|code| Some(i32::from(code.exit_code())));
    let is_well = ended.iter().any(|(_, code)| *code == Some(0));
    let own = ended.iter().find(|(_, code)| *code != Some(0) && !(is_well && missed.contains(code)));
    own.map_or(0, |(_, code)| code.unwrap_or(130))
}

/// Makes the commands of all processes, anew for each start, given the ids of those whose ends were seen: their sessions need not
/// be waited for.
pub type Commands<'a> = dyn Fn(&[u32]) -> Result<Vec<(usize, Command)>> + 'a;

/// Runs the processes until they are done, are told to stop, or need a person. `signals` counts the signals to stop. The exit
/// code to end with.
pub fn supervise(commands: &Commands<'_>, signals: &AtomicUsize) -> Result<i32> {
    let mut pause = FIRST_PAUSE;
    let (mut reaped, handed) = (Vec::new(), Handed::default());
    loop {
        let since = Instant::now();
        let ended = run_once(commands(&reaped)?, signals, &mut reaped, &handed)?;
        if since.elapsed() > GOOD_AFTER {
            pause = FIRST_PAUSE;
        }
        match verdict(&ended) {
            Verdict::Done => return Ok(0),
            Verdict::GiveUp(process, code) => {
                warn!(
                    event = "gave-up",
                    process,
                    exit_code = code,
                    state = state_of(&handed, process),
                    "process {process} ended with {code}: not started again"
                );
                return Ok(code);
            }
            Verdict::Again(..) if signals.load(Ordering::Relaxed) > 0 => return Ok(stopped(&ended)),
            Verdict::Again(process, code) => {
                let seconds = pause.as_secs();
                let with = code.map_or("a signal".into(), |code| code.to_string());
                warn!(
                    event = "restarting",
                    process,
                    exit_code = code,
                    state = state_of(&handed, process),
                    seconds,
                    "process {process} ended with {with}: all are started again in {seconds} s"
                );
                let until = Instant::now() + pause;
                while Instant::now() < until {
                    if signals.load(Ordering::Relaxed) > 0 {
                        return Ok(0);
                    }
                    thread::sleep(LOOK_EVERY);
                }
                // Who did not meet has waited already; a longer pause would miss the others' time.
                let met = code != Some(i32::from(Code::NotMet.exit_code()));
                pause = if met { (pause * 2).min(PAUSE_MAX) } else { FIRST_PAUSE };
            }
        }
    }
}

/// The state that a process reported last.
fn state_of(handed: &Handed, process: usize) -> Option<&'static str> {
    handed.of(process).map(|snapshot| snapshot.state.name())
}

/// Addresses on loopback whose ports are free now.
pub fn free_hosts(processes: usize) -> std::io::Result<Vec<String>> {
    // All are held until all are known, or one port would be given twice.
    let held: Vec<TcpListener> =
        (0..processes).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<_>>()?;
    held.iter().map(|listener| Ok(listener.local_addr()?.to_string())).collect()
}

/// Counts the signals to stop, from here on.
pub fn count_signals() -> Result<Arc<AtomicUsize>> {
    let wrong = |e| CodedError::machine("cannot listen for signals", e);
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT]).map_err(wrong)?;
    let count = Arc::new(AtomicUsize::new(0));
    let counting = count.clone();
    let spawned = named("signals", move || {
        for _ in signals.forever() {
            counting.fetch_add(1, Ordering::Relaxed);
        }
    });
    spawned.map(|_| count).map_err(wrong)
}

/// Starts all, listens to what they hand over, and waits until all have ended. Their ids are added to `reaped`: one that ended
/// before it had the fence leaves the session of its predecessor to be looked at.
fn run_once(
    commands: Vec<(usize, Command)>,
    signals: &AtomicUsize,
    reaped: &mut Vec<u32>,
    handed: &Handed,
) -> Result<Vec<(usize, Option<i32>)>> {
    let mut children = Children(Vec::new());
    for (process, mut command) in commands {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|e| CodedError::machine(format!("cannot start process {process}"), e))?;
        info!(event = "process", process, pid = child.id(), "process {process} has pid {}", child.id());
        let output = child.stdout.take();
        children.0.push((process, child));
        output.map_or(Ok(()), |output| handed.listen(process, output))?;
    }
    reaped.extend(children.0.iter().map(|(_, child)| child.id()));
    let mut ended: Vec<(usize, Option<i32>)> = Vec::new();
    let mut first_end = None;
    while !children.0.is_empty() {
        thread::sleep(LOOK_EVERY);
        children.0.retain_mut(|(process, child)| match child.try_wait() {
            Ok(None) => true,
            Ok(Some(status)) => {
                ended.push((*process, status.code()));
                false
            }
            Err(_) => {
                ended.push((*process, None));
                false
            }
        });
        match signals.load(Ordering::Relaxed) {
            0 => {}
            1 => children.0.iter_mut().for_each(|(_, child)| drop(child.stdin.take())),
            _ => children.0.iter_mut().for_each(|(_, child)| drop(child.kill())),
        }
        if !ended.is_empty() && first_end.get_or_insert_with(Instant::now).elapsed() > OTHERS_WITHIN {
            children.0.iter_mut().for_each(|(_, child)| drop(child.kill()));
        }
    }
    Ok(ended)
}

/// Children do not outlive an error of the parent.
struct Children(Vec<(usize, Child)>);

impl Drop for Children {
    fn drop(&mut self) {
        for (_, child) in &mut self.0 {
            let _ = child.kill(); // it may have ended
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_missed_after_a_stop_has_ended_well() {
        for (ended, code) in [
            (&[(1, Some(0)), (0, Some(11))][..], 0),
            (&[(0, Some(0)), (1, Some(10))], 0),
            (&[(0, Some(12)), (1, Some(11))], 12),
            (&[(0, Some(12)), (1, Some(0))], 12),
            (&[(0, Some(11)), (1, Some(11))], 11),
            (&[(0, None), (1, Some(11))], 130),
        ] {
            assert_eq!(stopped(ended), code, "{ended:?}");
        }
    }

    #[test]
    fn only_what_heals_by_a_start_is_started_again() {
        for (ended, expected) in [
            (&[(0, Some(0)), (1, Some(0))][..], Verdict::Done),
            (&[(1, Some(12)), (0, Some(11))], Verdict::Again(1, Some(12))),
            // The reason is not whoever noticed first.
            (&[(0, Some(11)), (1, None)], Verdict::Again(1, None)),
            (&[(0, Some(11)), (1, Some(11))], Verdict::Again(0, Some(11))),
            (&[(1, Some(11)), (0, Some(23))], Verdict::GiveUp(0, 23)),
            (&[(1, Some(11)), (0, Some(20))], Verdict::GiveUp(0, 20)),
            (&[(0, Some(13)), (1, Some(0))], Verdict::Again(0, Some(13))),
            // From outside a wrong address looks like an outage, so it is said again and again.
            (&[(1, Some(11)), (0, Some(5))], Verdict::Again(0, Some(5))),
            (&[(0, Some(3))], Verdict::GiveUp(0, 3)),
            (&[(0, Some(1)), (1, Some(11))], Verdict::GiveUp(0, 1)),
        ] {
            assert_eq!(verdict(ended), expected, "{ended:?}");
        }
    }
}
