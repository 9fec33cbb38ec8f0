//! Names that are wanted as registrations and lookups of the client.

use core::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use libp2p_identity::PeerId;
use rendezvous_swarm::client::{
    Behaviour, Event, Failure as ClientFailure, Gone, LookupConfig, LookupId, Merged, RegistrationId, Ttl,
};
use rendezvous_wire::Namespace;

use super::NAME;
use crate::{
    bridge::{Abilities, Command, Outbox, Translate},
    config::TTL_MAX,
    source::{Failure, FailureKind, Found, Report, SourceName, Timing, Urgency},
};

/// How long what a lookup has found holds when the lookup is ended.
const RELEASED_TTL: Duration = Duration::from_secs(60);

/// Settings of the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// How often points are asked and told, and which lifetime is asked for.
    pub timing: Timing,
    /// What lookups keep; their interval is the timing's.
    pub lookup: LookupConfig,
}

/// Translates between a manager and the client of rendezvous points.
#[derive(Debug)]
pub struct Translator {
    config: Config,
    pub(super) points: BTreeSet<PeerId>,
    pub(super) registrations: BTreeMap<Namespace, RegistrationId>,
    pub(super) lookups: BTreeMap<Option<Namespace>, Lookup>,
    /// Registrations that are being removed, with the points that have not said so.
    removals: BTreeMap<RegistrationId, Removal>,
}

/// A query at all points.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) id: LookupId,
    /// Points that have not answered since the last request.
    pub(super) awaited: BTreeSet<PeerId>,
    /// Why the first of them failed that did, and whether one has answered.
    failure: Option<ClientFailure>,
    has_answer: bool,
    /// When everybody was told last. Others are told when they are found.
    told_at: Instant,
}

#[derive(Debug)]
struct Removal {
    namespace: Namespace,
    awaited: BTreeSet<PeerId>,
    failure: Option<ClientFailure>,
}

