//! Who runs beside whom. Tests mostly wait, so many run beside each other; one that would not bear it says [`alone`].

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
};

struct Gate {
    /// The tests that are inside, by their threads; one that came in twice stands here twice.
    inside: Vec<ThreadId>,
    /// Whether the only one inside is alone.
    alone: bool,
}

static GATE: Mutex<Gate> = Mutex::new(Gate { inside: Vec::new(), alone: false });
static MOVED: Condvar = Condvar::new();

/// The place of a test among the others, until it is dropped.
#[must_use]
pub struct Place(ThreadId);

/// A place that others may be beside. Each [`World`](crate::world::World) has one; only a test that has none of them, and keeps
/// the machine busy, needs to ask. A test that is inside, alone or not, comes in again at once.
pub fn beside_others() -> Place {
    let thread = of_test();
    enter(thread, lock(), |gate| !gate.alone || gate.inside.contains(&thread)).0
}

/// A place that nobody is beside, for a test that measures time, or would disturb what others look at. It is taken before
/// anything else, and kept to the test's end: `let _alone = alone();`.
///
/// Whoever waits for it holds nobody up, so its time comes when the others are done, and all that it costs is a thread.
pub fn alone() -> Place {
    let thread = of_test();
    let gate = lock();
    assert!(!gate.inside.contains(&thread), "it is inside already, and would wait for itself");
    let (place, mut gate) = enter(thread, gate, |gate| gate.inside.is_empty());
    gate.alone = true;
    place
}

/// The thread of the test. One that a test has started may have to wait for somebody who waits for that test.
fn of_test() -> ThreadId {
    let thread = thread::current();
    assert!(thread.name().is_some(), "a test comes in by its own thread");
    thread.id()
}

type Locked = MutexGuard<'static, Gate>;

fn enter(thread: ThreadId, gate: Locked, may: impl Fn(&Gate) -> bool) -> (Place, Locked) {
    let mut gate = MOVED.wait_while(gate, |gate| !may(gate)).unwrap_or_else(PoisonError::into_inner);
    gate.inside.push(thread);
    (Place(thread), gate)
}

fn lock() -> Locked {
    GATE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut gate = lock();
        if let Some(at) = gate.inside.iter().position(|thread| *thread == self.0) {
            gate.inside.swap_remove(at);
        }
        gate.alone &= !gate.inside.is_empty();
        MOVED.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicI32, Ordering::SeqCst},
        thread::{Builder, JoinHandle},
    };

    use super::*;

    /// Those inside beside others count 1 each, and one who is alone a thousand.
    #[test]
    fn who_is_alone_has_nobody_beside() {
        static INSIDE: AtomicI32 = AtomicI32::new(0);
        fn test(n: i32) {
            let first = if n % 5 == 0 { alone() } else { beside_others() };
            let again = (beside_others(), beside_others());
            let weight = if n % 5 == 0 { 1000 } else { 1 };
            let before = INSIDE.fetch_add(weight, SeqCst);
            thread::yield_now();
            assert!(before == 0 || weight == 1 && before < 1000, "{before} beside {weight}");
            let after = INSIDE.fetch_sub(weight, SeqCst);
            assert!(after == weight || weight == 1 && after < 1000, "{after} beside {weight}");
            // In any order, and by any thread.
            thread::spawn(|| drop(first)).join().expect("it is dropped");
            drop(again);
        }
        let run = |n| Builder::new().name(format!("test {n}")).spawn(move || (0..50).for_each(|m| test(n + m)));
        let threads: Vec<JoinHandle<()>> = (0..8).map(|n| run(n).expect("a thread")).collect();
        threads.into_iter().for_each(|thread| thread.join().expect("all came in"));
    }
}
