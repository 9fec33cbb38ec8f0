//! Whose fault it is when a call fails.

use std::sync::Arc;

use rendezvous_node::rpc::{
    ApplicationError, CallError, ClientConfig, Context, ErrorKind, MalformedAnswer, Message, Outgoing, Rpc, SendError,
    ServerConfig, Service, Services, Side,
};
use serde::{Serialize, Serializer};

use crate::support::{
    CANCEL, END, ERROR, HEADER, ITEM, Net, Scripted, args, arith, both, frame, remote, scripted, services_with,
    value_frame,
};

/// A type that refuses to be encoded.
struct Refuses;

impl Serialize for Refuses {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("not today"))
    }
}

#[tokio::test]
async fn a_peer_that_is_away_differs_from_one_that_does_not_speak_the_protocol() {
    let net = Net::new();
    let deaf = net.add_deaf();
    let rpc = net.client();
    let away = rpc.call::<_, ()>(rendezvous_peer(), "a", "b", &()).await.unwrap_err();
    assert!(matches!(&away, CallError::Unreachable(source) if source.to_string() == "no such peer"));
    let deaf = rpc.call::<_, ()>(deaf, "a", "b", &()).await.unwrap_err();
    assert!(matches!(deaf, CallError::Unsupported));
    assert_eq!((away.kind(), deaf.kind()), (ErrorKind::Client, ErrorKind::Client));
}

fn rendezvous_peer() -> libp2p_identity::PeerId {
    libp2p_identity::PeerId::random()
}

#[tokio::test]
async fn a_method_that_panics_harms_no_other() {
    for (rpc, peer) in both(&services_with(arith())) {
        for _ in 0..3 {
            let error = rpc.call::<_, ()>(peer, "Arith", "Panic", &()).await.unwrap_err();
            assert!(matches!(error, CallError::Panicked));
            assert_eq!(error.kind(), ErrorKind::Server);
            assert_eq!(rpc.call::<_, i64>(peer, "Arith", "Multiply", &args(2, 3)).await.unwrap(), 6);
        }
    }
}

#[tokio::test]
async fn what_panics_besides_a_method_harms_no_other_either() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "on purpose");
        }
    }
    let service = Service::new("S")
        .unary("Early", |_: Context, ()| -> std::future::Ready<Result<(), ApplicationError>> { panic!("on purpose") })
        .unary("Late", async |_: Context, ()| {
            let _bomb = Bomb;
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            Ok::<_, ApplicationError>(())
        });
    let services = services_with(service);
    let (rpc, peer) = remote(&services);
    for method in ["Early", "Late"] {
        let error = rpc.call::<_, ()>(peer, "S", method, &()).await.unwrap_err();
        assert!(matches!(error, CallError::Panicked), "{method}");
    }
    assert_eq!(services.calls(), 0);
}

fn small_server(message_bytes_max: usize) -> Services {
    let mut config = ServerConfig::default();
    config.message_bytes_max = message_bytes_max;
    let services = Services::new(config);
    let text = async |_: Context, len: usize| Ok::<_, ApplicationError>("x".repeat(len));
    let length = async |_: Context, text: String| Ok::<_, ApplicationError>(text.len());
    let many = async |_: Context, len: usize, mut answer: Outgoing<String>| {
        answer.send("first".to_owned()).await?;
        answer.send("x".repeat(len)).await?;
        Ok::<_, ApplicationError>(())
    };
    let careful = async |_: Context, len: usize, mut answer: Outgoing<String>| {
        let error = answer.send("x".repeat(len)).await.unwrap_err();
        answer.send(format!("{}", matches!(error, SendError::TooLarge { max_bytes: 32 }))).await?;
        Ok::<_, ApplicationError>(())
    };
    let service = Service::new("Text").unary("Of", text).unary("Length", length);
    services.register(service.server_streaming("Many", many).server_streaming("Careful", careful)).unwrap();
    services
}

#[tokio::test]
async fn what_is_too_large_is_told_with_the_side_that_says_so() {
    use Message::{Answer, Request};
    let is = |error: CallError, of: Message, at: Side, bound: u64| {
        matches!(error, CallError::TooLarge { message, side, max_bytes: Some(max_bytes) }
            if (message, side, max_bytes) == (of, at, bound))
    };
    let services = small_server(32);
    for (rpc, peer) in both(&services) {
        let error = rpc.call::<_, usize>(peer, "Text", "Length", &"x".repeat(10_000)).await.unwrap_err();
        assert!(is(error, Request, Side::Callee, 32));
        let error = rpc.call::<_, String>(peer, "Text", "Of", &100).await.unwrap_err();
        assert!(is(error, Answer, Side::Callee, 32));
        // Up to the bound, which the length of the text is part of.
        assert_eq!(rpc.call::<_, usize>(peer, "Text", "Length", &"x".repeat(30)).await.unwrap(), 30);
        assert_eq!(rpc.call::<_, String>(peer, "Text", "Of", &30).await.unwrap().len(), 30);
    }

    let mut config = ClientConfig::default();
    config.message_bytes_max = 16;
    let me = libp2p_identity::PeerId::random();
    let rpc = Rpc::local(me, services, config);
    let error = rpc.call::<_, usize>(me, "Text", "Length", &"x".repeat(20)).await.unwrap_err();
    assert!(is(error, Request, Side::Caller, 16));
    let error = rpc.call::<_, String>(me, "Text", "Of", &20).await.unwrap_err();
    assert!(is(error, Answer, Side::Caller, 16));
}

