//! What a run is like, drawn from its seed.

use core::{ops::RangeInclusive, time::Duration};
use std::collections::BTreeSet;

use libp2p_identity::PeerId;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rendezvous_core::{
    client::ClientConfig,
    server::{Access, Pattern, Policy, Rate, Refusal, ServerConfig},
};
use rendezvous_record::{Flavour, Flavours};
use rendezvous_wire::{Limit, Namespace, Request, Ttl};

use super::{Flaw, disk::DiskKind};
use crate::fixtures;

/// Names in use; the last two have policies where there are any.
pub(super) const NAMESPACES: [&str; 5] = ["chat", "a", "blocks/of/a/chain", "closed", "small/room"];

/// Number of the key of the first point; those of peers begin at 0.
pub(super) const POINT_KEYS: u64 = 1_000;

/// Number of the key of who checks.
const AUDITOR_KEY: u64 = 3_000;

/// Shortest TTL that clients ask for, in seconds: below it a registration cannot be kept up without gaps.
pub(super) const CLIENT_TTL_SECS_MIN: u64 = 8;

/// The setting of a run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Virtual seconds are multiplied by this: a run of minutes or of hours.
    pub(super) pace: u32,
    pub(super) disks: Vec<DiskKind>,
    /// Whether there is one more point, which lies.
    pub(super) has_liar: bool,
    /// Peers with a client.
    pub(super) peers: usize,
    /// Peers that send what they like.
    pub(super) raws: usize,
    pub(super) namespaces: usize,
    /// How long there are faults.
    pub(super) chaos: Duration,
    pub(super) ttl_secs: RangeInclusive<u64>,
    pub(super) delay_millis_max: u64,
    /// Of a thousand messages so many take this many times as long.
    pub(super) tail_per_mille: u32,
    pub(super) loss_per_mille: u32,
    /// Mean time between two cuts of connections.
    pub(super) cut_every: Option<Duration>,
    /// Mean time between two ends of a process at each point.
    pub(super) crash_every: Option<Duration>,
    pub(super) steps_clocks: bool,
    pub(super) sync_millis_max: u64,
    pub(super) long_commit_per_mille: u32,
    pub(super) failing_commit_per_mille: u32,
    /// Mean time between two times of a full disk.
    pub(super) full_every: Option<Duration>,
    /// Batches that a point hands out before it is told of the first.
    pub(super) pipeline: usize,
    /// By how much points are late to do what time demands.
    pub(super) timer_lag: Duration,
    pub(super) acts_every: Duration,
    pub(super) peer_restart_every: Option<Duration>,
    pub(super) dials_failing_per_mille: u32,
    pub(super) are_dual: bool,
    pub(super) server: ServerConfig,
    pub(super) client: ClientConfig,
    pub(super) write_timeout: Duration,
    /// Who may see everything.
    pub(super) auditor: PeerId,
    pub(super) flaw: Option<Flaw>,
}

impl Plan {
    pub(super) fn draw(rng: &mut ChaCha8Rng, flaw: Option<Flaw>) -> Self {
        let pace = if rng.random_range(0..5) == 0 { rng.random_range(10..=60) } else { 1 };
        let secs = |secs: u64| Duration::from_secs(secs * u64::from(pace));
        let chance = |rng: &mut ChaCha8Rng, percent: u32| rng.random_range(0..100) < percent;
        let kind = match rng.random_range(0..10) {
            0..5 => DiskKind::Journal,
            5..9 => DiskKind::Map,
            _ => DiskKind::None,
        };
        let points = [1, 1, 1, 2, 2, 3][rng.random_range(0..6)];
        let peers = rng.random_range(2..=5);
        let raws = rng.random_range(0..=2);
        let ttl_max = rng.random_range(20..=90);
        let is_limited = chance(rng, 50);
        let mut server = ServerConfig::default();
        server.ttl_min = Ttl::from_secs(2);
        server.ttl_max = Ttl::from_secs(ttl_max * u64::from(pace));
        server.ttl_default = server.ttl_max;
        let is_timed = chance(rng, 30);
        let backoff = Duration::from_secs(rng.random_range(1..=4));
        let mut plan = Self {
            pace,
            disks: vec![kind; points],
            has_liar: chance(rng, 25),
            peers,
            raws,
            namespaces: rng.random_range(1..=if is_limited { 5 } else { 4 }),
            chaos: secs(rng.random_range(60..=240)),
            ttl_secs: server.ttl_min.as_secs()..=server.ttl_max.as_secs(),
            delay_millis_max: [5, 60, 400, 1_500][rng.random_range(0..4)],
            tail_per_mille: [0, 0, 20, 100][rng.random_range(0..4)],
            loss_per_mille: [0, 0, 10, 50, 200][rng.random_range(0..5)],
            cut_every: [None, Some(secs(60)), Some(secs(10))][rng.random_range(0..3)],
            crash_every: [None, Some(secs(90)), Some(secs(25))][rng.random_range(0..3)],
            steps_clocks: chance(rng, 50),
            sync_millis_max: [2, 30, 300][rng.random_range(0..3)],
            long_commit_per_mille: [0, 30, 200][rng.random_range(0..3)],
            failing_commit_per_mille: [0, 0, 50, 300][rng.random_range(0..4)],
            full_every: chance(rng, 25).then(|| secs(60)),
            pipeline: rng.random_range(1..=3),
            timer_lag: Duration::from_millis([0, 0, 90, 3_000][rng.random_range(0..4)]),
            acts_every: secs(1) * rng.random_range(2..=12),
            peer_restart_every: chance(rng, 40).then(|| secs(60)),
            dials_failing_per_mille: [0, 0, 100, 400][rng.random_range(0..4)],
            are_dual: chance(rng, 30),
            server,
            client: ClientConfig {
                flavour: if chance(rng, 20) { Flavour::Legacy } else { Flavour::Standard },
                request_timeout: Duration::from_secs(rng.random_range(1..=10)),
                backoff_min: backoff,
                backoff_max: backoff * rng.random_range(1..=8),
                requests_per_point_max: rng.random_range(1..=8),
                peers_max: [3, 10_000][rng.random_range(0..2)],
                pages_per_walk_max: [4, 20, 100][rng.random_range(0..3)],
                ..ClientConfig::default()
            },
            write_timeout: Duration::from_secs(rng.random_range(2..=10)),
            auditor: peer_id(AUDITOR_KEY),
            flaw,
        };
        if is_timed {
            plan.server.ttl_min = Ttl::from_secs(10 * u64::from(pace));
        }
        if kind == DiskKind::None {
            // Without a store positions follow the wall clock, which must then not be set back.
            plan.steps_clocks = false;
        }
        if is_limited {
            plan.limit(rng);
        } else if !plan.are_dual && chance(rng, 30) {
            plan.server.accepts = if chance(rng, 50) { Flavours::STANDARD } else { Flavours::LEGACY };
        }
        plan
    }

