//! Queries over what a rendezvous point lists: what they ask for, share, cache and give back.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::collections::BTreeSet;

use futures::StreamExt;
use libp2p_identity::PeerId;
use rendezvous_discovery::{AddressKind, FindEvent, Query, rendezvous};
use rendezvous_swarm::client::LookupConfig;

use common::{
    expired, found,
    member::{Member, brisk},
    namespace, on_tokio,
    point::{Point, everybody},
    waiting, within,
};

#[tokio::test]
async fn queries_of_one_name_share_one_lookup_and_the_last_ends_it() {
    within(async {
        let point = Point::new().await;
        let [seeker, hider] = [Member::of(&[point.place()]).await, Member::of(&[point.place()]).await];
        let chat = namespace("chat");
        let _advertisement = hider.manager.advertise(chat.clone()).unwrap();
        let query = || Query::namespace(chat.clone());
        let mut first = seeker.manager.find(query()).unwrap();
        let mut second = seeker.manager.find(query() & Query::peer(hider.id())).unwrap();
        assert_eq!([found(&mut first).await.id(), found(&mut second).await.id()], [hider.id(); 2]);
        let lookups = || seeker.node.with(|swarm| swarm.behaviour().inner().stats().lookup_points);
        assert_eq!(lookups().await, 1);
        // Who comes later is told what is known already.
        let mut third = seeker.manager.find(query()).unwrap();
        assert_eq!(waiting(&mut third).len(), 1);
        drop((first, second));
        seeker.manager.refresh(query()).await.unwrap();
        assert_eq!(lookups().await, 1);
        drop(third);
        while lookups().await != 0 {
            tokio::task::yield_now().await;
        }
        // It is known for a while.
        assert_eq!(seeker.manager.cached(&query()).len(), 1);
        assert_eq!(seeker.manager.stats().finds, 0);
    })
    .await;
}

#[tokio::test]
async fn a_refresh_asks_now_and_a_cleared_cache_is_filled_anew() {
    within(async {
        let point = Point::new().await;
        let [seeker, hider] = [Member::of(&[point.place()]).await, Member::of(&[point.place()]).await];
        let chat = namespace("chat");
        let query = Query::namespace(chat.clone());
        assert_eq!(seeker.manager.cached(&query), []);
        assert_eq!(seeker.manager.refresh(query.clone()).await.unwrap(), []);
        let mut advertisement = hider.manager.advertise(chat.clone()).unwrap();
        advertisement.advertised().await.unwrap();
        let peers = seeker.manager.refresh(query.clone()).await.unwrap();
        assert_eq!(peers.iter().map(|peer| peer.id()).collect::<Vec<_>>(), [hider.id()]);
        assert_eq!(seeker.manager.cached(&query), peers);
        let mut find = seeker.manager.find(query.clone()).unwrap();
        let peer = found(&mut find).await;
        seeker.manager.clear_cache();
        assert_eq!(seeker.manager.cached(&query), []);
        assert_eq!(expired(&mut find).await, peer);
        assert_eq!(found(&mut find).await, peer);
        assert_eq!(seeker.manager.cached(&query), peers);
    })
    .await;
}

