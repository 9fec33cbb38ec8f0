//! Legitimate clients that look like an attack. All their requests are answered, in calm and beside an attack.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use futures::StreamExt as _;
use libp2p::{
    SwarmBuilder, identify, noise,
    swarm::{NetworkBehaviour, SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use rendezvous_wire::Status;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::Scenario;
use crate::{
    arena::Carrier,
    attacks,
    client::TIMEOUT,
    point::{Options, Point, Target},
    probe,
    raw::{self, Link, Reading},
    report::Row,
    request,
    run::{self, Attacker, Settings},
    sources,
};

/// Streams of one client at once: what rust-libp2p's request-response opens by default.
const CROWD: usize = 100;

/// Time of the attack beside a scenario in the short form.
const ATTACK: Duration = Duration::from_secs(8);

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "nat",
        about: "peers of one address that poll two names once a minute, each time over a new connection, beside an attack: \
                5,000 for ten minutes in the long form, as many connections a second for six seconds in the short one",
        run: |settings| Box::pin(beside("nat", "unread-pages", settings, nat)),
    },
    Scenario {
        name: "nat-flood",
        about: "as nat, beside a flood of streams",
        run: |settings| Box::pin(beside("nat-flood", "stream-flood", settings, nat)),
    },
    Scenario {
        name: "crowd",
        about: "a client of libp2p-rendezvous with 100 streams at once, beside unread pages",
        run: |settings| Box::pin(beside("crowd", "unread-pages", settings, crowd)),
    },
    Scenario {
        name: "crowd-flood",
        about: "as crowd, beside connections with many idle streams",
        run: |settings| Box::pin(beside("crowd-flood", "idle-streams", settings, crowd)),
    },
];

/// What went wrong, and how often; and how many requests there were.
#[derive(Debug, Default)]
struct Tally {
    asked: u64,
    failed: BTreeMap<String, u64>,
}

type Shared = Arc<Mutex<Tally>>;

/// Runs `clients` against a point beside an attack.
async fn beside<F>(
    name: &str,
    attack: &str,
    settings: Settings,
    clients: fn(Target, bool, Shared) -> F,
) -> anyhow::Result<Row>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let data = tempfile::tempdir()?;
    let mut point = Point::start(&settings.binary, &data, Options::default()).await?;
    run::fill(point.target).await?;
    let attack = *attacks::all().iter().find(|known| known.name == attack).context("there is no such attack")?;
    let duration = if settings.is_long { Duration::from_secs(600) } else { ATTACK };
    let before = point.usage()?;
    let attacker = Attacker::start(&attack, point.target, Carrier::Tcp, attack.prefixes, duration)?;
    let tally = Shared::default();
    clients(point.target, settings.is_long, Arc::clone(&tally)).await?;
    drop(attacker);
    let tally = std::mem::take(&mut *tally.lock().unwrap_or_else(PoisonError::into_inner));
    let failed: u64 = tally.failed.values().sum();
    let mut faults = Vec::new();
    if failed > 0 {
        faults.push(format!("honest requests failed: {failed} of {}, bound 0: {:?}", tally.asked, tally.failed));
    }
    if tally.asked == 0 {
        faults.push("nothing was asked".to_owned());
    }
    let peak = point.sampler.peak();
    let row = Row {
        name: name.to_owned(),
        carrier: "tcp".to_owned(),
        prefixes: attack.prefixes,
        resident_before: before.resident_bytes,
        resident_peak: peak.resident_bytes,
        resident_after: before.resident_bytes,
        descriptors_before: before.descriptors,
        descriptors_peak: peak.descriptors,
        attacker: serde_json::json!({ "asked": tally.asked }),
        ended: point.ended(),
        faults,
        is_probed: false,
        ..Row::default()
    };
    point.kill().await?;
    Ok(row)
}

fn note(tally: &Shared, outcome: Result<(), String>) {
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    tally.asked += 1;
    if let Err(failure) = outcome {
        *tally.failed.entry(failure).or_default() += 1;
    }
}

