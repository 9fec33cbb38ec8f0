//! Starting, connecting, talking, stopping.

use rendezvous_node::{
    Departure, DisconnectReason, Event, Identity, Node,
    rpc::Service,
    sub_protocol::{End, SubProtocol, Version},
};

use crate::common::{added, address, event, in_time, start};

/// Sends what it is to send, or waits for it and answers.
fn foo_bar() -> SubProtocol {
    SubProtocol::new("foo", Version { number: 1, codes: 2 }, |_, mut messages| async move {
        messages.send(0, "foo").await?;
        assert_eq!(messages.recv().await?.decode::<String>()?, "foo");
        messages.send(1, "bar").await?;
        assert_eq!(messages.recv().await?.decode::<String>()?, "bar");
        Ok(End::Finished)
    })
    .expect("it is a sub-protocol")
}

fn echo() -> Service {
    Service::new("echo")
        .unary("echo", |_, text: String| async move { Ok::<_, rendezvous_node::rpc::ApplicationError>(text) })
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_meet_talk_and_part() {
    in_time(async {
        let [first, second] =
            [1, 2].map(|seed| Node::builder().identity(Identity::Seed(seed)).name("it").sub_protocol(foo_bar()));
        let (first, second) = (start(first).await, start(second).await);
        first.services().register(echo()).expect("it is the only one");
        let (mut first_events, mut second_events) = (first.events(), second.events());
        let peer = second.dial(&address(&first).await).await.expect("it is there");
        assert_eq!(peer, first.id());
        added(&mut first_events, second.id()).await;
        for events in [&mut first_events, &mut second_events] {
            let how = event(events, |event| match event {
                Event::SessionEnded { how, .. } => Some(how),
                _ => None,
            });
            assert!(how.await.contains("finished"));
        }
        let echoed: String =
            second.rpc().call(first.id(), "echo", "echo", &"hello".to_owned()).await.expect("it answers");
        assert_eq!(echoed, "hello");
        let info = second.peer(first.id()).await.expect("it runs").expect("it is connected");
        assert_eq!((info.name.as_str(), info.connections), ("it", 1));
        first.stop().await;
        let departure = event(&mut second_events, |event| match event {
            Event::PeerDropped { departure, .. } => Some(departure),
            _ => None,
        });
        assert_eq!(departure.await, Departure::Remote(DisconnectReason::Quitting));
        assert!(second.peers().await.expect("it runs").is_empty());
        first.start().await.expect("it starts again");
        second.dial(&address(&first).await).await.expect("it is there again");
        let echoed: String =
            second.rpc().call(first.id(), "echo", "echo", &"again".to_owned()).await.expect("it answers");
        assert_eq!(echoed, "again");
        first.stop().await;
        second.stop().await;
    })
    .await;
}
