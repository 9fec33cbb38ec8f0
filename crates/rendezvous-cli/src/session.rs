//! What the client commands share: a swarm that talks to one point, and what its events mean for the command.

use std::{error::Error as StdError, io, path::Path, time::Duration};

use libp2p::{
    Swarm,
    core::transport::timeout::TransportTimeoutError,
    futures::StreamExt,
    identify, noise, ping, quic,
    swarm::{DialError, NetworkBehaviour, SwarmEvent},
};
use rendezvous_swarm::{
    DUAL_PROTOCOL,
    client::{self, ClientConfig, Failure},
};
use rendezvous_wire::Dialect;

use crate::{
    address::Point,
    args,
    error::{Error, Unreachable},
    key::{self, Key},
    node::{self, Change, Listeners},
};

/// Most pages of one walk: a point that never ends is left after so many.
pub(crate) const PAGES_MAX: u32 = 100_000;

/// What a request has beyond the time for the connection, so that the reason why there is none is known first.
const DEADLINE_MARGIN: Duration = Duration::from_secs(1);

/// The client's protocols. Identify tells the point which records this program reads; ping notices a dead connection.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(crate) rendezvous: client::Behaviour,
}

/// A client of one point.
pub(crate) struct Session {
    swarm: Swarm<Behaviour>,
    listeners: Option<Listeners>,
    point: Point,
    dialect: Dialect,
    timeout: Duration,
    /// Why the last dial to the point failed.
    last_dial: Option<Unreachable>,
}

/// What a command has to know.
pub(crate) enum Event {
    Rendezvous(client::Event),
    /// The point has told its protocols.
    Identified {
        /// Whether it keeps a record of each envelope flavour.
        is_dual: bool,
    },
    /// The addresses that are listened on have changed.
    Listening(Change),
}

impl Session {
    /// A client for the point and with the key that were asked for. Nothing is dialled before it is needed.
    pub(crate) fn start(args: &args::Client) -> Result<(Self, Key), Error> {
        Self::start_with(args, ClientConfig::default())
    }

    /// The same with settings of the state machine; its time-outs and bounds are those of the command line.
    pub(crate) fn start_with(args: &args::Client, config: ClientConfig) -> Result<(Self, Key), Error> {
        let key = key::load_or_create(args.key.as_deref().map(Path::new))?;
        let point = args.point.clone();
        if key.keypair.public().to_peer_id() == point.peer {
            return Err(Error::PointIsSelf(point.peer));
        }
        let timeout = Duration::from_secs(args.timeout);
        let config = client::Config {
            client: ClientConfig {
                request_timeout: timeout + DEADLINE_MARGIN,
                pages_per_walk_max: PAGES_MAX,
                // Found peers are printed, not dialled.
                peers_max: 0,
                ..config
            },
            negotiation_timeout: timeout,
            announce_addresses: false,
            ..client::Config::default()
        };
        let mut swarm = node::swarm(key.keypair.clone(), timeout, |keypair| Behaviour {
            identify: node::identify(keypair),
            ping: ping::Behaviour::default(),
            rendezvous: client::Behaviour::new(keypair.clone(), config),
        })?;
        let added = swarm.behaviour_mut().rendezvous.add_point_address(point.peer, point.address.clone());
        added.expect("the first address of the only point is within every bound");
        let dialect = args.dialect;
        let is_set = swarm.behaviour_mut().rendezvous.set_point_dialect(point.peer, dialect);
        assert!(is_set, "the only point is within every bound");
        Ok((Self { swarm, listeners: None, point, dialect, timeout, last_dial: None }, key))
    }

    pub(crate) fn point(&self) -> &Point {
        &self.point
    }

    /// The dialect that is spoken with the point.
    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(crate) fn rendezvous(&mut self) -> &mut client::Behaviour {
        &mut self.swarm.behaviour_mut().rendezvous
    }

    /// Listens on every interface, on any port.
    pub(crate) async fn listen(&mut self) -> Result<(), Error> {
        let mut listeners = Listeners::start_any(&mut self.swarm, &node::everywhere(0))?;
        // Nothing is dialled yet, so that nothing else of interest happens.
        listeners.settle(&mut self.swarm, |_, _| {}).await?;
        self.listeners = Some(listeners);
        Ok(())
    }

