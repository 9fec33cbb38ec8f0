//! Who is found, as a stream: [`Find`].

use core::{
    pin::Pin,
    task::{Context, Poll},
};
use std::{sync::Arc, time::Instant};

use futures::{Stream, StreamExt as _};

use crate::{event::FindEvent, peer::Peer, shared::Shared, state::FindId};

/// A query: the peers that match, as they come, change and go. Dropping it ends the work for it.
///
/// Nothing piles up for a reader who is slow, and nothing is lost: what is told next is how it stands then. A peer
/// that changed twice meanwhile is told once, one that came and went is not told, and a peer that is gone is told before
/// another is found. The same record and addresses of a peer are told once, however many sources tell them.
///
/// The stream ends when the manager does.
#[derive(Debug)]
pub struct Find {
    shared: Arc<Shared>,
    id: FindId,
}

impl Find {
    pub(crate) fn new(shared: Arc<Shared>, id: FindId) -> Self {
        Self { shared, id }
    }

    /// Waits for the next peer that is found, passing over what changes and what ends. `None` if the manager has ended.
    ///
    /// ```
    /// use libp2p_identity::Keypair;
    /// use rendezvous_discovery::{DiscoveryManager, Namespace, StaticList};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (peer, chat) = (Keypair::generate_ed25519().public().to_peer_id(), Namespace::new("chat")?);
    /// let (manager, driver) = DiscoveryManager::new(Default::default());
    /// tokio::spawn(driver);
    /// let mut list = StaticList::default();
    /// list.add(peer, ["/ip4/192.0.2.1/tcp/4001".parse()?], [chat.clone()]);
    /// manager.add_source(list)?;
    ///
    /// let mut found = manager.find(chat)?;
    /// assert_eq!(found.next_found().await.map(|peer| peer.id()), Some(peer));
    /// manager.stop().await;
    /// assert_eq!(found.next_found().await, None);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next_found(&mut self) -> Option<Peer> {
        loop {
            if let FindEvent::Found(peer) = self.next().await? {
                return Some(peer);
            }
        }
    }

    /// Asks all sources for it now.
    pub fn ask_now(&self) {
        self.shared.with(|state| state.hasten_find(Instant::now(), self.id));
        self.shared.wake_driver();
    }

    /// Ends it; dropping does the same.
    pub fn stop(self) {}
}

impl Stream for Find {
    type Item = FindEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FindEvent>> {
        self.shared.with(|state| state.poll_find(Instant::now(), self.id, cx))
    }
}

impl Drop for Find {
    fn drop(&mut self) {
        self.shared.with(|state| state.end_find(Instant::now(), self.id));
        self.shared.wake_driver();
    }
}
