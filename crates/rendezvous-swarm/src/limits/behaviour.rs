//! The limits in a swarm.

use std::{
    collections::HashSet,
    convert::Infallible,
    task::{Context, Poll},
};

use libp2p_core::{Endpoint, Multiaddr, transport::PortUse};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionId, DialFailure, FromSwarm, ListenFailure, NetworkBehaviour,
    THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};
use rendezvous_core::server::IpPrefix;

use super::{
    config::{Config, Exceeded, Stats},
    tally::{Counted, Tally},
};
use crate::remote_ip;

fn prefix_of(remote: &Multiaddr) -> Option<IpPrefix> {
    remote_ip(remote).map(IpPrefix::of)
}

/// Denies inbound connections above its [limits](Config); see the [module](super) for what is counted and when.
///
/// Of a connection nothing is kept beyond its end, so that what this holds is bounded by the limits, by the outbound
/// connections, and by the peers that bypass.
#[derive(Debug)]
pub struct Behaviour {
    config: Config,
    bypassing: HashSet<PeerId>,
    tally: Tally,
    /// The denials; what is connected is in the tally.
    denials: Stats,
}

impl Behaviour {
    /// These limits, and nobody who bypasses them.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config, bypassing: HashSet::new(), tally: Tally::default(), denials: Stats::default() }
    }

    /// Admits a trusted peer above [`Config::connections_max`] and [`Config::connections_per_prefix_max`].
    ///
    /// Its connections count all the same. [`Config::connections_per_peer_max`] holds for it too, and so do the limits of
    /// handshakes, since during these its id is not known. While any peer bypasses, no handshake is saved.
    pub fn bypass(&mut self, peer: PeerId) {
        self.bypassing.insert(peer);
    }

    /// Takes [`Self::bypass`] back, for connections to come; those that there are stay.
    pub fn unbypass(&mut self, peer: &PeerId) {
        self.bypassing.remove(peer);
    }

    /// What is connected, and the denials since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            pending: self.tally.pending,
            established: self.tally.established,
            pending_outbound: self.tally.pending_outbound,
            established_outbound: self.tally.established_outbound,
            peers: self.tally.peers(),
            prefixes: self.tally.prefixes(),
            ..self.denials
        }
    }

    /// Whether there is room for one more handshake. The narrowest limit is named, since it tells most.
    fn check_pending(&self, prefix: Option<IpPrefix>) -> Result<(), Exceeded> {
        let max = self.config.pending_per_prefix_max;
        if prefix.is_some_and(|prefix| self.tally.pending_of(&prefix) >= max) {
            return Err(Exceeded::PendingPerPrefix { max });
        }
        let max = self.config.pending_max;
        if self.tally.pending >= max {
            return Err(Exceeded::Pending { max });
        }
        // Whoever comes would be denied after the handshake.
        if self.bypassing.is_empty() { self.check_room(prefix) } else { Ok(()) }
    }

    fn check_established(&self, peer: &PeerId, prefix: Option<IpPrefix>) -> Result<(), Exceeded> {
        let max = self.config.connections_per_peer_max;
        if self.tally.established_of_peer(peer) >= max {
            return Err(Exceeded::ConnectionsPerPeer { max });
        }
        if self.bypassing.contains(peer) { Ok(()) } else { self.check_room(prefix) }
    }

    /// Whether there is room for one more connection of a peer that does not bypass.
    fn check_room(&self, prefix: Option<IpPrefix>) -> Result<(), Exceeded> {
        let max = self.config.connections_per_prefix_max;
        if prefix.is_some_and(|prefix| self.tally.established_of(&prefix) >= max) {
            return Err(Exceeded::ConnectionsPerPrefix { max });
        }
        let max = self.config.connections_max;
        if self.tally.established >= max {
            return Err(Exceeded::Connections { max });
        }
        Ok(())
    }

    fn denied(&mut self, exceeded: Exceeded) -> ConnectionDenied {
        let counter = match exceeded {
            Exceeded::Connections { .. } => &mut self.denials.connections_denied,
            Exceeded::ConnectionsPerPeer { .. } => &mut self.denials.connections_per_peer_denied,
            Exceeded::ConnectionsPerPrefix { .. } => &mut self.denials.connections_per_prefix_denied,
            Exceeded::Pending { .. } => &mut self.denials.pending_denied,
            Exceeded::PendingPerPrefix { .. } => &mut self.denials.pending_per_prefix_denied,
        };
        *counter += 1;
        ConnectionDenied::new(exceeded)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.tally.is_empty()
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let prefix = prefix_of(remote);
        self.check_pending(prefix).map_err(|exceeded| self.denied(exceeded))?;
        self.tally.put(connection, Counted::Pending(prefix));
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        // The handshake is over, whatever comes of it.
        self.tally.remove(connection);
        let prefix = prefix_of(remote);
        self.check_established(&peer, prefix).map_err(|exceeded| self.denied(exceeded))?;
        self.tally.put(connection, Counted::Established(peer, prefix));
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        _: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.tally.put(connection, Counted::PendingOutbound);
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.tally.put(connection, Counted::EstablishedOutbound);
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            // A failure is told of too when a connection was denied, by another behaviour or by this one.
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. })
            | FromSwarm::ListenFailure(ListenFailure { connection_id, .. })
            | FromSwarm::DialFailure(DialFailure { connection_id, .. }) => self.tally.remove(connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}
