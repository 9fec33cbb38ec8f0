//! Many envelopes at once.

use bytes::Bytes;
use ed25519_dalek::{Signature, VerifyingKey};

use crate::error::VerifyError;
use crate::key::SignerKey;
use crate::limits::Limits;
use crate::verify::{Unchecked, VerifiedRecord};

/// How many envelopes are parsed ahead and at most checked by one equation.
///
/// It bounds the memory that a page needs beyond its own bytes to a copy of this many envelopes,
/// and what one bad signature costs to the single verification of this many. An Ed25519 envelope
/// of three addresses takes 30 µs singly, 17 µs in a batch of 16 and 14 µs in one of 128, where
/// the curve is nearly flat; with a bad one in every 128, it takes 40 µs.
pub const BATCH_ENVELOPES_MAX: usize = 128;

/// From two signatures on, the equation is the faster way.
const BATCH_SIGNATURES_MIN: usize = 2;

/// Verifies envelopes as [`VerifiedRecord::verify`] does, several Ed25519 signatures with one
/// equation; the results stand in the order of the envelopes.
///
/// Envelopes are taken [`BATCH_ENVELOPES_MAX`] at a time. Where the equation fails for some of
/// them, each of those is verified singly, so one bad envelope is reported and its neighbours are
/// not. Keys of the other types are always verified singly. The equation's random coefficients
/// are a hash of everything that it checks; no entropy is drawn.
///
/// # Where it differs from single verification
///
/// Everything that [`VerifiedRecord::verify`] accepts is accepted, and all errors but
/// [`BadSignature`](VerifyError::BadSignature) are the same. Beyond that, for a signature `(R, s)`
/// of the key `A` over a message with the challenge `k`, single verification demands that `R` is
/// the canonical encoding of the point `sB - kA`. A batch computes with decoded points, and the
/// sum of the differences `sB - R - kA`, each times its coefficient, must be zero. So it may also
/// accept
///
/// - a signature whose `R` is another encoding of the right point: one with a coordinate not
///   reduced modulo the field's prime, or with a sign for a coordinate of zero. It passes in every
///   batch of two or more;
/// - a signature that is off by a point of order 2, 4 or 8, in `R` or in `A`. Whether it passes
///   depends on all the signatures in its batch, and one in as many batches lets it pass.
///
/// Neither is a forgery: nobody but the holder of the key can make such a signature, except under
/// a key that itself has an order of at most 8, for which anyone can sign anything, in a batch
/// and singly. What one may lose is agreement: two who verify the same bytes can come to different
/// results. Hence a server admits a record on single verification alone, and `verify_batch` is for
/// the answers that a client reads and does not pass on.
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
