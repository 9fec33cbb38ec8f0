//! One inbound stream: frames in, answers out, in order, until its end.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{AsyncRead, AsyncWrite, AsyncWriteExt as _, channel::oneshot};
use libp2p_identity::PeerId;
use rendezvous_core::{
    RecordKind,
    server::{
        Command, Discover, Discovered, Origin, PAGE_BYTES_MIN, Refusal, Rejected, RequestReader, Requester, Sample,
        WakuCommand, WakuReader, registered_frame, waku_registered_frame,
    },
};
use rendezvous_wire::{CodecError, Dialect, MessageType, Page, Ttl};

use super::{
    agent::Agent,
    alarm::Alarm,
    budget::{Exceeded, Member, Resource, Slot},
    config::WRITE_BYTES,
    frames::{Frames, Unreadable},
    shared::{self, Counters, Shared},
    slice::Slice,
    turns::{Turn, Turns},
    writer::Outcome,
};
use crate::activity::Meter;

/// Requests of one stream that are answered before the tasks beside its connection have their turn, however cheap they are.
const REQUESTS_PER_TURN: u32 = 32;

/// What a stream's future needs.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) peer: PeerId,
    /// The bucket that the connection counts in.
    pub(super) member: Arc<Member>,
    /// When the connection was used last.
    pub(super) meter: Arc<Meter>,
    pub(super) shared: Arc<Shared>,
    pub(super) agent: Arc<Agent>,
    pub(super) turns: Arc<Turns>,
    pub(super) slice: Arc<Slice>,
    /// What is spoken on the stream.
    pub(super) dialect: Dialect,
}

/// What is written in return for a frame.
enum Answer {
    Frame(Vec<u8>),
    /// Its bytes are held in the stream's slot until it is written.
    Page(Page, #[expect(dead_code, reason = "held until the page is written")] Turn),
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
    /// Serves a stream until it ends, breaks a rule, or is evicted: it is reset then.
    pub(super) async fn serve<S>(self, stream: S, slot: Slot)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let served = pin!(self.serve_all(stream, &slot));
        if slot.unless_evicted(served).await.is_none() {
            let what = "streams are reset to make room for others";
            self.shared.note_exceeded("streams.max", self.origin(), Exceeded::Share, what);
            tracing::debug!(peer = %self.peer, "stream evicted: its network is above its share");
        }
    }

