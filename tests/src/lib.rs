//! Shared helpers of the tests: nodes on loopback, and frames that are written and read byte by byte.
//!
//! It is for tests: what a test never expects is a panic.

pub mod node;
pub mod ours;
pub mod program;
pub mod py;
pub mod raw;
pub mod theirs;

use std::time::Duration;

pub use node::{Fact, Node, Role};

/// Runs a test that awaits events of the network, and fails it where one does not come.
///
/// # Panics
/// After a minute.
pub async fn in_time<F: Future>(test: F) -> F::Output {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, test).await.expect("what the test waits for happens within a minute")
}

/// The README's Rust compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
