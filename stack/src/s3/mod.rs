//! An S3 server in this process: the `s3s` crate's protocol over a store of our own.
//!
//! Two key pairs open it: the owner's may do everything, the reader's (which stands for the IAM role that Redshift
//! assumes) may only read. A request is signed for a region, and a bucket is in one; where these differ the server answers as that of
//! a wrong region does.

mod store;

use std::{net::SocketAddr, sync::Arc};

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use reqwest::header::HeaderMap;
use s3s::{
    S3Error, S3ErrorCode, S3Result,
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

/// The region of the bucket that it begins with, and of the cluster that reads from it.
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
        let store = Arc::new(Store::default());
        store.make_bucket(bucket, REGION);
        let owner = Keys { id: "TIDEGATEOWNER".into(), secret: "local-stack-owner-secret".into() };
        let reader = Keys { id: "TIDEGATEROLE".into(), secret: "local-stack-role-secret".into() };
        let mut auth = SimpleAuth::from_single(owner.id.as_str(), owner.secret.as_str());
        auth.register(reader.id.clone(), reader.secret.as_str().into());
        let mut service = S3ServiceBuilder::new(store::Shared(store.clone()));
        service.set_auth(auth);
        service.set_access(Rules { reader: reader.id.clone(), store: store.clone() });
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
    pub fn store(&self) -> &Arc<Store> {
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

/// What is asked of a request before it is served: a bucket is reached in its own region alone; the reader's key may get, head and list,
/// and nothing else; nobody without a key gets anything.
struct Rules {
    reader: String,
    store: Arc<Store>,
}

#[async_trait::async_trait]
impl S3Access for Rules {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let bucket = context.s3_path().as_bucket().or_else(|| context.s3_path().as_object().map(|(bucket, _)| bucket));
        if let (Some(signed), Some(region)) =
            (signed_region(context.headers()), bucket.and_then(|bucket| self.store.region(bucket)))
            && signed != region
        {
            return Err(elsewhere(&region));
        }
        let Some(credentials) = context.credentials() else { return Err(s3_error!(AccessDenied, "Access Denied")) };
        let reads = matches!(context.s3_op().name(), "GetObject" | "HeadObject" | "HeadBucket" | "ListObjectsV2");
        if credentials.access_key == self.reader && !reads {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        Ok(())
    }
}

/// The region that a signature of version 4 is for: `Credential=<key>/<day>/<region>/s3/aws4_request`.
fn signed_region(headers: &HeaderMap) -> Option<&str> {
    let (_, scope) = headers.get("authorization")?.to_str().ok()?.split_once("Credential=")?;
    scope.split('/').nth(2)
}

/// The answer of the endpoint of another region: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>, PermanentRedirect,
/// with the header by which HeadBucket tells the right one.
fn elsewhere(region: &str) -> S3Error {
    let message = "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future \
                   requests to this endpoint.";
    let mut error = S3Error::with_message(S3ErrorCode::PermanentRedirect, message);
    let mut headers = HeaderMap::new();
    if let Ok(region) = region.parse() {
        headers.insert("x-amz-bucket-region", region);
    }
    error.set_headers(headers);
    error
}
