//! Names that are wanted as provider records, and queries for them.

use core::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Instant,
};

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use libp2p_kad::{
    Behaviour as Kademlia, Event, GetClosestPeersError, GetClosestPeersOk, GetProvidersError, GetProvidersOk, QueryId,
    QueryResult, store::RecordStore,
};
use rendezvous_wire::Namespace;

use super::{NAME, key, locate::Locate};
use crate::{
    bridge::{Abilities, Command, Outbox, Translate},
    source::{Failure, FailureKind, Found, Report, SourceName, Timing, Urgency},
};

/// Shortest time that a provider holds without being found again.
const HOLDS_MIN: Duration = Duration::from_secs(10);

/// Most providers of one answer that are taken.
const PROVIDERS_MAX: usize = 1_000;

/// Most providers of one query that are taken, over all its answers. The nodes that answer choose how many there are, and each
/// may cost a search. A query that reaches this is ended. It is four answers of the largest size that is taken.
const PROVIDERS_PER_QUERY_MAX: usize = 4_000;

/// Settings of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How often the DHT is asked and told. Default: asked every minute, told every half hour; how long a record lives is not
    /// this side's to say, and the lifetime is told to the application alone.
    pub timing: Timing,
}

impl Default for Config {
    fn default() -> Self {
        Self { timing: Timing { tta: Duration::from_secs(1_800), ..Timing::default() } }
    }
}

/// What a query was begun for.
#[derive(Debug)]
enum Purpose {
    Provide(Namespace),
    Find {
        namespace: Namespace,
        has_found: bool,
        /// Providers that are still taken.
        left: usize,
    },
    Locate(PeerId),
}

/// Translates between a manager and Kademlia.
#[derive(Debug)]
pub struct Translator {
    config: Config,
    provided: BTreeSet<Namespace>,
    wanted: BTreeSet<Namespace>,
    queries: HashMap<QueryId, Purpose>,
    locate: Locate,
    /// Whether something was wanted while nobody could be asked, or nobody has answered.
    is_starved: bool,
    /// Lifetimes that the manager asked for.
    ttls: BTreeMap<Namespace, Duration>,
}

