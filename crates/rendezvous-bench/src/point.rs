//! A rendezvous point to measure: this project's, or the published `libp2p-rendezvous`, in the same process around it.
//!
//! Both get the same transport (TCP, noise, yamux), the same identify, the same runtime and the same limits, so that
//! what differs is the rendezvous behaviour and nothing else.

use std::{future::Future, io::Read as _, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, SwarmBuilder, identify,
    identity::Keypair,
    multiaddr::Protocol,
    noise,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use rendezvous_store::Embedded;
use rendezvous_swarm::server;
use rendezvous_wire::Ttl;
use tokio::sync::oneshot;

/// Shortest TTL that either point accepts.
const TTL_MIN: Ttl = Ttl::from_secs(60);

/// Registrations that either point takes from one peer.
const REGISTRATIONS_PER_PEER_MAX: usize = 1_000_000;

/// Registrations that either point takes in total.
const REGISTRATIONS_MAX: usize = 10_000_000;

/// Time after which a connection that nobody uses is closed: longer than any pause of a measurement.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// Which rendezvous point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// `rendezvous_swarm::server::Behaviour`.
    Ours,
    /// `libp2p_rendezvous::server::Behaviour` of the published crate.
    Published,
}

/// Settings of a point.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Which rendezvous point
    #[arg(long = "server", value_enum)]
    pub kind: Kind,
    /// TCP port on 127.0.0.1; 0 for any that is free
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Worker threads of the runtime
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
    /// Directory to keep registrations in, with ours; in memory without
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
}

/// Runs a point until SIGTERM, Ctrl-C or the end of standard input. Its address is the one line that it prints.
///
/// # Errors
/// The runtime or the listener cannot be started.
pub fn run(args: Args) -> anyhow::Result<()> {
    let threads = usize::from(args.threads);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let result = runtime.block_on(async {
        let end = end()?;
        tokio::select! {
            result = serve(args) => result,
            () = end => Ok(()),
        }
    });
    runtime.shutdown_background();
    result
}

/// Comes when the point is to end.
fn end() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let (closed_sender, closed) = oneshot::channel::<()>();
    // A thread of its own: a read of standard input that is under way cannot be given up, and would hold the runtime.
    std::thread::spawn(move || {
        let mut scratch = [0; 256];
        while matches!(std::io::stdin().read(&mut scratch), Ok(1..)) {}
        drop(closed_sender);
    });
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
            _ = closed => {}
        }
    })
}

async fn serve(args: Args) -> anyhow::Result<()> {
    match args.kind {
        Kind::Ours => {
            let mut config = server::Config::default();
            config.server.ttl_min = TTL_MIN;
            config.server.registrations_per_peer_max = REGISTRATIONS_PER_PEER_MAX;
            config.server.registrations_max = REGISTRATIONS_MAX;
            // The load generator stands for many networks, from one address.
            config.server.registrations_per_prefix_max = Some(usize::MAX);
            (config.server.work_per_peer, config.server.work_per_prefix) = (None, None);
            config.server.work_max_per_sec = None;
            let behaviour = match args.data_dir {
                None => server::Behaviour::new(config),
                Some(directory) => {
                    let store = Embedded::open(directory)?;
                    server::Behaviour::open(config, Box::new(store), &mut |_| {})?.0
                }
            };
            serve_with(args.port, behaviour).await
        }
        Kind::Published => {
            let config = libp2p_rendezvous::server::Config::default()
                .with_min_ttl(TTL_MIN.as_secs())
                .with_max_registration_per_peer(REGISTRATIONS_PER_PEER_MAX)
                .with_max_registration_total(REGISTRATIONS_MAX);
            serve_with(args.port, libp2p_rendezvous::server::Behaviour::new(config)).await
        }
    }
}

/// What a point's behaviour wants beside its part in the swarm.
trait Rendezvous: NetworkBehaviour {
    /// Takes note of what identify reports.
    fn peer_agent(&mut self, _peer: PeerId, _agent_version: &str) {}
}

impl Rendezvous for server::Behaviour {
    fn peer_agent(&mut self, peer: PeerId, agent_version: &str) {
        self.peer_agent(peer, agent_version);
    }
}

impl Rendezvous for libp2p_rendezvous::server::Behaviour {}

#[derive(NetworkBehaviour)]
struct Behaviour<R: NetworkBehaviour> {
    identify: identify::Behaviour,
    rendezvous: R,
}

async fn serve_with<R: Rendezvous>(port: u16, rendezvous: R) -> anyhow::Result<()> {
    let mut swarm = SwarmBuilder::with_existing_identity(Keypair::generate_ed25519())
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|keypair| {
            let config = identify::Config::new("ipfs/0.1.0".to_owned(), keypair.public());
            Behaviour { identify: identify::Behaviour::new(config), rendezvous }
        })?
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE_TIMEOUT))
        .build();
    let address = Multiaddr::from(std::net::Ipv4Addr::LOCALHOST).with(Protocol::Tcp(port));
    swarm.listen_on(address.clone()).with_context(|| format!("cannot listen on {address}"))?;
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { address, .. } => println!("{address}/p2p/{}", swarm.local_peer_id()),
            SwarmEvent::ListenerClosed { reason, .. } => bail!("the listener has closed: {reason:?}"),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. })) => {
                swarm.behaviour_mut().rendezvous.peer_agent(peer_id, &info.agent_version);
            }
            _ => {}
        }
    }
}
