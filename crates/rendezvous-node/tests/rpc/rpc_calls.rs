//! Calls of methods that take one item and give one.

use std::{sync::atomic::Ordering, time::Duration};

use libp2p_identity::PeerId;
use rendezvous_node::rpc::{ApplicationError, CallError, Context, ErrorKind, ServerConfig, Service, Services, Side};
use tokio::{sync::mpsc, time::Instant};

use crate::support::{Net, Probe, Quotient, args, arith, arith_with, both, remote, services_with};

#[tokio::test(start_paused = true)]
async fn a_call_gets_what_the_method_returns_here_and_there() {
    for (rpc, peer) in both(&services_with(arith())) {
        assert_eq!(rpc.call::<_, i64>(peer, "Arith", "Multiply", &args(2, 3)).await.unwrap(), 6);
        assert_eq!(rpc.call::<_, i64>(peer, "Arith", "Multiply", args(2, 3).as_ref()).await.unwrap(), 6);
        let quotient: Quotient = rpc.call(peer, "Arith", "Divide", &args(20, 6)).await.unwrap();
        assert_eq!(quotient, Quotient { quo: 3, rem: 2 });
    }
}

impl AsRef<Self> for crate::support::Args {
    fn as_ref(&self) -> &Self {
        self
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_to_oneself_opens_no_stream() {
    let net = Net::new();
    let services = services_with(arith());
    let me = net.add(services.clone());
    let rpc = net.rpc_of(me, services);
    assert_eq!(rpc.call::<_, i64>(me, "Arith", "Multiply", &args(2, 3)).await.unwrap(), 6);
    assert_eq!(net.opened.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn the_error_of_a_method_arrives_as_it_is() {
    for (rpc, peer) in both(&services_with(arith())) {
        let error = rpc.call::<_, i64>(peer, "Arith", "Fail", &args(1, 2)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Application);
        assert_eq!(error.to_string(), "an error (code 77)");
        assert!(matches!(error, CallError::Application(error) if error == ApplicationError::new(77, "an error")));
    }
}

#[tokio::test(start_paused = true)]
async fn errors_of_the_system_are_told_from_those_of_methods() {
    for (rpc, peer) in both(&services_with(arith())) {
        let no_method = rpc.call::<_, i64>(peer, "Arith", "ThisIsNotAMethod", &args(1, 2)).await.unwrap_err();
        assert!(matches!(no_method, CallError::NoMethod));
        assert_eq!(no_method.kind(), ErrorKind::Server);
        let no_service = rpc.call::<_, i64>(peer, "ThisIsNotAService", "Add", &args(1, 2)).await.unwrap_err();
        assert!(matches!(no_service, CallError::NoService));
        let method = rpc.call::<_, i64>(peer, "Arith", "Fail", &args(1, 2)).await.unwrap_err();
        assert_eq!(method.kind(), ErrorKind::Application);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_at_its_deadline_and_so_does_the_method() {
    let probe = Probe::default();
    for (rpc, peer) in both(&services_with(arith_with(probe.clone()))) {
        let rpc = rpc.with_timeout(Duration::from_millis(500));
        let start = Instant::now();
        let error = rpc.call::<_, ()>(peer, "Arith", "Sleep", &5).await.unwrap_err();
        assert!(matches!(error, CallError::TimedOut { .. }));
        probe.dropped.notified().await;
        assert!(start.elapsed() < Duration::from_millis(502));
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_that_is_left_is_sent_along_and_capped() {
    let mut config = ServerConfig::default();
    config.call_timeout_max = Duration::from_secs(5);
    let services = Services::new(config);
    let method = async |context: Context, _: ()| Ok::<_, ApplicationError>(context.time_left().as_millis() as u64);
    services.register(Service::new("Time").unary("Left", method)).unwrap();
    for (rpc, peer) in both(&services) {
        for (timeout, left) in [(Some(300), 300), (Some(60_000), 5_000), (None, 5_000)] {
            let rpc = rpc.with_timeout(timeout.map(Duration::from_millis));
            assert_eq!(rpc.call::<_, u64>(peer, "Time", "Left", &()).await.unwrap(), left);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_does_not_serve_longer_than_it_will() {
    let mut config = ServerConfig::default();
    config.call_timeout_max = Duration::from_secs(2);
    let services = Services::new(config);
    let probe = Probe::default();
    services.register(arith_with(probe.clone())).unwrap();
    for (rpc, peer) in both(&services) {
        let error = rpc.with_timeout(None).call::<_, ()>(peer, "Arith", "Sleep", &5).await.unwrap_err();
        assert!(matches!(error, CallError::TimedOut { side: Side::Callee }));
        probe.dropped.notified().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_method_knows_who_calls_and_what() {
    let services = Services::new(ServerConfig::default());
    let (told, mut seen) = mpsc::unbounded_channel();
    let method = move |context: Context, _: ()| {
        told.send(context).unwrap();
        async { Ok::<_, ApplicationError>(()) }
    };
    services.register(Service::new("Who").unary("Calls", method)).unwrap();
    for (rpc, peer) in both(&services) {
        rpc.call::<_, ()>(peer, "Who", "Calls", &()).await.unwrap();
        let context = seen.recv().await.unwrap();
        assert_eq!(context.caller(), rpc.local_peer());
        assert_eq!(context.is_local(), peer == rpc.local_peer());
        assert_eq!((context.service(), context.method()), ("Who", "Calls"));
        // What outlives the call is told that it is over.
        context.cancelled().await;
        assert!(context.is_cancelled());
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_started_runs_by_itself() {
    let probe = Probe::default();
    for (rpc, peer) in both(&services_with(arith_with(probe.clone()))) {
        let call = rpc.go::<_, ()>(peer, "Arith", "Sleep", &5);
        assert_eq!(call.peer(), peer);
        probe.dropped.notified().await;
        call.await.unwrap();
        assert_eq!(rpc.go::<_, i64>(peer, "Arith", "Multiply", &args(2, 3)).await.unwrap(), 6);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_started_has_a_deadline() {
    let (rpc, peer) = remote(&services_with(arith()));
    let call = rpc.with_timeout(Duration::from_millis(500)).go::<_, ()>(peer, "Arith", "Sleep", &5);
    assert!(matches!(call.await, Err(CallError::TimedOut { .. })));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_before_a_call_is_awaited() {
    let net = Net::new();
    let peer = net.add(services_with(arith()));
    let call = net.client().call::<_, i64>(peer, "Arith", "Multiply", &args(2, 3));
    tokio::task::yield_now().await;
    assert_eq!(net.opened.load(Ordering::Relaxed), 0);
    assert_eq!(call.await.unwrap(), 6);
}

#[tokio::test(start_paused = true)]
async fn who_may_call_what_is_for_the_policy_to_say() {
    let net = Net::new();
    let services = services_with(arith());
    let server = net.add(services.clone());
    let friend = net.client();
    let friend_id = friend.local_peer();
    services.set_authorization(move |caller: PeerId, service: &str, method: &str| {
        caller == friend_id && (service, method) == ("Arith", "Multiply")
    });

    assert_eq!(friend.call::<_, i64>(server, "Arith", "Multiply", &args(2, 3)).await.unwrap(), 6);
    for (rpc, method) in [(&friend, "Divide"), (&friend, "NoSuchMethod"), (&net.client(), "Multiply")] {
        let error = rpc.call::<_, i64>(server, "Arith", method, &args(2, 3)).await.unwrap_err();
        assert!(matches!(error, CallError::NotAuthorized), "{method}");
        assert_eq!(error.kind(), ErrorKind::NotAuthorized);
    }
    // It is not asked what a peer may do with itself.
    let local = net.rpc_of(server, services.clone());
    assert_eq!(local.call::<_, i64>(server, "Arith", "Multiply", &args(2, 3)).await.unwrap(), 6);

    services.clear_authorization();
    assert!(net.client().call::<_, i64>(server, "Arith", "Multiply", &args(2, 3)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_panics_lets_nobody_in() {
    let services = services_with(arith());
    services.set_authorization(|_, _, _| panic!("on purpose"));
    let (rpc, peer) = remote(&services);
    let error = rpc.call::<_, i64>(peer, "Arith", "Multiply", &args(2, 3)).await.unwrap_err();
    assert!(matches!(error, CallError::Panicked));
}
