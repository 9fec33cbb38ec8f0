//! `kill -9` of the real `serve` under load: what was acknowledged is there after the restart, what was withdrawn is not, and
//! a cookie goes on where it was.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{AsyncWriteExt as _, future::join_all};
use libp2p::{Multiaddr, PeerId, Stream, core::PeerRecord};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rendezvous_tests::{
    program::{Running, build},
    raw::{self, Peer, Push, kind},
};
use tokio::sync::Notify;

/// Peers that register at once.
const PEERS: usize = 6;

/// Streams of each, so that the point has requests to group.
const STREAMS: usize = 4;

/// Acknowledgements after which the point is killed, at most and at least.
const ACKNOWLEDGED: std::ops::Range<u64> = 20..400;

/// Registrations on a page of the walk.
const PAGE: u64 = 50;

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 4 << 20;

#[tokio::test]
async fn ten_kills_lose_nothing_that_was_acknowledged() {
    kill_again_and_again(10).await;
}

/// The long form: `cargo test --release -p rendezvous-tests --test crash -- --ignored`.
#[tokio::test]
#[ignore = "it takes minutes"]
async fn two_hundred_kills_lose_nothing_that_was_acknowledged() {
    kill_again_and_again(200).await;
}

/// A registration: whose, and where.
type Registration = (PeerId, String);

/// What the point has acknowledged, over all its lives.
#[derive(Debug, Default)]
struct Ledger {
    registered: BTreeSet<Registration>,
    withdrawn: BTreeSet<Registration>,
}

async fn kill_again_and_again(rounds: u64) {
    let binary = build();
    let place = place(rounds);
    let mut rng = ChaCha8Rng::seed_from_u64(rounds);
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let mut walk = Walk::default();
    let mut acknowledged = 0;
    for round in 0..rounds {
        let (point, address) = serve(&binary, &place);
        let walker = raw::connected(&address).await;
        walk.go_on(&walker, raw::point_of(&address), &ledger).await;
        acknowledged += load_until_killed(point, &address, round, rng.random_range(ACKNOWLEDGED), &ledger).await;
    }
    let (point, address) = serve(&binary, &place);
    let walker = raw::connected(&address).await;
    walk.go_on(&walker, raw::point_of(&address), &ledger).await;
    let mut anew = Walk::default();
    anew.go_on(&walker, raw::point_of(&address), &ledger).await;
    assert!(point.stop().success());
    let ledger = ledger.lock().expect("no panic");
    println!(
        "{rounds} kills, {acknowledged} acknowledgements, {} registrations, {} withdrawals",
        ledger.registered.len(),
        ledger.withdrawn.len()
    );
    assert!(!ledger.withdrawn.is_empty() && ledger.registered.len() as u64 > rounds);
}

fn serve(binary: &Path, place: &Path) -> (Running, Multiaddr) {
    let (data, key) = (place.join("data"), place.join("key"));
    let text = |path: &'static str, value: &Path| [path.to_owned(), value.to_str().expect("UTF-8").to_owned()];
    let mut args = vec!["serve".to_owned(), "--listen".to_owned(), "/ip4/127.0.0.1/tcp/0".to_owned()];
    args.extend(text("--data-dir", &data));
    args.extend(text("--key", &key));
    args.push("--registrations-per-peer-max=1000000".to_owned());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let point = Running::start(binary, &args);
    let address = point.line_with("listening: ").parse().expect("an address");
    (point, address)
}

/// Has peers register until so many registrations are acknowledged, and then kills the point while they go on. Returns how many
/// acknowledgements came.
async fn load_until_killed(
    point: Running,
    address: &Multiaddr,
    round: u64,
    kill_after: u64,
    ledger: &Arc<Mutex<Ledger>>,
) -> u64 {
    let (count, enough) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let mut peers = Vec::new();
    for _ in 0..PEERS {
        peers.push(raw::connected(address).await);
    }
    let mut streams = Vec::new();
    for peer in &peers {
        for number in 0..STREAMS {
            let load = Load {
                stream: peer.open(raw::point_of(address)).await,
                peer: peer.peer,
                envelope: raw::standard_envelope(peer),
                namespace: format!("round-{round}-stream-{number}"),
                ledger: ledger.clone(),
            };
            let (count, enough) = (count.clone(), enough.clone());
            streams.push(tokio::spawn(load.run(move || {
                if count.fetch_add(1, Ordering::Relaxed) + 1 == kill_after {
                    enough.notify_one();
                }
            })));
        }
    }
    enough.notified().await;
    tokio::task::spawn_blocking(|| point.kill()).await.expect("it is killed");
    for stream in join_all(streams).await {
        stream.expect("a stream ends without a panic");
    }
    count.load(Ordering::Relaxed)
}

