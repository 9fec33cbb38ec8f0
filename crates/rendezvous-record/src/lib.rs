//! Signed envelopes and peer records of libp2p: verified, signed, in both flavours in use.
//!
//! A peer that registers with a rendezvous point hands over a *peer record* ([RFC 0003]), its peer
//! id, a sequence number and its addresses, in a *signed envelope* ([RFC 0002]). This crate turns
//! the bytes of such an envelope into a [`VerifiedRecord`], and addresses and a key into such
//! bytes.
//!
//! Two [flavours](Flavour) are in use, which differ in what the signature covers: the standard one
//! of go, js, nim and py, and the legacy one of rust-libp2p. Both are verified, told apart by the
//! envelope's payload type, and either can be signed.
//!
//! # What it is not
//!
//! It is no general codec for envelopes: other payloads than peer records are refused. It reads no
//! clock, does no I/O, and draws no randomness, except that the system's generator blinds an RSA
//! key while it signs. It keeps no address book: which of two records of a peer counts is for the
//! caller, for whom [`VerifiedRecord::scaled_seq`] makes them comparable.
//!
//! # Which function
//!
//! | for | use |
//! |---|---|
//! | one envelope, when a server admits the record of a connected peer | [`VerifiedRecord::verify_of`] |
//! | one envelope of anybody | [`VerifiedRecord::verify`] |
//! | the envelopes of an answer, once | [`verify_batch`] |
//! | the envelopes of answers that repeat each other | [`Verifier`] |
//! | one's own record | [`VerifiedRecord::sign`], [`SeqSource`] |
//! | bytes that do not verify, to see where they break | [`Envelope::parse`], [`PeerRecordPayload::parse`] |
//!
//! # Example
//!
//! ```
//! use libp2p_identity::Keypair;
//! use rendezvous_record::{Flavour, Limits, SeqSource, VerifiedRecord};
//!
//! let key = Keypair::ed25519_from_bytes([7; 32])?;
//! let limits = Limits::default();
//!
//! // The caller owns the clock: nanoseconds since 1970.
//! let mut seqs = SeqSource::new();
//! let seq = seqs.next(1_700_000_000_000_000_000);
//!
//! let addresses = ["/ip4/192.0.2.1/tcp/4001".parse()?];
//! let signed = VerifiedRecord::sign(&key, Flavour::Standard, seq, &addresses, &limits)?;
//!
//! // What goes over the wire, and what the other side makes of it.
//! let received = VerifiedRecord::verify(signed.envelope().clone(), &limits)?;
//! assert_eq!(received, signed);
//! assert_eq!(received.peer_id(), key.public().to_peer_id());
//! assert_eq!(received.addresses().collect::<Vec<_>>(), addresses);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Neighbours
//!
//! `rendezvous-wire` reads and writes the messages that carry envelopes as opaque bytes;
//! `rendezvous-core` takes [`VerifiedRecord`]s and nothing less.
//!
//! [RFC 0002]: https://github.com/libp2p/specs/blob/master/RFC/0002-signed-envelopes.md
//! [RFC 0003]: https://github.com/libp2p/specs/blob/master/RFC/0003-routing-records.md

mod batch;
mod cost;
mod envelope;
mod error;
mod flavour;
mod key;
mod limits;
mod payload;
mod reader;
mod seq;
mod sign;
mod verifier;
mod verify;

pub use batch::{BATCH_ENVELOPES_MAX, verify_batch};
pub use envelope::Envelope;
pub use error::{
    Deviation, DeviationKind, EnvelopeError, KeyError, Malformed, PAYLOAD_TYPE_SHOWN_BYTES_MAX, Part, PayloadError,
    Problem, SignError, VerifyError,
};
pub use flavour::{Flavour, Flavours, ParseFlavourError};
pub use limits::{ADDRESSES_MAX, ENVELOPE_BYTES_MAX, Limits};
pub use payload::PeerRecordPayload;
pub use seq::SeqSource;
pub use verifier::{MEMORY_BYTES_MAX, MEMORY_ENTRIES_MAX, MemoryLimits, Verifier};
pub use verify::VerifiedRecord;
