//! A local Kafka, S3 and Redshift: for the demo, the tests, and the CI of people who use Tidegate.
//!
//! * [`kafka`]: a real Apache Kafka broker from its Maven jars, or librdkafka's mock for demonstrations;
//! * [`s3`]: an S3 server in this process, as strict as the real one where a loader leans on it;
//! * [`redshift`]: a proxy in front of a real PostgreSQL that plays Redshift's peculiarities and refuses what it does
//!   not know;
//! * [`clicks`]: a stream of events for demonstrations;
//! * [`ports`]: free ports that stay free.
//!
//! Nothing here shares code with the crates it serves, so a wrong idea about a protocol cannot cancel itself out.
//! Everything a stack started ends with it, also when its process is killed.

pub mod clicks;
mod error;
mod folder;
mod hex;
pub mod kafka;
pub mod ports;
mod process;
pub mod redshift;
pub mod s3;

use std::{os::unix::fs::PermissionsExt, path::PathBuf};

pub use error::{Result, StackError};

/// What to start.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where the servers keep their data, each in a folder of its own, which must be new or empty and is removed at the end; a
    /// temporary folder if not given.
    pub dir: Option<PathBuf>,
    /// Which Kafka.
    pub kafka: kafka::Kind,
    /// Topics that are made at once.
    pub topics: Vec<kafka::Topic>,
}

/// A running Kafka, S3 and Redshift. Dropping it stops all three and leaves nothing behind.
pub struct Stack {
    /// The broker.
    pub kafka: kafka::Kafka,
    /// The object store.
    pub s3: s3::S3,
    /// The warehouse.
    pub redshift: redshift::Redshift,
    _dir: Option<tempfile::TempDir>,
}

impl Stack {
    /// Starts all three on free loopback ports and returns once they answer. The bucket exists then.
    pub fn up(options: Options) -> Result<Stack> {
        let (dir, held) = match options.dir {
            Some(dir) => (dir, None),
            None => {
                let held =
                    tempfile::Builder::new().prefix("tidegate-").tempdir().map_err(StackError::io("make a folder"))?;
                // PostgreSQL's user goes through, whatever the umask says.
                let open = std::fs::Permissions::from_mode(0o755);
                std::fs::set_permissions(held.path(), open).map_err(StackError::io("open a folder"))?;
                (held.path().to_path_buf(), Some(held))
            }
        };
        let s3 = s3::S3::start("tidegate")?;
        let redshift = redshift::Redshift::start(&dir.join("redshift"), &s3)?;
        let kafka = kafka::Kafka::start(options.kafka, &dir.join("kafka"), &options.topics)?;
        Ok(Stack { kafka, s3, redshift, _dir: held })
    }

    /// The names under which a job file finds the stack, and their values.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let mut env = self.kafka.env();
        env.extend(self.s3.env());
        env.extend(self.redshift.env());
        env
    }
}