/// One stream that registers in namespaces of its own, one after the other, and withdraws some.
struct Load {
    stream: Stream,
    peer: PeerId,
    envelope: Vec<u8>,
    namespace: String,
    ledger: Arc<Mutex<Ledger>>,
}

impl Load {
    /// Until the point is gone.
    async fn run(mut self, acknowledged: impl Fn()) {
        for number in 0_u64.. {
            let namespace = format!("{}-{number}", self.namespace);
            let register = Push::new().bytes(1, namespace.as_bytes()).bytes(2, &self.envelope).number(3, 7_200);
            let Some(answer) = self.ask(Push::new().number(1, kind::REGISTER).message(2, &register)).await else {
                return;
            };
            let answer = raw::fields(&answer);
            let body = raw::fields(raw::bytes(&answer, 3).expect("an answer to REGISTER"));
            assert_eq!(raw::number(&body, 1), Some(0), "it is granted");
            let registration = (self.peer, namespace.clone());
            if number % 5 != 4 {
                self.ledger.lock().expect("no panic").registered.insert(registration);
                acknowledged();
                continue;
            }
            // What follows on the same stream is answered when the withdrawal is durable.
            let unregister = Push::new().bytes(1, namespace.as_bytes());
            let mut frames = Push::new().number(1, kind::UNREGISTER).message(4, &unregister).frame();
            let discover = Push::new().bytes(1, namespace.as_bytes()).number(2, 1);
            frames.extend(Push::new().number(1, kind::DISCOVER).message(5, &discover).frame());
            if self.say(&frames).await.is_none() {
                return;
            }
            self.ledger.lock().expect("no panic").withdrawn.insert(registration);
            acknowledged();
        }
    }

    async fn ask(&mut self, request: Push) -> Option<Vec<u8>> {
        self.say(&request.frame()).await
    }

    /// Writes frames of which the last has an answer; `None` if the point is gone.
    async fn say(&mut self, frames: &[u8]) -> Option<Vec<u8>> {
        self.stream.write_all(frames).await.ok()?;
        self.stream.flush().await.ok()?;
        raw::read_frame(&mut self.stream, ANSWER_BYTES_MAX).await.ok()
    }
}

/// A walk over all registrations by cookies, which lives longer than the points.
#[derive(Default)]
struct Walk {
    cookie: Option<Vec<u8>>,
    seen: BTreeMap<Registration, u64>,
}

impl Walk {
    /// Follows the cookie to the end, and checks what was seen from the beginning of the walk on.
    async fn go_on(&mut self, walker: &Peer, point: PeerId, ledger: &Mutex<Ledger>) {
        let mut stream = walker.open(point).await;
        loop {
            let mut discover = Push::new().number(2, PAGE);
            if let Some(cookie) = &self.cookie {
                discover = discover.bytes(3, cookie);
            }
            let frame = Push::new().number(1, kind::DISCOVER).message(5, &discover).frame();
            stream.write_all(&frame).await.expect("it is written");
            stream.flush().await.expect("it is written");
            let answer = raw::read_frame(&mut stream, ANSWER_BYTES_MAX).await.expect("an answer");
            let answer = raw::fields(&answer);
            let body = raw::fields(raw::bytes(&answer, 6).expect("an answer to DISCOVER"));
            assert_eq!(raw::number(&body, 3), Some(0));
            let mut on_page = 0;
            for registration in body.iter().filter_map(|(field, value)| match value {
                raw::Value::Bytes(bytes) if *field == 1 => Some(raw::fields(bytes)),
                _ => None,
            }) {
                let namespace = raw::bytes(&registration, 1).expect("a namespace").to_vec();
                let envelope = raw::bytes(&registration, 2).expect("a record");
                let envelope = libp2p::core::SignedEnvelope::from_protobuf_encoding(envelope).expect("an envelope");
                let record = PeerRecord::from_signed_envelope_interop(envelope).expect("it verifies");
                let registration = (record.peer_id(), String::from_utf8(namespace).expect("it is ours"));
                *self.seen.entry(registration).or_default() += 1;
                on_page += 1;
            }
            self.cookie = Some(raw::bytes(&body, 2).expect("a cookie").to_vec());
            if on_page == 0 {
                break;
            }
        }
        let ledger = ledger.lock().expect("no panic");
        for registration in &ledger.registered {
            assert!(self.seen.contains_key(registration), "{registration:?} was acknowledged and is lost, or skipped");
        }
        // Nothing is registered twice, so that nothing has a reason to be listed twice.
        for (registration, times) in &self.seen {
            assert_eq!(*times, 1, "{registration:?} is listed again");
            assert!(!ledger.withdrawn.contains(registration), "{registration:?} was withdrawn and is back");
        }
    }
}

/// An empty directory.
fn place(rounds: u64) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("crash-{rounds}"));
    if place.exists() {
        fs::remove_dir_all(&place).expect("the target directory can be written");
    }
    fs::create_dir_all(&place).expect("the target directory can be written");
    place
}
