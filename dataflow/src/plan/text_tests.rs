//! The format of a plan is a promise: golden text and hashes, and what changes them.

use std::collections::BTreeSet;

use connectors::{ColumnKind, TableName, TargetColumn, dead_letter_columns};

use super::*;
use crate::plan::{Plan, plan};

/// A small job with one of everything.
pub(in crate::plan) const JOB: &str = r#"
version = 1
job = "shop"
[kafka]
brokers = "b:9092"
[[stream]]
name = "Orders"
topics = ["orders", "late-orders"]
start = "earliest"
columns = [
  { name = "Id", type = "bigint" },
  { name = "country", type = "varchar(2)", path = "who.addresses[0]", on = { long = "truncate", nul = "strip" } },
  { name = "amount", type = "decimal(10,2)", on = { range = "null", scale = "round" } },
]
[[stream]]
name = "clicks"
topic = "clicks"
columns = [ { name = "at", type = "timestamptz" } ]
[[target]]
table = "public.orders"
query = "SELECT id, upper(country) AS country, amount FROM orders WHERE id > 0"
on = { country = { long = "null" } }
[[target]]
table = "public.clicks"
query = "SELECT at FROM clicks"
[epoch]
interval = "5s"
[memory]
budget = "64 MB"
[staging]
url = "s3://bucket/prefix"
region = "eu-1"
[redshift]
host = "h"
database = "dev"
user = "loader"
password = { env = "NONE" }
iam_role = "arn:role"
[errors]
halt_above = "5%"
"#;

const TEXT: &str = r#"{"format":"tidegate plan 3","hash":"eb3b474b8d8b315484ce88128ae59fffefa59e2f7999d6aa8208f191c2f4588c","parts":[
{"part":"stream clicks","sha256":"b8df7c94853ab86913c818fb56532925a1febdb6b04ac123a88e390cc8cf2185","means":
{"stream":"clicks","format":"json","topics":["clicks"],"columns":[
 {"name":"at","type":"timestamptz","path":["at"]}]}},
{"part":"stream orders","sha256":"fb71350e349ec264dc04c3fae6b7f395685e9bd344b857e1fcbab9722eb485f1","means":
{"stream":"orders","format":"json","topics":["late-orders","orders"],"columns":[
 {"name":"id","type":"bigint","path":["Id"]},
 {"name":"country","type":"varchar(2)","path":["who","addresses",0],"on":{"long":"truncate","nul":"strip"}},
 {"name":"amount","type":"decimal(10,2)","path":["amount"],"on":{"range":"null","scale":"round"}}]}},
{"part":"target public.clicks","sha256":"a3988ab5f4759815e890bf3e8b74fbfa2a744eaa9418c96057b7636a6fd99896","means":
{"schema":"public","table":"clicks","mode":"append","stream":"clicks","query":"SELECT at FROM clicks","columns":[
 {"name":"at","from":"timestamptz","type":"timestamptz"}]}},
{"part":"target public.orders","sha256":"39d8fa0e93f4e8eb25333ddd91a6c64420eca516f1db4970d964770d83cdd30e","means":
{"schema":"public","table":"orders","mode":"append","stream":"orders","query":"SELECT id, upper(country) AS country, amount FROM orders WHERE id > 0","columns":[
 {"name":"id","from":"bigint","type":"bigint","not_null":true},
 {"name":"country","from":"varchar(65535)","type":"varchar(2)","on":{"long":"null"}},
 {"name":"amount","from":"decimal(10,2)","type":"decimal(12,2)","on":{"range":"null","scale":"round"}}]}}
]}
"#;
const HASH: &str = "eb3b474b8d8b315484ce88128ae59fffefa59e2f7999d6aa8208f191c2f4588c";

fn job(text: &str) -> Job {
    job::of_text(text)
}

pub(in crate::plan) fn table() -> Vec<TargetColumn> {
    let column = |name: &str, kind, not_null| TargetColumn {
        name: name.into(),
        kind,
        not_null,
        has_default: false,
        is_identity: false,
    };
    vec![
        column("id", ColumnKind::BigInt, true),
        column("country", ColumnKind::Varchar(2), false),
        column("amount", ColumnKind::Decimal(12, 2), false),
        column("note", ColumnKind::Varchar(10), false),
    ]
}