    /// Small quotas, rates and policies.
    fn limit(&mut self, rng: &mut ChaCha8Rng) {
        let mut chance = |percent: u32| rng.random_range(0..100) < percent;
        let some_peers: BTreeSet<PeerId> = [0, 1, AUDITOR_KEY].into_iter().map(peer_id).collect();
        let server = &mut self.server;
        if chance(40) {
            server.registrations_per_peer_max = 2;
        }
        if chance(30) {
            server.registrations_max = 5;
        }
        if chance(30) {
            server.registrations_per_prefix_max = Some(3);
        }
        if chance(30) {
            server.registrations_per_namespace_max = 2;
        }
        if chance(30) {
            server.record_bytes_max = 1_200;
        }
        if chance(30) {
            server.rate_per_peer = Some(Rate { burst: 4, period: Duration::from_millis(700) });
        }
        if chance(20) {
            server.rate_per_prefix = Some(Rate { burst: 6, period: Duration::from_millis(250) });
        }
        if chance(40) {
            server.pending_max = 2;
        }
        if chance(20) {
            server.pending_bytes_max = 700;
        }
        if chance(30) {
            server.discover_all = Access::Only(some_peers.clone());
        }
        if chance(50) {
            let named = |name: &str| Namespace::new(name).expect("a short name");
            let closed = Policy {
                register: if chance(50) { Access::Nobody } else { Access::Only(some_peers.clone()) },
                discover: if chance(50) { Access::Anyone } else { Access::Only(some_peers) },
                ..Policy::new(Pattern::Exact(named("closed")))
            };
            let small = Policy { registrations_max: Some(1), ..Policy::new(Pattern::Prefix("small/".into())) };
            server.policies = vec![closed, small];
        }
        if chance(40) {
            server.page_registrations_max = Limit::new(2);
        }
    }

    /// How long nothing fails before everybody must be registered.
    pub(super) fn settling(&self) -> Duration {
        let longest = Duration::from_secs(*self.ttl_secs.end());
        // What is on its way still arrives; longest takes a request for which a connection is made.
        let on_the_way = Duration::from_millis(self.delay_millis_max * if self.tail_per_mille > 0 { 80 } else { 4 });
        on_the_way + longest + (self.client.backoff_max + self.client.request_timeout) * 4 + Duration::from_secs(20)
    }

    /// How long everybody may take to find everybody after that.
    pub(super) const FINDING: Duration = Duration::from_secs(400);

    /// The policy that holds in a namespace.
    pub(super) fn policy(&self, namespace: &str) -> Option<&Policy> {
        self.server.policies.iter().find(|policy| match &policy.pattern {
            Pattern::Exact(name) => name.as_str() == namespace,
            Pattern::Prefix(prefix) => namespace.starts_with(prefix.as_str()),
        })
    }

    /// Whether a client's request may be refused so before it is carried out.
    pub(super) fn rejects(&self, peer: &PeerId, asked: Option<&Request<'_>>, refusal: &Refusal) -> bool {
        let name = |name: Option<&[u8]>| name.and_then(|name| Namespace::new(str::from_utf8(name).ok()?).ok());
        match (asked, refusal) {
            (Some(Request::Register(register)), Refusal::RegisterDenied) => name(register.namespace)
                .is_some_and(|name| self.policy(name.as_str()).is_some_and(|policy| !policy.register.allows(peer))),
            (Some(Request::Register(register)), Refusal::TtlTooShort { .. }) => {
                register.ttl_secs < Some(self.server.ttl_min.as_secs())
            }
            (Some(Request::Register(_)), Refusal::FlavourNotAccepted(flavour)) => {
                !self.server.accepts.contains(*flavour)
            }
            (Some(Request::Discover(discover)), Refusal::DiscoverDenied | Refusal::DiscoverAllDenied) => {
                !self.may_discover(peer, name(discover.namespace).as_ref())
            }
            _ => false,
        }
    }

    /// Whether a peer may list a namespace, or all of them.
    pub(super) fn may_discover(&self, peer: &PeerId, namespace: Option<&Namespace>) -> bool {
        match namespace {
            Some(name) => self.policy(name.as_str()).is_none_or(|policy| policy.discover.allows(peer)),
            None => {
                let everywhere = self.server.policies.iter().all(|policy| policy.discover.allows(peer));
                self.server.discover_all.allows(peer) && everywhere
            }
        }
    }
}

fn peer_id(key: u64) -> PeerId {
    fixtures::keypair(key).public().to_peer_id()
}
