//! An S3 server in this process: the `s3s` crate's protocol over a store of our own.
//!
//! Two key pairs open it: the owner's may do everything, the reader's (which stands for the IAM role that Redshift
//! assumes) may only read.

mod store;

use std::{net::SocketAddr, sync::Arc};

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use s3s::{
    S3Result,
    access::{S3Access, S3AccessContext},
    auth::SimpleAuth,
    s3_error,
    service::S3ServiceBuilder,
};

use crate::error::{Result, StackError};
pub use store::Store;

/// A key pair.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Access key id.
    pub id: String,
    /// Secret access key.
    pub secret: String,
}

/// A running S3 server with one bucket.
pub struct S3 {
    address: SocketAddr,
    bucket: String,
    store: Arc<Store>,
    owner: Keys,
    reader: Keys,
    _runtime: tokio::runtime::Runtime,
}

/// The region that the server says it is in.
pub const REGION: &str = "us-east-1";

impl S3 {
    /// Serves a new bucket on a free loopback port.
    pub fn start(bucket: &str) -> Result<S3> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("s3")
            .enable_all()
            .build()
            .map_err(StackError::io("start the S3 server"))?;
        let store = Arc::new(Store::with_bucket(bucket));
        let owner = Keys { id: "TIDEGATEOWNER".into(), secret: "local-stack-owner-secret".into() };
        let reader = Keys { id: "TIDEGATEROLE".into(), secret: "local-stack-role-secret".into() };
        let mut auth = SimpleAuth::from_single(owner.id.as_str(), owner.secret.as_str());
        auth.register(reader.id.clone(), reader.secret.as_str().into());
        let mut service = S3ServiceBuilder::new(store::Shared(store.clone()));
        service.set_auth(auth);
        service.set_access(ReaderReads(reader.id.clone()));
        let service = service.build();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .map_err(StackError::io("listen for S3 requests"))?;
        let address = listener.local_addr().map_err(StackError::io("listen for S3 requests"))?;
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                let _ = socket.set_nodelay(true);
                tokio::spawn(async move {
                    Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await
                });
            }
        });
        Ok(S3 { address, bucket: bucket.into(), store, owner, reader, _runtime: runtime })
    }

    /// `http://host:port`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What it holds, for tests that look or tamper.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Keys that may do everything.
    pub fn owner(&self) -> &Keys {
        &self.owner
    }

    /// Keys that may only read.
    pub fn reader(&self) -> &Keys {
        &self.reader
    }

    /// The names a job file uses.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("S3_ENDPOINT", self.endpoint()),
            ("S3_BUCKET", self.bucket.clone()),
            ("AWS_ACCESS_KEY_ID", self.owner.id.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.owner.secret.clone()),
            ("AWS_REGION", REGION.into()),
        ]
    }
}

/// Lets the reader's key get, head and list, and nothing else; nobody without a key gets anything.
struct ReaderReads(String);

#[async_trait::async_trait]
impl S3Access for ReaderReads {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let Some(credentials) = context.credentials() else { return Err(s3_error!(AccessDenied, "Access Denied")) };
        let reads = matches!(context.s3_op().name(), "GetObject" | "HeadObject" | "HeadBucket" | "ListObjectsV2");
        if credentials.access_key == self.0 && !reads {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        Ok(())
    }
}
