//! Streams that carry one request after another, where the point reads them so.

use std::task::{Context, Poll};

use futures::{FutureExt, StreamExt, future::BoxFuture};

use super::exchange::{self, Framed, Mode};

/// Most streams kept for further requests. Requests that find none take a new one.
const IDLE_STREAMS_MAX: usize = 4;

/// The kept streams of a connection, and what has been learnt about its peer.
pub(super) struct Kept {
    reuse: Reuse,
    idle: Vec<Framed>,
    /// What is to be remembered of the peer: whether it keeps streams, or that this is in doubt.
    learnt: Option<Option<bool>>,
}

/// Whether the peer reads several requests on one stream.
enum Reuse {
    /// Not tried yet.
    Unknown,
    /// The first exchange on a stream that is left open is under way.
    Trying,
    /// It has answered; whether it keeps the stream open shows within a second.
    Watching(BoxFuture<'static, Option<Framed>>),
    Yes,
    No,
}

impl Kept {
    /// `known` is what earlier connections have shown.
    pub(super) fn new(is_allowed: bool, known: Option<bool>) -> Self {
        let reuse = match known {
            None if is_allowed => Reuse::Unknown,
            Some(true) if is_allowed => Reuse::Yes,
            None | Some(_) => Reuse::No,
        };
        Self { reuse, idle: Vec::new(), learnt: None }
    }

    /// Takes what has been learnt since the last call.
    pub(super) fn take_learnt(&mut self) -> Option<Option<bool>> {
        self.learnt.take()
    }

    /// How an exchange runs on a new stream.
    pub(super) fn mode_of_new(&mut self) -> Mode {
        match self.reuse {
            Reuse::Unknown => {
                self.reuse = Reuse::Trying;
                Mode::Kept
            }
            Reuse::Yes => Mode::Kept,
            Reuse::Trying | Reuse::Watching(_) | Reuse::No => Mode::OneShot,
        }
    }

    /// Takes a stream for another exchange, or to close it.
    pub(super) fn take(&mut self) -> Option<Framed> {
        self.idle.pop()
    }

    /// An exchange has ended and left this stream.
    pub(super) fn ended(&mut self, mode: Mode, stream: Option<Framed>) {
        match (stream, &self.reuse) {
            (Some(stream), Reuse::Trying) if mode == Mode::Kept => {
                self.reuse = Reuse::Watching(exchange::watch(unheld(stream)).boxed());
            }
            (Some(stream), Reuse::Yes) if self.idle.len() < IDLE_STREAMS_MAX => self.idle.push(unheld(stream)),
            // Whatever the reason, the next try is one that everybody reads.
            (None, Reuse::Trying) if mode == Mode::Kept => self.reuse = Reuse::No,
            (None, Reuse::Yes) if mode == Mode::Kept => {
                self.reuse = Reuse::No;
                self.learnt = Some(None);
            }
            _ => {}
        }
    }

    /// Streams kept or watched.
    pub(super) fn len(&self) -> usize {
        self.idle.len() + usize::from(matches!(self.reuse, Reuse::Watching(_)))
    }

    /// Notices what has become of the streams: to be called until nothing else changes.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        if let Reuse::Watching(watch) = &mut self.reuse {
            match watch.poll_unpin(cx) {
                Poll::Ready(Some(stream)) => {
                    self.reuse = Reuse::Yes;
                    self.learnt = Some(Some(true));
                    self.idle.push(stream);
                }
                Poll::Ready(None) => {
                    self.reuse = Reuse::No;
                    self.learnt = Some(Some(false));
                }
                Poll::Pending => {}
            }
        }
        // Those that the peer has closed go, and those on which it speaks unasked.
        self.idle.retain_mut(|stream| stream.poll_next_unpin(cx).is_pending() && stream.read_buffer().is_empty());
    }
}

/// A stream that does not keep its connection alive by being there; the handler does while requests are on their way.
fn unheld(mut stream: Framed) -> Framed {
    stream.ignore_for_keep_alive();
    stream
}
