//! A point in a process of its own, for as long as it is measured.

use std::process::Stdio;

use anyhow::{Context as _, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::load::Target;

/// A running point: this program, started again with arguments that make it one. It does not outlive this value.
#[derive(Debug)]
pub struct Spawned {
    process: Child,
    /// Its process id.
    pub pid: u32,
    /// Its address.
    pub target: Target,
}

impl Spawned {
    /// Starts this program with these arguments, and waits for the address that it prints.
    ///
    /// # Errors
    /// It does not start, or prints no address.
    pub async fn start(args: &[&str]) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = process.stdout.take().context("the point has an output")?;
        let address = BufReader::new(stdout).lines().next_line().await?.context("the point has not started")?;
        let pid = process.id().context("the point has ended")?;
        Ok(Self { process, pid, target: address.parse()? })
    }

    /// Closes its input, and waits for its end.
    ///
    /// # Errors
    /// It has failed.
    pub async fn end(mut self) -> anyhow::Result<()> {
        drop(self.process.stdin.take());
        let status = self.process.wait().await?;
        ensure!(status.success(), "the point has ended with {status}");
        Ok(())
    }
}
