//! What it costs to check a signature, told from the key alone.

use crate::key::{ECDSA, ED25519, RSA, SECP256K1, read};

// Microseconds of one core, rounded up from measurements. They weigh keys against each other: a
// machine that is twice as fast is twice as fast for all of them.
const ED25519_MICROS: u32 = 30;
const SECP256K1_MICROS: u32 = 50;
/// P-256 without assembly; the pure Rust code takes 140 to 250 us.
const ECDSA_MICROS: u32 = 250;

/// The square of the modulus' bits divided by this is the time for the exponent 65537: 19 us for 2048 bits, 76 us for 4096,
/// 305 us for 8192.
const RSA_BITS_SQUARED_PER_MICRO: u64 = 220_000;

/// Verification refuses longer moduli before it computes.
const RSA_BITS_MAX: u64 = 8_192;

/// Bytes of an X.509 RSA key beside its modulus.
const RSA_FRAME_BYTES: usize = 38;

/// What an X.509 RSA key ends with if its exponent is 65537 or 3: DER's INTEGER, its length, its bytes.
const RSA_USUAL_EXPONENTS: [&[u8]; 2] = [&[2, 3, 1, 0, 1], &[2, 1, 3]];

/// The longest exponent that verification takes has 33 bits. Where all are set it costs 3.2 times as much as 65537 does:
/// 820 us for 8192 bits.
const RSA_UNUSUAL_EXPONENT_FACTOR: u64 = 4;

/// Microseconds that the check of one signature of this encoded key takes; zero for what is no key.
pub(crate) fn verify_micros(public_key: &[u8]) -> u32 {
    match read(public_key) {
        Ok((ED25519, ..)) => ED25519_MICROS,
        Ok((SECP256K1, ..)) => SECP256K1_MICROS,
        Ok((ECDSA, ..)) => ECDSA_MICROS,
        Ok((RSA, data, _)) => rsa_micros(data),
        Ok(_) | Err(_) => 0,
    }
}

fn rsa_micros(data: &[u8]) -> u32 {
    let bits = (data.len().saturating_sub(RSA_FRAME_BYTES) as u64).saturating_mul(8).min(RSA_BITS_MAX);
    let is_usual = RSA_USUAL_EXPONENTS.iter().any(|exponent| data.ends_with(exponent));
    let factor = if is_usual { 1 } else { RSA_UNUSUAL_EXPONENT_FACTOR };
    // At most 4 * 8192^2 / 220,000.
    (bits * bits * factor).div_ceil(RSA_BITS_SQUARED_PER_MICRO) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(key_type: u64, data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x08, key_type as u8, 0x12, 0x80 | (data.len() & 0x7f) as u8, (data.len() >> 7) as u8];
        bytes.extend(data);
        bytes
    }

    /// An RSA key of so many bytes whose last ones are the exponent.
    fn rsa(modulus_bytes: usize, exponent: &[u8]) -> Vec<u8> {
        let mut data = vec![0x55; RSA_FRAME_BYTES - exponent.len() + modulus_bytes];
        data.extend(exponent);
        key(RSA, &data)
    }

    #[test]
    fn dear_keys_cost_more_than_cheap_ones() {
        let usual: &[u8] = &[2, 3, 1, 0, 1];
        let costs = [
            key(ED25519, &[1; 32]),
            key(SECP256K1, &[1; 33]),
            rsa(512, usual),
            key(ECDSA, &[1; 91]),
            rsa(1_024, usual),
            rsa(1_024, &[2, 5, 1, 0xff, 0xff, 0xff, 0xff]),
        ]
        .map(|key| verify_micros(&key));
        assert!(costs.is_sorted(), "{costs:?}");
        assert!(costs[5] >= 4 * (costs[4] - 1), "an unusual exponent: {costs:?}");
        assert_eq!(verify_micros(&rsa(1_024, &[2, 1, 3])), costs[4]);
    }

    #[test]
    fn no_key_costs_more_than_the_dearest_that_is_verified() {
        assert_eq!(verify_micros(&rsa(8_000, &[9])), verify_micros(&rsa(1_024, &[9])));
        assert_eq!(verify_micros(&rsa(0, &[9])), 0);
        assert_eq!(verify_micros(b"no key"), 0);
        assert_eq!(verify_micros(&key(77, &[1; 32])), 0);
    }
}
