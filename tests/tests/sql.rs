//! Queries give what the warehouse gives for the same text, and values come back as they were sent.

use std::time::Duration;

use harness::{
    records::{Record, send},
    world::{STACK, World, wait},
};

/// What a client of the stand-in gets, as the loader's user and with its refusals.
fn ask(sql: &str) -> Vec<Vec<Option<String>>> {
    let env = STACK.env();
    let of =
        |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| v.clone()).expect("a variable of the stack");
    wait(async {
        let mut config = tokio_postgres::Config::new();
        config.host(of("REDSHIFT_HOST")).port(of("REDSHIFT_PORT").parse().expect("a port"));
        config.user(of("REDSHIFT_USER")).password(of("REDSHIFT_PASSWORD")).dbname(of("REDSHIFT_DATABASE"));
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.expect("the stand-in answers");
        tokio::spawn(connection);
        let messages = client.simple_query(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let rows = messages.iter().filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|i| row.get(i).map(String::from)).collect())
            }
            _ => None,
        });
        rows.collect()
    })
}

/// Columns of the stream and the table that is filled with them as they are.
const SOURCE: &[(&str, &str)] = &[
    ("id", "bigint"),
    ("i", "integer"),
    ("s", "smallint"),
    ("n", "decimal(12,4)"),
    ("d", "double precision"),
    ("t", "varchar(200)"),
    ("u", "varchar(50)"),
    ("b", "boolean"),
    ("day", "date"),
    ("wall", "timestamp"),
    ("at", "timestamptz"),
    ("js", "varchar(500)"),
];

