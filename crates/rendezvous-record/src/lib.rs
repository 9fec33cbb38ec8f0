//! Signed envelopes and peer records of libp2p.

mod flavour;
mod limits;
mod seq;

pub use flavour::{Flavour, Flavours, ParseFlavourError};
pub use limits::{ADDRESSES_MAX, ENVELOPE_BYTES_MAX, Limits};
pub use seq::SeqSource;
