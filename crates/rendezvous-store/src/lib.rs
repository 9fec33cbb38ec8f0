//! Where a rendezvous point keeps its registrations, so that they survive the process.
//!
//! The point itself (`rendezvous-core`) checks a change, gives it a position and holds back its answer; a [`Store`] makes it
//! durable. DISCOVER is answered from memory and never waits for a store.
//!
//! Three stores are here:
//! - [`Memory`] keeps nothing: after a restart the point is empty.
//! - [`Embedded`] keeps a database in a directory (feature `embedded`, on by default).
//! - [`KeyValueStore`] keeps everything in a key-value map of yours, given through the small trait [`KeyValue`].
//!
//! # How to drive one
//! 1. [`open`] the point: it reads the store, drops what has ended, and gives a server that goes on where it was.
//! 2. After commands, take [`Server::poll_commit`](rendezvous_core::server::Server::poll_commit)'s batch and give its changes
//!    to [`Store::commit`], away from whatever must not block: when it returns, they are durable.
//! 3. Tell the server what came of it by
//!    [`Server::handle_committed`](rendezvous_core::server::Server::handle_committed): it releases the answers.
//!
//! While a batch is being written, the server gathers the next one; so groups follow the load, and a lone change waits for
//! nobody. `rendezvous-swarm` does all this in a thread of its own.
//!
//! ```
//! use rendezvous_core::{Time, server::ServerConfig};
//! use rendezvous_store::Memory;
//!
//! let now = Time::from_unix_millis(1_700_000_000_000);
//! let (server, opened) = rendezvous_store::open(&mut Memory, now, ServerConfig::default(), [7; 16], &mut |_| {})?;
//! assert_eq!((server.stats().registrations, opened.registrations), (0, 0));
//! # Ok::<(), rendezvous_store::LoadError>(())
//! ```
//!
//! # What is promised
//! - What [`Store::commit`] has returned `Ok` for is there after a crash of the process, and with [`Embedded`] after a loss of
//!   power too.
//! - Bytes that have changed by themselves are noticed: each registration carries a checksum, and the store as a whole a count
//!   and the sum of all checksums, so that nothing is lost or comes back in silence. A damaged store is not served.
//!
//! # Features
//! `embedded` (default): [`Embedded`], on fjall.

// What the integration tests share, the tests of the modules use too.
#[cfg(test)]
extern crate self as rendezvous_store;

#[cfg(feature = "embedded")]
mod embedded;
mod engine;
mod error;
mod format;
mod key_value;
mod ledger;
mod memory;
mod store;

#[cfg(feature = "embedded")]
pub use self::embedded::{Embedded, Report, Stats};
pub use self::{
    error::{CommitError, Damage, LoadError},
    key_value::{KeyValue, KeyValueStore},
    memory::Memory,
    store::{Last, Loaded, Opened, Store, open},
};
