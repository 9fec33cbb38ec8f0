//! One peer with one connection to the point.

use std::{io, time::Duration};

use asynchronous_codec::FramedRead;
use bytes::Bytes;
use futures::{AsyncWriteExt as _, StreamExt as _};
use libp2p::{
    Stream, StreamProtocol, Swarm, SwarmBuilder, identify,
    identity::Keypair,
    noise,
    swarm::{NetworkBehaviour, SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use libp2p_stream::{Control, OpenStreamError};
use rendezvous_record::Flavour;
use rendezvous_wire::{CodecError, FrameCodec, Request, frame};
use tokio::{task::JoinSet, time::timeout};

use super::Target;

/// Time for a connection, and for identify on it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for a point to say and hear who is who. One that does not speak identify costs each connection so much.
const IDENTIFY_TIMEOUT: Duration = Duration::from_secs(2);

/// Time after which a connection that is not used would be closed: longer than any pause of a measurement.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// A peer that is connected to the point.
pub(super) struct Client {
    pub(super) key: Keypair,
    point: libp2p::PeerId,
    control: Control,
    /// The stream that is used again and again.
    kept: Option<FramedRead<Stream, FrameCodec>>,
    /// Drives the swarm; ends with this client.
    _driver: JoinSet<()>,
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    streams: libp2p_stream::Behaviour,
}

impl Client {
    /// Connects, and waits until both sides have identified themselves.
    pub(super) async fn connect(target: &Target, key: Keypair, flavour: Flavour) -> Result<Self, ConnectError> {
        let mut swarm = swarm(key.clone(), flavour)?;
        let options = DialOpts::peer_id(target.peer).addresses(vec![target.address.clone()]).build();
        swarm.dial(options).map_err(ConnectError::Dial)?;
        timeout(CONNECT_TIMEOUT, established(&mut swarm)).await.map_err(|_| ConnectError::Timeout)??;
        // A point without identify can be measured too.
        let _ = timeout(IDENTIFY_TIMEOUT, identified(&mut swarm)).await;
        let control = swarm.behaviour().streams.new_control();
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            loop {
                swarm.select_next_some().await;
            }
        });
        Ok(Self { key, point: target.peer, control, kept: None, _driver: driver })
    }

    /// One request on a stream of its own, closed after the request as request-response clients do, and its answer;
    /// `None` if the point ends the stream without one.
    pub(super) async fn ask(&mut self, request: &Request<'_>) -> Result<Option<Bytes>, ExchangeError> {
        let mut frames = self.open().await?;
        frames.write_all(&encoded(request)).await?;
        frames.close().await?;
        Ok(frames.next().await.transpose()?)
    }

    /// One request on the stream that all such requests of this client share, and its answer.
    pub(super) async fn ask_on_kept(&mut self, request: &Request<'_>) -> Result<Option<Bytes>, ExchangeError> {
        let mut frames = match self.kept.take() {
            Some(frames) => frames,
            None => self.open().await?,
        };
        frames.write_all(&encoded(request)).await?;
        frames.flush().await?;
        let answer = frames.next().await.transpose()?;
        if answer.is_some() {
            self.kept = Some(frames);
        }
        Ok(answer)
    }

    async fn open(&mut self) -> Result<FramedRead<Stream, FrameCodec>, ExchangeError> {
        let stream = self.control.open_stream(self.point, StreamProtocol::new(rendezvous_wire::PROTOCOL)).await?;
        Ok(FramedRead::new(stream, FrameCodec::new(frame::RESPONSE_BYTES_MAX)))
    }
}

fn encoded(request: &Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.encode_frame(&mut bytes);
    bytes
}

fn swarm(key: Keypair, flavour: Flavour) -> Result<Swarm<Behaviour>, ConnectError> {
    let swarm = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .map_err(ConnectError::Noise)?
        .with_behaviour(|key| {
            let mut config = identify::Config::new("ipfs/0.1.0".to_owned(), key.public());
            // What a peer calls itself may tell a point which flavour it reads: rust-libp2p's name is the default.
            if flavour == Flavour::Standard {
                config = config.with_agent_version(concat!("rendezvous-load/", env!("CARGO_PKG_VERSION")).to_owned());
            }
            Behaviour { identify: identify::Behaviour::new(config), streams: libp2p_stream::Behaviour::new() }
        })
        .unwrap_or_else(|never| match never {})
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE_TIMEOUT))
        .build();
    Ok(swarm)
}

async fn established(swarm: &mut Swarm<Behaviour>) -> Result<(), ConnectError> {
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { .. } => return Ok(()),
            SwarmEvent::OutgoingConnectionError { error, .. } => return Err(ConnectError::Dial(error)),
            _ => {}
        }
    }
}

/// Comes when each side has sent what identify sends.
async fn identified(swarm: &mut Swarm<Behaviour>) {
    let (mut has_sent, mut has_received) = (false, false);
    while !(has_sent && has_received) {
        match swarm.select_next_some().await {
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Sent { .. })) => has_sent = true,
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { .. })) => has_received = true,
            // Nothing more will come.
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Error { .. }))
            | SwarmEvent::ConnectionClosed { .. } => return,
            _ => {}
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The key does not do for noise.
    #[error("noise cannot be set up: {0}")]
    Noise(noise::Error),
    /// The point is not there, or is another one.
    #[error("cannot connect: {0}")]
    Dial(libp2p::swarm::DialError),
    /// The point does not answer.
    #[error("no connection within {} s", CONNECT_TIMEOUT.as_secs())]
    Timeout,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    #[error("{0}")]
    Open(OpenStreamError),
    #[error("the stream failed: {0}")]
    Io(#[from] io::Error),
    #[error("no frame: {0}")]
    Frame(#[from] CodecError),
}

impl From<OpenStreamError> for ExchangeError {
    fn from(error: OpenStreamError) -> Self {
        Self::Open(error)
    }
}