pub(in crate::plan) fn plan_with(text: &str, orders: &[TargetColumn]) -> Plan {
    let at = TargetColumn {
        name: "at".into(),
        kind: ColumnKind::TimestampTz,
        not_null: false,
        has_default: false,
        is_identity: false,
    };
    let mut catalog = |name: &TableName| {
        Ok(Some(match name.table.as_str() {
            "clicks" | "klicks" => vec![at.clone()],
            letters if letters.ends_with("_dead_letters") => dead_letter_columns(),
            _ => orders.to_vec(),
        }))
    };
    plan(&job(text), &mut catalog).unwrap()
}

/// A new golden text means a new number in the format's name.
#[test]
fn the_format_never_changes() {
    let plan = plan_with(JOB, &table());
    assert_eq!(plan.text, TEXT);
    assert_eq!(plan.hash, HASH);
}

#[test]
fn the_text_is_a_document_that_proves_its_hashes() {
    let plan = plan_with(JOB, &table());
    let document: serde_json::Value = serde_json::from_str(&plan.text).unwrap();
    assert_eq!(document["hash"], plan.hash);
    let mut listed = "tidegate plan 3\n".to_string();
    for (text, part) in plan.text.split("\"means\":\n").skip(1).zip(document["parts"].as_array().unwrap()) {
        let (text, _) = text.rsplit_once("]}}").unwrap();
        assert_eq!(part["sha256"], hash_of(&format!("{text}]}}")), "{text}");
        listed += &format!("{} {}\n", part["part"], part["sha256"].as_str().unwrap());
    }
    assert_eq!(hash_of(&listed), plan.hash);
    assert_eq!(plan.hash.len(), 64);
}

/// Name and hash of each part.
fn parts(plan: &Plan) -> BTreeSet<(String, String)> {
    let document: serde_json::Value = serde_json::from_str(&plan.text).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_string();
    document["parts"].as_array().unwrap().iter().map(|p| (text(&p["part"]), text(&p["sha256"]))).collect()
}

#[test]
fn whatever_decides_on_rows_changes_the_part_it_is_in_and_no_other() {
    let plan = plan_with(JOB, &table());
    let mut seen: BTreeSet<String> = [plan.hash.clone()].into();
    let mut differs = |changed: &Plan, gone: &[&str], what: &str| {
        assert!(seen.insert(changed.hash.clone()), "{what}: the same hash again");
        let (before, now) = (parts(&plan), parts(changed));
        let lost: Vec<&str> = before.difference(&now).map(|(name, _)| name.as_str()).collect();
        assert_eq!(lost, gone, "{what}");
    };
    let (clicks, orders) = ("stream clicks", "stream orders");
    let (to_clicks, to_orders) = ("target public.clicks", "target public.orders");
    for (from, to, gone) in [
        ("topic = \"clicks\"", "topic = \"other\"", &[clicks][..]),
        ("\"late-orders\"", "\"lost-orders\"", &[orders]),
        (", \"late-orders\"", "", &[orders]),
        ("\"Id\"", "\"ID\"", &[orders]),
        ("name = \"amount\", type", "name = \"amount\", path = \"a\", type", &[orders]),
        ("addresses[0]", "addresses[1]", &[orders]),
        ("who.addresses", "whom.addresses", &[orders]),
        ("\"decimal(10,2)\"", "\"decimal(11,2)\"", &[orders, to_orders]),
        ("\"varchar(2)\"", "\"varchar(1)\"", &[orders]),
        ("long = \"truncate\"", "long = \"null\"", &[orders]),
        ("nul = \"strip\"", "nul = \"null\"", &[orders]),
        ("range = \"null\", ", "", &[orders, to_orders]),
        ("scale = \"round\"", "scale = \"truncate\"", &[orders, to_orders]),
        ("  { name = \"amount\"", "  { name = \"more\", type = \"date\" },\n  { name = \"amount\"", &[orders]),
        ("id > 0", "id > 1", &[to_orders]),
        ("upper(country)", "lower(country)", &[to_orders]),
        ("upper(country) AS country, amount", "upper(country) AS note, amount", &[to_orders]),
        ("SELECT id, upper(country) AS country, amount", "SELECT upper(country) AS country, id, amount", &[to_orders]),
        ("long = \"null\"", "long = \"truncate\"", &[to_orders]),
        ("public.orders", "sales.orders", &[to_orders]),
        ("public.clicks", "public.klicks", &[to_clicks]),
    ] {
        let what = format!("{from} -> {to}");
        assert!(JOB.contains(from), "{what}");
        // The policy of the target is that of the query's column unless it says otherwise.
        let text = match to.contains("AS note") {
            true => JOB.replace("on = { country =", "on = { note ="),
            false => JOB.into(),
        };
        differs(&plan_with(&text.replacen(from, to, 1), &table()), gone, &what);
    }
    let renamed = JOB.replace("name = \"clicks\"", "name = \"seen\"").replace("FROM clicks", "FROM seen");
    differs(&plan_with(&renamed, &table()), &[clicks, to_clicks], "a stream's name");
    // The table.
    let mut wider = table();
    wider[2].kind = ColumnKind::Decimal(13, 2);
    differs(&plan_with(JOB, &wider), &[to_orders], "a type");
    let mut stricter = table();
    stricter[1].not_null = true;
    differs(&plan_with(JOB, &stricter), &[to_orders], "NOT NULL");
}

