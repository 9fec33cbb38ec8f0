//! Cookies: opaque where received, a position where issued.

use core::fmt;

use crate::namespace::NAMESPACE_BYTES_MAX;

/// A cookie has fewer bytes than this: one implementation forgets longer ones.
pub const COOKIE_BYTES_END: usize = 1_000;

/// Length of the position in a cookie that this project issues.
const POSITION_BYTES: usize = 8;

/// A cookie as a point issued it: 1 to 999 bytes that mean nothing to the client.
///
/// It belongs to one point and one namespace (or to the listing of all).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Cookie(Box<[u8]>);

impl Cookie {
    /// A cookie as received: an absent one and an empty one are both none.
    ///
    /// # Errors
    /// [`CookieTooLong`] from [`COOKIE_BYTES_END`] bytes on.
    pub fn from_wire(cookie: Option<&[u8]>) -> Result<Option<Self>, CookieTooLong> {
        match cookie {
            None | Some([]) => Ok(None),
            Some(bytes) if bytes.len() >= COOKIE_BYTES_END => Err(CookieTooLong { len_bytes: bytes.len() }),
            Some(bytes) => Ok(Some(Self(bytes.into()))),
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookie(")?;
        for byte in &self.0 {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// A cookie of 1000 bytes or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("cookie has {len_bytes} bytes, not fewer than {COOKIE_BYTES_END}")]
pub struct CookieTooLong {
    /// Length in bytes.
    pub len_bytes: usize,
}

/// The cookie that this project's points issue: `8 bytes ‖ namespace`, the bytes being a position, big-endian.
///
/// No state stands behind it. The layout is the one that rust-libp2p clients parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PositionCookie<'a> {
    /// Position of the last registration that the page before covered.
    pub position: u64,
    /// Namespace of the listing; `None` for the listing of all namespaces.
    pub namespace: Option<&'a str>,
}

impl<'a> PositionCookie<'a> {
    /// Reads a cookie of this layout.
    ///
    /// # Errors
    /// [`UndecodableCookie`] if there are fewer than 8 bytes, or the rest is no namespace.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, UndecodableCookie> {
        let (position, namespace) = bytes.split_first_chunk::<POSITION_BYTES>().ok_or(UndecodableCookie)?;
        let namespace = match namespace {
            [] => None,
            bytes if bytes.len() > NAMESPACE_BYTES_MAX => return Err(UndecodableCookie),
            bytes => Some(core::str::from_utf8(bytes).map_err(|_| UndecodableCookie)?),
        };
        Ok(Self { position: u64::from_be_bytes(*position), namespace })
    }

    /// The bytes of this cookie.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let namespace = self.namespace.unwrap_or_default();
        let mut bytes = Vec::with_capacity(POSITION_BYTES + namespace.len());
        bytes.extend_from_slice(&self.position.to_be_bytes());
        bytes.extend_from_slice(namespace.as_bytes());
        bytes
    }
}

/// Bytes that no point of this project issued as a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("cookie is not a position and a namespace")]
pub struct UndecodableCookie;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_cookie_reads_as_absent_and_a_long_one_is_refused() {
        assert_eq!(Cookie::from_wire(Some(&[])), Ok(None));
        assert_eq!(Cookie::from_wire(None), Ok(None));
        assert!(Cookie::from_wire(Some(&[0; 999])).is_ok_and(|cookie| cookie.is_some()));
        assert_eq!(Cookie::from_wire(Some(&[0; 1_000])), Err(CookieTooLong { len_bytes: 1_000 }));
    }

    #[test]
    fn a_position_cookie_round_trips_with_and_without_namespace() {
        for namespace in [None, Some("foo")] {
            let cookie = PositionCookie { position: 0x0102_0304_0506_0708, namespace };
            let bytes = cookie.encode();
            assert_eq!(bytes[..8], [1, 2, 3, 4, 5, 6, 7, 8]);
            assert_eq!(PositionCookie::decode(&bytes), Ok(cookie));
        }
    }

    #[test]
    fn a_short_long_or_non_utf8_cookie_is_undecodable() {
        assert!(PositionCookie::decode(&[0; 7]).is_err());
        assert!(PositionCookie::decode(&[b'x'; 8 + 256]).is_err());
        assert!(PositionCookie::decode(&[0, 0, 0, 0, 0, 0, 0, 1, 0xff]).is_err());
    }
}
