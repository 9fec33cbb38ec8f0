//! Writing, through quick-protobuf's writer: what is present is written, zeros included.

use quick_protobuf::{
    MessageWrite, Result, Writer, WriterBackend,
    sizeofs::{sizeof_int32, sizeof_len, sizeof_varint},
};

use crate::message::{Discover, DiscoverResponse, Message, Register, RegisterResponse, Unregister};

const VARINT: u32 = 0;
const LEN: u32 = 2;

const fn tag(number: u32, wire_type: u32) -> u32 {
    number << 3 | wire_type
}

pub(crate) fn size_of_varint(number: u32, value: Option<u64>) -> usize {
    value.map_or(0, |value| sizeof_varint(u64::from(tag(number, VARINT))) + sizeof_varint(value))
}

pub(crate) fn size_of_int32(number: u32, value: Option<i32>) -> usize {
    value.map_or(0, |value| sizeof_varint(u64::from(tag(number, VARINT))) + sizeof_int32(value))
}

pub(crate) fn size_of_bytes(number: u32, value: Option<&[u8]>) -> usize {
    value.map_or(0, |value| sizeof_varint(u64::from(tag(number, LEN))) + sizeof_len(value.len()))
}

pub(crate) fn size_of_message<M: MessageWrite>(number: u32, value: Option<&M>) -> usize {
    value.map_or(0, |value| sizeof_varint(u64::from(tag(number, LEN))) + sizeof_len(value.get_size()))
}

pub(crate) fn write_varint<W: WriterBackend>(w: &mut Writer<W>, number: u32, value: Option<u64>) -> Result<()> {
    value.map_or(Ok(()), |value| w.write_with_tag(tag(number, VARINT), |w| w.write_uint64(value)))
}

pub(crate) fn write_int32<W: WriterBackend>(w: &mut Writer<W>, number: u32, value: Option<i32>) -> Result<()> {
    value.map_or(Ok(()), |value| w.write_with_tag(tag(number, VARINT), |w| w.write_int32(value)))
}

pub(crate) fn write_bytes<W: WriterBackend>(w: &mut Writer<W>, number: u32, value: Option<&[u8]>) -> Result<()> {
    value.map_or(Ok(()), |value| w.write_with_tag(tag(number, LEN), |w| w.write_bytes(value)))
}

pub(crate) fn write_message<W, M>(w: &mut Writer<W>, number: u32, value: Option<&M>) -> Result<()>
where
    W: WriterBackend,
    M: MessageWrite,
{
    value.map_or(Ok(()), |value| w.write_with_tag(tag(number, LEN), |w| w.write_message(value)))
}

impl MessageWrite for Message<'_> {
    fn get_size(&self) -> usize {
        size_of_int32(1, self.kind.map(|kind| kind.number()))
            + size_of_message(2, self.register.as_ref())
            + size_of_message(3, self.register_response.as_ref())
            + size_of_message(4, self.unregister.as_ref())
            + size_of_message(5, self.discover.as_ref())
            + size_of_message(6, self.discover_response.as_ref())
    }

    fn write_message<W: WriterBackend>(&self, w: &mut Writer<W>) -> Result<()> {
        write_int32(w, 1, self.kind.map(|kind| kind.number()))?;
        write_message(w, 2, self.register.as_ref())?;
        write_message(w, 3, self.register_response.as_ref())?;
        write_message(w, 4, self.unregister.as_ref())?;
        write_message(w, 5, self.discover.as_ref())?;
        write_message(w, 6, self.discover_response.as_ref())
    }
}

impl MessageWrite for Register<'_> {
    fn get_size(&self) -> usize {
        size_of_bytes(1, self.namespace) + size_of_bytes(2, self.signed_peer_record) + size_of_varint(3, self.ttl_secs)
    }

    fn write_message<W: WriterBackend>(&self, w: &mut Writer<W>) -> Result<()> {
        write_bytes(w, 1, self.namespace)?;
        write_bytes(w, 2, self.signed_peer_record)?;
        write_varint(w, 3, self.ttl_secs)
    }
}

impl MessageWrite for RegisterResponse<'_> {
    fn get_size(&self) -> usize {
        size_of_int32(1, self.status.map(|status| status.code()))
            + size_of_bytes(2, self.status_text)
            + size_of_varint(3, self.ttl_secs)
    }

    fn write_message<W: WriterBackend>(&self, w: &mut Writer<W>) -> Result<()> {
        write_int32(w, 1, self.status.map(|status| status.code()))?;
        write_bytes(w, 2, self.status_text)?;
        write_varint(w, 3, self.ttl_secs)
    }
}

impl MessageWrite for Unregister<'_> {
    fn get_size(&self) -> usize {
        size_of_bytes(1, self.namespace) + size_of_bytes(2, self.id)
    }

    fn write_message<W: WriterBackend>(&self, w: &mut Writer<W>) -> Result<()> {
        write_bytes(w, 1, self.namespace)?;
        write_bytes(w, 2, self.id)
    }
}

impl MessageWrite for Discover<'_> {
    fn get_size(&self) -> usize {
        size_of_bytes(1, self.namespace)
            + size_of_varint(2, self.limit)
            + size_of_bytes(3, self.cookie)
            + size_of_varint(64, self.reads)
    }

    fn write_message<W: WriterBackend>(&self, w: &mut Writer<W>) -> Result<()> {
        write_bytes(w, 1, self.namespace)?;
        write_varint(w, 2, self.limit)?;
        write_bytes(w, 3, self.cookie)?;
        write_varint(w, 64, self.reads)
    }
}

impl MessageWrite for DiscoverResponse<'_> {
    fn get_size(&self) -> usize {
        let registrations: usize =
            self.registrations.iter().flatten().map(|register| size_of_message(1, Some(&register))).sum();
        registrations
            + size_of_bytes(2, self.cookie)
            + size_of_int32(3, self.status.map(|status| status.code()))
            + size_of_bytes(4, self.status_text)
    }

    fn write_message<W: WriterBackend>(&self, w: &mut Writer<W>) -> Result<()> {
        for register in self.registrations.iter().flatten() {
            write_message(w, 1, Some(&register))?;
        }
        write_bytes(w, 2, self.cookie)?;
        write_int32(w, 3, self.status.map(|status| status.code()))?;
        write_bytes(w, 4, self.status_text)
    }
}

impl Message<'_> {
    /// The payload of a frame with this message: what is present, as it is.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(self.get_size());
        self.write_message(&mut Writer::new(&mut payload)).expect("a Vec takes every write");
        payload
    }

    /// Appends a whole frame with this message, length prefix included.
    pub fn encode_frame(&self, frame: &mut Vec<u8>) {
        frame.reserve(sizeof_len(self.get_size()));
        Writer::new(frame).write_message(self).expect("a Vec takes every write");
    }
}
