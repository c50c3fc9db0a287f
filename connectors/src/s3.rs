//! S3 through `object_store`.

mod region;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use object_store::{
    BackoffConfig, ClientOptions, CredentialProvider, ObjectStore, ObjectStoreExt, PutMode, PutOptions, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential},
    path::Path,
};
use region::{Told, WrongRegion};

use crate::{Error, Fault, Objects, Result, Secret, Trust};

/// Where objects go, and by whose right. Without a key pair the usual chain decides (environment, web identity, instance).
#[derive(Clone, Debug)]
pub struct Settings {
    /// The bucket.
    pub bucket: String,
    /// What comes before every key; empty, or ends without a slash.
    pub prefix: String,
    /// The bucket's region.
    pub region: Option<String>,
    /// `http://host:port` of another server that speaks S3's protocol.
    pub endpoint: Option<String>,
    /// Access key id and secret access key.
    pub keys: Option<(Secret, Secret)>,
    /// How long a request is tried again: [`RETRIES_WITHIN`].
    pub retries_within: Duration,
}

/// One request, its own retries apart.
const REQUEST_WITHIN: Duration = Duration::from_secs(120);
/// A request with all its retries, unless somebody has other wishes.
pub const RETRIES_WITHIN: Duration = Duration::from_secs(60);

/// A bucket.
pub struct S3 {
    store: AmazonS3,
    settings: Settings,
    runtime: tokio::runtime::Runtime,
    /// The region in which the bucket is asked for, and the one that S3 has said it is in, if that is another.
    region: (String, Told),
    /// A right for each verb.
    rights: Rights,
}

/// What was allowed before.
#[derive(Default)]
struct Rights {
    put: Trust,
    get: Trust,
    delete: Trust,
    list: Trust,
}

/// The key pair, read for each request.
#[derive(Debug)]
struct Keys(Secret, Secret);

/// As `async_trait` spells what the trait asks for.
type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl CredentialProvider for Keys {
    type Credential = AwsCredential;

    fn get_credential<'s, 'a>(&'s self) -> Answer<'a, object_store::Result<Arc<AwsCredential>>>
    where
        's: 'a,
        Self: 'a,
    {
        let read = |secret: &Secret| {
            let unread = |e: Error| object_store::Error::Unauthenticated { path: String::new(), source: Box::new(e) };
            secret.read().map_err(unread)
        };
        Box::pin(async move {
            let (key_id, secret_key) = (read(&self.0)?, read(&self.1)?);
            Ok(Arc::new(AwsCredential { key_id, secret_key, token: None }))
        })
    }
}

impl S3 {
    /// No connection is made yet.
    pub fn new(settings: Settings) -> Result<S3> {
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&settings.bucket)
            .with_retry(RetryConfig {
                max_retries: 10,
                retry_timeout: settings.retries_within,
                backoff: BackoffConfig::default(),
            })
            .with_client_options(
                ClientOptions::new()
                    .with_timeout(REQUEST_WITHIN)
                    .with_connect_timeout(Duration::from_secs(10))
                    .with_allow_http(true),
            );
        if let Some(region) = &settings.region {
            builder = builder.with_region(region);
        }
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some((id, secret)) = &settings.keys {
            builder = builder.with_credentials(Arc::new(Keys(id.clone(), secret.clone())));
        }
        // Without any it is the crate's own.
        let asked = builder.get_config_value(&AmazonS3ConfigKey::Region).unwrap_or_else(|| "us-east-1".into());
        let told = Told::default();
        builder = builder.with_http_connector(told.clone());
        let store = builder.build().map_err(|e| Error::new(Fault::Refused, "cannot make an S3 client").because(e))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("s3")
            .enable_all()
            .build()
            .map_err(|e| Error::bug("cannot start the S3 client").because(e))?;
        Ok(S3 { store, settings, runtime, region: (asked, told), rights: Rights::default() })
    }

    fn path(&self, key: &str) -> Result<Path> {
        let whole = match self.settings.prefix.as_str() {
            "" => key.to_string(),
            prefix => format!("{prefix}/{key}"),
        };
        Path::parse(whole).map_err(|e| Error::bug(format!("{key} is not a key")).because(e))
    }

    /// The error of a request. What was asked for in a wrong region did not happen.
    fn failed(&self, what: String, error: object_store::Error) -> Error {
        let (asked, told) = &self.region;
        match told.region().filter(|region| region != asked) {
            None => answered(what, error),
            Some(region) => {
                let bucket = self.settings.bucket.clone();
                let wrong = WrongRegion { bucket, region: region.into(), asked: asked.clone() };
                Error::new(Fault::Settings, what).because(wrong)
            }
        }
    }
}

/// The status of the answer that caused an error, if there was one. The crate keeps its type to itself, so its text must do.
fn status(error: &object_store::Error) -> Option<u16> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if let Some((_, rest)) = text.split_once("status code: ") {
            return rest.get(..3)?.parse().ok();
        }
        cause = error.source();
    }
    None
}

