//! The two flavours of signed peer record that libp2p implementations write.

use std::fmt;
use std::str::FromStr;

use quick_protobuf::Writer;

/// Which pair of domain string and payload type a signed peer record uses.
///
/// RFC 0003 leaves both as examples. Implementations settled on two pairs, and the payload type in
/// the envelope tells them apart, so that a signature made for one is never valid for the other.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Flavour {
    /// What go, js, nim and py write: domain `libp2p-peer-record`, payload type `03 01`, which is
    /// the multicodec `libp2p-peer-record` (0x0301) as two raw bytes.
    Standard,
    /// What rust-libp2p's rendezvous writes, and the only one that it reads: domain
    /// `libp2p-routing-state`, payload type `/libp2p/routing-state-record`.
    Legacy,
}

impl Flavour {
    /// Both flavours, in the order of [`index`](Self::index).
    pub const ALL: [Flavour; 2] = [Flavour::Standard, Flavour::Legacy];

    /// The domain string that a signature of this flavour covers (RFC 0002, "Signature
    /// Production / Verification").
    #[must_use]
    pub const fn domain(self) -> &'static str {
        match self {
            Flavour::Standard => "libp2p-peer-record",
            Flavour::Legacy => "libp2p-routing-state",
        }
    }

    /// The value of the envelope's `payload_type` field.
    #[must_use]
    pub const fn payload_type(self) -> &'static [u8] {
        match self {
            Flavour::Standard => &[0x03, 0x01],
            Flavour::Legacy => b"/libp2p/routing-state-record",
        }
    }

    /// The flavour with this payload type, compared byte by byte; `None` for every other value.
    #[must_use]
    pub fn of_payload_type(payload_type: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|flavour| flavour.payload_type() == payload_type)
    }

    /// The other one of the two: what to try next with a peer that refused this one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Flavour::Standard => Flavour::Legacy,
            Flavour::Legacy => Flavour::Standard,
        }
    }

    /// 0 for standard, 1 for legacy: the place in [`ALL`](Self::ALL) and the bit in [`Flavours`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Flavour::Standard => 0,
            Flavour::Legacy => 1,
        }
    }

    /// The bytes that a signature over `payload` covers: domain, payload type and payload, each
    /// behind its length as a varint (RFC 0002, "Signature Production / Verification").
    #[must_use]
    pub fn signed_bytes(self, payload: &[u8]) -> Vec<u8> {
        // Domain and type stay below 128 bytes, so one byte of length each; 10 for the payload's.
        let capacity = self.domain().len() + self.payload_type().len() + payload.len() + 12;
        let mut bytes = Vec::with_capacity(capacity);
        let mut writer = Writer::new(&mut bytes);
        for part in [self.domain().as_bytes(), self.payload_type(), payload] {
            writer.write_bytes(part).expect("a Vec accepts every write");
        }
        bytes
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Flavour::Standard => "standard",
            Flavour::Legacy => "legacy",
        })
    }
}

/// A text that names no [`Flavour`]. Fault: whoever wrote the setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown record flavour {0:?}, expected standard or legacy")]
pub struct ParseFlavourError(String);

impl FromStr for Flavour {
    type Err = ParseFlavourError;

    /// Reads what [`Display`](fmt::Display) writes: `standard` or `legacy`, in lower case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "standard" => Ok(Flavour::Standard),
            "legacy" => Ok(Flavour::Legacy),
            _ => Err(ParseFlavourError(text.to_owned())),
        }
    }
}

/// A set of [`Flavour`]s, such as those that a requester can read.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flavours(u8);

impl Flavours {
    /// Neither flavour.
    pub const NONE: Flavours = Flavours(0);
    /// The standard flavour alone.
    pub const STANDARD: Flavours = Flavours(1 << Flavour::Standard.index());
    /// The legacy flavour alone.
    pub const LEGACY: Flavours = Flavours(1 << Flavour::Legacy.index());
    /// Both flavours.
    pub const BOTH: Flavours = Flavours(Self::STANDARD.0 | Self::LEGACY.0);

