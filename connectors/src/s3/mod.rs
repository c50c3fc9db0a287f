//! S3 through `object_store`. [`wire`] listens to its requests, [`answer`] says what came of one.

mod answer;
mod wire;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use object_store::{
    BackoffConfig, ClientOptions, CredentialProvider, ObjectStore, ObjectStoreExt, PutMode, PutOptions, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential},
    path::Path,
};
use reqwest::Url;

use crate::{Error, Fault, Objects, Result, Secret, Trust, background::Background, network};
use answer::{Asked, Came};

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
    /// How long one request may take, its own retries apart: [`REQUEST_WITHIN`].
    pub request_within: Duration,
}

/// One request, its own retries apart, unless somebody has other wishes.
pub const REQUEST_WITHIN: Duration = Duration::from_secs(120);
/// A request with all its retries, unless somebody has other wishes.
pub const RETRIES_WITHIN: Duration = Duration::from_secs(60);
/// The longest that it takes to connect.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// A bucket.
pub struct S3 {
    store: AmazonS3,
    settings: Settings,
    runtime: Background,
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
            for (name, value) in [("access_key_id", &key_id), ("secret_access_key", &secret_key)] {
                if !is_word(value) {
                    let what =
                        format!("`staging.{name}` has a blank, a line break or another character that cannot be in it");
                    let wrong = Box::new(Error::new(Fault::Settings, what));
                    return Err(object_store::Error::Unauthenticated { path: String::new(), source: wrong });
                }
            }
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
                    .with_timeout(settings.request_within)
                    .with_connect_timeout(settings.request_within.min(CONNECT_WITHIN))
                    .with_allow_http(true),
            )
            .with_http_connector(wire::Connector);
        if let Some(region) = &settings.region {
            builder = builder.with_region(region);
        }
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some((id, secret)) = &settings.keys {
            builder = builder.with_credentials(Arc::new(Keys(id.clone(), secret.clone())));
        }
        check_environment(&settings, |key| builder.get_config_value(&key))?;
        let unusable = |e: object_store::Error| {
            let what = format!("[staging]: no S3 client can be made with this: {}", network::innermost(&e));
            Error::new(Fault::Settings, what).because(e)
        };
        let store = builder.build().map_err(unusable)?;
        let runtime = Background::new("s3")?;
        Ok(S3 { store, settings, runtime, rights: Rights::default() })
    }

    fn path(&self, key: &str) -> Result<Path> {
        let whole = match self.settings.prefix.as_str() {
            "" => key.to_string(),
            prefix => format!("{prefix}/{key}"),
        };
        Path::parse(whole).map_err(|e| Error::bug(format!("{key} is not a key")).because(e))
    }
}

/// Whether this is the address of a server, like `https://host:port`; if not, in words.
pub fn check_endpoint(text: &str) -> Result<(), String> {
    let shown = || format!("{text:?} is not the address of a server");
    if text.contains('@') {
        return Err("an address with a user in it".into());
    }
    let url = Url::parse(text).map_err(|_| shown())?;
    let is_whole = matches!(url.scheme(), "http" | "https") && url.has_host();
    let is_more = url.query().is_some() || url.fragment().is_some();
    match is_whole && !is_more && !text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        true => Ok(()),
        false => Err(shown()),
    }
}