    /// Serves the requests of a stream in turn.
    ///
    /// Between frames it is closed in order, for those who read until the end. Within one it is reset: the other side may
    /// be writing still, and what it writes is read no more.
    async fn serve_all<S>(&self, mut stream: S, slot: &Slot)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (config, counters) = (&self.shared.config, &self.shared.counters);
        Counters::count(&counters.streams[self.dialect.index()]);
        let mut frames = Frames::new(config, slot);
        let mut alarm = Alarm::default();
        let mut requests: u32 = 0;
        let mut used = None;
        loop {
            let payload = match self.next(&mut frames, &mut stream, slot, &mut alarm).await {
                Next::Frame(payload) => payload,
                Next::End => break,
                Next::Broken => return,
            };
            // The requests of one connection do not hold up those of the others.
            requests = requests.saturating_add(1);
            if self.slice.is_over() || requests.is_multiple_of(REQUESTS_PER_TURN) {
                yield_now().await;
            }
            slot.mark(true);
            self.meter.note();
            used.get_or_insert_with(|| self.meter.used_stream());
            if !self.shared.dialects().contains(self.dialect) {
                tracing::debug!(peer = %self.peer, dialect = %self.dialect, "stream closed: the dialect is served no longer");
                break;
            }
            let answered = {
                let answering = pin!(self.answer(&payload, slot, &mut alarm));
                reading_on(&mut frames, &mut stream, answering).await
            };
            let answer = match answered {
                Ok(answer) => answer,
                Err(unreadable) => return self.note_unreadable(&unreadable),
            };
            drop(payload);
            if let Answer::Close = answer {
                Counters::count(&counters.bad_frames);
                tracing::debug!(peer = %self.peer, "stream closed: a message that is no request");
                break;
            }
            for part in answer.as_bytes().chunks(WRITE_BYTES) {
                // Of those in the same state, the one that has made no progress for longest is evicted first.
                slot.mark(true);
                let written = self.write(part, &mut frames, &mut stream);
                match alarm.within(self.write_timeout(slot), written).await {
                    Some(Ok(Ok(()))) => {}
                    // It has left before its answer, which is its right.
                    Some(Ok(Err(_))) => return,
                    Some(Err(unreadable)) => return self.note_unreadable(&unreadable),
                    None => {
                        Counters::count(&counters.slow_readers);
                        let what = "streams are cut whose answers are not read in time";
                        self.shared.note_limit("streams.write_timeout_secs", self.origin(), what);
                        tracing::debug!(peer = %self.peer, "stream cut: its answer was not read in time");
                        return;
                    }
                }
            }
            drop(answer);
            slot.shrink_to(Resource::PageBytes, 0);
            slot.mark(false);
            if config.requests_per_stream_max.is_some_and(|max| requests >= max.get()) {
                Counters::count(&counters.spent_streams);
                break;
            }
        }
        let _ = alarm.within(config.write_timeout, stream.close()).await;
    }

    fn origin(&self) -> Origin {
        self.member.origin()
    }

    /// Writes a part of an answer, and reads on while the peer does not take it.
    async fn write<S>(
        &self,
        mut part: &[u8],
        frames: &mut Frames<'_>,
        stream: &mut S,
    ) -> Result<io::Result<()>, Unreadable>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        poll_fn(|cx| match poll_write_all(cx, stream, &mut part) {
            Poll::Ready(written) => Poll::Ready(Ok(written)),
            Poll::Pending => frames.poll_ahead(cx, stream).map(Err),
        })
        .await
    }

    /// Time for a part of an answer to be taken: the setting, and down to a tenth of it as the pages of all connections
    /// fill their budget, for those whose origin is above its share.
    fn write_timeout(&self, slot: &Slot) -> Duration {
        let timeout = self.shared.config.write_timeout;
        timeout - timeout * u32::from(slot.page_pressure()) * 9 / 2_550
    }

    fn note_unreadable(&self, unreadable: &Unreadable) {
        let (counters, origin) = (&self.shared.counters, self.origin());
        match unreadable {
            Unreadable::NoRoom(exceeded) => {
                Counters::count(&counters.requests_refused);
                let what = "streams are reset because too much of requests is buffered";
                self.shared.note_exceeded("streams.requests_bytes_max", origin, *exceeded, what);
                tracing::debug!(peer = %self.peer, "stream cut: too much is held of requests that are not complete");
            }
            Unreadable::TooMuchAhead => {
                Counters::count(&counters.pipelined_refused);
                let what = "streams are reset that send on while a request of theirs waits";
                self.shared.note_limit("streams.pipelined_requests_max", origin, what);
                tracing::debug!(peer = %self.peer, "stream cut: too many requests wait behind one");
            }
            Unreadable::Codec(error @ CodecError::Frame(_)) => {
                Counters::count(&counters.bad_frames);
                let what = "streams are reset because of a frame that is too long, or none";
                self.shared.note_limit("streams.request_bytes_max", origin, what);
                tracing::debug!(peer = %self.peer, %error, "stream cut");
            }
            Unreadable::Codec(CodecError::Io(_)) => {}
        }
    }

    async fn next<S>(&self, frames: &mut Frames<'_>, stream: &mut S, slot: &Slot, alarm: &mut Alarm) -> Next
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
                    Err(unreadable) => {
                        self.note_unreadable(&unreadable);
                        Next::Broken
                    }
                });
            }
            // A frame has its deadline from its first byte on.
            let has_begun = frames.has_begun();
            let due = match due {
                Some((due, for_begun)) if for_begun == has_begun => due,
                _ => {
                    if has_begun {
                        slot.mark(true);
                    }
                    let limit = if has_begun { config.frame_timeout } else { config.idle_timeout };
                    due.insert((Instant::now() + limit, has_begun)).0
                }
            };
            alarm.poll(due, cx).map(|()| {
                if has_begun {
                    Counters::count(&counters.slow_senders);
                    let what = "streams are cut whose requests are not complete in time";
                    self.shared.note_limit("streams.frame_timeout_secs", self.origin(), what);
                    tracing::debug!(peer = %self.peer, "stream cut: its frame was not complete in time");
                    return Next::Broken;
                }
                Counters::count(&counters.idle_streams);
                Next::End
            })
        })
        .await
    }

    async fn answer(&self, payload: &Bytes, slot: &Slot, alarm: &mut Alarm) -> Answer {
        // Before anything is verified: who asks too often shall not cost a signature.
        let arrival = match self.dialect {
            Dialect::Rendezvous => RequestReader::arrival(payload),
            Dialect::Waku => WakuReader::arrival(payload),
        };
        if let Err(refusal) = self.shared.arrival(&self.requester(), &arrival) {
            return refused(self.dialect, Rejected { kind: arrival.kind, refusal });
        }
        let answered = match self.dialect {
            Dialect::Rendezvous => self.answer_rendezvous(payload, slot, alarm).await,
            Dialect::Waku => self.answer_waku(payload, slot, alarm).await,
        };
        answered.unwrap_or_else(|rejected| refused(self.dialect, rejected))
    }

    async fn answer_rendezvous(&self, payload: &Bytes, slot: &Slot, alarm: &mut Alarm) -> Result<Answer, Rejected> {
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
                self.discover(&discover, slot).await.map_err(|refusal| of(MessageType::Discover, refusal))
            }
        }
    }

    async fn answer_waku(&self, payload: &Bytes, slot: &Slot, alarm: &mut Alarm) -> Result<Answer, Rejected> {
        let read = self.shared.waku_reader.read(&self.peer, payload);
        match read.inspect_err(|rejected| self.shared.note_rejected(&self.peer, rejected))? {
            WakuCommand::Register(register) => {
                let begun = self.shared.register(&self.requester(), register);
                let ttl = self.registered(begun, alarm).await.map_err(|refusal| of(MessageType::Register, refusal))?;
                Ok(Answer::Frame(waku_registered_frame(ttl)))
            }
            WakuCommand::Sample(sample) => {
                self.sample(&sample, slot).await.map_err(|refusal| of(MessageType::Discover, refusal))
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
        Requester { peer: self.peer, origin: self.origin(), agent_reads, may_wait }
    }

    async fn discover(&self, discover: &Discover<'_>, slot: &Slot) -> Result<Answer, Refusal> {
        loop {
            let turn = self.turn().await;
            let wanted_bytes = self.shared.lock().page_bytes_needed(discover);
            let fitted = discover.clone().with_page_bytes_max(self.room_for_page(slot, wanted_bytes)?);
            let requester = self.requester();
            match self.shared.with_server(|server, now| server.handle_discover(now, &requester, &fitted))? {
                Discovered::Page(page) => {
                    slot.shrink_to(Resource::PageBytes, page.as_bytes().len());
                    return Ok(Answer::Page(page, turn));
                }
                Discovered::AgentUnknown => {
                    slot.shrink_to(Resource::PageBytes, 0);
                    drop(turn);
                    Counters::count(&self.shared.counters.agents_awaited);
                    self.agent.wait().await;
                }
            }
        }
    }

    async fn sample(&self, sample: &Sample<'_>, slot: &Slot) -> Result<Answer, Refusal> {
        let turn = self.turn().await;
        let wanted_bytes = self.shared.lock().sample_bytes_needed(sample);
        let fitted = sample.clone().with_page_bytes_max(self.room_for_page(slot, wanted_bytes)?);
        let requester = self.requester();
        let page = self.shared.with_server(|server, now| server.handle_sample(now, &requester, &fitted));
        slot.shrink_to(Resource::PageBytes, page.as_bytes().len());
        Ok(Answer::Page(page, turn))
    }

    /// The connection's turn at a page.
    async fn turn(&self) -> Turn {
        if let Some(turn) = self.turns.try_take() {
            return turn;
        }
        Counters::count(&self.shared.counters.pages_awaited);
        self.turns.take().await
    }

    /// Reserves bytes for a page before the lookup, so that what is refused costs none. Returns the bytes that the page
    /// may have: fewer than it wants if there is little room.
    fn room_for_page(&self, slot: &Slot, wanted_bytes: usize) -> Result<usize, Refusal> {
        match slot.take_page(wanted_bytes, PAGE_BYTES_MIN) {
            Ok(bytes) => {
                if bytes < wanted_bytes {
                    Counters::count(&self.shared.counters.pages_shrunk);
                }
                Ok(bytes)
            }
            Err(exceeded) => Err(self.shared.refuse_page(&self.peer, self.origin(), exceeded)),
        }
    }
}

/// What a future comes to, while its stream is read on.
///
/// # Errors
/// [`Unreadable`] if the stream has to end before.
async fn reading_on<S, F>(
    frames: &mut Frames<'_>,
    stream: &mut S,
    mut future: Pin<&mut F>,
) -> Result<F::Output, Unreadable>
where
    S: AsyncRead + Unpin,
    F: Future,
{
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => frames.poll_ahead(cx, stream).map(Err),
    })
    .await
}

/// Writes and flushes what is left of a part.
fn poll_write_all<S>(cx: &mut Context<'_>, stream: &mut S, part: &mut &[u8]) -> Poll<io::Result<()>>
where
    S: AsyncWrite + Unpin,
{
    while !part.is_empty() {
        let written = ready!(Pin::new(&mut *stream).poll_write(cx, part))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        *part = &part[written..];
    }
    Pin::new(stream).poll_flush(cx)
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
