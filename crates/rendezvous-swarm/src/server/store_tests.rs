//! A point with a store: what is answered when, and what the store can do to it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use futures::{executor::block_on, future::join_all};
use rendezvous_core::{
    Time,
    server::{Change, Kept},
};
use rendezvous_store::{CommitError, Damage, KeyValue, KeyValueStore, Last, LoadError, Loaded, Store};
use rendezvous_wire::{Register, Request, Status, Unregister};

use super::{
    shared::Shared,
    stream::yield_now,
    tests::{DISCOVER, Peer, Said},
    writer::Writer,
    *,
};

/// A store that is told what comes of each commit, and says how many changes each had.
struct Told {
    entered: Sender<usize>,
    verdicts: Receiver<Verdict>,
}

enum Verdict {
    Done,
    Failed,
    Recovers,
    Panics,
}

impl Store for Told {
    fn last(&mut self) -> Result<Option<Last>, LoadError> {
        Ok(None)
    }

    fn load(&mut self, _: Time, _: &mut dyn FnMut(Kept) -> Result<(), Damage>) -> Result<Loaded, LoadError> {
        Ok(Loaded::default())
    }

    fn commit(&mut self, _: Time, changes: &[Change]) -> Result<(), CommitError> {
        self.entered.send(changes.len()).expect("the test lives");
        match self.verdicts.recv() {
            Ok(Verdict::Done) => Ok(()),
            Ok(Verdict::Failed) | Err(_) => Err(CommitError::NoSpace),
            Ok(Verdict::Recovers) => Err(CommitError::Recovering),
            Ok(Verdict::Panics) => panic!("as it was told"),
        }
    }
}

/// A point whose store does as the test says.
struct Point {
    shared: Arc<Shared>,
    entered: Receiver<usize>,
    verdicts: Option<Sender<Verdict>>,
    writer: Option<Writer>,
}

impl Point {
    fn new(config: Config) -> Self {
        let ((entered_sender, entered), (verdicts, verdicts_receiver)) = (channel(), channel());
        let mut store = Told { entered: entered_sender, verdicts: verdicts_receiver };
        let (shared, _) = Shared::open(config, [7; 16], &mut store, &mut |_| {}).expect("it opens");
        let shared = Arc::new(shared);
        let writer = Writer::start(shared.clone(), Box::new(store)).expect("it starts");
        Self { shared, entered, verdicts: Some(verdicts), writer: Some(writer) }
    }

    fn verdict(&self, verdict: Verdict) {
        self.verdicts.as_ref().expect("it is open").send(verdict).expect("the store lives");
    }

    /// Lets the next commit come to this, whenever it comes.
    fn register(&self, number: u8, verdict: Verdict) -> Vec<(Status, usize)> {
        self.verdict(verdict);
        let peer = Peer::numbered(number, self.shared.clone());
        let heard = peer.say(&[register(&peer.record())]);
        self.entered.recv().expect("the store was asked");
        heard
    }

    fn listed(&self) -> Vec<(Status, usize)> {
        Peer::numbered(99, self.shared.clone()).say(&[DISCOVER])
    }
}

impl Drop for Point {
    fn drop(&mut self) {
        // The store must not wait for a verdict while its thread is waited for.
        self.verdicts = None;
        self.writer = None;
    }
}

fn register(record: &[u8]) -> Request<'_> {
    Request::Register(Register { namespace: Some(b"chat"), signed_peer_record: Some(record), ttl_secs: None })
}

const OK: (Status, usize) = (Status::Ok, 0);
const FAILED: (Status, usize) = (Status::InternalError, 0);

#[test]
fn an_answer_never_leaves_before_its_change_is_durable() {
    let point = Point::new(Config::default());
    let peer = Peer::numbered(1, point.shared.clone());
    let stream = Said::new(&[register(&peer.record()), DISCOVER]);
    let (session, served, slot) = (peer.session(), stream.clone(), peer.slot());
    let serving = thread::spawn(move || block_on(session.serve(served, slot)));
    assert_eq!(point.entered.recv(), Ok(1));
    // The store has it and has not returned: nothing is answered, and nobody finds it, yet others are served.
    assert_eq!(stream.heard(), []);
    assert_eq!(point.listed(), [(Status::Ok, 0)]);
    point.verdict(Verdict::Done);
    serving.join().expect("it has ended");
    assert_eq!(stream.heard(), [OK, (Status::Ok, 1)]);
}

