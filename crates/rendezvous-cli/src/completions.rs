//! `rendezvous completions`: what a shell needs to complete the command line.

use clap::CommandFactory;

use crate::{
    args::{self, Cli},
    error::Error,
    output::Output,
};

pub(crate) fn run(args: &args::Completions) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "rendezvous", &mut script);
    let mut output = Output::new(false);
    output.human(String::from_utf8_lossy(&script).trim_end())?;
    output.flush()
}
