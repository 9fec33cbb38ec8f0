//! Sub-protocols over streams in memory, in virtual time.

mod deadlines;
mod definition;
mod harness;
mod hostile;
mod pipes;
mod runs;
mod sessions;
