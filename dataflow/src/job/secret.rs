//! Secrets: where they are to be found, never themselves.

use toml::{Spanned, de::DeValue};

use super::findings::Findings;

/// A secret: where it is to be found, never the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// A variable of the environment.
    Env(String),
    /// A file; line ends at its end do not belong to it.
    File(String),
}

impl Secret {
    /// The secret, where it is used.
    pub fn resolve(&self) -> Result<String, String> {
        match self {
            Secret::Env(name) => std::env::var(name).map_err(|_| format!("the environment has no variable {name}")),
            Secret::File(path) => {
                let text =
                    std::fs::read_to_string(path).map_err(|e| format!("cannot read the secret in {path}: {e}"))?;
                Ok(text.trim_end_matches(['\n', '\r']).to_string())
            }
        }
    }
}

/// A secret in one of its two forms.
pub fn secret_of(findings: &mut Findings, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Secret> {
    let help = "write { env = \"NAME\" } or { file = \"path\" }, so that it is not in the job file";
    if let DeValue::Table(table) = value.get_ref()
        && let Some((kind, name)) = table.iter().next()
        && let (1, Some(name)) = (table.len(), name.get_ref().as_str())
    {
        match kind.get_ref().as_ref() {
            "env" => return Some(Secret::Env(name.into())),
            "file" => return Some(Secret::File(name.into())),
            _ => {}
        }
    }
    findings.add(value.span(), format!("`{key}` is a secret"), help);
    None
}
