//! The client through its public interface, in virtual time.

mod answers;
mod book;
mod bounds;
mod dialect;
mod discovery;
mod flavours;
mod lookups;
mod merging;
mod points;
mod properties;
mod refresh;
mod registration;
mod removal;
mod rig;
mod shutdown;
mod unsigned;
mod walks;
