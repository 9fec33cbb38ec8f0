//! What the value of a field says, in words.

use data_encoding::HEXLOWER;
use libp2p::{Multiaddr, PeerId};
use rendezvous_record::{Flavour, Flavours};
use rendezvous_wire::{Limit, MessageType, Namespace, PositionCookie, Status, Ttl, waku};

use super::schema::Kind;

/// Bytes that are shown to people where they say nothing else; `--json` has all of them.
const SHOWN_BYTES_MAX: usize = 32;

/// Characters of a text that are shown.
const SHOWN_CHARS_MAX: usize = 256;

/// A number, by what it stands for.
pub(super) fn of_number(kind: Kind, number: u64) -> String {
    match kind {
        // Protobuf keeps the low 32 bits of an enum.
        Kind::MessageType => match MessageType::from_number(number as i32) {
            MessageType::Other(number) => format!("{number}, which the protocol does not define"),
            kind => format!("{kind} ({})", kind.number()),
        },
        Kind::WakuMessageType => match waku::MessageType::from_number(number as i32) {
            waku::MessageType::Other(number) => format!("{number}, which the dialect does not define"),
            kind => format!("{} ({})", MessageType::from(kind), kind.number()),
        },
        Kind::Status => match Status::from_code(number as i32) {
            Status::Other(code) => format!("{code}, which the protocol does not define: no success"),
            status => format!("{status} ({})", status.code()),
        },
        Kind::KeyType => match number {
            0 => "RSA (0)".to_owned(),
            1 => "Ed25519 (1)".to_owned(),
            2 => "Secp256k1 (2)".to_owned(),
            3 => "ECDSA (3)".to_owned(),
            other => format!("{other}, which libp2p does not define"),
        },
        Kind::Ttl if number == 0 => format!("0 s: the default, {}", Ttl::DEFAULT),
        Kind::Ttl if number > Ttl::RECOMMENDED_MAX.as_secs() => {
            format!("{number} s, more than the 72 h of the protocol")
        }
        Kind::Ttl => format!("{number} s"),
        Kind::Limit => match Limit::from_wire(Some(number)).count() {
            count if count as u64 == number => number.to_string(),
            count => format!("{number}: the largest page, {count}"),
        },
        Kind::Reads => {
            let flavours: Vec<String> =
                Flavours::from_bits_truncate(number).iter().map(|flavour| flavour.to_string()).collect();
            format!("{number}: {}", if flavours.is_empty() { "no flavour".to_owned() } else { flavours.join(", ") })
        }
        Kind::Seq => match unix_seconds(number) {
            Some((seconds, unit)) => format!("{number}: as {unit}, {}", utc(seconds)),
            None => number.to_string(),
        },
        _ => number.to_string(),
    }
}

/// Bytes, by what they stand for.
pub(super) fn of_bytes(kind: Kind, bytes: &[u8]) -> String {
    match kind {
        Kind::Namespace => match Namespace::parse(bytes) {
            Ok(name) => quoted(name),
            Err(error) => format!("{}: {error}", quoted(&String::from_utf8_lossy(bytes))),
        },
        Kind::Text => quoted(&String::from_utf8_lossy(bytes)),
        Kind::Cookie => cookie(bytes),
        Kind::PeerId => match PeerId::from_bytes(bytes) {
            Ok(peer) => peer.to_string(),
            Err(_) => format!("no peer id: {}", shown_hex(bytes)),
        },
        Kind::PayloadType => match Flavour::of_payload_type(bytes) {
            Some(flavour) => format!("{}, the {flavour} flavour of peer record", bytes.escape_ascii()),
            None => format!("{}, which is no peer record", bytes[..bytes.len().min(SHOWN_BYTES_MAX)].escape_ascii()),
        },
        Kind::Multiaddr => match Multiaddr::try_from(bytes.to_vec()) {
            Ok(address) => address.to_string(),
            Err(error) => format!("no readable multiaddr ({error}): {}", shown_hex(bytes)),
        },
        _ => shown_hex(bytes),
    }
}

/// A cookie is its issuer's own; what this project's points issue can be read.
fn cookie(bytes: &[u8]) -> String {
    let shown = shown_hex(bytes);
    match (bytes, PositionCookie::decode(bytes)) {
        ([], _) => "empty: the same as none".to_owned(),
        (_, Ok(PositionCookie { position, namespace: Some(name) })) if !name.contains(char::is_control) => {
            format!("{shown}: position {position} in {}, if it is of this project's points", quoted(name))
        }
        (_, Ok(PositionCookie { position, namespace: None })) => {
            format!("{shown}: position {position} in all namespaces, if it is of this project's points")
        }
        _ => format!("{shown}: opaque"),
    }
}

/// All bytes.
pub(super) fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// The first bytes.
pub(super) fn shown_hex(bytes: &[u8]) -> String {
    match bytes.get(..SHOWN_BYTES_MAX) {
        Some(shown) if shown.len() < bytes.len() => format!("{}…", hex(shown)),
        _ => hex(bytes),
    }
}

fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    let rest = if shown.len() < text.len() { "…" } else { "" };
    format!("\"{shown}\"{rest}")
}

/// A `seq` as a time since 1970, by the unit that gives a time between 1973 and 5138. Its writers count in any unit.
fn unix_seconds(seq: u64) -> Option<(u64, &'static str)> {
    const FROM: u64 = 100_000_000;
    const UNTIL: u64 = 100_000_000_000;
    let units = [(1, "seconds"), (1_000, "milliseconds"), (1_000_000, "microseconds"), (1_000_000_000, "nanoseconds")];
    let mut times = units.into_iter().map(|(per_second, unit)| (seq / per_second, unit));
    times.find(|(seconds, _)| (FROM..UNTIL).contains(seconds))
}

/// A time in the form of RFC 3339, by the Gregorian calendar.
fn utc(unix_seconds: u64) -> String {
    let (mut days, second) = (unix_seconds / 86_400, unix_seconds % 86_400);
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }

    #[test]
    fn a_seq_is_a_time_in_the_unit_that_fits() {
        let said = "2026-11-21T05:50:22Z";
        for (seq, unit) in [
            (1_795_240_222, "seconds"),
            (1_795_240_222_463, "milliseconds"),
            (1_795_240_222_463_000_000, "nanoseconds"),
        ] {
            assert_eq!(of_number(Kind::Seq, seq), format!("{seq}: as {unit}, {said}"));
        }
        assert_eq!(of_number(Kind::Seq, 7), "7");
    }

    #[test]
    fn numbers_and_cookies_say_what_they_stand_for() {
        assert_eq!(of_number(Kind::Status, 103), "E_INVALID_COOKIE (103)");
        assert!(of_number(Kind::Status, 429).contains("no success"));
        assert_eq!(of_number(Kind::MessageType, 3), "DISCOVER (3)");
        assert_eq!(of_number(Kind::Reads, 3), "3: standard, legacy");
        assert!(of_number(Kind::Limit, 5_000).contains("1000"));
        assert!(
            of_bytes(Kind::Cookie, b"\0\0\0\0\0\0\0\x05chat")
                .ends_with("position 5 in \"chat\", if it is of this project's points")
        );
        assert!(of_bytes(Kind::Cookie, &[0xff; 40]).ends_with("opaque"));
        assert!(of_bytes(Kind::Namespace, &[b'x'; 256]).contains("256 bytes"));
    }
}
