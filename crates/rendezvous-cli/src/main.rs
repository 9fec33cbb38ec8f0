//! `rendezvous`: run a libp2p rendezvous point, or register with one and discover peers at it.
//!
//! Each subcommand is a module with an async `run`; what they share is in the others. A command returns
//! `Result<(), Error>`, and the error alone decides the one line that is printed and the exit status.

mod address;
mod args;
mod client;
mod completions;
mod config;
mod discover;
mod error;
mod help;
mod inspect;
mod keeper;
mod key;
mod key_command;
mod listing;
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

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::{
    args::{Cli, Command, NetworkCommand},
    error::Error,
};

/// What `--verbose` logs: this project's crates.
const VERBOSE: &str =
    "rendezvous=debug,rendezvous_core=debug,rendezvous_record=debug,rendezvous_store=debug,rendezvous_swarm=debug";

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
    start_log(cli.verbose);
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::from(error.exit_code())
        }
    }
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

fn start_log(is_verbose: bool) {
    let is_refined = std::env::var_os(EnvFilter::DEFAULT_ENV).is_some();
    if is_verbose || is_refined {
        let filter = if is_refined { EnvFilter::from_default_env() } else { EnvFilter::new(VERBOSE) };
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal())
            .init();
    }
}
