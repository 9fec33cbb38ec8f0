//! `rendezvous serve`: run a rendezvous point.

use std::{env, path::PathBuf, time::Duration};

use libp2p::{
    Multiaddr, PeerId, Swarm,
    futures::StreamExt,
    identify, ping,
    swarm::{NetworkBehaviour, SwarmEvent},
};
use rendezvous_core::server::EVENTS_MAX;
use rendezvous_host::Guard;
use rendezvous_swarm::{limits, server};
use rendezvous_wire::Dialect;
use serde::Serialize;
use tokio::{
    task::spawn_blocking,
    time::{Instant, MissedTickBehavior, interval_at, timeout_at},
};

use crate::{
    address, args,
    config::{Config, DIALECTS, Environment, Settings},
    descriptors,
    error::Error,
    key, logging,
    node::{self, Change, Listeners},
    output::{self, Output, SERVE_BACKLOG},
    signals::{HangUps, Signals},
    stats::{Snapshot, Style, Unwritten},
    store,
};

/// How often the store is looked at for a failure, and the log for suppressed lines.
const STORE_LOOK: Duration = Duration::from_secs(1);

/// Longest time for closing the connections at the end.
const GOODBYE_MAX: Duration = Duration::from_millis(500);

/// A point's protocols. Identify tells what the requesters read; ping notices dead connections. The limits come first, so
/// that the others are spared what is denied.
#[derive(NetworkBehaviour)]
struct Behaviour {
    limits: limits::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    rendezvous: server::Behaviour,
}

/// What `--json` prints, an object per event; statistics apart.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Told {
    Start {
        peer_id: String,
        addresses: Vec<String>,
        /// Directory of the store; `null` if nothing is kept.
        store: Option<String>,
        /// Registrations that go on.
        registrations: u64,
        /// Records that have ended while the point did not run.
        ended: u64,
    },
    Listening {
        address: String,
    },
    /// The settings have been read again.
    Reloaded {
        /// The dialects that are served from now on.
        dialects: Vec<String>,
        /// Settings that have changed and wait for a restart.
        restart: Vec<&'static str>,
    },
    Shutdown,
}

pub(crate) async fn run(args: args::Serve) -> Result<(), Error> {
    let mut config = Config::load(args.config.as_deref(), &Environment::of_process(), &args.flags)?;
    let settings = &mut config.settings.clone();
    settings.key_file()?;
    if args.check_config {
        return config.print(&mut Output::new(settings.json));
    }
    let output = Output::queued(settings.json, SERVE_BACKLOG)?;
    if let Some(lowered) = config.lowered(descriptors::raise()) {
        output::note(lowered);
        lowered.apply(&mut settings.connections.limits);
    }
    let settings = &*settings;
    let mut signals = Signals::listen()?;
    let mut hang_ups = HangUps::listen()?;
    let key = key::load_or_create(Some(settings.key_file()?))?;
    let (rendezvous, kept) = open(settings).await?;
    let guard = guard(settings);
    let swarm = node::swarm(&key.keypair, &guard, |keypair| Behaviour {
        limits: limits(settings, &rendezvous),
        identify: node::identify(keypair),
        ping: ping::Behaviour::default(),
        rendezvous,
    })?;
    let style = if settings.statistics.namespaces { Style::List } else { Style::Line };
    let mut point = Point { swarm, guard, output, last: Snapshot::default(), style, failure: None };
    let mut listeners = point.listen(settings).await?;
    point.say_start(&listeners, kept.as_ref())?;
    point.output.is_started().await;

    let every = settings.statistics.interval;
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = interval_at(Instant::now() + STORE_LOOK, STORE_LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = point.swarm.select_next_some() => point.on_event(&mut listeners, event)?,
            _ = ticks.tick() => point.say_statistics()?,
            _ = looks.tick() => {
                point.look_at_store();
                logging::report_suppressed(false);
            }
            () = hang_ups.next() => point.reload(&args, &mut config)?,
            signal = signals.next() => {
                signal.map_err(Error::Start)?;
                signals.end_at_next();
                return point.leave().await;
            }
        }
    }
}

/// What a point goes on with.
#[derive(Debug)]
struct Kept {
    directory: PathBuf,
    opened: server::Opened,
}

/// The point: with its store, which is read where that holds nobody up, or in memory.
async fn open(settings: &Settings) -> Result<(server::Behaviour, Option<Kept>), Error> {
    let config = server_config(settings);
    if settings.ephemeral {
        return Ok((server::Behaviour::new(config), None));
    }
    let data_dir = settings.data_dir.clone().ok_or(Error::NoDataDir)?;
    let directory = store::directory(&data_dir);
    let opening = spawn_blocking(move || store::open_point(&data_dir, config));
    let (behaviour, opened) = opening.await.map_err(|error| Error::Start(error.into()))??;
    Ok((behaviour, Some(Kept { directory, opened })))
}

