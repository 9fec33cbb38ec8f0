//! The rendezvous point.
