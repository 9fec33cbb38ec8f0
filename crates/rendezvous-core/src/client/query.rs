//! Asking a point for a page.

use core::time::Duration;

use libp2p_identity::PeerId;
use rendezvous_wire::{Cookie, Limit, Namespace, Status, Ttl};

use super::{
    Client, PENDING_MAX, Timer,
    answer::{Discovered, Skipped, Unverified},
    config::WALK_SEEN_MAX,
    cookies::{Listing, Place},
    event::Event,
    failure::Failure,
    lookup::Leaf,
    outbound::{LookupId, QueryId},
    point::Work,
    request::Purpose,
    schedule,
    walk::{Meter, PageCost, WalkBudget, WalkLimit},
};
use crate::Time;

/// Where a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum From {
    /// Behind the page before: with the cookie kept for the point and the namespace, if there is one.
    Cookie,
    /// At the start of the listing.
    Fresh,
}

/// A page that has come.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) registrations: Vec<Discovered>,
    pub(super) unverified: Vec<Unverified>,
    pub(super) cookie: Option<Cookie>,
    pub(super) skipped: Skipped,
    pub(super) cost: PageCost,
}

/// A page that is asked for.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) point: PeerId,
    pub(super) namespace: Option<Namespace>,
    pub(super) limit: Limit,
    pub(super) is_fresh: bool,
    /// Whether it begins afresh in the middle of a walk, because the point has refused the cookie.
    pub(super) is_restart: bool,
    /// Whose it is, unless the application's.
    pub(super) lookup: Option<LookupId>,
}

impl Query {
    pub(super) fn listing(&self) -> Listing {
        Listing { point: self.point, namespace: self.namespace.clone(), lookup: self.lookup }
    }
}

impl Client {
    /// Asks a point for one page of a namespace, or of all of them. It ends in [`Event::Discovered`] or
    /// [`Event::DiscoverFailed`].
    ///
    /// `limit` is the largest page if `None`; more than that the event never holds. See "Walking all pages" in the
    /// module's documentation for `from`. At most [`PENDING_MAX`] queries may be pending.
    ///
    /// The point is asked even if it is in back-off.
    pub fn discover(
        &mut self,
        now: Time,
        point: PeerId,
        namespace: Option<Namespace>,
        limit: Option<Limit>,
        from: From,
    ) -> QueryId {
        self.advance(now);
        let query = QueryId(self.next_id());
        let refusal = if self.is_shutting_down {
            Some(Failure::ShutDown)
        } else if self.pending() >= PENDING_MAX {
            Some(Failure::AtCapacity)
        } else {
            None
        };
        if let Some(failure) = refusal {
            self.events.push(Event::DiscoverFailed { query, point, namespace, failure });
            return query;
        }
        let limit = limit.unwrap_or_default();
        let query_of =
            Query { point, namespace, limit, is_fresh: from == From::Fresh, is_restart: false, lookup: None };
        self.queries.insert(query, query_of);
        self.points.push(point, Work::Query(query), false);
        query
    }

    /// What counts against [`PENDING_MAX`]: queries of the application and one-off removals.
    pub(super) fn pending(&self) -> usize {
        self.queries.len().saturating_sub(self.lookups.walks()) + self.one_offs
    }

    /// Hands a page to the application and keeps the place behind it. `sent` is the cookie that was sent.
    pub(super) fn page_arrived(&mut self, id: QueryId, sent: Option<Cookie>, page: Page) {
        let Some(query) = self.queries.remove(&id) else { return };
        let Page { mut registrations, mut unverified, cookie, mut skipped, cost } = page;
        let received = registrations.len() + unverified.len() + skipped.total();
        let own = self.own.peer_id();
        let mut is_of_use = |peer: PeerId, namespace: &Namespace| {
            let is_own = peer == own;
            skipped.own += usize::from(is_own);
            let is_foreign = query.namespace.as_ref().is_some_and(|asked| asked != namespace);
            skipped.foreign += usize::from(is_foreign && !is_own);
            !is_own && !is_foreign
        };
        registrations.retain(|found| is_of_use(found.record.peer_id(), &found.namespace));
        unverified.retain(|found| is_of_use(found.peer, &found.namespace));
        skipped.over_limit += (registrations.len() + unverified.len()).saturating_sub(query.limit.count());
        registrations.truncate(query.limit.count());
        unverified.truncate(query.limit.count() - registrations.len());
        for found in &mut unverified {
            found.ttl = found.ttl.clamp(Ttl::from_secs(1), Ttl::RECOMMENDED_MAX);
        }
        for found in &mut registrations {
            found.ttl = found.ttl.clamp(Ttl::from_secs(1), Ttl::RECOMMENDED_MAX);
            let ends_at = self.now + lifetime(found.ttl);
            self.book.insert(query.point, &found.record, ends_at);
        }

        let listing = query.listing();
        let page = match (&sent, self.cookies.get(&listing)) {
            (Some(_), Some(place)) => place.pages.saturating_add(1),
            _ => 1,
        };
        let is_same_walk = sent.is_some() || query.is_restart;
        let meter = match query.lookup {
            Some(lookup) => self.lookups.take_meter(lookup, &query.point, id),
            None => self.cookies.get(&listing).and_then(|place| place.meter.take()).filter(|_| is_same_walk),
        };
        let mut meter = meter.unwrap_or_else(|| Meter::new(self.now));
        let room = WALK_SEEN_MAX.saturating_sub(self.cookies.seen() + self.lookups.seen() + meter.seen());
        let verified = registrations.iter().map(|found| (&found.namespace, found.record.peer_id(), found.ttl));
        let unsigned = unverified.iter().map(|found| (&found.namespace, found.peer, found.ttl));
        let listed = verified.chain(unsigned).map(|(name, peer, ttl)| (name, peer, self.now + lifetime(ttl)));
        meter.count_page(cost, listed, room);
        self.points.charge(query.point, self.now, cost.work, self.config.work_share_percent);

        let has_advanced = cookie.is_some() && cookie != sent;
        let goes_on = received > 0 && has_advanced;
        let budget = self.budget(query.lookup);
        // A page's number may run ahead of the meter, where the state of a walk was forgotten.
        meter.pages = meter.pages.max(page);
        let cut = if goes_on { meter.limit(self.now, &budget) } else { None };
        let more = goes_on && cut.is_none();
        if !more {
            self.walk_ended(query.point, cut);
        }
        let pages = if more { page } else { 0 };
        match cookie {
            Some(cookie) if query.lookup.is_none() && more => {
                self.cookies.put(listing, Place { cookie: Some(cookie), pages, meter: Some(meter) });
                meter = Meter::new(self.now);
            }
            Some(cookie) => self.cookies.put(listing, Place { cookie: Some(cookie), pages, meter: None }),
            // What was listed before the end is listed again by the next query: points that give no cookie at the end
            // (py) do not tell what is new.
            None => self.cookies.remove(&listing),
        }
        let Query { point, namespace, lookup, .. } = query;
        if let Some(lookup) = lookup {
            self.leg_listed(lookup, point, Leaf { query: id, registrations, unverified, skipped, more, cut, meter });
            return;
        }
        self.events.push(Event::Discovered {
            query: id,
            point,
            namespace,
            registrations,
            unverified,
            more,
            page,
            skipped,
            cut,
        });
    }

