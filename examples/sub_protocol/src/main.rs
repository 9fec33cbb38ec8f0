//! A sub-protocol of one's own: two nodes share `foo`, one says "foo", and the other answers "bar".
//!
//! ```text
//! cargo run -p example-sub-protocol
//! ```

use std::error::Error;

use futures::StreamExt as _;
use rendezvous_node::{
    Event, Events, Identity, Node,
    sub_protocol::{Direction, End, Messages, Peer, SessionError, SubProtocol, Version},
};

/// Code of the one message that there is: a text.
const TEXT: u16 = 0;

/// A node is made of a few settings.
fn node(name: &str) -> Result<Node, Box<dyn Error>> {
    let sub_protocol = SubProtocol::new("foo", Version { number: 1, codes: 1 }, run)?;
    let node = Node::builder()
        .peers_max(10)
        .identity(Identity::Generated)
        .name(name)
        .listen("/ip4/127.0.0.1/tcp/0".parse()?)
        .sub_protocol(sub_protocol)
        .build()?;
    Ok(node)
}

/// Run for each peer that knows the sub-protocol too. Its return ends the session with that peer, and an error tells
/// the peer why.
async fn run(peer: Peer, mut messages: Messages) -> Result<End, SessionError> {
    match peer.direction {
        Direction::Outbound => {
            messages.send(TEXT, "foo").await?;
            let answer: String = messages.recv().await?.decode()?;
            println!("{} answers {answer:?}", peer.id);
        }
        Direction::Inbound => {
            let text: String = messages.recv().await?.decode()?;
            println!("{} says {text:?}", peer.id);
            match text.as_str() {
                "foo" => messages.send(TEXT, "bar").await?,
                _ => return Err(SessionError::application(format!("nothing is known of {text:?}"))),
            }
        }
    }
    Ok(End::Finished)
}

/// Waits for the end of the session, and says why it ended.
async fn session_ended(node: &str, events: &mut Events) -> Result<(), Box<dyn Error>> {
    while let Some(event) = events.next().await {
        if let Event::SessionEnded { sub_protocol, how, reason, .. } = event {
            println!("{node}: the session of {sub_protocol} is over, {how}; reason: {reason}");
            return Ok(());
        }
    }
    Err("the node has ended before the session".into())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (listener, dialler) = (node("listener")?, node("dialler")?);
    let (mut at_listener, mut at_dialler) = (listener.events(), dialler.events());
    listener.start().await?;
    dialler.start().await?;

    let address = listener.info().await?.addresses().next().ok_or("the listener has an address")?;
    dialler.dial(&address).await?;
    session_ended("listener", &mut at_listener).await?;
    session_ended("dialler", &mut at_dialler).await?;

    dialler.stop().await;
    listener.stop().await;
    println!("both nodes have stopped");
    Ok(())
}
