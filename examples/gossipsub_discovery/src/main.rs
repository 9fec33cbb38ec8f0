//! Gossipsub peers that know nobody but a rendezvous point, and find each other there, as with go-waku-rendezvous.
//!
//! The point serves the older dialect of Waku and nothing else. Each peer keeps itself registered, looks for the others, and
//! connects to whom it finds; gossipsub makes its mesh of these connections, and a message of one peer reaches all.
//!
//! ```text
//! cargo run -p example-gossipsub-discovery
//! ```

mod peer;
mod point;
mod report;

use futures::future::try_join_all;
use rendezvous_swarm::server::Dialect;
use tokio::sync::mpsc;

use self::{
    peer::Peer,
    point::Point,
    report::{Failure, Report},
};

const PEERS: usize = 8;

/// What peers have to report and nobody has read yet: a peer waits when there is more.
const REPORTS_MAX: usize = 64;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let point = Point::start().await?;
    println!("point at {}", point.address);
    let (reports_in, mut reports) = mpsc::channel(REPORTS_MAX);
    let start = |number| Peer::start(number, PEERS - 1, point.id, point.address.clone(), reports_in.clone());
    let peers: Vec<Peer> = (0..PEERS).map(start).collect::<Result<_, _>>()?;
    drop(reports_in);

    let (mut ready, mut received) = (0, 0);
    while received < PEERS - 1 {
        let report = reports.recv().await.ok_or("the peers run until they are stopped")?;
        println!("{report}");
        match report {
            Report::Ready { .. } => {
                ready += 1;
                if ready == PEERS {
                    peers[0].publish("hello, everybody").await?;
                }
            }
            Report::Received { .. } => received += 1,
            Report::Offered { .. } => {}
            Report::Failed { failure, .. } => return Err(failure),
        }
    }

    try_join_all(peers.into_iter().map(Peer::stop)).await?;
    while let Some(report) = reports.recv().await {
        println!("{report}");
    }
    let stats = point.stop().await?;
    let streams = Dialect::ALL.map(|dialect| (dialect.protocol(), stats.streams_by_dialect[dialect.index()]));
    for (protocol, number) in streams {
        println!("point has negotiated {number} streams of {protocol}");
    }
    let used: Vec<_> = streams.iter().filter(|(_, number)| *number > 0).map(|(protocol, _)| *protocol).collect();
    println!("discovery went over {}", used.join(", "));
    Ok(())
}