    /// The limits of a walk.
    fn budget(&self, lookup: Option<LookupId>) -> WalkBudget {
        let budget = WalkBudget::new(&self.config);
        match lookup.and_then(|id| self.lookups.walk_bytes_max(id)) {
            Some(bytes_max) => WalkBudget { bytes_max, ..budget },
            None => budget,
        }
    }

    /// A walk at a point has ended, by itself or at a limit.
    fn walk_ended(&mut self, point: PeerId, cut: Option<WalkLimit>) {
        if let Some(limit) = cut {
            self.walks_cut.count(limit);
        }
        if cut.is_some_and(WalkLimit::is_misbehaviour) {
            let (config, rng) = (&self.config, &mut self.rng);
            self.points.listing_cut(point, self.now, |cuts| schedule::listing_backoff(config, cuts, rng));
        } else {
            self.points.listing_ended(point);
        }
    }

    /// A DISCOVER failed; `sent` is the cookie that it carried.
    pub(super) fn query_failed(&mut self, id: QueryId, sent: Option<Cookie>, failure: Failure) {
        let Some(query) = self.queries.get_mut(&id) else { return };
        let status = match &failure {
            Failure::Refused { status, .. } => Some(*status),
            _ => None,
        };
        // rust-libp2p closes the stream on a cookie that it cannot read, as one of another implementation that ran there
        // before.
        let blames_cookie = status == Some(Status::InvalidCookie) || failure == Failure::ClosedWithoutAnswer;
        if blames_cookie && sent.is_some() {
            (query.is_fresh, query.is_restart) = (true, true);
            let (listing, point, lookup) = (query.listing(), query.point, query.lookup);
            if let Some(lookup) = lookup {
                self.lookups.count_cookie_refusal(lookup, &point, id);
                self.cookies.remove(&listing);
            } else {
                // The walk's budget outlives its cookie. Otherwise a point could have it begin afresh for ever.
                let meter = self.cookies.get(&listing).and_then(|place| place.meter.take());
                let mut meter = meter.unwrap_or_else(|| Meter::new(self.now));
                meter.count_cookie_refusal();
                self.cookies.put(listing, Place { cookie: None, pages: 0, meter: Some(meter) });
            }
            self.points.push(point, Work::Query(id), true);
            return;
        }
        // nim's answer for a namespace in which nobody is registered. Names that are none do not get this far.
        if status == Some(Status::InvalidNamespace) && query.namespace.is_some() {
            self.page_arrived(id, sent, Page::default());
            return;
        }
        let Some(Query { point, namespace, lookup, .. }) = self.queries.remove(&id) else { return };
        let left_alone_until = self.note_failure(point, &failure);
        match lookup {
            Some(lookup) => self.leg_failed(lookup, point, id, failure, left_alone_until),
            None => self.events.push(Event::DiscoverFailed { query: id, point, namespace, failure }),
        }
    }

    /// Ends all lookups and queries, in flight or not.
    pub(super) fn abandon_queries(&mut self) {
        self.end_lookups();
        let asked = self.in_flight.iter().filter(|(_, request)| matches!(request.purpose, Purpose::Discover { .. }));
        let asked: Vec<_> = asked.map(|(id, request)| (*id, request.point)).collect();
        for (id, point) in asked {
            self.in_flight.remove(&id);
            self.timers.set(Timer::Request(id), None);
            self.points.finished(point);
        }
        for (query, Query { point, namespace, lookup, .. }) in core::mem::take(&mut self.queries) {
            if lookup.is_some() {
                continue;
            }
            self.events.push(Event::DiscoverFailed { query, point, namespace, failure: Failure::ShutDown });
        }
    }
}

fn lifetime(ttl: Ttl) -> Duration {
    Duration::from_secs(ttl.as_secs())
}
