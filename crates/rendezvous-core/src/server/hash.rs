//! Keyed hashing: who registers chooses what is hashed, and must not choose where it lands.

use core::hash::{BuildHasher, Hasher};

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use siphasher::sip::SipHasher13;

/// The secret of a point's tables.
#[derive(Clone, Copy)]
pub(in crate::server) struct Keys([u8; 16]);

impl Keys {
    pub(in crate::server) const fn new(seed: [u8; 16]) -> Self {
        Self(seed)
    }

    pub(in crate::server) fn bytes(&self, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write(bytes);
        hasher.finish()
    }

    /// Randomness that only the secret tells.
    pub(in crate::server) fn rng(&self) -> ChaCha8Rng {
        let mut seed = [0; 32];
        for (part, place) in seed.chunks_exact_mut(8).zip(0_u8..) {
            part.copy_from_slice(&self.bytes(&[b's', b'e', b'e', b'd', place]).to_le_bytes());
        }
        ChaCha8Rng::from_seed(seed)
    }

    pub(in crate::server) fn number(&self, number: u32) -> u64 {
        self.bytes(&number.to_le_bytes())
    }
}

impl BuildHasher for Keys {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}

impl core::fmt::Debug for Keys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Keys")
    }
}
