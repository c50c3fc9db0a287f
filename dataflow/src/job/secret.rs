//! How a job file says where a secret is.

use toml::{Spanned, de::DeValue};

use super::{elsewhere::Secret, findings::Findings};

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