impl Translator {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            provided: BTreeSet::new(),
            wanted: BTreeSet::new(),
            queries: HashMap::new(),
            locate: Locate::default(),
            is_starved: false,
            ttls: BTreeMap::new(),
        }
    }

    fn provide<S: RecordStore + Send + 'static>(
        &mut self,
        kademlia: &mut Kademlia<S>,
        namespace: Namespace,
        out: &mut Outbox,
    ) {
        if kademlia.kbuckets().next().is_none() {
            self.is_starved = true;
            let failure = FailureKind::Unreachable.into();
            out.push(Report::AdvertiseFailed { namespace: namespace.clone(), place: None, failure });
        }
        if self.is_running(|purpose| matches!(purpose, Purpose::Provide(it) if *it == namespace)) {
            return;
        }
        match kademlia.start_providing(key(&namespace)) {
            Ok(id) => {
                self.queries.insert(id, Purpose::Provide(namespace));
            }
            Err(error) => {
                let failure = Failure::new(FailureKind::Local, error);
                out.push(Report::AdvertiseFailed { namespace, place: None, failure });
            }
        }
    }

    fn find<S: RecordStore + Send + 'static>(&mut self, kademlia: &mut Kademlia<S>, namespace: Namespace) {
        self.is_starved |= kademlia.kbuckets().next().is_none();
        // A query that is under way is the answer to this request, too.
        if !self.is_running(|purpose| matches!(purpose, Purpose::Find { namespace: it, .. } if *it == namespace)) {
            let id = kademlia.get_providers(key(&namespace));
            self.queries.insert(id, Purpose::Find { namespace, has_found: false, left: PROVIDERS_PER_QUERY_MAX });
        }
    }

    /// Does again what nobody could be asked, or has answered. Queries that are under way have begun without those who are there
    /// now: they are not waited for.
    fn retry<S: RecordStore + Send + 'static>(&mut self, kademlia: &mut Kademlia<S>, out: &mut Outbox) {
        self.is_starved = false;
        self.queries.retain(|id, purpose| {
            let is_kept = matches!(purpose, Purpose::Locate(_));
            if !is_kept && let Some(mut query) = kademlia.query_mut(id) {
                query.finish();
            }
            is_kept
        });
        for namespace in self.provided.clone() {
            self.provide(kademlia, namespace, out);
        }
        for namespace in self.wanted.clone() {
            self.find(kademlia, namespace);
        }
    }

    fn is_running(&self, is_it: impl Fn(&Purpose) -> bool) -> bool {
        self.queries.values().any(is_it)
    }

    fn found<S: RecordStore + Send + 'static>(
        &mut self,
        kademlia: &mut Kademlia<S>,
        peer: PeerId,
        namespace: &Namespace,
        out: &mut Outbox,
    ) {
        let addresses = routed(kademlia, peer).or_else(|| self.locate.known(Instant::now(), &peer).map(<[_]>::to_vec));
        match addresses {
            Some(addresses) => out.push(self.report(peer, namespace.clone(), addresses)),
            None if self.locate.want(peer, namespace) => self.search(kademlia),
            None => out.push(self.report(peer, namespace.clone(), Vec::new())),
        }
    }

    fn search<S: RecordStore + Send + 'static>(&mut self, kademlia: &mut Kademlia<S>) {
        while let Some(peer) = self.locate.begin() {
            let id = kademlia.get_closest_peers(peer);
            self.queries.insert(id, Purpose::Locate(peer));
        }
    }

    fn report(&self, peer: PeerId, namespace: Namespace, addresses: Vec<Multiaddr>) -> Report {
        let ttl = self.config.timing.ttr.saturating_mul(3).max(HOLDS_MIN);
        Report::Found(Found::new(peer, Some(namespace), ttl).with_addresses(addresses))
    }

    fn on_progress<S: RecordStore + Send + 'static>(
        &mut self,
        kademlia: &mut Kademlia<S>,
        id: QueryId,
        result: &QueryResult,
        is_answered: bool,
        is_last: bool,
        out: &mut Outbox,
    ) {
        let mut purpose = if is_last { self.queries.remove(&id) } else { None };
        match (purpose.as_mut().or_else(|| self.queries.get_mut(&id)), result) {
            (Some(Purpose::Provide(namespace)), QueryResult::StartProviding(result)) => {
                let namespace = namespace.clone();
                if !self.provided.contains(&namespace) || kademlia.kbuckets().next().is_none() {
                    return;
                }
                self.is_starved |= !is_answered;
                out.push(match result {
                    // That nobody was told is no failure to Kademlia.
                    Ok(_) if !is_answered => {
                        let failure = FailureKind::Unreachable.into();
                        Report::AdvertiseFailed { namespace, place: None, failure }
                    }
                    Ok(_) => {
                        let ttl = self.ttls.get(&namespace).copied().unwrap_or(self.config.timing.ttl);
                        Report::Advertised { namespace, place: None, ttl }
                    }
                    Err(error) => {
                        let failure = Failure::new(FailureKind::TimedOut, error.clone());
                        Report::AdvertiseFailed { namespace, place: None, failure }
                    }
                });
            }
            (Some(Purpose::Find { namespace, has_found, left }), QueryResult::GetProviders(result)) => {
                // This peer may have the records itself.
                *has_found |= matches!(result, Ok(GetProvidersOk::FoundProviders { .. }));
                let (namespace, has_answer) = (namespace.clone(), is_answered || *has_found);
                let told = match result {
                    Ok(GetProvidersOk::FoundProviders { providers, .. }) => providers.len(),
                    _ => 0,
                };
                let taken = told.min(PROVIDERS_MAX).min(*left);
                *left -= taken;
                let is_full = told > 0 && *left == 0;
                if !self.wanted.contains(&namespace) {
                    return;
                }
                if let Ok(GetProvidersOk::FoundProviders { providers, .. }) = result {
                    for peer in providers.iter().take(taken) {
                        self.found(kademlia, *peer, &namespace, out);
                    }
                }
                if is_full
                    && !is_last
                    && let Some(mut query) = kademlia.query_mut(&id)
                {
                    tracing::warn!(
                        namespace = namespace.as_str(),
                        "a query ends: nodes of the DHT have told of {PROVIDERS_PER_QUERY_MAX} providers"
                    );
                    query.finish();
                }
                let namespace = Some(namespace);
                match result {
                    Err(error @ GetProvidersError::Timeout { .. }) => {
                        let failure = Failure::new(FailureKind::TimedOut, error.clone());
                        out.push(Report::RequestFailed { namespace, failure });
                    }
                    Ok(_) if is_last && !has_answer => {
                        self.is_starved = true;
                        out.push(Report::RequestFailed { namespace, failure: FailureKind::Unreachable.into() });
                    }
                    Ok(_) if is_last => out.push(Report::Requested { namespace }),
                    Ok(_) => {}
                }
            }
            (Some(Purpose::Locate(peer)), QueryResult::GetClosestPeers(result)) if is_last => {
                let peer = *peer;
                let (Ok(GetClosestPeersOk { peers, .. }) | Err(GetClosestPeersError::Timeout { peers, .. })) = result;
                let addresses =
                    peers.iter().find(|it| it.peer_id == peer).map(|it| it.addrs.clone()).unwrap_or_default();
                for namespace in self.locate.end(Instant::now(), &peer, addresses.clone()) {
                    out.push(self.report(peer, namespace, addresses.clone()));
                }
                self.search(kademlia);
            }
            _ => {}
        }
    }
}

