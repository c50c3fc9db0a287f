//! A stack, a topic, a table and a job file; runs and kills the program.

use std::{
    io::Read,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication},
    client::DefaultClientContext,
};
use stack::{Options, Stack};
use tokio::runtime::Runtime;

use crate::gate::{Place, beside_others};

/// One stack for all tests.
pub static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::up(Options::default()).expect("the local stack starts"));

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

/// Waits for an answer.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    LazyLock::force(&STACK); // it has runtimes of its own, which cannot be started inside this one
    RUNTIME.block_on(future)
}

/// A job of its own on the shared stack.
pub struct World {
    /// Name of the job, the topic and the table.
    pub name: String,
    /// Added to the environment of the program, after that of the stack.
    pub env: Vec<(String, String)>,
    /// More of `[kafka] properties`, each after a comma.
    pub properties: String,
    /// Where the password for Redshift is, and the secret key for S3, as the job file says it.
    pub secrets: [String; 2],
    /// Text of the job file after `[[target]]`'s query; more sections.
    pub more: String,
    dir: tempfile::TempDir,
    _place: Place,
}

/// The columns of the table that [`World::new`] makes, and of the query that fills it.
pub const COLUMNS: &str = "id bigint NOT NULL, small smallint, qty integer, amount double precision, flag boolean, \
     note varchar(40), at timestamptz, kafka_partition integer NOT NULL, kafka_offset bigint NOT NULL";

impl World {
    /// A topic with so many partitions, an empty table, and control tables.
    pub fn new(prefix: &str, partitions: i32) -> World {
        let world = World::bare(prefix);
        world.create_topic(&world.name, partitions);
        world.create_table(&world.name);
        world.init();
        world
    }

