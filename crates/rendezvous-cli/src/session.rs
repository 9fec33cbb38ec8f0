//! What the client commands share: a swarm that talks to one or several points, and what its events mean for the command.

use std::{collections::BTreeMap, error::Error as StdError, io, path::Path, time::Duration};

use libp2p::{
    PeerId, Swarm,
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
    output,
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

/// A client of one or several points.
pub(crate) struct Session {
    swarm: Swarm<Behaviour>,
    listeners: Option<Listeners>,
    /// Each peer once, in the order given.
    points: Vec<Point>,
    dialect: Dialect,
    timeout: Duration,
    /// Why the last dial to a point failed.
    last_dials: BTreeMap<PeerId, Unreachable>,
}

/// What a command has to know.
pub(crate) enum Event {
    Rendezvous(client::Event),
    /// A point has told its protocols.
    Identified {
        point: PeerId,
        /// Whether it keeps a record of each envelope flavour.
        is_dual: bool,
    },
    /// The addresses that are listened on have changed.
    Listening(Change),
}

impl Session {
    /// A client for the points and with the key that were asked for. Nothing is dialled before it is needed.
    pub(crate) fn start(args: &args::Client) -> Result<(Self, Key), Error> {
        Self::start_with(args, ClientConfig::default())
    }

    /// The same with settings of the state machine; its time-outs and bounds are those of the command line.
    pub(crate) fn start_with(args: &args::Client, config: ClientConfig) -> Result<(Self, Key), Error> {
        let key = key::load_or_create(args.key.as_deref().map(Path::new))?;
        let own = key.keypair.public().to_peer_id();
        if args.point.iter().any(|point| point.peer == own) {
            return Err(Error::PointIsSelf(own));
        }
        let timeout = Duration::from_secs(args.timeout);
        let config = client::Config {
            client: ClientConfig {
                request_timeout: timeout + DEADLINE_MARGIN,
                pages_per_walk_max: PAGES_MAX,
                // Who says what is asked for with --ttl is told if a point will not have it.
                adapts_ttl: false,
                // Found peers are printed, not dialled.
                peers_max: 0,
                legacy_peer_info: args.legacy,
                ..config
            },
            negotiation_timeout: timeout,
            announce_addresses: false,
            ..client::Config::default()
        };
        let mut swarm = node::swarm(&key.keypair, &node::client_guard(timeout), |keypair| Behaviour {
            identify: node::identify(keypair),
            ping: ping::Behaviour::default(),
            rendezvous: client::Behaviour::new(keypair.clone(), config),
        })?;
        let mut points: Vec<Point> = Vec::new();
        for point in &args.point {
            swarm.behaviour_mut().rendezvous.add_point_address(point.peer, point.address.clone())?;
            if points.iter().all(|known| known.peer != point.peer) {
                points.push(point.clone());
            }
            let is_set = swarm.behaviour_mut().rendezvous.set_point_dialect(point.peer, args.dialect);
            assert!(is_set, "there are no more points than may have addresses");
        }
        Ok((Self { swarm, listeners: None, points, dialect: args.dialect, timeout, last_dials: BTreeMap::new() }, key))
    }

    /// The points, each once.
    pub(crate) fn points(&self) -> Vec<PeerId> {
        self.points.iter().map(|point| point.peer).collect()
    }

    /// Whether it matters which point something is said of.
    pub(crate) fn has_several(&self) -> bool {
        self.points.len() > 1
    }

    /// Whether the way to every point stays on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        self.points.iter().all(Point::is_loopback)
    }

    /// A point as it was given.
    pub(crate) fn name(&self, point: &PeerId) -> String {
        self.point(point).map_or_else(|| point.to_string(), ToString::to_string)
    }

    /// Where something happened, for a sentence that need not say it where there is one point.
    pub(crate) fn place(&self, point: &PeerId) -> String {
        if self.has_several() { format!(" at {}", self.name(point)) } else { String::new() }
    }

    fn point(&self, point: &PeerId) -> Option<&Point> {
        self.points.iter().find(|known| known.peer == *point)
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
                })) if self.point(&peer_id).is_some() => {
                    tracing::debug!(agent = info.agent_version, "the point has identified itself");
                    let is_dual = self.dialect == Dialect::Rendezvous && info.protocols.contains(&DUAL_PROTOCOL);
                    return Ok(Event::Identified { point: peer_id, is_dual });
                }
                SwarmEvent::ConnectionEstablished { peer_id, .. } if self.point(&peer_id).is_some() => {
                    tracing::debug!(point = self.name(&peer_id), "connected");
                    self.last_dials.remove(&peer_id);
                }
                SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. }
                    if self.point(&peer).is_some() =>
                {
                    tracing::debug!(point = self.name(&peer), %error, "no connection");
                    if !matches!(error, DialError::DialPeerConditionFalse(_)) {
                        self.last_dials.insert(peer, unreachable(&error, self.timeout));
                    }
                }
                _ => {}
            }
        }
    }

    /// What a request that failed at a point means.
    pub(crate) fn error(&self, point: &PeerId, failure: Failure) -> Error {
        let known = self.point(point).expect("only points that were given are asked");
        match (&failure, self.last_dials.get(point)) {
            (Failure::Unreachable | Failure::TimedOut, Some(reason)) => {
                Error::Unreachable { point: Box::new(known.clone()), reason: reason.clone() }
            }
            _ => Error::from_failure(failure, known, self.dialect, self.timeout),
        }
    }

    /// The same as a remark: with several points, which one it is about is said where the error does not.
    pub(crate) fn remark(&self, point: &PeerId, error: &Error) -> String {
        let (error, name) = (error.to_string(), self.name(point));
        if self.has_several() && !error.contains(&name) { format!("at {name}: {error}") } else { error }
    }
}

/// What several points have come to: the command has done its work where one of them did it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    has_succeeded: bool,
    first: Option<Error>,
}

impl Outcome {
    /// A point did it.
    pub(crate) fn succeed(&mut self) {
        self.has_succeeded = true;
    }

    /// A point did not; with several points that is remarked on.
    pub(crate) fn fail(&mut self, session: &Session, point: &PeerId, error: Error) {
        if session.has_several() {
            output::note(session.remark(point, &error));
        }
        self.first.get_or_insert(error);
    }

    /// The result of the command, with the first error where no point did it.
    pub(crate) fn result(self) -> Result<(), Error> {
        match self.first {
            Some(error) if !self.has_succeeded => Err(error),
            _ => Ok(()),
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
