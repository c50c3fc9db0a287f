//! What is wrong with a job file, each with its place.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::elsewhere::{Elsewhere, System, What};

/// Something wrong with the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Bytes of the file.
    pub span: Range<usize>,
    /// What is wrong.
    pub what: String,
    /// What to do about it; may be empty.
    pub help: String,
    /// Bytes of the file that nobody may read in a message: a secret that is written out.
    pub hidden: Option<Range<usize>>,
}

/// All findings of a file, in the order they were made; and what must be there beside the file.
#[derive(Default)]
pub struct Findings(pub Vec<Finding>, pub Vec<Elsewhere>);

impl Findings {
    /// One more.
    pub fn add(&mut self, span: Range<usize>, what: impl Into<String>, help: impl Into<String>) {
        self.0.push(Finding { span, what: what.into(), help: help.into(), hidden: None });
    }

    /// Something that stands elsewhere.
    pub fn need(&mut self, system: System, key: &str, what: What, span: Range<usize>) {
        self.1.push(Elsewhere { system, key: key.into(), what, span });
    }

    /// A secret that is written out.
    pub fn add_secret(&mut self, span: Range<usize>, key: &str, hidden: Range<usize>) {
        let help = "write { env = \"NAME\" } or { file = \"path\" }, so that it is not in the job file";
        self.0.push(Finding { span, what: format!("`{key}` is a secret"), help: help.into(), hidden: Some(hidden) });
    }
}

/// The text of a file with stars for what is hidden, byte for byte.
fn masked(text: &str, findings: &[Finding]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for hidden in findings.iter().filter_map(|finding| finding.hidden.clone()) {
        let hidden = bytes.get_mut(hidden).into_iter().flatten();
        hidden.filter(|byte| **byte != b'\n').for_each(|byte| *byte = b'*');
    }
    bytes = bytes.split_inclusive(|byte| *byte == b'\n').flat_map(masked_line).collect();
    // What is hidden is whole, so what is left is text.
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Keys with one of these in them may hold a secret, also where the key is misspelt, or the line is not TOML.
const MAY_BE_SECRET: [&str; 7] = ["pas", "secre", "jaas", "key", "pem", "token", "cred"];

/// A line with stars for what follows such a key, unless that says where the secret is.
fn masked_line(line: &[u8]) -> Vec<u8> {
    let (mut line, lower) = (line.to_vec(), String::from_utf8_lossy(line).to_ascii_lowercase());
    for (equals, _) in lower.match_indices('=') {
        let begins = lower[..equals].rfind(['{', ',', '=']).map_or(0, |at| at + 1);
        let (key, value) = (lower[begins..equals].trim(), lower[equals + 1..].trim_start());
        // A word, as keys are. A condition of a query has several, mostly.
        let is_key = key.chars().all(|c| c.is_alphanumeric() || "._-\"'*".contains(c));
        let says_where = value.strip_prefix('{').is_some_and(|rest| {
            let rest = rest.trim_start();
            rest.starts_with("env") || rest.starts_with("file")
        });
        if is_key && !says_where && MAY_BE_SECRET.iter().any(|word| key.contains(word)) {
            let hidden = line.iter_mut().skip(lower.len() - value.len());
            hidden.filter(|byte| !matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b'*');
            break;
        }
    }
    line
}

/// Each finding with its line of the file.
pub fn render(path: &str, text: &str, findings: &[Finding]) -> String {
    let text = &masked(text, findings);
    let renderer = Renderer::plain();
    let reports = findings.iter().map(|finding| {
        let end = finding.span.end.min(text.len());
        // A table of many lines is shown by its first.
        let first_line = text[finding.span.start.min(end)..end].find('\n').map_or(end, |n| finding.span.start + n);
        let annotation = AnnotationKind::Primary.span(finding.span.start.min(end)..first_line).label(&*finding.help);
        let snippet = Snippet::source(text).path(path).annotation(annotation);
        renderer.render(&[Level::ERROR.primary_title(&*finding.what).element(snippet)])
    });
    reports.collect::<Vec<_>>().join("\n\n")
}
