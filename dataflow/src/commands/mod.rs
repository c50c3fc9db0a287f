//! The commands. Data goes to standard output, everything else to standard error.

use std::{io::Write, time::Duration};

use clap::{Args, CommandFactory, Parser, Subcommand};

use connectors::{Folded, redshift::verify::Scope};

use crate::{
    accept::{self, Accept, Adopted, Person},
    check,
    cluster::{Cluster, supervise},
    dead_letters,
    error::{Code, Error, Result, set_job_file},
    gc, halts, inspect, job, prune,
    report::{log, screen},
    run::{self, warehouse},
    takeover::TakeOver,
};

/// Loads Apache Kafka topics into Amazon Redshift, exactly once, an epoch at a time.
///
/// Exit codes: 0 done or drained, 1 bug, 2 usage, 3 job file invalid or naming what does not exist, 4 findings, 5 cannot reach, 6 not
/// allowed; 10 cluster did not meet, 11 peer lost, 12 outage outlasted its deadline, 13 the source grew (restart me); 20 fenced, 21 source lost data or changed
/// identity, 22 audit or protocol mismatch, 23 a record cannot be loaded (do not restart me); 130 second signal.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the control tables of a job, once: all of them or none. Never alters or empties one.
    Init(Init),
    /// Find out everything that is in the way of a job, at once, and leave nothing behind. Exit code 4 on a finding.
    Check(Check),
    /// Run a job until it is stopped.
    Run(Run),
    /// List the records that could not be loaded, by target, stage, column and reason, with one example of each.
    DeadLetters(DeadLetters),
    /// Hold the control tables and the targets against each other: cuts, digests, counts, rows. Exit code 4 on a finding.
    Verify(Verify),
    /// Say where a job stands: what is loaded, how far the topics are ahead of it, and why it halted, if it did.
    Status(Status),
    /// Decide that a range of offsets is passed over, after a halt that says so. Exit code 4 without --yes.
    AcceptLoss(AcceptLoss),
    /// Decide that a topic is another one than the one that was read, after a halt that says so. Exit code 4 without --yes.
    AcceptNewSource(AcceptNewSource),
    /// List the newest epochs.
    Epochs(Epochs),
    /// Delete staged files that nobody can need any more. A running job does so itself, now and then.
    Gc(Gc),
    /// Fold old epochs of the control tables into one row, as a running job with `[history] keep` does.
    Prune(Prune),
    /// Say what a job file means, with every default; or what an error code means; or list all codes.
    Explain(Explain),
    /// Print the completions for a shell.
    Completions {
        /// Which.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for each command into a folder.
    Man {
        /// The folder; it must be there.
        folder: Option<std::path::PathBuf>,
    },
}

