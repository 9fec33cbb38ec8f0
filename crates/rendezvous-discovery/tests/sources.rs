//! Sources of the user's own, well-behaved and not, and the static list.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use futures::{StreamExt, task::AtomicWaker};
use libp2p_identity::PeerId;
use rendezvous_discovery::{
    Advertisement, Attributes, Config, DiscoveryManager, Find, Found, Namespace, Query, Report, Source, SourceName,
    StaticList, Stopped, Timing, Urgency,
};

use common::{expired, found, namespace, nowhere, on_tokio, peer_id, public_address, waiting, within};

const MINUTE: Duration = Duration::from_secs(60);

fn manager() -> DiscoveryManager {
    managed(Config::default())
}

fn managed(config: Config) -> DiscoveryManager {
    let (manager, driver) = DiscoveryManager::new(config);
    on_tokio(Box::pin(driver));
    manager
}

/// What a test has a source say, and has it end.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Scripted>>);

#[derive(Default)]
struct Scripted {
    reports: VecDeque<Report>,
    has_ended: bool,
    waker: Option<Waker>,
    requests: usize,
}

impl Script {
    fn say(&self, report: Report) {
        self.change(|it| it.reports.push_back(report));
    }

    fn end(&self) {
        self.change(|it| it.has_ended = true);
    }

    fn requests(&self) -> usize {
        self.0.lock().unwrap().requests
    }

