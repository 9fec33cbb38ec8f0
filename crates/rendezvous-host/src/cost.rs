//! CPU time that each thing costs which a peer can send, measured on one core of a cloud machine and rounded up.
//!
//! The costs only have to be in proportion: [`Config::work_per_second_max`](crate::Config::work_per_second_max) is in the
//! same unit, and on a faster machine there is more left.

use std::time::Duration;

/// A stream that is opened: its task, its buffers, and the negotiation of its protocol. Opened and reset at once it costs
/// 4 µs, with an answer of identify 22 µs.
pub const STREAM: Duration = Duration::from_micros(15);

/// A frame of the muxer, whatever it carries.
pub const FRAME: Duration = Duration::from_micros(1);

/// A KiB that is received: decryption, copies and system calls.
pub const KIB: Duration = Duration::from_nanos(2_500);

/// The cost of this much input.
pub(crate) fn of(streams: u32, frames: u32, bytes: usize) -> Duration {
    let kib_nanos = u64::try_from(KIB.as_nanos()).unwrap_or(u64::MAX);
    let bytes_nanos = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(kib_nanos) / 1_024;
    STREAM * streams + FRAME * frames + Duration::from_nanos(bytes_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_add_up_and_no_length_overflows() {
        assert_eq!(of(1, 2, 2_048), STREAM + 2 * FRAME + 2 * KIB);
        assert_eq!(of(0, 0, 0), Duration::ZERO);
        assert!(of(u32::MAX, u32::MAX, usize::MAX) > Duration::from_secs(1));
    }
}
