//! Placeholder docs.

mod address;
mod advertisement;
mod attribute;
pub mod bridge;
mod cache;
mod config;
pub mod connector;
mod driver;
mod find;
#[cfg(feature = "kad")]
pub mod kad;
mod manager;
#[cfg(feature = "mdns")]
pub mod mdns;
mod peer;
mod query;
pub mod rendezvous;
mod source;
mod state;
mod static_list;

#[doc(no_inline)]
pub use rendezvous_wire::Namespace;

pub use self::{
    address::AddressKind,
    advertisement::{Advertisement, AdvertisementEvent},
    attribute::{Attribute, Attributes, Value},
    config::{ADDRESS_BYTES_MAX, ADDRESSES_MAX, Config, INTERVAL_MIN, TTL_MAX},
    driver::Driver,
    find::{Find, FindEvent},
    manager::{DiscoveryManager, Stats, Stopped},
    peer::Peer,
    query::{Predicate, Query},
    source::{Failure, FailureKind, Found, Report, Source, SourceName, TTA, TTL, TTR, Timing, Urgency},
    state::SourceId,
    static_list::StaticList,
};
