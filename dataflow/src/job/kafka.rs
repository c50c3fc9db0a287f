//! `[kafka]`: the cluster of the topics.

use toml::de::DeValue;

use super::{
    findings::Findings,
    reader::Section,
    secret::{Secret, secret_of},
    written::expand,
};

/// The value of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Property {
    /// As it is written.
    Plain(String),
    /// Resolved when the client is made.
    Secret(Secret),
}

/// Properties of librdkafka.
pub type Properties = Vec<(String, Property)>;

/// Brokers and properties.
pub fn read(mut kafka: Section<'_>, findings: &mut Findings) -> Option<(String, Properties)> {
    let brokers = kafka.text(findings, "brokers");
    let mut properties = Vec::new();
    for (name, span, value) in kafka.properties(findings, "properties") {
        if let Some((_, reason)) = connectors::kafka::OWNED.iter().find(|(owned, _)| *owned == name) {
            findings.add(span, format!("`{name}` cannot be set"), *reason);
            continue;
        }
        let property = match value.get_ref() {
            DeValue::String(text) => expand(findings, text, value.span()).map(Property::Plain),
            DeValue::Integer(number) => Some(Property::Plain(number.as_str().replace('_', ""))),
            DeValue::Boolean(value) => Some(Property::Plain(value.to_string())),
            _ => secret_of(findings, name, value).map(Property::Secret),
        };
        properties.extend(property.map(|p| (name.to_string(), p)));
    }
    kafka.finish(findings);
    Some((brokers?.value, properties))
}
