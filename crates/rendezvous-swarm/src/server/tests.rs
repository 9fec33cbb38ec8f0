//! Streams that are bytes in memory: what needs no swarm.

use std::{
    io,
    num::NonZeroU32,
    pin::Pin,
    sync::{Arc, Mutex, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite, executor::block_on};
use libp2p_core::upgrade::UpgradeInfo as _;
use libp2p_identity::Keypair;
use libp2p_swarm::{CloseConnection, ConnectionHandler as _, ConnectionId, NetworkBehaviour as _, ToSwarm};
use rendezvous_core::server::{IpPrefix, Origin};
use rendezvous_record::{Flavour, Flavours, Limits, VerifiedRecord};
use rendezvous_wire::{Dialect, Discover, Register, Request, Response, Status, frame};

use super::{budget::Slot, shared::Shared, slice::Slice, stream::Session, turns::Turns, *};
use crate::{DUAL_PROTOCOL, PROTOCOL, activity::Activity, clock::Ticks};

/// A stream whose other side has said all that it will, and takes whatever comes.
#[derive(Clone, Default)]
pub(super) struct Said {
    bytes: Arc<Mutex<io::Cursor<Vec<u8>>>>,
    pub(super) answers: Arc<Mutex<Vec<u8>>>,
    /// It takes nothing after all.
    is_deaf: bool,
}

impl AsyncRead for Said {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(io::Read::read(&mut *self.bytes.lock().expect("no panic"), buffer))
    }
}

