//! Why a connection could not be made, in a few words. The innermost cause tells it; those around it repeat it.

use std::error::Error as StdError;

use openssl::error::ErrorStack;

/// What TLS says of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TlsProblem {
    /// It does not speak TLS.
    Plain,
    /// Its certificate is not trusted, for this reason.
    Untrusted(String),
}

/// The library of OpenSSL whose codes these are (`ERR_LIB_SSL`), ...
const OF_SSL: i32 = 20;
/// ... a certificate that is not trusted (`SSL_R_CERTIFICATE_VERIFY_FAILED`), ...
const UNTRUSTED: i32 = 134;
/// ... and what comes of bytes that are not TLS: `SSL_R_PACKET_LENGTH_TOO_LONG`, `SSL_R_WRONG_VERSION_NUMBER`, `SSL_R_RECORD_LAYER_FAILURE`,
/// `SSL_R_BAD_RECORD_TYPE`.
const NOT_TLS: [i32; 4] = [198, 267, 313, 443];

/// An error and those below it.
pub(crate) fn chain<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// What an error says of TLS, if it is one of TLS.
pub(crate) fn tls_problem(error: &(dyn StdError + 'static)) -> Option<TlsProblem> {
    let stacks = chain(error).filter_map(|error| error.downcast_ref::<ErrorStack>());
    let mut reasons =
        stacks.flat_map(ErrorStack::errors).filter(|e| e.library_code() == OF_SSL).map(|e| e.reason_code());
    reasons.find_map(|reason| match reason {
        UNTRUSTED => Some(TlsProblem::Untrusted(why_untrusted(error))),
        reason if NOT_TLS.contains(&reason) => Some(TlsProblem::Plain),
        _ => None,
    })
}

/// The result of the verification stands at the end of what OpenSSL's wrappers print, and nowhere else.
fn why_untrusted(error: &(dyn StdError + 'static)) -> String {
    let said = chain(error).map(|error| error.to_string()).find(|text| text.contains("certificate verify failed"));
    let said = said.unwrap_or_default();
    let last = said.rsplit(": ").next().unwrap_or_default();
    last.trim_matches(|c: char| "() ".contains(c)).to_string()
}

/// What the innermost cause says. An error of OpenSSL is told by its reason alone.
pub(crate) fn innermost(error: &(dyn StdError + 'static)) -> String {
    let last = chain(error).last().unwrap_or(error);
    let reason = last.downcast_ref::<ErrorStack>().and_then(|stack| stack.errors().first()?.reason());
    reason.map_or_else(|| last.to_string(), |reason| format!("TLS: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer: {0}")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn the_innermost_cause_tells_it() {
        let error = Outer(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        assert_eq!(innermost(&error), "connection refused");
        assert_eq!(tls_problem(&error), None);
    }
}
