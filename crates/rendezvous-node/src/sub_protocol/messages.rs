//! What a run function reads and writes.

use std::sync::Arc;

use serde::Serialize;

use super::{
    channel::Channel,
    error::{ReceiveError, SendError},
    message::{self, Message},
    wire,
};

/// The messages of a session, to be received and sent.
///
/// Nothing is queued: a message that is sent waits until the stream takes it, and one that nobody receives waits in the
/// stream, which holds the other side back. That the other side has ended the session is seen by receiving, so a run
/// function that waits for something else waits for [`Self::recv`] beside it. One that sends much while the other side may
/// do the same receives meanwhile, with [`Self::split`], lest each waits for the other until a deadline.
#[derive(Debug)]
pub struct Messages {
    reader: Reader,
    writer: Writer,
}

impl Messages {
    pub(super) fn new(channel: Arc<Channel>) -> Self {
        Self { reader: Reader { channel: Arc::clone(&channel) }, writer: Writer { channel } }
    }

    pub(super) fn into_channel(self) -> Arc<Channel> {
        self.writer.channel
    }

    /// See [`Reader::recv`].
    ///
    /// # Errors
    /// Those of [`Reader::recv`].
    pub async fn recv(&mut self) -> Result<Message, ReceiveError> {
        self.reader.recv().await
    }

    /// See [`Writer::send`].
    ///
    /// # Errors
    /// Those of [`Writer::send`].
    pub async fn send<T: Serialize + Sync + ?Sized>(&self, code: u16, value: &T) -> Result<(), SendError> {
        self.writer.send(code, value).await
    }

    /// See [`Writer::send_items`].
    ///
    /// # Errors
    /// Those of [`Writer::send`].
    pub async fn send_items<I>(&self, code: u16, items: I) -> Result<(), SendError>
    where
        I: IntoIterator<Item: Serialize> + Send,
    {
        self.writer.send_items(code, items).await
    }

    /// See [`Writer::send_bytes`].
    ///
    /// # Errors
    /// Those of [`Writer::send`], but for that of encoding.
    pub async fn send_bytes(&self, code: u16, content: &[u8]) -> Result<(), SendError> {
        self.writer.send_bytes(code, content).await
    }

    /// The two directions apart, for two tasks or for a `select!`.
    #[must_use]
    pub fn split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }
}

/// Receives the messages of a session.
#[derive(Debug)]
pub struct Reader {
    channel: Arc<Channel>,
}

impl Reader {
    /// The next message, for which it waits as long as it takes. A message that has begun must be complete within
    /// [`Limits::read_deadline`](super::Limits::read_deadline).
    ///
    /// May be dropped before it is ready, as in a `select!`: no message is lost, nor part of one.
    ///
    /// # Errors
    /// [`ReceiveError`] when no message comes any more; it stays so.
    pub async fn recv(&mut self) -> Result<Message, ReceiveError> {
        self.channel.receive().await
    }
}

/// Sends the messages of a session. Clones write to the same stream, one message after the other.
#[derive(Clone, Debug)]
pub struct Writer {
    channel: Arc<Channel>,
}

impl Writer {
    /// Sends a value as CBOR, and returns once the stream has taken it. When this is dropped before, the other side may
    /// or may not receive the message; it does not receive part of it.
    ///
    /// # Errors
    /// [`SendError`]. After one that has written nothing, others may be sent.
    pub async fn send<T: Serialize + Sync + ?Sized>(&self, code: u16, value: &T) -> Result<(), SendError> {
        self.channel.check_code(code)?;
        let mut payload = wire::start_message(code, 0);
        message::encode(value, &mut payload)?;
        self.channel.send(code, &payload).await
    }

    /// Sends items as one CBOR array. For items of several types, [`Self::send`] takes a tuple.
    ///
    /// # Errors
    /// Those of [`Self::send`].
    pub async fn send_items<I>(&self, code: u16, items: I) -> Result<(), SendError>
    where
        I: IntoIterator<Item: Serialize> + Send,
    {
        self.channel.check_code(code)?;
        let payload = {
            let mut payload = wire::start_message(code, 0);
            // An array of known length has one encoding.
            let items: Vec<_> = items.into_iter().collect();
            message::encode(&items, &mut payload)?;
            payload
        };
        self.channel.send(code, &payload).await
    }

    /// Sends content as it is, in whatever encoding.
    ///
    /// # Errors
    /// Those of [`Self::send`], but for that of encoding.
    pub async fn send_bytes(&self, code: u16, content: &[u8]) -> Result<(), SendError> {
        self.channel.check_code(code)?;
        let mut payload = wire::start_message(code, content.len());
        payload.extend(content);
        self.channel.send(code, &payload).await
    }
}

impl AsMut<Reader> for Reader {
    fn as_mut(&mut self) -> &mut Reader {
        self
    }
}

impl AsMut<Reader> for Messages {
    fn as_mut(&mut self) -> &mut Reader {
        &mut self.reader
    }
}
