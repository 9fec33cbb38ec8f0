//! This project's point and client as nodes.

use libp2p::{Multiaddr, PeerId};
use rendezvous_record::Flavour;
use rendezvous_swarm::{
    RecordKind,
    client::{self, Discovered, Failure, From, Limit, Namespace, QueryId, RegistrationId, Skipped, Ttl, Unverified},
    server,
};

use crate::node::{Node, Options};

/// A namespace.
///
/// # Panics
/// If the name is none.
#[must_use]
pub fn namespace(name: &str) -> Namespace {
    Namespace::new(name).expect("a name of 1 to 255 bytes")
}

/// Our point.
pub type Point = Node<server::Behaviour>;

/// Our client.
pub type Client = Node<client::Behaviour>;

/// Starts a point that tells what happens.
pub async fn point(change: impl FnOnce(&mut server::Config)) -> Point {
    point_with(Options::default(), change).await
}

/// Starts a point with options of the node.
pub async fn point_with(options: Options, change: impl FnOnce(&mut server::Config)) -> Point {
    let mut config = server::Config::default();
    config.server.events_max = 10_000;
    change(&mut config);
    Node::start_with(options, |_| server::Behaviour::new(config)).await
}

/// Starts a client with the default settings.
pub async fn client() -> Client {
    client_with(Options::default(), |_| {}).await
}

/// Starts a client.
pub async fn client_with(options: Options, change: impl FnOnce(&mut client::Config)) -> Client {
    let mut config = client::Config::default();
    change(&mut config);
    Node::start_with(options, |key| client::Behaviour::new(key.clone(), config)).await
}

/// A page as the application gets it.
#[derive(Debug)]
pub struct Page {
    /// The registrations.
    pub registrations: Vec<Discovered>,
    /// Those without a signature.
    pub unverified: Vec<Unverified>,
    /// Whether there may be more.
    pub more: bool,
    /// Number in its walk.
    pub page: u32,
    /// What was left out.
    pub skipped: Skipped,
}

impl Page {
    /// Who is on it, in order.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerId> {
        self.registrations.iter().map(|found| found.record.peer_id()).collect()
    }
}

impl Client {
    /// Says under which address a point is dialled.
    ///
    /// # Panics
    /// If it is another peer's.
    pub async fn knows_point(&self, point: PeerId, address: &Multiaddr) {
        let address = address.clone();
        self.role(move |client| client.add_point_address(point, address)).await.expect("an address of the point");
    }

    /// Registers, and keeps it registered.
    pub async fn register(&self, name: &str, point: PeerId, ttl_secs: u64) -> RegistrationId {
        let namespace = namespace(name);
        self.role(move |client| client.register(namespace, [point], Some(Ttl::from_secs(ttl_secs)))).await
    }

    /// Waits for the next event, which must be a grant: the flavour and the lifetime.
    ///
    /// # Panics
    /// If it is none, or one of another registration.
    pub async fn registered(&mut self, id: RegistrationId) -> (Flavour, u64) {
        let (kind, ttl_secs) = self.registered_as(id).await;
        (kind.flavour().expect("a grant of a signed record"), ttl_secs)
    }

    /// Waits for the next event, which must be a grant: the kind of record and the lifetime.
    ///
    /// # Panics
    /// If it is none, or one of another registration.
    pub async fn registered_as(&mut self, id: RegistrationId) -> (RecordKind, u64) {
        match self.event().await {
            client::Event::Registered { id: registered, kind, ttl, .. } if registered == id => (kind, ttl.as_secs()),
            other => panic!("a grant, not {other:?}"),
        }
    }

    /// Waits for the next event, which must be a REGISTER that failed: why.
    ///
    /// # Panics
    /// If it is none, or one of another registration.
    pub async fn not_registered(&mut self, id: RegistrationId) -> Failure {
        match self.event().await {
            client::Event::RegisterFailed { id: failed, failure, .. } if failed == id => failure,
            other => panic!("a failure, not {other:?}"),
        }
    }

    /// Follows cookies from here to the end: who is on the pages, in order.
    ///
    /// # Panics
    /// If a query fails.
    pub async fn walk(&mut self, name: Option<&str>, point: PeerId, limit: usize, from: From) -> Vec<PeerId> {
        let mut peers = Vec::new();
        let mut page = self.discover(name, point, limit, from).await.expect("a page");
        loop {
            peers.extend(page.peers());
            if !page.more {
                return peers;
            }
            page = self.discover(name, point, limit, From::Cookie).await.expect("a page");
        }
    }

    /// Asks for a page and waits for it.
    ///
    /// # Errors
    /// [`Failure`] if the query failed.
    ///
    /// # Panics
    /// If something else happens first.
    pub async fn discover(
        &mut self,
        name: Option<&str>,
        point: PeerId,
        limit: usize,
        from: From,
    ) -> Result<Page, Failure> {
        let id = self.ask(name, point, limit, from).await;
        match self.event().await {
            client::Event::Discovered { query, registrations, unverified, more, page, skipped, .. } if query == id => {
                Ok(Page { registrations, unverified, more, page, skipped })
            }
            client::Event::DiscoverFailed { query, failure, .. } if query == id => Err(failure),
            other => panic!("the answer to the query, not {other:?}"),
        }
    }

    /// Asks for a page.
    pub async fn ask(&self, name: Option<&str>, point: PeerId, limit: usize, from: From) -> QueryId {
        let (namespace, limit) = (name.map(namespace), Limit::new(limit));
        self.role(move |client| client.discover(point, namespace, Some(limit), from)).await
    }

    /// Requests handed out so far.
    pub async fn requests_sent(&self) -> u64 {
        self.role(|client| client.stats().requests_sent).await
    }
}

impl Point {
    /// Counters of the point.
    pub async fn stats(&self) -> server::Stats {
        self.role(|point| point.stats()).await
    }
}
