//! Hostile clients against a running rendezvous point, with an honest probe beside them.
//!
//! The point is the operator's binary, `rendezvous serve`, at its default settings. It runs on one core. The attacker and
//! the probe run on another, in processes of their own. A run has three phases: calm, attack, recovery. The probe's
//! requests are timed in each of them, and the point's process is watched: CPU time, resident memory, descriptors.
//!
//! Counts and bounds are asserted: see [`report::Row::violations`]. Times are printed and never asserted, because they
//! say as much about the machine as about the point.
//!
//! ```text
//! rendezvous-attack --list
//! rendezvous-attack window-tuning
//! rendezvous-attack --long
//! ```
//!
//! All traffic stays on 127.0.0.0/8: a source address `127.b.c.d` belongs to the prefix `127.b.c.0/24`.

pub mod arena;
pub mod attacks;
pub mod client;
pub mod place;
pub mod point;
pub mod probe;
pub mod process;
pub mod raw;
pub mod report;
pub mod request;
pub mod run;
pub mod scenarios;
pub mod sink;
pub mod sources;