#[test]
fn whatever_does_not_decide_on_rows_changes_nothing() {
    let plan = plan_with(JOB, &table());
    for (from, to) in [
        ("\"orders\", \"late-orders\"", "\"late-orders\", \"orders\""),
        ("start = \"earliest\"", "start = \"latest\""),
        ("name = \"Orders\"", "name = \"orders\""),
        ("SELECT id, upper(country)", "select  id,\\n  upper( country )"),
        ("b:9092", "c:9092"),
        ("interval = \"5s\"", "interval = \"6s\""),
        ("64 MB", "128 MB"),
        ("s3://bucket/prefix", "s3://other/place"),
        ("eu-1", "eu-2"),
        ("host = \"h\"", "host = \"i\""),
        ("database = \"dev\"", "database = \"prod\""),
        ("user = \"loader\"", "user = \"other\""),
        ("iam_role = \"arn:role\"", "iam_role = \"arn:other\"\nschema = \"elsewhere\""),
        ("halt_above = \"5%\"", "reject = \"halt\""),
        ("job = \"shop\"", "job = \"other\""),
    ] {
        assert!(JOB.contains(from), "{from}");
        let changed = plan_with(&JOB.replacen(from, to, 1), &table());
        assert_eq!(changed.text, plan.text, "{from} -> {to}");
    }
    // A column that is not filled, and the order of the sections.
    let mut more = table();
    more.remove(3);
    more.rotate_left(1);
    more[0].has_default = true;
    assert_eq!(plan_with(JOB, &more).text, plan.text);
    let (stream, rest) = JOB.split_once("[[stream]]\nname = \"clicks\"").unwrap();
    let (clicks, rest) = rest.split_once("[[target]]").unwrap();
    let (head, orders) = stream.split_once("[[stream]]").unwrap();
    let turned = format!("{head}[[stream]]\nname = \"clicks\"{clicks}[[stream]]{orders}[[target]]{rest}");
    assert_eq!(plan_with(&turned, &table()).text, plan.text);
}

/// What the processes of a cluster must agree on is more than the plan: where files go, and when the job gives up.
#[test]
fn processes_must_mean_the_same() {
    let mut seen: BTreeSet<String> = [meaning(&job(JOB)).unwrap()].into();
    for (from, to) in [
        ("id > 0", "id > 1"),
        ("addresses[0]", "addresses[1]"),
        ("long = \"null\"", "long = \"truncate\""),
        ("s3://bucket/prefix", "s3://other/prefix"),
        ("s3://bucket/prefix", "s3://bucket/place"),
        ("region = \"eu-1\"", "endpoint = \"http://e:1\""),
        ("iam_role = \"arn:role\"", "iam_role = \"arn:role\"\nschema = \"elsewhere\""),
        ("halt_above = \"5%\"", "halt_above = \"6%\""),
        ("halt_above = \"5%\"", "reject = \"halt\"\nhalt_above = \"5%\""),
    ] {
        assert!(JOB.contains(from), "{from}");
        assert!(seen.insert(meaning(&job(&JOB.replacen(from, to, 1))).unwrap()), "{from} -> {to}");
    }
    for (from, to) in [("host = \"h\"", "host = \"i\""), ("interval = \"5s\"", "interval = \"6s\"")] {
        assert!(!seen.insert(meaning(&job(&JOB.replacen(from, to, 1))).unwrap()), "{from} -> {to}");
    }
}