impl Translator {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            points: BTreeSet::new(),
            registrations: BTreeMap::new(),
            lookups: BTreeMap::new(),
            removals: BTreeMap::new(),
        }
    }

    fn advertise(&mut self, client: &mut Behaviour, namespace: Namespace, ttl: Duration, out: &mut Outbox) {
        if self.points.is_empty() {
            let failure = FailureKind::Unreachable.into();
            out.push(Report::AdvertiseFailed { namespace: namespace.clone(), place: None, failure });
        }
        if let Some(id) = self.registrations.get(&namespace) {
            for point in &self.points {
                // Nothing changes where it is one already; there may not have been room for it.
                client.add_registration_point(*id, *point);
                // What does not stand is tried by the client itself, at its own pace.
                if client.is_registered(*id, point) && client.backoff_until(point).is_none() {
                    client.register_again_at(*id, point);
                }
            }
            return;
        }
        let ttl = Some(Ttl::from_secs(ttl.as_secs().max(1)));
        let id = client.register(namespace.clone(), self.points.iter().copied(), ttl);
        self.registrations.insert(namespace, id);
    }

    fn withdraw(&mut self, client: &mut Behaviour, namespace: Namespace, out: &mut Outbox) {
        let Some(id) = self.registrations.remove(&namespace) else {
            return out.push(Report::Withdrawn { namespace, failure: None });
        };
        let points = client.registration_points(id).collect();
        self.removals.insert(id, Removal { namespace, awaited: points, failure: None });
        client.unregister(id);
        self.settle_removal(id, out);
    }

    fn settle_removal(&mut self, id: RegistrationId, out: &mut Outbox) {
        if self.removals.get(&id).is_some_and(|removal| removal.awaited.is_empty())
            && let Some(Removal { namespace, failure, .. }) = self.removals.remove(&id)
        {
            out.push(Report::Withdrawn { namespace, failure: failure.map(failure_of) });
        }
    }

    fn request(&mut self, client: &mut Behaviour, namespace: Option<Namespace>, urgency: Urgency, out: &mut Outbox) {
        if let Some(lookup) = self.lookups.get_mut(&namespace) {
            if urgency == Urgency::Now {
                // A point whose listing does not end is not polled for this, and so is not waited for.
                let is_asked = |point: &&PeerId| client.listing_backoff_until(point).is_none();
                lookup.awaited = self.points.iter().filter(is_asked).copied().collect();
                (lookup.failure, lookup.has_answer) = (None, false);
            }
            // The manager may have forgotten who was there, or is about to.
            if urgency == Urgency::Now || is_to_be_told(lookup.told_at.elapsed(), self.config.timing.ttr) {
                client.found(lookup.id).for_each(|merged| out.push(found(merged)));
                lookup.told_at = Instant::now();
            }
            for point in &self.points {
                // Nothing changes where it is one already; there may not have been room for it.
                client.add_lookup_point(lookup.id, *point);
            }
            if urgency == Urgency::Now {
                client.look_up_again(lookup.id);
            }
        } else {
            let config = LookupConfig { every: Some(self.config.timing.ttr), ..self.config.lookup.clone() };
            let id = client.look_up(namespace.clone(), self.points.iter().copied(), config);
            let awaited = self.points.clone();
            let lookup = Lookup { id, awaited, failure: None, has_answer: false, told_at: Instant::now() };
            self.lookups.insert(namespace.clone(), lookup);
        }
        self.settle_request(&namespace, out);
    }

    /// Tells that a request is answered, when no point is left to answer.
    pub(super) fn settle_request(&mut self, namespace: &Option<Namespace>, out: &mut Outbox) {
        let Some(lookup) = self.lookups.get_mut(namespace).filter(|lookup| lookup.awaited.is_empty()) else { return };
        let namespace = namespace.clone();
        let report = match lookup.failure.take() {
            Some(failure) if !lookup.has_answer => Report::RequestFailed { namespace, failure: failure_of(failure) },
            _ => Report::Requested { namespace },
        };
        lookup.has_answer = false;
        out.push(report);
    }

    fn release(&mut self, client: &mut Behaviour, namespace: &Option<Namespace>, out: &mut Outbox) {
        let Some(lookup) = self.lookups.remove(namespace) else { return };
        // From here on nobody tells when they end.
        for merged in client.found(lookup.id).collect::<Vec<_>>() {
            let ttl = RELEASED_TTL.min(Duration::from_secs(merged.ttl.as_secs()));
            out.push(Report::Found(Found { ttl, ..found_of(merged) }));
        }
        client.end_lookup(lookup.id);
        // Another lookup may list some of the same.
        for lookup in self.lookups.values() {
            client.found(lookup.id).for_each(|merged| out.push(found(merged)));
        }
    }

    /// A lookup has come to its end by itself: there was no room for it, or the client shuts down. It has forgotten whom it had
    /// found. The next request begins another.
    fn ended(&mut self, client: &Behaviour, id: LookupId, out: &mut Outbox) {
        let Some(asked) = self.lookups.iter().find(|(_, it)| it.id == id).map(|(name, _)| name.clone()) else { return };
        self.lookups.remove(&asked);
        let others = self.lookups.values().flat_map(|lookup| client.found(lookup.id));
        let others: BTreeSet<_> = others.map(|merged| (merged.record.peer_id(), Some(merged.namespace))).collect();
        out.retain(|peer, name| {
            asked.as_ref().is_some_and(|asked| name != Some(asked)) || others.contains(&(*peer, name.cloned()))
        });
    }

    /// A lookup has peers no longer. They are told to be gone, but for those that another lookup has.
    fn gone(&self, client: &Behaviour, id: LookupId, gone: &[Gone], out: &mut Outbox) {
        let Some(asked) = self.lookups.iter().find(|(_, it)| it.id == id).map(|(name, _)| name) else { return };
        let mut missing: BTreeSet<_> = gone.iter().map(|it| (it.namespace.clone(), it.peer)).collect();
        // Lookups of two names list nobody alike: it is the one for everybody that others share with.
        for (name, lookup) in self.lookups.iter().filter(|(name, _)| name.is_none() != asked.is_none()) {
            if gone.iter().all(|it| name.as_ref().is_some_and(|name| *name != it.namespace)) {
                continue;
            }
            for merged in client.found(lookup.id) {
                if missing.remove(&(merged.namespace.clone(), merged.record.peer_id())) {
                    out.push(found(merged));
                }
            }
        }
        for (namespace, peer) in missing {
            out.push(Report::Gone { peer, namespace: Some(namespace) });
        }
    }

    fn answered(&mut self, id: LookupId, point: PeerId, failure: Option<&ClientFailure>, out: &mut Outbox) {
        let Some((namespace, lookup)) = self.lookups.iter_mut().find(|(_, lookup)| lookup.id == id) else { return };
        if !lookup.awaited.remove(&point) {
            return;
        }
        match failure {
            Some(failure) => lookup.failure = lookup.failure.take().or_else(|| Some(failure.clone())),
            None => lookup.has_answer = true,
        }
        let namespace = namespace.clone();
        self.settle_request(&namespace, out);
    }
}

impl Translate<Behaviour> for Translator {
    fn name(&self) -> SourceName {
        NAME
    }

    fn timing(&self) -> Timing {
        self.config.timing
    }

    fn abilities(&self) -> Abilities {
        Abilities { advertises: true, finds_by_name: true, finds_all: true }
    }

    fn on_command(&mut self, client: &mut Behaviour, command: Command, out: &mut Outbox) {
        match command {
            Command::Advertise(namespace, ttl) => self.advertise(client, namespace, ttl, out),
            Command::Withdraw(namespace) => self.withdraw(client, namespace, out),
            Command::Request(namespace, urgency) => self.request(client, namespace, urgency, out),
            Command::Release(namespace) => self.release(client, &namespace, out),
            Command::End => {
                for id in std::mem::take(&mut self.registrations).into_values() {
                    client.unregister(id);
                }
                for lookup in std::mem::take(&mut self.lookups).into_values() {
                    client.end_lookup(lookup.id);
                }
            }
        }
    }

