//! Bytes of those who mean harm.

use std::time::Duration;

use proptest::prelude::*;
use rendezvous_node::rpc::{Rpc, Services};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{
    END, HEADER, ITEM, args, arith, frame, header_frame, remote, request, scripted, serve_raw, services_with,
};

/// Sends the bytes to a server, and gives what it answers. Whatever they are, the server ends by itself, holds
/// nothing, and serves the next one.
async fn attack(services: &Services, bytes: &[u8]) -> Vec<u8> {
    let (stream, serving) = serve_raw(services);
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut answer = Vec::new();
    let writing = async {
        // The server may have heard enough.
        let _ = writer.write_all(bytes).await;
    };
    let (_, read) = tokio::join!(writing, reader.read_to_end(&mut answer));
    read.unwrap();
    serving.await.unwrap();
    assert_eq!(services.calls(), 0);
    let (rpc, peer) = remote(services);
    assert_eq!(rpc.call::<_, i64>(peer, "Arith", "Multiply", &args(2, 3)).await.unwrap(), 6);
    answer
}

fn in_virtual_time<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(test)
}

#[tokio::test(start_paused = true)]
async fn a_call_that_breaks_off_at_any_byte_ends() {
    let services = services_with(arith());
    let bytes = request("Multiply", &args(2, 3));
    for cut in 0..=bytes.len() {
        let answer = attack(&services, &bytes[..cut]).await;
        assert_eq!(answer.get(1), Some(if cut == bytes.len() { &ITEM } else { &crate::support::ERROR }));
    }
}

#[tokio::test(start_paused = true)]
async fn lengths_that_are_announced_are_not_waited_for() {
    let services = services_with(arith());
    let start = tokio::time::Instant::now();
    for prefix in [
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01][..],
        &[0xff; 10],
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
        &[0xff, 0xff, 0xff, 0x7f],
        &[0x00],
    ] {
        attack(&services, prefix).await;
        attack(&services, &[&header_frame("Multiply"), prefix].concat()).await;
        attack(&services, &[&header_frame("DivideMany"), prefix].concat()).await;
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn nesting_does_not_reach_the_stack() {
    let services = services_with(arith());
    for level in [&[0x81][..], &[0x9f], &[0xa1, 0x00], &[0xbf, 0x00], &[0xc6], &[0xd9, 0xd9, 0xf7]] {
        let deep = level.repeat(200_000 / level.len());
        let field = [&b"\xa3\x67service\x65Arith\x66method\x68Multiply\x61x"[..], &deep[..3_900]].concat();
        attack(&services, &frame(HEADER, &deep[..4_000])).await;
        attack(&services, &frame(HEADER, &field)).await;
        for method in ["Multiply", "Sum"] {
            let bytes = [header_frame(method), frame(ITEM, &deep), frame(END, &[])].concat();
            let answer = attack(&services, &bytes).await;
            assert_eq!(answer[1], crate::support::ERROR);
        }
        let (rpc, peer) = scripted(frame(ITEM, &deep));
        assert!(rpc.call::<_, ciborium::Value>(peer, "a", "b", &()).await.is_err());
        let (rpc, peer) = scripted(frame(crate::support::ERROR, &deep[..9_000]));
        assert!(rpc.call::<_, ciborium::Value>(peer, "a", "b", &()).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_frames_that_mean_nothing_ends_at_the_deadline() {
    let mut config = rendezvous_node::rpc::ServerConfig::default();
    config.call_timeout_max = Duration::from_secs(3);
    let services = Services::new(config);
    services.register(arith()).unwrap();
    let (stream, serving) = serve_raw(&services);
    let (_reader, mut writer) = tokio::io::split(stream);
    writer.write_all(&request("Sleep", &100)).await.unwrap();
    let mut frames = 0;
    while writer.write_all(&frame(0xee, &[0; 60])).await.is_ok() {
        frames += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    serving.await.unwrap();
    assert!((290..310).contains(&frames), "{frames}");
}

/// Frames of which some are right, and bytes that are none.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let body = prop::collection::vec(any::<u8>(), 0..40);
    let any_frame = (any::<u8>(), body.clone()).prop_map(|(kind, body)| frame(kind, &body));
    let known_frame = (0_u8..7, body.clone()).prop_map(|(kind, body)| frame(kind, &body));
    let method = prop::sample::select(vec!["Multiply", "Divide", "Sum", "CountTo", "DivideMany", "Panic", "None"]);
    let header = method.prop_map(header_frame);
    let item = prop_oneof![
        any::<i64>().prop_map(|number| crate::support::value_frame(ITEM, &number)),
        (-9_i64..9, -9_i64..9).prop_map(|(a, b)| crate::support::value_frame(ITEM, &args(a, b))),
        Just(crate::support::value_frame(ITEM, &())),
    ];
    let end = Just(frame(END, &[]));
    let part = prop_oneof![
        4 => header.clone(), 6 => item.clone(), 3 => end.clone(), 2 => known_frame, 1 => any_frame, 1 => body,
    ];
    let anything = prop::collection::vec(part.clone(), 0..8).prop_map(|parts| parts.concat());
    let nearly =
        (header, prop::collection::vec(part, 0..8)).prop_map(|(header, rest)| [header, rest.concat()].concat());
    prop_oneof![anything, nearly]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_harm_a_server(bytes in frames(), is_closed in any::<bool>()) {
        in_virtual_time(async {
            let services = services_with(arith());
            if is_closed {
                let (mut stream, serving) = serve_raw(&services);
                let (mut reader, mut writer) = tokio::io::split(&mut stream);
                let writing = async {
                    let _ = writer.write_all(&bytes).await;
                    let _ = writer.shutdown().await;
                };
                let mut answer = Vec::new();
                let _ = tokio::join!(writing, reader.read_to_end(&mut answer));
                serving.await.unwrap();
            } else {
                attack(&services, &bytes).await;
            }
        });
    }

    #[test]
    fn no_bytes_harm_a_client(bytes in frames()) {
        in_virtual_time(async {
            let (rpc, peer): (Rpc, _) = scripted(&bytes);
            let _ = rpc.call::<_, i64>(peer, "Arith", "Multiply", &args(2, 3)).await;
            let mut answers = rpc.server_streaming::<_, i64>(peer, "Arith", "CountTo", &3).await.unwrap();
            let mut errors = 0;
            while let Some(answer) = answers.next().await {
                errors += usize::from(answer.is_err());
            }
            assert!(errors <= 1);
        });
    }
}
