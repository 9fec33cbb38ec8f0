//! A point whose changes go through a store.

use rendezvous_core::{
    Time,
    server::{CommitFailed, Refusal, Registered, Server, ServerConfig},
};
use rendezvous_record::{Flavour, Flavours};
use rendezvous_sim::{
    desk::{Desk, Found, peer, stranger},
    fixtures::{self, EPOCH},
};
use rendezvous_store::{CommitError, LoadError, Opened, Store};

/// A point with its store, at whose desk a test stands.
pub struct Point<S> {
    pub store: S,
    pub desk: Desk,
    pub opened: Opened,
}

/// The settings of every point here.
pub fn config() -> ServerConfig {
    let mut config = ServerConfig::default();
    config.registrations_per_peer_max = 100_000;
    config.legacy_peer_info = true;
    config
}

impl<S: Store> Point<S> {
    pub fn open(store: S, wall: Time) -> Result<Self, LoadError> {
        Self::open_with(store, wall, config())
    }

    pub fn open_with(mut store: S, wall: Time, config: ServerConfig) -> Result<Self, LoadError> {
        let (server, opened) = rendezvous_store::open(&mut store, wall, config, [9; 16], &mut |_| {})?;
        Ok(Self { store, desk: desk(server, opened.now), opened })
    }

    /// REGISTER, and the commit of it.
    pub fn register(&mut self, number: u64, flavour: Flavour, namespace: &str, ttl_secs: u64) -> Result<(), Refusal> {
        let record = fixtures::record(number, flavour);
        self.register_envelope(number, record.envelope(), namespace, ttl_secs)
    }

    pub fn register_envelope(
        &mut self,
        number: u64,
        envelope: &[u8],
        namespace: &str,
        ttl_secs: u64,
    ) -> Result<(), Refusal> {
        let done = self.desk.register_pending(&peer(number), Some(envelope), namespace, Some(ttl_secs))?;
        let is_pending = matches!(done, Registered::Pending(_));
        let refusals = self.commit_all();
        match refusals {
            Ok(()) => Ok(()),
            Err(_) if is_pending => Err(Refusal::StoreFailed),
            Err(error) => panic!("nothing was to be committed: {error}"),
        }
    }

    pub fn unregister(&mut self, number: u64, namespace: Option<&str>) -> Result<(), CommitError> {
        self.desk.unregister(&peer(number), namespace);
        self.commit_all()
    }

    /// Commits what waits, one batch after the other. Says why the first was refused.
    pub fn commit_all(&mut self) -> Result<(), CommitError> {
        let mut refused = Ok(());
        while let Some(batch) = self.desk.server.poll_commit() {
            let result = self.store.commit(self.desk.now, &batch.changes);
            self.desk.server.handle_committed(
                self.desk.now,
                batch.id,
                result.as_ref().copied().map_err(|_| CommitFailed),
            );
            refused = refused.and(result);
        }
        refused
    }

    /// Lets time pass; what ends meanwhile is taken out, and forgotten with the next commit.
    pub fn pass(&mut self, secs: u64) {
        self.desk.pass(secs);
        while self.desk.server.poll_timeout().is_some_and(|timeout| timeout <= self.desk.now) {
            self.desk.server.handle_timeout(self.desk.now);
        }
    }

    pub fn now(&self) -> Time {
        self.desk.now
    }

    /// All registrations in order, as read by those who read both flavours, the one, and the other.
    pub fn listing(&mut self) -> [Vec<Found>; 3] {
        listing(&mut self.desk)
    }

    /// One page of a client, which goes on from its cookie.
    pub fn page(&mut self, namespace: Option<&str>, limit: u64, cookie: &mut Vec<u8>) -> Vec<Found> {
        let page = self.desk.discover(namespace, limit, cookie).unwrap();
        *cookie = page.cookie;
        page.found
    }
}

pub fn desk(server: Server, now: Time) -> Desk {
    let mut desk = Desk::new();
    desk.server = server;
    desk.now = now;
    desk
}

/// See [`Point::listing`].
pub fn listing(desk: &mut Desk) -> [Vec<Found>; 3] {
    [Flavours::BOTH, Flavours::from(Flavour::Standard), Flavours::from(Flavour::Legacy)].map(|reads| {
        let (mut all, mut cookie) = (Vec::new(), Vec::new());
        loop {
            let page = desk.discover_as(&stranger(), Some(reads), None, 1_000, &cookie).unwrap().unwrap();
            if page.found.is_empty() {
                return all;
            }
            all.extend(page.found);
            cookie = page.cookie;
        }
    })
}

/// The instant so many seconds after [`EPOCH`].
pub fn at(secs: u64) -> Time {
    EPOCH + core::time::Duration::from_secs(secs)
}