/// The addresses of a peer in the routing table.
fn routed<S: RecordStore + Send + 'static>(kademlia: &mut Kademlia<S>, peer: PeerId) -> Option<Vec<Multiaddr>> {
    let bucket = kademlia.kbucket(peer)?;
    let entry = bucket.iter().find(|entry| *entry.node.key.preimage() == peer)?;
    Some(entry.node.value.iter().cloned().collect())
}

impl<S: RecordStore + Send + 'static> Translate<Kademlia<S>> for Translator {
    fn name(&self) -> SourceName {
        NAME
    }

    fn timing(&self) -> Timing {
        self.config.timing
    }

    fn abilities(&self) -> Abilities {
        Abilities { advertises: true, finds_by_name: true, finds_all: false }
    }

    fn on_command(&mut self, kademlia: &mut Kademlia<S>, command: Command, out: &mut Outbox) {
        match command {
            Command::Advertise(namespace, ttl) => {
                self.provided.insert(namespace.clone());
                self.ttls.insert(namespace.clone(), ttl);
                self.provide(kademlia, namespace, out);
            }
            Command::Withdraw(namespace) => {
                self.provided.remove(&namespace);
                self.ttls.remove(&namespace);
                kademlia.stop_providing(&key(&namespace));
                // A query that is under way cannot be called back. It does not count for the name if that is wanted anew, since
                // the record of this node itself is gone.
                self.queries.retain(|_, purpose| !matches!(purpose, Purpose::Provide(it) if *it == namespace));
                out.push(Report::Withdrawn { namespace, failure: None });
            }
            Command::Request(Some(namespace), urgency) => {
                self.wanted.insert(namespace.clone());
                if urgency == Urgency::Now {
                    self.locate.forget();
                }
                if self.is_starved && kademlia.kbuckets().next().is_some() {
                    self.retry(kademlia, out);
                } else {
                    self.find(kademlia, namespace);
                }
            }
            Command::Release(Some(namespace)) => {
                self.wanted.remove(&namespace);
                self.locate.release(&namespace);
                self.queries.retain(|id, purpose| {
                    let is_kept = !matches!(purpose, Purpose::Find { namespace: it, .. } if *it == namespace);
                    if !is_kept && let Some(mut query) = kademlia.query_mut(id) {
                        query.finish();
                    }
                    is_kept
                });
            }
            Command::Request(None, _) | Command::Release(None) => {}
            Command::End => {
                for namespace in std::mem::take(&mut self.provided) {
                    kademlia.stop_providing(&key(&namespace));
                }
                for namespace in std::mem::take(&mut self.wanted) {
                    self.locate.release(&namespace);
                }
                self.ttls.clear();
                self.queries.clear();
            }
        }
    }

    fn on_event(&mut self, kademlia: &mut Kademlia<S>, event: &Event, out: &mut Outbox) {
        match event {
            Event::OutboundQueryProgressed { id, result, stats, step } => {
                self.on_progress(kademlia, *id, result, stats.num_successes() > 0, step.last, out);
            }
            Event::RoutingUpdated { .. } if self.is_starved => self.retry(kademlia, out),
            _ => {}
        }
    }
}
