//! An honest peer over the ordinary stack of rust-libp2p, with one connection.

use std::{io, time::Duration};

use asynchronous_codec::FramedRead;
use futures::{AsyncWriteExt as _, StreamExt as _};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, identify,
    identity::Keypair,
    noise,
    swarm::{DialError, NetworkBehaviour, SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use libp2p_stream::{Control, OpenStreamError};
use rendezvous_wire::{CodecError, FrameCodec, Status, frame};
use tokio::{task::JoinSet, time::timeout};

use crate::request;

/// Time for a connection, for identify on it, and for an answer: what rust-libp2p gives a request by default.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// A peer that is connected to the point.
pub struct Client {
    point: PeerId,
    control: Control,
    /// Drives the swarm; ends with this client.
    _driver: JoinSet<()>,
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    streams: libp2p_stream::Behaviour,
}

/// Why a client has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// There is no connection.
    #[error("no connection: {0}")]
    Connect(String),
    /// There is no stream.
    #[error("no stream: {0}")]
    Open(#[from] OpenStreamError),
    /// The stream ended.
    #[error("reset: {0}")]
    Io(#[from] io::Error),
    /// The answer is none.
    #[error("no frame: {0}")]
    Frame(#[from] CodecError),
    /// The stream ended without an answer.
    #[error("no answer")]
    Silent,
    /// Ten seconds are over.
    #[error("timed out")]
    Timeout,
    /// The point refuses.
    #[error("refused: {0}")]
    Refused(Status),
    /// The answer lists fewer than it should.
    #[error("{0} registrations are listed")]
    Few(usize),
    /// Something on this side.
    #[error("{0}")]
    Own(String),
}

impl Client {
    /// Connects, and waits until the point has identified itself.
    ///
    /// # Errors
    /// There is no connection within ten seconds, or it ends before identify has been read.
    pub async fn connect(address: &Multiaddr, point: PeerId, key: Keypair) -> Result<Self, Failure> {
        let mut swarm = swarm(key).map_err(|error| Failure::Own(error.to_string()))?;
        let options = DialOpts::peer_id(point).addresses(vec![address.clone()]).build();
        swarm.dial(options).map_err(|error| Failure::Connect(error.to_string()))?;
        timeout(TIMEOUT, identified(&mut swarm)).await.map_err(|_| Failure::Timeout)??;
        let control = swarm.behaviour().streams.new_control();
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            loop {
                swarm.select_next_some().await;
            }
        });
        Ok(Self { point, control, _driver: driver })
    }

    /// A frame on a stream of its own, and the payload of its answer, within ten seconds.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>, Failure> {
        let mut control = self.control.clone();
        let exchange = async {
            let stream = control.open_stream(self.point, StreamProtocol::new(rendezvous_wire::PROTOCOL)).await?;
            let mut frames: FramedRead<Stream, FrameCodec> =
                FramedRead::new(stream, FrameCodec::new(frame::RESPONSE_BYTES_MAX));
            frames.write_all(request).await?;
            frames.close().await?;
            let answer = frames.next().await.transpose()?.ok_or(Failure::Silent)?;
            Ok(answer.to_vec())
        };
        timeout(TIMEOUT, exchange).await.map_err(|_| Failure::Timeout)?
    }

    /// As [`Client::ask`], and the answer must be OK and list at least `listed` registrations.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn ask_ok(&mut self, request: &[u8], listed: usize) -> Result<(), Failure> {
        let payload = self.ask(request).await?;
        let (status, count) = request::status(&payload).map_err(|error| Failure::Own(error.to_string()))?;
        match status {
            Status::Ok if count >= listed => Ok(()),
            Status::Ok => Err(Failure::Few(count)),
            status => Err(Failure::Refused(status)),
        }
    }
}

fn swarm(key: Keypair) -> anyhow::Result<Swarm<Behaviour>> {
    let swarm = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|key| {
            let config = identify::Config::new("ipfs/0.1.0".to_owned(), key.public());
            Behaviour { identify: identify::Behaviour::new(config), streams: libp2p_stream::Behaviour::new() }
        })?
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(120)))
        .build();
    Ok(swarm)
}

async fn identified(swarm: &mut Swarm<Behaviour>) -> Result<(), Failure> {
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { .. })) => return Ok(()),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Error { error, .. })) => {
                return Err(Failure::Connect(format!("identify: {error}")));
            }
            SwarmEvent::OutgoingConnectionError { error, .. } => return Err(Failure::Connect(innermost(&error))),
            SwarmEvent::ConnectionClosed { cause, .. } => {
                return Err(Failure::Connect(cause.map_or("closed".to_owned(), |cause| cause.to_string())));
            }
            _ => {}
        }
    }
}

/// What the operating system said, without the addresses before it: failures are counted by their text.
fn innermost(error: &DialError) -> String {
    let text = error.to_string();
    let last = text.rsplit(": ").next().unwrap_or(&text);
    last.trim_end_matches([')', ']']).to_owned()
}
