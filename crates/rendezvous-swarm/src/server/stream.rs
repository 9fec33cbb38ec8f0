//! One inbound stream: frames in, answers out, in order, until its end.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Poll, ready},
};

use bytes::Bytes;
use futures::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use libp2p_identity::PeerId;
use rendezvous_core::server::{Command, Discover, Discovered, Refusal, Requester, registered_frame};
use rendezvous_wire::{CodecError, MessageType, Page};

use super::{
    agent::Agent,
    frames::Frames,
    shared::{Counters, Shared},
};
use crate::deadline::Deadline;

/// Requests of one stream that are answered before the connection's other streams, and the tasks beside it, have their
/// turn.
const REQUESTS_PER_TURN: u32 = 32;

/// What a stream's future needs.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) peer: PeerId,
    pub(super) shared: Arc<Shared>,
    pub(super) agent: Arc<Agent>,
}

/// What is written in return for a frame.
enum Answer {
    Frame(Vec<u8>),
    Page(Page),
    /// UNREGISTER has none.
    Nothing,
    /// Nothing that the other side would understand: the stream ends.
    Close,
}

impl Answer {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Frame(frame) => frame,
            Self::Page(page) => page.as_bytes(),
            Self::Nothing | Self::Close => &[],
        }
    }
}

impl Session {
    /// Serves a stream until it ends or breaks a rule.
    pub(super) async fn serve<S>(self, mut stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (config, counters) = (&self.shared.config, &self.shared.counters);
        Counters::count(&counters.streams);
        let mut frames = Frames::new(config.request_bytes_max);
        let mut deadline = Deadline::after(config.idle_timeout);
        let mut requests: u32 = 0;
        while let Some(payload) = self.next_frame(&mut frames, &mut stream, &mut deadline).await {
            let answer = self.answer(&payload).await;
            drop(payload);
            if let Answer::Close = answer {
                Counters::count(&counters.bad_frames);
                break;
            }
            let bytes = answer.as_bytes();
            if !bytes.is_empty() {
                let write = async {
                    stream.write_all(bytes).await?;
                    stream.flush().await
                };
                match deadline.within(config.write_timeout_of(bytes.len()), write).await {
                    Some(Ok(())) => {}
                    // It has left before its answer, which is its right.
                    Some(Err(_)) => return,
                    None => {
                        Counters::count(&counters.slow_readers);
                        return;
                    }
                }
            }
            requests = requests.saturating_add(1);
            if config.requests_per_stream_max.is_some_and(|max| requests >= max.get()) {
                Counters::count(&counters.spent_streams);
                break;
            }
            if requests.is_multiple_of(REQUESTS_PER_TURN) {
                yield_now().await;
            }
        }
        // Some clients read until the end.
        let _ = deadline.within(config.write_timeout, stream.close()).await;
    }

    /// The next payload; `None` at the end, or where the stream cannot or must not be read on.
    async fn next_frame<S>(&self, frames: &mut Frames, stream: &mut S, deadline: &mut Deadline) -> Option<Bytes>
    where
        S: AsyncRead + Unpin,
    {
        let (config, counters) = (&self.shared.config, &self.shared.counters);
        let mut has_begun = frames.has_begun();
        deadline.set(if has_begun { config.frame_timeout } else { config.idle_timeout });
        poll_fn(|cx| {
            if let Poll::Ready(frame) = frames.poll_next(cx, stream) {
                if let Err(CodecError::Frame(_)) = frame {
                    Counters::count(&counters.bad_frames);
                }
                return Poll::Ready(frame.ok().flatten());
            }
            // A frame has its deadline from its first byte on.
            if !has_begun && frames.has_begun() {
                has_begun = true;
                deadline.set(config.frame_timeout);
            }
            ready!(deadline.poll(cx));
            Counters::count(if has_begun { &counters.slow_senders } else { &counters.idle_streams });
            Poll::Ready(None)
        })
        .await
    }

    async fn answer(&self, payload: &Bytes) -> Answer {
        let (kind, refusal) = match self.shared.reader.read(&self.peer, payload) {
            Ok(Command::Register(register)) => match self.shared.register(&self.peer, register) {
                Ok(ttl) => return Answer::Frame(registered_frame(ttl)),
                Err(refusal) => (MessageType::Register, refusal),
            },
            Ok(Command::Unregister(unregister)) => {
                self.shared.unregister(&self.peer, &unregister);
                return Answer::Nothing;
            }
            Ok(Command::Discover(discover)) => match self.discover(&discover).await {
                Ok(page) => return Answer::Page(page),
                Err(refusal) => (MessageType::Discover, refusal),
            },
            Err(rejected) => {
                self.shared.with_server(|server, _| server.handle_rejected(&self.peer, &rejected));
                match rejected.kind {
                    // Nothing is answered, and the frames after it are still frames.
                    Some(MessageType::Unregister) => return Answer::Nothing,
                    Some(kind) => (kind, rejected.refusal),
                    None => return Answer::Close,
                }
            }
        };
        let mut frame = Vec::new();
        if refusal.encode_frame(kind, &mut frame) { Answer::Frame(frame) } else { Answer::Close }
    }

    async fn discover(&self, discover: &Discover<'_>) -> Result<Page, Refusal> {
        loop {
            let (agent_reads, may_wait) = self.agent.reads();
            let requester = Requester { peer: self.peer, agent_reads, may_wait };
            match self.shared.with_server(|server, now| server.handle_discover(now, &requester, discover))? {
                Discovered::Page(page) => return Ok(page),
                Discovered::AgentUnknown => {
                    Counters::count(&self.shared.counters.agents_awaited);
                    self.agent.wait().await;
                }
            }
        }
    }
}

/// Gives way once.
async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|cx| {
        if has_yielded {
            return Poll::Ready(());
        }
        has_yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
