//! What a job file names and does not hold: secrets, and files of certificates and keys. They must be there before a system is reached, and
//! not before: who only reads the tables needs no secret of Kafka.

use std::{env::VarError, ops::Range};

/// One of the three systems of a job, as the section of the file that says how it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// `[kafka]`.
    Kafka,
    /// `[staging]`.
    S3,
    /// `[redshift]`.
    Redshift,
}

/// A secret: where it is to be found, never the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// A variable of the environment; line ends at its end do not belong to it.
    Env(String),
    /// A file; line ends at its end do not belong to it.
    File(String),
}

impl Secret {
    /// The secret, where it is used.
    pub fn resolve(&self) -> Result<String, String> {
        match self {
            Secret::Env(name) => {
                let text = std::env::var(name).map_err(|e| match e {
                    VarError::NotPresent => format!("the environment has no variable {name}"),
                    VarError::NotUnicode(_) => format!("the variable {name} is not UTF-8"),
                })?;
                Ok(text.trim_end_matches(['\n', '\r']).to_string())
            }
            Secret::File(path) => {
                let text =
                    std::fs::read_to_string(path).map_err(|e| format!("cannot read the secret in {path}: {e}"))?;
                Ok(text.trim_end_matches(['\n', '\r']).to_string())
            }
        }
    }
}

/// Something that stands elsewhere, and where the file names it.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    /// Who is reached with it.
    pub system: System,
    /// Its key.
    pub key: String,
    /// What it is.
    pub what: What,
    /// Bytes of the file.
    pub span: Range<usize>,
}

/// What stands elsewhere.
#[derive(Clone, Debug)]
pub enum What {
    /// A variable or a file with a secret in it.
    Secret(Secret),
    /// A file that somebody else reads.
    File(String),
}

impl Elsewhere {
    /// That it is not there, and the remedy.
    pub fn missing(&self) -> Option<(String, String)> {
        let (why, help) = match &self.what {
            What::Secret(secret) => {
                let why = secret.resolve().err()?;
                match secret {
                    Secret::Env(name) => (why, format!("set {name}, or name another variable or a file")),
                    Secret::File(_) => (why, "make the file, or name another one".into()),
                }
            }
            What::File(path) => {
                let why = std::fs::File::open(path).err()?;
                (format!("cannot read {path}: {why}"), "make the file, or name another one".into())
            }
        };
        Some((format!("`{}`: {why}", self.key), help))
    }
}
