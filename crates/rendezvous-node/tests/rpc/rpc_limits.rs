//! What one caller can take, and for how long.

use std::time::Duration;

use rendezvous_node::rpc::{CallError, ErrorKind, ServerConfig, Services};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

use crate::support::{Net, Probe, args, arith_with, header_frame, request, serve_raw};

fn services_of(config: ServerConfig) -> (Services, Probe) {
    let services = Services::new(config);
    let probe = Probe::default();
    services.register(arith_with(probe.clone())).unwrap();
    (services, probe)
}

#[tokio::test(start_paused = true)]
async fn calls_above_the_limits_are_refused_and_those_after_them_served() {
    let mut config = ServerConfig::default();
    config.calls_per_peer_max = 2;
    config.calls_max = 3;
    let (services, probe) = services_of(config);
    let net = Net::new();
    let server = net.add(services.clone());
    let (one, two) = (net.client(), net.client());
    let mut running = Vec::new();
    for rpc in [&one, &one, &two] {
        running.push(rpc.go::<_, ()>(server, "Arith", "Sleep", &5));
        probe.begun.notified().await;
    }
    assert_eq!(services.calls(), 3);
    for (rpc, reason) in [(&one, "too many calls in total"), (&two, "too many calls in total")] {
        let error = rpc.call::<_, i64>(server, "Arith", "Multiply", &args(2, 3)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Server);
        assert!(matches!(error, CallError::Overloaded { reason: told } if told == reason));
    }
    drop(running.pop());
    probe.dropped.notified().await;
    let error = one.call::<_, i64>(server, "Arith", "Multiply", &args(2, 3)).await.unwrap_err();
    assert!(matches!(error, CallError::Overloaded { reason } if reason == "too many calls of this peer"));
    assert_eq!(two.call::<_, i64>(server, "Arith", "Multiply", &args(2, 3)).await.unwrap(), 6);
    for call in running {
        call.await.unwrap();
    }
    assert_eq!(one.call::<_, i64>(server, "Arith", "Multiply", &args(2, 3)).await.unwrap(), 6);
    assert_eq!(services.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_calls_itself_within_the_same_limits() {
    let mut config = ServerConfig::default();
    config.calls_per_peer_max = 1;
    let (services, probe) = services_of(config);
    let net = Net::new();
    let me = net.add(services.clone());
    let rpc = net.rpc_of(me, services);
    let running = rpc.go::<_, ()>(me, "Arith", "Sleep", &5);
    probe.begun.notified().await;
    let error = rpc.call::<_, i64>(me, "Arith", "Multiply", &args(2, 3)).await.unwrap_err();
    assert!(matches!(error, CallError::Overloaded { .. }));
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_header_comes_in_time_or_not_at_all() {
    let (services, _) = services_of(ServerConfig::default());
    let bytes = header_frame("Sleep");
    for sent in [0, 1, bytes.len() - 1] {
        let start = Instant::now();
        let (mut stream, serving) = serve_raw(&services);
        tokio::task::yield_now().await;
        // A byte every second makes no difference.
        for byte in &bytes[..sent.min(9)] {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        serving.await.unwrap();
        assert!(start.elapsed() < Duration::from_millis(10_010), "{:?}", start.elapsed());
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer[1..], *b"\x04\xa1\x66status\x08");
    }
    assert_eq!(services.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_header_longer_than_allowed_is_refused_unread() {
    let mut config = ServerConfig::default();
    config.header_bytes_max = 64;
    let (services, _) = services_of(config);
    let (mut stream, serving) = serve_raw(&services);
    stream.write_all(&[66]).await.unwrap();
    serving.await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer[1..], *b"\x04\xa2\x66status\x06\x69max_bytes\x18\x40");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_go_on_ends_at_the_deadline() {
    let mut config = ServerConfig::default();
    config.call_timeout_max = Duration::from_secs(30);
    let (services, probe) = services_of(config);
    for method in ["Sleep", "DivideMany"] {
        let start = Instant::now();
        let (mut stream, serving) = serve_raw(&services);
        stream.write_all(&header_frame(method)).await.unwrap();
        serving.await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 30);
        if method == "DivideMany" {
            probe.dropped.notified().await;
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer[1..], *b"\x04\xa1\x66status\x08");
    }
}

#[tokio::test(start_paused = true)]
async fn who_reads_nothing_is_cut_off() {
    let mut config = ServerConfig::default();
    config.write_timeout = Duration::from_secs(7);
    let (services, _) = services_of(config);
    let start = Instant::now();
    let (mut stream, serving) = serve_raw(&services);
    stream.write_all(&request("CountTo", &1_000_000)).await.unwrap();
    serving.await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 7);
    assert_eq!(services.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_and_reads_nothing_is_cut_off_soon() {
    let mut config = ServerConfig::default();
    config.calls_max = 0;
    let (services, _) = services_of(config);
    let start = Instant::now();
    let (near, far) = tokio::io::duplex(1);
    let compat = tokio_util::compat::TokioAsyncReadCompatExt::compat(far);
    services.serve(libp2p_identity::PeerId::random(), compat).await;
    assert_eq!(start.elapsed().as_secs(), 1);
    drop(near);
}
