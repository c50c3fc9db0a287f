//! What is written to a terminal so that a few lines below everything else can be drawn anew. Pure: it makes text, and somebody else writes
//! it.
//!
//! The cursor rests at the beginning of the row below the last line, so that whatever the terminal echoes there (`^C`), and a shell that
//! finds the program gone, has a row of its own. To draw anew it goes up by as many rows. When a terminal is made narrower than a line, or
//! lower than the view, nobody knows where that stands: most wrap the lines, some cut them, and what leaves a terminal at its top may come
//! back when that grows. Then, and whenever its size changes from then on, the whole terminal is written anew, with what was said last.
//! The cursor is never hidden and no mode outlives the text that sets it, so there is nothing to restore when the program dies.

use std::collections::VecDeque;

use super::line::columns_of;

/// How many lines are kept of what was said: as many as a high terminal has.
const SAID: usize = 200;

/// Rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// What stands on the terminal.
pub(super) struct Painter {
    /// How many lines the view has there.
    drawn: usize,
    /// The widest line of the view and of that before: a terminal may change before it says so.
    widest: [usize; 2],
    /// How large the terminal was.
    size: Option<Size>,
    /// Whether parts of a view may have left the terminal, or stand where they were not drawn.
    is_torn: bool,
    /// The last lines that were said.
    said: VecDeque<String>,
}

impl Painter {
    pub(super) const fn new() -> Painter {
        Painter { drawn: 0, widest: [0; 2], size: None, is_torn: false, said: VecDeque::new() }
    }

    /// Draws these lines in the place of those that stand there. Each is narrower than the terminal.
    pub(super) fn draw(&mut self, lines: &[Drawn], size: Size) -> String {
        let mut text = self.erase(size);
        // Should a terminal take more columns for a character than we do, it cuts the line and does not wrap it.
        text += "\u{1b}[?7l";
        lines.iter().for_each(|line| text += &format!("{}\r\n", line.text));
        text += "\u{1b}[?7h";
        self.drawn = lines.len();
        self.widest = [lines.iter().map(|line| line.columns).max().unwrap_or(0), self.widest[0]];
        text
    }

    /// Takes the lines away; the cursor stands where the first of them began.
    pub(super) fn erase(&mut self, size: Size) -> String {
        let is_resized = self.size.replace(size).is_some_and(|before| before != size);
        let drawn = std::mem::take(&mut self.drawn);
        let has_room = self.widest.iter().all(|columns| *columns <= size.columns) && drawn < size.rows;
        self.is_torn |= is_resized && !has_room;
        // The first row by itself: what is cleared from the first row of a terminal to its end at once, tmux keeps in its history.
        const CLEAR: &str = "\u{1b}[K\u{1b}[B\u{1b}[J\u{1b}[A";
        if is_resized && self.is_torn {
            return format!("\u{1b}[H{CLEAR}{}", self.said_in(size.rows.saturating_sub(drawn + 1), size.columns));
        }
        if drawn == 0 { String::new() } else { format!("\r\u{1b}[{drawn}A{CLEAR}") }
    }

    /// Lines were said: they are written where the view was, which is drawn below them.
    pub(super) fn said(&mut self, said: &str) {
        self.said.extend(said.lines().map(String::from));
        self.said.drain(..self.said.len().saturating_sub(SAID));
    }

    /// Somebody else wrote to the terminal: what stands there stays.
    pub(super) fn forget(&mut self) {
        (self.drawn, self.size) = (0, None);
    }

    /// The last of what was said that has room.
    fn said_in(&self, rows: usize, columns: usize) -> String {
        let mut left = rows;
        let has_room = |line: &&String| {
            let taken = columns_of(line).div_ceil(columns.max(1)).max(1);
            left.checked_sub(taken).inspect(|rest| left = *rest).is_some()
        };
        let mut lines: Vec<&String> = self.said.iter().rev().take_while(has_room).collect();
        lines.reverse();
        lines.into_iter().map(|line| format!("{line}\r\n")).collect()
    }
}