    fn on_event(&mut self, client: &mut Behaviour, event: &Event, out: &mut Outbox) {
        match event {
            Event::Registered { id, point, namespace, ttl, .. } if self.registrations.get(namespace) == Some(id) => {
                let (namespace, ttl) = (namespace.clone(), Duration::from_secs(ttl.as_secs()));
                out.push(Report::Advertised { namespace, place: Some(*point), ttl });
            }
            Event::RegisterFailed { id, point, namespace, failure, .. }
                if self.registrations.get(namespace) == Some(id) =>
            {
                let (namespace, failure) = (namespace.clone(), failure_of(failure.clone()));
                out.push(Report::AdvertiseFailed { namespace, place: Some(*point), failure });
            }
            Event::NoAddresses { id } => {
                if let Some((namespace, _)) = self.registrations.iter().find(|(_, it)| *it == id) {
                    let (namespace, failure) = (namespace.clone(), FailureKind::NoAddresses.into());
                    out.push(Report::AdvertiseFailed { namespace, place: None, failure });
                }
            }
            Event::Unregistered { id, point, failure, .. } => {
                if let Some(removal) = self.removals.get_mut(id) {
                    removal.awaited.remove(point);
                    removal.failure = removal.failure.take().or_else(|| failure.clone());
                    self.settle_removal(*id, out);
                }
            }
            Event::LookupChanged { lookup, found: new, updated, gone, .. } => {
                if !self.lookups.values().any(|it| it.id == *lookup) {
                    return;
                }
                new.iter().chain(updated).for_each(|merged| out.push(found(merged.clone())));
                if !gone.is_empty() {
                    self.gone(client, *lookup, gone, out);
                }
            }
            Event::LookupEnded { lookup } => self.ended(client, *lookup, out),
            Event::LookupPolled { lookup, point, .. } => self.answered(*lookup, *point, None, out),
            Event::LookupFailed { lookup, point, failure, .. } => self.answered(*lookup, *point, Some(failure), out),
            _ => {}
        }
    }
}

/// Whether everybody is to be told again, so that none ends at the manager who is there: what is told holds for [`TTL_MAX`], and
/// a peer that renews what it has registered is not told of by its lookup.
fn is_to_be_told(since: Duration, ttr: Duration) -> bool {
    since.saturating_add(ttr) >= TTL_MAX / 2
}

/// A peer as long as its lookup lasts, which tells when it ends.
fn found(merged: Merged) -> Report {
    Report::Found(Found { ttl: TTL_MAX, ..found_of(merged) })
}

fn found_of(merged: Merged) -> Found {
    let record = &merged.record;
    let found = Found::new(record.peer_id(), Some(merged.namespace.clone()), Duration::from_secs(merged.ttl.as_secs()))
        .with_addresses(record.addresses());
    match record.verified() {
        Some(record) => found.with_seq(record.scaled_seq()),
        None => found,
    }
}

/// A client's failure in the terms of all sources.
fn failure_of(failure: ClientFailure) -> Failure {
    let kind = match &failure {
        ClientFailure::Refused { .. } => FailureKind::Refused,
        ClientFailure::Unreachable => FailureKind::Unreachable,
        ClientFailure::Unsupported => FailureKind::Unsupported,
        ClientFailure::TimedOut => FailureKind::TimedOut,
        ClientFailure::ClosedWithoutAnswer | ClientFailure::Malformed(_) => FailureKind::Malformed,
        _ => FailureKind::Local,
    };
    Failure::new(kind, failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stays_for_longer_than_a_listing_holds_is_told_again_in_time() {
        let minute = Duration::from_secs(60);
        assert!(!is_to_be_told(minute, minute));
        assert!(is_to_be_told(TTL_MAX / 2, minute));
        // However rarely points are asked, there is a request before what was told ends.
        for ttr in [minute, TTL_MAX / 4, TTL_MAX / 2, TTL_MAX - minute, Duration::MAX] {
            let told_again =
                (1..=4_320_u32).map(|round| ttr.saturating_mul(round)).find(|since| is_to_be_told(*since, ttr));
            assert!(told_again.is_some_and(|since| since < TTL_MAX || since == ttr), "{ttr:?}");
        }
    }

    #[test]
    fn failures_of_points_are_different_values() {
        let kinds = [
            ClientFailure::Refused { status: rendezvous_wire::Status::NotAuthorized, text: String::new() },
            ClientFailure::Unreachable,
            ClientFailure::Unsupported,
            ClientFailure::TimedOut,
            ClientFailure::ClosedWithoutAnswer,
            ClientFailure::AtCapacity,
        ]
        .map(|failure| failure_of(failure).kind);
        use FailureKind::*;
        assert_eq!(kinds, [Refused, Unreachable, Unsupported, TimedOut, Malformed, Local]);
    }
}
