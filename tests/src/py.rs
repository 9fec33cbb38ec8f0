//! The real py-libp2p: a process of its own, which does what a test says (`tests/py/peer.py`).

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    thread,
};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Names the python that has py-libp2p; `cargo xtask test` sets it.
pub const PYTHON: &str = "RENDEZVOUS_TEST_PYTHON";

/// A peer of py-libp2p. It does not survive the test.
#[derive(Debug)]
pub struct Peer {
    /// Its id.
    pub peer: PeerId,
    /// Where it listens, without its id.
    pub address: Multiaddr,
    /// What it tells of itself by identify.
    pub agent_version: String,
    child: Child,
    commands: ChildStdin,
    answers: UnboundedReceiver<Value>,
}

/// What py-libp2p's own client, or service, tells of a registration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Who.
    pub peer: PeerId,
    /// Where to be reached.
    pub addresses: Vec<Multiaddr>,
}

/// A status other than OK, as py-libp2p's client reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its number.
    pub status: i64,
    /// The point's words.
    pub text: String,
}

impl Peer {
    /// Starts it, and waits until it listens.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start() -> Self {
        let python = std::env::var_os(PYTHON).map(PathBuf::from);
        let python = python.expect("these tests need py-libp2p: run them by `cargo xtask test`, which sets it up");
        let mut child = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/py/peer.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python runs");
        let commands = child.stdin.take().expect("it is piped");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, mut answers) = unbounded_channel();
        thread::spawn(move || {
            let mut lines = stdout.lines().map_while(Result::ok);
            lines.try_for_each(|line| sender.send(serde_json::from_str(&line).expect("it prints JSON")))
        });
        let started: Value = answers.recv().await.expect("py-libp2p starts");
        let mut address: Multiaddr = parsed(&started["addresses"][0]);
        assert!(matches!(address.pop(), Some(Protocol::P2p(_))));
        let agent_version = started["agent"].as_str().expect("it tells its version").to_owned();
        Self { peer: parsed(&started["peer"]), address, agent_version, child, commands, answers }
    }

    /// Becomes a rendezvous point.
    pub async fn serve(&mut self) {
        self.ask(json!({ "do": "serve" })).await.expect("it serves");
    }

    /// Connects to a peer.
    pub async fn connect(&mut self, peer: PeerId, address: &Multiaddr) {
        let address = address.clone().with(Protocol::P2p(peer));
        self.ask(json!({ "do": "connect", "address": address })).await.expect("it connects");
    }

    /// REGISTER at a point; the lifetime that was granted. With `refreshes` its own refresher goes on from there.
    ///
    /// # Errors
    /// The refusal.
    pub async fn register(
        &mut self,
        point: PeerId,
        namespace: &str,
        ttl_secs: u64,
        refreshes: bool,
    ) -> Result<u64, Refused> {
        let (point, ttl) = (point.to_string(), ttl_secs);
        let command =
            json!({ "do": "register", "point": point, "namespace": namespace, "ttl": ttl, "refresh": refreshes });
        self.ask(command).await.map(|answer| answer["ttl"].as_u64().expect("a lifetime"))
    }

    /// UNREGISTER, which also ends the refresher.
    pub async fn unregister(&mut self, point: PeerId, namespace: &str, refreshes: bool) {
        let point = point.to_string();
        let command = json!({ "do": "unregister", "point": point, "namespace": namespace, "refresh": refreshes });
        self.ask(command).await.expect("it is written");
    }

    /// DISCOVER of one page behind a cookie; who is on it, and the next cookie.
    ///
    /// # Errors
    /// The refusal.
    pub async fn discover(
        &mut self,
        point: PeerId,
        namespace: &str,
        limit: u64,
        cookie: &str,
    ) -> Result<(Vec<Found>, String), Refused> {
        let point = point.to_string();
        let command =
            json!({ "do": "discover", "point": point, "namespace": namespace, "limit": limit, "cookie": cookie });
        let answer = self.ask(command).await?;
        Ok((found(&answer), answer["cookie"].as_str().expect("a cookie").to_owned()))
    }

    /// Who is registered at this peer's own service.
    pub async fn registered(&mut self, namespace: &str) -> Vec<Found> {
        found(&self.ask(json!({ "do": "registered", "namespace": namespace })).await.expect("it serves"))
    }

    async fn ask(&mut self, command: Value) -> Result<Value, Refused> {
        writeln!(self.commands, "{command}").expect("it reads");
        let answer = self.answers.recv().await.expect("it answers");
        assert!(answer["error"].is_null(), "{command}: {}", answer["error"]);
        match answer["status"].as_i64() {
            Some(status) => Err(Refused { status, text: answer["text"].as_str().unwrap_or_default().to_owned() }),
            None => Ok(answer),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn found(answer: &Value) -> Vec<Found> {
    let found = answer["found"].as_array().expect("a list").iter();
    found
        .map(|found| Found {
            peer: parsed(&found["peer"]),
            addresses: found["addresses"].as_array().expect("a list").iter().map(parsed).collect(),
        })
        .collect()
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(value: &Value) -> T {
    value.as_str().expect("a text").parse().expect("it is of its kind")
}
