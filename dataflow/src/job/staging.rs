//! `[staging]`: where files wait for their load.

use connectors::s3::check_endpoint;
use operators::sink::encode::Compression;

use super::{address, elsewhere::Secret, findings::Findings, reader::Section};

/// How an endpoint is written.
const ENDPOINT: &str = "write it like https://host:port";

/// Where files wait.
#[derive(Clone, Debug)]
pub struct StagingOptions {
    /// The bucket.
    pub bucket: String,
    /// The prefix, without a slash at its end; may be empty.
    pub prefix: String,
    /// The region of the bucket.
    pub region: Option<String>,
    /// Another server that speaks S3's protocol.
    pub endpoint: Option<String>,
    /// Access key id and secret access key; without them object_store's own chain decides.
    pub keys: Option<(Secret, Secret)>,
    /// The compression of the Parquet files.
    pub compression: Compression,
    /// The size at which a file is closed.
    pub file_bytes: u64,
}

/// Its section.
pub fn read(mut staging: Section<'_>, findings: &mut Findings) -> Option<StagingOptions> {
    let url = staging.text(findings, "url");
    let place = url.and_then(|url| {
        let rest = url.value.strip_prefix("s3://").map(|rest| rest.trim_end_matches('/'));
        match rest.map(|rest| rest.split_once('/').unwrap_or((rest, ""))) {
            Some((bucket, prefix)) if address::is_bucket(bucket) && address::is_prefix(prefix) => {
                Some((bucket.to_string(), prefix.to_string()))
            }
            _ => {
                findings.add(
                    url.span,
                    format!("{:?} is not a place on S3", url.value),
                    "write it like s3://bucket/prefix: a name of letters, digits, `.`, `_` and `-`, and a prefix without empty parts, `.`, `..` \
                     and characters that are not shown",
                );
                None
            }
        }
    });
    let (id, secret) = (staging.secret(findings, "access_key_id"), staging.secret(findings, "secret_access_key"));
    if id.is_some() != secret.is_some() {
        findings.add(
            staging.span(),
            "`access_key_id` and `secret_access_key` go together, and one of them is missing",
            "add the other one, or remove this one: then the environment's own chain is used",
        );
    }
    let compressions: Vec<_> = Compression::ALL.iter().map(|compression| (compression.word(), *compression)).collect();
    let compression = staging.one_of(findings, "compression", &compressions);
    let file_bytes = staging.size(findings, "file_size");
    let region = staging.text(findings, "region").map(|region| address::judged(findings, region, address::region));
    let endpoint = staging.text(findings, "endpoint").map(|endpoint| {
        address::judged(findings, endpoint, |text| {
            check_endpoint(text).map_err(|why| (format!("`endpoint`: {why}"), ENDPOINT))
        })
    });
    staging.finish(findings);
    let (bucket, prefix) = place?;
    Some(StagingOptions {
        bucket,
        prefix,
        region,
        endpoint,
        keys: id.zip(secret),
        compression: compression?,
        file_bytes: file_bytes?.value,
    })
}
