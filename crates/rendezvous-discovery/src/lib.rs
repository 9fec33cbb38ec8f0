//! Placeholder docs.

mod address;
mod advertisement;
mod attribute;
pub mod bridge;
mod cache;
mod config;
pub mod connector;
mod driver;
mod error;
mod event;
mod find;
#[cfg(feature = "kad")]
pub mod kad;
mod manager;
#[cfg(feature = "mdns")]
pub mod mdns;
mod peer;
mod query;
pub mod rendezvous;
mod shared;
mod source;
mod state;
mod static_list;
mod stats;

#[doc(no_inline)]
pub use rendezvous_wire::Namespace;

pub use self::{
    address::AddressKind,
    advertisement::Advertisement,
    attribute::{Attribute, Attributes, Value},
    config::{ADDRESS_BYTES_MAX, ADDRESSES_MAX, Config, INTERVAL_MIN, TTL_MAX},
    driver::Driver,
    error::Stopped,
    event::{AdvertisementEvent, FindEvent},
    find::Find,
    manager::DiscoveryManager,
    peer::Peer,
    query::{Predicate, Query},
    source::{Failure, FailureKind, Found, Report, Source, SourceId, SourceName, TTA, TTL, TTR, Timing, Urgency},
    static_list::StaticList,
    stats::Stats,
};
