//! What a node leaves behind: nothing.
//!
//! Sockets are those of the process, so each test does its work in one of its own.

use std::{process::Command, time::Duration};

use futures::StreamExt as _;
use libp2p::{Multiaddr, identity::Keypair};
use rendezvous_node::{
    DisconnectReason, Identity, Node,
    discovery::Namespace,
    rpc::{ApplicationError, Context, Service},
};

use crate::{
    common::{address, dropped, in_time, join, listening, quic, session_started, tcp},
    raw::Raw,
};

/// Set in the process that does the work.
const ALONE: &str = "RENDEZVOUS_NODE_TEST_ALONE";

fn alone(test: &str, work: impl AsyncFn()) {
    if std::env::var_os(ALONE).is_none() {
        let this = std::env::current_exe().expect("the test runs from a file");
        let output =
            Command::new(this).args(["--exact", test, "--nocapture"]).env(ALONE, "1").output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "there is such a test");
        return;
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("there is room");
    runtime.block_on(in_time(work()));
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// Sockets of this process, where the system tells.
fn sockets() -> usize {
    let files = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let links = files.filter_map(|file| std::fs::read_link(file.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

/// Waits until there is as much as before.
async fn settled(before: (usize, usize)) {
    let waited = async {
        while (tasks(), sockets()) != before {
            tokio::task::yield_now().await;
        }
    };
    let is_settled = tokio::time::timeout(Duration::from_secs(20), waited).await.is_ok();
    assert!(is_settled, "{:?} tasks and sockets are left, of {before:?}", (tasks(), sockets()));
}

/// Three nodes that serve, advertise, find, call, and speak a sub-protocol.
async fn live_and_stop(listen: &Multiaddr) {
    let builder = || Node::builder().listen(listen.clone()).sub_protocol(listening("it"));
    let point = builder().serve_rendezvous(Default::default()).build().expect("the settings are right");
    point.start().await.expect("loopback can be listened on");
    let at = address(&point).await;
    let [first, second] = [(); 2].map(|()| builder().point(at.clone()).build().expect("the settings are right"));
    for node in [&first, &second] {
        node.start().await.expect("loopback can be listened on");
    }
    let mut events = [first.events(), second.events()];
    join(&first, &second).await;
    for events in &mut events {
        session_started(events, "it").await;
    }
    let namespace = Namespace::new("remains").expect("it is a name");
    let discovery = first.discovery().expect("it runs");
    let mut advertisement = discovery.advertise(namespace.clone()).expect("it runs");
    advertisement.advertised().await.expect("the point takes it");
    let mut find = second.discovery().expect("it runs").find(namespace).expect("it runs");
    find.next().await.expect("the advertiser is found");
    let echo = Service::new("echo").unary("echo", async |_: Context, it: u32| Ok::<_, ApplicationError>(it));
    first.services().register(echo).expect("it is the only one");
    assert_eq!(second.rpc().call::<_, u32>(first.id(), "echo", "echo", &7).await.expect("it answers"), 7);
    // The point last: what is advertised there is withdrawn.
    tokio::join!(first.stop(), second.stop());
    point.stop().await;
}

#[test]
fn nothing_is_left_of_nodes_that_have_stopped() {
    alone("remains::nothing_is_left_of_nodes_that_have_stopped", async || {
        let before = (tasks(), sockets());
        for round in 0..20 {
            live_and_stop(&tcp()).await;
            assert_eq!(sockets(), before.1, "after round {round}");
            // A task that has ended is counted until its thread has put it away.
            settled(before).await;
        }
        for _ in 0..20 {
            live_and_stop(&quic()).await;
            settled(before).await;
        }
    });
}

#[test]
fn nothing_is_left_of_peers_that_have_gone() {
    alone("remains::nothing_is_left_of_peers_that_have_gone", async || {
        let node = Node::builder().listen(tcp()).sub_protocol(listening("it")).peers_max(4).identity(Identity::Seed(1));
        let node = node.build().expect("the settings are right");
        node.start().await.expect("loopback can be listened on");
        let at = address(&node).await;
        let mut events = node.events();
        let before = (tasks(), sockets());
        for _ in 0..50 {
            let mut peer = Raw::new(Keypair::generate_ed25519(), true, true);
            let id = peer.id();
            peer.dial(node.id(), at.clone()).await;
            for protocol in ["/rendezvous/goodbye/1.0.0", "/rendezvous/sub/it/1", "/rendezvous/rpc/1.0.0"] {
                drop(peer.open(node.id(), protocol).await);
            }
            drop(peer);
            dropped(&mut events, id).await;
        }
        // A stream that was refused, or whose word has not come, may be waited for a moment longer.
        settled(before).await;
        node.stop().await;
    });
}

#[test]
fn streams_that_are_opened_and_closed_leave_nothing() {
    alone("remains::streams_that_are_opened_and_closed_leave_nothing", async || {
        let node = Node::builder().listen(tcp()).sub_protocol(listening("it")).build().expect("the settings are right");
        node.start().await.expect("loopback can be listened on");
        let mut events = node.events();
        let mut peer = Raw::new(Keypair::generate_ed25519(), true, true);
        peer.dial(node.id(), address(&node).await).await;
        let id = peer.id();
        peer.during(crate::common::identified(&mut events, id)).await;
        let before = tasks();
        for _ in 0..500 {
            for protocol in ["/rendezvous/goodbye/1.0.0", "/rendezvous/rpc/1.0.0"] {
                drop(peer.open(node.id(), protocol).await);
            }
        }
        let settled = async {
            while tasks() > before {
                tokio::task::yield_now().await;
            }
        };
        peer.during(tokio::time::timeout(Duration::from_secs(30), settled)).await.expect("nothing piles up");
        node.disconnect(id, DisconnectReason::Requested).await.expect("it runs");
        peer.during(dropped(&mut events, id)).await;
        node.stop().await;
    });
}
