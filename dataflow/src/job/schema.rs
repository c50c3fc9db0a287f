//! The JSON Schema of the job file, for editors: made of the declared keys.

use serde_json::{Map, Value, json};

use super::keys::{self, Absent, Key, Kind};

/// The schema, of draft 2020-12. What it accepts the program may still refuse: a schema knows no table and no query.
pub fn schema() -> Value {
    let mut schema = section("");
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Tidegate job file");
    schema
}

/// A table with the keys of a section.
fn section(path: &str) -> Value {
    let known = || keys::of(path).filter(|key| key.kind != Kind::NotYet);
    let properties: Map<String, Value> = known().map(|key| (key.name.to_string(), property(key))).collect();
    let required: Vec<&str> = known().filter(|key| key.default == Absent::Required).map(|key| key.name).collect();
    let mut section = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        section["required"] = json!(required);
    }
    for key in known() {
        match key.default {
            Absent::Or(other) => {
                section["oneOf"] = json!([{ "required": [key.name] }, { "required": [other] }]);
            }
            Absent::With(other) => {
                section["dependentRequired"] = json!({ (key.name): [other], (other): [key.name] });
            }
            _ => {}
        }
    }
    section
}

fn property(key: &Key) -> Value {
    let mut property = value(key.kind);
    let what = match key.default {
        Absent::Said(default) => format!("{} (default: {default})", key.documentation()),
        _ => key.documentation(),
    };
    property["description"] = json!(what);
    property["$comment"] = json!(format!("since {}", key.since));
    if let Absent::Written(default) = key.default {
        property["default"] = match key.kind {
            Kind::Number => default.parse::<u64>().map_or(json!(default), |number| json!(number)),
            Kind::Flag => json!(default == "true"),
            _ => json!(default),
        };
    }
    property
}

/// A string that is a variable of the environment, in part at least, may be anything.
fn pattern(of: &str) -> Value {
    json!({ "type": "string", "pattern": format!(r"^({of})$|\$\{{[^}}]+\}}") })
}

