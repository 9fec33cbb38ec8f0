//! `cargo xtask test`: every test of the workspace by one command.

use std::{
    ffi::OsString,
    process::{Command, ExitCode, ExitStatus},
};

use anyhow::Context;

use crate::{cargo, exit_code, python};

/// Runs the steps in order, with their output as it is, and ends with the status of the first that fails.
pub(crate) fn run(cargo_args: &[OsString]) -> anyhow::Result<ExitCode> {
    // Without a choice of targets cargo runs unit tests, test binaries and doc tests, and builds the examples.
    let mut tests = cargo();
    let status = run_step(tests.args(["test", "--workspace"]).args(cargo_args))?;
    // What is asked for by name is not followed by what is not.
    if !status.success() || !cargo_args.is_empty() {
        return Ok(exit_code(status));
    }
    let python = python::set_up().context("py-libp2p, which some tests run against, cannot be set up")?;
    let mut tests = cargo();
    tests.env("RENDEZVOUS_TEST_PYTHON", python);
    let against_py = ["test", "--package", "rendezvous-tests", "--test", "interop_py", "--", "--ignored"];
    Ok(exit_code(run_step(tests.args(against_py))?))
}

fn run_step(step: &mut Command) -> anyhow::Result<ExitStatus> {
    step.status().with_context(|| format!("{step:?} does not start"))
}
