//! A point that may open few files.

#![cfg(target_os = "linux")]

mod common;

use std::{
    net::TcpStream,
    process::{Command, Stdio},
    time::Duration,
};

use common::{Running, fresh, program, text};
use libp2p::{
    Multiaddr, Swarm, SwarmBuilder,
    futures::StreamExt,
    noise,
    swarm::{SwarmEvent, dummy},
    tcp, yamux,
};

const ADDRESS: &str = "/ip4/192.0.2.1/tcp/1";

/// The limit of the point that is crowded.
const FILES: u32 = 96;

/// The binary under a limit of so many open files, which it cannot raise.
fn limited(files: u32) -> Command {
    let program = program();
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -n {files} && exec \"$0\" \"$@\"")).arg(program.get_program());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(Stdio::null());
    command
}

#[tokio::test]
async fn registrations_are_stored_while_more_connections_come_than_there_are_descriptors() {
    let data = fresh("descriptors");
    let mut command = limited(FILES);
    command.args(["serve", "--json", "--stats-interval", "1", "--min-ttl", "1", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    command.args(["--data-dir", data.to_str().expect("it is UTF-8")]);
    let point = Running::spawn(&mut command);
    let note = point.note_with("connections at most");
    assert!(note.contains("may open 96 files") && note.contains("ulimit -n") && note.contains("LimitNOFILE"), "{note}");
    let start: serde_json::Value = serde_json::from_str(&point.line()).expect("it is JSON");
    let address = start["addresses"][0].as_str().expect("an address").to_owned();

    let clients: Vec<Running> = (0..3)
        .map(|number| {
            let namespace = format!("n{number}");
            let args = ["register", "--point", &address, "--address", ADDRESS, "--ttl", "6", "--json", "--namespace"];
            let client = Running::start(&[&args[..], &[&namespace]].concat());
            assert_eq!(text(&client.line(), "event"), "registered");
            client
        })
        .collect();

    // More connections than there are descriptors. Those that come in stay, and those that do not are turned away.
    let mut inside = Vec::new();
    for _ in 0..FILES {
        let mut stranger = stranger();
        stranger.dial(address.parse::<Multiaddr>().expect("it is a multiaddr")).expect("it is dialled");
        loop {
            match stranger.select_next_some().await {
                SwarmEvent::ConnectionEstablished { .. } => {
                    inside.push(tokio::spawn(async move {
                        loop {
                            stranger.select_next_some().await;
                        }
                    }));
                    break;
                }
                SwarmEvent::OutgoingConnectionError { .. } => break,
                _ => {}
            }
        }
    }
    // And as many that say nothing, all at once.
    let port = address.split('/').nth(4).expect("a port");
    let silent: Vec<TcpStream> =
        (0..2 * FILES).filter_map(|_| TcpStream::connect(format!("127.0.0.1:{port}")).ok()).collect();
    assert!(silent.len() > FILES as usize, "the kernel takes them");
    loop {
        let statistics: serde_json::Value = serde_json::from_str(&point.line()).expect("it is JSON");
        if statistics["connections"]["denied"]["max"].as_u64() > Some(0) {
            break;
        }
    }

    // Those inside renew, which writes to the store.
    for client in &clients {
        for _ in 0..2 {
            assert_eq!(text(&client.line(), "event"), "renewed");
        }
    }
    drop((silent, inside));
    point.signal("TERM");
    let ended = point.ended();
    assert_eq!(ended.succeeded().stderr.iter().find(|line| line.contains("registrations are refused")), None);
}

/// A peer that connects and stays.
fn stranger() -> Swarm<dummy::Behaviour> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .expect("a new key signs")
        .with_behaviour(|_| dummy::Behaviour)
        .expect("it is made")
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
        .build()
}

#[test]
fn the_check_tells_what_the_limit_leaves() {
    let mut command = limited(256);
    let ended = Running::spawn(command.args(["serve", "--check-config"])).ended();
    let line =
        ended.succeeded().stdout.iter().find(|line| line.starts_with("connections.max = ")).expect("it is there");
    assert!(line.starts_with("connections.max = 10000  # default; in force: "), "{line}");
    assert!(line.contains("may open 256 files"), "{line}");
    let mut command = limited(256);
    let ended = Running::spawn(command.args(["serve", "--check-config", "--json"])).ended();
    let lines = &ended.succeeded().stdout;
    let line = lines.iter().find(|line| text(line, "setting") == "connections.max").expect("it is there");
    let value: serde_json::Value = serde_json::from_str(line).expect("it is JSON");
    let in_force = value["in_force"].as_u64().expect("a number");
    assert!((100..256).contains(&in_force), "{line}");
}

#[test]
fn the_soft_limit_is_raised_to_the_hard_one() {
    // The hard limit is enough for the default, and the soft one is not.
    let mut command = Command::new("sh");
    let program = program();
    command.arg("-c").arg("ulimit -S -n 96 && exec \"$0\" \"$@\"").arg(program.get_program());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.args(["serve", "--listen", "/ip4/127.0.0.1/tcp/0", "--ephemeral", "--connections-max", "100"]);
    command.args(["--connections-pending-max", "20"]);
    let point = Running::spawn(command.stdin(Stdio::null()));
    point.line_with("try: ");
    point.signal("TERM");
    assert_eq!(point.ended().succeeded().stderr, [""; 0]);
}
