//! Writing a DISCOVER answer straight from stored bytes.

use quick_protobuf::{
    Writer, WriterBackend,
    sizeofs::{sizeof_len, sizeof_varint},
};

use crate::{Dialect, cookie::COOKIE_BYTES_END, status::MessageType, waku};

/// Room left in front of the registrations for what can be written only once their length is known: the frame's length
/// prefix (10 at most), `type` (2), and the tag and length of `discoverResponse` (1 + 10).
const HEAD_BYTES: usize = 23;

/// What stands behind the registrations at most: the longest cookie with its tag and length (3), and the status (2).
const TAIL_BYTES_MAX: usize = COOKIE_BYTES_END - 1 + 3 + 2;

/// Unused bytes that a page may keep beside as many as it uses: for less it is not worth being moved.
const SLACK_BYTES_MAX: usize = 4 << 10;

/// Writes a whole OK frame of DISCOVER_RESPONSE, each registration copied once from where it is stored.
///
/// ```
/// use rendezvous_wire::{PageWriter, Response, frame};
///
/// let mut page = PageWriter::new(1 << 20);
/// assert!(page.push(b"chat", b"envelope", 7_200));
/// let page = page.finish(&[0; 8]);
///
/// let (payload, _) = frame::split(page.as_bytes(), 1 << 20)?.expect("a whole frame");
/// let Response::Discover(answer) = Response::decode(payload)? else { panic!("another response") };
/// let registration = answer.registrations.iter().next().expect("one")?;
/// assert_eq!(registration.ttl_secs, Some(7_200));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PageWriter {
    dialect: Dialect,
    bytes: Vec<u8>,
    bytes_max: usize,
    count: usize,
}

impl PageWriter {
    /// A page whose frame payload has at most `bytes_max` bytes, whichever cookie ends it.
    ///
    /// Room for the longest cookie is kept free, so a bound of about 1000 bytes leaves none for registrations.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self::of(Dialect::Rendezvous, bytes_max)
    }

    /// Like [`Self::new`], in this dialect.
    #[must_use]
    pub fn of(dialect: Dialect, bytes_max: usize) -> Self {
        Self { dialect, bytes: vec![0; HEAD_BYTES], bytes_max, count: 0 }
    }

    /// Registrations written so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Makes room for so many bytes of registrations at once, within the page's bound.
    pub fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes.min(self.bytes_max).saturating_add(TAIL_BYTES_MAX));
    }

    /// Appends a registration; `false`, and nothing is written, if the page would exceed its bound.
    pub fn push(&mut self, namespace: &[u8], signed_peer_record: &[u8], ttl_secs: u64) -> bool {
        let body_len =
            1 + sizeof_len(namespace.len()) + 1 + sizeof_len(signed_peer_record.len()) + 1 + sizeof_varint(ttl_secs);
        let whole_len = 1 + sizeof_len(body_len);
        if payload_len(self.bytes.len() - HEAD_BYTES + whole_len + TAIL_BYTES_MAX) > self.bytes_max {
            return false;
        }
        let mut w = Writer::new(&mut self.bytes);
        let written = w
            .write_with_tag(1 << 3 | 2, |w| w.write_varint(body_len as u64))
            .and_then(|()| w.write_with_tag(1 << 3 | 2, |w| w.write_bytes(namespace)))
            .and_then(|()| w.write_with_tag(2 << 3 | 2, |w| w.write_bytes(signed_peer_record)))
            .and_then(|()| w.write_with_tag(3 << 3, |w| w.write_uint64(ttl_secs)));
        written.expect("a Vec takes every write");
        self.count += 1;
        true
    }

    /// Ends the page with its cookie and the status OK. An empty cookie is left out, as some points refuse to be handed one
    /// back; so is any in a dialect that has no cookies.
    ///
    /// The cookie must have fewer than [`COOKIE_BYTES_END`] bytes. A longer one is a fault of the caller: it is caught in
    /// debug builds, and makes the page exceed its bound in others.
    #[must_use]
    pub fn finish(mut self, cookie: &[u8]) -> Page {
        debug_assert!(cookie.len() < COOKIE_BYTES_END, "cookies are issued below the bound");
        let mut w = Writer::new(&mut self.bytes);
        if !cookie.is_empty() && self.dialect == Dialect::Rendezvous {
            w.write_with_tag(2 << 3 | 2, |w| w.write_bytes(cookie)).expect("a Vec takes every write");
        }
        w.write_with_tag(3 << 3, |w| w.write_enum(0)).expect("a Vec takes every write");

        let body_len = self.bytes.len() - HEAD_BYTES;
        let payload_len = payload_len(body_len);
        let head_len = sizeof_varint(payload_len as u64) + 3 + sizeof_varint(body_len as u64);
        let start = HEAD_BYTES - head_len;
        write_head(&mut self.bytes[start..HEAD_BYTES], self.dialect, payload_len, body_len);
        // A page may wait long for its reader, and room may have been made for more than there was.
        if self.bytes.capacity() > 2 * (self.bytes.len() - start) + SLACK_BYTES_MAX {
            self.bytes.shrink_to_fit();
        }
        Page { bytes: self.bytes, start, count: self.count }
    }
}

/// Length of the whole payload around a `discoverResponse` of so many bytes: `type`, then its tag and length.
fn payload_len(body_len: usize) -> usize {
    2 + 1 + sizeof_len(body_len)
}

fn write_head(head: &mut [u8], dialect: Dialect, payload_len: usize, body_len: usize) {
    let mut w = Writer::new(quick_protobuf::BytesWriter::new(head));
    write_head_to(&mut w, dialect, payload_len, body_len).expect("the head has room for what was measured");
}

fn write_head_to<W: WriterBackend>(
    w: &mut Writer<W>,
    dialect: Dialect,
    payload_len: usize,
    body_len: usize,
) -> quick_protobuf::Result<()> {
    // Both numbers take one byte in either dialect.
    let (kind, field) = match dialect {
        Dialect::Rendezvous => (MessageType::DiscoverResponse.number(), 6),
        Dialect::Waku => (waku::MessageType::DiscoverResponse.number(), 5),
    };
    w.write_varint(payload_len as u64)?;
    w.write_with_tag(1 << 3, |w| w.write_enum(kind))?;
    w.write_with_tag(field << 3 | 2, |w| w.write_varint(body_len as u64))
}

/// A whole frame with a DISCOVER answer.
#[derive(Clone, Debug)]
pub struct Page {
    bytes: Vec<u8>,
    start: usize,
    count: usize,
}

impl Page {
    /// The frame, length prefix included.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Registrations in it.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of memory that it holds: at most twice as many as it has, and 4 KiB.
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}