/// A line as it is written, with the columns that it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Drawn {
    pub(super) text: String,
    pub(super) columns: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{line::columns_of, terminal::Terminal};

    /// A terminal, and a view of some lines on it.
    struct Shown {
        terminal: Terminal,
        painter: Painter,
        size: Size,
        lines: usize,
    }

    impl Shown {
        fn new(rows: usize, columns: usize) -> Shown {
            let mut terminal = Terminal::new(rows, columns);
            terminal.write(b"$ tidegate run job.toml\r\n");
            let size = Size { rows, columns };
            let mut shown = Shown { terminal, painter: Painter::new(), size, lines: 6 };
            shown.draw();
            shown
        }

        /// What the view is at this size: as wide as it can be, and of no more lines than there is room for.
        fn view(&self) -> Vec<String> {
            let lines = self.lines.min(self.size.rows.saturating_sub(1));
            let line = |n: usize| {
                let text = format!("line {n} ") + &"x".repeat(200);
                text[..text.len().min(self.size.columns - 1)].to_string()
            };
            (0..lines).map(line).collect()
        }

        fn lines(&self) -> Vec<Drawn> {
            self.view().into_iter().map(|text| Drawn { columns: columns_of(&text), text }).collect()
        }

        fn draw(&mut self) {
            let text = self.painter.draw(&self.lines(), self.size);
            self.terminal.write(text.as_bytes());
        }

        fn above(&mut self, said: &str) {
            let text = self.painter.erase(self.size) + &said.replace('\n', "\r\n");
            self.painter.said(said);
            self.terminal.write(text.as_bytes());
            self.draw();
        }

        fn resize(&mut self, rows: usize, columns: usize) {
            self.terminal.resize(rows, columns);
            self.size = Size { rows, columns };
            self.draw();
        }

        /// The whole view stands at the end of all that can be seen, once, and the cursor below it.
        fn check(&self) {
            let (seen, view) = (self.terminal.seen(), self.view());
            assert!(seen.ends_with(&view), "{:?}: {seen:#?}", self.size);
            let pieces = seen.iter().filter(|row| row.contains("line ") || row.contains("xx")).count();
            assert_eq!(pieces, view.len(), "{:?}: {seen:#?}", self.size);
            assert_eq!(self.terminal.cursor(), Some((seen.len(), 0)), "{:?}: {seen:#?}", self.size);
        }
    }

    /// On a terminal that was full, and on one of which only the first rows are used.
    #[test]
    fn a_view_stands_once_whatever_becomes_of_its_terminal() {
        for lines in [40, 3] {
            let mut shown = Shown::new(24, 80);
            shown.check();
            (0..lines).for_each(|n| shown.above(&format!("said {n}\n")));
            shown.check();
            for (rows, columns) in [
                (24, 60), // narrower: what stands there is wrapped
                (24, 40),
                (24, 20), // it takes more rows than there are
                (24, 100),
                (40, 100),
                (20, 100),
                (4, 100), // lower than the view
                (4, 20),
                (4, 80),
                (30, 80), // what left it at the top comes back
                (1, 80),
                (24, 80),
                (50, 120),
            ] {
                shown.resize(rows, columns);
                shown.check();
                let seen = shown.terminal.seen();
                let said = seen.len() - shown.view().len();
                assert!(
                    rows < 20 || seen[..said].contains(&format!("said {}", lines - 1)),
                    "{rows} {columns}: {seen:#?}"
                );
            }
            shown.above("the end\n");
            shown.check();
        }
    }

    #[test]
    fn where_every_line_has_room_nothing_else_is_written_anew() {
        let mut shown = Shown::new(24, 80);
        for (rows, columns) in [(24, 100), (40, 100), (10, 100), (24, 100)] {
            shown.resize(rows, columns);
            shown.check();
            assert_eq!(shown.terminal.all()[0], "$ tidegate run job.toml", "{rows} {columns}");
        }
    }

    /// The terminal was made narrower, and the view drawn once more before anybody was told.
    #[test]
    fn a_view_that_was_drawn_in_between_is_gone() {
        let mut shown = Shown::new(24, 80);
        shown.terminal.resize(24, 40);
        shown.lines = 3;
        shown.draw();
        shown.lines = 6;
        shown.resize(24, 40);
        shown.check();
    }

    #[test]
    fn an_echo_is_gone_with_the_next_drawing_and_the_view_at_the_end() {
        for rows in [24, 8] {
            let mut shown = Shown::new(rows, 80);
            shown.terminal.write(b"^C");
            shown.draw();
            shown.check();
            shown.terminal.write(b"^C^C");
            let text = shown.painter.erase(shown.size);
            shown.terminal.write(text.as_bytes());
            assert_eq!(shown.terminal.seen(), ["$ tidegate run job.toml"]);
            assert_eq!(shown.terminal.cursor(), Some((1, 0)));
            assert_eq!(shown.painter.erase(shown.size), "", "what is gone is not taken away again");
        }
    }

    /// tmux takes that for `clear`, after which what was there can be scrolled back to: twice a second a copy of the view.
    #[test]
    fn a_view_at_the_top_is_not_cleared_as_a_whole_terminal_is() {
        let mut shown = Shown::new(24, 80);
        assert_eq!(shown.painter.erase(shown.size), "\r\u{1b}[6A\u{1b}[K\u{1b}[B\u{1b}[J\u{1b}[A");
    }

    #[test]
    fn a_view_that_changes_its_height_leaves_nothing() {
        let mut shown = Shown::new(10, 80);
        for lines in [6, 1, 9, 3, 0, 6] {
            shown.lines = lines;
            shown.draw();
            shown.check();
        }
    }

    #[test]
    fn a_line_that_is_wider_than_was_thought_is_cut_and_not_wrapped() {
        let mut shown = Shown::new(24, 40);
        shown.size.columns = 80; // nobody said how wide it is
        shown.draw();
        shown.draw();
        let seen = shown.terminal.seen();
        assert_eq!(seen.len(), 7, "{seen:#?}");
    }

    #[test]
    fn what_was_drawn_before_a_shell_spoke_is_left_alone() {
        let mut shown = Shown::new(24, 80);
        shown.terminal.write(b"[1]+ Stopped\r\n$ fg\r\n");
        shown.painter.forget();
        shown.draw();
        let seen = shown.terminal.seen();
        assert_eq!(seen[7..9], ["[1]+ Stopped", "$ fg"], "{seen:#?}");
        assert_eq!(seen.len(), 15, "{seen:#?}");
    }
}
