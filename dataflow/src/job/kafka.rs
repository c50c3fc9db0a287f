//! `[kafka]`: the cluster of the topics.

use std::ops::Range;

use connectors::kafka::{NAMES, PropertyProblem, check_property};
use toml::de::DeValue;

use super::{
    address,
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

/// Whether there is all that a login takes. `written` has each property with its place, also one that cannot be used.
fn check_login(properties: &Properties, written: &[(String, Range<usize>)], findings: &mut Findings) {
    let says_sasl = properties.iter().any(|(name, value)| {
        let is_sasl = |text: &String| text.to_uppercase().starts_with("SASL_");
        name == "security.protocol" && matches!(value, Property::Plain(text) if is_sasl(text))
    });
    let of = |name: &str| written.iter().find(|(known, _)| known == name);
    let Some((_, span)) = of("security.protocol").filter(|_| says_sasl) else { return };
    let has_mechanism = of("sasl.mechanism").or(of("sasl.mechanisms")).is_some();
    // PLAIN and SCRAM are what is taken, and both take these.
    let names = ["sasl.username", "sasl.password"].into_iter().filter(|name| of(name).is_none());
    let missing = (!has_mechanism).then_some("sasl.mechanism").into_iter().chain(names);
    let missing: Vec<String> = missing.map(|name| format!("`{name}`")).collect();
    if !missing.is_empty() {
        let help = "write them as well: \"sasl.mechanism\" = \"SCRAM-SHA-512\", and name and password as secrets";
        let is = if missing.len() == 1 { "which is" } else { "which are" };
        findings.add(span.clone(), format!("a login takes {}, {is} not there", missing.join(" and ")), help);
    }
}

/// Brokers and properties.
pub fn read(mut kafka: Section<'_>, findings: &mut Findings) -> Option<(String, Properties)> {
    let brokers =
        kafka.text(findings, "brokers").map(|brokers| address::judged_in_secret(findings, brokers, address::brokers));
    let (mut properties, mut written) = (Vec::new(), Vec::new());
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
        written.push((name.to_string(), span.clone()));
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
    check_login(&properties, &written, findings);
    kafka.finish(findings);
    Some((brokers?, properties))
}
