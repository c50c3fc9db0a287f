//! `tidegate run`: a process of a job, or the parent of several.

use std::time::Duration;

use crate::{
    cluster::{Cluster, supervise},
    error::{Code, CodedError, Result},
    job,
    report::{Voice, log, screen},
    run,
    start::Options,
    takeover::TakeOver,
};

/// Run a job until it is stopped.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The job file.
    job: String,
    /// Worker threads of each process.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// Number of processes; with --supervise and without --hosts, all on this machine.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    processes: Option<u16>,
    /// Number of this process, from 0.
    #[arg(long, requires = "hosts")]
    process: Option<u16>,
    /// Where each process listens, in order, the same for all. A trusted network: the connections are not encrypted.
    #[arg(long, value_delimiter = ',', value_name = "HOST:PORT,...")]
    hosts: Vec<String>,
    /// How long the processes may take to meet, in seconds.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    meet_within: u64,
    /// Start the processes as children, and start them again after exit codes 5 and 10 to 13, and after a kill.
    #[arg(long)]
    supervise: bool,
    /// Stop at the end of standard input, which is how a supervisor speaks to its children.
    #[arg(long, hide = true)]
    stop_at_eof: bool,
    /// End once everything that is in the topics at the start is loaded.
    #[arg(long)]
    until_caught_up: bool,
    /// With --until-caught-up: end with 4, once everything is loaded, if more than this share of a target's records was rejected, like 10%;
    /// 100% is never [default: 50%].
    #[arg(long, requires = "until_caught_up", value_name = "PERCENT", value_parser = percent)]
    max_rejected: Option<f64>,
    /// Take over from another process that runs this job at once, without waiting and without asking.
    #[arg(long)]
    take_over: bool,
    /// Processes of this machine whose end a supervisor saw: their sessions are not waited for.
    #[arg(long, hide = true, value_delimiter = ',', value_name = "PID,...")]
    reaped: Vec<u32>,
    /// Lines for people, or one JSON object a line; on standard error.
    #[arg(long, value_enum, default_value_t)]
    log: log::Format,
    /// Only warnings and errors, and no live view.
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
}

/// The share of rejected records above which a run to the end is not taken for a success, unless said otherwise.
const MAX_REJECTED: f64 = 0.5;

fn percent(text: &str) -> std::result::Result<f64, &'static str> {
    job::parse_percent(text).ok_or("write a percentage from 0 to 100, like 10% or 10")
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let detail = match (arguments.quiet, log::is_verbose()) {
        (true, _) => log::Detail::Quiet,
        (_, true) => log::Detail::Verbose,
        _ => log::Detail::Normal,
    };
    log::start(arguments.log, detail);
    if arguments.supervise {
        return supervise(arguments);
    }
    let cluster = cluster(arguments)?;
    let for_people = arguments.log == log::Format::Text && screen::is_terminal();
    let voice = Voice {
        // Several processes on one terminal would draw over each other.
        live: for_people
            && detail != log::Detail::Quiet
            && screen::can_draw()
            && (cluster.is_alone() || !arguments.stop_at_eof),
        folded: for_people && detail != log::Detail::Verbose,
    };
    let options = Options {
        voice,
        cluster,
        until_caught_up: arguments.until_caught_up,
        max_rejected: arguments.max_rejected.unwrap_or(MAX_REJECTED),
        stop_at_eof: arguments.stop_at_eof,
        take_over: match (arguments.take_over, arguments.reaped.is_empty()) {
            (true, _) => TakeOver::Now,
            (false, true) => TakeOver::Politely,
            (false, false) => TakeOver::Reaped(arguments.reaped.clone()),
        },
    };
    run::run(&job::load(&arguments.job)?, &options)
}

/// Which process of which cluster the arguments speak of.
fn cluster(arguments: &Arguments) -> Result<Cluster> {
    let (hosts, workers) = (&arguments.hosts, usize::from(arguments.workers));
    let usage = |what: String| Err(CodedError::new(Code::Usage, what));
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
        return usage("--hosts needs --process: the place of this process in the list, from 0".into());
    };
    if process >= hosts.len() {
        let most = hosts.len() - 1;
        return usage(format!(
            "--process {process}: --hosts names {} processes, numbered from 0 to {most}",
            hosts.len()
        ));
    }
    if hosts.len() == 1 {
        return Ok(Cluster::alone(workers));
    }
    Ok(Cluster { hosts: hosts.clone(), process, workers, meet_within: Duration::from_secs(arguments.meet_within) })
}

/// Starts the processes as children: the one that is named, or all of them on this machine.
fn supervise(arguments: &Arguments) -> Result<()> {
    let wrong = |what: &str| {
        let what = what.to_string();
        |e| CodedError::machine(what, e)
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
