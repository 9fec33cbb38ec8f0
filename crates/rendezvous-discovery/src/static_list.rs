//! Peers that are known beforehand, as a source: [`StaticList`].

use core::{
    task::{Context, Poll},
    time::Duration,
};
use std::time::Instant;

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use rendezvous_wire::Namespace;

use crate::{
    bridge::Outbox,
    config::TTL_MAX,
    source::{Found, Report, Source, SourceName, Timing, Urgency},
};

/// A list of peers, each under the names it is given. It advertises nothing.
///
/// ```
/// use libp2p_identity::Keypair;
/// use rendezvous_discovery::{DiscoveryManager, Namespace, StaticList};
///
/// let peer = Keypair::generate_ed25519().public().to_peer_id();
/// let mut list = StaticList::default();
/// list.add(peer, ["/ip4/192.0.2.1/tcp/4001".parse()?], [Namespace::new("chat")?]);
///
/// let (manager, driver) = DiscoveryManager::new(Default::default());
/// manager.add_source(list)?;
/// # drop(driver);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct StaticList {
    peers: Vec<Listed>,
    reports: Outbox,
}

#[derive(Debug)]
struct Listed {
    peer: PeerId,
    addresses: Vec<Multiaddr>,
    namespaces: Vec<Namespace>,
}

impl StaticList {
    /// What the source is called.
    pub const NAME: SourceName = SourceName::new("static");

    /// Adds a peer. Without names it is found by queries that mention none.
    pub fn add(
        &mut self,
        peer: PeerId,
        addresses: impl IntoIterator<Item = Multiaddr>,
        namespaces: impl IntoIterator<Item = Namespace>,
    ) {
        let (addresses, namespaces) = (addresses.into_iter().collect(), namespaces.into_iter().collect());
        self.peers.push(Listed { peer, addresses, namespaces });
    }
}

impl Source for StaticList {
    fn name(&self) -> SourceName {
        Self::NAME
    }

    fn timing(&self) -> Timing {
        // What is told holds for as long as can be: it is told again before that ends.
        Timing { ttr: TTL_MAX / 2, ..Timing::default() }
    }

    fn request(&mut self, namespace: Option<&Namespace>, _: Urgency) -> bool {
        for Listed { peer, addresses, namespaces } in &self.peers {
            let names = namespaces.iter().filter(|name| namespace.is_none_or(|wanted| wanted == *name)).cloned();
            let nameless = (namespaces.is_empty() && namespace.is_none()).then_some(None);
            for name in names.map(Some).chain(nameless) {
                let found = Found::new(*peer, name, Duration::MAX).with_addresses(addresses.iter().cloned());
                self.reports.push(Report::Found(found));
            }
        }
        self.reports.push(Report::Requested { namespace: namespace.cloned() });
        true
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<Option<Report>> {
        self.reports.pop(Instant::now()).map_or(Poll::Pending, |report| Poll::Ready(Some(report)))
    }
}
