//! Names that are wanted as provider records, and queries for them.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, HashMap};

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
    Find(Namespace),
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
    /// Whether something was wanted while nobody could be asked.
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
        if !self.is_running(|purpose| matches!(purpose, Purpose::Find(it) if *it == namespace)) {
            let id = kademlia.get_providers(key(&namespace));
            self.queries.insert(id, Purpose::Find(namespace));
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
        let addresses = routed(kademlia, peer).or_else(|| self.locate.known(&peer).map(<[_]>::to_vec));
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
        is_last: bool,
        out: &mut Outbox,
    ) {
        let purpose = if is_last { self.queries.remove(&id) } else { None };
        match (purpose.as_ref().or_else(|| self.queries.get(&id)), result) {
            (Some(Purpose::Provide(namespace)), QueryResult::StartProviding(result)) => {
                let namespace = namespace.clone();
                if !self.provided.contains(&namespace) || kademlia.kbuckets().next().is_none() {
                    return;
                }
                out.push(match result {
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
            (Some(Purpose::Find(namespace)), QueryResult::GetProviders(result)) => {
                let namespace = namespace.clone();
                if !self.wanted.contains(&namespace) {
                    return;
                }
                if let Ok(GetProvidersOk::FoundProviders { providers, .. }) = result {
                    for peer in providers.iter().take(PROVIDERS_MAX) {
                        self.found(kademlia, *peer, &namespace, out);
                    }
                }
                let namespace = Some(namespace);
                match result {
                    Err(error @ GetProvidersError::Timeout { .. }) => {
                        let failure = Failure::new(FailureKind::TimedOut, error.clone());
                        out.push(Report::RequestFailed { namespace, failure });
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
                for namespace in self.locate.end(&peer, addresses.clone()) {
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
                out.push(Report::Withdrawn { namespace, failure: None });
            }
            Command::Request(Some(namespace), urgency) => {
                self.wanted.insert(namespace.clone());
                if urgency == Urgency::Now {
                    self.locate.forget();
                }
                self.find(kademlia, namespace);
            }
            Command::Release(Some(namespace)) => {
                self.wanted.remove(&namespace);
                self.locate.release(&namespace);
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
            }
        }
    }

    fn on_event(&mut self, kademlia: &mut Kademlia<S>, event: &Event, out: &mut Outbox) {
        match event {
            Event::OutboundQueryProgressed { id, result, step, .. } => {
                self.on_progress(kademlia, *id, result, step.last, out);
            }
            Event::RoutingUpdated { is_new_peer: true, .. } if std::mem::take(&mut self.is_starved) => {
                for namespace in self.provided.clone() {
                    self.provide(kademlia, namespace, out);
                }
                for namespace in self.wanted.clone() {
                    self.find(kademlia, namespace);
                }
            }
            _ => {}
        }
    }
}
