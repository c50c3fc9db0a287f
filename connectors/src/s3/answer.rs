//! What came of a request to S3: what it means, in one line, and what to do about it. Pure.
//!
//! The codes are those of the API reference, "Error responses"
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>). The bodies of some of them name the key that was used and
//! the text that was signed; nothing is taken out of a body but code, message and region.

use quick_xml::{Reader, events::Event};

use crate::{Error, Fault, network::TlsProblem};

/// A request, and what came of it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Whom it went to: host and port.
    pub(super) host: String,
    pub(super) is_https: bool,
    /// Whether any try of it may have arrived.
    pub(super) was_sent: bool,
    pub(super) came: Came,
}

#[derive(Clone, Debug)]
pub(super) enum Came {
    /// Nothing so far.
    Waiting,
    /// No answer, for this reason.
    Nothing { why: String, tls: Option<TlsProblem> },
    /// What came is not an answer of HTTP.
    Garbage { why: String },
    /// A refusal.
    Refusal(Refusal),
}

/// An answer that is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// Empty where the body is not one of S3's, which that of HEAD never is.
    pub(super) code: String,
    pub(super) message: String,
    /// The region that the bucket is in, if the answer says so.
    pub(super) region: Option<String>,
}

impl Seen {
    /// The code of a refusal; empty if it has none, or nothing was refused.
    pub(super) fn code(&self) -> &str {
        match &self.came {
            Came::Refusal(refusal) => &refusal.code,
            _ => "",
        }
    }
}

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) verb: &'static str,
    /// `s3://bucket/key`.
    pub(super) url: &'a str,
    pub(super) bucket: &'a str,
    pub(super) prefix: &'a str,
    /// Whether the job file has a key pair; else the environment's own chain gives it.
    pub(super) has_keys: bool,
}

/// The longest message that is shown, in bytes.
const LONGEST: usize = 400;

impl Refusal {
    /// Of the body of an answer. Whatever else stands in it stays there.
    pub(super) fn read(status: u16, body: &str) -> Refusal {
        let mut refusal = Refusal { status, ..Refusal::default() };
        let (mut reader, mut element) = (Reader::from_str(body), String::new());
        // What is not XML ends it, and what was found so far is what there is.
        while let Ok(event) = reader.read_event() {
            match event {
                Event::Start(start) => element = String::from_utf8_lossy(start.local_name().as_ref()).into_owned(),
                Event::End(_) => element.clear(),
                Event::Eof => break,
                Event::Text(text) => {
                    let Ok(text) = text.decode() else { continue };
                    refusal.take(&element, &text);
                }
                Event::GeneralRef(name) => {
                    let name = String::from_utf8_lossy(&name).into_owned();
                    let text = match name.as_str() {
                        "quot" => "\"",
                        "apos" => "'",
                        "amp" => "&",
                        "lt" => "<",
                        "gt" => ">",
                        _ => " ",
                    };
                    refusal.take(&element, text);
                }
                _ => {}
            }
        }
        refusal.message = refusal.message.split_whitespace().collect::<Vec<_>>().join(" ");
        refusal.message.truncate(refusal.message.floor_char_boundary(LONGEST));
        refusal
    }

    fn take(&mut self, element: &str, text: &str) {
        match element {
            // The first of several: the answer to a request for many keys has one for each that failed.
            "Code" if self.code.is_empty() => self.code = text.trim().into(),
            "Message" if self.message.len() < LONGEST => self.message += text,
            "Region" => self.region = Some(text.trim().into()),
            _ => {}
        }
    }

    /// Takes words out that nobody may see: the credentials of the request.
    pub(super) fn without(mut self, secrets: &[String]) -> Refusal {
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            (self.code, self.message) = (self.code.replace(secret, "***"), self.message.replace(secret, "***"));
        }
        self
    }

    /// `403 AccessDenied: Access Denied`.
    pub(super) fn line(&self) -> String {
        let parts = [format!("{} {}", self.status, self.code).trim().to_string(), self.message.clone()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
    }

    fn fault(&self) -> Fault {
        match (self.code.as_str(), self.status) {
            ("PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed", _) | (_, 300..=399) => {
                Fault::Mismatch
            }
            ("RequestTimeout" | "SlowDown" | "InternalError" | "ServiceUnavailable" | "OperationAborted", _) => {
                Fault::Outage
            }
            ("AccessDenied" | "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired", _) | (_, 401 | 403) => {
                Fault::Denied
            }
            ("NoSuchBucket" | "NoSuchKey", _) => Fault::Missing,
            ("InvalidBucketName", _) => Fault::Settings,
            // Some other server: S3's have a code in them.
            ("", 404 | 405 | 501) => Fault::Mismatch,
            (_, 404) => Fault::Missing,
            (_, 408 | 409 | 429 | 500..=599) => Fault::Outage,
            // The same again may be refused again; nobody here knows.
            _ => Fault::Strange,
        }
    }
}

