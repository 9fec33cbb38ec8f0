//! The baseline: a process that accepts connections and reads, and does nothing else.
//!
//! The same sockets and bytes go to it as to the point as far as they need no answer. What a dial beside it waits longer
//! than in calm is the machine's share in what the point is blamed for.

use std::{
    net::SocketAddr,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    process::Child,
    time::timeout,
};

use crate::place;

/// What the probe of a sink writes first; it is echoed.
const ECHO: u8 = 0xec;

/// Time for a dial and its echo.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Runs a sink until standard input ends. Its address is the one line that it prints.
///
/// # Errors
/// It cannot listen.
pub async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let accept = async {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            tokio::spawn(take(stream));
        }
    };
    let mut scratch = [0; 64];
    let mut stdin = tokio::io::stdin();
    let end = async { while matches!(stdin.read(&mut scratch).await, Ok(1..)) {} };
    tokio::select! {
        () = accept => {}
        () = end => {}
    }
    Ok(())
}

async fn take(mut stream: TcpStream) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = stream.read(&mut bytes).await {
        if bytes[0] == ECHO && count == 1 && stream.write_all(&[ECHO]).await.is_err() {
            return;
        }
    }
}

/// A sink in a process of its own.
#[derive(Debug)]
pub struct Sink {
    _process: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Sink {
    /// Starts this program as a sink, on the core of the point.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start() -> anyhow::Result<Self> {
        let mut command = place::on_core(place::POINT, std::env::current_exe()?);
        command.arg("sink").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn()?;
        let stdout = process.stdout.take().context("the sink has an output")?;
        let line = BufReader::new(stdout).lines().next_line().await?.context("the sink has not started")?;
        Ok(Self { _process: process, address: line.parse()? })
    }

    /// Dials and waits for the echo, again and again until the end, and gives p99 of the time in seconds.
    pub async fn p99(&self, end: Instant) -> f64 {
        let mut times = Vec::new();
        while Instant::now() < end {
            let begin = Instant::now();
            let dial = async {
                let mut stream = TcpStream::connect(self.address).await?;
                stream.write_all(&[ECHO]).await?;
                stream.read_u8().await
            };
            let _ = timeout(TIMEOUT, dial).await;
            times.push(begin.elapsed().as_secs_f64());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        times.sort_by(f64::total_cmp);
        times.get((times.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or(0.0)
    }
}