    /// Nothing but a name.
    pub fn bare(prefix: &str) -> World {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{prefix}_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let _place = beside_others();
        let dir = tempfile::tempdir().expect("a folder");
        let more = "[epoch]\ninterval = \"300ms\"\n".into();
        let secrets = ["REDSHIFT_PASSWORD", "AWS_SECRET_ACCESS_KEY"].map(|name| format!(r#"{{ env = "{name}" }}"#));
        World { name, env: Vec::new(), properties: String::new(), secrets, more, dir, _place }
    }

    /// The same job from another folder, and with nothing between it and the servers.
    pub fn elsewhere(&self) -> World {
        let dir = tempfile::tempdir().expect("a folder");
        let (name, properties, more) = (self.name.clone(), self.properties.clone(), self.more.clone());
        let secrets = self.secrets.clone();
        World { name, env: Vec::new(), properties, secrets, more, dir, _place: beside_others() }
    }

    /// Makes a topic.
    pub fn create_topic(&self, topic: &str, partitions: i32) {
        self.create_topic_with(topic, partitions, &[]);
    }

    /// Makes a topic with settings of its own.
    pub fn create_topic_with(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let topic = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let topic = settings.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
        let made = wait(admin().create_topics([&topic], &AdminOptions::new())).expect("an answer");
        made.into_iter().next().expect("one result").expect("the topic is made");
    }

    /// Removes a topic and waits until it is gone.
    pub fn delete_topic(&self, topic: &str) {
        let gone = wait(admin().delete_topics(&[topic], &AdminOptions::new())).expect("an answer");
        gone.into_iter().next().expect("one result").expect("the topic is removed");
        until(Duration::from_secs(30), "the topic is gone", || {
            let metadata = admin().inner().fetch_metadata(None, Duration::from_secs(10)).expect("metadata");
            !metadata.topics().iter().any(|t| t.name() == topic)
        });
    }

    /// Gives a topic more partitions.
    pub fn add_partitions(&self, topic: &str, count: usize) {
        let made = wait(admin().create_partitions(&[NewPartitions::new(topic, count)], &AdminOptions::new()))
            .expect("an answer");
        made.into_iter().next().expect("one result").expect("the partitions are made");
    }

    /// Deletes the records of a partition below an offset, as retention does.
    pub fn delete_records(&self, topic: &str, partition: i32, below: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(below)).expect("a partition");
        wait(admin().delete_records(&list, &AdminOptions::new())).expect("they are removed");
    }

    /// The end of each partition of a topic.
    pub fn ends(&self, topic: &str, partitions: i32) -> Vec<i64> {
        let admin = admin();
        let end = |p| admin.inner().fetch_watermarks(topic, p, Duration::from_secs(10)).expect("watermarks").1;
        (0..partitions).map(end).collect()
    }

    /// Makes a table in schema public, as the loader's user.
    pub fn create_table(&self, table: &str) {
        self.sql(&format!("CREATE TABLE {table} ({COLUMNS})"));
        self.sql(&format!("ALTER TABLE {table} OWNER TO loader"));
    }

    /// Runs statements around the stand-in, as superuser. Rows as text.
    pub fn sql(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        wait(async {
            let (client, connection) =
                STACK.redshift.direct().connect(tokio_postgres::NoTls).await.expect("PostgreSQL answers");
            tokio::spawn(connection);
            let mut rows = Vec::new();
            for message in client.simple_query(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}")) {
                if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
                    rows.push((0..row.len()).map(|i| row.get(i).map(String::from)).collect());
                }
            }
            rows
        })
    }

    /// One number.
    pub fn number(&self, sql: &str) -> i64 {
        let rows = self.sql(sql);
        rows[0][0].as_deref().unwrap_or("0").parse().expect("a number")
    }

    /// A `[[stream]]` and its `[[target]]`.
    pub fn line(topic: &str, table: &str, start: &str) -> String {
        format!(
            r#"
[[stream]]
name = "s_{topic}"
topic = "{topic}"
start = {start}
columns = [
  {{ name = "id", type = "bigint" }}, {{ name = "small", type = "smallint" }}, {{ name = "qty", type = "integer" }},
  {{ name = "amount", type = "double precision" }}, {{ name = "flag", type = "boolean" }},
  {{ name = "note", type = "varchar(40)" }}, {{ name = "at", type = "timestamptz" }},
]
[[target]]
table = "public.{table}"
query = "SELECT id, small, qty, amount, flag, note, at, _partition AS kafka_partition, _offset AS kafka_offset FROM s_{topic}"
"#
        )
    }

    /// The job file with these lines.
    pub fn job_file(&self, lines: &[String]) -> PathBuf {
        let path = self.dir.path().join("job.toml");
        let text = format!(
            r#"version = 1
job = "{}"
[kafka]
brokers = "${{KAFKA_BROKERS}}"
properties = {{ "fetch.wait.max.ms" = 20{} }}
[staging]
url = "s3://${{S3_BUCKET}}/staging"
region = "${{AWS_REGION}}"
endpoint = "${{S3_ENDPOINT}}"
access_key_id = {{ env = "AWS_ACCESS_KEY_ID" }}
secret_access_key = {}
[redshift]
host = "${{REDSHIFT_HOST}}"
port = "${{REDSHIFT_PORT}}"
database = "${{REDSHIFT_DATABASE}}"
user = "${{REDSHIFT_USER}}"
password = {}
iam_role = "${{REDSHIFT_IAM_ROLE}}"
tls = "off"
{}
{}"#,
            self.name,
            self.properties,
            self.secrets[1],
            self.secrets[0],
            self.more,
            lines.concat()
        );
        // Whole or not at all: another process of the job may be reading it.
        let half = tempfile::NamedTempFile::new_in(self.dir.path()).expect("a file");
        std::fs::write(half.path(), text).expect("the job file is written");
        half.persist(&path).expect("the job file is in its place");
        path
    }

    /// The job file of the world's own topic and table.
    pub fn own_job(&self) -> PathBuf {
        self.job_file(&[World::line(&self.name, &self.name, "\"earliest\"")])
    }

    /// Makes the control tables.
    pub fn init(&self) {
        let ended = self.start(&["init", &self.own_job().display().to_string()]).end(Duration::from_secs(30));
        assert_eq!(ended.code, Some(0), "{}", ended.said);
    }

    /// Runs the program to its end, which must be good; what it gave on standard output.
    pub fn output(&self, arguments: &[&str]) -> String {
        let (code, output, said) = self.finish(arguments);
        assert_eq!(code, Some(0), "{said}");
        output
    }

    /// Runs the program to its end: exit code, standard output, standard error.
    pub fn finish(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(binary());
        command.args(arguments).envs(STACK.env()).envs(self.env.iter().map(|(k, v)| (k, v)));
        let output = command.output().expect("it runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// The same, and it must have ended by then.
    pub fn finish_within(&self, seconds: u32, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new("timeout");
        command.args(["--signal=KILL", &seconds.to_string()]).arg(binary()).args(arguments);
        command.envs(STACK.env()).envs(self.env.iter().map(|(k, v)| (k, v)));
        let output = command.output().expect("it runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        let (said, wrong) = (text(output.stdout), text(output.stderr));
        // `timeout` ends itself as it ended the program.
        assert!(output.status.code().is_some(), "not ended within {seconds} s: {said}{wrong}");
        (output.status.code(), said, wrong)
    }

    /// Starts the program.
    pub fn start(&self, arguments: &[&str]) -> Running {
        self.start_in(self.dir.path(), arguments)
    }

    /// The same in a folder.
    pub fn start_in(&self, dir: &Path, arguments: &[&str]) -> Running {
        let binary = binary();
        let mut command = Command::new(&binary);
        command.current_dir(dir).args(arguments).envs(STACK.env()).envs(self.env.iter().map(|(k, v)| (k, v)));
        command.env_remove("RUST_BACKTRACE").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child =
            command.spawn().unwrap_or_else(|e| panic!("{}: {e}; build it with `cargo build`", binary.display()));
        Running { child }
    }

    /// Starts `tidegate run` with the world's own job.
    pub fn run(&self, workers: usize, more: &[&str]) -> Running {
        let (job, workers) = (self.own_job().display().to_string(), workers.to_string());
        let mut arguments = vec!["run", &job, "--workers", &workers];
        arguments.extend(more);
        self.start(&arguments)
    }

    /// Runs until everything is loaded; it must end well.
    pub fn catch_up(&self, workers: usize) -> Ended {
        let ended = self.run(workers, &["--until-caught-up"]).end(Duration::from_secs(300));
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        ended
    }

    /// Rows in the world's own table.
    pub fn rows(&self) -> i64 {
        self.number(&format!("SELECT count(*) FROM {}", self.name))
    }

    /// Sends the program to another address for Redshift.
    pub fn redshift_at(&mut self, address: SocketAddr) {
        self.env.push(("REDSHIFT_HOST".into(), address.ip().to_string()));
        self.env.push(("REDSHIFT_PORT".into(), address.port().to_string()));
    }

    /// Sends the program to another address for Kafka.
    pub fn kafka_at(&mut self, address: impl ToString) {
        self.env.push(("KAFKA_BROKERS".into(), address.to_string()));
    }

    /// Sends the program to another address for S3.
    pub fn s3_at(&mut self, address: SocketAddr) {
        self.env.push(("S3_ENDPOINT".into(), format!("http://{address}")));
    }
}

fn admin() -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", STACK.kafka.brokers()).create().expect("an admin client")
}

/// The program that users get, as built beside this test.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    test.parent().and_then(|deps| deps.parent()).expect("target folder").join("tidegate")
}

