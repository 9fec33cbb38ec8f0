//! One call to many peers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use libp2p_identity::PeerId;
use rendezvous_node::rpc::{
    ApplicationError, CallError, ClientConfig, Context, MULTI_CALLS_MAX, Rpc, ServerConfig, Service, Services,
};

use crate::support::{Args, Net, Probe, Quotient, args, arith, arith_with, services_with};

#[tokio::test(start_paused = true)]
async fn each_peer_has_its_result_in_the_order_given() {
    let net = Net::new();
    let services = services_with(arith());
    let (one, gone, deaf) = (net.add(services.clone()), PeerId::random(), net.add_deaf());
    let me = net.add(services.clone());
    let rpc = net.rpc_of(me, services);
    let results = rpc.multi_call::<_, i64>([one, gone, me, deaf], "Arith", "Multiply", &args(2, 3)).all().await;
    let peers: Vec<_> = results.iter().map(|(peer, _)| *peer).collect();
    assert_eq!(peers, [one, gone, me, deaf]);
    assert!(matches!(results[0].1, Ok(6)));
    assert!(matches!(results[1].1, Err(CallError::Unreachable(_))));
    assert!(matches!(results[2].1, Ok(6)));
    assert!(matches!(results[3].1, Err(CallError::Unsupported)));
}

#[tokio::test(start_paused = true)]
async fn results_are_taken_one_by_one_as_well() {
    let net = Net::new();
    let peers = [net.add(services_with(arith())), net.add(services_with(arith()))];
    let mut results = net.client().multi_call::<_, i64>(peers, "Arith", "Multiply", &args(2, 3));
    for expected in peers {
        let (peer, result) = results.next().await.unwrap();
        assert_eq!((peer, result.unwrap()), (expected, 6));
    }
    assert!(results.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn so_many_are_asked_at_once_and_no_more() {
    let (at_once, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (of_method, most_seen) = (at_once, most.clone());
    let service = Service::new("Slow").unary("Slow", move |_: Context, _: ()| {
        let (at_once, most) = (of_method.clone(), most_seen.clone());
        async move {
            most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(1)).await;
            at_once.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, ApplicationError>(())
        }
    });
    let net = Net::new();
    let peers: Vec<_> = (0..3 * MULTI_CALLS_MAX).map(|_| net.add(services_with(service.clone()))).collect();
    let results = net.client().multi_call::<_, ()>(peers, "Slow", "Slow", &()).all().await;
    assert!(results.iter().all(|(_, result)| result.is_ok()));
    assert_eq!(most.load(Ordering::SeqCst), MULTI_CALLS_MAX);
}

#[tokio::test(start_paused = true)]
async fn dropping_it_cancels_what_is_under_way() {
    let net = Net::new();
    let probe = Probe::default();
    let peer = net.add(services_with(arith_with(probe.clone())));
    let mut results = net.client().multi_call::<_, ()>([peer], "Arith", "Sleep", &5);
    tokio::select! {
        _ = results.next() => panic!("nobody sleeps so short"),
        () = probe.begun.notified() => {}
    }
    drop(results);
    probe.dropped.notified().await;
}

#[tokio::test(start_paused = true)]
async fn an_argument_that_is_too_large_fails_for_each_peer() {
    let mut config = ClientConfig::default();
    config.message_bytes_max = 8;
    let me = PeerId::random();
    let rpc = Rpc::local(me, Services::new(ServerConfig::default()), config);
    let results = rpc.multi_call::<_, ()>([me, me], "Arith", "Multiply", "much too long").all().await;
    assert_eq!(results.len(), 2);
    assert!(results.iter().all(|(_, result)| matches!(result, Err(CallError::TooLarge { .. }))));
}

/// One stream of items to several peers, put together from single streams.
async fn divide_at(rpc: &Rpc, peers: &[PeerId], items: &[Args]) -> Vec<Result<Vec<Quotient>, CallError>> {
    let divide = |peer: PeerId| async move {
        let (mut requests, mut answers) = rpc.bidirectional::<Args, Quotient>(peer, "Arith", "DivideMany").await?;
        let sending = async {
            for &item in items {
                if requests.send(item).await.is_err() {
                    return;
                }
            }
            let _ = requests.finish().await;
        };
        let receiving = async {
            let mut quotients = Vec::new();
            while let Some(quotient) = answers.next().await {
                quotients.push(quotient?);
            }
            Ok(quotients)
        };
        tokio::join!(sending, receiving).1
    };
    futures::future::join_all(peers.iter().copied().map(divide)).await
}

#[tokio::test(start_paused = true)]
async fn a_stream_to_many_peers_is_answered_or_fails_or_times_out_for_each() {
    let net = Net::new();
    let services = services_with(arith());
    let other = net.add(services_with(arith()));
    let me = net.add(services.clone());
    let rpc = net.rpc_of(me, services).with_timeout(Duration::from_millis(500));
    let peers = [me, other];

    for result in divide_at(&rpc, &peers, &[args(10, 3), args(10, 3)]).await {
        assert_eq!(result.unwrap(), [Quotient { quo: 3, rem: 1 }; 2]);
    }
    for result in divide_at(&rpc, &peers, &[args(10, 0), args(10, 0)]).await {
        assert!(matches!(result, Err(CallError::Application(error)) if error.message == "divide by zero"));
    }
    for result in divide_at(&rpc, &peers, &[args(10, 2), args(1234, 3)]).await {
        assert!(matches!(result, Err(CallError::TimedOut { .. })));
    }
}
