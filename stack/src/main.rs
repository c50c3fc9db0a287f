//! `tidegate-stack`: starts a local Kafka, S3 and Redshift, or one of them, and stops them at SIGTERM or SIGINT.

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use stack::{
    Options, Stack, StackError, clicks, kafka,
    redshift::{self, Redshift, client},
    s3::S3,
};

/// A local Kafka, S3 and Redshift for tests and demonstrations. Everything stops, and nothing is left, when it ends.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start all three.
    Up(Start),
    /// Start a Kafka broker.
    Kafka(Start),
    /// Start an S3 server with one bucket.
    S3(Start),
    /// Start the Redshift stand-in, and the S3 server that its COPY reads from.
    Redshift(Start),
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
}

#[derive(Args)]
struct Sql {
    /// Its host.
    #[arg(long, env = "REDSHIFT_HOST")]
    host: std::net::IpAddr,
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
    /// A file of statements, each ended by a semicolon at the end of a line.
    #[arg(long)]
    file: Option<PathBuf>,
    /// The statements, one after the other.
    #[arg(required_unless_present = "file")]
    statements: Vec<String>,
}

#[derive(Args)]
struct Start {
    /// Where the servers keep their data; a temporary folder by default. It is emptied at the end.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Which Kafka: a real broker (needs Java), or librdkafka's mock (no transactions, no ids of topics, 5 MiB a partition).
    #[arg(long, value_enum, default_value_t)]
    kafka: kafka::Kind,
    /// A topic to make at once; the mock has no others. Like clicks:6, with 6 partitions.
    #[arg(long, value_name = "NAME[:PARTITIONS]")]
    topic: Vec<kafka::Topic>,
    /// Where to write NAME=value lines once everything answers; `-` is standard output.
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
    match &command {
        Command::Clicks(Clicks { brokers, topic, seconds, rate }) => {
            let (brokers, topic) = (brokers.clone(), topic.clone());
            let sent = clicks::Clicks { brokers, topic, seconds: *seconds, rate: *rate }.send()?;
            println!("{} clicks sent, {} of them broken", sent.records, sent.broken);
            return Ok(());
        }
        Command::Produce(Produce { brokers, topic }) => {
            let sent = kafka::topics::produce(brokers, topic, std::io::stdin().lock())?;
            println!("{sent} records sent to {}", topic.name);
            return Ok(());
        }
        Command::Sql(sql) => {
            let who =
                if sql.admin { (redshift::ADMIN, redshift::ADMIN_PASSWORD) } else { (&*sql.user, &*sql.password) };
            let mut statements = match &sql.file {
                Some(file) => client::statements(&std::fs::read_to_string(file).map_err(io("read the statements"))?),
                None => Vec::new(),
            };
            statements.extend(sql.statements.iter().cloned());
            print!("{}", client::run((sql.host, sql.port).into(), who, &statements)?);
            return Ok(());
        }
        _ => {}
    }
    // Before anything starts, so that a signal in between is not lost.
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT])
        .map_err(io("listen for signals"))?;
    let folder = |start: &Start, name: &str| {
        let temporary = || std::env::temp_dir().join(format!("tidegate-{}", std::process::id()));
        start.dir.clone().unwrap_or_else(temporary).join(name)
    };
    // Whatever is in `parts` runs until the signal.
    let (start, env, _parts): (_, _, Box<dyn std::any::Any>) = match command {
        Command::Up(start) => {
            let stack = Stack::up(Options { dir: start.dir.clone(), kafka: start.kafka, topics: start.topic.clone() })?;
            (start, stack.env(), Box::new(stack))
        }
        Command::Kafka(start) => {
            let kafka = kafka::Kafka::start(start.kafka, &folder(&start, "kafka"), &start.topic)?;
            (start, kafka.env(), Box::new(kafka))
        }
        Command::S3(start) => {
            let s3 = S3::start("tidegate")?;
            (start, s3.env(), Box::new(s3))
        }
        Command::Redshift(start) => {
            let s3 = S3::start("tidegate")?;
            let redshift = Redshift::start(&folder(&start, "redshift"), &s3)?;
            let env = [s3.env(), redshift.env()].concat();
            (start, env, Box::new((redshift, s3)))
        }
        Command::Clicks(_) | Command::Produce(_) | Command::Sql(_) => return Ok(()), // done above
    };
    let text: String = env.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    if start.env.as_os_str() == "-" {
        std::io::stdout().write_all(text.as_bytes()).map_err(io("write the names"))?;
    } else {
        // Whole or not at all: somebody may be waiting for the file.
        let half = start.env.with_extension("half");
        std::fs::write(&half, &text)
            .and_then(|()| std::fs::rename(&half, &start.env))
            .map_err(io("write the names"))?;
    }
    signals.forever().next();
    Ok(())
}

fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> StackError {
    move |source| StackError::Io { doing: doing.into(), source }
}
