//! A terminal that shows what a person would see. It wraps its lines anew when it is resized, and takes lines back from above when it grows.

use alacritty_terminal::{
    event::VoidListener,
    grid::Dimensions,
    index::{Column, Line},
    term::{Config, Term, cell::Flags, test::TermSize},
    vte::ansi::Processor,
};

/// The terminal.
pub struct Terminal {
    term: Term<VoidListener>,
    parser: Processor,
}

impl Terminal {
    /// An empty one.
    pub fn new(rows: usize, columns: usize) -> Terminal {
        let term = Term::new(Config::default(), &TermSize::new(columns, rows), VoidListener);
        Terminal { term, parser: Processor::new() }
    }

    /// Something is written to it.
    pub fn write(&mut self, bytes: &[u8]) {
        self.parser.advance(&mut self.term, bytes);
    }

    /// Somebody pulls at its corner.
    pub fn resize(&mut self, rows: usize, columns: usize) {
        self.term.resize(TermSize::new(columns, rows));
    }

    /// What can be seen, row by row, without blanks at the ends and without empty rows at the bottom.
    pub fn seen(&self) -> Vec<String> {
        self.rows(0)
    }

    /// The same with what has left it at the top.
    pub fn all(&self) -> Vec<String> {
        self.rows(-(self.term.grid().history_size() as i32))
    }

    /// Row and column of the cursor, from 0; `None` if it is hidden.
    pub fn cursor(&self) -> Option<(usize, usize)> {
        let shown = self.term.mode().contains(alacritty_terminal::term::TermMode::SHOW_CURSOR);
        let at = self.term.grid().cursor.point;
        shown.then_some((at.line.0 as usize, at.column.0))
    }

    fn rows(&self, first: i32) -> Vec<String> {
        let grid = self.term.grid();
        let row = |line: i32| {
            let cells = (0..grid.columns()).map(|column| &grid[Line(line)][Column(column)]);
            let cells = cells.filter(|cell| !cell.flags.contains(Flags::WIDE_CHAR_SPACER));
            cells.map(|cell| cell.c).collect::<String>().trim_end().to_string()
        };
        let mut rows: Vec<String> = (first..grid.screen_lines() as i32).map(row).collect();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }
}
