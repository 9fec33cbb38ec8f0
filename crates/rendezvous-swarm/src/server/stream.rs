//! One inbound stream: frames in, answers out, in order, until its end.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Instant};

use bytes::Bytes;
use futures::{AsyncRead, AsyncWrite, AsyncWriteExt as _, channel::oneshot};
use libp2p_identity::PeerId;
use rendezvous_core::{
    RecordKind,
    server::{
        Command, Discover, Discovered, IpPrefix, Refusal, Rejected, RequestReader, Requester, Sample, WakuCommand,
        WakuReader, registered_frame, waku_registered_frame,
    },
};
use rendezvous_wire::{CodecError, Dialect, MessageType, Page, Ttl};

use super::{
    agent::Agent,
    alarm::Alarm,
    budget::Share,
    config::WRITE_BYTES,
    frames::{Frames, Unreadable},
    shared::{self, Counters, Shared},
    turns::{Turn, Turns},
    writer::Outcome,
};

/// Requests of one stream that are answered before the connection's other streams, and the tasks beside it, have their
/// turn.
const REQUESTS_PER_TURN: u32 = 32;

/// What a stream's future needs.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) peer: PeerId,
    /// Where the connection comes from.
    pub(super) prefix: Option<IpPrefix>,
    pub(super) shared: Arc<Shared>,
    pub(super) agent: Arc<Agent>,
    pub(super) turns: Arc<Turns>,
    /// What is spoken on the stream.
    pub(super) dialect: Dialect,
}

