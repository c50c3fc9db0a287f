//! A Redshift for one machine: a proxy that speaks the PostgreSQL protocol, in front of a real PostgreSQL.
//!
//! What makes it worth testing against is how unkind it is, in the ways the real one is:
//!
//! * transactions run at snapshot isolation; UPDATE and DELETE take a write lock on their table *before* the snapshot,
//!   INSERT and COPY do not, so a fence that is an INSERT lets two loaders in;
//! * keys are accepted and not enforced; `ON CONFLICT`, `RETURNING` and everything else it does not know is refused;
//! * COPY reads Parquet by position and by strict physical type, all or nothing, believes only a COPY manifest with exact
//!   lengths, skips a missing file that is not mandatory, and goes to no other region;
//! * `pg_last_copy_count()` keeps its old value when a COPY is refused early, and does not roll back;
//! * errors come as `XX000` with a detail block, serialization failures as `1023`;
//! * a session goes on with its statement when its client is gone, and keeps its locks until then.
//!
//! [`postgres`] starts the server, [`session`] is the proxy, [`sql`] decides what a statement is, [`copy`] runs COPY,
//! [`parquet`] turns files into rows, [`wire`] has the frames and [`errors`] the texts.

mod accidents;
pub mod client;
mod copy;
mod errors;
mod parquet;
mod postgres;
mod session;
mod shared;
mod sql;
pub mod statements;
mod wire;

use std::{net::SocketAddr, path::Path, sync::Arc};

use object_store::aws::AmazonS3Builder;

use crate::{
    error::{Result, StackError},
    s3::{REGION, S3},
};
pub use accidents::Accident;
pub use postgres::Postgres;
pub use shared::{ADMIN, ADMIN_PASSWORD, DATABASE, PASSWORD, ROLE, USER};
use shared::{SEES_SESSIONS, Shared};

/// A running stand-in.
pub struct Redshift {
    address: SocketAddr,
    postgres: postgres::Postgres,
    runtime: tokio::runtime::Runtime,
    shared: Arc<Shared>,
}

impl Redshift {
    /// Starts PostgreSQL in `dir` and the proxy on a free loopback port. COPY reads from the bucket of `s3`.
    pub fn start(dir: &Path, s3: &S3) -> Result<Redshift> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("redshift")
            .enable_all()
            .build()
            .map_err(StackError::io("start the Redshift stand-in"))?;
        let postgres = postgres::Postgres::start(dir)?;
        runtime.block_on(postgres.set_up())?;
        let bucket = AmazonS3Builder::new()
            .with_endpoint(s3.endpoint())
            .with_allow_http(true)
            .with_region(REGION)
            .with_bucket_name(s3.bucket())
            .with_access_key_id(&s3.reader().id)
            .with_secret_access_key(&s3.reader().secret)
            .build()
            .map_err(|e| StackError::Io { doing: "reach the bucket".into(), source: std::io::Error::other(e) })?;
        let shared = Arc::new(Shared {
            socket: postgres.socket(),
            namespace: namespace(),
            bucket,
            bucket_name: s3.bucket().into(),
            store: s3.store().clone(),
            copy_ids: 1000.into(),
            accidents: Default::default(),
        });
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .map_err(StackError::io("listen for SQL sessions"))?;
        let all = shared.clone();
        let address = listener.local_addr().map_err(StackError::io("listen for SQL sessions"))?;
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(session::serve(socket, all.clone()));
            }
        });
        Ok(Redshift { address, postgres, runtime, shared })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets this happen to the next so many statements that have all these texts in them, whoever sends them.
    pub fn cause(&self, has: &[&str], times: usize, accident: Accident) {
        self.shared.accidents.cause(has, times, accident);
    }

    /// The PostgreSQL behind it, as its superuser, for checks that must not go through the proxy.
    pub fn direct(&self) -> tokio_postgres::Config {
        self.postgres.superuser(DATABASE)
    }

    /// Whether a user may read `stv_sessions`, from its next statement on. Everybody may at first.
    pub fn show_sessions(&self, user: &str, shown: bool) -> Result<()> {
        let (verb, preposition) = if shown { ("GRANT", "TO") } else { ("REVOKE", "FROM") };
        let sql = format!("{verb} {SEES_SESSIONS} {preposition} {user}");
        let config = self.direct();
        // On our own runtime: whoever calls may be inside another one.
        let (answer, answered) = std::sync::mpsc::channel();
        self.runtime.spawn(async move {
            let done = async {
                let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
                tokio::spawn(connection);
                client.batch_execute(&sql).await
            };
            let _ = answer.send(done.await); // who asked may be gone
        });
        let gone = |_| StackError::io("ask PostgreSQL")(std::io::ErrorKind::BrokenPipe.into());
        Ok(answered.recv().map_err(gone)??)
    }

    /// The names a job file uses.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("REDSHIFT_HOST", self.address.ip().to_string()),
            ("REDSHIFT_PORT", self.address.port().to_string()),
            ("REDSHIFT_DATABASE", DATABASE.into()),
            ("REDSHIFT_USER", USER.into()),
            ("REDSHIFT_PASSWORD", PASSWORD.into()),
            ("REDSHIFT_IAM_ROLE", ROLE.into()),
            ("REDSHIFT_ADMIN_USER", ADMIN.into()),
            ("REDSHIFT_ADMIN_PASSWORD", ADMIN_PASSWORD.into()),
        ]
    }
}

/// A new id in the form of a UUID.
fn namespace() -> String {
    use std::hash::{BuildHasher, RandomState};
    let random = || RandomState::new().hash_one(0);
    let (a, b) = (random(), random());
    format!("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", a >> 32, a >> 16 & 0xffff, a & 0xffff, b >> 48, b & 0xffff_ffff_ffff)
}