/// Expressions, each with the type of the column that takes it. The same text goes to both.
const EXPRESSIONS: &[(&str, &str)] = &[
    ("i + s", "integer"),
    ("i - 7", "integer"),
    ("id * 3", "bigint"),
    ("i / 7", "integer"),
    ("i % 7", "integer"),
    ("-i", "integer"),
    ("n + 1.25", "decimal(38,4)"),
    ("n - s", "decimal(38,4)"),
    ("n * 2.5", "decimal(38,5)"),
    ("CAST(n / 3 AS decimal(20,6))", "decimal(20,6)"),
    ("CAST(n / -7.5 AS decimal(20,6))", "decimal(20,6)"),
    ("d * 2", "double precision"),
    ("d / 4", "double precision"),
    ("d + n", "double precision"),
    ("abs(i)", "integer"),
    ("abs(n)", "decimal(12,4)"),
    ("sign(n)", "decimal(12,4)"),
    ("ceil(n)", "decimal(12,4)"),
    ("floor(n)", "decimal(12,4)"),
    ("round(n, 1)", "decimal(12,4)"),
    ("round(n)", "decimal(12,4)"),
    ("trunc(n, 2)", "decimal(12,4)"),
    ("mod(i, 5)", "integer"),
    ("CAST(n AS integer)", "integer"),
    ("CAST(n AS decimal(12,1))", "decimal(12,1)"),
    ("CAST(d AS integer)", "integer"),
    ("CAST(d AS decimal(12,2))", "decimal(12,2)"),
    ("CAST(i AS varchar(20))", "varchar(20)"),
    ("CAST(n AS varchar(30))", "varchar(30)"),
    ("d::varchar(40)", "varchar(40)"),
    ("CAST(day AS varchar(20))", "varchar(20)"),
    ("CAST(wall AS varchar(40))", "varchar(40)"),
    ("CAST(at AS varchar(40))", "varchar(40)"),
    ("CAST(b AS integer)", "integer"),
    ("CAST(split_part(u, '-', 2) AS integer)", "integer"),
    ("CAST(split_part(u, '-', 2) AS double precision)", "double precision"),
    // Of ASCII: the stand-in counts characters where Redshift counts bytes.
    ("CAST(u AS varchar(3))", "varchar(3)"),
    ("CAST(wall AS date)", "date"),
    ("CAST(at AS timestamp)", "timestamp"),
    ("CAST(day AS timestamp)", "timestamp"),
    ("CASE WHEN i > 100 THEN 'high' WHEN i > 0 THEN 'mid' ELSE 'low' END", "varchar(4)"),
    ("CASE s WHEN 1 THEN 'one' WHEN 2 THEN 'two' END", "varchar(3)"),
    ("CASE WHEN s = 0 THEN 0 ELSE 100 / s END", "integer"),
    ("nvl(i, -1)", "integer"),
    ("nvl(t, u, 'none')", "varchar(200)"),
    ("coalesce(n, 0)", "decimal(16,4)"),
    ("nvl2(t, 'there', 'null')", "varchar(5)"),
    ("nullif(s, 1)", "smallint"),
    ("decode(s, 1, 'one', 2, 'two', 'many')", "varchar(4)"),
    // Of ASCII as well: the stand-in knows no other letters.
    ("upper(u)", "varchar(50)"),
    ("lower(u)", "varchar(50)"),
    ("initcap(u)", "varchar(50)"),
    ("len(t)", "integer"),
    ("length(u)", "integer"),
    ("octet_length(t)", "integer"),
    ("t || '-' || u", "varchar(300)"),
    ("concat(t, u)", "varchar(300)"),
    ("substring(t, 2, 3)", "varchar(200)"),
    ("substring(t FROM 3)", "varchar(200)"),
    ("substring(t, -1, 4)", "varchar(200)"),
    ("left(t, 3)", "varchar(200)"),
    ("right(t, 3)", "varchar(200)"),
    ("trim(t)", "varchar(200)"),
    ("btrim(t, ' a')", "varchar(200)"),
    ("ltrim(t, 'a ')", "varchar(200)"),
    ("rtrim(t)", "varchar(200)"),
    ("replace(t, 'a', 'xx')", "varchar(400)"),
    ("translate(u, 'ab-', 'XY')", "varchar(50)"),
    ("split_part(u, '-', 1)", "varchar(50)"),
    ("strpos(t, 'a')", "integer"),
    ("position('b' IN t)", "integer"),
    ("charindex('b', t)", "integer"),
    ("reverse(u)", "varchar(50)"),
    ("repeat(u, 2)", "varchar(100)"),
    ("lpad(u, 12, '*')", "varchar(50)"),
    ("rpad(u, 12)", "varchar(50)"),
    ("md5(t)", "varchar(32)"),
    ("sha2(t, 256)", "varchar(64)"),
    ("sha2(t, 512)", "varchar(128)"),
    ("regexp_substr(u, '[0-9]+')", "varchar(50)"),
    ("regexp_replace(t, '[aeiou]', '_')", "varchar(200)"),
    ("regexp_count(t, '[a-z]')", "integer"),
    ("t LIKE '%a%'", "boolean"),
    ("u NOT LIKE 'b\\\\_%'", "boolean"),
    ("u LIKE '%\\\\_x%' OR u LIKE 'zz%'", "boolean"),
    ("s IN (1, nullif(i, 5), NULL)", "boolean"),
    ("CASE WHEN s <> 0 AND 10 / s > 1 THEN 'a' ELSE 'b' END", "varchar(1)"),
    ("n > '12.34567'", "boolean"),
    ("d IN (0, -12.5)", "boolean"),
    ("t ILIKE 'A%'", "boolean"),
    ("u ~ '^[a-z]+-[0-9]+$'", "boolean"),
    ("i IN (1, 2, 3, -5)", "boolean"),
    ("t NOT IN ('abc', 'x')", "boolean"),
    ("n BETWEEN -1 AND 1.5", "boolean"),
    ("i IS NULL OR b", "boolean"),
    ("NOT b AND i > 0", "boolean"),
    ("b IS NOT TRUE", "boolean"),
    ("day > '2026-03-01'", "boolean"),
    ("at < '2026-01-01 00:00:00+02'", "boolean"),
    ("wall >= day", "boolean"),
    ("date_trunc('hour', wall)", "timestamp"),
    ("date_trunc('month', at)", "timestamptz"),
    ("date_trunc('week', wall)", "timestamp"),
    ("date_trunc('quarter', wall)", "timestamp"),
    ("dateadd(day, 40, wall)", "timestamp"),
    ("dateadd(month, 1, wall)", "timestamp"),
    ("dateadd(quarter, -1, wall)", "timestamp"),
    ("dateadd(hour, s, at)", "timestamptz"),
    ("dateadd(year, 4, day)", "timestamp"),
    ("datediff(day, wall, '2026-06-30 12:00:00'::timestamp)", "bigint"),
    ("datediff(month, day, wall)", "bigint"),
    ("datediff(hour, wall, dateadd(minute, 90, wall))", "bigint"),
    ("datediff(year, '1999-12-31'::timestamp, wall)", "bigint"),
    ("CAST(extract(year FROM wall) AS integer)", "integer"),
    ("CAST(date_part('dow', day) AS integer)", "integer"),
    ("CAST(extract(doy FROM wall) AS integer)", "integer"),
    ("CAST(extract(epoch FROM date_trunc('second', wall)) AS bigint)", "bigint"),
    ("CAST(date_part('week', day) AS integer)", "integer"),
    ("to_char(wall, 'YYYY-MM-DD HH24:MI:SS.US')", "varchar(40)"),
    ("to_char(wall, 'FMDay, DD Mon YYYY HH12:MI am')", "varchar(40)"),
    ("to_char(day, 'IYYY-IW Q DDD D')", "varchar(40)"),
    ("to_date(to_char(wall, 'DD.MM.YYYY'), 'DD.MM.YYYY')", "date"),
    ("to_timestamp(to_char(wall, 'YYYYMMDDHH24MISS'), 'YYYYMMDDHH24MISS')", "timestamptz"),
    ("last_day(day)", "date"),
    ("to_char(wall, 'DD-MON-YY')::date", "date"),
    ("to_char(wall, 'FMMonth DD, YYYY')::date", "date"),
    ("to_char(wall, 'YYYY.DDD')::date", "date"),
    ("to_char(day, 'YYMMDD')::date", "date"),
    ("to_char(wall, 'MM/DD/YYYY HH24:MI')::timestamp", "timestamp"),
    ("to_char(wall, 'YYYYMMDD HH24MISS')::timestamp", "timestamp"),
    ("to_char(wall, 'Mon DD,YYYY  HH12:MI:SS.US PM')::timestamp", "timestamp"),
    ("(to_char(wall, 'Dy, DD Mon YYYY HH24:MI:SS') || ' PST')::timestamptz", "timestamptz"),
    ("(to_char(day, 'YYYY-Mon-DD') || ' 04:05 America/New_York')::timestamptz", "timestamptz"),
    ("wall > '11/25/2020 10:00 PM'", "boolean"),
    ("timestamp 'epoch' + id * interval '1 second'", "timestamp"),
    ("timestamp 'epoch' + n * interval '1 second'", "timestamp"),
    ("timestamptz 'epoch' + interval '1 millisecond' * i", "timestamptz"),
    ("timestamp 'epoch' + d * interval '1 minute'", "timestamp"),
    ("wall + interval '1 month'", "timestamp"),
    ("day - interval '1-2' year to month", "timestamp"),
    ("day + s * interval '1 day'", "timestamp"),
    ("at - (interval '1 day 02:03:04.5' + interval '7 hours, 1 minute') / 2", "timestamptz"),
    ("convert_timezone('Europe/Berlin', wall)", "timestamp"),
    ("convert_timezone('America/New_York', 'Asia/Kolkata', wall)", "timestamp"),
    ("convert_timezone('Asia/Kathmandu', at)", "timestamp"),
    ("is_valid_json(js)", "boolean"),
    ("CASE WHEN is_valid_json(js) THEN json_extract_path_text(js, 'a', 'b') END", "varchar(500)"),
    ("CASE WHEN is_valid_json(js) THEN json_extract_path_text(js, 'c') END", "varchar(500)"),
];