impl AsyncWrite for Said {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_deaf {
            return Poll::Pending;
        }
        self.answers.lock().expect("no panic").extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Said {
    /// A stream that says these requests.
    pub(super) fn new(requests: &[Request<'_>]) -> Self {
        let mut bytes = Vec::new();
        requests.iter().for_each(|request| request.encode_frame(&mut bytes));
        Self { bytes: Arc::new(Mutex::new(io::Cursor::new(bytes))), ..Self::default() }
    }

    /// What was answered so far: status, and number of registrations.
    pub(super) fn heard(&self) -> Vec<(Status, usize)> {
        let answers = self.answers.lock().expect("no panic");
        let (mut rest, mut heard) = (&answers[..], Vec::new());
        while let Some((payload, len)) = frame::split(rest, usize::MAX).expect("frames") {
            heard.push(match Response::decode(payload).expect("an answer") {
                Response::Register(answer) => (answer.status.expect("a status"), 0),
                Response::Discover(answer) => (answer.status.expect("a status"), answer.registrations.iter().count()),
            });
            rest = &rest[len..];
        }
        assert!(rest.is_empty(), "there are bytes behind the answers");
        heard
    }
}

pub(super) struct Peer {
    key: Keypair,
    pub(super) shared: Arc<Shared>,
}

impl Peer {
    fn new(config: Config) -> Self {
        Self::numbered(7, Arc::new(Shared::new(config, [7; 16])))
    }

    /// A peer of its own at this point.
    pub(super) fn numbered(number: u8, shared: Arc<Shared>) -> Self {
        Self { key: Keypair::ed25519_from_bytes([number; 32]).expect("a key"), shared }
    }

    pub(super) fn session(&self) -> Session {
        self.session_of(Origin::Unlocated)
    }

    /// A connection from somewhere.
    pub(super) fn session_of(&self, origin: Origin) -> Session {
        let turns = Arc::new(Turns::new(self.shared.config.pages_per_connection_max));
        let (peer, shared, agent) = (self.key.public().to_peer_id(), self.shared.clone(), Arc::default());
        let member = shared.budgets.join(origin);
        let meter = Activity::default().opened(ConnectionId::new_unchecked(1));
        // No connection polls these streams, so that none of its slices would begin anew.
        let slice = Arc::new(Slice::of(Duration::MAX));
        Session { peer, member, meter, shared, agent, turns, slice, dialect: Dialect::Rendezvous }
    }

    pub(super) fn slot(&self) -> Slot {
        self.session().member.open().expect("a place")
    }

    /// What is answered to these requests on one stream: status, and number of registrations.
    pub(super) fn say(&self, requests: &[Request<'_>]) -> Vec<(Status, usize)> {
        let stream = Said::new(requests);
        block_on(self.session().serve(stream.clone(), self.slot()));
        stream.heard()
    }

    pub(super) fn record(&self) -> Vec<u8> {
        let addresses = ["/ip4/192.0.2.1/tcp/4001".parse().expect("an address")];
        let record = VerifiedRecord::sign(&self.key, Flavour::Standard, 1, &addresses, &Limits::default());
        record.expect("a record").envelope().to_vec()
    }
}

pub(super) const DISCOVER: Request<'_> =
    Request::Discover(Discover { namespace: Some(b"chat"), limit: None, cookie: None, reads: None });

#[test]
fn a_stream_that_has_carried_its_requests_is_closed() {
    let config = Config { requests_per_stream_max: NonZeroU32::new(2), ..Config::default() };
    let peer = Peer::new(config);
    assert_eq!(peer.say(&[DISCOVER, DISCOVER, DISCOVER]).len(), 2);
    assert_eq!(peer.shared.counters.snapshot(&peer.shared.desk).spent_streams, 1);
}

/// The budget of streams counts on it.
#[test]
fn a_stream_that_waits_for_a_request_costs_less_than_two_kibibytes() {
    let peer = Peer::new(Config::default());
    let serving = peer.session().serve(Said::new(&[]), peer.slot());
    let bytes = size_of_val(&serving);
    assert!(bytes < 2 << 10, "the future of a stream takes {bytes} bytes");
}

/// How often a stream with a hundred requests, all of them there, is polled until its end.
fn polls_of_a_hundred_requests(slice: Slice) -> usize {
    let mut bytes = Vec::new();
    [DISCOVER; 100].iter().for_each(|request| request.encode_frame(&mut bytes));
    let stream = Said { bytes: Arc::new(Mutex::new(io::Cursor::new(bytes))), ..Said::default() };
    let peer = Peer::new(Config::default());
    let session = Session { slice: Arc::new(slice), ..peer.session() };
    let mut serving = std::pin::pin!(session.serve(stream, peer.slot()));
    let mut cx = Context::from_waker(futures::task::noop_waker_ref());
    let mut polls = 1;
    while serving.as_mut().poll(&mut cx).is_pending() {
        polls += 1;
    }
    assert_eq!(peer.shared.lock().stats().discovers, 100);
    polls
}

#[test]
fn a_stream_that_never_waits_gives_way_between_its_requests() {
    assert_eq!(polls_of_a_hundred_requests(Slice::of(Duration::MAX)), 4);
}

#[test]
fn a_stream_of_a_connection_that_has_worked_for_its_slice_gives_way_before_each_request() {
    assert_eq!(polls_of_a_hundred_requests(Slice::of(Duration::ZERO)), 101);
}

#[test]
fn only_a_point_that_takes_both_flavours_says_that_it_keeps_both() {
    let protocols = |accepts| {
        let mut config = Config::default();
        config.server.accepts = accepts;
        let peer = Peer::new(config);
        let meter = Activity::default().opened(ConnectionId::new_unchecked(1));
        let handler = Handler::new(peer.key.public().to_peer_id(), Origin::Unlocated, peer.shared.clone(), meter, None);
        handler.listen_protocol().upgrade().protocol_info().collect::<Vec<_>>()
    };
    assert_eq!(protocols(Flavours::BOTH), [PROTOCOL, DUAL_PROTOCOL]);
    assert_eq!(protocols(Flavours::from(Flavour::Standard)), [PROTOCOL]);
}

/// Handlers of connections from some network, and the upgrades of streams that are in negotiation on them.
fn negotiating(
    behaviour: &mut Behaviour,
    network: u8,
    connections: usize,
    streams: usize,
) -> Vec<(ConnectionId, Handler, Vec<Upgrade>)> {
    let local = "/ip4/192.0.2.1/tcp/1".parse().expect("an address");
    let connection = |number| {
        let id = ConnectionId::new_unchecked(usize::from(network) * 1_000 + number);
        let remote = format!("/ip4/198.51.{network}.1/tcp/1").parse().expect("an address");
        let peer = Keypair::generate_ed25519().public().to_peer_id();
        let handler = behaviour.handle_established_inbound_connection(id, peer, &local, &remote).expect("a handler");
        let upgrades = (0..streams).map(|_| handler.listen_protocol().into_upgrade().0).collect();
        (id, handler, upgrades)
    };
    (0..connections).map(connection).collect()
}

fn closes(behaviour: &mut Behaviour) -> Vec<ConnectionId> {
    let mut cx = Context::from_waker(futures::task::noop_waker_ref());
    let mut closes = Vec::new();
    while let Poll::Ready(event) = behaviour.poll(&mut cx) {
        let ToSwarm::CloseConnection { connection: CloseConnection::One(id), .. } = event else { panic!("{event:?}") };
        closes.push(id);
    }
    closes
}

#[test]
fn connections_of_the_network_with_most_streams_in_negotiation_are_closed_above_the_total() {
    let config = Config { negotiating_max: 100, ..Config::default() };
    let mut behaviour = Behaviour::with_seed(config, [7; 16]);
    let _within = negotiating(&mut behaviour, 1, 4, 5);
    let attacking = negotiating(&mut behaviour, 2, 8, 10);
    assert_eq!((behaviour.shell_stats().negotiating, closes(&mut behaviour)), (100, vec![]));
    let _one_more = negotiating(&mut behaviour, 3, 1, 1);
    let closed = closes(&mut behaviour);
    // From 101 down to an eighth below the total.
    assert_eq!(closed.len(), 2);
    assert!(closed.iter().all(|id| attacking.iter().any(|(its, ..)| its == id)));
    assert_eq!(closes(&mut behaviour), [], "they are told to close once");
    assert_eq!(behaviour.shell_stats().negotiating_closed, 2);
    drop((_within, attacking, _one_more));
    assert_eq!(behaviour.shell_stats().negotiating, 0);
}

#[test]
fn each_request_and_each_end_of_a_stream_is_a_use_of_its_connection() {
    let (ticks, hand) = Ticks::manual();
    let activity = Activity::with_ticks(ticks);
    let id = ConnectionId::new_unchecked(1);
    let peer = Peer::new(Config::default());
    let mut session = peer.session();
    session.meter = activity.opened(id);
    hand.store(5, Ordering::Relaxed);
    // Its answer is not read, so that the stream stays.
    let stream = Said { is_deaf: true, ..Said::new(&[DISCOVER]) };
    let mut serving = Box::pin(session.clone().serve(stream, peer.slot()));
    let mut cx = Context::from_waker(futures::task::noop_waker_ref());
    assert_eq!(activity.last_use(id), Some((0, false)));
    assert!(serving.as_mut().poll(&mut cx).is_pending());
    assert_eq!(activity.last_use(id), Some((5, true)));
    hand.store(9, Ordering::Relaxed);
    drop(serving);
    assert_eq!(activity.last_use(id), Some((9, false)));
    // A stream that says nothing is no use.
    hand.store(11, Ordering::Relaxed);
    block_on(session.serve(Said::new(&[]), peer.slot()));
    assert_eq!(activity.last_use(id), Some((9, false)));
}

#[test]
fn who_does_not_read_holds_a_bounded_number_of_pages_and_is_cut() {
    let config = Config { pages_per_connection_max: 1, write_timeout: Duration::from_millis(50), ..Config::default() };
    let peer = Peer::new(config);
    let session = peer.session();
    let mut bytes = Vec::new();
    DISCOVER.encode_frame(&mut bytes);
    let said = || Said { bytes: Arc::new(Mutex::new(io::Cursor::new(bytes.clone()))), ..Said::default() };
    let deaf = Said { is_deaf: true, ..said() };
    let served = said();
    let mut cut = std::pin::pin!(session.clone().serve(deaf, peer.slot()));
    let mut waiting = std::pin::pin!(session.serve(served.clone(), peer.slot()));
    let mut cx = Context::from_waker(futures::task::noop_waker_ref());
    assert!(cut.as_mut().poll(&mut cx).is_pending());
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    assert_eq!(peer.shared.lock().stats().discovers, 1);

    block_on(futures::future::join(cut, waiting));
    let ShellStats { slow_readers, pages_awaited, .. } = peer.shared.counters.snapshot(&peer.shared.desk);
    assert_eq!((slow_readers, pages_awaited), (1, 1));
    assert!(!served.answers.lock().expect("no panic").is_empty());
}

#[test]
fn readers_of_many_connections_hold_a_bounded_number_of_bytes_until_they_are_cut() {
    const CONNECTIONS: usize = 50;
    let mut config = Config::default();
    config.server.page_bytes_max = 40 << 10;
    config.pages_bytes_max = 200 << 10;
    config.write_timeout = Duration::from_millis(50);
    let max = config.pages_bytes_max;
    let peer = Peer::new(config);
    let record = peer.record();
    let names: Vec<String> = (0..100).map(|number| format!("{number:0>255}")).collect();
    for name in &names {
        let namespace = Some(name.as_bytes());
        let register = Register { namespace, signed_peer_record: Some(&record), ttl_secs: None };
        assert_eq!(peer.say(&[Request::Register(register)]), [(Status::Ok, 0)]);
    }
    let discover_all = Request::Discover(Discover { namespace: None, ..Discover::default() });
    let [(Status::Ok, listed)] = peer.say(&[discover_all])[..] else { panic!("no page") };
    assert!((50..100).contains(&listed), "{listed} registrations are on a page: it is not full");

    let mut bytes = Vec::new();
    discover_all.encode_frame(&mut bytes);
    // As many deaf readers of each connection as it may have pages, and then some.
    let streams: Vec<_> = (0..CONNECTIONS)
        .flat_map(|_| std::iter::repeat_n(peer.session(), 12))
        .map(|session| {
            (session, Said { bytes: Arc::new(Mutex::new(io::Cursor::new(bytes.clone()))), ..Said::default() })
        })
        .collect();
    let mut serving = Vec::new();
    let mut cx = Context::from_waker(futures::task::noop_waker_ref());
    let held = || peer.shared.shell_stats().pages_bytes;
    for (session, stream) in &streams {
        let mut stream = Box::pin(session.clone().serve(Said { is_deaf: true, ..stream.clone() }, peer.slot()));
        assert!(stream.as_mut().poll(&mut cx).is_pending());
        serving.push(stream);
        assert!(held() <= max);
    }
    // Four pages fit below the last eighth, and of the others none was even looked up.
    let ShellStats { pages_refused, pages_bytes, .. } = peer.shared.shell_stats();
    assert!(pages_bytes > 4 * (38 << 10), "{pages_bytes} bytes are held");
    assert_eq!(peer.shared.lock().stats().discovers, 1 + 4);
    assert!(pages_refused > 0);
    assert_eq!(peer.say(&[discover_all]), [(Status::Unavailable, 0)]);
    assert_eq!(peer.shared.lock().stats().refusals, pages_refused + 1);

    // The deadline passes.
    block_on(futures::future::join_all(serving));
    assert_eq!(held(), 0);
    assert_eq!(peer.shared.shell_stats().slow_readers, streams.len() as u64);
    assert_eq!(peer.say(&[discover_all]), [(Status::Ok, listed)]);
}

#[test]
fn there_is_room_for_one_answer_whatever_is_set() {
    let mut config = Config { pages_bytes_max: 0, ..Config::default() };
    config.server.page_bytes_max = 40 << 10;
    let peer = Peer::new(config);
    let record = peer.record();
    for number in 0..100 {
        let name = format!("{number:0>255}");
        let register = Register { namespace: Some(name.as_bytes()), signed_peer_record: Some(&record), ttl_secs: None };
        assert_eq!(peer.say(&[Request::Register(register)]), [(Status::Ok, 0)]);
    }
    let discover_all = Request::Discover(Discover { namespace: None, ..Discover::default() });
    let [(Status::Ok, _)] = peer.say(&[discover_all])[..] else { panic!("no page") };
    let mut bytes = Vec::new();
    discover_all.encode_frame(&mut bytes);
    let said = || Said { bytes: Arc::new(Mutex::new(io::Cursor::new(bytes.clone()))), ..Said::default() };
    let mut deaf = Box::pin(peer.session().serve(Said { is_deaf: true, ..said() }, peer.slot()));
    assert!(deaf.as_mut().poll(&mut Context::from_waker(futures::task::noop_waker_ref())).is_pending());

    let refused = said();
    block_on(peer.session().serve(refused.clone(), peer.slot()));
    let answer = refused.answers.lock().expect("no panic");
    let (payload, _) = frame::split(&answer, usize::MAX).expect("a frame").expect("a whole one");
    let Response::Discover(answer) = Response::decode(payload).expect("an answer") else { panic!("another answer") };
    assert_eq!(answer.status, Some(Status::Unavailable));
    assert_eq!(answer.status_text, Some(&b"the rendezvous point is overloaded: try again later"[..]));
    drop(deaf);
    let [(Status::Ok, _)] = peer.say(&[discover_all])[..] else { panic!("no page") };
    let ShellStats { pages_refused, pages_bytes, .. } = peer.shared.shell_stats();
    assert_eq!((pages_refused, pages_bytes), (1, 0));
}

#[test]
fn readers_of_another_network_get_pages_when_one_network_reads_none_of_its_own() {
    let mut config = Config::default();
    config.server.page_bytes_max = 64 << 10;
    config.pages_bytes_max = 2 << 20;
    let peer = Peer::new(config);
    let record = peer.record();
    for number in 0..200 {
        let name = format!("{number:0>255}");
        let register = Register { namespace: Some(name.as_bytes()), signed_peer_record: Some(&record), ttl_secs: None };
        assert_eq!(peer.say(&[Request::Register(register)]), [(Status::Ok, 0)]);
    }
    let discover_all = Request::Discover(Discover { namespace: None, ..Discover::default() });
    let mut cx = Context::from_waker(futures::task::noop_waker_ref());
    let mut deaf = Vec::new();
    for _ in 0..40 {
        let session = peer.session_of(Origin::Prefix(IpPrefix::V4([192, 0, 2])));
        let slot = session.member.open().expect("a place");
        let mut served = Box::pin(session.serve(Said { is_deaf: true, ..Said::new(&[discover_all]) }, slot));
        assert!(served.as_mut().poll(&mut cx).is_pending());
        deaf.push(served);
    }
    assert!(peer.shared.shell_stats().pages_refused > 0, "they fill what they may");
    // As many of the others as there is room for all of their share.
    let mut others = Vec::new();
    for number in 0..20 {
        let session = peer.session_of(Origin::Prefix(IpPrefix::V4([198, 51, number])));
        let slot = session.member.open().expect("a place");
        let mut served = Box::pin(session.serve(Said { is_deaf: true, ..Said::new(&[discover_all]) }, slot));
        assert!(served.as_mut().poll(&mut cx).is_pending());
        others.push(served);
        let session = peer.session_of(Origin::Prefix(IpPrefix::V4([198, 51, number])));
        let slot = session.member.open().expect("a place");
        let stream = Said::new(&[discover_all]);
        block_on(session.serve(stream.clone(), slot));
        let [(Status::Ok, listed)] = stream.heard()[..] else { panic!("{:?}", stream.heard()) };
        assert!(listed > 50, "{listed} registrations are on a page");
        assert!(peer.shared.shell_stats().pages_bytes <= 2 << 20);
    }
    assert!(others.iter_mut().all(|served| served.as_mut().poll(&mut cx).is_pending()), "nobody else has paid");
    let evicted = deaf.iter_mut().filter_map(|served| served.as_mut().poll(&mut cx).is_ready().then_some(())).count();
    assert_eq!(evicted as u64, peer.shared.shell_stats().streams_evicted);
    assert!(evicted > 0);
}

#[test]
fn a_panic_under_the_lock_leaves_the_point_to_the_others() {
    let peer = Peer::new(Config::default());
    let shared = peer.shared.clone();
    let panicked = std::thread::spawn(move || {
        let _held = shared.lock();
        std::panic::resume_unwind(Box::new(()));
    });
    assert!(panicked.join().is_err());
    assert_eq!(peer.say(&[DISCOVER]), [(Status::Ok, 0)]);
}

#[test]
fn the_fullest_namespaces_come_first() {
    let behaviour = Behaviour::with_seed(Config::default(), [7; 16]);
    for (number, namespaces) in [(1, &["c"][..]), (2, &["a", "b", "c"]), (3, &["b", "c"]), (4, &["d"])] {
        let key = Keypair::ed25519_from_bytes([number; 32]).expect("a key");
        let peer = Peer { key, shared: behaviour.shared().clone() };
        let record = peer.record();
        for namespace in namespaces {
            let namespace = Some(namespace.as_bytes());
            let register = Register { namespace, signed_peer_record: Some(&record), ttl_secs: None };
            assert_eq!(peer.say(&[Request::Register(register)]), [(Status::Ok, 0)]);
        }
    }
    let named = |max| {
        let namespaces = behaviour.namespaces(max).into_iter();
        namespaces.map(|(namespace, count)| (namespace.as_str().to_owned(), count)).collect::<Vec<_>>()
    };
    let all = [("c", 3), ("b", 2), ("a", 1), ("d", 1)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(named(usize::MAX), all);
    assert_eq!(named(2), all[..2]);
    assert_eq!(named(0), []);
}
