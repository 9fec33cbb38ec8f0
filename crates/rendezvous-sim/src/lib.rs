//! A world in virtual time for `rendezvous-core`: fixtures, and a seeded network between a point and its clients.

pub mod desk;
pub mod fixtures;
pub mod points;
pub mod simulation;
mod world;

pub use world::{Network, World};
