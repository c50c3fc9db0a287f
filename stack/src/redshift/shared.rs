//! What all sessions share: names, and how the database and the bucket are reached.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicI64},
};

use object_store::aws::AmazonS3;

use super::accidents::Accidents;
use crate::s3::Store;

/// The role that COPY may assume here.
pub const ROLE: &str = "arn:aws:iam::123456789012:role/tidegate-copy";
/// The database that clients connect to.
pub const DATABASE: &str = "dev";
/// A user that owns the database but is not a superuser.
pub const USER: &str = "loader";
/// Their password.
pub const PASSWORD: &str = "local-stack-Passw0rd";

/// The administrator, a superuser as in a new cluster.
pub const ADMIN: &str = "awsuser";
/// Their password.
pub const ADMIN_PASSWORD: &str = "local-stack-Adm1n";

/// The role of those to whom sessions are shown.
pub(super) const SEES_SESSIONS: &str = "sees_sessions";

/// What all sessions share.
pub(crate) struct Shared {
    /// The Unix socket of PostgreSQL.
    pub(crate) socket: PathBuf,
    /// Names this database; a cloned one has another.
    pub(crate) namespace: String,
    /// The bucket as the role sees it.
    pub(crate) bucket: AmazonS3,
    /// The bucket's name.
    pub(crate) bucket_name: String,
    /// All buckets, which may be in other regions.
    pub(crate) store: Arc<Store>,
    /// The last query id that a COPY got.
    pub(crate) copy_ids: AtomicI64,
    /// What is to happen to statements.
    pub(crate) accidents: Accidents,
}
