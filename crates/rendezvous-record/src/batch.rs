//! Many envelopes at once.

use bytes::Bytes;
use ed25519_dalek::{Signature, VerifyingKey};

use crate::error::VerifyError;
use crate::key::SignerKey;
use crate::limits::Limits;
use crate::verify::{Unchecked, VerifiedRecord};

/// How many envelopes are parsed ahead and at most checked by one equation.
///
/// It bounds the memory that a page needs beyond its own bytes to this many envelopes, and what
/// one bad signature costs to the single verification of this many.
pub const BATCH_ENVELOPES_MAX: usize = 128;

/// Below this many Ed25519 signatures, single verification is no slower than the equation.
const BATCH_SIGNATURES_MIN: usize = 4;

/// Verifies envelopes as [`VerifiedRecord::verify`] does, several Ed25519 signatures with one
/// equation; the results stand in the order of the envelopes.
pub fn verify_batch(
    envelopes: impl IntoIterator<Item = Bytes>,
    limits: &Limits,
) -> Vec<Result<VerifiedRecord, VerifyError>> {
    let mut envelopes = envelopes.into_iter();
    let mut results = Vec::with_capacity(envelopes.size_hint().0.min(BATCH_ENVELOPES_MAX));
    loop {
        let chunk: Vec<_> =
            envelopes.by_ref().take(BATCH_ENVELOPES_MAX).map(|envelope| Unchecked::parse(envelope, limits)).collect();
        if chunk.is_empty() {
            return results;
        }
        let batch_verified = verify_ed25519(&chunk);
        results.extend(chunk.into_iter().map(|unchecked| {
            let unchecked = unchecked?;
            let in_batch = batch_verified && batch_item(&unchecked).is_some();
            if !in_batch && !unchecked.verify_signature() {
                return Err(VerifyError::BadSignature);
            }
            unchecked.into_record(limits)
        }));
    }
}

/// Whether one equation holds for all Ed25519 signatures among the envelopes.
fn verify_ed25519(chunk: &[Result<Unchecked, VerifyError>]) -> bool {
    let items: Vec<_> = chunk.iter().flatten().filter_map(batch_item).collect();
    if items.len() < BATCH_SIGNATURES_MIN {
        return false;
    }
    let messages: Vec<_> = items.iter().map(|item| item.0).collect();
    let signatures: Vec<_> = items.iter().map(|item| item.1).collect();
    let keys: Vec<_> = items.iter().map(|item| *item.2).collect();
    ed25519_dalek::verify_batch(&messages, &signatures, &keys).is_ok()
}

/// What an envelope brings to the equation; `None` unless it has an Ed25519 key and a signature of
/// 64 bytes.
fn batch_item(unchecked: &Unchecked) -> Option<(&[u8], Signature, &VerifyingKey)> {
    let SignerKey::Ed25519(key) = &unchecked.key else {
        return None;
    };
    let signature = Signature::from_slice(unchecked.signature()).ok()?;
    Some((&unchecked.message, signature, key))
}
