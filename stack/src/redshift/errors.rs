//! The errors of Redshift: nearly everything is `XX000` with a block of detail.

use bytes::{BufMut, Bytes, BytesMut};

use super::wire::{fields, frame};

/// An error as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SqlError {
    pub(super) state: &'static str,
    pub(super) message: String,
    pub(super) detail: Option<String>,
}

impl SqlError {
    pub(super) fn new(state: &'static str, message: impl Into<String>) -> SqlError {
        SqlError { state, message: message.into(), detail: None }
    }

    /// `XX000` with the block that Redshift puts into the detail field.
    pub(super) fn internal(message: impl Into<String>, code: u32, context: impl Into<String>) -> SqlError {
        let message = message.into();
        let dashes = "-----------------------------------------------";
        let detail = format!(
            "\n  {dashes}\n  error:  {message}\n  code:      {code}\n  context:   {}\n  query:     0\n  location:  stand-in\n  process:   stand-in [pid=0]\n  {dashes}\n",
            context.into()
        );
        SqlError { state: "XX000", message, detail: Some(detail) }
    }

    /// A statement or part of one that the stand-in does not play. The real one might.
    pub(super) fn not_played(what: impl std::fmt::Display) -> SqlError {
        SqlError::new("0A000", format!("the Redshift stand-in does not play this: {what}"))
    }

    /// What the real one refuses as well.
    pub(super) fn unsupported(what: impl std::fmt::Display) -> SqlError {
        SqlError::new("0A000", format!("{what} is not supported"))
    }

    pub(super) fn syntax(what: impl std::fmt::Display) -> SqlError {
        SqlError::new("42601", format!("syntax error: {what}"))
    }

    pub(super) fn to_frame(&self) -> Bytes {
        let mut body = BytesMut::new();
        let mut field = |letter: u8, text: &str| {
            body.put_u8(letter);
            body.put_slice(text.replace('\0', " ").as_bytes());
            body.put_u8(0);
        };
        field(b'S', "ERROR");
        field(b'C', self.state);
        field(b'M', &self.message);
        if let Some(detail) = &self.detail {
            field(b'D', detail);
        }
        body.put_u8(0);
        frame(b'E', &body)
    }
}

/// PostgreSQL's error as Redshift would put it. Codes that Redshift is known to send stay, the others become `XX000`.
pub(super) fn translate(error: &[u8]) -> Bytes {
    let fields = fields(error);
    let get = |letter: u8| fields.iter().find(|(l, _)| *l == letter).map_or("", |(_, text)| text);
    let (state, message) = (get(b'C'), get(b'M'));
    let fatal = get(b'S') == "FATAL";
    let known =
        ["0A000", "22001", "25P02", "3D000", "42501", "42601", "42703", "42883", "42P01", "42P07", "57014", "57P01"];
    if let Some(known) = known.into_iter().find(|k| *k == state) {
        let mut error = SqlError::new(known, message);
        if state == "57014" && message.contains("user request") {
            error.message = "Query cancelled on user's request".into();
        }
        return with_severity(&error, fatal);
    }
    let error = match state {
        "40001" => SqlError {
            state: "XX000",
            message: "1023".into(),
            detail: Some(
                "Serializable isolation violation on table, transactions forming the cycle are: 0, 0 (pid:0)".into(),
            ),
        },
        "40P01" => SqlError::new("XX000", "deadlock detected"),
        "28P01" => SqlError::new("28000", message),
        "23502" => SqlError::internal(format!("Cannot insert a NULL value into column {}", get(b'c')), 8007, ""),
        _ => SqlError::internal(message, 8001, state),
    };
    with_severity(&error, fatal)
}

fn with_severity(error: &SqlError, fatal: bool) -> Bytes {
    let frame = error.to_frame();
    if !fatal {
        return frame;
    }
    let text = frame.to_vec();
    // "SERROR\0" and "SFATAL\0" are of one length, so the frame's stays.
    let mut out = BytesMut::from(&text[..5]);
    out.extend_from_slice(b"SFATAL");
    out.extend_from_slice(&text[11..]);
    out.freeze()
}
