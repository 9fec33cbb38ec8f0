//! Cancels, in both directions, and what they look like on the way.

use rendezvous_node::rpc::{
    ApplicationError, CallError, Context, Incoming, Outgoing, SendError, ServerConfig, Service, Services, Side,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

use crate::support::{
    Args, CANCEL, END, ITEM, Net, Probe, Quotient, args, arith_with, both, frame, header_frame, never, remote, request,
    serve_raw, services_with, value_frame,
};

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_drops_the_method() {
    let probe = Probe::default();
    for (rpc, peer) in both(&services_with(arith_with(probe.clone()))) {
        tokio::select! {
            _ = rpc.call::<_, ()>(peer, "Arith", "Sleep", &5) => panic!("nobody sleeps so short"),
            () = probe.begun.notified() => {}
        }
        probe.dropped.notified().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_started_call_is_cancelled_by_its_handle_and_by_dropping_it() {
    let probe = Probe::default();
    for (rpc, peer) in both(&services_with(arith_with(probe.clone()))) {
        for how in 0..3 {
            let call = rpc.go::<_, ()>(peer, "Arith", "Sleep", &5);
            probe.begun.notified().await;
            match how {
                0 => call.cancel(),
                1 => call.canceller().cancel(),
                _ => {
                    drop(call);
                    probe.dropped.notified().await;
                    continue;
                }
            }
            assert!(matches!(call.await, Err(CallError::Cancelled { side: Side::Caller })));
            probe.dropped.notified().await;
        }
    }
}

/// Muxers differ in what becomes of a dropped stream; other implementations may say it in words.
#[tokio::test(start_paused = true)]
async fn an_end_of_the_stream_and_a_frame_cancel_alike() {
    let probe = Probe::default();
    let services = services_with(arith_with(probe.clone()));
    for way in ["half-close", "drop", "frame"] {
        let (mut stream, serving) = serve_raw(&services);
        stream.write_all(&request("Sleep", &5)).await.unwrap();
        probe.begun.notified().await;
        match way {
            "half-close" => stream.shutdown().await.unwrap(),
            "drop" => {
                drop(stream);
                probe.dropped.notified().await;
                serving.await.unwrap();
                continue;
            }
            _ => stream.write_all(&frame(CANCEL, &[])).await.unwrap(),
        }
        probe.dropped.notified().await;
        serving.await.unwrap();
        // Who wants no answer gets none.
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, [], "{way}");
        assert_eq!(services.calls(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_closes_tells_its_callers() {
    for is_local in [false, true] {
        let probe = Probe::default();
        let services = services_with(arith_with(probe.clone()));
        let [remote, local] = both(&services);
        let (rpc, peer) = if is_local { local } else { remote };
        let call = rpc.go::<_, ()>(peer, "Arith", "Sleep", &5);
        probe.begun.notified().await;
        services.close();
        assert!(matches!(call.await, Err(CallError::Cancelled { side: Side::Callee })));
        probe.dropped.notified().await;
        let late = rpc.call::<_, ()>(peer, "Arith", "Sleep", &5).await;
        assert!(matches!(late, Err(CallError::Cancelled { side: Side::Callee })));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_away_breaks_its_calls() {
    let probe = Probe::default();
    let net = Net::new();
    let peer = net.add(services_with(arith_with(probe.clone())));
    let call = net.client().go::<_, ()>(peer, "Arith", "Sleep", &5);
    probe.begun.notified().await;
    net.serving.lock().unwrap().drain(..).for_each(|task| task.abort());
    assert!(matches!(call.await, Err(CallError::Broken(_))));
    probe.dropped.notified().await;
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_dropped_drop_the_method_and_end_the_request() {
    let probe = Probe::default();
    for (rpc, peer) in both(&services_with(arith_with(probe.clone()))) {
        let (mut requests, answers) = rpc.bidirectional::<Args, Quotient>(peer, "Arith", "DivideMany").await.unwrap();
        requests.send(args(6, 2)).await.unwrap();
        probe.begun.notified().await;
        drop(answers);
        probe.dropped.notified().await;
        assert!(matches!(requests.send(args(6, 2)).await, Err(SendError::Ended)));
    }
}

/// A method that tells whether it has seen the end of its request.
fn collector() -> (Service, mpsc::UnboundedReceiver<Vec<i64>>, Probe) {
    let probe = Probe::default();
    let (told, seen) = mpsc::unbounded_channel();
    let of_method = probe.clone();
    let service = Service::new("Arith").client_streaming("Collect", move |_: Context, mut items: Incoming<i64>| {
        let (told, guard) = (told.clone(), of_method.enter());
        async move {
            let _guard = guard;
            let mut all = Vec::new();
            while let Some(item) = items.next().await {
                all.push(item);
            }
            told.send(all).unwrap();
            Ok::<_, ApplicationError>(())
        }
    });
    (service, seen, probe)
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_cut_short_does_not_look_complete() {
    let (service, mut seen, probe) = collector();
    for (rpc, peer) in both(&services_with(service)) {
        let (mut requests, answer) = rpc.client_streaming::<i64, ()>(peer, "Arith", "Collect").await.unwrap();
        requests.send(1).await.unwrap();
        probe.begun.notified().await;
        drop(requests);
        assert!(matches!(answer.await, Err(CallError::Cancelled { side: Side::Caller })));
        probe.dropped.notified().await;
        assert!(seen.try_recv().is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_breaks_off_at_any_byte_does_not_look_complete() {
    let (service, mut seen, _) = collector();
    let services = services_with(service);
    let bytes = [header_frame("Collect"), value_frame(ITEM, &1), value_frame(ITEM, &2), frame(END, &[])].concat();
    for cut in 0..bytes.len() {
        let (mut stream, serving) = serve_raw(&services);
        stream.write_all(&bytes[..cut]).await.unwrap();
        stream.shutdown().await.unwrap();
        serving.await.unwrap();
        assert!(seen.try_recv().is_err(), "cut at {cut}");
    }
    let (mut stream, serving) = serve_raw(&services);
    stream.write_all(&bytes).await.unwrap();
    serving.await.unwrap();
    assert_eq!(seen.recv().await.unwrap(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn an_item_of_another_type_ends_the_call_though_the_end_has_come() {
    let (service, mut seen, probe) = collector();
    let services = services_with(service);
    let (mut stream, serving) = serve_raw(&services);
    let bytes = [header_frame("Collect"), value_frame(ITEM, &1), value_frame(ITEM, &"two"), frame(END, &[])].concat();
    stream.write_all(&bytes).await.unwrap();
    serving.await.unwrap();
    probe.dropped.notified().await;
    assert!(seen.try_recv().is_err());
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer[1], crate::support::ERROR);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_outlives_a_cancelled_call_is_told() {
    let (told, mut seen) = mpsc::unbounded_channel();
    let probe = Probe::default();
    let begun = probe.begun.clone();
    let service =
        Service::new("Arith").client_streaming("Collect", move |context: Context, mut items: Incoming<i64>| {
            let (told, begun) = (told.clone(), begun.clone());
            async move {
                begun.notify_one();
                tokio::spawn(async move {
                    while items.next().await.is_some() {}
                    told.send(context.is_cancelled()).unwrap();
                });
                std::future::pending::<Result<(), ApplicationError>>().await
            }
        });
    let (rpc, peer) = remote(&services_with(service));
    let (mut requests, answer) = rpc.client_streaming::<i64, ()>(peer, "Arith", "Collect").await.unwrap();
    requests.send(1).await.unwrap();
    probe.begun.notified().await;
    drop((requests, answer));
    assert!(seen.recv().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_cancel_behind_items_that_are_not_taken_is_seen() {
    let probe = Probe::default();
    let of_method = probe.clone();
    let service = Service::new("Arith").bidirectional(
        "Ignore",
        move |_: Context, items: Incoming<i64>, answer: Outgoing<i64>| {
            let guard = of_method.enter();
            async move {
                let _held = (guard, items, answer);
                std::future::pending::<Result<(), ApplicationError>>().await
            }
        },
    );
    for (rpc, peer) in both(&services_with(service)) {
        let (mut requests, answers) = rpc.bidirectional::<i64, i64>(peer, "Arith", "Ignore").await.unwrap();
        for item in 0..100 {
            requests.send(item).await.unwrap();
        }
        probe.begun.notified().await;
        assert!(never(&probe.dropped).await);
        drop((requests, answers));
        probe.dropped.notified().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_sends_on_while_its_time_ends_is_not_held() {
    let probe = Probe::default();
    for (rpc, peer) in both(&services_with(arith_with(probe.clone()))) {
        let rpc = rpc.with_timeout(std::time::Duration::from_millis(500));
        let (mut requests, mut answers) =
            rpc.bidirectional::<Args, Quotient>(peer, "Arith", "DivideMany").await.unwrap();
        let sending = async {
            loop {
                if let Err(error) = requests.send(args(1234, 5)).await {
                    return error;
                }
            }
        };
        let (sent, answer) = tokio::join!(sending, answers.next());
        assert!(matches!(sent, SendError::Ended | SendError::TimedOut));
        assert!(matches!(answer, Some(Err(CallError::TimedOut { .. }))));
        assert!(answers.next().await.is_none());
        probe.dropped.notified().await;
    }
}

#[tokio::test]
async fn services_that_are_closed_serve_nothing() {
    let services = Services::new(ServerConfig::default());
    services.close();
    let (rpc, peer) = remote(&services);
    assert!(matches!(rpc.call::<_, ()>(peer, "a", "b", &()).await, Err(CallError::Cancelled { .. })));
}