#[test]
fn what_comes_while_the_store_writes_is_written_together() {
    const PEERS: u8 = 40;
    let point = Point::new(Config::default());
    let peers: Vec<_> = (0..PEERS).map(|number| Peer::numbered(number + 1, point.shared.clone())).collect();
    let streams: Vec<_> = peers.iter().map(|peer| Said::new(&[register(&peer.record())])).collect();
    let serving = peers.iter().zip(&streams).map(|(peer, stream)| peer.session().serve(stream.clone(), peer.slot()));
    let all = join_all(serving);
    block_on(futures::future::join(all, async {
        // By now all have been asked for; the store holds the first group.
        yield_now().await;
        point.verdict(Verdict::Done);
        point.verdict(Verdict::Done);
    }));
    assert!(streams.iter().all(|stream| stream.heard() == [OK]));
    let stats = point.shared.counters.snapshot(&point.shared.desk);
    assert!(stats.commits <= 2, "{} commits", stats.commits);
    assert_eq!(stats.changes, u64::from(PEERS));
}

#[test]
fn a_store_that_fails_refuses_registrations_alone_and_is_used_again() {
    let point = Point::new(Config::default());
    assert_eq!(point.register(1, Verdict::Done), [OK]);
    assert_eq!(point.register(2, Verdict::Failed), [FAILED]);
    assert_eq!(point.shared.desk.failure().as_deref(), Some("no space is left on the store's disk"));
    assert_eq!(point.listed(), [(Status::Ok, 1)]);
    assert_eq!(point.register(2, Verdict::Recovers), [FAILED]);
    assert_eq!(point.shared.desk.failure().as_deref(), Some("no space is left on the store's disk"));
    assert_eq!(point.register(2, Verdict::Panics), [FAILED]);
    assert_eq!(point.shared.desk.failure().as_deref(), Some("the store has panicked"));
    assert_eq!(point.register(2, Verdict::Done), [OK]);
    assert_eq!((point.shared.desk.failure(), point.listed()), (None, vec![(Status::Ok, 2)]));
    let stats = point.shared.counters.snapshot(&point.shared.desk);
    assert_eq!((stats.commits, stats.commits_failed), (5, 3));
}

#[test]
fn a_store_that_does_not_return_keeps_nobody_waiting_for_ever() {
    let config = Config { commit_timeout: Duration::from_millis(50), ..Config::default() };
    let point = Point::new(config);
    let peer = Peer::numbered(1, point.shared.clone());
    let unregister = Request::Unregister(Unregister { namespace: Some(b"chat"), ..Unregister::default() });
    let heard = peer.say(&[register(&peer.record()), unregister, DISCOVER]);
    assert_eq!(heard, [FAILED, (Status::Ok, 0)]);
    assert_eq!(point.shared.counters.snapshot(&point.shared.desk).slow_commits, 2);
}

#[test]
fn a_point_that_is_gone_leaves_its_streams_with_an_answer() {
    let mut point = Point::new(Config::default());
    (point.verdicts, point.writer) = (None, None);
    let peer = Peer::numbered(1, point.shared.clone());
    assert_eq!(peer.say(&[register(&peer.record()), DISCOVER]), [FAILED, (Status::Ok, 0)]);
}

/// A map that outlives the stores on it.
#[derive(Clone, Default)]
struct Map(Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>);

impl KeyValue for Map {
    type Error = Infallible;

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Infallible> {
        self.0.lock().expect("no panic").insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Infallible> {
        self.0.lock().expect("no panic").remove(key);
        Ok(())
    }

    fn iterate(&mut self, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Infallible> {
        let map = self.0.lock().expect("no panic");
        map.iter().filter(|(key, _)| key.starts_with(prefix)).for_each(|(key, value)| each(key, value));
        Ok(())
    }
}

#[test]
fn a_point_goes_on_with_what_its_store_has_kept() {
    let map = Map::default();
    for life in 0..3_u8 {
        let store = KeyValueStore::open(map.clone()).expect("it opens");
        let (point, opened) = Behaviour::open(Config::default(), Box::new(store), &mut |_| {}).expect("it opens");
        assert_eq!(opened.registrations, u64::from(life));
        let peer = Peer::numbered(life + 1, point.shared().clone());
        let there = usize::from(life);
        let heard = peer.say(&[DISCOVER, register(&peer.record()), DISCOVER]);
        assert_eq!(heard, [(Status::Ok, there), OK, (Status::Ok, there + 1)]);
    }
}

#[test]
fn a_point_on_the_memory_store_has_no_thread_and_answers_at_once() {
    let memory = Box::new(rendezvous_store::Memory);
    let (point, _) = Behaviour::open(Config::default(), memory, &mut |_| {}).expect("it opens");
    let peer = Peer::numbered(1, point.shared().clone());
    assert_eq!(peer.say(&[register(&peer.record()), DISCOVER]), [OK, (Status::Ok, 1)]);
    assert_eq!(point.shell_stats().commits, 0);
}