/// What an error of S3 means, unless the region is wrong.
fn answered(what: String, error: object_store::Error) -> Error {
    use object_store::Error::*;
    let fault = match &error {
        NotFound { .. } => Fault::Missing,
        PermissionDenied { .. } | Unauthenticated { .. } => Fault::Denied,
        InvalidPath { .. } | NotSupported { .. } | UnknownConfigurationKey { .. } => Fault::Refused,
        // An answer to a listing is not sorted out by the crate.
        other => match status(other) {
            Some(401 | 403) => Fault::Denied,
            Some(404) => Fault::Missing,
            _ => Fault::Outage,
        },
    };
    Error::new(fault, what).because(error)
}

/// An error of a request that changes something. One that was answered did nothing; one that was not may have.
fn wrote(error: Error) -> Error {
    if error.is_retriable() { error.unknown() } else { error }
}

/// The calls themselves.
impl S3 {
    fn try_put(&self, key: &str, body: Bytes) -> Result<()> {
        let (path, length) = (self.path(key)?, body.len() as u64);
        let what = || format!("cannot write {}", self.url(key));
        let options = PutOptions::from(PutMode::Create);
        match self.runtime.block_on(self.store.put_opts(&path, body.into(), options)) {
            Ok(_) => Ok(()),
            // Nobody else uses this key, so it is our own earlier try, whose answer was lost. If it is whole.
            Err(object_store::Error::AlreadyExists { .. }) => {
                let found = match self.runtime.block_on(self.store.head(&path)) {
                    // It is not: the crate says the same of a 409, which is a write of the same key that is under way.
                    Err(e @ object_store::Error::NotFound { .. }) => {
                        return Err(Error::new(Fault::Outage, what()).because(e).unknown());
                    }
                    other => other.map_err(|e| self.failed(what(), e).unknown())?,
                };
                if found.size == length {
                    return Ok(());
                }
                Err(Error::bug(format!("{} exists with {} bytes instead of {length}", self.url(key), found.size)))
            }
            Err(e) => Err(wrote(self.failed(what(), e))),
        }
    }

    fn try_get(&self, key: &str) -> Result<Option<Bytes>> {
        let path = self.path(key)?;
        let read = async { self.store.get(&path).await?.bytes().await };
        match self.runtime.block_on(read) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(self.failed(format!("cannot read {}", self.url(key)), e)),
        }
    }

    fn try_delete(&self, keys: &[&str]) -> Result<()> {
        let paths = keys.iter().map(|key| self.path(key)).collect::<Result<Vec<Path>>>()?;
        // A thousand keys a request, each answered for itself.
        let mut answers = self.store.delete_stream(futures::stream::iter(paths.into_iter().map(Ok)).boxed());
        while let Some(answer) = self.runtime.block_on(answers.next()) {
            match answer {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(e) => {
                    let more = if keys.len() > 1 { format!(" and {} more", keys.len() - 1) } else { String::new() };
                    let first = keys.first().map_or(String::new(), |key| self.url(key));
                    return Err(wrote(self.failed(format!("cannot delete {first}{more}"), e)));
                }
            }
        }
        Ok(())
    }

    fn try_list(&self, folder: &str, each: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        let path = self.path(folder)?;
        let what = || format!("cannot list {}", self.url(folder));
        let mut found = self.store.list(Some(&path));
        while let Some(object) = self.runtime.block_on(found.next()) {
            let location = object.map_err(|e| self.failed(what(), e))?.location;
            let key = location.as_ref().strip_prefix(&self.settings.prefix).unwrap_or(location.as_ref());
            each(key.trim_start_matches('/'))?;
        }
        Ok(())
    }

    fn try_children(&self, folder: &str) -> Result<Vec<String>> {
        let path = self.path(folder)?;
        let found = self
            .runtime
            .block_on(self.store.list_with_delimiter(Some(&path)))
            .map_err(|e| self.failed(format!("cannot list {}", self.url(folder)), e))?;
        let objects = found.objects.iter().filter_map(|object| object.location.filename()).map(String::from);
        let folders =
            found.common_prefixes.iter().filter_map(|prefix| prefix.filename()).map(|name| format!("{name}/"));
        let mut names: Vec<String> = objects.chain(folders).collect();
        names.sort();
        Ok(names)
    }
}

impl Objects for S3 {
    fn put(&self, key: &str, body: Bytes) -> Result<()> {
        self.rights.put.judge(self.try_put(key, body))
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.rights.get.judge(self.try_get(key))
    }

    fn delete(&self, keys: &[&str]) -> Result<()> {
        self.rights.delete.judge(self.try_delete(keys))
    }

    fn list(&self, folder: &str, each: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        self.rights.list.judge(self.try_list(folder, each))
    }

    fn children(&self, folder: &str) -> Result<Vec<String>> {
        self.rights.list.judge(self.try_children(folder))
    }

    fn url(&self, key: &str) -> String {
        match self.settings.prefix.as_str() {
            "" => format!("s3://{}/{key}", self.settings.bucket),
            prefix => format!("s3://{}/{prefix}/{key}", self.settings.bucket),
        }
    }
}
