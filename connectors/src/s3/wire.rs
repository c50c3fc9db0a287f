//! The HTTP client below `object_store`, which notes what came of the last request. The crate tells it in a text alone, and that text
//! has the whole body of an answer in it, where AWS repeats the key that was used and what was signed.

use std::{cell::RefCell, pin::Pin};

use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
    },
};

use super::answer::{Came, Refusal, Seen};
use crate::network;

tokio::task_local! {
    static SEEN: RefCell<Option<Seen>>;
}

/// Waits for something, and gives what came of its last request with it.
pub(super) async fn watched<T>(what: impl Future<Output = T>) -> (T, Option<Seen>) {
    SEEN.scope(RefCell::default(), async {
        let result = what.await;
        (result, SEEN.with(RefCell::take))
    })
    .await
}

/// What came of a try. What may have arrived of an earlier one of the same question may still have.
fn note(seen: Seen) {
    let note = |last: &RefCell<Option<Seen>>| {
        let mut last = last.borrow_mut();
        let was_sent = seen.was_sent || last.as_ref().is_some_and(|last| last.was_sent);
        *last = Some(Seen { was_sent, ..seen });
    };
    // Outside of a question nobody wants to know.
    let _ = SEEN.try_with(note);
}

/// Makes clients that are listened to.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Listened(ReqwestConnector::default().connect(options)?)))
    }
}

#[derive(Debug)]
struct Listened(HttpClient);

/// As `async_trait` spells what the trait asks for.
type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl HttpService for Listened {
    fn call<'s, 'a>(&'s self, request: HttpRequest) -> Answer<'a, Result<HttpResponse, HttpError>>
    where
        's: 'a,
        Self: 'a,
    {
        Box::pin(self.ask(request))
    }
}

impl Listened {
    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (is_https, secrets) = (request.uri().scheme_str() == Some("https"), credentials(&request));
        let port = request.uri().port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let host = format!("{}:{port}", request.uri().host().unwrap_or_default());
        let seen = |was_sent, came| Seen { host: host.clone(), is_https, was_sent, came };
        // Only this request says in a good answer what failed.
        let deletes_many = request.uri().query() == Some("delete");
        note(seen(false, Came::Waiting));
        let response = match self.0.execute(request).await {
            Ok(response) => response,
            Err(error) => {
                note(seen(error.kind() != HttpErrorKind::Connect, of_error(&error)));
                return Err(error);
            }
        };
        let status = response.status();
        if status.is_success() && !deletes_many {
            return Ok(response);
        }
        let region = response.headers().get("x-amz-bucket-region").and_then(|region| region.to_str().ok());
        let region = region.map(String::from);
        let (parts, body) = response.into_parts();
        let body = match body.bytes().await {
            Ok(body) => body,
            Err(error) => {
                note(seen(true, of_error(&error)));
                return Err(error);
            }
        };
        let text = String::from_utf8_lossy(&body);
        let refusal = Refusal::read(status.as_u16(), &text).without(&secrets);
        let refusal = Refusal { region: refusal.region.clone().or(region), ..refusal };
        if status.is_success() {
            if text.contains("<Error>") {
                note(seen(true, Came::Refusal(refusal)));
            }
            return Ok(HttpResponse::from_parts(parts, body.into()));
        }
        let line = refusal.line();
        note(seen(true, Came::Refusal(refusal)));
        Ok(HttpResponse::from_parts(parts, line.into()))
    }
}

fn of_error(error: &HttpError) -> Came {
    let why = network::innermost(error);
    match error.kind() {
        HttpErrorKind::Decode | HttpErrorKind::Unknown => Came::Garbage { why },
        _ => Came::Nothing { tls: network::tls_problem(error), why },
    }
}

/// What a request shows of who sends it: the id of the key, the signature, the session token.
fn credentials(request: &HttpRequest) -> Vec<String> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let signed = header("authorization");
    let part = |name: &str| {
        let rest = signed.split_once(name).map_or("", |(_, rest)| rest);
        rest.split(['/', ',']).next().unwrap_or_default().to_string()
    };
    vec![part("Credential="), part("Signature="), header("x-amz-security-token").to_string()]
}
