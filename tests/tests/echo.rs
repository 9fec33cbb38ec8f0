//! The example `echo` as users run it: nodes that find each other, call each other, leave, come back, and die.

use std::{
    path::PathBuf,
    sync::LazyLock,
    time::{Duration, Instant},
};

use rendezvous_tests::program::{Running, build_of};

static BINARY: LazyLock<PathBuf> = LazyLock::new(|| build_of("example-echo", "echo"));

/// Longest wait for anything that a node is to say: many rounds of calls, and a few tries to connect.
const BOUND: Duration = Duration::from_secs(30);

/// Milliseconds from round to round.
const EVERY: &str = "200";

struct Peer {
    running: Running,
    id: String,
    address: String,
}

impl Peer {
    fn start(args: &[&str]) -> Self {
        let running = Running::start(&BINARY, &[&["--every", EVERY], args].concat());
        let id = running.line_with("peer id: ");
        let address = running.line_with("connect to me on: ");
        assert!(address.ends_with(&format!("/p2p/{id}")), "{address}");
        Self { running, id, address }
    }

    /// What comes behind this on the next line that begins with it.
    #[track_caller]
    fn says(&self, prefix: &str) -> String {
        let deadline = Instant::now() + BOUND;
        loop {
            if let Some(rest) = self.running.line_by(deadline).strip_prefix(prefix) {
                return rest.to_owned();
            }
        }
    }

    /// It has an answer from the other, to what it has asked.
    #[track_caller]
    fn hears(&self, other: &str) {
        let echoed = self.says(&format!("peer {other} echoed: "));
        let expected = format!("Peer {other} echoing: Message (");
        assert!(echoed.starts_with(&expected) && echoed.ends_with(&format!("Hello from {}", self.id)), "{echoed}");
    }

    /// Why the other is gone.
    #[track_caller]
    fn sees_leave(&self, other: &str) -> String {
        self.says(&format!("peer {other} has left: "))
    }

    /// For several rounds it does not speak of one peer, while it hears another.
    #[track_caller]
    fn forgets(&self, gone: &str, there: &str) {
        let deadline = Instant::now() + BOUND;
        let mut rounds = 0;
        while rounds < 6 {
            let line = self.running.line_by(deadline);
            assert!(!line.starts_with(&format!("peer {gone} ")), "{line}");
            rounds += usize::from(line.starts_with(&format!("peer {there} echoed: ")));
        }
    }

    /// Ctrl-C.
    #[track_caller]
    fn leave(self) {
        assert_eq!(self.running.stop().code(), Some(0));
    }
}

/// Each hears both others.
#[track_caller]
fn all_hear(peers: [&Peer; 3]) {
    for peer in peers {
        for other in peers.into_iter().filter(|other| other.id != peer.id) {
            peer.hears(&other.id);
        }
    }
}

/// Three who have found each other; one leaves, and comes back as who it was.
fn meet_part_and_meet_again(first: Peer, newcomer: impl Fn(&str) -> Peer) {
    let (second, third) = (newcomer("2"), newcomer("3"));
    all_hear([&first, &second, &third]);

    let gone = third.id.clone();
    third.leave();
    for (peer, other) in [(&first, &second), (&second, &first)] {
        assert_eq!(peer.sees_leave(&gone), "node is quitting");
        peer.forgets(&gone, &other.id);
    }

    let third = newcomer("3");
    assert_eq!(third.id, gone, "the seed is the same");
    for peer in [&first, &second] {
        peer.says(&format!("peer {gone} has joined"));
    }
    all_hear([&first, &second, &third]);
    for peer in [third, second, first] {
        peer.leave();
    }
}

#[test]
fn by_kademlia() {
    // Without a peer to start from it is the bootstrap server.
    let first = Peer::start(&["--seed", "1"]);
    let (id, address) = (first.id.clone(), first.address.clone());
    meet_part_and_meet_again(first, |seed| {
        let peer = Peer::start(&["--seed", seed, "--peer", &address]);
        peer.says(&format!("connected to {id}"));
        assert!(peer.says("advertised by ").starts_with("kad "));
        peer
    });
}

#[test]
fn by_a_rendezvous_point() {
    let first = Peer::start(&["--seed", "1", "--serve"]);
    let (id, address) = (first.id.clone(), first.address.clone());
    meet_part_and_meet_again(first, |seed| {
        // With a point and no peer it does not speak Kademlia.
        let peer = Peer::start(&["--seed", seed, "--point", &address]);
        peer.says(&format!("connected to {id}"));
        assert!(peer.says("advertised by ").starts_with("rendezvous "));
        peer
    });
}

#[test]
fn who_dies_is_asked_in_vain_and_then_gone() {
    let first = Peer::start(&[]);
    let [second, third] = [(); 2].map(|()| Peer::start(&["--peer", &first.address]));
    all_hear([&first, &second, &third]);

    let dead = third.id.clone();
    third.running.kill();
    for (peer, other) in [(&first, &second), (&second, &first)] {
        peer.says(&format!("peer {dead} returned an error: "));
        assert_eq!(peer.sees_leave(&dead), "no answer");
        peer.forgets(&dead, &other.id);
    }
    for peer in [second, first] {
        peer.leave();
    }
}

#[test]
fn who_is_to_be_started_from_and_is_not_there_is_named() {
    let first = Peer::start(&[]);
    let address = first.address.clone();
    first.leave();
    let second = Peer::start(&["--peer", &address]);
    let why = second.says(&format!("not connected to {address}: "));
    assert!(why.contains("cannot be reached"), "{why}");
    second.leave();
}
