//! One inbound stream: frames in, answers out, in order, until its end.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use asynchronous_codec::FramedRead;
use bytes::Bytes;
use futures::{AsyncRead, AsyncWrite, AsyncWriteExt as _, FutureExt as _, StreamExt as _, future::Either};
use futures_timer::Delay;
use libp2p_identity::PeerId;
use rendezvous_core::server::{Command, Discover, Discovered, Refusal, Registered, Requester, registered_frame};
use rendezvous_wire::{FrameCodec, MessageType, Page};

use super::{
    agent::Agent,
    shared::{Counters, Shared},
};

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

impl Session {
    /// Serves a stream until it ends or breaks a rule.
    pub(super) async fn serve<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let counters = &self.shared.counters;
        Counters::count(&counters.streams);
        let codec = FrameCodec::new(self.shared.config.request_bytes_max);
        let mut frames = FramedRead::new(stream, codec);
        while let Some(payload) = self.next_frame(&mut frames).await {
            let answer = self.answer(&payload).await;
            let bytes = match &answer {
                Answer::Frame(frame) => &frame[..],
                Answer::Page(page) => page.as_bytes(),
                Answer::Nothing => continue,
                Answer::Close => {
                    Counters::count(&counters.bad_frames);
                    break;
                }
            };
            let write = async {
                frames.write_all(bytes).await?;
                frames.flush().await
            };
            match within(self.shared.config.write_timeout, write).await {
                Some(Ok(())) => {}
                // It has left before its answer, which is its right.
                Some(Err(_)) => return,
                None => {
                    Counters::count(&counters.slow_readers);
                    return;
                }
            }
        }
        // Some clients read until the end.
        let _ = within(self.shared.config.write_timeout, frames.close()).await;
    }

    /// The next payload; `None` at the end, or where the stream cannot or must not be read on.
    async fn next_frame<S>(&self, frames: &mut FramedRead<S, FrameCodec>) -> Option<Bytes>
    where
        S: AsyncRead + Unpin,
    {
        let (config, counters) = (&self.shared.config, &self.shared.counters);
        let mut has_begun = !frames.read_buffer().is_empty();
        let mut deadline = Delay::new(if has_begun { config.frame_timeout } else { config.idle_timeout });
        poll_fn(|cx| {
            if let Poll::Ready(frame) = frames.poll_next_unpin(cx) {
                return Poll::Ready(match frame {
                    Some(Ok(payload)) => Some(payload),
                    Some(Err(error)) => {
                        if let rendezvous_wire::CodecError::Frame(_) = error {
                            Counters::count(&counters.bad_frames);
                        }
                        None
                    }
                    None => None,
                });
            }
            // A frame has its deadline from its first byte on.
            if !has_begun && !frames.read_buffer().is_empty() {
                has_begun = true;
                deadline.reset(config.frame_timeout);
            }
            if deadline.poll_unpin(cx).is_ready() {
                Counters::count(if has_begun { &counters.slow_senders } else { &counters.idle_streams });
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await
    }

    async fn answer(&self, payload: &Bytes) -> Answer {
        let (kind, refusal) = match self.shared.reader.read(&self.peer, payload) {
            Ok(Command::Register(register)) => {
                match self.shared.with_server(|server, now| server.handle_register(now, &self.peer, register)) {
                    Ok(Registered::Done(ttl)) => return Answer::Frame(registered_frame(ttl)),
                    // The behaviour switches deferred commits off; see `Config::server`.
                    Ok(Registered::Pending(_)) => (MessageType::Register, Refusal::StoreFailed),
                    Err(refusal) => (MessageType::Register, refusal),
                }
            }
            Ok(Command::Unregister(unregister)) => {
                self.shared.with_server(|server, now| server.handle_unregister(now, &self.peer, &unregister));
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

/// What a future comes to, unless it takes longer.
async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    match futures::future::select(std::pin::pin!(future), Delay::new(limit)).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}
