//! py-libp2p for the tests that run it: a virtual environment below the target directory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};

use crate::cargo;

/// What is installed, each package at one version.
const REQUIREMENTS: &str = include_str!("../../tests/py/requirements.txt");

/// What the packages need to be built where there is no wheel of them, as Debian and Ubuntu name it.
const SYSTEM_PACKAGES: [&str; 6] = ["python3", "python3-venv", "python3-dev", "gcc", "libc6-dev", "libgmp-dev"];

/// The python that has py-libp2p. What is there already is left as it is.
pub(crate) fn set_up() -> anyhow::Result<PathBuf> {
    let directory = target_directory()?.join("py-libp2p");
    let (python, stamp) = (directory.join("bin/python"), directory.join("requirements.txt"));
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == REQUIREMENTS) && python.exists() {
        return Ok(python);
    }
    eprintln!("xtask: setting up py-libp2p in {}", directory.display());
    if let Err(error) = install(&directory) {
        eprintln!("xtask: {error:#}; trying again with the system's packages");
        install_system_packages()?;
        install(&directory)?;
    }
    fs::write(&stamp, REQUIREMENTS).with_context(|| format!("{} cannot be written", stamp.display()))?;
    Ok(python)
}

/// Makes the environment anew. The requirements are whole, so that nothing else is looked for.
fn install(directory: &Path) -> anyhow::Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("{} cannot be removed", directory.display()))?;
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(directory))?;
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/py/requirements.txt");
    let pip = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"];
    run(Command::new(directory.join("bin/python")).args(pip).arg("--requirement").arg(requirements))?;
    run(Command::new(directory.join("bin/python")).args(["-c", "import libp2p.discovery.rendezvous"]))
}

fn install_system_packages() -> anyhow::Result<()> {
    let needs = || format!("py-libp2p needs {}", SYSTEM_PACKAGES.join(", "));
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        apt
    };
    ensure!(apt().arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success()), needs());
    run(apt().args(["update", "--quiet"])).with_context(needs)?;
    run(apt().args(["install", "--quiet", "--yes", "--no-install-recommends"]).args(SYSTEM_PACKAGES))
        .with_context(needs)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    // What goes to standard output here is progress.
    let status = command.stdin(Stdio::null()).stdout(std::io::stderr()).status();
    let status = status.with_context(|| format!("{command:?} does not start"))?;
    if !status.success() {
        bail!("{command:?} has failed: {status}");
    }
    Ok(())
}

fn target_directory() -> anyhow::Result<PathBuf> {
    let output = cargo().args(["metadata", "--no-deps", "--format-version", "1"]).output()?;
    ensure!(output.status.success(), "cargo metadata has failed");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    Ok(metadata["target_directory"].as_str().context("cargo metadata names no target directory")?.into())
}
