//! `tidegate-stack`: starts a local Kafka, S3 and Redshift, or one of them, and stops them at SIGTERM or SIGINT.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand, builder::NonEmptyStringValueParser};
use stack::{
    Options, Stack, StackError, clicks,
    kafka::{self, lines},
    redshift::{
        self, Redshift, client,
        statements::{Statement, statements},
    },
    s3::S3,
};

/// A local Kafka, S3 and Redshift for tests and demonstrations. Everything stops, and nothing is left, when it ends.
#[derive(Parser)]
#[command(
    version,
    after_help = "To begin: tidegate-stack up --env stack.env &\n\
    Once stack.env is there: set -a; . ./stack.env; set +a\n\
    The other commands, and job files, find the servers by the names in it."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start all three.
    Up {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        kafka: KafkaOptions,
        #[command(flatten)]
        names: Names,
    },
    /// Start a Kafka broker.
    Kafka {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        kafka: KafkaOptions,
        #[command(flatten)]
        names: Names,
    },
    /// Start an S3 server with one bucket.
    S3 {
        #[command(flatten)]
        names: Names,
    },
    /// Start the Redshift stand-in, and the S3 server that its COPY reads from.
    Redshift {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        names: Names,
    },
    /// Send a stream of clicks, of which one in a hundred is broken.
    Clicks(Clicks),
    /// Send each line of standard input as a record.
    Produce(Produce),
    /// Run statements on a running stand-in.
    Sql(Sql),
}

#[derive(Args)]
struct Clicks {
    /// The brokers.
    #[arg(long, env = "KAFKA_BROKERS")]
    brokers: String,
    /// The topic; it is made if it is not there.
    #[arg(long, default_value = "clicks:6", value_name = "NAME[:PARTITIONS]")]
    topic: kafka::Topic,
    /// How long to go on.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Records a second.
    #[arg(long, default_value_t = 2000)]
    rate: u64,
}

#[derive(Args)]
struct Produce {
    /// The brokers.
    #[arg(long, env = "KAFKA_BROKERS")]
    brokers: String,
    /// The topic; it is made if it is not there.
    #[arg(value_name = "NAME[:PARTITIONS]")]
    topic: kafka::Topic,
    /// What stands between the key and the value of a line, such as `:`; without it a line is a value.
    #[arg(short = 'K', long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    key_separator: Option<String>,
    /// Send an empty value as a tombstone, and an empty key as none.
    #[arg(short = 'Z', long)]
    empty_is_null: bool,
    /// A header of each record; several times for several.
    #[arg(short = 'H', long, value_name = "NAME=VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// The partition of each record; else it goes by the key, and without one each gets its turn.
    #[arg(short, long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// The timestamp of each record, in milliseconds since 1970; else it is now.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(i64).range(0..))]
    timestamp: Option<i64>,
}

/// `NAME=VALUE`.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it like NAME=VALUE")?;
    Ok((name.into(), value.into()))
}

#[derive(Args)]
struct Sql {
    /// Its host.
    #[arg(long, env = "REDSHIFT_HOST")]
    host: String,
    /// Its port.
    #[arg(long, env = "REDSHIFT_PORT")]
    port: u16,
    /// Who runs them.
    #[arg(long, env = "REDSHIFT_USER", default_value = redshift::USER)]
    user: String,
    /// Their password.
    #[arg(long, env = "REDSHIFT_PASSWORD", default_value = redshift::PASSWORD, hide_env_values = true)]
    password: String,
    /// Run them as the stand-in's administrator.
    #[arg(long)]
    admin: bool,
    /// A file of statements, each ended by a semicolon; `-` is standard input.
    #[arg(long)]
    file: Option<PathBuf>,
    /// The statements, one after the other, after those of the file; one that fails ends it, and is named.
    #[arg(required_unless_present = "file")]
    statements: Vec<String>,
}

#[derive(Args)]
struct Place {
    /// Where the servers keep their data, each in a folder of its own that is removed at the end; a temporary folder by default.
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Args)]
struct KafkaOptions {
    /// Which Kafka: a real broker (needs Java), or librdkafka's mock (no transactions, no ids of topics, 5 MiB a partition).
    #[arg(long, value_enum, default_value_t)]
    kafka: kafka::Kind,
    /// A topic to make at once; the mock has no others. Like clicks:6, with 6 partitions.
    #[arg(long, value_name = "NAME[:PARTITIONS]")]
    topic: Vec<kafka::Topic>,
}

