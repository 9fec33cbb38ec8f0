//! A client, a clock that is moved by hand, and a shell that does what the test says.

use std::time::Duration;

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use rendezvous_core::{
    Time,
    client::{Answer, Client, ClientConfig, Discovered, Event, Failure, Outbound, PageCost, RequestKind, Skipped},
};
use rendezvous_record::{Limits, VerifiedRecord};
use rendezvous_sim::fixtures;
use rendezvous_wire::{Cookie, Discover, Namespace, Register, Request, Status, Ttl, Unregister, frame};

/// Number of the client's key.
pub(crate) const OWN: u64 = 1;

pub(crate) struct Rig {
    pub(crate) client: Client,
    pub(crate) now: Time,
}

impl Rig {
    /// A client with addresses.
    pub(crate) fn new() -> Self {
        Self::with(ClientConfig::default())
    }

    pub(crate) fn with(config: ClientConfig) -> Self {
        let mut rig = Self::without_addresses(config, 7);
        rig.client.set_addresses(rig.now, fixtures::addresses(OWN));
        rig
    }

    pub(crate) fn without_addresses(config: ClientConfig, seed: u8) -> Self {
        Self { client: Client::new(config, fixtures::keypair(OWN), [seed; 32]), now: fixtures::EPOCH }
    }

    /// Lets time pass and tells the client.
    pub(crate) fn pass(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.client.handle_timeout(self.now);
    }

    /// Goes to the client's next deadline; `false` if it has none.
    pub(crate) fn pass_to_deadline(&mut self) -> bool {
        let Some(at) = self.client.poll_timeout() else { return false };
        assert!(at > self.now, "a deadline at {at} is not after {}", self.now);
        self.now = at;
        self.client.handle_timeout(at);
        true
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.client.poll_event()).collect()
    }

    /// The one event that waits.
    pub(crate) fn event(&mut self) -> Event {
        let mut events = self.events();
        assert_eq!(events.len(), 1, "one event, not {events:?}");
        events.remove(0)
    }

    pub(crate) fn requests(&mut self) -> Vec<Outbound> {
        std::iter::from_fn(|| self.client.poll_request(self.now)).collect()
    }

    /// The one request that is to be sent.
    pub(crate) fn request(&mut self) -> Outbound {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "one request, not {requests:?}");
        requests.remove(0)
    }

    /// The one request, which is of this kind.
    pub(crate) fn request_of(&mut self, kind: RequestKind) -> Outbound {
        let request = self.request();
        assert_eq!(request.kind, kind);
        request
    }

    pub(crate) fn answer(&mut self, request: &Outbound, answer: Answer) {
        self.client.handle_answer(self.now, request.id, answer);
    }

    pub(crate) fn grant(&mut self, request: &Outbound, ttl_secs: u64) {
        self.answer(request, Answer::Registered { ttl: Ttl::from_secs(ttl_secs) });
    }

    pub(crate) fn refuse(&mut self, request: &Outbound, status: Status) {
        self.answer(request, Answer::Refused { status, text: "no".to_owned() });
    }

    pub(crate) fn fail(&mut self, request: &Outbound, failure: Failure) {
        self.client.handle_failure(self.now, request.id, failure);
    }

    /// A registration of `chat` at one point, granted for so many seconds.
    pub(crate) fn registered(&mut self, ttl_secs: u64) -> rendezvous_core::client::RegistrationId {
        let ttl = Some(Ttl::from_secs(ttl_secs));
        let id = self.client.register(self.now, chat(), [point(0)], ttl);
        let request = self.request_of(RequestKind::Register);
        self.grant(&request, ttl_secs);
        assert!(matches!(self.event(), Event::Registered { .. }));
        id
    }
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) fn chat() -> Namespace {
    namespace("chat")
}

pub(crate) fn namespace(name: &str) -> Namespace {
    Namespace::new(name).expect("a short name")
}

/// The peer id of point number `number`.
pub(crate) fn point(number: u64) -> PeerId {
    fixtures::keypair(1_000_000 + number).public().to_peer_id()
}

pub(crate) fn peer(number: u64) -> PeerId {
    fixtures::keypair(number).public().to_peer_id()
}

/// A peer id that no key is made for.
pub(crate) fn fake_peer(number: u64) -> PeerId {
    let mut bytes = [0; 34];
    bytes[..2].copy_from_slice(&[0x12, 0x20]);
    bytes[2..10].copy_from_slice(&number.to_be_bytes());
    PeerId::from_bytes(&bytes).expect("a SHA-256 multihash")
}

pub(crate) fn refused(status: Status) -> Failure {
    Failure::Refused { status, text: "no".to_owned() }
}

/// A registration of peer number `number` as a page lists it.
pub(crate) fn found(namespace: &Namespace, number: u64, ttl_secs: u64) -> Discovered {
    let record = fixtures::record(number, rendezvous_record::Flavour::Standard);
    Discovered { namespace: namespace.clone(), record, ttl: Ttl::from_secs(ttl_secs) }
}

pub(crate) fn cookie(bytes: &[u8]) -> Option<Cookie> {
    Cookie::from_wire(Some(bytes)).expect("a short cookie")
}

pub(crate) fn page(registrations: Vec<Discovered>, cookie: Option<Cookie>) -> Answer {
    Answer::Page {
        registrations,
        unverified: Vec::new(),
        cookie,
        skipped: Skipped::default(),
        cost: PageCost::default(),
    }
}

/// What is in a REGISTER: the namespace, the record, the lifetime asked for.
pub(crate) fn register_of(request: &Outbound) -> (Namespace, VerifiedRecord, u64) {
    let Request::Register(Register { namespace, signed_peer_record, ttl_secs }) = decode(request) else {
        panic!("{} is no REGISTER", request.kind)
    };
    let name = Namespace::parse(namespace.expect("ns is always written")).expect("a namespace");
    let envelope = signed_peer_record.expect("the record is always written").to_vec();
    let record = VerifiedRecord::verify(envelope.into(), &Limits::default()).expect("a record that verifies");
    (self::namespace(name), record, ttl_secs.expect("the ttl is always written"))
}

pub(crate) fn addresses_of(request: &Outbound) -> Vec<Multiaddr> {
    register_of(request).1.addresses().collect()
}

pub(crate) fn discover_of(request: &Outbound) -> Discover<'_> {
    let Request::Discover(discover) = decode(request) else { panic!("{} is no DISCOVER", request.kind) };
    discover
}

pub(crate) fn unregister_of(request: &Outbound) -> Unregister<'_> {
    let Request::Unregister(unregister) = decode(request) else { panic!("{} is no UNREGISTER", request.kind) };
    unregister
}

fn decode(request: &Outbound) -> Request<'_> {
    let (payload, frame_len) = frame::split(&request.frame, usize::MAX).expect("a frame").expect("a whole frame");
    assert_eq!(frame_len, request.frame.len(), "one frame and nothing behind it");
    Request::decode(payload).expect("a request")
}
