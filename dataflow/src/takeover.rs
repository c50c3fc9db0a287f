//! Who holds the fence, and what a start does about it.
//!
//! A process of the job keeps one session open that it has recorded, so the next start can see it: who, where, since when. Nobody
//! can tell from here whether that process still works, is stopped, or was killed a moment ago and its session ends any time now.
//! So a start asks whoever started it, where somebody sits there; else it waits for the session to end, a minute at most, and then
//! takes over: better one start too many than a job that stands still until a person comes.

use std::{
    io::{BufRead, IsTerminal, Write},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use checkpoint::protocol::Fence;
use connectors::{OpenSession, Process, Warehouse};
use operators::threads::named;
use tracing::{info, warn};

use crate::{
    again::again,
    error::{Code, CodedError, Result},
};

/// How long the session of another process is waited for.
const WAIT: Duration = Duration::from_secs(60);
/// How long the answer of a person is waited for. No answer is a no.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What a start does about a process that holds the fence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TakeOver {
    /// Asks on a terminal; elsewhere waits, then takes over.
    #[default]
    Politely,
    /// Takes over at once.
    Now,
    /// As politely, but for these processes of this machine, whose end was seen.
    Reaped(Vec<u32>),
    /// Does not: for a person's decisions, which are of no use beside a process that works.
    Never {
        /// Whether it is believed that nobody works where that cannot be seen.
        unseen: bool,
    },
}

/// Who is waited for: whoever holds the fence and has a session open. Pure.
fn holder<'s>(
    sessions: &'s [OpenSession],
    fence: &Fence,
    me: &Process,
    take_over: &TakeOver,
) -> Option<&'s OpenSession> {
    let reaped = |process: &Process| match take_over {
        TakeOver::Reaped(ids) => process.host == me.host && ids.contains(&process.id),
        _ => false,
    };
    // It may have taken the fence a moment ago, and not have recorded its generation yet.
    let holds = |session: &OpenSession| session.nonce == fence.nonce.as_str();
    let is_in_the_way =
        |session: &OpenSession| matches!(take_over, TakeOver::Never { .. }) && session.generation.is_some();
    sessions.iter().find(|session| (holds(session) || is_in_the_way(session)) && !reaped(&session.process))
}

/// Returns when the fence may be taken.
pub fn wait_for_holder(warehouse: &mut dyn Warehouse, fence: &Fence, me: &Process, take_over: &TakeOver) -> Result<()> {
    if *take_over == TakeOver::Now {
        return Ok(());
    }
    let since = Instant::now();
    let mut said = false;
    loop {
        let Some(sessions) = again(|| warehouse.sessions())? else {
            if *take_over == (TakeOver::Never { unseen: false }) {
                let what = "Redshift does not show sessions here, so nobody can see whether a process runs this job; if none \
                            does, say --nobody-runs";
                return Err(CodedError::new(Code::Running, what));
            }
            warn!(
                event = "sessions-not-shown",
                "Redshift does not show sessions here, so nobody can see whether another process runs this job: taking over"
            );
            return Ok(());
        };
        let Some(session) = holder(&sessions, fence, me, take_over) else {
            if said {
                info!(event = "holder-gone", "the other process has ended");
            }
            return Ok(());
        };
        let who = describe(session);
        if matches!(take_over, TakeOver::Never { .. }) {
            return Err(CodedError::new(Code::Running, format!("{who} runs this job")));
        }
        if since.elapsed() >= WAIT {
            warn!(event = "taking-over", who, "{who} did not end within {} s: taking over", WAIT.as_secs());
            return Ok(());
        }
        if !said {
            if is_asked(take_over) {
                return match ask(&who) {
                    true => Ok(()),
                    false => Err(CodedError::new(Code::Running, format!("{who} runs this job, and is left alone"))),
                };
            }
            let seconds = WAIT.as_secs();
            warn!(
                event = "waiting-for-holder",
                who,
                seconds,
                "{who} runs this job: waiting for it to end, {seconds} s at most (--take-over does not wait)"
            );
            said = true;
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Whether somebody sits there.
fn is_asked(take_over: &TakeOver) -> bool {
    *take_over == TakeOver::Politely && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

fn describe(session: &OpenSession) -> String {
    let Process { host, id, started_at } = &session.process;
    format!("process {id} on {host}, since {started_at:.0},")
}

fn ask(who: &str) -> bool {
    let mut to = std::io::stderr();
    let _ = write!(to, "{who} runs this job. End it and take over? [y/N] ").and_then(|()| to.flush());
    let (give, answer) = mpsc::channel();
    // It waits for the terminal for ever, if nobody answers; the process ends then.
    let spawned = named("answer", move || {
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line);
        let _ = give.send(read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes"));
    });
    spawned.is_ok() && answer.recv_timeout(ANSWER_WITHIN).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use checkpoint::{Cut, Digest, Epoch, Generation, Micros, Nonce};

    use super::*;

    #[test]
    fn only_who_holds_the_fence_is_waited_for() {
        let process = |host: &str, id| Process { host: host.into(), id, started_at: Micros(0) };
        let session = |nonce: u8, generation: Option<u64>, process: Process| OpenSession {
            generation: generation.map(Generation),
            nonce: Nonce::new([nonce; 16]).as_str().into(),
            process,
            pid: 1,
            session_start: "now".into(),
        };
        let fence = Fence {
            fence_id: "f".into(),
            namespace: "n".into(),
            generation: Generation(7),
            nonce: Nonce::new([7; 16]),
            next_epoch: Epoch(0),
            digest: Digest::first("f"),
            cut_digest: Cut::default().digest(),
            cut_epoch: None,
        };
        let me = process("here", 99);
        for (what, session, take_over, waits) in [
            ("who holds it", session(7, Some(7), process("there", 5)), TakeOver::Politely, true),
            ("who has just taken it", session(7, None, process("there", 5)), TakeOver::Politely, true),
            ("a zombie of an older generation", session(6, Some(6), process("there", 5)), TakeOver::Politely, false),
            ("a start that has not taken it", session(8, None, process("there", 5)), TakeOver::Politely, false),
            (
                "a child whose end was seen",
                session(7, Some(7), process("here", 5)),
                TakeOver::Reaped(vec![4, 5]),
                false,
            ),
            (
                "a zombie, beside a decision",
                session(6, Some(6), process("there", 5)),
                TakeOver::Never { unseen: false },
                true,
            ),
            ("another child", session(7, Some(7), process("here", 6)), TakeOver::Reaped(vec![4, 5]), true),
            ("one of another machine", session(7, Some(7), process("there", 5)), TakeOver::Reaped(vec![5]), true),
        ] {
            assert_eq!(holder(&[session], &fence, &me, &take_over).is_some(), waits, "{what}");
        }
    }
}
