//! Workloads of the benches, and load for whole rendezvous points.

pub mod load;
pub mod point;
pub mod process;
pub mod spawned;

use bytes::Bytes;
use libp2p_identity::PeerId;
use rendezvous_core::{
    Time,
    server::{Discovered, Origin, Registered, RequestReader, Requester, Server, ServerConfig, WakuCommand},
};
use rendezvous_record::{Flavour, VerifiedRecord};
use rendezvous_sim::fixtures;
use rendezvous_wire::{Page, Ttl, waku};

/// Namespace that the workloads use.
pub const NAMESPACE: &str = "/bench/chat/1";

/// A point with so many registrations, one for each peer, and what it takes to talk to it.
pub struct Filled {
    /// The point.
    pub server: Server,
    /// Reader with its bounds.
    pub reader: RequestReader,
    /// The last instant used.
    pub now: Time,
    /// Registrations in it.
    pub count: u64,
}

/// A point with `count` registrations whose deadlines are spread over a day.
#[must_use]
pub fn filled(count: u64) -> Filled {
    let mut config = ServerConfig::default();
    config.registrations_max = usize::MAX;
    let server = Server::new(fixtures::EPOCH, config, [7; 16]);
    let mut filled = Filled { reader: server.reader(), server, now: fixtures::EPOCH, count };
    for number in 0..count {
        let record = fixtures::record(number, Flavour::Standard);
        filled.register(NAMESPACE, record, ttl_of(number));
    }
    filled
}

/// A TTL between 2 and 26 hours that differs from peer to peer.
#[must_use]
pub fn ttl_of(number: u64) -> Ttl {
    Ttl::from_secs(7_200 + number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 86_400)
}

impl Filled {
    /// Registers a record, from nowhere.
    pub fn register(&mut self, namespace: &str, record: VerifiedRecord, ttl: Ttl) {
        self.register_from(Origin::Unlocated, namespace, record, ttl);
    }

    /// Registers a record, from somewhere.
    pub fn register_from(&mut self, origin: Origin, namespace: &str, record: VerifiedRecord, ttl: Ttl) {
        let peer = record.peer_id();
        let register = self.reader.register_verified(&peer, namespace, record, Some(ttl));
        let register = register.expect("the record is within the point's bounds");
        let requester = Requester { origin, ..Requester::new(peer) };
        let registered = self.server.handle_register(self.now, &requester, register);
        assert_eq!(registered, Ok(Registered::Done(ttl)));
    }

    /// A page of the namespace after a cookie's position.
    #[must_use]
    pub fn discover(&mut self, limit: u64, cookie: Option<&[u8]>) -> Page {
        let discover = rendezvous_wire::Discover {
            namespace: Some(NAMESPACE.as_bytes()),
            limit: Some(limit),
            cookie,
            reads: Some(3),
        };
        let requester = Requester::new(requester());
        let discover = self.reader.discover_decoded(&requester.peer, &discover).expect("a valid request");
        match self.server.handle_discover(self.now, &requester, &discover) {
            Ok(Discovered::Page(page)) => page,
            other => panic!("a page, not {other:?}"),
        }
    }
}

impl Filled {
    /// A random choice of the namespace, as the Waku dialect asks for it.
    #[must_use]
    pub fn sample(&mut self, limit: u64) -> Page {
        let discover = waku::Discover { namespace: Some(NAMESPACE.as_bytes()), limit: Some(limit) };
        let payload = Bytes::from(waku::Request::Discover(discover).to_message().encode());
        let requester = Requester::new(requester());
        match self.server.waku_reader().read(&requester.peer, &payload) {
            Ok(WakuCommand::Sample(sample)) => self.server.handle_sample(self.now, &requester, &sample),
            other => panic!("a DISCOVER, not {other:?}"),
        }
    }
}

fn requester() -> PeerId {
    PeerId::from_bytes(&[0, 1, 1]).expect("an identity multihash of one byte")
}
