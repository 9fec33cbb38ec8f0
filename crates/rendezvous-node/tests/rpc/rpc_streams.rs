//! Items in both directions, and who waits for whom.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rendezvous_node::rpc::{
    ApplicationError, CallError, Context, Incoming, Outgoing, Requests, ServerConfig, Service, Services,
};
use tokio::sync::Notify;

use crate::support::{Args, PIPE_BYTES, Probe, Quotient, args, arith, arith_with, both, never, remote, services_with};

#[tokio::test(start_paused = true)]
async fn items_are_answered_one_by_one() {
    for (rpc, peer) in both(&services_with(arith())) {
        let (mut requests, mut answers) =
            rpc.bidirectional::<Args, Quotient>(peer, "Arith", "DivideMany").await.unwrap();
        for (item, quo, rem) in [(args(2, 3), 0, 2), (args(6, 2), 3, 0), (args(9, 5), 1, 4)] {
            requests.send(item).await.unwrap();
            assert_eq!(answers.next().await.unwrap().unwrap(), Quotient { quo, rem });
        }
        requests.finish().await.unwrap();
        assert!(answers.next().await.is_none());
        assert!(answers.next().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn one_side_streams_alone() {
    for (rpc, peer) in both(&services_with(arith())) {
        let mut answers = rpc.server_streaming::<_, u64>(peer, "Arith", "CountTo", &1_000).await.unwrap();
        for expected in 0..1_000 {
            assert_eq!(answers.next().await.unwrap().unwrap(), expected);
        }
        assert!(answers.next().await.is_none());

        let (mut requests, answer) = rpc.client_streaming::<i64, i64>(peer, "Arith", "Sum").await.unwrap();
        for number in 0..1_000 {
            requests.send(number).await.unwrap();
        }
        requests.finish().await.unwrap();
        assert_eq!(answer.await.unwrap(), 499_500);
    }
}

#[tokio::test(start_paused = true)]
async fn streams_without_items_end() {
    for (rpc, peer) in both(&services_with(arith())) {
        let mut answers = rpc.server_streaming::<_, u64>(peer, "Arith", "CountTo", &0).await.unwrap();
        assert!(answers.next().await.is_none());
        let (requests, answer) = rpc.client_streaming::<i64, i64>(peer, "Arith", "Sum").await.unwrap();
        requests.finish().await.unwrap();
        assert_eq!(answer.await.unwrap(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_comes_behind_the_items_before_it_and_ends_the_stream() {
    for (rpc, peer) in both(&services_with(arith())) {
        let (mut requests, mut answers) =
            rpc.bidirectional::<Args, Quotient>(peer, "Arith", "DivideMany").await.unwrap();
        requests.send(args(2, 3)).await.unwrap();
        requests.send(args(6, 0)).await.unwrap();
        requests.finish().await.unwrap();
        assert_eq!(answers.next().await.unwrap().unwrap(), Quotient { quo: 0, rem: 2 });
        let error = answers.next().await.unwrap().unwrap_err();
        assert!(matches!(error, CallError::Application(error) if error.message == "divide by zero"));
        assert!(answers.next().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_at_its_deadline() {
    let probe = Probe::default();
    for (rpc, peer) in both(&services_with(arith_with(probe.clone()))) {
        let rpc = rpc.with_timeout(Duration::from_millis(500));
        let (mut requests, mut answers) =
            rpc.bidirectional::<Args, Quotient>(peer, "Arith", "DivideMany").await.unwrap();
        requests.send(args(2, 3)).await.unwrap();
        requests.send(args(1234, 5)).await.unwrap();
        requests.finish().await.unwrap();
        assert!(answers.next().await.unwrap().is_ok());
        assert!(matches!(answers.next().await, Some(Err(CallError::TimedOut { .. }))));
        assert!(answers.next().await.is_none());
        probe.dropped.notified().await;
    }
}

/// Sends until it cannot.
async fn flood(mut requests: Requests<Args>, item: Args) {
    while requests.send(item).await.is_ok() {}
}

#[tokio::test(start_paused = true)]
async fn a_method_that_fails_stops_a_caller_that_sends_on() {
    for (rpc, peer) in both(&services_with(arith())) {
        let (requests, mut answers) = rpc.bidirectional::<Args, Quotient>(peer, "Arith", "DivideMany").await.unwrap();
        let ((), answer) = tokio::join!(flood(requests, args(1, 0)), answers.next());
        let error = answer.unwrap().unwrap_err();
        assert!(matches!(error, CallError::Application(error) if error.message == "divide by zero"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_before_the_end_of_the_request_stands() {
    let service = Service::new("Arith").client_streaming("First", async |_: Context, mut items: Incoming<Args>| {
        Ok::<_, ApplicationError>(items.next().await.map(|item| item.a))
    });
    for (rpc, peer) in both(&services_with(service)) {
        let (requests, answer) = rpc.client_streaming::<Args, Option<i64>>(peer, "Arith", "First").await.unwrap();
        // The answer is there before it is looked for.
        flood(requests, args(7, 0)).await;
        assert_eq!(answer.await.unwrap(), Some(7));
    }
}

/// Counts the items of an answer as they are sent, and one that is stuck.
fn counted(sent: Arc<AtomicUsize>) -> Service {
    Service::new("Arith").server_streaming("Pour", move |_: Context, count: usize, mut answer: Outgoing<[u8; 32]>| {
        let sent = sent.clone();
        async move {
            for _ in 0..count {
                answer.send([0; 32]).await?;
                sent.fetch_add(1, Ordering::SeqCst);
            }
            Ok::<_, ApplicationError>(())
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_does_not_read_stops_the_method() {
    let sent = Arc::new(AtomicUsize::new(0));
    let (rpc, peer) = remote(&services_with(counted(sent.clone())));
    let mut answers = rpc.server_streaming::<_, [u8; 32]>(peer, "Arith", "Pour", &10_000).await.unwrap();
    // With the first item the request is on its way.
    answers.next().await.unwrap().unwrap();
    assert!(never(&Notify::new()).await);
    let stuck_at = sent.load(Ordering::SeqCst);
    // The pipe, what the reader has taken out of it with the first item, the frame in the writer and the one behind it.
    assert!(stuck_at <= (PIPE_BYTES + 8 * 1024) / 32 + 3, "{stuck_at} items were sent to nobody");
    for _ in 1..10_000 {
        answers.next().await.unwrap().unwrap();
    }
    assert!(answers.next().await.is_none());
    assert_eq!(sent.load(Ordering::SeqCst), 10_000);
}

#[tokio::test(start_paused = true)]
async fn a_method_that_does_not_read_stops_its_caller() {
    let read_ahead_bytes = 4 << 10;
    let mut config = ServerConfig::default();
    config.read_ahead_bytes = read_ahead_bytes;
    let services = Services::new(config);
    let gate = Arc::new(Notify::new());
    let of_method = gate.clone();
    let service = Service::new("Arith").client_streaming("Count", move |_: Context, mut items: Incoming<[u8; 32]>| {
        let gate = of_method.clone();
        async move {
            gate.notified().await;
            let mut count = 0_usize;
            while items.next().await.is_some() {
                count += 1;
            }
            Ok::<_, ApplicationError>(count)
        }
    });
    services.register(service).unwrap();
    let (rpc, peer) = remote(&services);
    let (mut requests, answer) = rpc.client_streaming::<[u8; 32], usize>(peer, "Arith", "Count").await.unwrap();
    let sent = AtomicUsize::new(0);
    let sending = async {
        for _ in 0..10_000 {
            requests.send([0; 32]).await.unwrap();
            sent.fetch_add(1, Ordering::SeqCst);
        }
        requests.finish().await.unwrap();
    };
    let opening = async {
        assert!(never(&Notify::new()).await);
        let stuck_at = sent.load(Ordering::SeqCst);
        // The pipe, one read of the server's buffer, and what it may read ahead.
        assert!(
            stuck_at <= (PIPE_BYTES + 8 * 1024 + read_ahead_bytes) / 32 + 2,
            "{stuck_at} items were sent to nobody"
        );
        gate.notify_one();
    };
    let ((), (), count) = tokio::join!(sending, opening, answer);
    assert_eq!(count.unwrap(), 10_000);
}

#[tokio::test(start_paused = true)]
async fn an_item_larger_than_what_is_read_ahead_passes() {
    let mut config = ServerConfig::default();
    config.read_ahead_bytes = 1;
    let services = Services::new(config);
    services.register(arith()).unwrap();
    services
        .register(Service::new("Text").client_streaming("Length", async |_: Context, mut texts: Incoming<String>| {
            let mut len = 0;
            while let Some(text) = texts.next().await {
                len += text.len();
            }
            Ok::<_, ApplicationError>(len)
        }))
        .unwrap();
    let (rpc, peer) = remote(&services);
    let (mut requests, answer) = rpc.client_streaming::<String, usize>(peer, "Text", "Length").await.unwrap();
    let sending = async {
        for _ in 0..3 {
            requests.send("x".repeat(500_000)).await.unwrap();
        }
        requests.finish().await.unwrap();
    };
    let ((), len) = tokio::join!(sending, answer);
    assert_eq!(len.unwrap(), 1_500_000);
}

#[tokio::test(start_paused = true)]
async fn an_item_whose_sending_was_dropped_is_not_torn() {
    let (rpc, peer) = remote(&services_with(Service::new("Arith").client_streaming(
        "Lengths",
        async |_: Context, mut texts: Incoming<String>| {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let mut all = Vec::new();
            while let Some(text) = texts.next().await {
                all.push(text.len());
            }
            Ok::<_, ApplicationError>(all)
        },
    )));
    let (mut requests, answer) = rpc.client_streaming::<String, Vec<usize>>(peer, "Arith", "Lengths").await.unwrap();
    // One is read ahead of the method, and one waits for that.
    for _ in 0..2 {
        requests.send("x".repeat(500_000)).await.unwrap();
    }
    let stuck = requests.send("x".repeat(500_000));
    assert!(tokio::time::timeout(Duration::from_millis(1), stuck).await.is_err());
    let sending = async {
        requests.send("short".to_owned()).await.unwrap();
        requests.finish().await.unwrap();
    };
    let ((), lengths) = tokio::join!(sending, answer);
    assert_eq!(lengths.unwrap(), [500_000, 500_000, 500_000, 5]);
}