/// What the environment says in place of the job file, which has been looked at.
fn check_environment(settings: &Settings, value_of: impl Fn(AmazonS3ConfigKey) -> Option<String>) -> Result<()> {
    use AmazonS3ConfigKey::{AccessKeyId, Endpoint, Region, SecretAccessKey, Token};
    let wrong =
        |what: String| Err(Error::new(Fault::Settings, what).remedy("correct this variable of the environment"));
    if let (None, Some(endpoint)) = (&settings.endpoint, value_of(Endpoint))
        && let Err(why) = check_endpoint(&endpoint)
    {
        return wrong(format!("AWS_ENDPOINT_URL: {why}"));
    }
    // A request has each in a header, where no other characters may be.
    let keys =
        [(AccessKeyId, "AWS_ACCESS_KEY_ID"), (SecretAccessKey, "AWS_SECRET_ACCESS_KEY"), (Token, "AWS_SESSION_TOKEN")];
    let keys = keys.into_iter().filter(|_| settings.keys.is_none());
    let region = settings.region.is_none().then_some((Region, "AWS_REGION"));
    for (key, name) in keys.chain(region) {
        if value_of(key).is_some_and(|value| !is_word(&value)) {
            return wrong(format!("{name}: it has a blank, a line break or another character that cannot be in it"));
        }
    }
    Ok(())
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Why something that was asked for was not given.
struct Refused {
    /// An object of this name is there, or being written.
    is_there: bool,
    /// None is.
    is_absent: bool,
    /// It may have arrived all the same.
    was_sent: bool,
    error: Error,
}

/// The questions of the port, each with a deadline over all its tries.
impl S3 {
    /// Asks for something. `url` is what it is about.
    fn ask<T>(
        &self,
        (verb, url): (&'static str, &str),
        answer: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Box<Refused>> {
        let Settings { bucket, prefix, keys, retries_within, request_within, .. } = &self.settings;
        let limit = *retries_within + *request_within;
        let asked = Asked { verb, url, bucket, prefix, has_keys: keys.is_some() };
        let limited = async { tokio::time::timeout(limit, answer).await };
        let (answer, seen) = self.runtime.block_on(wire::watched(limited));
        let limit_s = limit.as_secs();
        let was_sent = seen.as_ref().is_none_or(|seen| seen.was_sent || matches!(seen.came, Came::Waiting));
        let refused = |is_there, is_absent, error| Err(Box::new(Refused { is_there, is_absent, was_sent, error }));
        match answer {
            Ok(Ok(value)) => Ok(value),
            Err(_) => refused(false, false, answer::failed(&asked, seen, limit_s, "no answer")),
            Ok(Err(e)) => {
                use object_store::Error::{AlreadyExists, NotFound};
                let code = seen.as_ref().map_or("", |seen| seen.code());
                // Of a bucket that is not there, and of a server that is not S3, it is not known which objects there are.
                let is_known = if verb == "HEAD" { code.is_empty() } else { code == "NoSuchKey" };
                let (is_there, is_absent) =
                    (matches!(e, AlreadyExists { .. }), matches!(e, NotFound { .. }) && is_known);
                // Nothing was sent: a secret that cannot be read.
                let unread = network::chain(&e).find_map(|e| e.downcast_ref::<Error>());
                let error = match unread {
                    Some(unread) => Error::new(unread.fault, format!("S3 {verb} {url}: {unread}")),
                    None => answer::failed(&asked, seen, limit_s, &network::innermost(&e)),
                };
                refused(is_there, is_absent, error.because(e))
            }
        }
    }
}

/// An error of a request that changes something. One that was answered did nothing, and one that was not sent; another may have.
fn wrote(refused: Refused) -> Error {
    let Refused { was_sent, error, .. } = refused;
    if was_sent && error.is_retriable() { error.unknown() } else { error }
}

/// The calls themselves.
impl S3 {
    fn try_put(&self, key: &str, body: Bytes) -> Result<()> {
        let (path, length, url) = (self.path(key)?, body.len() as u64, self.url(key));
        let options = PutOptions::from(PutMode::Create);
        let refused = match self.ask(("PUT", &url), self.store.put_opts(&path, body.into(), options)) {
            Ok(_) => return Ok(()),
            Err(refused) => refused,
        };
        if !refused.is_there {
            return Err(wrote(*refused));
        }
        // Nobody else uses this key, so it is our own earlier try, whose answer was lost. If it is whole.
        let found = match self.ask(("HEAD", &url), self.store.head(&path)) {
            Ok(found) => found,
            // It is not: the crate says the same of a 409, which is a write of the same key that is under way.
            Err(absent) if absent.is_absent => {
                let error = Error { fault: Fault::Outage, ..refused.error };
                return Err(error.unknown());
            }
            Err(refused) => return Err(refused.error.unknown()),
        };
        if found.size == length {
            return Ok(());
        }
        Err(Error::bug(format!("{url} exists with {} bytes instead of {length}", found.size)))
    }

    fn try_get(&self, key: &str) -> Result<Option<Bytes>> {
        let (path, url) = (self.path(key)?, self.url(key));
        match self.ask(("GET", &url), async { self.store.get(&path).await?.bytes().await }) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(refused) if refused.is_absent => Ok(None),
            Err(refused) => Err(refused.error),
        }
    }

    fn try_delete(&self, keys: &[&str]) -> Result<()> {
        let paths = keys.iter().map(|key| self.path(key)).collect::<Result<Vec<Path>>>()?;
        let more = if keys.len() > 1 { format!(" and {} more", keys.len() - 1) } else { String::new() };
        let url = keys.first().map_or(String::new(), |key| self.url(key)) + &more;
        // A thousand keys a request, each answered for itself.
        let mut answers = self.store.delete_stream(futures::stream::iter(paths.into_iter().map(Ok)).boxed());
        loop {
            match self.ask(("DELETE", &url), async { answers.next().await.transpose() }) {
                Ok(None) => return Ok(()),
                Ok(Some(_)) => {}
                Err(refused) if refused.is_absent => {}
                Err(refused) => return Err(wrote(*refused)),
            }
        }
    }

    fn try_list(&self, folder: &str, each: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        let (path, url) = (self.path(folder)?, self.url(folder));
        let mut found = self.store.list(Some(&path));
        loop {
            let object = self.ask(("LIST", &url), async { found.next().await.transpose() });
            let Some(object) = object.map_err(|refused| refused.error)? else { return Ok(()) };
            let key = object.location.as_ref();
            let key = key.strip_prefix(&self.settings.prefix).unwrap_or(key);
            each(key.trim_start_matches('/'))?;
        }
    }

    fn try_children(&self, folder: &str) -> Result<Vec<String>> {
        let (path, url) = (self.path(folder)?, self.url(folder));
        let found = self.ask(("LIST", &url), self.store.list_with_delimiter(Some(&path)));
        let found = found.map_err(|refused| refused.error)?;
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
