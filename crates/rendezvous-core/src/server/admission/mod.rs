//! What a peer is allowed, before the registry is asked: access by namespace, and how often.
//!
//! Quotas on what is registered are the registry's and [`Server`](super::Server)'s to count.

mod limiter;
mod notices;
mod origin;
mod policy;
mod prefix;

pub use self::{
    limiter::{LIMITER_ENTRIES_MAX, Rate},
    notices::{NOTICES_PER_MINUTE_MAX, NoticeLimiter},
    origin::{ExemptNetworks, IpNetwork, IpNetworkError, Origin},
    policy::{Access, Pattern, Policy},
    prefix::IpPrefix,
};
pub(super) use limiter::Limiter;
pub(super) use policy::Policies;
