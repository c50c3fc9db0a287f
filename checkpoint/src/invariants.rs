//! The invariants of the protocol by number: one sentence each, shared by protocol, tests and messages.

use std::fmt;

macro_rules! invariants {
    ($($name:ident $text:literal,)*) => {
        /// An invariant of the protocol. Its text is what must be true.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Invariant { $(#[doc = $text] $name,)* }

        impl Invariant {
            /// All of them, in order.
            pub const ALL: &'static [Invariant] = &[$(Invariant::$name,)*];

            /// The sentence.
            pub fn text(self) -> &'static str {
                match self { $(Invariant::$name => $text,)* }
            }
        }
    };
}

invariants! {
    I1 "the manifest has one row for each epoch below next_epoch, and no other",
    I2 "an epoch starts in every partition where the one before it ended",
    I3 "in every view the targets hold the rows of the epochs in the manifest, each once",
    I4 "the rows of an epoch are visible exactly when its manifest row is",
    I5 "next_epoch moves only in a transaction of the current generation that saw its own first epoch there",
    I6 "generations only grow, and no two starts share generation and nonce",
    I8 "the rows of an epoch depend on its records and its recorded times alone",
    I10 "an object has one writer and is never written again",
    I11 "no object is deleted that a transaction may still read",
    I12 "reading starts exactly at the recorded end, or the job halts",
    I13 "nothing is acknowledged before an independent read shows it committed",
    I14 "every wait has a deadline, and what is sealed but not loaded is bounded",
    I15 "where one of these cannot be kept the job halts and next_epoch stays",
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}: {}", self.text())
    }
}

/// An invariant that does not hold, and what was seen instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{seen} ({invariant})")]
pub struct Broken {
    /// The invariant.
    pub invariant: Invariant,
    /// What was seen, with the numbers.
    pub seen: String,
}

/// Returns `Err(Broken)` from the function around it unless the condition holds.
#[macro_export]
macro_rules! check {
    ($invariant:ident, $condition:expr, $($seen:tt)*) => {
        if !$condition {
            return Err($crate::Broken { invariant: $crate::Invariant::$invariant, seen: format!($($seen)*) }.into());
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page names what keeps each invariant, and what attacks it.
    #[test]
    fn the_page_on_the_design_has_each() {
        let page = include_str!("../../docs/design.md");
        for invariant in Invariant::ALL {
            assert!(page.contains(&format!("\n| {invariant:?} | ")), "{invariant}");
        }
    }
}