/// Peers of one address. 83 connections a second are 5,000 in a minute.
async fn nat(target: Target, is_long: bool, tally: Shared) -> anyhow::Result<()> {
    let (peers, period, rounds) = match is_long {
        true => (5_000, Duration::from_secs(60), 10),
        false => (250, Duration::from_secs(3), 2),
    };
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 0..peers {
        let tally = Arc::clone(&tally);
        tasks.spawn(async move {
            let first = begin + period * number / peers;
            for round in 0..rounds {
                sleep_until(first + period * round).await;
                let outcome = timeout(TIMEOUT, poll(target, number)).await;
                let outcome = outcome
                    .map_err(|_| "timed out".to_owned())
                    .and_then(|polled| polled.map_err(|error| format!("{error:#}")));
                note(&tally, outcome);
            }
        });
    }
    while tasks.join_next().await.is_some() {}
    Ok(())
}

/// One visit of one peer: both names are registered and discovered, and the connection is closed.
async fn poll(target: Target, number: u32) -> anyhow::Result<()> {
    let key = request::key(3, u64::from(number));
    let source = (sources::NAT, 0).into();
    let noise = noise::Config::new(&key)?;
    let io = raw::encrypted(source, target.tcp, target.peer, noise).await.context("connect")?;
    let link = Link::over(io, Reading::Honest);
    let record = request::record(&key, 2)?;
    for name in ["nat/one", "nat/two"] {
        let mut frames = request::register(name, record.envelope());
        frames.extend_from_slice(&request::discover(Some(name), 10, &[]));
        for payload in run::exchange(&link, &frames, 2).await? {
            let (status, _) = request::status(&payload)?;
            anyhow::ensure!(status == Status::Ok, "refused: {status}");
        }
    }
    Ok(())
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    rendezvous: libp2p_rendezvous::client::Behaviour,
}

/// The published client, which asks for a hundred pages at once, again and again.
async fn crowd(target: Target, is_long: bool, tally: Shared) -> anyhow::Result<()> {
    let rounds = if is_long { 200 } else { 5 };
    let mut swarm = SwarmBuilder::with_existing_identity(request::key(3, u64::MAX))
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|key| Behaviour {
            identify: identify::Behaviour::new(identify::Config::new("ipfs/0.1.0".to_owned(), key.public())),
            rendezvous: libp2p_rendezvous::client::Behaviour::new(key.clone()),
        })?
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(120)))
        .build();
    swarm.dial(DialOpts::peer_id(target.peer).addresses(vec![target.multiaddr()]).build())?;
    let connected = async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { .. })) => return Ok(()),
                SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error.to_string()),
                _ => {}
            }
        }
    };
    let connected = timeout(TIMEOUT, connected).await.unwrap_or_else(|_| Err("no connection".to_owned()));
    let is_connected = connected.is_ok();
    note(&tally, connected);
    if !is_connected {
        return Ok(());
    }
    let namespace = libp2p_rendezvous::Namespace::new(probe::NAMESPACE.to_owned())?;
    for _ in 0..rounds {
        for _ in 0..CROWD {
            swarm.behaviour_mut().rendezvous.discover(Some(namespace.clone()), None, Some(10), target.peer);
        }
        let mut waiting = CROWD;
        let end = Instant::now() + TIMEOUT + Duration::from_secs(1);
        while waiting > 0 {
            let event = tokio::select! {
                event = swarm.select_next_some() => event,
                () = sleep_until(end) => {
                    (0..waiting).for_each(|_| note(&tally, Err("timed out".to_owned())));
                    break;
                }
            };
            match event {
                SwarmEvent::Behaviour(BehaviourEvent::Rendezvous(libp2p_rendezvous::client::Event::Discovered {
                    registrations,
                    ..
                })) => {
                    waiting -= 1;
                    let is_whole = registrations.len() >= probe::LISTED;
                    note(&tally, is_whole.then_some(()).ok_or(format!("{} are listed", registrations.len())));
                }
                SwarmEvent::Behaviour(BehaviourEvent::Rendezvous(
                    libp2p_rendezvous::client::Event::DiscoverFailed { error, .. },
                )) => {
                    waiting -= 1;
                    note(&tally, Err(format!("refused: {error:?}")));
                }
                SwarmEvent::ConnectionClosed { cause, .. } => note(&tally, Err(format!("closed: {cause:?}"))),
                _ => {}
            }
        }
    }
    Ok(())
}
