//! One inbound stream: frames in, answers out, in order, until its end.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Instant};

use asynchronous_codec::FramedRead;
use bytes::Bytes;
use futures::{AsyncRead, AsyncWrite, AsyncWriteExt as _, StreamExt as _};
use libp2p_identity::PeerId;
use rendezvous_core::server::{Command, Discover, Discovered, Refusal, Registered, Requester, registered_frame};
use rendezvous_wire::{FrameCodec, MessageType, Page};

use super::{
    agent::Agent,
    alarm::Alarm,
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

/// What comes next on a stream.
enum Next {
    Frame(Bytes),
    /// Nothing, and nothing has been begun.
    End,
    /// A frame that will not be complete, or none.
    Broken,
}

impl Session {
    /// Serves a stream until it ends or breaks a rule.
    ///
    /// Between frames it is closed in order, for those who read until the end. Within one it is reset: the other side may
    /// be writing still, and what it writes is read no more.
    pub(super) async fn serve<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (config, counters) = (&self.shared.config, &self.shared.counters);
        Counters::count(&counters.streams);
        let mut frames = FramedRead::new(stream, FrameCodec::new(config.request_bytes_max));
        let mut alarm = Alarm::default();
        loop {
            let payload = match self.next(&mut frames, &mut alarm).await {
                Next::Frame(payload) => payload,
                Next::End => break,
                Next::Broken => return,
            };
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
            match alarm.within(config.write_timeout, write).await {
                Some(Ok(())) => {}
                // It has left before its answer, which is its right.
                Some(Err(_)) => return,
                None => {
                    Counters::count(&counters.slow_readers);
                    return;
                }
            }
        }
        let _ = alarm.within(config.write_timeout, frames.close()).await;
    }

    async fn next<S>(&self, frames: &mut FramedRead<S, FrameCodec>, alarm: &mut Alarm) -> Next
    where
        S: AsyncRead + Unpin,
    {
        let (config, counters) = (&self.shared.config, &self.shared.counters);
        let mut due = None;
        poll_fn(|cx| {
            if let Poll::Ready(frame) = frames.poll_next_unpin(cx) {
                return Poll::Ready(match frame {
                    Some(Ok(payload)) => Next::Frame(payload),
                    Some(Err(error)) => {
                        if let rendezvous_wire::CodecError::Frame(_) = error {
                            Counters::count(&counters.bad_frames);
                        }
                        Next::Broken
                    }
                    None => Next::End,
                });
            }
            // A frame has its deadline from its first byte on.
            let has_begun = !frames.read_buffer().is_empty();
            let due = match due {
                Some((due, for_begun)) if for_begun == has_begun => due,
                _ => {
                    let limit = if has_begun { config.frame_timeout } else { config.idle_timeout };
                    due.insert((Instant::now() + limit, has_begun)).0
                }
            };
            alarm.poll(due, cx).map(|()| {
                if has_begun {
                    Counters::count(&counters.slow_senders);
                    return Next::Broken;
                }
                Counters::count(&counters.idle_streams);
                Next::End
            })
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
