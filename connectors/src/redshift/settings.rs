//! Where the database is and who asks.

use std::time::Duration;

use crate::Secret;

/// Where the database is and who asks.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Host name or address.
    pub host: String,
    /// Port, 5439 on the real one.
    pub port: u16,
    /// Database.
    pub database: String,
    /// User.
    pub user: String,
    /// Their password, read for each session.
    pub password: Secret,
    /// The role that COPY assumes to read from S3.
    pub iam_role: String,
    /// Encryption.
    pub tls: Tls,
    /// The longest a statement of a load may run.
    pub statement_timeout: Duration,
    /// The longest that a login may take: [`CONNECT_WITHIN`].
    pub connect_within: Duration,
    /// Name of the job, as the database shows it.
    pub application_name: String,
}

/// Encryption of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Certificate and host name are verified, against the system's authorities or those of a file in PEM form.
    VerifyFull {
        /// The file.
        ca_file: Option<String>,
    },
    /// None. For loopback and tunnels.
    Off,
}

/// How long a login may take, unless somebody has other wishes.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(15);