/// The right that a request takes, and what it is a right on.
fn right(asked: &Asked<'_>) -> (&'static str, String) {
    let Asked { bucket, prefix, .. } = asked;
    let below = if prefix.is_empty() { "*".to_string() } else { format!("{prefix}/*") };
    let objects = format!("arn:aws:s3:::{bucket}/{below}");
    match asked.verb {
        "PUT" => ("s3:PutObject", objects),
        "DELETE" => ("s3:DeleteObject", objects),
        "LIST" => ("s3:ListBucket", format!("arn:aws:s3:::{bucket}")),
        _ => ("s3:GetObject", objects),
    }
}

/// What to do about a refusal.
fn remedy(refusal: &Refusal, asked: &Asked<'_>, host: &str) -> Option<String> {
    let key = |name: &'static str, variable: &'static str| if asked.has_keys { name } else { variable };
    Some(match refusal.code.as_str() {
        "InvalidAccessKeyId" | "NotSignedUp" => {
            format!("correct {}", key("`staging.access_key_id`", "AWS_ACCESS_KEY_ID"))
        }
        "SignatureDoesNotMatch" => {
            format!("correct {}", key("`staging.secret_access_key`", "AWS_SECRET_ACCESS_KEY"))
        }
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => "get a new session token".into(),
        "RequestTimeTooSkewed" => "set the clock of this machine".into(),
        "NoSuchBucket" => "make the bucket, or correct `staging.url`".into(),
        "InvalidBucketName" => "correct `staging.url`".into(),
        _ => match (refusal.fault(), &refusal.region) {
            (Fault::Mismatch, Some(region)) => format!("write region = {region:?} in [staging]"),
            (Fault::Mismatch, None) if refusal.code.is_empty() && refusal.status >= 400 => {
                format!("{host} does not answer like S3: correct `staging.endpoint`")
            }
            (Fault::Mismatch, None) => "correct `staging.region`".into(),
            (Fault::Denied, _) => {
                let (action, resource) = right(asked);
                let whom = key(" to the owner of `staging.access_key_id`", "");
                format!("allow {action} on {resource}{whom}")
            }
            _ => return None,
        },
    })
}

/// Whether a host gives credentials and no objects.
fn gives_credentials(host: &str) -> bool {
    host.starts_with("169.254.") || host.starts_with("sts.") || host.starts_with("[fd00:ec2:")
}

