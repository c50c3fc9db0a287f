//! The region that a bucket is in, as S3 tells whoever asks for it in another one.
//!
//! S3 answers such a request with 301 and without a place to go to, or with 400 where the signature names the region that it does not
//! expect, and in both tells the bucket's own in `x-amz-bucket-region`
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>, PermanentRedirect and AuthorizationHeaderMalformed).
//! `object_store` keeps no header of an answer that is an error, so the answers are looked at on their way to it.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
};

use object_store::{
    ClientOptions,
    client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector},
};

/// Where the bucket is that was asked for in a wrong region, once S3 has said so.
#[derive(Clone, Debug, Default)]
pub(super) struct Told(Arc<OnceLock<String>>);

impl Told {
    /// The region.
    pub(super) fn region(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// Looks at an answer.
    fn look(&self, status: u16, region: Option<&str>) {
        if let (301 | 400, Some(region)) = (status, region) {
            let _ = self.0.set(region.into()); // a bucket has one, and does not move
        }
    }
}

/// The bucket is in another region than the one that it was asked for in.
#[derive(Debug, thiserror::Error)]
#[error(
    "bucket {bucket} is in region {region}, and was asked for in {asked}: write region = \"{region}\" in [staging]"
)]
pub(super) struct WrongRegion {
    pub(super) bucket: String,
    pub(super) region: String,
    pub(super) asked: String,
}

impl HttpConnector for Told {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Looked { client, told: self.clone() }))
    }
}

/// A client whose answers are looked at.
#[derive(Debug)]
struct Looked {
    client: HttpClient,
    told: Told,
}

/// As `async_trait` spells what the trait asks for.
type Answer<'a> = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'a>>;

impl HttpService for Looked {
    fn call<'s, 'a>(&'s self, request: HttpRequest) -> Answer<'a>
    where
        's: 'a,
        Self: 'a,
    {
        Box::pin(async move {
            let answer = self.client.execute(request).await?;
            let region = answer.headers().get("x-amz-bucket-region").and_then(|region| region.to_str().ok());
            self.told.look(answer.status().as_u16(), region);
            Ok(answer)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_told_by_the_answers_to_a_wrong_one() {
        for (status, region, told) in [
            (301, Some("eu-north-1"), Some("eu-north-1")),
            (400, Some("eu-north-1"), Some("eu-north-1")),
            (200, Some("eu-north-1"), None),
            (403, Some("eu-north-1"), None),
            (301, None, None),
        ] {
            let answers = Told::default();
            answers.look(status, region);
            assert_eq!(answers.region(), told, "{status} {region:?}");
        }
    }
}
