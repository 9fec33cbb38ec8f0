//! `cargo xtask attack`: hostile clients against a release build of the operator's binary.

use std::{ffi::OsString, process::ExitCode};

use anyhow::Context;

use crate::{cargo, exit_code};

/// Builds the point, unless another binary is named, and the attacks, and runs them with these arguments.
pub(crate) fn run(args: &[OsString]) -> anyhow::Result<ExitCode> {
    if !args.iter().any(|arg| arg.to_str().is_some_and(|arg| arg == "--binary" || arg.starts_with("--binary="))) {
        let mut build = cargo();
        build.args(["build", "--quiet", "--release", "--package", "rendezvous-cli", "--bin", "rendezvous"]);
        let status = build.status().with_context(|| format!("{build:?} does not start"))?;
        if !status.success() {
            return Ok(exit_code(status));
        }
    }
    let mut attack = cargo();
    attack.args(["run", "--quiet", "--release", "--package", "rendezvous-attack", "--"]).args(args);
    let status = attack.status().with_context(|| format!("{attack:?} does not start"))?;
    Ok(exit_code(status))
}
