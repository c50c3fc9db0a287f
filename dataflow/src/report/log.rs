//! The log of `tidegate run`, on standard error: lines for people, or one JSON object a line.
//!
//! Everything that is said goes through `tracing`, so that both forms say the same. A line for people is its message; a JSON
//! object has the message and its figures as fields, whose names docs/reference.md lists.

use std::{
    borrow::Cow,
    fmt,
    io::Write,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use tracing::{Event, Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer,
    filter::Targets,
    fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter, format::Writer, layer, time::FormatTime},
    layer::SubscriberExt,
    registry::LookupSpan,
};

use super::screen;
use crate::{error::CodedError, visible};

/// How `run` says what it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How much it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Warnings and errors.
    Quiet,
    /// Also each load.
    Normal,
    /// Also each step of a load, and warnings of libraries.
    Verbose,
}

static FORMAT: OnceLock<Format> = OnceLock::new();
static VERBOSE: AtomicBool = AtomicBool::new(false);

/// Errors are said with all that led to them from here on.
pub fn be_verbose() {
    VERBOSE.store(true, Ordering::Relaxed);
}

/// Whether they are.
pub fn is_verbose() -> bool {
    VERBOSE.load(Ordering::Relaxed)
}

/// From here on everything is said in this form. Once in a process; a second call changes nothing.
pub fn start(format: Format, detail: Detail) {
    if FORMAT.set(format).is_err() {
        return;
    }
    // Libraries speak for themselves, which is for those who look closely.
    let (own, others) = match detail {
        Detail::Quiet => (LevelFilter::WARN, LevelFilter::OFF),
        Detail::Normal => (LevelFilter::INFO, LevelFilter::OFF),
        Detail::Verbose => (LevelFilter::DEBUG, LevelFilter::WARN),
    };
    let most = Targets::new().with_target("tidegate", own).with_default(others);
    let is_json = format == Format::Json;
    let people = (!is_json).then(|| layer().with_writer(Lines(visible::text)).event_format(People));
    let objects = is_json.then(|| {
        layer()
            .with_writer(Lines(visible::escaped))
            .with_timer(Clock)
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_target(false)
    });
    let all = tracing_subscriber::registry().with(people.with_filter(most.clone())).with(objects.with_filter(most));
    // Fails only if there is a subscriber already, which then has the lines.
    let _ = tracing::subscriber::set_global_default(all);
}

/// Says why the process ends, in the form of its log.
pub fn error(error: &CodedError) {
    screen::clear();
    if FORMAT.get() != Some(&Format::Json) {
        // If nobody reads our standard error the exit code still tells.
        let text = if is_verbose() { error.render_whole() } else { error.render() };
        let _ = std::io::stderr().write_all(visible::text(&text).as_bytes());
        return;
    }
    let code = error.code;
    tracing::error!(
        event = "error",
        code = code.id(),
        state = code.state().name(),
        exit_code = code.exit_code(),
        what = error.line(),
        causes = is_verbose().then(|| error.below().join(": ")),
        remedy = error.remedy(),
        command = error.command(),
        "{}",
        code.title()
    );
}

/// The message and nothing else; off a terminal with time and level before it.
struct People;

impl<S, N> FormatEvent<S, N> for People
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        if !screen::is_terminal() {
            Clock.format_time(&mut to)?;
            write!(to, " {level:<5} ")?;
        } else if level <= Level::WARN {
            write!(to, "{}: ", level.as_str().to_lowercase())?;
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        writeln!(to, "{}", message.0)
    }
}

/// The time of day, as all times that somebody is told.
struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, to: &mut Writer<'_>) -> fmt::Result {
        write!(to, "{}", operators::time::now())
    }
}

/// Takes the message out of an event.
struct Message(String);

impl tracing::field::Visit for Message {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

/// Makes of a line what a terminal shows and does not obey: what is said may quote records.
type Shown = for<'t> fn(&'t str) -> Cow<'t, str>;

/// Writes whole lines above the live view, if there is one.
struct Lines(Shown);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(Vec::new(), self.0)
    }
}

struct Line(Vec<u8>, Shown);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        screen::above(self.1(&String::from_utf8_lossy(&self.0)).as_bytes());
    }
}
