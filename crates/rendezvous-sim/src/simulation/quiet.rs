//! The end of a run: faults end, everybody is to be registered, and to find everybody.

use core::time::Duration;
use std::collections::BTreeSet;

use rand::Rng;
use rendezvous_record::Flavours;
use rendezvous_wire::Namespace;

use super::{
    Happening, Simulation,
    model::Key,
    plan::{NAMESPACES, Plan},
    violation::{Breach, Invariant},
};

impl Simulation {
    /// Faults end. Some clients are gone for good.
    pub(super) fn quiet(&mut self) -> Result<(), Breach> {
        self.note(format_args!("faults end"));
        self.is_quiet = true;
        for point in 0..self.points.len() {
            self.points[point].is_full_until = self.now;
            if self.points[point].up.is_none() {
                self.start(point)?;
            }
        }
        for peer in 1..self.peers.len() {
            if self.rng.random_range(0..6) == 0 {
                self.note(format_args!("peer {peer} is gone"));
                self.tally.peer_deaths += 1;
                self.peers[peer].is_up = false;
                self.peers[peer].open.clear();
                for point in 0..=self.points.len() {
                    self.links.remove(&(peer, point));
                }
            }
        }
        self.schedule(self.plan.settling(), Happening::Find);
        Ok(())
    }

    /// Everybody must be registered, and looks for everybody.
    pub(super) fn find(&mut self) -> Result<(), Breach> {
        self.note(format_args!("everybody is to be found"));
        self.check_registered()?;
        if !self.is_finding {
            self.is_finding = true;
            self.finding_since = self.now;
            self.at_first = (0..self.points.len()).map(|point| self.expected(point, None)).collect();
        }
        let mut is_missing = false;
        for peer in 0..self.peers.len() {
            // One of each point at a time: there may be rates.
            let mut asked = BTreeSet::new();
            for listing in self.listings(peer) {
                if !self.peers[peer].found.contains_key(&listing) && asked.insert(listing.0) {
                    is_missing = true;
                    self.look(peer, listing);
                }
            }
            self.pump(peer)?;
        }
        let next = if is_missing && self.now < self.finding_since + Plan::FINDING {
            Happening::Find
        } else {
            Happening::Finish
        };
        self.schedule(Duration::from_secs(1), next);
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<(), Breach> {
        self.note(format_args!("the end"));
        self.is_over = true;
        let wanted = self.check_registered()?;
        for peer in 0..self.peers.len() {
            for listing in self.listings(peer) {
                let point = &self.points[listing.0];
                let began = point.clock(self.finding_since).min(point.clock(self.now));
                let Some(found) = self.peers[peer].found.get(&listing) else {
                    return Err((Invariant::Quiet, format!("peer {peer} has not seen the end of {listing:?}")));
                };
                let found: BTreeSet<Key> = found.iter().cloned().collect();
                // Who was refused may be registered meanwhile, or where there are rates have lapsed for a moment.
                let expected = self.expected(listing.0, listing.1.as_ref());
                let is_limited = self.plan.server.rate_per_peer.is_some() || self.plan.server.rate_per_prefix.is_some();
                let missed = expected.iter().find(|key| {
                    let is_lapsed = is_limited && self.points[listing.0].model.has_ended(key, began);
                    self.at_first[listing.0].contains(key) && !found.contains(key) && !is_lapsed
                });
                if let Some(missed) = missed {
                    return Err((Invariant::Quiet, format!("peer {peer} does not find {missed:?} in {listing:?}")));
                }
                if let Some(extra) = found.iter().find(|key| !wanted.contains(&(listing.0, (*key).clone()))) {
                    return Err((Invariant::Quiet, format!("peer {peer} finds {extra:?} in {listing:?}")));
                }
            }
        }
        Ok(())
    }

    /// What a peer is to look for.
    fn listings(&self, peer: usize) -> Vec<(usize, Option<Namespace>)> {
        let state = &self.peers[peer];
        if !state.is_up {
            return Vec::new();
        }
        let names = NAMESPACES[..self.plan.namespaces].iter().filter_map(|name| Namespace::new(name).ok());
        let all: Vec<Option<Namespace>> = names.map(Some).chain([None]).collect();
        let may = |namespace: &&Option<Namespace>| self.plan.may_discover(&state.id, namespace.as_ref());
        let points = 0..self.points.len();
        points.flat_map(|point| all.iter().filter(may).map(move |name| (point, name.clone()))).collect()
    }

    /// What is registered at a point, in a namespace or in all.
    fn expected(&self, point: usize, namespace: Option<&Namespace>) -> BTreeSet<Key> {
        let (state, clock) = (&self.points[point], self.points[point].clock(self.now));
        let there = state.model.visible.iter().filter(|(key, entry)| {
            namespace.is_none_or(|name| *name == key.1) && entry.must_be_found(clock, Flavours::BOTH)
        });
        there.map(|(key, _)| key.clone()).collect()
    }

    /// Everybody who is there is registered where it wants to be, unless the point refuses; and nobody else is.
    fn check_registered(&self) -> Result<BTreeSet<(usize, Key)>, Breach> {
        let mut wanted_keys = BTreeSet::new();
        for (index, peer) in self.peers.iter().enumerate().filter(|(_, peer)| peer.is_up) {
            for wanted in &peer.wanted {
                for (&point, &is_refused) in wanted.points.range(..self.points.len()) {
                    let key = (peer.id, wanted.namespace.clone());
                    wanted_keys.insert((point, key.clone()));
                    let is_there = self.expected(point, Some(&wanted.namespace)).contains(&key);
                    let believes = peer.client.is_registered(wanted.id, &self.point_id(point));
                    if !(is_refused || believes && is_there) {
                        let what = format!("there: {is_there}, believes so: {believes}, was refused: {is_refused}");
                        let name = &wanted.namespace;
                        return Err((Invariant::Quiet, format!("peer {index} wants {name} at {point}; {what}")));
                    }
                }
            }
        }
        for point in 0..self.points.len() {
            if let Some(key) =
                self.expected(point, None).into_iter().find(|key| !wanted_keys.contains(&(point, key.clone())))
            {
                return Err((Invariant::Quiet, format!("{key:?} is listed at {point} and nobody wants it")));
            }
        }
        Ok(wanted_keys)
    }
}
