//! What an error of Redshift means: a later try may pass, or it is of no use.
//!
//! The fence makes everything before COMMIT safe to try again, so the list below says only what is *useless*, and everything that is
//! not in it is tried again. What is known to pass by itself ([`Fault::Outage`]) is tried for long; an answer that is in neither
//! list ([`Fault::Strange`]) until it was the same for a while.
//!
//! Redshift has few codes of its own: nearly everything internal is `XX000` with a block of detail, in which `code:` has the number.
//! So code comes first, and text only where there is no code. Sources: the tables of error codes of the developer guide
//! (<https://docs.aws.amazon.com/redshift/latest/dg/r_Load_Error_Reference.html>), its page on
//! [serializable isolation](https://docs.aws.amazon.com/redshift/latest/dg/c_serial_isolation.html), and for texts the threads named
//! beside them.

use crate::Fault;

/// Texts of errors that pass by themselves, beside what their codes say. Compared without case.
const PASSING: &[&str] = &[
    // Conflicts with other transactions: developer guide, "Managing concurrent write operations".
    "serializable isolation violation",
    "deadlock detected",
    "could not complete because of conflict with concurrent transaction",
    // S3 for COPY: re:Post threads on "S3 Query Exception (Fetch)"; "Reduce your request rate" is S3's 503.
    "s3 query exception",
    "s3serviceexception:please reduce your request rate",
    "status 500",
    "status 503",
    "slowdown",
    "internalerror",
    "could not connect to",
    "connection reset",
    "connection timed out",
    "timeout was reached",
    // Resize, maintenance, disk: cluster management guide, "Resizing clusters"; "Disk Full" of the STL views.
    "read-only",
    "disk full",
    "could not open relation",
    "the system is in maintenance mode",
    "is restarting",
    // Workload management: developer guide, "WLM query monitoring rules", actions abort and cancel.
    "aborted by wlm",
    "query aborted",
    "cancelled on user's request",
    "canceled on user's request",
    "wlm",
];

/// What makes the text of code 15001 speak of a file's schema and not of the way to it: Apache Impala's words, whose scanner this is.
/// Each has a blank in it, because the text names the file as well, and no key that we stage has one.
const OF_THE_FILE: &[&str] = &["parquet schema", "invalid type", "type length", "column type", "number of columns"];

/// What COPY says of a bucket that is in another region than the cluster (with Parquet it crosses none: developer guide, "COPY from
/// columnar data formats"). Compared without case.
const ELSEWHERE: &str = "is in a different region from this cluster";

/// How an answer of 403 is told, in words that no key has.
const FORBIDDEN: &[&str] = &["status 403", "status code: 403", "error code: 403", "access denied"];

/// What an error means.
pub(super) fn classify(state: &str, message: &str, detail: &str) -> Fault {
    let text = format!("{message}\n{detail}").to_lowercase();
    let has = |part: &str| text.contains(part);
    let is_forbidden = || FORBIDDEN.iter().any(|part| has(part));
    let passes = || PASSING.iter().any(|part| has(part));
    let class = state.get(..2).unwrap_or_default();
    match (class, state) {
        // Rights and logins. Whether they worked before is for whoever knows that to say.
        (_, "28000" | "28P01" | "42501") => Fault::Denied,
        (_, "42P01" | "3F000" | "3D000") => Fault::Missing,
        // Data that does not fit, constraints, statements that are wrong, what is not supported.
        ("22" | "23" | "42" | "0A", _) => Fault::Refused,
        // Connections, resources, cancelled statements, a server that is starting or stopping, conflicts, resizes.
        ("08" | "53" | "57" | "40", _) | (_, "25006") => Fault::Outage,
        ("XX", _) if is_conflict(state, message, detail) => Fault::Outage,
        ("XX", _) => match code(detail) {
            // Each of these speaks of the bytes of a file or of a column.
            Some(1200..=1299 | 15003 | 15007 | 8007) => Fault::Refused,
            Some(15001) if OF_THE_FILE.iter().any(|part| has(part)) => Fault::Refused,
            Some(15001 | 15005) if is_forbidden() => Fault::Denied,
            Some(15001 | 15005) => Fault::Outage,
            _ if has(ELSEWHERE) || has("permanentredirect") || has("status 301") => Fault::Mismatch,
            _ if has("not authorized to assume") || is_forbidden() => Fault::Denied,
            _ if is_newer(state, message, detail) => Fault::Outage,
            _ if has("does not exist in the database") => Fault::Missing,
            _ if passes() => Fault::Outage,
            _ => Fault::Strange,
        },
        _ if passes() => Fault::Outage,
        _ => Fault::Strange,
    }
}

/// Whether an error of COPY is one of S3, as Redshift reads it, and not of Redshift. By their codes they are Spectrum's and `8001`
/// ("Load from S3"), which stand for much else.
pub(super) fn is_of_s3(message: &str, detail: &str) -> bool {
    let text = format!("{message}\n{detail}").to_lowercase();
    let speaks = ["s3 query exception", "s3serviceexception", "s3curlexception", "could not connect to", "curl error"];
    matches!(code(detail), Some(15001 | 15005)) || speaks.iter().any(|words| text.contains(words))
}

