//! `[kafka]`: the cluster of the topics.

use std::ops::Range;

use connectors::kafka::{NAMES, PropertyProblem, check_property};
use toml::de::DeValue;

use super::{
    elsewhere::{Secret, System, What},
    findings::Findings,
    reader::Section,
    secret::secret_of,
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

/// Properties that name a file, or a folder of them, which librdkafka reads.
const FILES: [&str; 5] =
    ["ssl.ca.location", "ssl.certificate.location", "ssl.key.location", "ssl.keystore.location", "ssl.crl.location"];

/// Properties of librdkafka.
pub type Properties = Vec<(String, Property)>;

/// Adds what is wrong with a property, and the remedy. `value` is where its value stands.
fn refuse(name: &str, problem: PropertyProblem, span: Range<usize>, value: Range<usize>, findings: &mut Findings) {
    let (what, help) = match problem {
        PropertyProblem::Secret => return findings.add_secret(span, name, value),
        PropertyProblem::Owned(why) => (format!("`{name}` cannot be set"), why.into()),
        PropertyProblem::Java(instead) => {
            (format!("`{name}` is a property of the Java client, and not of librdkafka"), instead.into())
        }
        PropertyProblem::Unknown => {
            let may_be_set = |known: &&&str| check_property(known, None).is_ok();
            let near =
                NAMES.iter().filter(may_be_set).map(|known| (strsim::damerau_levenshtein(known, name), known)).min();
            let near = near.filter(|(distance, _)| *distance <= 1 + name.len() / 6);
            let help = near.map_or("librdkafka's CONFIGURATION.md lists them".into(), |(_, near)| {
                format!("did you mean `{near}`?")
            });
            (format!("librdkafka has no property `{name}`"), help)
        }
        PropertyProblem::Value(why) => {
            (format!("`{name}`: {why}"), "librdkafka's CONFIGURATION.md says what it may be".into())
        }
    };
    findings.add(span, what, help);
}

/// Brokers and properties.
pub fn read(mut kafka: Section<'_>, findings: &mut Findings) -> Option<(String, Properties)> {
    let brokers = kafka.text(findings, "brokers");
    let mut properties = Vec::new();
    for (name, span, value) in kafka.properties(findings, "properties") {
        let property = match value.get_ref() {
            DeValue::String(text) => expand(findings, text, value.span()).map(Property::Plain),
            DeValue::Integer(number) => Some(Property::Plain(number.as_str().replace('_', ""))),
            DeValue::Boolean(value) => Some(Property::Plain(value.to_string())),
            DeValue::Table(table) if !table.contains_key("env") && !table.contains_key("file") => {
                let what = format!("`{name}` is a table, and not a property or a secret");
                findings.add(span.clone(), what, "quote the whole name, like \"sasl.password\" = { env = \"NAME\" }");
                None
            }
            DeValue::Table(_) => secret_of(findings, name, value).map(Property::Secret),
            _ => {
                let what = format!("`{name}` must be a string, a whole number, true or false");
                findings.add(span.clone(), what, "write it like \"fetch.max.bytes\" = 1000000");
                None
            }
        };
        let Some(property) = property else { continue };
        let plain = match &property {
            Property::Plain(text) => Some(text.as_str()),
            Property::Secret(_) => None,
        };
        match check_property(name, plain) {
            Ok(()) => {
                match &property {
                    Property::Secret(secret) => {
                        findings.need(System::Kafka, name, What::Secret(secret.clone()), value.span());
                    }
                    Property::Plain(path) if FILES.contains(&name) && path != "probe" => {
                        findings.need(System::Kafka, name, What::File(path.clone()), value.span());
                    }
                    Property::Plain(_) => {}
                }
                properties.push((name.to_string(), property));
            }
            Err(problem) => refuse(name, problem, span, value.span(), findings),
        }
    }
    kafka.finish(findings);
    Some((brokers?.value, properties))
}
