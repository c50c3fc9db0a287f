//! Every default of the job file, in one place. `tidegate explain` shows them with the job.

use std::time::Duration;

use connectors::StartAt;
use operators::{decode::Format, schema::Mode, sink::encode::Compression};

/// `[[stream]] start`
pub const START: StartAt = StartAt::Earliest;
/// `[[stream]] format`
pub const FORMAT: Format = Format::Json;
/// `[[target]] mode`
pub const MODE: Mode = Mode::Append;
/// `[epoch] interval`
pub const INTERVAL: Duration = Duration::from_secs(30);
/// `[epoch] max_bytes`
pub const MAX_BYTES: u64 = 256_000_000;
/// `[epoch] max_rows`: no limit.
pub const MAX_ROWS: u64 = u64::MAX;
/// `[epoch] idle_interval`
pub const IDLE_INTERVAL: Duration = Duration::from_secs(60);
/// `[staging] compression`
pub const COMPRESSION: Compression = Compression::Zstd;
/// `[staging] file_size`
pub const FILE_SIZE_BYTES: u64 = 128_000_000;
/// `[redshift] port`
pub const PORT: u16 = 5439;
/// `[redshift] schema`
pub const SCHEMA: &str = "tidegate";
/// `[redshift] statement_timeout`
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// `[memory] budget`
pub const BUDGET_BYTES: u64 = 1_000_000_000;
