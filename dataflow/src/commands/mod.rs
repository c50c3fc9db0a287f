//! The commands, a file each. Data goes to standard output, everything else to standard error.
//!
//! A command is a file with its `Arguments`, whose documentation is the help, and a function `run`; and a line below.

mod accept_loss;
mod accept_new_source;
mod check;
mod completions;
mod dead_letters;
mod epochs;
mod explain;
mod gc;
mod init;
mod man;
mod output;
mod prune;
mod run;
mod schema;
mod since;
mod status;
mod verify;

use clap::{CommandFactory, Parser, Subcommand};

use crate::{error::Result, halts, report::log};

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
    /// Say all that led to an error, down to the request; with `run` also each step of a load, and warnings of libraries.
    #[arg(short, long, global = true)]
    verbose: bool,
}

/// The commands as the help lists them; those after the semicolon print something about the program itself.
macro_rules! commands {
    ($($name:ident => $verb:ident),* ; $($print:ident => $printer:ident),*) => {
        #[derive(Subcommand)]
        enum Command {
            $($name($verb::Arguments),)*
            $($print($printer::Arguments),)*
        }

        impl Command {
            fn run(&self) -> Result<()> {
                match self {
                    $(Command::$name(arguments) => $verb::run(arguments),)*
                    $(Command::$print(arguments) => $printer::run(arguments, Cli::command()),)*
                }
            }
        }
    };
}

commands! {
    Init => init,
    Check => check,
    Run => run,
    DeadLetters => dead_letters,
    Verify => verify,
    Status => status,
    AcceptLoss => accept_loss,
    AcceptNewSource => accept_new_source,
    Epochs => epochs,
    Gc => gc,
    Prune => prune,
    Explain => explain,
    Schema => schema;
    Completions => completions,
    Man => man
}

/// Does what the arguments say.
pub fn main() -> ! {
    let cli = Cli::parse();
    if cli.verbose {
        log::be_verbose();
    }
    let done = cli.command.run();
    // A first error is the one that counts.
    let written = output::end();
    let code = match done.and(written) {
        Ok(()) => 0,
        Err(error) => {
            log::error(&error);
            halts::note(&error);
            error.code.exit_code()
        }
    };
    // Without C's exit handlers: OpenSSL's would clean up below threads of librdkafka that still live.
    signal_hook::low_level::exit(code.into())
}
