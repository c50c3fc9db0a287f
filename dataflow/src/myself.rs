//! This process: who it is, and what time it is for it.

use checkpoint::Micros;
use connectors::Process;

/// This process.
pub fn myself() -> Process {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    // When the program began to look, which is when a person would say that it began.
    static STARTED: std::sync::OnceLock<checkpoint::Micros> = std::sync::OnceLock::new();
    Process { host, id: std::process::id(), started_at: *STARTED.get_or_init(now) }
}

/// What time it is, in UTC.
pub fn now() -> Micros {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Micros(since.map_or(0, |d| d.as_micros() as i64))
}
