//! Who is there to be called.

use std::{collections::BTreeMap, error::Error, fmt, iter};

use rendezvous_node::{
    Departure, DisconnectReason, Event, Node, NotRunning, PeerId, PeerInfo, StreamProtocol, rpc::CallError,
};

use crate::api::Envelope;

/// Calls that fail in a row before a peer is given up.
const MISSES_MAX: u32 = 3;

/// The peers that serve calls.
///
/// Who says goodbye is gone at once. Who is lost without a word is called on, which connects to it again if it is still
/// there; after [`MISSES_MAX`] calls without an answer it is gone, too.
pub(crate) struct Roster {
    protocol_id: StreamProtocol,
    /// With the calls that have failed since the last answer.
    peers: BTreeMap<PeerId, u32>,
}

impl Roster {
    /// Nobody yet, of those that serve calls by this protocol.
    pub(crate) fn new(protocol_id: StreamProtocol) -> Self {
        Self { protocol_id, peers: BTreeMap::new() }
    }

    pub(crate) fn peers(&self) -> Vec<PeerId> {
        self.peers.keys().copied().collect()
    }

    pub(crate) async fn handle_event(&mut self, node: &Node, event: Event) -> Result<(), NotRunning> {
        match event {
            // A peer that is connected may be a mere rendezvous point: here it has told what it speaks.
            Event::PeerIdentified { peer, .. } => node.peer(peer).await?.iter().for_each(|info| self.add(info)),
            Event::PeerDropped { peer, departure: Departure::Remote(reason) } => self.remove(&peer, reason),
            Event::Missed(_) => node.peers().await?.iter().for_each(|info| self.add(info)),
            _ => {}
        }
        Ok(())
    }

    pub(crate) async fn handle_answer(
        &mut self,
        node: &Node,
        peer: PeerId,
        answer: Result<Envelope, CallError>,
    ) -> Result<(), NotRunning> {
        // It may have left meanwhile.
        let Some(misses) = self.peers.get_mut(&peer) else { return Ok(()) };
        match answer {
            Ok(Envelope { message }) => {
                println!("peer {peer} echoed: {message}");
                *misses = 0;
            }
            Err(error) => {
                println!("peer {peer} returned an error: {}", with_causes(&error));
                *misses += 1;
                if *misses >= MISSES_MAX {
                    // If it is found again, it is connected and identified anew.
                    node.disconnect(peer, DisconnectReason::Timeout).await?;
                    self.remove(&peer, "no answer");
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, info: &PeerInfo) {
        let serves = info.protocols.iter().any(|protocol| self.protocol_id == protocol.as_str());
        if serves && self.peers.insert(info.id, 0).is_none() {
            println!("peer {} has joined", info.id);
        }
    }

    fn remove(&mut self, peer: &PeerId, why: impl fmt::Display) {
        if self.peers.remove(peer).is_some() {
            println!("peer {peer} has left: {why}");
        }
    }
}

/// An error in one line.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let causes = iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
