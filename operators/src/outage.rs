//! What is done while another system is away: the same again, with growing pauses and a deadline, for everybody to see.

use std::time::Duration;

use connectors::retry::{Policy, Retry};

use crate::events::{Event, Task, Watch};

/// How long an outage of another system is waited for.
pub const OUTAGE_WITHIN: Duration = Duration::from_secs(30 * 60);
/// How a running job tries again.
pub const OUTAGE: Policy = Policy::within(OUTAGE_WITHIN);

/// How long a topic must be gone until that is believed: a broker that has just started may not know it yet. Less than a job may
/// take to drain.
const GONE: Policy = Policy {
    first: Duration::from_millis(500),
    longest: Duration::from_secs(1),
    within: Duration::from_secs(15),
    attempts: u32::MAX,
};

/// Asks for what is of a topic until there is an answer. `Ok(None)` and an outage are believed after a quarter of a minute; any other
/// error is given at once.
pub fn until_known<T>(ask: impl Fn() -> connectors::Result<Option<T>>) -> connectors::Result<Option<T>> {
    let mut retry = Retry::new(GONE);
    loop {
        let answer = ask();
        let pause = match &answer {
            Ok(None) => retry.pause(),
            Ok(Some(_)) => None,
            Err(error) => retry.after(error),
        };
        let Some(pause) = pause else { return answer };
        std::thread::sleep(pause);
    }
}

/// Does something that may be done twice, again and again while that can help. `doing` is the kind of work and whom it is
/// done with, so that one outage is one for all that it keeps from being done.
pub fn try_again<T>(
    doing: &str,
    policy: Policy,
    watch: &Watch,
    act: impl Fn() -> connectors::Result<T>,
) -> connectors::Result<T> {
    let (mut retry, mut again, task) = (Retry::new(policy), false, Task::new());
    loop {
        let result = act();
        let pause = result.as_ref().err().and_then(|error| retry.after(error));
        let (Some(pause), Err(error)) = (pause, &result) else {
            if again && result.is_ok() {
                watch(Event::Recovered { doing: doing.into(), task, done: doing.into() });
            }
            return result;
        };
        let (why, advice, left) = (error.to_string(), error.remedy.clone(), retry.left());
        watch(Event::Retrying { doing: doing.into(), task, why, advice, pause, left });
        again = true;
        std::thread::sleep(pause);
    }
}