#[tokio::test]
async fn an_item_that_is_too_large_is_told_as_such_unless_the_method_knows_better() {
    for (rpc, peer) in both(&small_server(32)) {
        let mut answers = rpc.server_streaming::<_, String>(peer, "Text", "Many", &100).await.unwrap();
        assert_eq!(answers.next().await.unwrap().unwrap(), "first");
        let error = answers.next().await.unwrap().unwrap_err();
        assert!(matches!(error, CallError::TooLarge { message: Message::Answer, side: Side::Callee, .. }));
        assert!(answers.next().await.is_none());

        let mut answers = rpc.server_streaming::<_, String>(peer, "Text", "Careful", &100).await.unwrap();
        assert_eq!(answers.next().await.unwrap().unwrap(), "true");
        assert!(answers.next().await.is_none());
    }
}

#[tokio::test]
async fn what_cannot_be_encoded_is_the_fault_of_its_side() {
    let service = Service::new("S").unary("Refuse", async |_: Context, ()| Ok::<_, ApplicationError>(Refuses));
    for (rpc, peer) in both(&services_with(service)) {
        let error = rpc.call::<_, ()>(peer, "S", "Refuse", &()).await.unwrap_err();
        assert!(matches!(error, CallError::Internal { reason } if reason == "not today"));
        let error = rpc.call::<_, ()>(peer, "S", "Refuse", &Refuses).await.unwrap_err();
        assert!(matches!(error, CallError::Encode { reason } if reason == "not today"));
    }
}

#[tokio::test]
async fn an_argument_of_another_type_is_told_by_the_server() {
    for (rpc, peer) in both(&services_with(arith())) {
        let error = rpc.call::<_, i64>(peer, "Arith", "Multiply", "six").await.unwrap_err();
        assert!(matches!(error, CallError::MalformedRequest { .. }));
        assert_eq!(error.kind(), ErrorKind::Server);
        // One item where there are many to come, and none where there is one.
        let (requests, answer) = rpc.client_streaming::<i64, i64>(peer, "Arith", "Multiply").await.unwrap();
        requests.finish().await.unwrap();
        assert!(matches!(answer.await, Err(CallError::MalformedRequest { reason }) if reason == "request is empty"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_the_protocol_is_the_peers_fault() {
    let item = value_frame(ITEM, &7);
    let end = frame(END, &[]);
    type IsRight = fn(&MalformedAnswer) -> bool;
    let cases: [(Vec<u8>, IsRight); 9] = [
        (end.clone(), |what| *what == MalformedAnswer::NoItem),
        ([&item[..], &item, &end].concat(), |what| *what == MalformedAnswer::ExtraItem),
        ([value_frame(ITEM, &"seven"), end.clone()].concat(), |what| matches!(what, MalformedAnswer::Item(_))),
        ([frame(ITEM, &[0x07, 0x07]), end].concat(), |what| matches!(what, MalformedAnswer::Item(_))),
        (frame(ERROR, &[0xff]), |what| matches!(what, MalformedAnswer::Error(_))),
        (frame(HEADER, &[]), |what| matches!(what, MalformedAnswer::Unexpected(kind) if kind.code() == HEADER)),
        (frame(CANCEL, &[]), |what| matches!(what, MalformedAnswer::Unexpected(kind) if kind.code() == CANCEL)),
        (frame(0x7f, &[]), |what| matches!(what, MalformedAnswer::Unexpected(kind) if kind.code() == 0x7f)),
        (vec![0xff; 11], |what| matches!(what, MalformedAnswer::Frame { .. })),
    ];
    for (script, is_right) in cases {
        let (rpc, peer) = scripted(&script);
        let error = rpc.call::<_, u8>(peer, "a", "b", &()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Client);
        assert!(matches!(&error, CallError::MalformedAnswer(what) if is_right(what)), "{error:?} of {script:02x?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_at_any_byte_is_none() {
    let script = [value_frame(ITEM, &"seven"), frame(END, &[])].concat();
    for cut in 0..script.len() {
        let (rpc, peer) = scripted(&script[..cut]);
        let error = rpc.call::<_, String>(peer, "a", "b", &()).await.unwrap_err();
        assert!(matches!(error, CallError::TimedOut { side: Side::Caller }), "cut at {cut}");
    }
    let (rpc, peer) = scripted(&script);
    assert_eq!(rpc.call::<_, String>(peer, "a", "b", &()).await.unwrap(), "seven");
}

#[tokio::test(start_paused = true)]
async fn what_later_versions_add_is_passed_over_or_kept_as_a_number() {
    let script = [frame(0x80, b"later"), value_frame(ITEM, &7), frame(0xff, &[]), frame(END, b"later")].concat();
    let (rpc, peer) = scripted(&script);
    assert_eq!(rpc.call::<_, u8>(peer, "a", "b", &()).await.unwrap(), 7);

    // {"status": 99, "message": "later", "more": [1]}
    let body = b"\xa3\x66status\x18\x63\x67message\x65later\x64more\x81\x01";
    let (rpc, peer) = scripted(frame(ERROR, body));
    let error = rpc.call::<_, u8>(peer, "a", "b", &()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server);
    assert!(matches!(error, CallError::Other { status: 99, message } if message == "later"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_announces_too_much_is_not_waited_for() {
    // 2^62 bytes.
    let script = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40];
    let services = Services::new(ServerConfig::default());
    let rpc = Rpc::new(Arc::new(Scripted(script.to_vec())), services, ClientConfig::default()).with_timeout(None);
    let error = rpc.call::<_, u8>(rendezvous_peer(), "a", "b", &()).await.unwrap_err();
    assert!(matches!(error, CallError::TooLarge { message: Message::Answer, side: Side::Caller, .. }));
}