#[tokio::test]
async fn refreshes_at_once_have_the_same_answer() {
    within(async {
        let point = Point::new().await;
        let [seeker, hider] = [Member::of(&[point.place()]).await, Member::of(&[point.place()]).await];
        let chat = namespace("chat");
        let mut advertisement = hider.manager.advertise(chat.clone()).unwrap();
        advertisement.advertised().await.unwrap();
        let refresh = || seeker.manager.refresh(chat.clone());
        let (first, second, third) = futures::join!(refresh(), refresh(), refresh());
        for peers in [first, second, third] {
            assert_eq!(peers.unwrap()[0].id(), hider.id());
        }
        assert_eq!(seeker.manager.refresh(namespace("nobody")).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_query_without_a_name_finds_all_there_are_under_each_of_their_names() {
    within(async {
        let mut point = Point::new().await;
        let [seeker, one, two] = [
            Member::of(&[point.place()]).await,
            Member::of(&[point.place()]).await,
            Member::of(&[point.place()]).await,
        ];
        let [foo, bar] = ["foo", "bar"].map(namespace);
        let _handles = [one.manager.advertise(foo.clone()).unwrap(), two.manager.advertise(bar.clone()).unwrap()];
        let both = one.manager.advertise(bar.clone()).unwrap();
        for (peer, name) in [(one.id(), &foo), (two.id(), &bar)] {
            if !point.lists(peer, name).await {
                point.registered(peer, name).await;
            }
        }
        let mut find = seeker.manager.find(Query::everything()).unwrap();
        everybody(&mut find, &[one.id(), two.id()]).await;
        while seeker.manager.stats().listings < 3 {
            tokio::task::yield_now().await;
        }
        let names: BTreeSet<_> = seeker.manager.cached(&Query::peer(one.id()))[0]
            .namespaces()
            .map(|name| name.as_str().to_owned())
            .collect();
        assert_eq!(names, BTreeSet::from(["bar".to_owned(), "foo".to_owned()]));
        // A name fewer is nothing that is told, as long as the peer is there.
        drop(both);
        while seeker.manager.stats().listings > 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(waiting(&mut find), []);
        // A query for one name beside it has a lookup of its own, and both are given back.
        let mut named = seeker.manager.find(foo.clone()).unwrap();
        assert_eq!(found(&mut named).await.id(), one.id());
        let lookups = || seeker.node.with(|swarm| swarm.behaviour().inner().stats().lookup_points);
        while lookups().await != 2 {
            tokio::task::yield_now().await;
        }
        drop(find);
        while lookups().await != 1 {
            tokio::task::yield_now().await;
        }
        // What the lookup for everybody has found, the other one keeps.
        assert_eq!(seeker.manager.refresh(foo).await.unwrap().len(), 1);
        assert_eq!(waiting(&mut named), []);
        drop(named);
        while lookups().await != 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_one_lookup_has_no_room_for_stays_while_another_has_it() {
    within(async {
        let [mut point, empty] = [Point::new().await, Point::new().await];
        let hider = Member::of(&[point.place()]).await;
        // The room of a lookup is shared between its points: a second one takes half of it.
        let lookup = LookupConfig { peers_max: 4, ..LookupConfig::default() };
        let config = rendezvous::Config { timing: brisk(), lookup };
        let seeker = Member::configured(on_tokio, config, &[point.place()]).await;
        let names = ["chat", "foo", "bar"].map(namespace);
        let mut handles = Vec::new();
        for name in &names {
            handles.push(hider.manager.advertise(name.clone()).unwrap());
            point.registered(hider.id(), name).await;
        }
        let finds = names.each_ref().map(|name| seeker.manager.find(name.clone()).unwrap());
        seeker.manager.refresh(names[0].clone()).await.unwrap();
        let mut all = seeker.manager.find(Query::everything()).unwrap();
        assert_eq!(seeker.manager.refresh(Query::everything()).await.unwrap().len(), 1);
        assert_eq!(seeker.manager.stats().listings, 3);
        waiting(&mut all);
        seeker.add_point(empty.node.id, empty.node.address.clone()).await;
        seeker.manager.refresh(Query::everything()).await.unwrap();
        let client = seeker.node.with(|swarm| swarm.behaviour().inner().stats()).await;
        assert_eq!((client.lookup_points, client.found), (8, 5), "the lookup for all has lost one of three");
        assert_eq!(seeker.manager.stats().listings, 3);
        for mut find in finds {
            assert_eq!(waiting(&mut find).len(), 1);
        }
    })
    .await;
}

#[tokio::test]
async fn queries_combine_what_is_known_of_peers() {
    within(async {
        let point = Point::new().await;
        let places = [point.place()];
        let seeker = Member::of(&places).await;
        let [foo, bar] = ["foo", "bar"].map(namespace);
        let [one, two] = [Member::of(&places).await, Member::of(&places).await];
        let mut handles = Vec::new();
        for (member, name) in [(&one, &foo), (&two, &foo), (&two, &bar)] {
            let mut advertisement = member.manager.advertise(name.clone()).unwrap();
            advertisement.advertised().await.unwrap();
            handles.push(advertisement);
        }
        let [in_foo, in_bar] = [&foo, &bar].map(|name| Query::namespace(name.clone()));
        let both = BTreeSet::from([one.id(), two.id()]);
        let cases: [(Query, BTreeSet<PeerId>); 9] = [
            (in_foo.clone(), both.clone()),
            (in_foo.clone() & in_bar.clone(), [two.id()].into()),
            (in_foo.clone() | in_bar.clone(), both.clone()),
            (in_foo.clone() & !in_bar, [one.id()].into()),
            (in_foo.clone() & Query::at(one.address.clone()), [one.id()].into()),
            (in_foo.clone() & Query::address(AddressKind::Tcp) & Query::source(rendezvous::NAME), both),
            (in_foo.clone() & Query::address(AddressKind::Quic), [].into()),
            (
                in_foo.clone() & Query::satisfying(|bag| bag.all::<rendezvous_discovery::Namespace>().count() == 2),
                [two.id()].into(),
            ),
            (in_foo & Query::equal("of a type that nobody tells"), [].into()),
        ];
        for (query, expected) in cases {
            let peers = seeker.manager.refresh(query.clone()).await.unwrap();
            assert_eq!(peers.iter().map(|peer| peer.id()).collect::<BTreeSet<_>>(), expected, "{query:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_nobody_reads_is_told_how_it_stands_when_somebody_does() {
    within(async {
        let mut point = Point::new().await;
        let seeker = Member::of(&[point.place()]).await;
        let hider = Member::of(&[point.place()]).await;
        let chat = namespace("chat");
        let mut find = seeker.manager.find(Query::everything()).unwrap();
        // Of one peer, hundreds of names come and go …
        for round in 0..20 {
            let names: Vec<_> = (0..10).map(|number| namespace(&format!("{round}-{number}"))).collect();
            let handles: Vec<_> = names.iter().map(|name| hider.manager.advertise(name.clone()).unwrap()).collect();
            for advertisement in handles {
                advertisement.withdraw().await;
            }
        }
        // … and one stays.
        let _advertisement = hider.manager.advertise(chat.clone()).unwrap();
        if !point.lists(hider.id(), &chat).await {
            point.registered(hider.id(), &chat).await;
        }
        seeker.manager.refresh(Query::everything()).await.unwrap();
        while seeker.manager.stats().listings > 1 {
            tokio::task::yield_now().await;
        }
        let mut told = waiting(&mut find);
        let last = told.pop();
        assert!(matches!(last, Some(FindEvent::Found(peer)) if peer.id() == hider.id()), "{told:?}");
        assert!(told.is_empty(), "{told:?}");
        seeker.manager.stop().await;
        assert!(find.next().await.is_none());
    })
    .await;
}
