//! How a process is told to stop, and how it ends: in good order, with a deadline, or at once with the reason.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use operators::{failure, threads::named};
use signal_hook::consts::{SIGINT, SIGTERM};
use tracing::{info, warn};

use crate::{
    cluster::control::Control,
    error::{Code, CodedError, Result},
    halts,
    report::{self, log, screen},
    state::State,
};

/// How long the open epoch may take to be loaded after a signal to stop.
const DRAIN_WITHIN: Duration = Duration::from_secs(25);
/// How long a cluster may take to end once all is loaded: somebody may be stopped just then, and no heart beats any more.
const END_WITHIN: Duration = Duration::from_secs(60);

/// How long a process whose link to another broke waits for the control to say why.
const SAID_WITHIN: Duration = Duration::from_secs(5);

/// The control connection, once the processes of a cluster work.
static CONTROL: OnceLock<Control> = OnceLock::new();

/// Whether there is anything to drain. Who looks keeps it until it has acted on that.
static WORKING: Mutex<bool> = Mutex::new(false);

/// From here on a stop drains. A process of a cluster says so before it says to another that it goes on: one that ended then would
/// take the others with it.
pub fn begin() {
    *WORKING.lock().unwrap_or_else(PoisonError::into_inner) = true;
}

/// The other processes are told from here on with which error this one ends.
pub fn tell_others_by(control: Control) {
    let _ = CONTROL.set(control); // once in a process
}

/// All is loaded: if the others do not end as well they are lost.
pub fn end_in_time() {
    // Without the thread it waits for ever, as it would without a deadline.
    let _ = named("end", || {
        thread::sleep(END_WITHIN);
        end(&CodedError::new(Code::PeerLost, "all is loaded, but another process does not end"));
    });
}

/// The first signal drains the job, with a deadline; the second ends it at once.
pub fn on_signal(stop: Arc<AtomicBool>) -> Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])
        .map_err(|e| CodedError::machine("cannot listen for signals", e))?;
    spawn("signals", move || {
        let mut signals = signals.forever();
        signals.next();
        drain(&stop);
        signals.next();
        if screen::clear() {
            let (state, was) = (State::Stopped.name(), State::Draining.name());
            warn!(event = "state", state, was, "ended at once: what was not loaded is read again at the next start");
        }
        signal_hook::low_level::exit(130);
    })
}

/// The end of standard input drains the job, with the same deadline.
pub fn stop_at_eof(stop: Arc<AtomicBool>) -> Result<()> {
    spawn("parent", move || {
        // Nothing is ever said there; an error is an end as well.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        drain(&stop);
    })
}

fn drain(stop: &AtomicBool) {
    stop.store(true, Ordering::Relaxed);
    let working = WORKING.lock().unwrap_or_else(PoisonError::into_inner);
    if !*working {
        // Nothing was read. If it has just taken the fence, whoever had it before finds itself shut out at its next load.
        info!(event = "state", state = State::Stopped.name(), "stopped before it began");
        screen::clear();
        signal_hook::low_level::exit(0);
    }
    drop(working);
    report::stops_within(DRAIN_WITHIN);
    let _ = named("deadline", || {
        thread::sleep(DRAIN_WITHIN);
        end(&CodedError::new(Code::Drain, format!("not drained within {} s", DRAIN_WITHIN.as_secs())));
    });
}

/// Starts a thread of this name.
///
/// # Errors
/// The system has no thread left.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let spawned = named(name, work);
    spawned.map(drop).map_err(|e| CodedError::machine("cannot start a thread", e))
}

/// A panic in any thread ends the process at once: the other workers would wait for the failed one for ever. The first one
/// counts; what panics after it does so because of it.
pub fn end_at_panic() {
    let default = std::panic::take_hook();
    let ending = AtomicBool::new(false);
    std::panic::set_hook(Box::new(move |info| {
        if ending.swap(true, Ordering::SeqCst) {
            loop {
                thread::park(); // the process is ending
            }
        }
        if let Some(failure) = failure::take() {
            end(&failure.into());
        }
        let name = thread::current().name().map(String::from).unwrap_or_default();
        // The engine's threads that hold the sockets know no other way to say that one broke.
        if let Some(process) = name.strip_prefix("timely:recv-").or(name.strip_prefix("timely:send-")) {
            let why = info.payload_as_str().unwrap_or("its connection broke");
            // Whoever ended has said why on the control connection, which ends this process with that; or it closes as well.
            thread::sleep(SAID_WITHIN);
            end(&CodedError::new(Code::PeerLost, format!("process {process}: {why}")));
        }
        screen::clear();
        default(info); // with the trace, which the maker of the program needs
        end(&CodedError::new(Code::Bug, info.to_string()));
    }));
}

/// Says why and ends, without running anything else: other threads may hold any lock. The first reason counts.
fn end(error: &CodedError) -> ! {
    alone_from_here();
    if let Some(control) = CONTROL.get() {
        control.tell(error);
    }
    log::error(error);
    halts::note(error);
    signal_hook::low_level::exit(i32::from(error.code.exit_code()))
}

/// The same for what another process said, which leaves its halt itself.
pub fn end_as_told(error: &CodedError) {
    alone_from_here();
    if let Some(control) = CONTROL.get() {
        control.tell(error);
    }
    log::error(error);
    signal_hook::low_level::exit(i32::from(error.code.exit_code()))
}

/// Whoever else wants to end the process waits for its end.
fn alone_from_here() {
    static ENDING: AtomicBool = AtomicBool::new(false);
    if ENDING.swap(true, Ordering::SeqCst) {
        loop {
            thread::park();
        }
    }
}
