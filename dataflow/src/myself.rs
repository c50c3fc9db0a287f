//! This process: who it is.

use checkpoint::Micros;
use connectors::Process;
use operators::time::now;

/// This process.
pub fn myself() -> Process {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    // When the program began to look, which is when a person would say that it began.
    static STARTED: std::sync::OnceLock<Micros> = std::sync::OnceLock::new();
    Process { host, id: std::process::id(), started_at: *STARTED.get_or_init(now) }
}