/// What is written in return for a frame.
enum Answer {
    Frame(Vec<u8>),
    Page(Page, #[expect(dead_code, reason = "held until the page is written")] (Turn, Share)),
    /// UNREGISTER has none.
    Nothing,
    /// Nothing that the other side would understand: the stream ends.
    Close,
}

impl Answer {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Frame(frame) => frame,
            Self::Page(page, _) => page.as_bytes(),
            Self::Nothing | Self::Close => &[],
        }
    }
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
    pub(super) async fn serve<S>(self, mut stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (config, counters) = (&self.shared.config, &self.shared.counters);
        Counters::count(&counters.streams[self.dialect.index()]);
        let mut frames = Frames::new(config.request_bytes_max, self.shared.requests.clone());
        let mut alarm = Alarm::default();
        let mut requests: u32 = 0;
        loop {
            let payload = match self.next(&mut frames, &mut stream, &mut alarm).await {
                Next::Frame(payload) => payload,
                Next::End => break,
                Next::Broken => return,
            };
            if !self.shared.dialects().contains(self.dialect) {
                tracing::debug!(peer = %self.peer, dialect = %self.dialect, "stream closed: the dialect is served no longer");
                break;
            }
            let answer = self.answer(&payload, &mut alarm).await;
            drop(payload);
            if let Answer::Close = answer {
                Counters::count(&counters.bad_frames);
                tracing::debug!(peer = %self.peer, "stream closed: a message that is no request");
                break;
            }
            for part in answer.as_bytes().chunks(WRITE_BYTES) {
                let write = async {
                    stream.write_all(part).await?;
                    stream.flush().await
                };
                match alarm.within(config.write_timeout, write).await {
                    Some(Ok(())) => {}
                    // It has left before its answer, which is its right.
                    Some(Err(_)) => return,
                    None => {
                        Counters::count(&counters.slow_readers);
                        tracing::debug!(peer = %self.peer, "stream cut: its answer was not read in time");
                        return;
                    }
                }
            }
            drop(answer);
            requests = requests.saturating_add(1);
            if config.requests_per_stream_max.is_some_and(|max| requests >= max.get()) {
                Counters::count(&counters.spent_streams);
                break;
            }
            if requests.is_multiple_of(REQUESTS_PER_TURN) {
                yield_now().await;
            }
        }
        let _ = alarm.within(config.write_timeout, stream.close()).await;
    }

    async fn next<S>(&self, frames: &mut Frames, stream: &mut S, alarm: &mut Alarm) -> Next
    where
        S: AsyncRead + Unpin,
    {
        let (config, counters) = (&self.shared.config, &self.shared.counters);
        let mut due = None;
        poll_fn(|cx| {
            if let Poll::Ready(frame) = frames.poll_next(cx, stream) {
                return Poll::Ready(match frame {
                    Ok(Some(payload)) => Next::Frame(payload),
                    Ok(None) => Next::End,
                    Err(Unreadable::NoRoom) => {
                        Counters::count(&counters.requests_refused);
                        tracing::debug!(peer = %self.peer, "stream cut: too much is held of requests that are not complete");
                        Next::Broken
                    }
                    Err(Unreadable::Codec(error)) => {
                        if let CodecError::Frame(_) = error {
                            Counters::count(&counters.bad_frames);
                            tracing::debug!(peer = %self.peer, %error, "stream cut");
                        }
                        Next::Broken
                    }
                });
            }
            // A frame has its deadline from its first byte on.
            let has_begun = frames.has_begun();
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
                    tracing::debug!(peer = %self.peer, "stream cut: its frame was not complete in time");
                    return Next::Broken;
                }
                Counters::count(&counters.idle_streams);
                Next::End
            })
        })
        .await
    }

    async fn answer(&self, payload: &Bytes, alarm: &mut Alarm) -> Answer {
        // Before anything is verified: who asks too often shall not cost a signature.
        let arrival = match self.dialect {
            Dialect::Rendezvous => RequestReader::arrival(payload),
            Dialect::Waku => WakuReader::arrival(payload),
        };
        if let Err(refusal) = self.shared.arrival(&self.requester(), &arrival) {
            return refused(self.dialect, Rejected { kind: arrival.kind, refusal });
        }
        let answered = match self.dialect {
            Dialect::Rendezvous => self.answer_rendezvous(payload, alarm).await,
            Dialect::Waku => self.answer_waku(payload, alarm).await,
        };
        answered.unwrap_or_else(|rejected| refused(self.dialect, rejected))
    }

    async fn answer_rendezvous(&self, payload: &Bytes, alarm: &mut Alarm) -> Result<Answer, Rejected> {
        let read = self.shared.reader.read(&self.peer, payload);
        match read.inspect_err(|rejected| self.shared.note_rejected(&self.peer, rejected))? {
            Command::Register(register) => {
                let is_unsigned = register.kind() == RecordKind::Unsigned;
                let begun = self.shared.register(&self.requester(), register);
                let ttl = self.registered(begun, alarm).await.map_err(|refusal| of(MessageType::Register, refusal))?;
                if is_unsigned {
                    self.agent.note_unsigned();
                }
                Ok(Answer::Frame(registered_frame(ttl)))
            }
            Command::Unregister(unregister) => {
                // What is asked next on this stream finds it done.
                if let Some(outcome) = self.shared.unregister(&self.peer, &unregister) {
                    let _ = self.committed(outcome, alarm).await;
                }
                Ok(Answer::Nothing)
            }
            Command::Discover(discover) => {
                let page = self.discover(&discover).await.map_err(|refusal| of(MessageType::Discover, refusal))?;
                Ok(Answer::Page(page.0, page.1))
            }
        }
    }

    async fn answer_waku(&self, payload: &Bytes, alarm: &mut Alarm) -> Result<Answer, Rejected> {
        let read = self.shared.waku_reader.read(&self.peer, payload);
        match read.inspect_err(|rejected| self.shared.note_rejected(&self.peer, rejected))? {
            WakuCommand::Register(register) => {
                let begun = self.shared.register(&self.requester(), register);
                let ttl = self.registered(begun, alarm).await.map_err(|refusal| of(MessageType::Register, refusal))?;
                Ok(Answer::Frame(waku_registered_frame(ttl)))
            }
            WakuCommand::Sample(sample) => {
                let page = self.sample(&sample).await.map_err(|refusal| of(MessageType::Discover, refusal))?;
                Ok(Answer::Page(page.0, page.1))
            }
        }
    }

    /// What a REGISTER comes to, which is known once it is durable.
    async fn registered(&self, begun: Result<shared::Answer, Refusal>, alarm: &mut Alarm) -> Result<Ttl, Refusal> {
        match begun? {
            shared::Answer::Now(ttl) => Ok(ttl),
            shared::Answer::Later(outcome) => self.committed(outcome, alarm).await?.ok_or(Refusal::StoreFailed),
        }
    }

    /// What a change comes to, unless the store takes too long: then it may still be carried out.
    async fn committed(&self, outcome: oneshot::Receiver<Outcome>, alarm: &mut Alarm) -> Outcome {
        match alarm.within(self.shared.config.commit_timeout, outcome).await {
            Some(settled) => settled.unwrap_or(Err(Refusal::StoreFailed)),
            None => {
                Counters::count(&self.shared.counters.slow_commits);
                Err(Refusal::StoreFailed)
            }
        }
    }

    /// Who asks, as far as the connection knows.
    fn requester(&self) -> Requester {
        let (agent_reads, may_wait) = self.agent.reads();
        Requester { peer: self.peer, origin: self.prefix.into(), agent_reads, may_wait }
    }

    async fn discover(&self, discover: &Discover<'_>) -> Result<(Page, (Turn, Share)), Refusal> {
        loop {
            let (turn, mut share) = self.room_for_page().await?;
            let requester = self.requester();
            match self.shared.with_server(|server, now| server.handle_discover(now, &requester, discover))? {
                Discovered::Page(page) => {
                    share.shrink_to(page.as_bytes().len());
                    return Ok((page, (turn, share)));
                }
                Discovered::AgentUnknown => {
                    drop((turn, share));
                    Counters::count(&self.shared.counters.agents_awaited);
                    self.agent.wait().await;
                }
            }
        }
    }

    async fn sample(&self, sample: &Sample<'_>) -> Result<(Page, (Turn, Share)), Refusal> {
        let (turn, mut share) = self.room_for_page().await?;
        let requester = self.requester();
        let page = self.shared.with_server(|server, now| server.handle_sample(now, &requester, sample));
        share.shrink_to(page.as_bytes().len());
        Ok((page, (turn, share)))
    }

    /// Room for the largest page: taken before the lookup, so that what is refused costs none.
    async fn room_for_page(&self) -> Result<(Turn, Share), Refusal> {
        let turn = match self.turns.try_take() {
            Some(turn) => turn,
            None => {
                Counters::count(&self.shared.counters.pages_awaited);
                self.turns.take().await
            }
        };
        match self.shared.pages.try_take(self.shared.page_bytes_max) {
            Some(share) => Ok((turn, share)),
            None => Err(self.shared.refuse_page(&self.peer)),
        }
    }
}

fn of(kind: MessageType, refusal: Refusal) -> Rejected {
    Rejected { kind: Some(kind), refusal }
}

/// What is written for a refusal.
fn refused(dialect: Dialect, Rejected { kind, refusal }: Rejected) -> Answer {
    let Some(kind) = kind else { return Answer::Close };
    let mut frame = Vec::new();
    let is_answered = match dialect {
        // Nothing is answered, and the frames after it are still frames.
        Dialect::Rendezvous if kind == MessageType::Unregister => return Answer::Nothing,
        Dialect::Rendezvous => refusal.encode_frame(kind, &mut frame),
        Dialect::Waku => refusal.encode_waku_frame(kind, &mut frame),
    };
    if is_answered { Answer::Frame(frame) } else { Answer::Close }
}

/// Gives way once.
pub(super) async fn yield_now() {
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
