//! Protocols that the application accepts and opens by itself.

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::StreamProtocol;
use rendezvous_node::{
    Event, Node,
    streams::{AlreadyAccepted, OpenError},
    sub_protocol::{End, SubProtocol, Version},
};

use crate::common::{address, event, in_time, start};

const GREETING: StreamProtocol = StreamProtocol::new("/greeting/1.0.0");

#[tokio::test(flavor = "multi_thread")]
async fn a_protocol_of_the_applications_is_served_while_the_node_runs() {
    in_time(async {
        let (greeted, greeter) = (start(Node::builder()).await, start(Node::builder()).await);
        let mut greetings = greeted.streams().expect("it runs").accept(GREETING).expect("nobody else accepts it");
        let control = greeter.streams().expect("it runs");
        let unconnected = control.open(greeted.id(), GREETING).await.expect_err("nothing is dialled");
        assert!(matches!(unconnected, OpenError::NotConnected { peer } if peer == greeted.id()));
        greeter.dial(&address(&greeted).await).await.expect("it is there");
        let mut stream = control.open(greeted.id(), GREETING).await.expect("it is offered");
        stream.write_all(b"hello").await.expect("it is read");
        stream.close().await.expect("it is read");
        let (peer, _, mut stream) = greetings.next().await.expect("one was opened");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("it was closed");
        assert_eq!((peer, text.as_str()), (greeter.id(), "hello"));

        let mut events = greeter.events();
        greeted.stop().await;
        event(&mut events, |event| matches!(event, Event::PeerDropped { .. }).then_some(())).await;
        assert!(greetings.next().await.is_none(), "what is accepted ends with the run");
        greeted.streams().expect_err("it does not run");
        greeted.start().await.expect("it starts again");
        greeter.dial(&address(&greeted).await).await.expect("it is there again");
        let unsupported = control.open(greeted.id(), GREETING).await.expect_err("it is not accepted in this run");
        assert!(matches!(unsupported, OpenError::Unsupported { .. }), "{unsupported}");
        let greetings = greeted.streams().expect("it runs").accept(GREETING).expect("nobody else accepts it");
        control.open(greeted.id(), GREETING).await.expect("it is offered again");
        drop(greetings);
        greeted.stop().await;
        greeter.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_node_accepts_itself_is_taken() {
    in_time(async {
        let sub_protocol = SubProtocol::new("foo", Version { number: 1, codes: 1 }, |_, _| async { Ok(End::Finished) });
        let sub_protocol = sub_protocol.expect("it is a sub-protocol");
        let taken = sub_protocol.protocol_ids();
        let node = start(Node::builder().sub_protocol(sub_protocol)).await;
        for protocol in taken {
            let refused = node.streams().expect("it runs").accept(protocol.clone()).expect_err("the node has it");
            assert_eq!(refused, AlreadyAccepted { protocol });
        }
        node.stop().await;
    })
    .await;
}
