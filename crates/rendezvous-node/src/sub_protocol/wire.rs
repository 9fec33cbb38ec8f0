//! Frames of a session, as the [module](super) documents them.

use bytes::{Buf, Bytes};

use super::{end::End, error::Breach, message::Message};
use crate::DisconnectReason;

/// Length of a message number.
pub(super) const NUMBER_BYTES: usize = 2;

/// The number that stands for an end.
const END: u16 = 0;
const SCOPE_SESSION: u8 = 0;
const SCOPE_PEER: u8 = 1;

/// A frame's payload, understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Message(Message),
    End(End),
}

impl Frame {
    pub(super) fn parse(mut payload: Bytes, codes: u16) -> Result<Self, Breach> {
        let number = payload.try_get_u16().map_err(|_| Breach::Short)?;
        match number.checked_sub(END + 1) {
            None => parse_end(&payload).map(Self::End),
            Some(code) if code < codes => Ok(Self::Message(Message { code, payload })),
            Some(code) => Err(Breach::Code { code, codes }),
        }
    }
}

/// The start of a message's frame; the content comes after it. Codes stay below the number of codes, so that one more
/// fits.
pub(super) fn start_message(code: u16, content_bytes: usize) -> Vec<u8> {
    let mut payload = Vec::with_capacity(NUMBER_BYTES + content_bytes);
    payload.extend((code + 1).to_be_bytes());
    payload
}

pub(super) fn encode_end(end: End) -> Vec<u8> {
    let mut payload = END.to_be_bytes().to_vec();
    match end {
        End::Finished => {}
        End::Session(reason) => payload.extend([SCOPE_SESSION, reason.code()]),
        End::Disconnect(reason) => payload.extend([SCOPE_PEER, reason.code()]),
    }
    payload
}

/// What follows the reason is not looked at, so that later versions of this can add to it.
fn parse_end(payload: &[u8]) -> Result<End, Breach> {
    match payload {
        [] => Ok(End::Finished),
        [SCOPE_SESSION, reason, ..] => Ok(End::Session(DisconnectReason::from_code(*reason))),
        [SCOPE_PEER, reason, ..] => Ok(End::Disconnect(DisconnectReason::from_code(*reason))),
        _ => Err(Breach::End),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(payload: &[u8], codes: u16) -> Result<Frame, Breach> {
        Frame::parse(Bytes::copy_from_slice(payload), codes)
    }

    #[test]
    fn ends_are_read_as_they_were_written() {
        let reason = DisconnectReason::TooManyPeers;
        for (end, bytes) in [
            (End::Finished, &[0, 0][..]),
            (End::Session(reason), &[0, 0, 0, 4]),
            (End::Disconnect(reason), &[0, 0, 1, 4]),
            (End::Disconnect(DisconnectReason::Other(200)), &[0, 0, 1, 200]),
        ] {
            assert_eq!(encode_end(end), bytes);
            assert_eq!(parse(bytes, 1), Ok(Frame::End(end)));
        }
    }

    #[test]
    fn an_end_may_say_more_but_not_less() {
        assert_eq!(parse(&[0, 0, 1, 8, 0xff, 0xff], 1), Ok(Frame::End(End::Disconnect(DisconnectReason::Quitting))));
        for bytes in [&[0, 0, 0][..], &[0, 0, 1], &[0, 0, 2], &[0, 0, 2, 8]] {
            assert_eq!(parse(bytes, 1), Err(Breach::End));
        }
    }

    #[test]
    fn codes_are_checked_at_both_ends_of_their_range() {
        let message = |code| Ok(Frame::Message(Message { code, payload: Bytes::from_static(b"x") }));
        for (code, codes) in [(0, 1), (7, 8), (u16::MAX - 1, u16::MAX)] {
            let mut payload = start_message(code, 1);
            payload.push(b'x');
            assert_eq!(parse(&payload, codes), message(code));
        }
        assert_eq!(parse(&[0, 9, b'x'], 8), Err(Breach::Code { code: 8, codes: 8 }));
        assert_eq!(parse(&[0xff, 0xff], 8), Err(Breach::Code { code: 65_534, codes: 8 }));
    }

    #[test]
    fn a_frame_without_a_number_is_a_breach() {
        assert_eq!(parse(&[], 1), Err(Breach::Short));
        assert_eq!(parse(&[0], 1), Err(Breach::Short));
    }
}
