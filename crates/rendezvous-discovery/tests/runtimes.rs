//! The same round of being advertised, found, withdrawn and stopped on tokio and on async-std.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use futures::StreamExt;

use common::{
    Spawn, expired, found,
    member::{Member, brisk},
    namespace, on_async_std, on_tokio,
    point::Point,
    within,
};

#[test]
fn a_round_on_tokio() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    // No driver of the runtime's own is switched on, neither for IO nor for time.
    runtime.block_on(within(round(on_tokio)));
}

#[test]
fn a_round_on_async_std() {
    async_std::task::block_on(within(round(on_async_std)));
}

async fn round(spawn: Spawn) {
    let mut point = Point::on(spawn).await;
    let [seeker, hider] =
        [Member::with(spawn, brisk(), &[point.place()]).await, Member::with(spawn, brisk(), &[point.place()]).await];
    let chat = namespace("chat");
    let mut advertisement = hider.manager.advertise(chat.clone()).unwrap();
    advertisement.advertised().await.unwrap();
    let mut find = seeker.manager.find(chat.clone()).unwrap();
    assert_eq!(found(&mut find).await.id(), hider.id());
    assert_eq!(seeker.manager.refresh(chat.clone()).await.unwrap().len(), 1);
    advertisement.withdraw().await;
    point.unregistered(hider.id(), &chat).await;
    assert_eq!(expired(&mut find).await.id(), hider.id());
    seeker.manager.stop().await;
    hider.manager.stop().await;
    assert!(find.next().await.is_none());
}
