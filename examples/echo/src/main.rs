//! Nodes that find each other under a name, and call `Echo` on each other each second.
//!
//! By Kademlia: the first one, which has no peers, is the bootstrap server of the others.
//!
//! ```text
//! cargo run -p example-echo
//! cargo run -p example-echo -- --peer /ip4/127.0.0.1/tcp/…/p2p/…
//! ```
//!
//! By a rendezvous point, which the first one is:
//!
//! ```text
//! cargo run -p example-echo -- --serve
//! cargo run -p example-echo -- --point /ip4/127.0.0.1/tcp/…/p2p/…
//! ```
//!
//! Each prints the address that the others are to be given.

mod api;
mod roster;

use std::{
    error::Error,
    io,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use clap::Parser;
use futures::{StreamExt as _, future};
use rendezvous_node::{
    BuildError, Builder, Events, Identity, InvalidProtocol, Kademlia, Multiaddr, Node, NotRunning, StreamProtocol,
    discovery::{Advertisement, AdvertisementEvent, Namespace, Timing},
    multiaddr::Protocol,
    rendezvous::server,
    rpc::MultiCall,
};
use tokio::time::MissedTickBehavior;

use self::{
    api::Envelope,
    roster::{Roster, with_causes},
};

/// Finds nodes under a name, and calls Echo on each of them each second.
#[derive(Debug, Parser)]
struct Args {
    /// A node to start from, by its address; may be repeated.
    #[arg(long, value_name = "ADDR")]
    peer: Vec<Multiaddr>,
    /// A rendezvous point to find others at, in place of Kademlia unless there is a --peer; may be repeated.
    #[arg(long, value_name = "ADDR")]
    point: Vec<Multiaddr>,
    /// Be a rendezvous point, too.
    #[arg(long)]
    serve: bool,
    /// The name under which nodes find each other.
    #[arg(long, value_name = "NAME", default_value = "ldej/echo")]
    rendezvous: Namespace,
    /// Number that the peer id follows from; 0 is for a random one.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Interface to listen on.
    #[arg(long, value_name = "IP", default_value_t = Ipv4Addr::LOCALHOST.into())]
    host: IpAddr,
    /// TCP port to listen on; 0 is for any.
    #[arg(long, value_name = "N", default_value_t = 0)]
    port: u16,
    /// Protocol id of the calls: nodes with another one are left alone.
    #[arg(long, value_name = "ID", default_value = "/p2p/rpc/ldej", value_parser = protocol_id)]
    protocol_id: StreamProtocol,
    /// Milliseconds from one round of calls to the next, and from one search for nodes to the next.
    #[arg(long, value_name = "MILLIS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(10..))]
    every: u64,
}

fn protocol_id(id: &str) -> Result<StreamProtocol, InvalidProtocol> {
    StreamProtocol::try_from_owned(id.to_owned())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let interrupted = interrupted()?;
    let node = node(&args)?;
    node.services().register(api::service(node.id()))?;
    let events = node.events();
    node.start().await?;
    println!("peer id: {}", node.id());
    for address in node.info().await?.addresses() {
        println!("connect to me on: {address}");
    }

    let advertisement = node.discovery()?.advertise(args.rendezvous.clone())?;
    node.connect_to(args.rendezvous.clone()).await?;
    tokio::select! {
        result = talk(&args, &node, events, advertisement) => result?,
        result = interrupted => result?,
    }

    // What is advertised is withdrawn, and the peers are told.
    node.stop().await;
    println!("stopped");
    Ok(())
}

fn node(args: &Args) -> Result<Node, BuildError> {
    let asks = |timing| Timing { ttr: Duration::from_millis(args.every), ..timing };
    let mut builder = Node::builder()
        .name("echo")
        .identity(if args.seed == 0 { Identity::Generated } else { Identity::Seed(args.seed) })
        .listen(Multiaddr::from(args.host).with(Protocol::Tcp(args.port)))
        .rpc_protocol(args.protocol_id.clone())
        .timing(asks(Timing::default()));
    if args.point.is_empty() || !args.peer.is_empty() {
        let defaults = Kademlia::default();
        builder = builder.kademlia(Kademlia { timing: asks(defaults.timing), ..defaults });
    }
    if args.serve {
        builder = builder.serve_rendezvous(server::Config::default());
    }
    builder = args.peer.iter().cloned().fold(builder, Builder::bootstrap);
    builder = args.point.iter().cloned().fold(builder, Builder::point);
    builder.build()
}

/// Tells which of those to start from are there. They are dialled in any case, and again while they are not.
async fn meet(args: &Args, node: &Node) {
    let dials = args.peer.iter().chain(&args.point).map(|address| async move {
        match node.dial(address).await {
            Ok(peer) => println!("connected to {peer}"),
            Err(error) => println!("not connected to {address}: {}", with_causes(&error)),
        }
    });
    future::join_all(dials).await;
}

/// Calls everybody each second, and keeps to who is there.
async fn talk(
    args: &Args,
    node: &Node,
    mut events: Events,
    mut advertisement: Advertisement,
) -> Result<(), NotRunning> {
    meet(args, node).await;
    let rpc = node.rpc().with_timeout(api::TIMEOUT);
    let mut roster = Roster::new(args.protocol_id.clone());
    let mut ticks = tokio::time::interval(Duration::from_millis(args.every));
    // A round that takes longer is waited for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (mut round, mut answers) = (0, None::<MultiCall<Envelope>>);
    loop {
        tokio::select! {
            _ = ticks.tick(), if answers.is_none() => {
                round += 1;
                answers = Some(api::echo(&rpc, roster.peers(), round));
            }
            answer = async { answers.as_mut()?.next().await }, if answers.is_some() => match answer {
                Some((peer, result)) => roster.handle_answer(node, peer, result).await?,
                None => answers = None,
            },
            Some(event) = events.next() => roster.handle_event(node, event).await?,
            Some(event) = advertisement.next() => match event {
                AdvertisementEvent::Advertised { source, ttl, .. } => println!("advertised by {source} for {ttl:?}"),
                AdvertisementEvent::Failed { place: Some(point), failure, .. } => {
                    println!("not advertised at {point}: {failure}");
                }
                // So far there is nobody to be told.
                AdvertisementEvent::Failed { place: None, .. } => {}
            },
        }
    }
}

/// From now on waits for Ctrl-C, and on Unix also for what service managers send, and terminals that are closed.
fn interrupted() -> io::Result<impl Future<Output = io::Result<()>>> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let mut hang_up = signal(SignalKind::hangup())?;
        Ok(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
            Ok(())
        })
    }
    #[cfg(not(unix))]
    Ok(tokio::signal::ctrl_c())
}
