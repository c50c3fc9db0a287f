//! Standard output, where data goes. Everything else goes to standard error.

use std::io::Write;

/// A reader that has seen enough, like `head`, is not an error.
pub(super) fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