/// A running point, and its telling.
struct Point {
    swarm: Swarm<Behaviour>,
    /// The bounds of the transport.
    guard: Guard,
    output: Output,
    /// The statistics that were printed last.
    last: Snapshot,
    style: Style,
    /// Why the store takes nothing, as it was told last.
    failure: Option<String>,
}

impl Point {
    async fn listen(&mut self, settings: &Settings) -> Result<Listeners, Error> {
        let addresses: Vec<Multiaddr> = settings.listen.iter().map(|address| address.0.clone()).collect();
        let mut listeners = if settings.listens_everywhere() {
            Listeners::start_any(&mut self.swarm, &addresses)?
        } else {
            Listeners::start(&mut self.swarm, &addresses)?
        };
        listeners.settle(&mut self.swarm, on_protocol_event).await?;
        Ok(listeners)
    }

    fn say_start(&mut self, listeners: &Listeners, kept: Option<&Kept>) -> Result<(), Error> {
        let peer = *self.swarm.local_peer_id();
        let addresses = listeners.addresses();
        let with_peer = |address: &Multiaddr| format!("{address}/p2p/{peer}");
        let start = Told::Start {
            peer_id: peer.to_string(),
            addresses: addresses.iter().map(with_peer).collect(),
            store: kept.map(|kept| kept.directory.display().to_string()),
            registrations: kept.map_or(0, |kept| kept.opened.registrations),
            ended: kept.map_or(0, |kept| kept.opened.ended),
        };
        self.output.json(&start)?;
        self.output.human(format_args!("peer id: {peer}"))?;
        for address in &addresses {
            self.output.human(format_args!("listening: {}", with_peer(address)))?;
        }
        self.output.human(store_line(kept))?;
        if let Some(address) = to_try(&addresses) {
            let point = with_peer(address);
            self.output.human(format_args!("try: {} register --point {point}", program()))?;
        }
        self.output.flush()
    }

    fn on_event(&mut self, listeners: &mut Listeners, event: SwarmEvent<BehaviourEvent>) -> Result<(), Error> {
        match listeners.on_event(&event)? {
            Some(Change::New(address)) => {
                let address = format!("{address}/p2p/{}", self.swarm.local_peer_id());
                self.output.result(format!("listening: {address}"), &Told::Listening { address })?;
                self.output.flush()?;
            }
            Some(Change::Gone(address)) => output::note(format_args!("no longer listening on {address}")),
            None => {}
        }
        on_protocol_event(&mut self.swarm, event);
        Ok(())
    }

    /// Reads the settings again, applies those that can follow, and says what has changed. What cannot be read changes
    /// nothing.
    fn reload(&mut self, args: &args::Serve, config: &mut Config) -> Result<(), Error> {
        let read = match Config::load(args.config.as_deref(), &Environment::of_process(), &args.flags) {
            Ok(read) => read,
            Err(error) => {
                output::note(format_args!("{error} (the settings in force stay as they are)"));
                return Ok(());
            }
        };
        let dialects = read.settings.server.dialects;
        for dialect in Dialect::ALL {
            self.swarm.behaviour_mut().rendezvous.serve(dialect, dialects.contains(dialect));
        }
        let differing = config.differing(&read);
        config.settings.server.dialects = dialects;
        let restart: Vec<_> = differing.iter().copied().filter(|key| *key != DIALECTS).collect();
        let mut said = match differing.contains(&DIALECTS) {
            true => format!("settings read again: {dialects} served"),
            false if restart.is_empty() => "settings read again: nothing has changed".to_owned(),
            false => "settings read again".to_owned(),
        };
        if !restart.is_empty() {
            said += &format!("; changed, and in force after a restart: {}", restart.join(", "));
        }
        let dialects = dialects.iter().map(|dialect| dialect.to_string()).collect();
        self.output.result(said, &Told::Reloaded { dialects, restart })?;
        self.output.flush()
    }

    /// Tells when the store stops taking registrations, and when it takes them again.
    fn look_at_store(&mut self) {
        let failure = self.swarm.behaviour().rendezvous.store_failure();
        if failure == self.failure {
            return;
        }
        match &failure {
            Some(reason) => output::note(format_args!(
                "registrations are refused: {reason}; those that are there are served, and the store is tried again"
            )),
            None => output::note("the store works again"),
        }
        self.failure = failure;
    }

