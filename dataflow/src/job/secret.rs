//! Secrets: where they are to be found, never themselves.

use toml::{Spanned, de::DeValue};

use super::findings::Findings;

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
                let text = std::env::var(name).map_err(|_| format!("the environment has no variable {name}"))?;
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

/// A secret in one of its two forms.
pub fn secret_of(findings: &mut Findings, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Secret> {
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
    findings.add_secret(value.span(), key, value.span());
    None
}
