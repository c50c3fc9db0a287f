//! A line of the live view: pieces that give way to each other where a terminal is narrow.
//!
//! Everything is measured as a terminal does: a character of Chinese takes two columns, an accent that joins its letter none.

use unicode_width::UnicodeWidthChar;

use crate::visible;

/// What stands for what was cut out.
const CUT: &str = "...";

/// A part of a line.
struct Piece {
    /// From the longest to the shortest; an empty one if it may be left out. Each with its rank: the larger, the sooner it gives way to
    /// the next one.
    forms: Vec<(u8, String)>,
    /// Columns that it may be cut down to, in the middle; `None` if it is never cut.
    least: Option<usize>,
}

/// The pieces in the order in which they are shown. Each brings what separates it from the one before.
#[derive(Default)]
pub(super) struct Line(Vec<Piece>);

impl Line {
    /// A line that begins with this, which never gives way.
    pub(super) fn new(start: impl Into<String>) -> Line {
        Line::default().or(0, [start])
    }

    /// One more piece, in forms from the longest to the shortest, each with its rank: the larger, the sooner it gives way to the next.
    pub(super) fn ranked<T: Into<String>>(mut self, forms: impl IntoIterator<Item = (u8, T)>) -> Line {
        let forms = forms.into_iter().map(|(rank, form)| (rank, form.into())).collect();
        self.0.push(Piece { forms, least: None });
        self
    }

    /// The same, with one rank for all.
    pub(super) fn or<T: Into<String>>(self, rank: u8, forms: impl IntoIterator<Item = T>) -> Line {
        self.ranked(forms.into_iter().map(|form| (rank, form)))
    }

    /// The same as one that is left out where it has no room.
    pub(super) fn maybe(self, rank: u8, text: String) -> Line {
        self.or(rank, [text, String::new()])
    }

    /// A name, or what else others wrote: cut in the middle where it has no room, down to so many columns.
    pub(super) fn name(mut self, rank: u8, text: &str, least: usize) -> Line {
        self.0.push(Piece { forms: vec![(rank, visible::line(text).into_owned())], least: Some(least) });
        self
    }

    /// What others wrote, and what may be left out where even so many columns of it are too many.
    pub(super) fn context(mut self, rank: u8, text: &str, least: usize) -> Line {
        let forms = vec![(rank, visible::line(text).into_owned()), (rank, String::new())];
        self.0.push(Piece { forms, least: Some(least) });
        self
    }

    /// The line in at most so many columns: pieces give way by rank, one form at a time. What has no room even so is cut at its end.
    pub(super) fn fit(mut self, columns: usize) -> String {
        self.0.retain(|piece| !piece.forms.is_empty());
        loop {
            let width: usize = self.0.iter().map(|piece| columns_of(&piece.forms[0].1)).sum();
            if width <= columns {
                break;
            }
            let gives = |piece: &&mut Piece| piece.forms.len() > 1 || piece.least.is_some();
            // Of those of one rank the last.
            let Some(piece) = self.0.iter_mut().filter(gives).max_by_key(|piece| piece.forms[0].0) else { break };
            match piece.least.take() {
                Some(least) => {
                    let form = &mut piece.forms[0].1;
                    let room = columns_of(form).saturating_sub(width - columns).max(least);
                    *form = cut_in_the_middle(form, room);
                }
                None => drop(piece.forms.remove(0)),
            }
        }
        cut(&self.0.iter().map(|piece| piece.forms[0].1.as_str()).collect::<String>(), columns)
    }
}

/// The columns that text takes on a terminal, which looks at each character by itself.
pub(super) fn columns_of(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// The beginning, where all has no room.
fn cut(text: &str, columns: usize) -> String {
    if columns_of(text) <= columns {
        return text.into();
    }
    let mark = &CUT[..CUT.len().min(columns)];
    start(text, columns - mark.len()).to_string() + mark
}

/// Beginning and end, where all has no room: names often differ in one of them alone.
fn cut_in_the_middle(text: &str, columns: usize) -> String {
    if columns_of(text) <= columns || columns <= CUT.len() {
        return cut(text, columns);
    }
    let room = columns - CUT.len();
    let begin = start(text, room.div_ceil(2));
    format!("{begin}{CUT}{}", end(text, room - columns_of(begin)))
}

/// As much of the beginning as has room.
fn start(text: &str, columns: usize) -> &str {
    let mut taken = 0;
    let fits = |(_, c): &(usize, char)| {
        taken += c.width().unwrap_or(0);
        taken > columns
    };
    let at = text.char_indices().find(fits).map_or(text.len(), |(at, _)| at);
    &text[..at]
}

/// As much of the end as has room, without accents whose letter is gone.
fn end(text: &str, columns: usize) -> &str {
    let mut taken = 0;
    let mut at = text.len();
    for (place, c) in text.char_indices().rev() {
        let width = c.width().unwrap_or(0);
        taken += width;
        if taken > columns {
            break;
        }
        if width > 0 {
            at = place;
        }
    }
    &text[at..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn topic(name: &str) -> Line {
        Line::default().or(3, ["  topic ", "  "]).name(2, name, 6).or(1, [": 1204 offsets not loaded", ": 1204"])
    }

    #[test]
    fn pieces_give_way_by_rank_and_a_name_in_its_middle() {
        for (columns, expected) in [
            (80, "  topic orders_of_europe: 1204 offsets not loaded"),
            (48, "  orders_of_europe: 1204 offsets not loaded"),
            (40, "  order...urope: 1204 offsets not loaded"),
            (33, "  or...e: 1204 offsets not loaded"),
            (32, "  or...e: 1204"),
            (14, "  or...e: 1204"),
            (10, "  or......"),
            (2, ".."),
            (0, ""),
        ] {
            assert_eq!(topic("orders_of_europe").fit(columns), expected, "{columns}");
        }
    }

    #[test]
    fn wide_characters_count_twice_and_accents_nothing() {
        assert_eq!(columns_of("订单"), 4);
        assert_eq!(cut_in_the_middle("订单_东京_大阪", 11), "订单...大阪");
        assert_eq!(cut_in_the_middle("订单_东京_大阪", 10), "订单...阪", "half a character is never shown");
        assert_eq!(cut_in_the_middle("cafe\u{301}_cafe\u{301}", 8), "caf...fe\u{301}");
        assert_eq!(cut("订单", 3), "...");
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_its_terminal(name in ".{0,40}", columns in 0usize..100) {
            let shown = topic(&name).fit(columns);
            prop_assert!(columns_of(&shown) <= columns && !shown.contains(char::is_control), "{shown}");
        }
    }
}
