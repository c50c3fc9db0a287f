//! Every item of a plan, changed, and what is said of it.

use super::{
    super::text::tests::{JOB, plan_with, table},
    *,
};

fn said(before: &str, now: &str) -> Vec<String> {
    changes(before, now).iter().map(Change::to_string).collect()
}

#[test]
fn each_thing_that_changes_is_named_and_nothing_else() {
    let plan = plan_with(JOB, &table());
    for (from, to, expected) in [
        (
            "topic = \"clicks\"",
            "topic = \"other\"",
            &["stream clicks: topic clicks removed", "stream clicks: topic other added"][..],
        ),
        (", \"late-orders\"", "", &["stream orders: topic late-orders removed"]),
        ("\"Id\"", "\"ID\"", &["stream orders: column id: path changed from Id to ID"]),
        (
            "who.addresses[0]",
            "whom[\\\"a.b\\\"][1]",
            &["stream orders: column country: path changed from who.addresses[0] to whom[\"a.b\"][1]"],
        ),
        (
            "\"decimal(10,2)\"",
            "\"decimal(11,2)\"",
            &[
                "stream orders: column amount: type changed from decimal(10,2) to decimal(11,2)",
                "target public.orders: column amount: type of the query changed from decimal(10,2) to decimal(11,2)",
            ],
        ),
        (
            "long = \"truncate\"",
            "long = \"null\"",
            &["stream orders: column country: on long changed from truncate to null"],
        ),
        (", nul = \"strip\" } }", " } }", &["stream orders: column country: on nul changed from strip to reject"]),
        (
            "  { name = \"amount\"",
            "  { name = \"more\", type = \"date\" },\n  { name = \"amount\"",
            &["stream orders: column more added"],
        ),
        (
            "name = \"at\", type = \"timestamptz\"",
            "name = \"at\", type = \"timestamptz\", time = \"epoch_ms\", strict = true",
            &[
                "stream clicks: column at: strict changed from false to true",
                "stream clicks: column at: time changed from none to epoch_ms",
            ],
        ),
        (
            "topic = \"clicks\"",
            "topic = \"clicks\"\nkeys = \"ignore-case\"",
            &["stream clicks: column at: keys changed from exact to ignore-case"],
        ),
        ("id > 0", "id > 1", &["target public.orders: query changed"]),
        (
            "upper(country) AS country, amount",
            "upper(country) AS note, amount",
            &[
                "target public.orders: query changed",
                "target public.orders: column note added",
                "target public.orders: column country removed",
            ],
        ),
        (
            "SELECT id, upper(country) AS country, amount",
            "SELECT upper(country) AS country, id, amount",
            &["target public.orders: query changed", "target public.orders: columns in another order"],
        ),
        ("public.clicks", "public.klicks", &["target public.clicks: removed", "target public.klicks: added"]),
        // What does not decide on rows.
        ("interval = \"5s\"", "interval = \"6s\"", &[]),
    ] {
        let what = format!("{from} -> {to}");
        assert!(JOB.contains(from), "{what}");
        let text = match to.contains("AS note") {
            true => JOB.replace("on = { country =", "on = { note ="),
            false => JOB.into(),
        };
        let changed = plan_with(&text.replacen(from, to, 1), &table());
        if expected.is_empty() {
            assert_eq!(changed.text, plan.text, "{what}");
            continue;
        }
        assert_eq!(said(&plan.text, &changed.text), expected, "{what}");
    }
    let renamed = JOB.replace("name = \"clicks\"", "name = \"seen\"").replace("FROM clicks", "FROM seen");
    assert_eq!(
        said(&plan.text, &plan_with(&renamed, &table()).text),
        [
            "stream clicks: removed",
            "stream seen: added",
            "target public.clicks: query changed",
            "target public.clicks: stream changed from clicks to seen",
        ]
    );
    let mut other = table();
    other[2].kind = connectors::ColumnKind::Decimal(13, 2);
    other[1].not_null = true;
    other[0].not_null = false;
    assert_eq!(
        said(&plan.text, &plan_with(JOB, &other).text),
        [
            "target public.orders: column id: NOT NULL in the table no longer",
            "target public.orders: column country: now NOT NULL in the table",
            "target public.orders: column amount: type changed from decimal(12,2) to decimal(13,2)",
        ]
    );
}

#[test]
fn the_plan_of_another_release_is_compared_as_far_as_it_is_known() {
    let now = plan_with(JOB, &table()).text;
    // A format that has something which ours has not, and lacks something.
    let older = now
        .replace("tidegate plan 3", "tidegate plan 2")
        .replace("\"mode\":\"append\",", "\"merge\":{\"by\":[\"id\"]},")
        .replace("id > 0", "id > 5")
        .replace(
            "{\"part\":\"stream clicks\"",
            "{\"part\":\"window w\",\"means\":{\"size\":5}},\n{\"part\":\"stream clicks\"",
        );
    assert_eq!(
        said(&older, &now),
        [
            "the plan: written as \"tidegate plan 3\" instead of \"tidegate plan 2\"",
            "target public.orders: query changed",
            "window w: removed",
        ]
    );
    // The same format, with what a later release has added to it.
    let later = now.replace("\"mode\":\"append\",", "\"mode\":\"append\",\"merge\":{\"by\":[\"id\"]},");
    assert_eq!(said(&later, &now), ["target public.clicks: merge changed", "target public.orders: merge changed"]);
    let unread = "the plan: changed; what it was before is written in a form that this release does not read";
    for text in ["", "tidegate plan 1\nstream clicks\n", "{}", "{\"format\":7,\"parts\":[]}", &now[..now.len() / 2]] {
        assert_eq!(said(text, &now), [unread], "{text}");
    }
    assert_eq!(said(&now, &now), ["the plan: changed in something that this release does not know"]);
}