/// A value of each column for record `n`. Every ninth of each is missing.
fn record(n: i64) -> String {
    let mixed = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let texts = ["abc", " a b ", "", "ÄÖü straße", "Banana bread", "x", "100% a_b", "aAbB", "tail   "];
    let jsons = [
        r#"{\"a\":{\"b\":\"x\\u00e4\"},\"c\":[1,{}]}"#,
        r#"{\"a\":1}"#,
        "no json",
        "[1]",
        r#"{\"a\":{\"b\":null},\"c\":true}"#,
        r#"{\"c\":1.50}"#,
    ];
    let month = 1 + mixed % 12;
    let (day, hour, minute, second) = (1 + mixed % 28, mixed % 24, (mixed >> 7) % 60, (mixed >> 13) % 60);
    let moment = format!("{}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}", 1999 + mixed % 40);
    let values = [
        ("i", ((mixed as i32) % 1000).to_string()),
        ("s", (n % 7 - 3).to_string()),
        ("n", format!("{}{}.{:04}", if n % 2 == 0 { "-" } else { "" }, mixed % 100_000, mixed % 10_000)),
        ("d", format!("{}", (mixed % 100_001) as f64 / 8.0 - 6000.0)),
        ("t", format!("\"{}\"", texts[(n % 9) as usize])),
        ("u", format!("\"{}-{}\"", ["ab", "b_x", "zz"][(n % 3) as usize], n)),
        ("b", mixed.is_multiple_of(3).to_string()),
        ("day", format!("\"{}-{month:02}-{day:02}\"", 1999 + mixed % 40)),
        ("wall", format!("\"{moment}.{:06}\"", mixed % 1_000_000)),
        ("at", format!("\"{moment}.5+0{}:30\"", n % 10)),
        ("js", format!("\"{}\"", jsons[(n % 6) as usize])),
    ];
    let there = values.iter().enumerate().filter(|(place, _)| (n + *place as i64) % 9 != 4);
    let fields: Vec<String> = there.map(|(_, (name, value))| format!("\"{name}\":{value}")).collect();
    format!("{{\"id\":{n},{}}}", fields.join(","))
}