/// Waits until something is so.
pub fn until(within: Duration, what: &str, mut so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !so() {
        assert!(since.elapsed() < within, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A running program. It is killed when this is dropped.
pub struct Running {
    child: Child,
}

/// How a program ended.
pub struct Ended {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Its standard error.
    pub said: String,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        send(self.pid(), signal);
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("a state").is_none()
    }

    /// Waits for its end.
    pub fn end(mut self, within: Duration) -> Ended {
        let mut pipe = self.child.stderr.take().expect("its standard error");
        let reader = std::thread::spawn(move || {
            let mut said = String::new();
            let _ = pipe.read_to_string(&mut said); // what there is, when it is killed
            said
        });
        let since = Instant::now();
        let mut late = false;
        while self.runs() {
            if since.elapsed() > within {
                late = true;
                self.signal(9);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let code = self.child.wait().expect("a state").code();
        let said = reader.join().expect("its words");
        assert!(!late, "not ended within {within:?}: {said}");
        Ended { code, said }
    }

    /// The most memory in bytes that was resident, so far; `None` once it has ended.
    pub fn most_resident_bytes(&self) -> Option<u64> {
        self.status("VmHWM:").map(|kb| kb * 1024)
    }

    /// How many threads it has; `None` once it has ended.
    pub fn threads(&self) -> Option<u64> {
        self.status("Threads:")
    }

    /// A number that the system tells of it.
    fn status(&self, key: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse().ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process.
pub fn send(pid: i32, signal: i32) {
    let sent = Command::new("kill").args([format!("-{signal}"), pid.to_string()]).stderr(Stdio::null()).status();
    sent.expect("kill runs");
}