    /// Whether `flavour` is in the set.
    #[must_use]
    pub const fn contains(self, flavour: Flavour) -> bool {
        self.0 & (1 << flavour.index()) != 0
    }

    /// The set with `flavour` added.
    #[must_use]
    pub const fn with(self, flavour: Flavour) -> Self {
        Flavours(self.0 | (1 << flavour.index()))
    }

    /// Whether the set holds neither flavour.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The flavours that are in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Flavours(self.0 & other.0)
    }

    /// The flavours of the set, standard first.
    pub fn iter(self) -> impl Iterator<Item = Flavour> {
        Flavour::ALL
            .into_iter()
            .filter(move |flavour| self.contains(*flavour))
    }

    /// The set as a number for the wire: bit 0 is standard, bit 1 is legacy.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set that a number from the wire stands for; bits without a meaning are ignored, so that
    /// a later flavour does not make the value unreadable.
    #[must_use]
    pub const fn from_bits_truncate(bits: u64) -> Self {
        let mut set = Self::NONE;
        let mut at = 0;
        while at < Flavour::ALL.len() {
            if bits & (1 << at) != 0 {
                set = set.with(Flavour::ALL[at]);
            }
            at += 1;
        }
        set
    }
}

impl From<Flavour> for Flavours {
    fn from(flavour: Flavour) -> Self {
        Self::NONE.with(flavour)
    }
}

impl FromIterator<Flavour> for Flavours {
    fn from_iter<I: IntoIterator<Item = Flavour>>(flavours: I) -> Self {
        flavours.into_iter().fold(Self::NONE, Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_type_names_its_flavour_and_no_other_value_does() {
        for flavour in Flavour::ALL {
            assert_eq!(
                Flavour::of_payload_type(flavour.payload_type()),
                Some(flavour)
            );
            assert_eq!(flavour.other().other(), flavour);
            assert_eq!(Flavour::ALL[flavour.index()], flavour);
        }
        for foreign in [&[][..], &[0x03], &[0x81, 0x06], &[0x03, 0x01, 0x00]] {
            assert_eq!(Flavour::of_payload_type(foreign), None);
        }
    }

    #[test]
    fn text_round_trips() {
        for flavour in Flavour::ALL {
            assert_eq!(flavour.to_string().parse(), Ok(flavour));
        }
        assert!("Standard".parse::<Flavour>().is_err());
    }

    #[test]
    fn signed_bytes_open_with_the_prefix_other_implementations_sign() {
        let standard = Flavour::Standard.signed_bytes(&[0xaa; 200]);
        assert!(standard.starts_with(b"\x12libp2p-peer-record\x02\x03\x01\xc8\x01\xaa"));
        let legacy = Flavour::Legacy.signed_bytes(b"");
        assert_eq!(
            legacy,
            b"\x14libp2p-routing-state\x1c/libp2p/routing-state-record\x00"
        );
    }

    #[test]
    fn sets_survive_the_wire_and_ignore_unknown_bits() {
        for set in [
            Flavours::NONE,
            Flavours::STANDARD,
            Flavours::LEGACY,
            Flavours::BOTH,
        ] {
            assert_eq!(Flavours::from_bits_truncate(u64::from(set.bits())), set);
            assert_eq!(Flavours::from_iter(set.iter()), set);
            assert_eq!(set.is_empty(), set.iter().next().is_none());
            assert_eq!(set.intersection(Flavours::BOTH), set);
        }
        assert_eq!(Flavours::from_bits_truncate(u64::MAX), Flavours::BOTH);
        assert_eq!(Flavours::from_bits_truncate(!3), Flavours::NONE);
        assert_eq!(Flavours::STANDARD.bits(), 1);
        assert_eq!(Flavours::LEGACY.bits(), 2);
        assert_eq!(Flavours::from(Flavour::Legacy), Flavours::LEGACY);
    }
}