    /// The addresses that are listened on.
    pub(crate) fn listen_addresses(&self) -> Vec<libp2p::Multiaddr> {
        self.listeners.as_ref().map(Listeners::addresses).unwrap_or_default()
    }

    /// The next event that a command has to know. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Event, Error> {
        loop {
            let event = self.swarm.select_next_some().await;
            if let Some(change) = self.listeners.as_mut().map(|it| it.on_event(&event)).transpose()?.flatten() {
                return Ok(Event::Listening(change));
            }
            match event {
                SwarmEvent::Behaviour(BehaviourEvent::Rendezvous(event)) => return Ok(Event::Rendezvous(event)),
                SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                    peer_id, info, ..
                })) if peer_id == self.point.peer => {
                    tracing::debug!(agent = info.agent_version, "the point has identified itself");
                    let is_dual = self.dialect == Dialect::Rendezvous && info.protocols.contains(&DUAL_PROTOCOL);
                    return Ok(Event::Identified { is_dual });
                }
                SwarmEvent::ConnectionEstablished { peer_id, .. } if peer_id == self.point.peer => {
                    tracing::debug!(point = %self.point, "connected");
                    self.last_dial = None;
                }
                SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } if peer == self.point.peer => {
                    tracing::debug!(point = %self.point, %error, "no connection");
                    if !matches!(error, DialError::DialPeerConditionFalse(_)) {
                        self.last_dial = Some(unreachable(&error, self.timeout));
                    }
                }
                _ => {}
            }
        }
    }

    /// What a failed request means.
    pub(crate) fn error(&self, failure: Failure) -> Error {
        match (&failure, &self.last_dial) {
            (Failure::Unreachable | Failure::TimedOut, Some(reason)) => {
                Error::Unreachable { point: Box::new(self.point.clone()), reason: reason.clone() }
            }
            _ => Error::from_failure(failure, &self.point, self.dialect, self.timeout),
        }
    }
}

fn unreachable(error: &DialError, timeout: Duration) -> Unreachable {
    match error {
        DialError::WrongPeerId { obtained, .. } => Unreachable::OtherPeer(*obtained),
        DialError::Transport(errors) => match errors.first() {
            Some((_, libp2p::TransportError::Other(error))) => transport_reason(error, timeout),
            _ => Unreachable::Other(error.to_string()),
        },
        error => Unreachable::Other(error.to_string()),
    }
}

/// Finds what the operating system said, below the layers of the transport.
fn transport_reason(error: &io::Error, timeout: Duration) -> Unreachable {
    let mut innermost: &(dyn StdError + 'static) = error;
    loop {
        let mut next = innermost.source();
        if let Some(error) = innermost.downcast_ref::<io::Error>() {
            match error.kind() {
                io::ErrorKind::ConnectionRefused => return Unreachable::Refused,
                io::ErrorKind::InvalidData => return Unreachable::NotLibp2p,
                io::ErrorKind::TimedOut => return Unreachable::TimedOut(timeout),
                _ => {}
            }
            // The source of an `io::Error` is the source of what it wraps.
            next = error.get_ref().map(|inner| inner as &(dyn StdError + 'static));
        }
        // They speak as if they were that error.
        if let Some(noise::Error::Io(error)) = innermost.downcast_ref() {
            next = Some(error);
        }
        match innermost.downcast_ref() {
            Some(quic::Error::Io(error)) => next = Some(error),
            Some(quic::Error::HandshakeTimedOut) => return Unreachable::TimedOut(timeout),
            _ => {}
        }
        match next {
            Some(deeper) => innermost = deeper,
            None => break,
        }
    }
    let text = innermost.to_string();
    // The time-out's own type names all the layers below it; its words do not.
    if text == TransportTimeoutError::<io::Error>::Timeout.to_string() {
        return Unreachable::TimedOut(timeout);
    }
    Unreachable::Other(text)
}
