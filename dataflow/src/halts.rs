//! Leaves a halt where `tidegate status` finds it when the process is gone.
//!
//! "A halt changes nothing" means targets and positions; this is a row of a table of its own. It is written within seconds or not
//! at all: a process that must end does not wait for a warehouse.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use checkpoint::Generation;
use connectors::{HaltNote, Warehouse};
use operators::{threads::named, time::now};

use crate::{error::CodedError, job::Job, myself::myself, ports};

/// How long writing it may take.
const WITHIN: Duration = Duration::from_secs(5);

type Write = Box<dyn Fn(&HaltNote) -> connectors::Result<()> + Send + Sync>;

static WRITE: OnceLock<Write> = OnceLock::new();
static GENERATION: AtomicU64 = AtomicU64::new(0);
static TOOK: AtomicBool = AtomicBool::new(false);

/// This process leaves its halts from here on.
pub fn arm(job: &Job) {
    let job = job.clone();
    let write = move |note: &HaltNote| {
        let mut warehouse = ports::warehouse(&job).map_err(|error| connectors::Error::bug(error.to_string()))?;
        // A start that never had the fence says nothing of a job that works.
        if !TOOK.load(Ordering::SeqCst) && is_at_work(&mut *warehouse)? {
            return Ok(());
        }
        warehouse.note_halt(note)
    };
    let _ = WRITE.set(Box::new(write)); // once in a process
}

fn is_at_work(warehouse: &mut dyn Warehouse) -> connectors::Result<bool> {
    Ok(warehouse.sessions()?.unwrap_or_default().iter().any(|session| session.generation.is_some()))
}

/// The generation that this process found.
pub fn found(generation: Generation) {
    GENERATION.store(generation.0, Ordering::SeqCst);
}

/// The generation that this process took, or is told of by the first of its cluster.
pub fn taken(generation: Generation) {
    found(generation);
    TOOK.store(true, Ordering::SeqCst);
}

/// Leaves this one, if it is one that needs a person.
pub fn note(error: &CodedError) {
    if !(21..=23).contains(&error.code.exit_code()) || WRITE.get().is_none() {
        return;
    }
    let note = HaltNote {
        generation: Generation(GENERATION.load(Ordering::SeqCst)),
        process: myself(),
        code: error.code.id().into(),
        reason: error.render(),
        since: now(),
    };
    let (done, wait) = mpsc::channel();
    let spawned = named("halt", move || {
        if let Some(write) = WRITE.get() {
            // If it cannot be written the process has said it all the same.
            let _ = write(&note);
        }
        let _ = done.send(());
    });
    if spawned.is_ok() {
        let _ = wait.recv_timeout(WITHIN);
    }
}