    /// Prints the statistics if they have changed.
    fn say_statistics(&mut self) -> Result<(), Error> {
        let Behaviour { limits, rendezvous, .. } = self.swarm.behaviour();
        let (stats, connections, shell) = (rendezvous.stats(), limits.stats(), rendezvous.shell_stats());
        let transport = self.guard.stats();
        if self.last.is_of(&stats, &connections, &shell, &transport) {
            return Ok(());
        }
        let top = rendezvous.namespaces(self.style.namespaces_max());
        let [stdout_lines, stderr_lines] = output::dropped();
        let unwritten = Unwritten { stdout_lines, stderr_lines, log_lines: logging::suppressed() };
        let now = Snapshot::new(stats, connections, shell, top, self.style)
            .with_transport(transport)
            .with_unwritten(unwritten);
        self.output.result(&now, &now)?;
        self.last = now;
        self.output.flush()
    }

    /// Says so, to the operator and to whoever is connected: over QUIC, nothing else tells a peer that this one is gone.
    async fn leave(mut self) -> Result<(), Error> {
        self.say_statistics()?;
        self.output.json(&Told::Shutdown)?;
        self.output.flush()?;
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            // One that has gone by now is no matter.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let end = Instant::now() + GOODBYE_MAX;
        while self.swarm.connected_peers().next().is_some() {
            let Ok(_) = timeout_at(end, self.swarm.select_next_some()).await else { break };
        }
        Ok(())
    }
}

/// What identify says about a requester tells which records it can read. Whoever does not answer a ping is gone.
fn on_protocol_event(swarm: &mut Swarm<Behaviour>, event: SwarmEvent<BehaviourEvent>) {
    match event {
        SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. })) => {
            swarm.behaviour_mut().rendezvous.peer_agent(peer_id, &info.agent_version);
        }
        SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event { connection, result: Err(failure), .. }))
            if !matches!(failure, ping::Failure::Unsupported) =>
        {
            swarm.behaviour_mut().limits.peer_unresponsive(connection);
        }
        SwarmEvent::Behaviour(BehaviourEvent::Rendezvous(event)) => tracing::debug!(?event, "rendezvous"),
        _ => {}
    }
}

/// What is said of the store at the start.
fn store_line(kept: Option<&Kept>) -> String {
    let Some(Kept { directory, opened }) = kept else {
        return "store: none, registrations end with this process".to_owned();
    };
    let ended = if opened.ended > 0 { format!(", {} ended meanwhile", opened.ended) } else { String::new() };
    let kept = output::count(opened.registrations, "registration");
    format!("store: {} with {kept}{ended}", output::printable(&directory.display().to_string()))
}

/// The bounds of the transport.
fn guard(settings: &Settings) -> Guard {
    let mut config = settings.transport.clone();
    config.handshakes_max = settings.connections.limits.pending_max;
    Guard::new(config)
}

/// The limits on connections, which close idle ones by what the point notes of their use.
fn limits(settings: &Settings, rendezvous: &server::Behaviour) -> limits::Behaviour {
    let mut config = settings.connections.limits.clone();
    // The transport bounds the total, for TCP and for QUIC each.
    config.pending_max = usize::MAX;
    let mut limits = limits::Behaviour::new(config);
    limits.watch(rendezvous.activity());
    limits
}

fn server_config(settings: &Settings) -> server::Config {
    let mut config = settings.server.clone();
    if tracing::enabled!(tracing::Level::DEBUG) {
        config.server.events_max = EVENTS_MAX;
    }
    config
}

/// The address for a client to try: one that works from elsewhere too, if there is one, and of IPv4 rather than IPv6.
fn to_try(addresses: &[Multiaddr]) -> Option<&Multiaddr> {
    addresses.iter().min_by_key(|address| {
        let is_v6 = address::ip(address).is_some_and(|ip| ip.is_ipv6());
        (address::is_link_local(address), address::is_loopback(address), is_v6)
    })
}

/// This program as it was called, so that the command printed can be pasted.
fn program() -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    match env::args_os().next().and_then(|program| program.into_string().ok()) {
        Some(program) if !program.is_empty() && program.chars().all(is_plain) => program,
        Some(program) if !program.contains('\'') => format!("'{program}'"),
        _ => "rendezvous".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_command_takes_an_address_that_works_from_elsewhere() {
        let addresses: Vec<Multiaddr> = ["/ip4/127.0.0.1/tcp/1", "/ip6/2001:db8::1/tcp/1", "/ip4/192.0.2.1/tcp/1"]
            .map(|text| text.parse().expect("it is a multiaddr"))
            .into();
        assert_eq!(to_try(&addresses), Some(&addresses[2]));
        assert_eq!(to_try(&addresses[..1]), Some(&addresses[0]));
        assert_eq!(to_try(&[]), None);
    }
}
