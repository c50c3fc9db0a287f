//! What is wrong with a job file, each with its place.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::{
    elsewhere::{Elsewhere, System, What},
    masked::masked,
};

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

/// Each finding with its line of the file.
pub fn render(path: &str, text: &str, findings: &[Finding]) -> String {
    let text = &masked(text, findings.iter().filter_map(|finding| finding.hidden.clone()));
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
