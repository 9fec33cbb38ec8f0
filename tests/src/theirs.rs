//! The point and the client of `libp2p-rendezvous` as nodes.

use libp2p::{Multiaddr, PeerId, swarm::dial_opts::DialOpts};
use libp2p_rendezvous::{Cookie, ErrorCode, Namespace, Registration, client, server};

use crate::node::{Node, Options};

/// A namespace of theirs.
///
/// # Panics
/// If the name is none.
#[must_use]
pub fn namespace(name: &str) -> Namespace {
    Namespace::new(name.to_owned()).expect("a name of at most 255 bytes")
}

/// Their point.
pub type Point = Node<server::Behaviour>;

/// Their client.
pub type Client = Node<client::Behaviour>;

/// Starts their point.
pub async fn point(change: impl FnOnce(server::Config) -> server::Config) -> Point {
    let config = change(server::Config::default());
    Node::start(|_| server::Behaviour::new(config)).await
}

/// Starts their client.
pub async fn client() -> Client {
    client_with(Options::default()).await
}

/// Starts their client with options of the node.
pub async fn client_with(options: Options) -> Client {
    Node::start_with(options, |key| client::Behaviour::new(key.clone())).await
}

/// A page of theirs.
#[derive(Debug)]
pub struct Page {
    /// The registrations, in no particular order where the point is theirs.
    pub registrations: Vec<Registration>,
    /// The cookie.
    pub cookie: Cookie,
}

impl Page {
    /// Who is on it, in order.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerId> {
        self.registrations.iter().map(|found| found.record.peer_id()).collect()
    }
}

impl Client {
    /// Dials a point and, while that is under way, asks for a page: the request is the first thing on the connection.
    ///
    /// # Errors
    /// The code that it reports.
    pub async fn discover_while_dialling(
        &mut self,
        name: &str,
        point: PeerId,
        address: &Multiaddr,
    ) -> Result<Page, ErrorCode> {
        let dial = DialOpts::peer_id(point).addresses(vec![address.clone()]).build();
        let namespace = namespace(name);
        self.with(move |swarm| {
            swarm.dial(dial).expect("nothing else is dialled");
            swarm.behaviour_mut().role.discover(Some(namespace), None, None, point);
        })
        .await;
        self.page(point).await
    }

    /// Sends a REGISTER and waits for its outcome: the granted TTL.
    ///
    /// # Errors
    /// The code that it reports.
    ///
    /// # Panics
    /// If something else happens first.
    pub async fn register(&mut self, name: &str, point: PeerId, ttl_secs: Option<u64>) -> Result<u64, ErrorCode> {
        self.begin_register(name, point, ttl_secs).await;
        match self.event().await {
            client::Event::Registered { rendezvous_node, ttl, namespace } => {
                assert_eq!((rendezvous_node, String::from(namespace).as_str()), (point, name));
                Ok(ttl)
            }
            client::Event::RegisterFailed { rendezvous_node, namespace, error } => {
                assert_eq!((rendezvous_node, String::from(namespace).as_str()), (point, name));
                Err(error)
            }
            other => panic!("the outcome of the REGISTER, not {other:?}"),
        }
    }

    /// Sends a REGISTER.
    ///
    /// # Panics
    /// If there is no address to register.
    pub async fn begin_register(&self, name: &str, point: PeerId, ttl_secs: Option<u64>) {
        let namespace = namespace(name);
        let sent = self.role(move |client| client.register(namespace, point, ttl_secs)).await;
        sent.expect("there is an address to register");
    }

    /// Sends an UNREGISTER; nothing tells its end.
    pub async fn unregister(&self, name: &str, point: PeerId) {
        let namespace = namespace(name);
        self.role(move |client| client.unregister(namespace, point)).await;
    }

    /// Asks for a page and waits for it.
    ///
    /// # Errors
    /// The code that it reports.
    ///
    /// # Panics
    /// If something else happens first.
    pub async fn discover(
        &mut self,
        name: Option<&str>,
        point: PeerId,
        limit: Option<u64>,
        cookie: Option<&Cookie>,
    ) -> Result<Page, ErrorCode> {
        self.ask(name, point, limit, cookie).await;
        self.page(point).await
    }

    /// Asks for a page.
    pub async fn ask(&self, name: Option<&str>, point: PeerId, limit: Option<u64>, cookie: Option<&Cookie>) {
        let (namespace, cookie) = (name.map(namespace), cookie.cloned());
        self.role(move |client| client.discover(namespace, cookie, limit, point)).await;
    }

    async fn page(&mut self, point: PeerId) -> Result<Page, ErrorCode> {
        match self.event().await {
            client::Event::Discovered { rendezvous_node, registrations, cookie } => {
                assert_eq!(rendezvous_node, point);
                Ok(Page { registrations, cookie })
            }
            client::Event::DiscoverFailed { rendezvous_node, error, .. } => {
                assert_eq!(rendezvous_node, point);
                Err(error)
            }
            other => panic!("the answer to the DISCOVER, not {other:?}"),
        }
    }
}