#[derive(Args)]
struct Names {
    /// Where to write NAME=value lines once everything answers; `-` is standard output. A file that is there is removed first.
    #[arg(long, default_value = "-")]
    env: PathBuf,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = format!("tidegate-stack: {error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                text += &format!(": {error}");
                cause = error.source();
            }
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), StackError> {
    match command {
        Command::Clicks(Clicks { brokers, topic, seconds, rate }) => {
            let sent = clicks::Clicks { brokers, topic, seconds, rate }.send()?;
            println!("{} clicks sent, {} of them broken", sent.records, sent.broken);
            Ok(())
        }
        Command::Produce(produce) => {
            let Produce { brokers, topic, key_separator, empty_is_null, header: headers, partition, timestamp } =
                produce;
            let form = lines::Form { key_separator, empty_is_null, headers, partition, timestamp_ms: timestamp };
            let sent = lines::produce(&brokers, &topic, &form, std::io::stdin().lock())?;
            println!("{sent} records sent to {}", topic.name);
            Ok(())
        }
        Command::Sql(sql) => run_sql(&sql),
        Command::Up { place, kafka, names } => serve(&names, || {
            let stack = Stack::up(Options { dir: place.dir, kafka: kafka.kafka, topics: kafka.topic })?;
            Ok((stack.env(), stack))
        }),
        Command::Kafka { place, kafka, names } => serve(&names, || {
            let kafka = kafka::Kafka::start(kafka.kafka, &place.folder("kafka"), &kafka.topic)?;
            Ok((kafka.env(), kafka))
        }),
        Command::S3 { names } => serve(&names, || {
            let s3 = S3::start("tidegate")?;
            Ok((s3.env(), s3))
        }),
        Command::Redshift { place, names } => serve(&names, || {
            let s3 = S3::start("tidegate")?;
            let redshift = Redshift::start(&place.folder("redshift"), &s3)?;
            Ok(([s3.env(), redshift.env()].concat(), (redshift, s3)))
        }),
    }
}

impl Place {
    /// The folder of one server.
    fn folder(&self, name: &str) -> PathBuf {
        let temporary = || std::env::temp_dir().join(format!("tidegate-{}", std::process::id()));
        self.dir.clone().unwrap_or_else(temporary).join(name)
    }
}

/// Starts servers, writes their names, and lets them run until a signal.
fn serve<T>(
    names: &Names,
    start: impl FnOnce() -> Result<(Vec<(&'static str, String)>, T), StackError>,
) -> Result<(), StackError> {
    // Before anything starts, so that a signal in between is not lost.
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT])
        .map_err(io("listen for signals"))?;
    let file = Some(&*names.env).filter(|file| file.as_os_str() != "-");
    if let Some(file) = file {
        make_way(file).map_err(io(format!("write the servers' names into {} (--env)", file.display())))?;
    }
    let (env, _servers) = start()?;
    let text: String = env.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    match file {
        None => std::io::stdout().write_all(text.as_bytes()).map_err(io("print the names"))?,
        Some(file) => write_names(file, &text)?,
    }
    signals.forever().next();
    Ok(())
}

/// Finds out whether the file of names can be written, and removes one that is there: whoever waits for it would take the names of an
/// earlier start for those of this one.
fn make_way(file: &Path) -> std::io::Result<()> {
    let half = file.with_extension("half");
    std::fs::write(&half, "")?;
    std::fs::remove_file(half)?;
    match std::fs::remove_file(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Writes a file whole or not at all: somebody may be waiting for it.
fn write_names(file: &Path, text: &str) -> Result<(), StackError> {
    let half = file.with_extension("half");
    let written = std::fs::write(&half, text).and_then(|()| std::fs::rename(&half, file));
    written.map_err(io(format!("write the servers' names into {} (--env)", file.display())))
}

fn run_sql(sql: &Sql) -> Result<(), StackError> {
    let who = if sql.admin { (redshift::ADMIN, redshift::ADMIN_PASSWORD) } else { (&*sql.user, &*sql.password) };
    let mut all = match &sql.file {
        Some(file) => statements(&read(file)?),
        None => Vec::new(),
    };
    let of_arguments = sql.statements.iter().flat_map(|text| statements(text));
    all.extend(of_arguments.map(|statement| Statement { line: None, ..statement }));
    client::run((&sql.host, sql.port), who, &all, &mut std::io::stdout().lock())
}

/// The text of a file, or of standard input.
fn read(file: &Path) -> Result<String, StackError> {
    let mut text = String::new();
    let read = match file.as_os_str() == "-" {
        true => std::io::stdin().read_to_string(&mut text),
        false => std::fs::File::open(file).and_then(|mut open| open.read_to_string(&mut text)),
    };
    read.map(|_| text).map_err(io(format!("read the statements in {} (--file)", file.display())))
}

fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> StackError {
    move |source| StackError::Io { doing: doing.into(), source }
}
