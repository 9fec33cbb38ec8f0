//! Chores of the workspace, run as `cargo xtask <chore>`.

mod attack;
mod conformance;
mod layers;
mod python;
mod simulate;
mod test;

use std::{
    ffi::OsString,
    path::Path,
    process::{Command, ExitCode, ExitStatus},
};

const USAGE: &str = "\
usage: cargo xtask <chore>

chores:
  attack [NAME…] [--long] [--list] [--binary PATH]
           run hostile clients against a release build of the point, and check what honest clients notice
  conformance [--check]
           write the list of what the conformance tests show, or check that it is up to date
  layers   check which crates depend on which, directly and through others
  simulate --seed N [--trace] | --seeds N [--start S]
           run the worlds of these seeds, with faults, and check what must hold
  test     run every test of the workspace, and those against py-libp2p, which is set up for them; what follows goes
           to `cargo test`, and those against py-libp2p are left out";

fn main() -> anyhow::Result<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    let chore = args.next();
    let rest: Vec<OsString> = args.collect();
    match chore.as_deref().and_then(|chore| chore.to_str()) {
        Some("attack") => attack::run(&rest),
        Some("conformance") if rest.is_empty() => conformance::run(false),
        Some("conformance") if rest == ["--check"] => conformance::run(true),
        Some("layers") if rest.is_empty() => layers::run(),
        Some("simulate") => simulate::run(&rest),
        Some("test") => test::run(&rest),
        Some("help" | "-h" | "--help") => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprintln!("{USAGE}");
            Ok(ExitCode::from(2))
        }
    }
}

/// The cargo that runs this, in the root of the workspace.
fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    cargo
}

/// The status of a child as the status of this process.
fn exit_code(status: ExitStatus) -> ExitCode {
    // A child that a signal ended has no code.
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    ExitCode::from(code)
}
