//! What the tests of stores share: a point with a store behind it, and places where stores are kept.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test uses a part of this, and panics where it fails"
)]

pub mod maps;
pub mod places;
pub mod point;
pub mod scenario;
