//! What a peer is allowed, before the registry is asked: access by namespace, and how often.
//!
//! Quotas on what is registered are the registry's and [`Server`](super::Server)'s to count.

mod limiter;
mod notices;
mod origin;
mod policy;
mod prefix;
mod share;
mod work;

pub use self::{
    limiter::{LIMITER_ENTRIES_MAX, Rate},
    notices::{NOTICES_PER_MINUTE_MAX, NoticeLimiter},
    origin::{ExemptNetworks, IpNetwork, IpNetworkError, Origin},
    policy::{Access, Pattern, Policy},
    prefix::IpPrefix,
    share::{PREFIX_SHARE_DIVISOR, PREFIX_SHARE_MIN, SHARES_PER_32, SHARES_PER_48},
    work::{WORK_MAX_PER_SEC, WORK_PER_PEER, WORK_PER_PREFIX, WorkRate},
};
pub(super) use limiter::Limiter;
pub(super) use policy::Policies;
pub(super) use share::{Block, Room};
pub(super) use work::{WorkLimit, WorkLimiter};
