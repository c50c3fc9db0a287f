//! The live view of `tidegate run` on a terminal: a few lines that are drawn anew, below whatever else is said. What they say is
//! [`super::view`], what is written for that [`super::painter`]; here is the terminal.

use std::{
    io::{IsTerminal, Write},
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    time::Duration,
};

use operators::threads::named;
use rustix::{process::getpgrp, stdio::stderr, termios};
use signal_hook::{
    consts::{SIGCONT, SIGTSTP, SIGWINCH},
    iterator::Signals,
    low_level::emulate_default_handler,
};

use super::{
    facts::Snapshot,
    painter::{Painter, Size},
    rates::Rates,
    view::{Moment, view},
};

/// How long the view may take to go away when the process ends: whoever draws it may be what fails.
const CLEAR_WITHIN: Duration = Duration::from_millis(200);
/// What a terminal is taken for that does not say how large it is. A line that is too long for it is cut there.
const UNKNOWN: Size = Size { rows: 24, columns: 80 };

static VIEW: Mutex<View> =
    Mutex::new(View { painter: Painter::new(), is_shown: false, last: None, is_away: false, was_stopped: false });

struct View {
    painter: Painter,
    /// Not before it starts, and not after it was taken away.
    is_shown: bool,
    /// What was drawn last.
    last: Option<(Snapshot, Rates, Moment)>,
    /// Whether a shell put the process into the background: the terminal is another's.
    is_away: bool,
    /// Whether the next word that the process goes on is of a stop that was seen.
    was_stopped: bool,
}

impl View {
    fn draw(&mut self) {
        if !self.is_shown || self.is_away {
            return;
        }
        let Some((snapshot, rates, moment)) = &self.last else { return };
        let size = size();
        let lines = view(snapshot, rates, moment, size, has_colours());
        write(self.painter.draw(&lines, size).as_bytes());
    }
}

/// Whether a person watches.
pub fn is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// Whether lines on the terminal can be drawn anew.
pub fn can_draw() -> bool {
    is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn has_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Starts the live view.
pub fn start() {
    shown().is_shown = true;
    // Without them a view that was wrapped or overwritten stands so until it is drawn anew.
    let Ok(mut signals) = Signals::new([SIGWINCH, SIGTSTP, SIGCONT]) else { return };
    let _ = named("screen", move || signals.forever().for_each(signal));
}

fn signal(signal: i32) {
    let mut view = shown();
    match signal {
        SIGTSTP => {
            if view.is_shown {
                write(view.painter.erase(size()).as_bytes());
            }
            // Nobody draws meanwhile: who would waits for us.
            let _ = emulate_default_handler(SIGTSTP);
            view.is_away = !is_in_front();
            view.was_stopped = true;
        }
        SIGCONT => {
            if !std::mem::take(&mut view.was_stopped) {
                view.painter.forget(); // a shell has written below it
            }
            view.is_away = !is_in_front();
        }
        _ => {}
    }
    view.draw();
}

/// Draws the job as it is now.
pub(super) fn draw(snapshot: Snapshot, rates: Rates, moment: Moment) {
    let mut view = shown();
    view.last = Some((snapshot, rates, moment));
    view.draw();
}

/// Writes whole lines above the live view, or just writes them.
pub fn above(text: &[u8]) {
    let mut view = shown();
    let erased = if view.is_shown { view.painter.erase(size()) } else { String::new() };
    view.painter.said(&String::from_utf8_lossy(text));
    write(&[erased.as_bytes(), text].concat());
    view.draw();
}

/// Takes the live view away. Whether that is done: standard error may take nothing any more.
pub fn clear() -> bool {
    let (done, waiting) = mpsc::channel();
    let cleared = named("screen", move || {
        let mut view = shown();
        if std::mem::take(&mut view.is_shown) {
            write(view.painter.erase(size()).as_bytes());
        }
        let _ = done.send(()); // nobody waits any more
    });
    cleared.is_ok() && waiting.recv_timeout(CLEAR_WITHIN).is_ok()
}

fn shown() -> MutexGuard<'static, View> {
    VIEW.lock().unwrap_or_else(PoisonError::into_inner)
}

/// In one piece, so that what others write does not come between. Whoever reads our standard error may be gone; the work goes on.
fn write(bytes: &[u8]) {
    let _ = std::io::stderr().write_all(bytes);
}

fn size() -> Size {
    let Ok(size) = termios::tcgetwinsize(stderr()) else { return UNKNOWN };
    let known = |said: u16, else_: usize| if said == 0 { else_ } else { said.into() };
    Size { rows: known(size.ws_row, UNKNOWN.rows), columns: known(size.ws_col, UNKNOWN.columns) }
}

/// Whether what is typed comes to this process and those that it was started with.
fn is_in_front() -> bool {
    termios::tcgetpgrp(stderr()).is_ok_and(|group| group == getpgrp())
}
