//! The request of a call that streams it.

use std::{fmt, marker::PhantomData};

use bytes::Bytes;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use super::{
    error::SendError,
    frame::{FrameKind, FrameWriter, payload},
};

/// A frame that ends the request.
const END: &[u8] = &[FrameKind::End.code()];

/// Where the items of a request are sent.
///
/// The request ends with [`finish`](Self::finish). Dropped without it, it cancels the call: what is cut short must not look as if
/// it were complete.
pub struct Requests<A> {
    writer: FrameWriter,
    deadline: Option<Instant>,
    message_bytes_max: usize,
    is_finished: bool,
    of: PhantomData<fn(A)>,
}

impl<A: Serialize> Requests<A> {
    pub(super) fn new(writer: FrameWriter, deadline: Option<Instant>, message_bytes_max: usize) -> Self {
        Self { writer, deadline, message_bytes_max, is_finished: false, of: PhantomData }
    }

    /// Sends an item; waits while the other side does not take it. Of an item whose sending is dropped, the rest goes with the
    /// next one.
    ///
    /// # Errors
    /// [`SendError::TooLarge`] and [`SendError::Encode`] for this item, after which others can be sent;
    /// [`SendError::Ended`] when the call has an answer, which tells more, and [`SendError::TimedOut`].
    pub async fn send(&mut self, item: A) -> Result<(), SendError> {
        let frame = payload(FrameKind::Item, &item, self.message_bytes_max)?;
        drop(item);
        self.write(frame).await
    }

    /// Ends the request.
    ///
    /// # Errors
    /// [`SendError::Ended`] and [`SendError::TimedOut`], as for [`send`](Self::send).
    pub async fn finish(mut self) -> Result<(), SendError> {
        self.write(Bytes::from_static(END)).await?;
        self.is_finished = true;
        Ok(())
    }

    async fn write(&mut self, frame: Bytes) -> Result<(), SendError> {
        let deadline = self.deadline;
        let writer = &mut self.writer;
        let writing = async {
            // The rest of an item whose sending was dropped makes room first.
            writer.flush().await?;
            writer.push(&frame);
            writer.flush().await
        };
        let written = match deadline {
            Some(deadline) => timeout_at(deadline, writing).await.map_err(|_| SendError::TimedOut)?,
            None => writing.await,
        };
        written.map_err(|_| {
            // There is an answer, and dropping this must not drop that.
            self.is_finished = true;
            SendError::Ended
        })
    }
}

impl<A> Drop for Requests<A> {
    fn drop(&mut self) {
        if !self.is_finished {
            self.writer.half().close();
        }
    }
}

impl<A> fmt::Debug for Requests<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").finish_non_exhaustive()
    }
}
