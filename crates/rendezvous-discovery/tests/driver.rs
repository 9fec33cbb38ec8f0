//! The driver: what ends it, what it ends, and that it does nothing when there is nothing to do.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt, task::ArcWake};
use rendezvous_discovery::{
    Config, DiscoveryManager, Driver, Found, Namespace, Query, Report, Source, SourceName, StaticList, Stopped, Urgency,
};

use common::{found, namespace, on_tokio, peer_id, public_address, within};

/// Counts how often a task would be polled.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl ArcWake for Wakes {
    fn wake_by_ref(wakes: &Arc<Self>) {
        wakes.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A driver that a test polls by hand, as often as it is woken.
struct ByHand {
    driver: Driver,
    wakes: Arc<Wakes>,
    polls: usize,
}

impl ByHand {
    fn new(driver: Driver) -> Self {
        let wakes = Arc::new(Wakes(AtomicUsize::new(1)));
        Self { driver, wakes, polls: 0 }
    }

    /// Polls it until it is not woken any more, and gives how often that was.
    fn run(&mut self) -> usize {
        let before = self.polls;
        while self.wakes.0.swap(0, Ordering::Relaxed) > 0 {
            self.polls += 1;
            assert!(self.polls - before < 10_000, "it wakes itself without end");
            let waker = futures::task::waker(self.wakes.clone());
            if Pin::new(&mut self.driver).poll(&mut Context::from_waker(&waker)).is_ready() {
                break;
            }
        }
        self.polls - before
    }
}

fn list() -> StaticList {
    let mut list = StaticList::default();
    list.add(peer_id(), [public_address()], [namespace("chat")]);
    list
}

#[test]
fn with_nothing_to_do_it_is_not_polled() {
    let (manager, driver) = DiscoveryManager::new(Config::default());
    let mut driver = ByHand::new(driver);
    manager.add_source(list()).unwrap();
    let mut find = manager.find(namespace("chat")).unwrap();
    let _advertisement = manager.advertise(namespace("chat")).unwrap();
    assert!(driver.run() <= 8);
    assert!(find.next().now_or_never().is_some());
    // All is told; nothing is due for hours, and nobody wakes it.
    assert_eq!(driver.run(), 0);
    let before = driver.polls;
    for _ in 0..100 {
        assert!(find.next().now_or_never().is_none());
        let _ = (manager.stats(), manager.cached(&Query::everything()), manager.sources());
    }
    assert_eq!((driver.run(), driver.polls), (0, before), "reading is no work");
    // Each wish is a few polls.
    for _ in 0..100 {
        find.ask_now();
        assert!(driver.run() <= 4);
    }
}

#[tokio::test]
async fn between_requests_it_is_polled_a_bounded_number_of_times() {
    within(async {
        let (manager, driver) = DiscoveryManager::new(Config::default());
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = polls.clone();
        let mut driver = Box::pin(driver);
        on_tokio(Box::pin(futures::future::poll_fn(move |cx| {
            counted.fetch_add(1, Ordering::Relaxed);
            driver.as_mut().poll(cx)
        })));
        let brief = Arc::new(AtomicUsize::new(0));
        manager.add_source(Ticking { requests: brief.clone(), has_told: false }).unwrap();
        let mut find = manager.find(Query::everything()).unwrap();
        let peer = found(&mut find).await;
        // The peer ends after a second, in which there are ten requests.
        assert_eq!(find.next().await.unwrap().peer(), &peer);
        let (polls, requests) = (polls.load(Ordering::Relaxed), brief.load(Ordering::Relaxed));
        assert!((2..=11).contains(&requests), "{requests}");
        assert!(polls <= 4 * requests + 16, "{polls} polls for {requests} requests");
    })
    .await;
}

/// Is asked every tenth of a second, and tells of one peer, once.
struct Ticking {
    requests: Arc<AtomicUsize>,
    has_told: bool,
}

impl Source for Ticking {
    fn name(&self) -> SourceName {
        SourceName::new("ticking")
    }

    fn timing(&self) -> rendezvous_discovery::Timing {
        rendezvous_discovery::Timing { ttr: Duration::from_millis(100), ..Default::default() }
    }

    fn request(&mut self, _: Option<&Namespace>, _: Urgency) -> bool {
        self.requests.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<Option<Report>> {
        if std::mem::replace(&mut self.has_told, true) {
            return Poll::Pending;
        }
        Poll::Ready(Some(Report::Found(Found::new(peer_id(), None, Duration::from_secs(1)))))
    }
}

#[test]
fn dropping_it_ends_streams_and_handles() {
    let (manager, driver) = DiscoveryManager::new(Config::default());
    manager.add_source(Sink::default()).unwrap();
    let mut find = manager.find(namespace("chat")).unwrap();
    let mut advertisement = manager.advertise(namespace("chat")).unwrap();
    let mut refresh = Box::pin(manager.refresh(namespace("chat")));
    assert!(refresh.as_mut().now_or_never().is_none());
    let mut stop = Box::pin(manager.stop());
    drop(driver);
    assert_eq!(find.next().now_or_never(), Some(None));
    assert!(matches!(advertisement.next().now_or_never(), Some(None)));
    assert_eq!(advertisement.advertised().now_or_never(), Some(None));
    assert_eq!(refresh.as_mut().now_or_never(), Some(Err(Stopped)));
    assert_eq!(stop.as_mut().now_or_never(), Some(()), "there is nobody to wait for");
    assert_eq!(manager.stop().now_or_never(), Some(()));
    assert_eq!(manager.add_source(list()), Err(Stopped));
    assert_eq!(advertisement.withdraw().now_or_never(), Some(()));
}

#[test]
fn it_ends_at_once_when_every_handle_is_gone() {
    let (manager, driver) = DiscoveryManager::new(Config { stop_timeout: Duration::MAX, ..Config::default() });
    let mut driver = ByHand::new(driver);
    manager.add_source(list()).unwrap();
    let (find, advertisement) =
        (manager.find(namespace("chat")).unwrap(), manager.advertise(namespace("chat")).unwrap());
    let other = manager.clone();
    driver.run();
    drop((manager, other, find));
    driver.run();
    assert!(!is_over(&mut driver), "an advertisement is a handle too");
    drop(advertisement);
    assert!(is_over(&mut driver));
}

fn is_over(driver: &mut ByHand) -> bool {
    let waker = futures::task::waker(driver.wakes.clone());
    Pin::new(&mut driver.driver).poll(&mut Context::from_waker(&waker)).is_ready()
}

#[tokio::test]
async fn stopping_twice_and_at_once_is_stopping() {
    within(async {
        let (manager, driver) = DiscoveryManager::new(Config::default());
        manager.add_source(list()).unwrap();
        let mut find = manager.find(namespace("chat")).unwrap();
        let stopping = futures::future::join(manager.stop(), manager.stop());
        let ((), ((), ())) = futures::join!(driver, stopping);
        manager.stop().await;
        assert_eq!(find.next().await, None);
        assert_eq!(manager.add_source(list()), Err(Stopped));
    })
    .await;
}

/// Takes everything and never says what has become of it; counts what it was told.
#[derive(Clone, Default)]
struct Sink(Arc<AtomicUsize>);

impl Sink {
    /// Waits until it was told so often.
    async fn told(&self, times: usize) {
        while self.0.load(Ordering::Relaxed) < times {
            tokio::task::yield_now().await;
        }
    }
}

impl Source for Sink {
    fn name(&self) -> SourceName {
        SourceName::new("sink")
    }

    fn advertise(&mut self, _: &Namespace, _: Duration) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn request(&mut self, _: Option<&Namespace>, _: Urgency) -> bool {
        true
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<Option<Report>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn a_source_that_never_says_that_it_has_withdrawn_is_waited_for_in_bounds() {
    within(async {
        let (manager, driver) =
            DiscoveryManager::new(Config { stop_timeout: Duration::from_millis(200), ..Config::default() });
        on_tokio(Box::pin(driver));
        let sink = Sink::default();
        manager.add_source(sink.clone()).unwrap();
        let [first, second] = ["chat", "news"].map(|name| manager.advertise(namespace(name)).unwrap());
        sink.told(2).await;
        let begun = Instant::now();
        first.withdraw().await;
        manager.stop().await;
        drop(second);
        assert!((Duration::from_millis(200)..Duration::from_secs(5)).contains(&begun.elapsed()));
    })
    .await;
}

#[tokio::test]
async fn a_name_that_is_wanted_again_is_not_waited_for_to_be_withdrawn() {
    within(async {
        let (manager, driver) = DiscoveryManager::new(Config { stop_timeout: Duration::MAX, ..Config::default() });
        on_tokio(Box::pin(driver));
        let sink = Sink::default();
        manager.add_source(sink.clone()).unwrap();
        let chat = namespace("chat");
        let advertisement = manager.advertise(chat.clone()).unwrap();
        sink.told(1).await;
        let mut withdrawing = Box::pin(advertisement.withdraw());
        assert!(futures::poll!(withdrawing.as_mut()).is_pending());
        let _again = manager.advertise(chat).unwrap();
        withdrawing.await;
    })
    .await;
}

#[test]
fn settings_of_any_length_are_no_overflow() {
    let config = Config {
        cache_max_age: Duration::MAX,
        refresh_timeout: Duration::MAX,
        stop_timeout: Duration::MAX,
        ..Config::default()
    };
    let (manager, driver) = DiscoveryManager::new(config);
    let mut driver = ByHand::new(driver);
    manager.add_source(Patient).unwrap();
    let find = manager.find(Query::everything()).unwrap();
    let advertisement = manager.advertise(namespace("chat")).unwrap();
    driver.run();
    assert!(manager.refresh(Query::everything()).now_or_never().is_none());
    driver.run();
    drop(find);
    driver.run();
    assert_eq!(manager.cached(&Query::everything()).len(), 1);
    assert!(advertisement.withdraw().now_or_never().is_none());
    driver.run();
    assert!(manager.stop().now_or_never().is_none());
    driver.run();
}

/// Is asked once in longer than any clock can express.
struct Patient;

impl Source for Patient {
    fn name(&self) -> SourceName {
        SourceName::new("patient")
    }

    fn timing(&self) -> rendezvous_discovery::Timing {
        rendezvous_discovery::Timing { ttr: Duration::MAX, tta: Duration::MAX, ttl: Duration::MAX }
    }

    fn advertise(&mut self, _: &Namespace, _: Duration) -> bool {
        true
    }

    fn request(&mut self, _: Option<&Namespace>, _: Urgency) -> bool {
        true
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<Option<Report>> {
        // The same peer each time: it is renewed for ever.
        use std::sync::OnceLock;
        static PEER: OnceLock<libp2p_identity::PeerId> = OnceLock::new();
        static TOLD: AtomicUsize = AtomicUsize::new(0);
        if TOLD.fetch_add(1, Ordering::Relaxed) > 0 {
            return Poll::Pending;
        }
        Poll::Ready(Some(Report::Found(Found::new(*PEER.get_or_init(peer_id), None, Duration::MAX))))
    }
}
