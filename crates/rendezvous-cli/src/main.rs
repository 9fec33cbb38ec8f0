//! `rendezvous`: run a libp2p rendezvous point, or register with one and discover peers at it.
//!
//! Each subcommand is a module with an async `run`; what they share is in the others. A command returns
//! `Result<(), Error>`, and the error alone decides the one line that is printed and the exit status.

mod address;
mod args;
mod client;
mod completions;
mod config;
mod descriptors;
mod discover;
mod error;
mod help;
mod inspect;
mod keeper;
mod key;
mod key_command;
mod line_queue;
mod listing;
mod logging;
mod node;
mod output;
mod poller;
mod register;
mod serve;
mod session;
mod signals;
mod stats;
mod store;
mod unregister;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    args::{Cli, Command, NetworkCommand},
    error::Error,
};

/// After a burst of connections the C library keeps most of the memory that they had used; jemalloc's background threads
/// return it to the system within ten seconds. The figures are in ARCHITECTURE.md.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error)
            if error.use_stderr()
                && error.kind() != clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand =>
        {
            output::error(&args::usage_line(&error));
            return ExitCode::from(error::USAGE);
        }
        Err(help) => help.exit(),
    };
    let is_point = matches!(cli.command, Command::Network(NetworkCommand::Serve(_)));
    let default = if is_point { logging::Default::Warnings } else { logging::Default::Nothing };
    logging::start(cli.verbose, default);
    let code = match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::from(error.exit_code())
        }
    };
    logging::report_suppressed(true);
    output::finish();
    code
}

fn run(command: Command) -> Result<(), Error> {
    // What needs no network has no runtime.
    let command = match command {
        Command::Key(args) => return key_command::run(args),
        Command::Store(command) => return store::command::run(&command),
        Command::Inspect(args) => return inspect::run(&args),
        Command::Completions(args) => return completions::run(&args),
        Command::Network(command) => command,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Start)?;
    let result = runtime.block_on(async {
        match command {
            NetworkCommand::Serve(args) => serve::run(args).await,
            NetworkCommand::Client(args) => client::run(args).await,
            NetworkCommand::Register(args) => register::run(args).await,
            NetworkCommand::Discover(args) => discover::run(args).await,
            NetworkCommand::Unregister(args) => unregister::run(args).await,
        }
    });
    // A name that is still being looked up does not hold the exit.
    runtime.shutdown_background();
    result
}