/// Whether another transaction was in the way.
pub(super) fn is_conflict(state: &str, message: &str, detail: &str) -> bool {
    let text = format!("{message}\n{detail}").to_lowercase();
    state.starts_with("40")
        || (state == "XX000"
            && (number(message) == Some(1023)
                || text.contains("serializable isolation violation")
                || text.contains("deadlock detected")))
}

/// Whether a table is newer than the transaction's snapshot: somebody has made it anew, or dropped it.
pub(super) fn is_newer(state: &str, message: &str, detail: &str) -> bool {
    state == "XX000" && (number(message) == Some(1018) || code(detail) == Some(1018))
}

/// The number that a message begins with, like `1023` and `ERROR:1018 DETAIL: ...`.
fn number(message: &str) -> Option<u32> {
    let message = message.trim().trim_start_matches("ERROR:").trim_start();
    let digits: &str = &message[..message.bytes().take_while(u8::is_ascii_digit).count()];
    digits.parse().ok()
}

/// The number after `code:` in the block of detail.
fn code(detail: &str) -> Option<u32> {
    let (_, rest) = detail.split_once("code:")?;
    let rest = rest.trim_start();
    rest[..rest.bytes().take_while(u8::is_ascii_digit).count()].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_errors_of_redshift_mean() {
        for (state, message, detail, fault) in [
            // They pass.
            ("XX000", "1023", "Serializable isolation violation on table", Fault::Outage),
            ("XX000", "deadlock detected", "", Fault::Outage),
            ("40P01", "deadlock detected", "", Fault::Outage),
            ("57014", "canceled on user's request", "", Fault::Outage),
            ("57P01", "terminating connection due to administrator command", "", Fault::Outage),
            ("53100", "Disk Full", "", Fault::Outage),
            ("53200", "out of memory", "", Fault::Outage),
            ("53300", "too many connections", "", Fault::Outage),
            ("25006", "transaction is read-only", "", Fault::Outage),
            ("08006", "connection failure", "", Fault::Outage),
            ("XX000", "S3 Query Exception (Fetch)", "code: 15001\n context: Task failed", Fault::Outage),
            ("XX000", "Spectrum Scan Error", "code:      15005", Fault::Outage),
            // The names of files say nothing of what is wrong with them.
            (
                "XX000",
                "S3 Query Exception (Fetch)",
                "code: 15001\n context: Task failed. File 'https://s3/event_types/column/e=403/w=0-4030.parquet'",
                Fault::Outage,
            ),
            (
                "XX000",
                "S3ServiceException:Please reduce your request rate.,Status 503,Error SlowDown",
                "code: 8001",
                Fault::Outage,
            ),
            ("XX000", "Query (4711) aborted by WLM Query Monitoring Rule", "", Fault::Outage),
            ("XX000", "could not open relation with OID 123456", "", Fault::Outage),
            ("XX000", "1018", "Relation does not exist", Fault::Outage),
            // They may pass.
            ("XX000", "Assert", "code: 1000\n context: status == 0", Fault::Strange),
            ("25P02", "current transaction is aborted", "", Fault::Strange),
            ("58030", "could not write block", "", Fault::Strange),
            // They do not.
            ("XX000", "Spectrum Scan Error", "code: 15007", Fault::Refused),
            ("XX000", "Spectrum Scan Error", "code: 15003", Fault::Refused),
            (
                "XX000",
                "Spectrum Scan Error",
                "code: 15001\n context: column 'num' has an invalid type length",
                Fault::Refused,
            ),
            ("XX000", "Load failed", "code: 1207", Fault::Refused),
            ("XX000", "Cannot insert a NULL value into column a", "code: 8007", Fault::Refused),
            ("22001", "value too long", "", Fault::Refused),
            ("23502", "null value", "", Fault::Refused),
            ("42601", "syntax error", "", Fault::Refused),
            ("42703", "column does not exist", "", Fault::Refused),
            ("0A000", "REGION argument is not supported for PARQUET based COPY", "", Fault::Refused),
            ("XX000", "Relation x does not exist in the database.", "", Fault::Missing),
            ("42P01", "relation does not exist", "", Fault::Missing),
            (
                "XX000",
                "S3ServiceException:The S3 bucket addressed by the query is in a different region from this cluster.,Status 301",
                "code: 8001",
                Fault::Mismatch,
            ),
            // They depend on what was before.
            ("XX000", "S3ServiceException:Access Denied,Status 403", "", Fault::Denied),
            ("XX000", "Spectrum Scan Error", "code: 15001\n context: HTTP response error code: 403", Fault::Denied),
            (
                "XX000",
                "S3ServiceException:The bucket must be addressed by another endpoint.,Status 301,Error PermanentRedirect",
                "",
                Fault::Mismatch,
            ),
            ("XX000", "User x is not authorized to assume IAM Role y", "", Fault::Denied),
            ("42501", "permission denied for relation t", "", Fault::Denied),
            ("28000", "password authentication failed", "", Fault::Denied),
        ] {
            assert_eq!(classify(state, message, detail), fault, "{state} {message} {detail}");
        }
    }

    #[test]
    fn a_number_is_read_where_it_stands() {
        assert_eq!(
            ["1023", "ERROR:1018 DETAIL: x", " 1018 ", "none"].map(number),
            [Some(1023), Some(1018), Some(1018), None]
        );
        assert_eq!(code("\n  error:  x\n  code:      15007\n  context: code: 3"), Some(15007));
        assert_eq!(code("nothing"), None);
    }
}
