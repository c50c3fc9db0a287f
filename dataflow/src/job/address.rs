//! Names of other systems, as far as a job file can be wrong about them before anybody is asked. Pure: what is wrong, in words, and the
//! remedy. A text that may have a password in it is not in them.

use super::{findings::Findings, reader::Placed};

/// What is wrong with a text, and what to do about it.
pub type Wrong = (String, &'static str);

/// The text, with a finding if it is wrong.
pub fn judged(findings: &mut Findings, text: Placed<String>, judge: impl Fn(&str) -> Result<(), Wrong>) -> String {
    if let Err((what, help)) = judge(&text.value) {
        findings.add(text.span, what, help);
    }
    text.value
}

/// The same where somebody may have written a password.
pub fn judged_in_secret(
    findings: &mut Findings,
    text: Placed<String>,
    judge: impl Fn(&str) -> Result<(), Wrong>,
) -> String {
    let before = findings.0.len();
    let value = judged(findings, text, judge);
    let may_be_secret = value.contains(['@', '/']);
    findings.0[before..].iter_mut().filter(|_| may_be_secret).for_each(|found| found.hidden = Some(found.span.clone()));
    value
}

/// What clients take before the address of a broker.
const LISTENERS: [&str; 4] = ["PLAINTEXT://", "SSL://", "SASL_PLAINTEXT://", "SASL_SSL://"];

/// `host:port,host:port`, as librdkafka reads it.
pub fn brokers(text: &str) -> Result<(), Wrong> {
    const HELP: &str = "write it like host:9092,host:9092";
    for one in text.split(',').map(str::trim) {
        let address = LISTENERS.iter().find_map(|listener| one.strip_prefix(listener)).unwrap_or(one);
        if address.contains("://") || address.contains('@') {
            return Err(("`brokers` are hosts and ports, and not URLs".into(), HELP));
        }
        let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => address.rsplit_once(':').map_or((address, None), |(host, port)| (host, Some(port))),
        };
        if !is_host(host) {
            return Err((format!("`brokers`: {one:?} does not begin with the name of a host"), HELP));
        }
        if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
            return Err((format!("`brokers`: the port of {one:?} is not a number from 1 to 65535"), HELP));
        }
    }
    Ok(())
}

/// The name of one host.
pub fn host(text: &str) -> Result<(), Wrong> {
    const HELP: &str = "write the name of the host alone, like name.abc.eu-central-1.redshift.amazonaws.com";
    if text.contains("://") || text.contains('@') || text.contains('/') {
        return Err(("`host` is the name of a host, and not a URL".into(), HELP));
    }
    match text.rsplit_once(':') {
        Some((name, port)) if is_host(name) && !name.contains(':') && port.parse::<u16>().is_ok() => {
            Err((format!("`host`: {text:?} has a port in it"), "write the name alone, and the port as `port`"))
        }
        _ if is_host(text) => Ok(()),
        _ => Err((format!("`host`: {text:?} is not the name of a host"), HELP)),
    }
}

/// A name or an address, also one of IPv6.
fn is_host(text: &str) -> bool {
    let is_name = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    is_name || text.parse::<std::net::Ipv6Addr>().is_ok()
}

/// The name of a region.
pub fn region(text: &str) -> Result<(), Wrong> {
    let is_region = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    let what = || (format!("`region`: {text:?} is not the name of a region"), "write it like eu-central-1");
    if is_region { Ok(()) } else { Err(what()) }
}

/// The name of a bucket, also by the older rules and those of other servers.
pub fn is_bucket(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// Whether what stands after the bucket has whole parts only, of characters that are shown: a store takes `..` by its word, and others go
/// up there.
pub fn is_prefix(prefix: &str) -> bool {
    let is_part = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(char::is_control);
    prefix.is_empty() || prefix.split('/').all(is_part)
}

/// The role that Redshift reads as.
pub fn role(text: &str) -> Result<(), Wrong> {
    let is_role =
        |role: &str| role.starts_with("arn:") && !role.contains(|c: char| c.is_whitespace() || c.is_control());
    let help = "write its ARN, like arn:aws:iam::123456789012:role/loader; several with commas and without blanks";
    if text.split(',').all(is_role) { Ok(()) } else { Err((format!("`iam_role`: {text:?} is not a role"), help)) }
}

/// The name of a schema, a database or a user. `what` is its key.
pub fn identifier(what: &str, text: &str) -> Result<(), Wrong> {
    let help = "write a name of 1 to 127 bytes";
    if text.is_empty() || text.len() > 127 || text.contains(char::is_control) {
        return Err((format!("`{what}`: {text:?} is not a name"), help));
    }
    match what == "schema" && text.to_lowercase().starts_with("pg_") {
        true => {
            Err((format!("`{what}`: {text:?} is a name of Redshift's own"), "write one that does not begin with pg_"))
        }
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_address() {
        for good in ["h:9092", "h", "a.b-c:1, d_e:65535", "[::1]:9092", "SASL_SSL://h:9", "10.0.0.1:9092"] {
            assert_eq!(brokers(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "h:",
            "h:0",
            "h:99999",
            "h:abc",
            "h 9092",
            "http://h:9092",
            "h:1,,",
            "h:1,",
            "h\n:1",
            "u:p@h:1",
            "[::1:9",
        ] {
            assert!(brokers(bad).is_err(), "{bad}");
        }
        for good in ["h", "a.b-c", "::1", "127.0.0.1", "name.eu-central-1.redshift.amazonaws.com"] {
            assert_eq!(host(good), Ok(()), "{good}");
        }
        for bad in ["", "h:5439", "jdbc:redshift://u:secret@h/d", "h\n", "a b", "h/d", "u:secret@h"] {
            let (what, help) = host(bad).unwrap_err();
            assert!(!what.contains("secret") && !help.is_empty(), "{bad}: {what}");
        }
        assert!(host("h:5439").unwrap_err().1.contains("`port`"));
        assert!(
            region("eu-central-1").is_ok()
                && ["", "US East 1", "us-east-1\n", "us-east-1 "].map(region).iter().all(Result::is_err)
        );
        assert!(
            is_bucket("a.b-c") && is_bucket("B_ucket") && !["", "tide gate", "b:80", "b\n"].into_iter().any(is_bucket)
        );
        assert!(
            is_prefix("")
                && is_prefix("a/b c")
                && !["/", "a//b", "..", "a/./b", "a\tb", "a\n"].into_iter().any(is_prefix)
        );
        assert!(role("arn:aws:iam::1:role/a,arn:aws:iam::2:role/b").is_ok());
        assert!(["", "not-an-arn", "arn:a, arn:b", "arn:a\n"].map(role).iter().all(Result::is_err));
        assert!(identifier("schema", "tidegate").is_ok() && identifier("user", "pg_x").is_ok());
        let bad = [("schema", ""), ("schema", "PG_x"), ("user", "a\0b"), ("database", "")];
        assert!(bad.into_iter().all(|(what, text)| identifier(what, text).is_err()));
        assert!(identifier("schema", &"s".repeat(128)).is_err());
    }
}
