//! nim-libp2p's tutorial of its discovery manager, with nodes of this project.
//!
//! A boot node serves rendezvous. Six nodes, who know nobody but the boot node, advertise there that they belong to `EvenGang`
//! or to `OddClub`. A newcomer, who knows nobody else either, finds the three of each and greets them over a protocol that is
//! this example's own.
//!
//! ```text
//! cargo run -p example-discovery-manager
//! ```

use std::{error::Error, time::Duration};

use asynchronous_codec::{FramedRead, FramedWrite};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, SinkExt as _, StreamExt as _, future::join_all};
use libp2p::StreamProtocol;
use rendezvous_node::{
    Builder, Node,
    discovery::{AddressKind, Find, Namespace, Query, Timing, rendezvous},
    streams,
};
use rendezvous_swarm::server;
use rendezvous_wire::FrameCodec;

/// One message with its length in front, after which both sides close.
const GREETING: StreamProtocol = StreamProtocol::new("/dumb/proto/1.0.0");

const GREETING_BYTES_MAX: usize = 1_024;

const MEMBERS: usize = 6;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let boot = start(Node::builder().serve_rendezvous(server::Config::default())).await?;
    let boot_address = boot.info().await?.addresses().next().ok_or("the boot node listens")?;
    println!("boot node at {boot_address}");

    let [even, odd] = ["EvenGang", "OddClub"].map(Namespace::new);
    let (even, odd) = (even?, odd?);
    let (mut members, mut advertisements, mut greeted) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..MEMBERS {
        let member = start(Node::builder().point(boot_address.clone())).await?;
        let club = if number % 2 == 0 { &even } else { &odd };
        let greetings = member.streams()?.accept(GREETING)?;
        greeted.push(tokio::spawn(print_greetings(number, club.clone(), greetings)));
        // It is advertised for as long as its handle lives.
        advertisements.push(member.discovery()?.advertise(club.clone())?);
        members.push(member);
    }

    // The newcomer asks often, since the members register only just now.
    let timing = Timing { ttr: Duration::from_millis(250), ..Timing::default() };
    let newcomer = start(Node::builder().point(boot_address).timing(timing)).await?;
    println!("newcomer {}", newcomer.id());
    let discovery = newcomer.discovery()?;
    // A query may be a name …
    greet_half(&newcomer, discovery.find(odd)?, "odd that you should meet").await?;
    // … or any condition on what is known of a peer.
    let query = Query::namespace(even) & Query::source(rendezvous::NAME) & Query::address(AddressKind::Tcp);
    greet_half(&newcomer, discovery.find(query)?, "let us get even").await?;

    // To stop is to withdraw what is advertised, to tell the peers, and to close the connections.
    join_all(members.iter().map(Node::stop)).await;
    for ended in join_all(greeted).await {
        ended?;
    }
    println!("{MEMBERS} members stopped");
    // Who was found is believed in until his time ends, unless he is to be forgotten.
    discovery.clear_cache();
    let left = discovery.refresh(Query::everything()).await?;
    println!("the newcomer finds {} of them at the boot node", left.len());
    newcomer.stop().await;
    boot.stop().await;
    println!("stopped");
    Ok(())
}

/// A node that runs, on a port of loopback.
async fn start(builder: Builder) -> Result<Node, Box<dyn Error>> {
    let node = builder.listen("/ip4/127.0.0.1/tcp/0".parse()?).build()?;
    node.start().await?;
    Ok(node)
}

/// Greets the first half of the members that a query finds. The query ends with it.
async fn greet_half(newcomer: &Node, mut found: Find, greeting: &str) -> Result<(), Box<dyn Error>> {
    for _ in 0..MEMBERS / 2 {
        let peer = found.next_found().await.ok_or("the newcomer runs")?;
        newcomer.connect(peer.id(), peer.addresses().to_vec()).await?;
        let mut stream = newcomer.streams()?.open(peer.id(), GREETING).await?;
        FramedWrite::new(&mut stream, FrameCodec::new(GREETING_BYTES_MAX)).send(greeting.as_bytes()).await?;
        stream.close().await?;
        // The other side closes when it has read the greeting.
        stream.read_to_end(&mut Vec::new()).await?;
    }
    Ok(())
}

/// Prints what a member is greeted with, until it stops.
async fn print_greetings(number: usize, club: Namespace, mut greetings: streams::Incoming) {
    while let Some((peer, _connection, mut stream)) = greetings.next().await {
        match FramedRead::new(&mut stream, FrameCodec::new(GREETING_BYTES_MAX)).next().await {
            Some(Ok(greeting)) => {
                println!("member {number} of {club} is greeted by {peer}: {}", String::from_utf8_lossy(&greeting));
            }
            Some(Err(error)) => eprintln!("member {number}: {error}"),
            None => eprintln!("member {number}: {peer} says nothing"),
        }
        if let Err(error) = stream.close().await {
            eprintln!("member {number}: {error}");
        }
    }
}
