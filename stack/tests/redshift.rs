//! The Redshift stand-in is as unkind as Redshift: each test is one of its peculiarities, seen over the wire.

#![allow(clippy::unwrap_used)] // a test from end to end

use std::{sync::Arc, time::Duration};

use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use object_store::{ObjectStoreExt, aws::AmazonS3Builder, path::Path};
use parquet::arrow::ArrowWriter;
use stack::{
    redshift::{DATABASE, PASSWORD, ROLE, Redshift, USER},
    s3::{REGION, S3},
};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

struct World {
    redshift: Redshift,
    s3: S3,
    _dir: tempfile::TempDir,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let s3 = S3::start("tidegate").unwrap();
    let redshift = Redshift::start(&dir.path().join("redshift"), &s3).unwrap();
    World { redshift, s3, _dir: dir }
}

impl World {
    async fn connect_as(&self, password: &str) -> Result<Client, tokio_postgres::Error> {
        let address = self.redshift.address();
        let mut config = tokio_postgres::Config::new();
        config.host(address.ip().to_string()).port(address.port()).user(USER).password(password).dbname(DATABASE);
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn connect(&self) -> Client {
        self.connect_as(PASSWORD).await.unwrap()
    }

    async fn put(&self, key: &str, body: Vec<u8>) {
        let bucket = AmazonS3Builder::new()
            .with_endpoint(self.s3.endpoint())
            .with_allow_http(true)
            .with_region(REGION)
            .with_bucket_name(self.s3.bucket())
            .with_access_key_id(&self.s3.owner().id)
            .with_secret_access_key(&self.s3.owner().secret)
            .build()
            .unwrap();
        bucket.put(&Path::parse(key).unwrap(), body.into()).await.unwrap();
    }
}

/// Rows as text, and the number in the last tag.
async fn ask(client: &Client, sql: &str) -> Result<(Vec<Vec<Option<String>>>, u64), tokio_postgres::Error> {
    let (mut rows, mut count) = (Vec::new(), 0);
    for message in client.simple_query(sql).await? {
        match message {
            SimpleQueryMessage::Row(row) => rows.push((0..row.len()).map(|i| row.get(i).map(String::from)).collect()),
            SimpleQueryMessage::CommandComplete(n) => count = n,
            _ => {}
        }
    }
    Ok((rows, count))
}

async fn value(client: &Client, sql: &str) -> String {
    let (rows, _) = ask(client, sql).await.unwrap();
    rows[0][0].clone().unwrap()
}

async fn run(client: &Client, sql: &str) -> u64 {
    ask(client, sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}")).1
}

/// SQLSTATE and message, then the detail.
async fn fails(client: &Client, sql: &str) -> (String, String) {
    let error = match ask(client, sql).await {
        Ok(rows) => panic!("{sql}: {rows:?}"),
        Err(error) => error,
    };
    let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}"));
    (format!("{} {}", error.code().code(), error.message()), error.detail().unwrap_or_default().to_string())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn file(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn ints(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

const COPY: &str =
    "FROM 's3://tidegate/m' IAM_ROLE 'arn:aws:iam::123456789012:role/tidegate-copy' FORMAT AS PARQUET MANIFEST";

#[test]
fn transactions_are_those_of_snapshot_isolation() {
    let world = world();
    runtime().block_on(async {
        assert!(ROLE.ends_with("tidegate-copy"));
        let refused = world.connect_as("wrong").await.unwrap_err();
        assert_eq!(refused.as_db_error().unwrap().code().code(), "28000");
        let (a, b) = (world.connect().await, world.connect().await);
        run(&a, "CREATE TABLE f (version bigint NOT NULL, PRIMARY KEY (version))").await;
        assert_eq!(run(&a, "INSERT INTO f VALUES (1)").await, 1);

        // A compare-and-set as first statement waits, then touches nothing.
        run(&a, "BEGIN").await;
        assert_eq!(run(&a, "UPDATE f SET version = 2 WHERE version = 1").await, 1);
        run(&b, "BEGIN").await;
        let waiting = ask(&b, "UPDATE f SET version = 2 WHERE version = 1");
        tokio::pin!(waiting);
        assert!(tokio::time::timeout(Duration::from_millis(300), &mut waiting).await.is_err(), "it waits");
        run(&a, "COMMIT").await;
        assert_eq!(waiting.await.unwrap().1, 0);
        run(&b, "ROLLBACK").await;

        // Looking first breaks it: the snapshot is older than the rival's commit.
        run(&a, "BEGIN").await;
        run(&b, "BEGIN").await;
        assert_eq!(value(&b, "SELECT version FROM f").await, "2");
        run(&a, "UPDATE f SET version = 3 WHERE version = 2").await;
        run(&a, "COMMIT").await;
        assert_eq!(fails(&b, "UPDATE f SET version = 3 WHERE version = 2").await.0, "XX000 1023");
        assert_eq!(fails(&b, "SELECT 1").await.0.split(' ').next(), Some("25P02"));
        run(&b, "COMMIT").await;

        // An INSERT is not a fence, and a key is not enforced: both get in.
        for client in [&a, &b] {
            run(client, "BEGIN").await;
            assert_eq!(value(client, "SELECT count(*) FROM f WHERE version = 4").await, "0");
            run(client, "INSERT INTO f VALUES (4)").await;
        }
        run(&a, "COMMIT").await;
        run(&b, "COMMIT").await;
        assert_eq!(value(&a, "SELECT count(*) FROM f WHERE version = 4").await, "2");

        // Ends and begins where there is nothing to end or begin are silent.
        run(&a, "COMMIT").await;
        run(&a, "BEGIN").await;
        run(&a, "BEGIN").await;
        run(&a, "ROLLBACK").await;

        // A session can be ended by another of its user, and lets go of its locks.
        let pid = value(&b, "SELECT pg_backend_pid()").await;
        let start = value(&b, &format!("SELECT starttime FROM stv_sessions WHERE process = {pid}")).await;
        assert!(start.starts_with("20"), "{start}");
        run(&b, "BEGIN").await;
        run(&b, "UPDATE f SET version = 9").await;
        assert_eq!(value(&a, &format!("SELECT pg_terminate_backend({pid})")).await, "t");
        assert!(run(&a, "UPDATE f SET version = 5").await > 0);
        assert!(ask(&b, "COMMIT").await.is_err());

        // The extended protocol and what only PostgreSQL has.
        assert_eq!(a.query("SELECT 1", &[]).await.unwrap_err().as_db_error().unwrap().code().code(), "0A000");
        for sql in [
            "INSERT INTO f VALUES (1) ON CONFLICT DO NOTHING",
            "INSERT INTO f VALUES (1) RETURNING 1",
            "SELECT 1; DROP TABLE f",
            "SELECT count(*) FILTER (WHERE true) FROM f",
        ] {
            fails(&a, sql).await;
        }
        assert_eq!(
            value(&a, "SELECT database_isolation_level FROM svv_redshift_databases WHERE database_name = 'dev'").await,
            "Snapshot Isolation"
        );
    });
}

#[test]
fn copy_is_by_position_strict_and_all_or_nothing() {
    let world = world();
    runtime().block_on(async {
        let client = world.connect().await;
        run(&client, "CREATE TABLE t (a bigint, b bigint, c varchar(4))").await;
        let good = file(vec![("a", ints(&[1, 2])), ("b", ints(&[10, 20])), ("c", texts(&["x\ty", "\\N"]))]);
        let length = good.len();
        world.put("good.parquet", good).await;
        let manifest = |entries: &str| format!(r#"{{"entries":[{entries}]}}"#).into_bytes();
        let entry = |key: &str, mandatory: bool, length: usize| {
            format!(r#"{{"url":"s3://tidegate/{key}","mandatory":{mandatory},"meta":{{"content_length":{length}}}}}"#)
        };
        let last = "SELECT pg_last_copy_count()";
        assert_eq!(value(&client, "SELECT pg_last_copy_id()").await, "-1");

        world.put("m", manifest(&entry("good.parquet", true, length))).await;
        run(&client, "BEGIN").await;
        assert_eq!(run(&client, &format!("COPY t {COPY}")).await, 0, "the tag has no count");
        assert_eq!(
            (value(&client, last).await.as_str(), value(&client, "SELECT count(*) FROM t").await.as_str()),
            ("2", "2")
        );
        assert_eq!(value(&client, "SELECT c FROM t WHERE a = 2").await, "\\N", "a text that looks like NULL is a text");
        run(&client, "ROLLBACK").await;
        assert_eq!(value(&client, "SELECT count(*) FROM t").await, "0");
        assert_eq!(value(&client, last).await, "2", "the count does not roll back");

        // Refused before it loads: the old count stays.
        let id = value(&client, "SELECT pg_last_copy_id()").await;
        for (statement, error) in [
            (
                format!("COPY t {COPY} REGION 'us-east-1'"),
                "0A000 REGION argument is not supported for PARQUET based COPY",
            ),
            (format!("COPY nothing {COPY}"), "42P01 relation"),
            (format!("COPY t (a, x) {COPY}"), "42703 column"),
            (format!("COPY t {}", COPY.replace("tidegate-copy", "other")), "XX000 User arn"),
            (format!("COPY t {}", COPY.replace("tidegate/m", "tidegate/nothing")), "XX000 COPY with MANIFEST"),
        ] {
            let (message, _) = fails(&client, &statement).await;
            assert!(message.starts_with(error), "{statement}: {message}");
        }
        assert_eq!((value(&client, last).await, value(&client, "SELECT pg_last_copy_id()").await), ("2".into(), id));

        // Two columns of one type load swapped, silently; only the column list decides.
        run(&client, &format!("COPY t (b, a, c) {COPY}")).await;
        assert_eq!(value(&client, "SELECT b FROM t WHERE a = 10").await, "1");
        run(&client, "TRUNCATE t").await;

        // Listed twice, loaded twice; missing and not mandatory, skipped without a word.
        let twice = entry("good.parquet", true, length);
        world.put("m", manifest(&format!("{twice},{twice},{}", entry("gone.parquet", false, 7)))).await;
        run(&client, &format!("COPY t {COPY}")).await;
        assert_eq!(value(&client, last).await, "4");

        let narrow =
            file(vec![("a", ints(&[1])), ("b", Arc::new(Int32Array::from(vec![1])) as ArrayRef), ("c", texts(&["x"]))]);
        let long = file(vec![("a", ints(&[1, 2])), ("b", ints(&[1, 2])), ("c", texts(&["x", "ééé"]))]);
        let few = file(vec![("a", ints(&[1]))]);
        let sizes = (narrow.len(), long.len(), few.len());
        world.put("narrow.parquet", narrow).await;
        world.put("long.parquet", long).await;
        world.put("few.parquet", few).await;
        for (entries, message, detail) in [
            (entry("gone.parquet", true, 7), "File not found", "15001"),
            (r#"{"url":"s3://tidegate/good.parquet"}"#.into(), "does not have 'meta' key", "15003"),
            (entry("good.parquet", true, length + 1), "InvalidRange", "416"),
            (entry("narrow.parquet", true, sizes.0), "Spectrum Scan Error", "Column type: BIGINT"),
            (entry("long.parquet", true, sizes.1), "Spectrum Scan Error", "Table: 4, Data: 6"),
            (entry("few.parquet", true, sizes.2), "Spectrum Scan Error", "Table columns: 3, Data columns: 1"),
        ] {
            world.put("m", manifest(&format!("{twice},{entries}"))).await;
            let (text, block) = fails(&client, &format!("COPY t {COPY}")).await;
            assert!(
                text.starts_with("XX000") && text.contains(message) && block.contains(detail),
                "{entries}: {text}: {block}"
            );
        }
        assert_eq!(value(&client, "SELECT count(*) FROM t").await, "4", "all or nothing");
        assert_eq!(value(&client, last).await, "0", "a COPY that failed while it loaded");

        run(&client, "CREATE TABLE n (a bigint NOT NULL, b bigint, c varchar)").await;
        let null = file(vec![
            ("a", Arc::new(Int64Array::from(vec![None])) as ArrayRef),
            ("b", ints(&[1])),
            ("c", texts(&["x"])),
        ]);
        world.put("m", manifest(&entry("null.parquet", true, null.len()))).await;
        world.put("null.parquet", null).await;
        assert_eq!(fails(&client, &format!("COPY n {COPY}")).await.0, "XX000 Cannot insert a NULL value into column a");
        assert!(fails(&client, &format!("COPY n (b, c) {COPY}")).await.0.starts_with("42601"));
    });
}

#[test]
fn copy_knows_each_type_by_its_one_form() {
    use arrow_array::{BinaryArray, Date32Array, Decimal128Array, Float32Array, TimestampMicrosecondArray};
    let world = world();
    runtime().block_on(async {
        let client = world.connect().await;
        run(
            &client,
            "CREATE TABLE k (d9 decimal(9,2), d18 decimal(18,2), d38 decimal(38,2), f real, c char(3), b varbyte(3), day date, wall timestamp)",
        )
        .await;
        let kinds = "SELECT data_type, character_maximum_length, numeric_precision, numeric_scale FROM svv_columns WHERE table_name = 'k' ORDER BY ordinal_position";
        let (rows, _) = ask(&client, kinds).await.unwrap();
        let text = |text: &str| Some(text.to_string());
        assert_eq!(rows[1], [text("numeric"), None, text("18"), text("2")]);
        assert_eq!((&rows[5][0], &rows[5][1]), (&text("binary varying"), &text("3")));
        let decimal = |value: i128, precision| -> ArrayRef {
            Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(precision, 2).unwrap())
        };
        let columns = |last: i128, precision, single: &str, bytes: &[u8]| -> Vec<(&'static str, ArrayRef)> {
            vec![
                ("d9", decimal(-150, 9)),
                ("d18", decimal(150, 18)),
                ("d38", decimal(last, precision)),
                ("f", Arc::new(Float32Array::from(vec![0.1]))),
                ("c", texts(&[single])),
                ("b", Arc::new(BinaryArray::from_vec(vec![bytes]))),
                ("day", Arc::new(Date32Array::from(vec![-1]))),
                ("wall", Arc::new(TimestampMicrosecondArray::from(vec![-1]))),
            ]
        };
        let copy = async |columns: Vec<(&str, ArrayRef)>| {
            let body = file(columns);
            let entry = format!(r#"{{"url":"s3://tidegate/k.parquet","mandatory":true,"meta":{{"content_length":{}}}}}"#, body.len());
            world.put("k.parquet", body).await;
            world.put("m", format!(r#"{{"entries":[{entry}]}}"#).into_bytes()).await;
            format!("COPY k {COPY}")
        };
        run(&client, &copy(columns(10i128.pow(38) - 1, 38, "ab", b"\x00\xff\x5c")).await).await;
        let (rows, _) = ask(&client, "SELECT d9, d18, d38, f, c, b, day, wall FROM k").await.unwrap();
        let expected = [
            "-1.50",
            "1.50",
            "999999999999999999999999999999999999.99",
            "0.1",
            "ab ",
            "\\x00ff5c",
            "1969-12-31",
            "1969-12-31 23:59:59.999999",
        ];
        assert_eq!(rows[0], expected.map(|t| Some(t.to_string())));
        for (columns, part) in [
            (columns(1, 20, "ab", b"x"), "Column type: NUMERIC(38,2)"),
            (columns(1, 38, "abcd", b"x"), "Table: 3, Data: 4"),
            (columns(1, 38, "\u{e9}", b"x"), "does not take"),
            (columns(1, 38, "ab", b"long"), "Table: 3, Data: 4"),
        ] {
            let (_, block) = fails(&client, &copy(columns).await).await;
            assert!(block.contains(part), "{part}: {block}");
        }
    });
}

#[test]
fn functions_mean_what_redshift_means() {
    let world = world();
    runtime().block_on(async {
        let client = world.connect().await;
        for (expression, expected) in [
            ("nvl2(1, 'there', 'null')", "there"),
            ("decode(2, 1, 'one', 2, 'two', 'many')", "two"),
            ("dateadd(month, 1, '2008-01-31'::timestamp)", "2008-02-29 00:00:00"),
            ("datediff(year, '2008-12-31'::timestamp, '2009-01-01'::timestamp)", "1"),
            ("datediff(hour, '2009-01-01 08:30'::timestamp, '2009-01-01 10:00'::timestamp)", "2"),
            ("convert_timezone('EST', 'UTC', '2008-03-05 09:25:29'::timestamp)", "2008-03-05 14:25:29"),
            ("json_extract_path_text('{\"a\":{\"b\":1}}', 'a', 'b')", "1"),
            ("is_valid_json('[1]')", "f"),
            ("sha2('a', 256)", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
            ("regexp_replace('aXbX', 'X', '-')", "a-b-"),
            ("regexp_substr('abc123', '[0-9]+')", "123"),
            ("len('abc')", "3"),
        ] {
            assert_eq!(value(&client, &format!("SELECT {expression}")).await, expected, "{expression}");
        }
    });
}

#[test]
fn keys_that_lay_a_table_out_are_accepted() {
    let world = world();
    runtime().block_on(async {
        let client = world.connect().await;
        for (n, (columns, keys)) in [
            ("epoch bigint NOT NULL, a varchar(4)", "SORTKEY(epoch)"),
            ("epoch bigint NOT NULL, a varchar(4)", "SORTKEY (epoch, a)"),
            ("epoch bigint NOT NULL, a varchar(4)", "COMPOUND SORTKEY (epoch)"),
            ("epoch bigint NOT NULL, a varchar(4)", "DISTSTYLE ALL SORTKEY(epoch)"),
            ("epoch bigint NOT NULL SORTKEY, a varchar(4) ENCODE zstd", "DISTKEY (a)"),
        ]
        .into_iter()
        .enumerate()
        {
            run(&client, &format!("CREATE TABLE k{n} ({columns}) {keys}")).await;
            run(&client, &format!("INSERT INTO k{n} VALUES (1, 'a')")).await;
            assert_eq!(value(&client, &format!("SELECT a FROM k{n} WHERE epoch = 1")).await, "a", "{keys}");
        }
        fails(&client, "CREATE TABLE l (epoch bigint) SORTED BY (epoch)").await;
    });
}

/// A temporary table is seen by its session alone, takes a COPY, and goes with the transaction that made it.
#[test]
fn temporary_tables_take_a_copy() {
    let world = world();
    runtime().block_on(async {
        let (client, other) = (world.connect().await, world.connect().await);
        run(&client, "CREATE SCHEMA s").await;
        run(&client, "CREATE TABLE s.t (a bigint NOT NULL, b varchar(4))").await;
        let body = file(vec![("a", ints(&[1, 2])), ("b", texts(&["x", "y"]))]);
        let long = file(vec![("a", ints(&[1])), ("b", texts(&["too long"]))]);
        let manifest = |key: &str, length: usize| {
            let meta = format!(r#"{{"content_length":{length}}}"#);
            format!(r#"{{"entries":[{{"url":"s3://tidegate/{key}","mandatory":true,"meta":{meta}}}]}}"#).into_bytes()
        };
        let (good, bad) = (manifest("good.parquet", body.len()), manifest("long.parquet", long.len()));
        world.put("good.parquet", body).await;
        world.put("long.parquet", long).await;
        for columns in ["a bigint NOT NULL, b varchar(4)", "LIKE s.t"] {
            world.put("m", good.clone()).await;
            run(&client, "BEGIN").await;
            run(&client, &format!("CREATE TEMP TABLE probe ({columns})")).await;
            run(&client, &format!("COPY probe (a, b) {COPY}")).await;
            assert_eq!(value(&client, "SELECT pg_last_copy_count()").await, "2", "{columns}");
            assert_eq!(value(&client, "SELECT count(*) FROM probe WHERE b = 'y'").await, "1");
            assert!(fails(&other, "SELECT count(*) FROM probe").await.0.starts_with("42P01"));
            run(&client, "ROLLBACK").await;
            assert!(fails(&client, "SELECT count(*) FROM probe").await.0.starts_with("42P01"));
            // What does not fit is refused there as it is in the table itself.
            world.put("m", bad.clone()).await;
            run(&client, "BEGIN").await;
            run(&client, &format!("CREATE TEMP TABLE probe ({columns})")).await;
            let (message, detail) = fails(&client, &format!("COPY probe (a, b) {COPY}")).await;
            assert!(
                message.contains("Spectrum Scan Error") && detail.contains("Table: 4, Data: 8"),
                "{message}: {detail}"
            );
            run(&client, "ROLLBACK").await;
        }
        assert_eq!(value(&client, "SELECT count(*) FROM s.t").await, "0");
    });
}

#[test]
fn sessions_may_be_hidden_from_a_user() {
    let world = world();
    runtime().block_on(async {
        let client = world.connect().await;
        let shown = "SELECT count(*) FROM stv_sessions WHERE process = pg_backend_pid()";
        for _ in 0..2 {
            assert_eq!(value(&client, shown).await, "1");
            world.redshift.show_sessions(USER, false).unwrap();
            assert!(fails(&client, shown).await.0.starts_with("42501"));
            world.redshift.show_sessions(USER, true).unwrap();
        }
    });
}

/// What `tidegate-stack sql` prints, and what it says when it fails.
fn sql(world: &World, arguments: &[&str]) -> (String, String) {
    let address = world.redshift.address();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate-stack"));
    command.args(["sql", "--host", "localhost", "--port", &address.port().to_string()]).args(arguments);
    let output = command.output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_script_says_which_statement_failed() {
    let world = world();
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script.sql");
    let text = "CREATE TABLE a (n int);\r\nINSERT INTO a VALUES (1); -- one; row\n\n-- not there\nSELECT n,\n  nothing FROM a;\nDROP TABLE a;";
    std::fs::write(&script, text).unwrap();
    let (_, said) = sql(&world, &["--file", script.to_str().unwrap()]);
    assert!(
        said.starts_with("tidegate-stack: statement 3 of 4 failed, after 2 were done: SELECT n, ... (line 5): "),
        "{said}"
    );
    assert!(said.contains("column \"nothing\" does not exist"), "{said}");
    let (rows, said) = sql(&world, &["SELECT n FROM a; SELECT ';' AS s", "DROP TABLE b"]);
    assert_eq!(rows, "n\n1\ns\n;\n");
    assert!(said.starts_with("tidegate-stack: statement 3 of 3 failed, after 2 were done: DROP TABLE b: "), "{said}");
    let (_, said) = sql(&world, &["--file", "/no/such.sql"]);
    assert!(said.contains("cannot read the statements in /no/such.sql (--file): "), "{said}");
    let (_, said) = sql(&world, &["--password", "wrong", "SELECT 1"]);
    assert!(said.contains("no session for user loader at localhost:") && said.contains("REDSHIFT_HOST"), "{said}");
    assert!(said.contains("authentication failed"), "{said}");
}

#[test]
fn copy_goes_to_no_other_region() {
    let world = world();
    world.s3.store().make_bucket("north", "eu-north-1");
    runtime().block_on(async {
        let client = world.connect().await;
        run(&client, "CREATE TABLE far (n int)").await;
        let copy = |bucket: &str, more: &str| {
            format!("COPY far FROM 's3://{bucket}/x.manifest' IAM_ROLE '{ROLE}' FORMAT AS PARQUET MANIFEST {more}")
        };
        let (message, _) = fails(&client, &copy("north", "")).await;
        let elsewhere =
            "XX000 S3ServiceException:The S3 bucket addressed by the query is in a different region from this cluster.";
        assert!(message.starts_with(elsewhere), "{message}");
        let (message, _) = fails(&client, &copy("north", "REGION 'eu-north-1'")).await;
        assert_eq!(message, "0A000 REGION argument is not supported for PARQUET based COPY");
        assert!(fails(&client, &copy("nowhere", "")).await.0.contains("NoSuchBucket"));
    });
}

/// What is not an ordinary table is shown as what it is, and each column with what fills it.
#[test]
fn the_catalog_says_what_a_table_is() {
    let world = world();
    runtime().block_on(async {
        let client = world.connect().await;
        for statement in [
            "CREATE TABLE t (a bigint IDENTITY(0,1), b bigint GENERATED BY DEFAULT AS IDENTITY(1,1), c integer DEFAULT 7, d integer)",
            "CREATE VIEW v AS SELECT d FROM t",
            "CREATE VIEW late AS SELECT d FROM public.t WITH NO SCHEMA BINDING",
            "CREATE MATERIALIZED VIEW made AS SELECT d FROM t",
            "CREATE EXTERNAL SCHEMA lake FROM DATA CATALOG DATABASE 'd' IAM_ROLE 'r'",
            "CREATE EXTERNAL TABLE lake.e (d integer) STORED AS PARQUET LOCATION 's3://b/p/'",
        ] {
            run(&client, statement).await;
        }
        let kinds = "SELECT c.relname, c.relkind, CASE WHEN v.definition LIKE '%no schema binding%' THEN 'late' \
             WHEN v.definition LIKE 'CREATE MATERIALIZED%' THEN 'made' END FROM pg_class c JOIN pg_namespace n \
             ON n.oid = c.relnamespace LEFT JOIN pg_views v ON v.schemaname = n.nspname AND v.viewname = c.relname \
             WHERE n.nspname = 'public' AND c.relkind IN ('r', 'v') ORDER BY c.relname";
        let (kinds, _) = ask(&client, kinds).await.unwrap();
        let kinds: Vec<String> = kinds.iter().map(|row| row.iter().flatten().cloned().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(kinds, ["late v late", "made v made", "t r", "v v"]);
        assert_eq!(value(&client, "SELECT tablename FROM svv_external_tables WHERE schemaname = 'lake'").await, "e");
        let columns = "SELECT count(*) FROM svv_columns WHERE table_name IN ('v', 'late', 'made', 'e')";
        assert_eq!(value(&client, columns).await, "4");
        let (defaults, _) = ask(
            &client,
            "SELECT a.attname, d.adsrc FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum \
             JOIN pg_class c ON c.oid = d.adrelid WHERE c.relname = 't' ORDER BY a.attnum",
        )
        .await
        .unwrap();
        let begins: Vec<&str> =
            defaults.iter().map(|row| row[1].as_deref().unwrap_or_default().split('(').next().unwrap_or_default()).collect();
        assert_eq!(begins, ["\"identity\"", "default_identity", "7"]);
        // A COPY may fill the second identity, and not the first.
        world.put("data/ids.parquet", file(vec![("b", ints(&[5]))])).await;
        let length = file(vec![("b", ints(&[5]))]).len();
        let manifest = format!(
            r#"{{"entries":[{{"url":"s3://tidegate/data/ids.parquet","mandatory":true,"meta":{{"content_length":{length}}}}}]}}"#
        );
        world.put("m", manifest.into_bytes()).await;
        run(&client, &format!("COPY t (b) {COPY}")).await;
        assert_eq!(value(&client, "SELECT b FROM t").await, "5");
        assert!(fails(&client, &format!("COPY t (a) {COPY}")).await.0.contains("cannot set an identity column"));
        fails(&client, &format!("COPY v (d) {COPY}")).await;
    });
}

#[test]
fn names_in_quotes_keep_their_case_where_the_session_says_so() {
    let world = world();
    runtime().block_on(async {
        let client = world.connect().await;
        run(&client, r#"CREATE TABLE folded ("userId" integer)"#).await;
        run(&client, "INSERT INTO folded (userid) VALUES (1)").await;
        run(&client, "SET enable_case_sensitive_identifier TO true").await;
        assert_eq!(value(&client, "SHOW enable_case_sensitive_identifier").await, "on");
        assert_eq!(fails(&client, r#"SELECT "userId" FROM folded"#).await.0.split(' ').next(), Some("42703"));
        run(&client, r#"CREATE TABLE kept ("userId" integer, userid integer)"#).await;
        run(&client, r#"INSERT INTO kept ("userId", USERID) VALUES (1, 2)"#).await;
        assert_eq!(value(&client, r#"SELECT "userId" FROM kept"#).await, "1");
        run(&client, "SET enable_case_sensitive_identifier TO false").await;
        assert_eq!(value(&client, r#"SELECT "userId" FROM kept"#).await, "2");
    });
}

#[test]
fn a_varchar_is_made_longer_or_shorter_as_its_values_allow() {
    let world = world();
    runtime().block_on(async {
        let client = world.connect().await;
        run(&client, "CREATE TABLE t (a varchar(5), b integer, c varchar(5) DEFAULT 'x')").await;
        run(&client, "INSERT INTO t (a) VALUES ('abcde')").await;
        run(&client, "ALTER TABLE t ALTER COLUMN a TYPE varchar(9)").await;
        for (sql, part) in [
            ("ALTER TABLE t ALTER COLUMN a TYPE varchar(9)", "target column size should be different"),
            ("ALTER TABLE t ALTER COLUMN b TYPE varchar(9)", "cannot alter type of column"),
            ("ALTER TABLE t ALTER COLUMN c TYPE varchar(9)", "has a default"),
            ("ALTER TABLE t ALTER COLUMN a TYPE varchar(2)", "too long"),
        ] {
            let said = fails(&client, sql).await.0;
            assert!(said.contains(part), "{sql}: {said}");
        }
        run(&client, "BEGIN").await;
        let said = fails(&client, "ALTER TABLE t ALTER COLUMN a TYPE varchar(20)").await.0;
        assert!(said.contains("transaction block"), "{said}");
    });
}
