//! A secret that is read where it is used, each time anew: a password that was changed in its file is found without a restart.

use std::{fmt, sync::Arc};

use crate::{Error, Fault, Result};

/// Reads a secret, or says why that cannot be done.
type Read = Arc<dyn Fn() -> Result<String, String> + Send + Sync>;

/// A password or a key. Nothing prints it.
#[derive(Clone)]
pub struct Secret {
    read: Read,
    /// Whether it is none: it stands in a job file for everybody to read.
    is_open: bool,
}

impl Secret {
    /// One that is read by this each time.
    pub fn new(read: impl Fn() -> Result<String, String> + Send + Sync + 'static) -> Secret {
        Secret { read: Arc::new(read), is_open: false }
    }

    /// Something that stands in the place of a secret and is none.
    pub fn open(text: &str) -> Secret {
        Secret { is_open: true, ..text.into() }
    }

    /// A text in which it does not stand any more.
    pub fn taken_out_of(&self, text: &str) -> String {
        match (self.is_open, self.read()) {
            (false, Ok(secret)) if !secret.is_empty() => text.replace(&secret, "***"),
            _ => text.into(),
        }
    }

    /// As it is now. One that cannot be read is a setting that cannot be right.
    pub fn read(&self) -> Result<String> {
        (self.read)().map_err(|why| Error::new(Fault::Settings, why))
    }
}

impl From<&str> for Secret {
    /// One that never changes.
    fn from(text: &str) -> Secret {
        let text = text.to_string();
        Secret::new(move || Ok(text.clone()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