    fn change(&self, change: impl FnOnce(&mut Scripted)) {
        let mut scripted = self.0.lock().unwrap();
        change(&mut scripted);
        let waker = scripted.waker.take();
        drop(scripted);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Source for Script {
    fn name(&self) -> SourceName {
        SourceName::new("script")
    }

    fn request(&mut self, _: Option<&Namespace>, _: Urgency) -> bool {
        self.0.lock().unwrap().requests += 1;
        true
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Report>> {
        let mut scripted = self.0.lock().unwrap();
        match scripted.reports.pop_front() {
            Some(report) => Poll::Ready(Some(report)),
            None if scripted.has_ended => Poll::Ready(None),
            None => {
                scripted.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

fn told(peer: PeerId) -> Report {
    Report::Found(Found::new(peer, None, MINUTE).with_addresses([public_address()]))
}

#[tokio::test]
async fn a_source_of_ones_own_tells_what_only_it_knows_and_queries_ask_for_it() {
    #[derive(Debug, PartialEq)]
    struct Load(u8);

    within(async {
        let (manager, script) = (manager(), Script::default());
        manager.add_source(script.clone()).unwrap();
        let mut idle = manager.find(Query::equal(Load(0))).unwrap();
        let peer = peer_id();
        let with_load = |load| {
            Report::Found(Found::new(peer, None, MINUTE).with_attributes(Attributes::default().with(Load(load))))
        };
        script.say(with_load(0));
        assert_eq!(found(&mut idle).await.attributes().get::<Load>(), Some(&Load(0)));
        script.say(with_load(9));
        assert_eq!(expired(&mut idle).await.id(), peer);
        script.say(with_load(0));
        found(&mut idle).await;
        script.say(Report::Gone { peer, namespace: None });
        expired(&mut idle).await;
    })
    .await;
}

#[tokio::test]
async fn a_source_that_never_answers_holds_up_no_other_and_no_refresh_for_ever() {
    within(async {
        let manager = managed(Config { refresh_timeout: Duration::from_millis(300), ..Config::default() });
        manager.add_source(Script::default()).unwrap();
        let mut list = StaticList::default();
        let (peer, chat) = (peer_id(), namespace("chat"));
        list.add(peer, [public_address()], [chat.clone()]);
        manager.add_source(list).unwrap();
        let mut find = manager.find(chat.clone()).unwrap();
        assert_eq!(found(&mut find).await.id(), peer);
        assert_eq!(manager.refresh(chat).await.unwrap().len(), 1);
        manager.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_refresh_that_the_stop_overtakes_is_no_empty_answer() {
    within(async {
        let (manager, script) =
            (managed(Config { refresh_timeout: Duration::MAX, ..Config::default() }), Script::default());
        manager.add_source(script.clone()).unwrap();
        script.say(told(peer_id()));
        let mut find = manager.find(Query::everything()).unwrap();
        found(&mut find).await;
        let (refreshed, ()) = futures::join!(manager.refresh(Query::everything()), manager.stop());
        assert_eq!(refreshed, Err(Stopped));
    })
    .await;
}

#[tokio::test]
async fn a_source_that_ends_takes_its_word_along_and_ends_nothing_else() {
    within(async {
        let (manager, script) = (manager(), Script::default());
        let id = manager.add_source(script.clone()).unwrap();
        let peer = peer_id();
        script.say(told(peer));
        let mut find = manager.find(Query::everything()).unwrap();
        found(&mut find).await;
        script.end();
        assert_eq!(expired(&mut find).await.id(), peer);
        assert!(manager.sources().is_empty() && !manager.remove_source(id));
        // Another may take its place.
        let script = Script::default();
        script.say(told(peer));
        manager.add_source(script).unwrap();
        assert_eq!(found(&mut find).await.id(), peer);
    })
    .await;
}

#[tokio::test]
async fn what_a_source_has_told_ends_in_its_time_without_its_saying() {
    within(async {
        let (manager, script) = (manager(), Script::default());
        manager.add_source(script.clone()).unwrap();
        let mut find = manager.find(Query::everything()).unwrap();
        let [brief, long] = [peer_id(), peer_id()];
        script.say(Report::Found(Found::new(long, None, Duration::MAX)));
        script.say(Report::Found(Found::new(brief, None, Duration::from_millis(200))));
        assert_eq!([found(&mut find).await.id(), found(&mut find).await.id()], [long, brief]);
        assert_eq!(expired(&mut find).await.id(), brief);
        assert_eq!(manager.cached(&Query::everything()).len(), 1);
    })
    .await;
}

/// Calls the manager in everything that it is asked, and when it is dropped.
struct Meddler {
    manager: DiscoveryManager,
    held: Option<(Find, Advertisement)>,
    calls: Arc<AtomicUsize>,
    is_done: Arc<AtomicWaker>,
}

impl Meddler {
    fn meddle(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.is_done.wake();
        let _ = (self.manager.sources(), self.manager.stats(), self.manager.cached(&Query::everything()));
        if let Ok(id) = self.manager.add_source(StaticList::default()) {
            assert!(self.manager.remove_source(id));
        }
        drop((self.manager.find(namespace("meddled")), self.manager.advertise(namespace("meddled"))));
    }
}

impl Source for Meddler {
    fn name(&self) -> SourceName {
        self.meddle();
        SourceName::new("meddler")
    }

    fn timing(&self) -> Timing {
        self.meddle();
        Timing::default()
    }

    fn advertise(&mut self, _: &Namespace, _: Duration) -> bool {
        self.meddle();
        false
    }

    fn request(&mut self, _: Option<&Namespace>, _: Urgency) -> bool {
        self.meddle();
        // This asks for another request, without end.
        self.manager.clear_cache();
        true
    }

    fn release(&mut self, _: Option<&Namespace>) {
        self.meddle();
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<Option<Report>> {
        Poll::Pending
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.held = None;
        self.meddle();
    }
}

#[tokio::test]
async fn a_source_may_call_the_manager_in_whatever_it_is_asked_and_when_it_is_dropped() {
    within(async {
        let (manager, driver) = DiscoveryManager::new(Config::default());
        let (calls, is_done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicWaker::new()));
        let meddler = || Meddler {
            manager: manager.clone(),
            held: Some((manager.find(namespace("held")).unwrap(), manager.advertise(namespace("held")).unwrap())),
            calls: calls.clone(),
            is_done: is_done.clone(),
        };
        // Removed before the driver has it, and left to a driver that is dropped before it runs.
        let id = manager.add_source(meddler()).unwrap();
        assert!(manager.remove_source(id));
        manager.add_source(meddler()).unwrap();
        drop(driver);
        assert_eq!(manager.sources().len(), 1, "they stay listed, of a manager that has ended");

        let (manager, driver) = DiscoveryManager::new(Config::default());
        on_tokio(Box::pin(driver));
        let held = Some((manager.find(namespace("held")).unwrap(), manager.advertise(namespace("held")).unwrap()));
        let meddler = Meddler { manager: manager.clone(), held, calls: calls.clone(), is_done: is_done.clone() };
        manager.add_source(meddler).unwrap();
        let _find = manager.find(namespace("chat")).unwrap();
        // The driver lets others have their turn, however often it is asked for more.
        let before = calls.load(Ordering::Relaxed);
        futures::future::poll_fn(|cx| {
            is_done.register(cx.waker());
            if calls.load(Ordering::Relaxed) > before + 1_000 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        manager.stop().await;
        assert_eq!(manager.add_source(StaticList::default()), Err(Stopped));
    })
    .await;
}

#[tokio::test]
async fn a_predicate_may_hold_a_handle_of_its_own_manager() {
    within(async {
        let (manager, script) = (manager(), Script::default());
        manager.add_source(script.clone()).unwrap();
        let held = manager.find(Query::everything()).unwrap();
        let query = Query::satisfying(move |_| {
            let _ = &held;
            true
        });
        let find = manager.find(query).unwrap();
        drop(find);
        assert_eq!(manager.stats().finds, 0);
        let held = manager.advertise(namespace("chat")).unwrap();
        let find = manager.find(Query::satisfying(move |_| !held.namespace().as_str().is_empty())).unwrap();
        manager.stop().await;
        drop(find);
    })
    .await;
}

#[tokio::test]
async fn a_predicate_that_panics_ends_whoever_asks_and_nobody_else() {
    within(async {
        let (manager, script) = (manager(), Script::default());
        manager.add_source(script.clone()).unwrap();
        let mut find = manager.find(Query::everything()).unwrap();
        script.say(told(peer_id()));
        found(&mut find).await;
        let query = Query::satisfying(|_| panic!("as a predicate of the user's may"));
        let cached = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| manager.cached(&query)));
        assert!(cached.is_err());
        script.say(told(peer_id()));
        found(&mut find).await;
        assert_eq!(manager.stats().peers, 2);
    })
    .await;
}

/// Tells of another peer each time that it is asked for a report.
struct Flood(u64);

impl Source for Flood {
    fn name(&self) -> SourceName {
        SourceName::new("flood")
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<Option<Report>> {
        self.0 += 1;
        let digest: Vec<u8> = self.0.to_be_bytes().into_iter().cycle().take(32).collect();
        let peer = PeerId::from_bytes(&[&[0x12, 0x20], digest.as_slice()].concat()).unwrap();
        Poll::Ready(Some(Report::Found(Found::new(peer, None, MINUTE))))
    }
}

#[tokio::test]
async fn a_source_that_floods_is_bounded_and_counted_and_others_have_their_turn_and_room() {
    within(async {
        let manager = managed(Config { listings_per_source_max: 100, ..Config::default() });
        let flood = manager.add_source(Flood(0)).unwrap();
        let script = Script::default();
        manager.add_source(script.clone()).unwrap();
        let mut find = manager.find(Query::source(SourceName::new("script"))).unwrap();
        for _ in 0..10 {
            let peer = peer_id();
            script.say(told(peer));
            assert_eq!(found(&mut find).await.id(), peer);
        }
        while manager.stats().refused < 1_000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(manager.stats().listings, 110);
        assert!(manager.remove_source(flood));
        assert_eq!(manager.stats().listings, 10);
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_nobody_reads_holds_no_more_than_the_cache() {
    within(async {
        let (manager, script) = (manager(), Script::default());
        manager.add_source(script.clone()).unwrap();
        let mut find = manager.find(Query::everything()).unwrap();
        let known: Vec<PeerId> = (0..5).map(|_| peer_id()).collect();
        known.iter().for_each(|peer| script.say(told(*peer)));
        for _ in &known {
            found(&mut find).await;
        }
        for _ in 0..500 {
            let passing = peer_id();
            script.say(told(passing));
            script.say(Report::Gone { peer: passing, namespace: None });
        }
        known.iter().for_each(|peer| script.say(Report::Gone { peer: *peer, namespace: None }));
        let last = peer_id();
        script.say(told(last));
        while manager.cached(&Query::peer(last)).is_empty() {
            tokio::task::yield_now().await;
        }
        let events = waiting(&mut find);
        let ids: Vec<PeerId> = events.iter().map(|event| event.peer().id()).collect();
        assert_eq!(ids, [&known[..], &[last]].concat());
    })
    .await;
}

#[tokio::test]
async fn a_thousand_queries_and_twenty_thousand_peers_are_no_quadratic_matter() {
    within(async {
        let (manager, script) = (manager(), Script::default());
        manager.add_source(script.clone()).unwrap();
        let mut find = manager.find(Query::everything()).unwrap();
        let others: Vec<Find> = (0..100).map(|_| manager.find(Query::equal(7_u8)).unwrap()).collect();
        let mut flood = Flood(0);
        let mut cx = Context::from_waker(futures::task::noop_waker_ref());
        let begun = Instant::now();
        for _ in 0..20_000 {
            if let Poll::Ready(Some(report)) = flood.poll(&mut cx) {
                script.say(report);
            }
        }
        for _ in 0..20_000 {
            found(&mut find).await;
        }
        manager.clear_cache();
        for _ in 0..20_000 {
            expired(&mut find).await;
        }
        drop(others);
        // A debug build takes some 2 s on a slow machine; what is quadratic takes minutes.
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    })
    .await;
}

#[tokio::test]
async fn the_static_list_tells_each_peer_under_its_names_and_again_when_asked() {
    within(async {
        let manager = manager();
        let [named, nameless] = [peer_id(), peer_id()];
        let [foo, bar] = ["foo", "bar"].map(namespace);
        let mut list = StaticList::default();
        list.add(named, [public_address()], [foo.clone(), bar.clone()]);
        list.add(nameless, [nowhere()], []);
        manager.add_source(list).unwrap();
        let mut find = manager.find(foo.clone()).unwrap();
        assert_eq!(found(&mut find).await.id(), named);
        let all = manager.refresh(Query::everything()).await.unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(manager.refresh(namespace("nobody's")).await.unwrap(), []);
        manager.clear_cache();
        expired(&mut find).await;
        found(&mut find).await;
        let mut advertisement = manager.advertise(foo).unwrap();
        assert!(futures::FutureExt::now_or_never(advertisement.next()).is_none(), "a list advertises nothing");
    })
    .await;
}

#[tokio::test]
async fn a_request_is_made_once_for_all_queries_and_again_when_it_is_wanted_now() {
    within(async {
        let (manager, script) = (manager(), Script::default());
        manager.add_source(script.clone()).unwrap();
        let finds: Vec<Find> = (0..10).map(|_| manager.find(namespace("chat")).unwrap()).collect();
        while script.requests() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(script.requests(), 1);
        finds[3].ask_now();
        while script.requests() == 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(script.requests(), 2);
    })
    .await;
}