#[test]
fn a_query_gives_what_the_warehouse_gives() {
    let world = World::bare("sql");
    let name = &world.name;
    world.create_topic(name, 3);
    let source: Vec<String> = SOURCE.iter().map(|(column, kind)| format!("{column} {kind}")).collect();
    ask(&format!("CREATE TABLE {name} ({})", source.join(", ")));
    let results: Vec<String> = EXPRESSIONS.iter().enumerate().map(|(i, (_, kind))| format!("e{i} {kind}")).collect();
    ask(&format!("CREATE TABLE {name}_results (id bigint, {})", results.join(", ")));
    let declared: Vec<String> =
        SOURCE.iter().map(|(column, kind)| format!("{{ name = \"{column}\", type = \"{kind}\" }}")).collect();
    let plain: Vec<&str> = SOURCE.iter().map(|(column, _)| *column).collect();
    let selected: Vec<String> =
        EXPRESSIONS.iter().enumerate().map(|(i, (expression, _))| format!("{expression} AS e{i}")).collect();
    let lines = format!(
        r#"
[[stream]]
name = "source"
topic = "{name}"
columns = [ {} ]
[[target]]
table = "public.{name}"
query = "SELECT {} FROM source"
[[target]]
table = "public.{name}_results"
query = '''
SELECT id, {} FROM source WHERE id >= 0'''
"#,
        declared.join(", "),
        plain.join(", "),
        selected.join(",\n  ").replace("'''", "''")
    );
    let job = world.job_file(&[lines]).display().to_string();
    let ended = world.start(&["init", &job]).end(Duration::from_secs(30));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let count = 2000;
    let records: Vec<_> = (0..count).map(|n| ((n % 3) as i32, Record::of(record(n)))).collect();
    send(name, &records);
    let ended = world.start(&["run", &job, "--until-caught-up"]).end(Duration::from_secs(120));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let letters = world.sql(&format!("SELECT stage, column_name, reason FROM tidegate.{name}_dead_letters LIMIT 5"));
    assert!(letters.is_empty(), "{letters:?}");
    let (mut compared, mut different) = (0, Vec::new());
    for (i, (expression, kind)) in EXPRESSIONS.iter().enumerate() {
        let theirs = ask(&format!("SELECT CAST({expression} AS {kind}) AS e FROM {name} ORDER BY id"));
        let ours = ask(&format!("SELECT e{i} FROM {name}_results ORDER BY id"));
        assert_eq!((ours.len(), theirs.len()), (count as usize, count as usize), "{expression}");
        if let Some(row) = (0..ours.len()).find(|row| ours[*row] != theirs[*row]) {
            let (ours, theirs) = (&ours[row][0], &theirs[row][0]);
            different.push(format!("{expression}: {ours:?} and not {theirs:?}, of {}", record(row as i64)));
        }
        assert!(ours.iter().any(|row| row[0].is_some()), "{expression} is always NULL");
        compared += ours.len();
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
    println!("{} expressions, {compared} values", EXPRESSIONS.len());
}

/// Limits and exact values of each type, there and back.
#[test]
fn values_come_back_as_they_were_sent() {
    let world = World::bare("values");
    let name = &world.name;
    world.create_topic(name, 2);
    ask(&format!(
        "CREATE TABLE {name} (n bigint, big bigint, small decimal(9,4), mid decimal(18,4), large decimal(38,10), at timestamptz, wall timestamp, r real, b varbyte(10))"
    ));
    let lines = format!(
        r#"
[[stream]]
name = "s"
topic = "{name}"
columns = [ {{ name = "n", type = "bigint" }}, {{ name = "big", type = "bigint" }}, {{ name = "small", type = "decimal(9,4)" }},
  {{ name = "mid", type = "decimal(18,4)" }}, {{ name = "large", type = "decimal(38,10)" }}, {{ name = "at", type = "timestamptz" }},
  {{ name = "wall", type = "timestamp" }}, {{ name = "r", type = "real" }}, {{ name = "b", type = "varbyte(10)" }} ]
[[target]]
table = "public.{name}"
query = "SELECT n, big, small, mid, large, at, wall, r, b FROM s"
"#
    );
    let job = world.job_file(&[lines]).display().to_string();
    assert_eq!(world.start(&["init", &job]).end(Duration::from_secs(30)).code, Some(0));
    // Every offset there is and every quarter of an hour besides; the same wall in all of them.
    let offsets: Vec<(i64, String)> = (-12 * 4..=14 * 4)
        .map(|quarters: i64| {
            let minutes = quarters * 15;
            let sign = if minutes < 0 { '-' } else { '+' };
            (minutes, format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60))
        })
        .collect();
    let bigs = ["9223372036854775807", "-9223372036854775808", "9007199254740993", "-9007199254740993", "0"];
    let larges = [
        "9999999999999999999999999999.9999999999",
        "-9999999999999999999999999999.9999999999",
        "0.0000000001",
        "-0.1",
        "1e-10",
        "12345678901234567890.1234567891",
    ];
    // The same times 10^10.
    let scaled: [i128; 6] = [
        99_999_999_999_999_999_999_999_999_999_999_999_999,
        -99_999_999_999_999_999_999_999_999_999_999_999_999,
        1,
        -1_000_000_000,
        1,
        123_456_789_012_345_678_901_234_567_891,
    ];
    let mut sum = [0i128; 3];
    let mut records: Vec<(i32, Record)> = offsets
        .iter()
        .enumerate()
        .map(|(n, (_, offset))| {
            let cents = n as i128 * 12_345_678 - 400_000_000;
            sum[0] += cents;
            sum[1] += cents * 1_000_000_007;
            sum[2] += scaled[n % scaled.len()];
            let decimal = |units: i128, scale: u32| {
                let one = 10i128.pow(scale);
                format!("{}{}.{:0width$}", if units < 0 { "-" } else { "" }, units.abs() / one, units.abs() % one, width = scale as usize)
            };
            let text = format!(
                r#"{{"n":{n},"big":{},"small":{},"mid":{},"large":{},"at":"2026-07-01T12:34:56.789012{offset}","wall":"2026-07-01T12:34:56.789012","r":0.1,"b":"AP8="}}"#,
                bigs[n % bigs.len()],
                decimal(cents, 4),
                decimal(cents * 1_000_000_007, 4),
                larges[n % larges.len()]
            );
            ((n % 2) as i32, Record::of(text))
        })
        .collect();
    // Walls and moments from end to end of the calendar, on days when clocks are put on or back somewhere, and with as many digits
    // as there may be: those after the sixth are cut off.
    let mut times: Vec<(String, String)> = [
        "0001-01-01T00:00:00",
        "1582-10-10T12:00:00",
        "1900-02-28T23:59:59",
        "1969-12-31T23:59:59.999999",
        "1970-01-01T00:00:00",
        "2024-02-29T00:00:00.1",
        "2026-03-29T02:30:00",
        "2026-10-25T02:30:00",
        "9999-12-31T23:59:59.999999",
    ]
    .map(|text| (text.to_string(), text.replace('T', " ")))
    .into();
    times.extend((1..=9).map(|digits| {
        let (fraction, kept) = (&"987654321"[..digits], &"987654321"[..digits.min(6)]);
        (format!("2026-01-02T03:04:05.{fraction}"), format!("2026-01-02 03:04:05.{kept}"))
    }));
    let forms = [("+0530", "06:30:00"), ("+05", "07:00:00"), ("-0930", "21:30:00"), ("-00:00", "12:00:00")];
    let moments: Vec<(String, String, String)> = times
        .iter()
        .map(|(sent, shown)| (format!("{sent}Z"), sent.clone(), format!("{shown}+00|{shown}")))
        .chain(forms.iter().map(|(offset, utc)| {
            let wall = "2026-07-01T12:00:00";
            (format!("{wall}{offset}"), wall.into(), format!("2026-07-01 {utc}+00|2026-07-01 12:00:00"))
        }))
        .collect();
    let first = 1000;
    records.extend(
        moments
            .iter()
            .enumerate()
            .map(|(n, (at, wall, _))| (0, Record::of(format!(r#"{{"n":{},"at":"{at}","wall":"{wall}"}}"#, first + n)))),
    );
    send(name, &records);
    let ended = world.start(&["run", &job, "--until-caught-up"]).end(Duration::from_secs(60));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let rows = ask(&format!("SELECT at || '|' || wall FROM {name} WHERE n >= {first} ORDER BY n"));
    assert_eq!(rows.len(), moments.len());
    for ((at, _, shown), row) in moments.iter().zip(&rows) {
        assert_eq!(row[0].as_deref(), Some(shown.as_str()), "{at}");
    }
    let rows = ask(&format!("SELECT big, large, at, wall, r, b FROM {name} WHERE n < {first} ORDER BY n"));
    assert_eq!(rows.len(), offsets.len());
    for (n, (row, (minutes, offset))) in rows.iter().zip(&offsets).enumerate() {
        let at = (12 * 60 + 34) - minutes;
        let (day, of_day) = (1 + at.div_euclid(1440), at.rem_euclid(1440));
        let (month, day) = if day == 0 { (6, 30) } else { (7, day) };
        let utc = format!("2026-{month:02}-{day:02} {:02}:{:02}:56.789012+00", of_day / 60, of_day % 60);
        let large = match larges[n % larges.len()] {
            "-0.1" => "-0.1000000000",
            "1e-10" => "0.0000000001",
            other => other,
        };
        let expected = [bigs[n % bigs.len()], large, &utc, "2026-07-01 12:34:56.789012", "0.1", "\\x00ff"];
        assert_eq!(row.iter().map(|v| v.as_deref().unwrap_or("NULL")).collect::<Vec<_>>(), expected, "{offset}");
    }
    let sums = ask(&format!("SELECT sum(small) * 10000, sum(mid) * 10000, sum(large) * 10000000000 FROM {name}"));
    let whole =
        |text: &Option<String>| text.as_deref().unwrap_or_default().split('.').next().unwrap_or_default().to_string();
    assert_eq!([0, 1, 2].map(|i| whole(&sums[0][i])), sum.map(|sum| sum.to_string()));
}