/// The error of what was asked for. `library` is told where nothing is known of the last request.
pub(super) fn failed(asked: &Asked<'_>, seen: Option<Seen>, limit_s: u64, library: &str) -> Error {
    let Asked { verb, url, .. } = asked;
    let Some(Seen { host, is_https, came, .. }) = seen else {
        return Error::new(Fault::Outage, format!("S3 {verb} {url}: {library}"));
    };
    let no_credentials = gives_credentials(&host);
    let error = |fault, why: &str| {
        let whose = if no_credentials { format!("no credentials from {host}") } else { host.clone() };
        Error::new(fault, format!("S3 {verb} {url}: {whose}: {why}"))
    };
    let credentials =
        "write `staging.access_key_id` and `staging.secret_access_key`, or give the environment credentials";
    let place = "look at `staging.endpoint`, `staging.region` and the way there";
    match came {
        Came::Refusal(refusal) if no_credentials => error(refusal.fault(), &refusal.line()).remedy(credentials),
        Came::Waiting | Came::Nothing { .. } if no_credentials => error(Fault::Denied, "no answer").remedy(credentials),
        Came::Refusal(refusal) => {
            let error = Error::new(refusal.fault(), format!("S3 {verb} {url}: {}", refusal.line()));
            match remedy(&refusal, asked, &host) {
                Some(remedy) => error.remedy(remedy),
                None => error,
            }
        }
        Came::Nothing { tls: Some(TlsProblem::Plain), .. } => {
            let remedy = format!("write endpoint = \"http://{host}\" in [staging], or let it speak TLS");
            error(Fault::Mismatch, "it does not speak TLS, and `staging.endpoint` begins with https").remedy(remedy)
        }
        Came::Nothing { tls: Some(TlsProblem::Untrusted(why)), .. } => {
            let remedy = "add the authority that signed it to those of this machine (SSL_CERT_FILE names a file of them), or correct \
                          `staging.endpoint`";
            error(Fault::Mismatch, &format!("its certificate is not trusted: {why}")).remedy(remedy)
        }
        Came::Waiting => error(Fault::Outage, &format!("no answer within {limit_s} s")).remedy(place),
        Came::Nothing { why, tls: None } => error(Fault::Outage, &why).remedy(place),
        Came::Garbage { why } => {
            let https = if is_https { "" } else { "; if it speaks TLS, write https in `staging.endpoint`" };
            error(Fault::Outage, &why).remedy(format!("see whether {host} is S3{https}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked<'_> = Asked { verb: "PUT", url: "s3://b/p/k", bucket: "b", prefix: "p", has_keys: true };

    fn of(status: u16, body: &str) -> Error {
        let came = Came::Refusal(Refusal::read(status, body));
        failed(&ASKED, Some(Seen { host: "h:443".into(), is_https: true, was_sent: true, came }), 8, "")
    }

    fn body(code: &str, message: &str, more: &str) -> String {
        format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>")
    }

    #[test]
    fn an_answer_is_one_line_with_its_remedy() {
        for (status, code, message, more, fault, remedy) in [
            (403, "AccessDenied", "Access Denied", "", Fault::Denied, "allow s3:PutObject on arn:aws:s3:::b/p/*"),
            (404, "NoSuchBucket", "The bucket does not exist", "", Fault::Missing, "`staging.url`"),
            (403, "SignatureDoesNotMatch", "No.", "", Fault::Denied, "`staging.secret_access_key`"),
            (403, "InvalidAccessKeyId", "No.", "", Fault::Denied, "`staging.access_key_id`"),
            (400, "ExpiredToken", "No.", "", Fault::Denied, "session token"),
            (403, "RequestTimeTooSkewed", "No.", "", Fault::Denied, "clock"),
            (
                400,
                "AuthorizationHeaderMalformed",
                "the region is wrong",
                "<Region>eu-west-1</Region>",
                Fault::Mismatch,
                "write region = \"eu-west-1\" in [staging]",
            ),
            (301, "PermanentRedirect", "Elsewhere", "", Fault::Mismatch, "`staging.region`"),
            (400, "InvalidBucketName", "The name is not valid", "", Fault::Settings, "`staging.url`"),
            (503, "SlowDown", "Please reduce your request rate.", "", Fault::Outage, ""),
            (400, "InvalidRequest", "What?", "", Fault::Strange, ""),
        ] {
            let error = of(status, &body(code, message, more));
            assert_eq!(error.what, format!("S3 PUT s3://b/p/k: {status} {code}: {message}"));
            assert_eq!(error.fault, fault, "{code}");
            let said = error.remedy.unwrap_or_default();
            assert!(said.contains(remedy) && said.is_empty() == remedy.is_empty(), "{code}: {said}");
        }
    }

    #[test]
    fn an_answer_of_something_else_is_not_one_of_s3() {
        let error = of(404, "<html><body><h1>404 Not Found</h1><hr>nginx</body></html>");
        assert_eq!((error.fault, error.what.as_str()), (Fault::Mismatch, "S3 PUT s3://b/p/k: 404"));
        assert!(error.remedy.unwrap_or_default().contains("`staging.endpoint`"));
        assert_eq!(of(502, "bad gateway").fault, Fault::Outage);
        assert_eq!(of(403, "").fault, Fault::Denied, "HEAD has no body");
    }

    /// The bodies of AWS, as its users post them.
    #[test]
    fn what_a_body_says_of_keys_and_signatures_stays_in_it() {
        let more = "<AWSAccessKeyId>AKIAIOSFODNN7EXAMPLE</AWSAccessKeyId><StringToSign>AWS4-HMAC-SHA256 secret</StringToSign>\
                    <SignatureProvided>abcdef</SignatureProvided><Token-0>FwoGZXIv</Token-0>";
        for code in ["SignatureDoesNotMatch", "InvalidAccessKeyId", "ExpiredToken"] {
            let whole = format!("{:?}", of(403, &body(code, "It&apos;s \"no\" &amp; stays no", more)));
            assert!(whole.contains("It's \\\"no\\\" & stays no"), "{whole}");
            for secret in ["AKIA", "AWS4", "abcdef", "FwoG"] {
                assert!(!whole.contains(secret), "{whole}");
            }
        }
        let told = body("AccessDenied", "AKIAIOSFODNN7EXAMPLE may not", "");
        let refusal = Refusal::read(403, &told).without(&["AKIAIOSFODNN7EXAMPLE".into(), String::new()]);
        assert_eq!(refusal.line(), "403 AccessDenied: *** may not");
    }

    #[test]
    fn who_does_not_answer_is_named() {
        let of = |host: &str, came: Came| {
            let seen = Seen { host: host.into(), is_https: host.ends_with("443"), was_sent: false, came };
            failed(&ASKED, Some(seen), 8, "")
        };
        let refused = of("127.0.0.1:1", Came::Nothing { why: "Connection refused".into(), tls: None });
        assert_eq!(refused.what, "S3 PUT s3://b/p/k: 127.0.0.1:1: Connection refused");
        assert_eq!(of("h:9", Came::Waiting).what, "S3 PUT s3://b/p/k: h:9: no answer within 8 s");
        let plain = of("h:443", Came::Nothing { why: String::new(), tls: Some(TlsProblem::Plain) });
        assert_eq!(plain.fault, Fault::Mismatch);
        assert!(plain.remedy.unwrap_or_default().contains("http://h:443"));
        let alone = of("169.254.169.254:80", Came::Waiting);
        assert_eq!(alone.fault, Fault::Denied);
        assert!(alone.remedy.unwrap_or_default().contains("`staging.access_key_id`"));
    }
}
