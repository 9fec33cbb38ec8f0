//! A rendezvous point and three clients over plain TCP on async-std: the sans-IO core in a transport of one's own, and no
//! libp2p-swarm anywhere.
//!
//! ```text
//! cargo run -p example-custom-transport
//! ```
//!
//! The core leaves one thing to the transport: to know who the other side is. Plain TCP does not, so here each connection
//! begins with a claim, the peer id. A claim is enough to read a namespace and not enough to register in it, since the
//! record must be signed by that peer. A transport for use has to authenticate the claim, or anybody can UNREGISTER anybody.

mod client;
mod point;

use std::{
    error::Error,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use async_std::task;
use client::Peer;
use point::Point;
use rendezvous_core::Time;
use rendezvous_wire::Namespace;

#[async_std::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let clock = Clock::start();
    let point = Point::listen(clock).await?;
    let (address, id) = (point.address()?, point.id());
    let serving = task::spawn(point.serve());
    println!("point {id} on {address}");

    let chat = Namespace::new("chat")?;
    let mut first = Peer::connect(clock, address, id, "/ip4/192.0.2.1/tcp/4001").await?;
    let mut second = Peer::connect(clock, address, id, "/ip4/192.0.2.2/tcp/4001").await?;
    let mut newcomer = Peer::connect(clock, address, id, "/ip4/192.0.2.3/tcp/4001").await?;

    let first_chats = first.register(&chat).await?;
    second.register(&chat).await?;
    println!("the newcomer finds {} peers", newcomer.discover(&chat).await?.len());
    for record in newcomer.discover_afresh(&chat).await? {
        println!(
            "  {} at {}",
            record.peer_id(),
            record.addresses().next().map(|at| at.to_string()).unwrap_or_default()
        );
    }

    first.unregister(first_chats).await?;
    // UNREGISTER has no answer; the answer to a request behind it on the same connection says that it has been read.
    first.discover(&chat).await?;
    println!("the newcomer finds {} peer after one has left", newcomer.discover_afresh(&chat).await?.len());
    serving.cancel().await;
    Ok(())
}

/// Wall time read once, and a monotonic clock from there on: what [`Time`] asks for.
#[derive(Clone, Copy)]
struct Clock {
    wall: Time,
    started: Instant,
}

impl Clock {
    fn start() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { wall: Time::from_unix_millis(unix.as_millis() as u64), started: Instant::now() }
    }

    fn now(&self) -> Time {
        self.wall + self.started.elapsed()
    }
}