fn value(kind: Kind) -> Value {
    match kind {
        Kind::Version => json!({ "const": 1 }),
        Kind::Text | Kind::Moment => json!({ "type": "string" }),
        Kind::Number => json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, pattern("[0-9]+")] }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Time => pattern("[0-9]+ *(ms|s|m|h|d)"),
        Kind::Size => pattern("[0-9]+ *([KMG]i?)?B"),
        Kind::Share => pattern(r"off|[0-9]+(\.[0-9]+)? *%"),
        Kind::Start => {
            let time = json!({ "time": { "type": "string" } });
            let at =
                json!({ "type": "object", "properties": time, "required": ["time"], "additionalProperties": false });
            json!({ "anyOf": [{ "enum": ["earliest", "latest"] }, at] })
        }
        Kind::Secret => {
            let one = |name: &str| {
                let property = json!({ (name): { "type": "string" } });
                json!({ "type": "object", "properties": property, "required": [name], "additionalProperties": false })
            };
            json!({ "oneOf": [one("env"), one("file")] })
        }
        Kind::Words(words) => json!({ "anyOf": [{ "enum": words }, pattern(&words.join("|"))] }),
        Kind::Texts => json!({ "type": "array", "minItems": 1, "items": { "type": "string" } }),
        Kind::Properties => {
            let plain = json!({ "type": ["string", "integer", "boolean"] });
            json!({ "type": "object", "additionalProperties": { "anyOf": [plain, value(Kind::Secret)] } })
        }
        Kind::Table(path) => section(path),
        Kind::Tables(path) => json!({ "type": "array", "minItems": 1, "items": section(path) }),
        Kind::Named(path) => json!({ "type": "object", "additionalProperties": section(path) }),
        Kind::NotYet => json!(false),
    }
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    /// Whether a value is as a schema has it: of the keywords, those that are used above.
    fn is_valid(schema: &Value, value: &Value) -> bool {
        let all = |name: &str, holds: &dyn Fn(&Value) -> bool| schema.get(name).is_none_or(holds);
        let has = |names: &Value, value: &Value| {
            names.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some())
        };
        let is_type = |kind: &Value| match kind.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_u64() || value.is_i64(),
            "boolean" => value.is_boolean(),
            other => panic!("{other}"),
        };
        let some =
            |schemas: &Value| schemas.as_array().unwrap().iter().filter(|schema| is_valid(schema, value)).count();
        let none = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let is_member =
            |(name, member): (&String, &Value)| match (properties.get(name), &schema["additionalProperties"]) {
                (Some(schema), _) => is_valid(schema, member),
                (None, Value::Bool(allowed)) => *allowed,
                (None, Value::Null) => true,
                (None, schema) => is_valid(schema, member),
            };
        schema != &Value::Bool(false)
            && all("const", &|constant| value == constant)
            && all("enum", &|words| words.as_array().unwrap().contains(value))
            && all("type", &|kind| kind.as_array().map_or_else(|| is_type(kind), |kinds| kinds.iter().any(is_type)))
            && all("minimum", &|least| value.as_u64() >= least.as_u64())
            && all("pattern", &|pattern| {
                Regex::new(pattern.as_str().unwrap()).unwrap().is_match(value.as_str().unwrap_or_default())
            })
            && all("required", &|names| has(names, value))
            && all("dependentRequired", &|needs| {
                needs.as_object().unwrap().iter().all(|(name, needed)| value.get(name).is_none() || has(needed, value))
            })
            && all("anyOf", &|schemas| some(schemas) > 0)
            && all("oneOf", &|schemas| some(schemas) == 1)
            && all("minItems", &|least| value.as_array().unwrap().len() as u64 >= least.as_u64().unwrap())
            && all("items", &|items| value.as_array().unwrap().iter().all(|item| is_valid(items, item)))
            && value.as_object().is_none_or(|members| members.iter().all(is_member))
    }

    fn accepts(text: &str) -> bool {
        is_valid(&schema(), &toml::from_str(text).unwrap())
    }

    #[test]
    fn job_files_are_what_the_schema_says() {
        let good = super::super::tests::GOOD;
        assert!(accepts(good));
        let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/demo.toml");
        assert!(accepts(&std::fs::read_to_string(demo).unwrap()));
        for (from, to) in [
            ("version = 1", "version = 2"),
            ("job = \"clicks\"", ""),
            ("database = \"d\"", "datbase = \"d\""),
            ("brokers = \"localhost:9092\"", "brokers = 9092"),
            ("topic = \"clicks\"", "topic = \"clicks\"\ntopics = [\"other\"]"),
            ("topic = \"clicks\"", "topics = []"),
            ("topic = \"clicks\"", ""),
            ("start = { time = \"2026-11-24T00:00:00Z\" }", "start = \"sometime\""),
            ("format = \"json\"", "format = \"xml\""),
            ("format = \"json\"", "dedup = {}"),
            ("name = \"userId\"", "name = \"userId\", on = { range = \"round\" }"),
            ("interval = \"10s\"", "interval = \"10\""),
            ("max_bytes = \"64 MB\"", "max_bytes = 64"),
            ("secret_access_key = { file = \"/run/secret\" }", ""),
            ("password = { env = \"P\" }", "password = \"secret\""),
            ("format = \"json\"", "strict = \"true\""),
            ("format = \"json\"", "keys = \"any\""),
            ("name = \"userId\"", "name = \"userId\", time = \"epoch\""),
        ] {
            let text = good.replacen(from, to, 1);
            assert_ne!(text, good, "{from} is not in the file");
            assert!(!accepts(&text), "{to}");
        }
        for (from, to) in [
            ("interval = \"10s\"", "interval = \"${INTERVAL}\""),
            ("tls = \"off\"", "port = \"${PORT}\""),
            ("tls = \"off\"", "port = 5000"),
            ("start = { time = \"2026-11-24T00:00:00Z\" }", "start = \"latest\""),
            ("format = \"json\"", "format = \"raw\""),
            ("format = \"json\"", "strict = true\nkeys = \"ignore-case\""),
            ("name = \"userId\"", "name = \"userId\", time = \"epoch_ms\", strict = false"),
        ] {
            assert!(accepts(&good.replacen(from, to, 1)), "{to}");
        }
    }

    #[test]
    fn every_key_is_in_the_schema() {
        let schema = schema().to_string();
        for key in keys::KEYS {
            let is_there = schema.contains(&format!("{:?}:", key.name));
            // `key` and `table` and `status` mean something as other keys, or nothing.
            assert!(is_there || key.kind == Kind::NotYet, "{}", key.path());
        }
    }
}
