//! Provider records of a Kademlia DHT as a source (feature `kad`).
//!
//! A name is advertised by a provider record under its [`key`], which is that of go-libp2p's routing discovery, so that peers of
//! both find each other. Provider records are not signed, and name peers without addresses: those come from the routing
//! table, or from a search for the peer.
//!
//! ```
//! use libp2p_identity::Keypair;
//! use libp2p_kad::{self as kademlia, store::MemoryStore};
//! use rendezvous_discovery::{DiscoveryManager, kad};
//!
//! let peer = Keypair::generate_ed25519().public().to_peer_id();
//! let kademlia = kademlia::Behaviour::new(peer, MemoryStore::new(peer));
//! let (behaviour, source) = kad::source(kademlia, kad::Config::default());
//!
//! let (manager, driver) = DiscoveryManager::new(Default::default());
//! manager.add_source(source)?;
//! // … the behaviour goes into a swarm, and the driver is spawned.
//! # drop((behaviour, driver));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Lifetimes
//! How long a provider record lives is a setting of those who keep it (48 h where nothing else is said): withdrawing stops renewing
//! it, and no more can be done. What is found holds for three times [`ttr`](crate::Timing::ttr), at least 10 s, unless
//! it is found again.
//!
//! # While the routing table is empty
//! nobody can be told or asked. An advertisement then fails as unreachable, and what is wanted is done as soon as there is a peer in
//! the table. Where there are peers and none has answered, it is done again with the next news of one, or the next request.
//!
//! # Bounds
//! Four searches for addresses run at once, and 256 wait; beyond that a provider is told without addresses. What a search has
//! found is remembered for ten minutes, of 1024 peers, with at most 32 addresses each. A query takes at most 4,000 providers,
//! 1,000 of one answer, and ends when it has them.

mod locate;
mod translate;

use libp2p_kad::{Behaviour as Kademlia, RecordKey, store::RecordStore};
use rendezvous_wire::Namespace;
use sha2::{Digest, Sha256};

pub use self::translate::{Config, Translator};
use crate::{
    SourceName,
    bridge::{self, Bridge, BridgeSource},
};

/// The behaviour that goes into the swarm.
pub type Behaviour<S> = Bridge<Kademlia<S>, Translator>;

/// What the source is called.
pub const NAME: SourceName = SourceName::new("kad");

/// Kademlia, to go into a swarm, and the source that it is, to go into a manager.
#[must_use]
pub fn source<S: RecordStore + Send + 'static>(kademlia: Kademlia<S>, config: Config) -> (Behaviour<S>, BridgeSource) {
    bridge::bridge(kademlia, Translator::new(config))
}

/// The key under which peers provide a name: the multihash of its SHA2-256, as go-libp2p's routing discovery has it.
///
/// ```
/// use rendezvous_discovery::{Namespace, kad};
///
/// let key = kad::key(&Namespace::new("chat")?);
/// assert_eq!(key.to_vec().len(), 34);
/// assert!(key.to_vec().starts_with(&[0x12, 0x20]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn key(namespace: &Namespace) -> RecordKey {
    // Code and length of SHA2-256 in the multicodec table.
    let mut multihash = vec![0x12, 0x20];
    multihash.extend_from_slice(&Sha256::digest(namespace.as_str()));
    RecordKey::from(multihash)
}