#[derive(Args)]
struct Check {
    /// The job file.
    job: String,
    /// One JSON object for each finding, a line each.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Verify {
    /// The job file.
    job: String,
    /// A target that others write to as well: what their rows explain is a warning, no finding.
    #[arg(long, value_name = "SCHEMA.TABLE")]
    edited: Vec<String>,
    /// Only so many of the newest epochs, and those before them back to a whole cut.
    #[arg(long, value_name = "N", conflicts_with_all = ["since", "new"])]
    last: Option<u64>,
    /// Only epochs that were closed since: a time that has passed (90m, 24h, 7d) or a moment.
    #[arg(long, value_name = "TIME", conflicts_with = "new")]
    since: Option<String>,
    /// Only epochs that were not verified yet.
    #[arg(long)]
    new: bool,
    /// Print the statements instead, to be run by anyone.
    #[arg(long, conflicts_with = "json")]
    sql: bool,
    /// One JSON object for each finding, a line each.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Status {
    /// The job file.
    job: String,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Epochs {
    /// The job file.
    job: String,
    /// How many.
    #[arg(long, default_value_t = 20)]
    last: u64,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Gc {
    /// The job file.
    job: String,
    /// Only say which.
    #[arg(long)]
    dry_run: bool,
    /// One JSON object for each file, a line each.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Prune {
    /// The job file.
    job: String,
    /// Keep epochs that were closed since, like 90d; instead of `keep` in `[history]`.
    #[arg(long, value_name = "TIME")]
    keep: Option<String>,
    /// One JSON object for each slice, a line each.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Explain {
    /// A job file, or a code like TG-1001; without either, all codes.
    what: Option<String>,
    /// One JSON object; of codes, one a line.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct DeadLetters {
    /// The job file.
    job: String,
    /// Only those that were set aside since: 90m, 24h, 7d, 2026-11-24 or 2026-11-24T10:00:00Z.
    #[arg(long)]
    since: Option<String>,
    /// Only those whose reason has this text in it.
    #[arg(long)]
    reason: Option<String>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct AcceptLoss {
    /// The job file.
    job: String,
    /// The partition.
    #[arg(long, value_name = "TOPIC/NUMBER")]
    partition: String,
    /// The first offset that is passed over: where the partition stands.
    #[arg(long, value_name = "OFFSET")]
    from: i64,
    /// The offset to go on at.
    #[arg(long, value_name = "OFFSET")]
    to: i64,
    /// Why, for whoever asks later.
    #[arg(long, default_value = "")]
    why: String,
    /// Do it. Otherwise it is only said.
    #[arg(long)]
    yes: bool,
    /// No process of the job runs: where Redshift does not show sessions nobody can see that.
    #[arg(long)]
    nobody_runs: bool,
}

#[derive(Args)]
struct AcceptNewSource {
    /// The job file.
    job: String,
    /// The topic.
    #[arg(long)]
    topic: String,
    /// It has the same records at the same offsets, as a mirror has: go on where the old one was left. Otherwise it begins where
    /// the job file says that a new topic begins.
    #[arg(long)]
    keep_offsets: bool,
    /// Why, for whoever asks later.
    #[arg(long, default_value = "")]
    why: String,
    /// Do it. Otherwise it is only said.
    #[arg(long)]
    yes: bool,
    /// No process of the job runs: where Redshift does not show sessions nobody can see that.
    #[arg(long)]
    nobody_runs: bool,
}

#[derive(Args)]
struct Init {
    /// The job file.
    job: String,
    /// The tables are there, restored or in a copy of the database: they belong to this database from here on.
    #[arg(long)]
    adopt: bool,
    /// Why they are adopted, for whoever asks later.
    #[arg(long, default_value = "", requires = "adopt")]
    why: String,
    /// No process of the job runs: where Redshift does not show sessions nobody can see that.
    #[arg(long, requires = "adopt")]
    nobody_runs: bool,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Run {
    /// The job file.
    job: String,
    /// Worker threads of each process.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// How many processes there are; with --supervise and without --hosts, all on this machine.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    processes: Option<u16>,
    /// Which of them this one is, from 0.
    #[arg(long, requires = "hosts")]
    process: Option<u16>,
    /// Where each process listens, in order, the same for all. A trusted network: the connections are not encrypted.
    #[arg(long, value_delimiter = ',', value_name = "HOST:PORT,...")]
    hosts: Vec<String>,
    /// How long the processes may take to meet, in seconds.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    meet_within: u64,
    /// Start the processes as children, and start them again after exit codes 10 to 13, after a kill, and after 5 once they ran.
    #[arg(long)]
    supervise: bool,
    /// Stop at the end of standard input, which is how a supervisor speaks to its children.
    #[arg(long, hide = true)]
    stop_at_eof: bool,
    /// End once everything that is in the topics at the start is loaded.
    #[arg(long)]
    until_caught_up: bool,
    /// Do not wait for another process that runs this job, and do not ask: take over at once.
    #[arg(long)]
    take_over: bool,
    /// Processes of this machine whose end a supervisor saw: their sessions are not waited for.
    #[arg(long, hide = true, value_delimiter = ',', value_name = "PID,...")]
    reaped: Vec<u32>,
    /// Lines for people, or one JSON object a line; on standard error.
    #[arg(long, value_enum, default_value_t)]
    log: log::Format,
    /// Only warnings and errors, and no live view.
    #[arg(short, long)]
    quiet: bool,
    /// Each step of a load as well, and warnings of libraries.
    #[arg(short, long, conflicts_with = "quiet")]
    verbose: bool,
}

/// Does what the arguments say.
pub fn main() -> ! {
    let result = match Cli::parse().command {
        Command::Init(arguments) => init(&arguments),
        Command::Run(arguments) => run(&arguments),
        Command::Check(arguments) => check(&arguments),
        Command::DeadLetters(arguments) => dead_letters(&arguments),
        Command::Verify(arguments) => verify(&arguments),
        Command::Status(arguments) => {
            load(&arguments.job).and_then(|job| inspect::status(&job, arguments.json)).map(|shown| print(&shown))
        }
        Command::Epochs(arguments) => load(&arguments.job)
            .and_then(|job| inspect::epochs(&job, arguments.last, arguments.json))
            .map(|shown| print(&shown)),
        Command::AcceptLoss(arguments) => accept_loss(&arguments),
        Command::AcceptNewSource(arguments) => accept_new_source(&arguments),
        Command::Gc(arguments) => gc(&arguments),
        Command::Prune(arguments) => prune(&arguments),
        Command::Explain(arguments) => explain(&arguments),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tidegate", &mut script);
            print(&String::from_utf8_lossy(&script));
            Ok(())
        }
        Command::Man { folder } => man(folder.as_deref()),
    };
    let code = match result {
        Ok(()) => 0,
        Err(error) => {
            log::error(&error);
            halts::note(&error);
            error.code.exit_code()
        }
    };
    // Without C's exit handlers: OpenSSL's would clean up below threads of librdkafka that still live.
    let _ = std::io::stdout().flush(); // a reader that has gone wants no more
    signal_hook::low_level::exit(code.into())
}

fn run(arguments: &Run) -> Result<()> {
    let detail = match (arguments.quiet, arguments.verbose) {
        (true, _) => log::Detail::Quiet,
        (_, true) => log::Detail::Verbose,
        _ => log::Detail::Normal,
    };
    log::start(arguments.log, detail);
    if arguments.supervise {
        return supervise(arguments);
    }
    let cluster = cluster(arguments)?;
    let live = detail != log::Detail::Quiet && arguments.log == log::Format::Text && screen::is_terminal();
    let options = run::Options {
        // Several processes on one terminal would draw over each other.
        live: live && (cluster.is_alone() || !arguments.stop_at_eof),
        cluster,
        until_caught_up: arguments.until_caught_up,
        stop_at_eof: arguments.stop_at_eof,
        take_over: match (arguments.take_over, arguments.reaped.is_empty()) {
            (true, _) => TakeOver::Now,
            (false, true) => TakeOver::Politely,
            (false, false) => TakeOver::Reaped(arguments.reaped.clone()),
        },
    };
    run::run(&load(&arguments.job)?, &options)
}

/// The job of a file, which messages name from here on.
fn load(path: &str) -> Result<job::Job> {
    set_job_file(path);
    job::load(path)
}

/// Which process of which cluster the arguments speak of.
fn cluster(arguments: &Run) -> Result<Cluster> {
    let (hosts, workers) = (&arguments.hosts, usize::from(arguments.workers));
    let usage = |what: String| Err(Error::new(Code::Usage, what));
    match (hosts.len(), arguments.processes) {
        (0, None | Some(1)) => return Ok(Cluster::alone(workers)),
        (0, Some(processes)) => {
            return usage(format!(
                "--processes {processes} needs --hosts and --process, or --supervise to start all here"
            ));
        }
        (hosts, Some(processes)) if hosts != usize::from(processes) => {
            return usage(format!("--processes is {processes}, and --hosts names {hosts}"));
        }
        _ => {}
    }
    let Some(process) = arguments.process.map(usize::from) else {
        return usage("--hosts needs --process, the place of this one in it".into());
    };
    if process >= hosts.len() {
        return usage(format!("--process {process} of {} processes, which are numbered from 0", hosts.len()));
    }
    if hosts.len() == 1 {
        return Ok(Cluster::alone(workers));
    }
    Ok(Cluster { hosts: hosts.clone(), process, workers, meet_within: Duration::from_secs(arguments.meet_within) })
}

/// Starts the processes as children: the one that is named, or all of them on this machine.
fn supervise(arguments: &Run) -> Result<()> {
    let wrong = |what: &str| {
        let what = what.to_string();
        |e: std::io::Error| Error { code: Code::Bug, what, source: Some(Box::new(e)) }
    };
    let all_here = arguments.hosts.is_empty();
    let program = std::env::current_exe().map_err(wrong("cannot find this program"))?;
    let given: Vec<std::ffi::OsString> = std::env::args_os().skip(1).filter(|a| *a != "--supervise").collect();
    let is_first = std::cell::Cell::new(true);
    let commands = |reaped: &[u32]| {
        let hosts = match (all_here, usize::from(arguments.processes.unwrap_or(1))) {
            (true, 1) => Vec::new(),
            // Anew for each start: once the processes have met, their ports are anybody's.
            (true, processes) => supervise::free_hosts(processes).map_err(wrong("cannot find free ports"))?,
            (false, _) => arguments.hosts.clone(),
        };
        let processes: Vec<usize> = match arguments.process {
            Some(process) => vec![process.into()],
            None => (0..hosts.len().max(1)).collect(),
        };
        let command = |process: usize| {
            let mut command = std::process::Command::new(&program);
            // Once: whoever takes over from us later is not to be ended by our next start.
            let again = given.iter().filter(|argument| is_first.get() || **argument != "--take-over");
            command.args(again).arg("--stop-at-eof");
            if !reaped.is_empty() {
                let ids: Vec<String> = reaped.iter().map(u32::to_string).collect();
                command.arg("--reaped").arg(ids.join(","));
            }
            if all_here && !hosts.is_empty() {
                command.arg("--hosts").arg(hosts.join(","));
            }
            if arguments.process.is_none() && !hosts.is_empty() {
                command.arg("--process").arg(process.to_string());
            }
            (process, command)
        };
        let commands = processes.into_iter().map(command).collect();
        is_first.set(false);
        Ok(commands)
    };
    let signals = supervise::count_signals()?;
    match supervise::supervise(&commands, &signals)? {
        0 => Ok(()),
        // The child has said why.
        code => signal_hook::low_level::exit(code),
    }
}

fn dead_letters(arguments: &DeadLetters) -> Result<()> {
    let which = dead_letters::which(arguments.since.as_deref(), arguments.reason.as_deref())?;
    let job = load(&arguments.job)?;
    let groups = run::redshift(&job)?.dead_letters(&which).map_err(Error::of_tables)?;
    let shown = if arguments.json { dead_letters::json(&groups)? } else { dead_letters::text(&groups) };
    print(&shown);
    Ok(())
}

/// A reader that has seen enough, like `head`, is no error.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn check(arguments: &Check) -> Result<()> {
    let checked = check::check(&load(&arguments.job)?);
    print(&if arguments.json { checked.json()? } else { checked.text() });
    match checked.is_good() {
        true => Ok(()),
        false => Err(Error::new(Code::Findings, "")),
    }
}

fn verify(arguments: &Verify) -> Result<()> {
    let job = load(&arguments.job)?;
    if arguments.sql {
        print(&inspect::sql(&job)?);
        return Ok(());
    }
    let scope = match (arguments.last, &arguments.since) {
        (Some(number), _) => Scope::Last(number),
        (None, Some(since)) => Scope::Since(dead_letters::since(since)?),
        (None, None) if arguments.new => Scope::New,
        (None, None) => Scope::All,
    };
    let verified = inspect::verify(&job, &arguments.edited, scope)?;
    print(if arguments.json { &verified.json } else { &verified.text });
    match verified.good {
        true => Ok(()),
        false => Err(Error::new(Code::Findings, "")),
    }
}

fn gc(arguments: &Gc) -> Result<()> {
    let collected = gc::gc(&load(&arguments.job)?, arguments.dry_run)?;
    let line = |file: &String| match arguments.json {
        true => serde_json::json!({ "file": file, "deleted": !arguments.dry_run }).to_string() + "\n",
        false => format!("{file}\n"),
    };
    print(&collected.garbage.iter().map(line).collect::<String>());
    let done = if arguments.dry_run { "would be deleted" } else { "deleted" };
    eprintln!("{} files {done}, {} kept", collected.garbage.len(), collected.kept);
    Ok(())
}

fn prune(arguments: &Prune) -> Result<()> {
    let keep = arguments.keep.as_ref().map(|text| {
        job::parse_duration(text)
            .ok_or_else(|| Error::new(Code::Usage, format!("--keep {text:?}: write it like 12h or 90d")))
    });
    let mut all = 0;
    prune::prune(&load(&arguments.job)?, keep.transpose()?, &mut |Folded { base, epochs }| {
        all += epochs;
        print(&match arguments.json {
            true => serde_json::json!({ "base": base.0, "epochs": epochs }).to_string() + "\n",
            false => format!("epoch {base}: {epochs} epochs\n"),
        });
    })?;
    eprintln!("{all} epochs folded into one row");
    Ok(())
}

fn man(folder: Option<&std::path::Path>) -> Result<()> {
    let failed = |what: String| |e| Error { code: Code::Usage, what, source: Some(Box::new(e)) };
    match folder {
        Some(folder) => clap_mangen::generate_to(Cli::command(), folder)
            .map_err(failed(format!("cannot write manual pages into {}", folder.display()))),
        None => {
            let mut page = Vec::new();
            let made = clap_mangen::Man::new(Cli::command()).render(&mut page);
            made.map_err(failed("cannot make the manual page".into()))?;
            print(&String::from_utf8_lossy(&page));
            Ok(())
        }
    }
}

fn explain(arguments: &Explain) -> Result<()> {
    let wrong = |e: serde_json::Error| Error::new(Code::Bug, e.to_string());
    let is_code = |what: &str| what.get(..3).is_some_and(|begin| begin.eq_ignore_ascii_case("TG-"));
    if let Some(path) = arguments.what.as_deref().filter(|what| !is_code(what)) {
        let text = job::explain::explain(path)?;
        let shown = if arguments.json { job::explain::json(&text)? } else { text };
        print(&shown);
        return Ok(());
    }
    let of_code = |code: &&Code| arguments.what.as_ref().is_none_or(|what| code.id().eq_ignore_ascii_case(what));
    let codes: Vec<&Code> = Code::ALL.iter().filter(of_code).collect();
    let line = |code: &&Code| match arguments.json {
        true => serde_json::to_string(&code.line()).map_err(wrong).map(|line| line + "\n"),
        false => Ok(format!("{}  exit {:3}  {}\n", code.id(), code.exit_code(), code.title())),
    };
    match (codes.as_slice(), &arguments.what) {
        ([], what) => {
            let what = what.as_deref().unwrap_or_default();
            Err(Error::new(Code::Usage, format!("there is no code {what}; `tidegate explain` lists all")))
        }
        ([code], Some(_)) if !arguments.json => {
            print(&code.explained());
            Ok(())
        }
        (codes, _) => {
            print(&codes.iter().map(line).collect::<Result<String>>()?);
            Ok(())
        }
    }
}

fn accept_loss(arguments: &AcceptLoss) -> Result<()> {
    let AcceptLoss { partition, from, to, .. } = arguments;
    let person = person(&arguments.why, arguments.yes, arguments.nobody_runs)?;
    let named = partition.rsplit_once('/').and_then(|(topic, number)| Some((topic, number.parse().ok()?)));
    let Some((topic, number)) = named else {
        return Err(Error::new(Code::Usage, format!("--partition {partition}: it is written as TOPIC/NUMBER")));
    };
    let loss = Accept::Loss { partition: checkpoint::TopicPartition::new(topic, number), from: *from, to: *to };
    log::start(log::Format::Text, log::Detail::Normal);
    accept::accept(&load(&arguments.job)?, &loss, &person, &mut print)
}

fn accept_new_source(arguments: &AcceptNewSource) -> Result<()> {
    let AcceptNewSource { topic, keep_offsets, .. } = arguments;
    let person = person(&arguments.why, arguments.yes, arguments.nobody_runs)?;
    let source = Accept::NewSource { topic: topic.clone(), keep_offsets: *keep_offsets };
    log::start(log::Format::Text, log::Detail::Normal);
    accept::accept(&load(&arguments.job)?, &source, &person, &mut print)
}

/// What is said about a decision; why must fit into its column.
fn person(why: &str, confirmed: bool, nobody_runs: bool) -> Result<Person<'_>> {
    match why.len() <= accept::WHY_BYTES {
        true => Ok(Person { why, confirmed, nobody_runs }),
        false => {
            Err(Error::new(Code::Usage, format!("--why has {} bytes, and may have {}", why.len(), accept::WHY_BYTES)))
        }
    }
}

fn init(arguments: &Init) -> Result<()> {
    let job = load(&arguments.job)?;
    if arguments.adopt {
        log::start(log::Format::Text, log::Detail::Normal);
        let adopted = accept::adopt(&job, &person(&arguments.why, true, arguments.nobody_runs)?)?;
        let Adopted { epoch, fence_id, instead_of } = &adopted;
        print(&match arguments.json {
            true => serde_json::json!({ "job": job.name, "adopted": adopted }).to_string() + "\n",
            false => format!(
                "the control tables belong to this database from epoch {epoch} on, under fence id {fence_id} instead of \
                 {instead_of}\n"
            ),
        });
        return Ok(());
    }
    let made = warehouse(&job)?.init(&uuid::Uuid::new_v4().to_string()).map_err(Error::from)?;
    if arguments.json {
        print(&(serde_json::json!({ "job": job.name, "made": made }).to_string() + "\n"));
    } else {
        print(&made.iter().map(|table| format!("{table}\n")).collect::<String>());
    }
    eprintln!("job {}: {} control tables made", job.name, made.len());
    Ok(())
}
