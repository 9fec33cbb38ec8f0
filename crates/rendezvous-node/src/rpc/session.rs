//! One call at the side that is called.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{
    FutureExt as _,
    future::{BoxFuture, try_join},
};
use libp2p_identity::PeerId;
use tokio::{
    select,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    cbor,
    config::ERROR_BYTES_MAX,
    context::{Context, Names},
    flow::Output,
    frame::{FrameKind, FrameReader, FrameWriter, Header, payload},
    pipe::Pipe,
    services::Shared,
    status::Failure,
};

/// Frames of an answer that wait while one is written.
const FRAMES_WAITING: usize = 1;

/// Time for a caller to take the few bytes that say that it is not served.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Where a call comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    Network(PeerId),
    /// This peer itself.
    Local(PeerId),
}

impl Origin {
    fn peer(self) -> PeerId {
        match self {
            Self::Network(peer) | Self::Local(peer) => peer,
        }
    }
}

/// What a call's future needs.
pub(super) struct Session {
    shared: Arc<Shared>,
    origin: Origin,
}

type Items = mpsc::UnboundedSender<(Bytes, OwnedSemaphorePermit)>;

impl Session {
    pub(super) fn new(shared: Arc<Shared>, origin: Origin) -> Self {
        Self { shared, origin }
    }

    /// Serves the call to its end.
    pub(super) async fn serve(self, pipe: Pipe) {
        let caller = self.origin.peer();
        let (reader, writer) = pipe.split();
        let mut writer = FrameWriter::new(writer);
        let slot = match self.shared.slots.take(caller) {
            Ok(slot) => slot,
            Err(failure) => return finish(&mut writer, Err(failure), REFUSAL_TIMEOUT).await,
        };
        let reader = FrameReader::new(reader, self.shared.config.header_bytes_max);
        // Around everything that belongs to others: the policy, the method and its types, whether they run or are dropped.
        let result = AssertUnwindSafe(self.run(reader, &mut writer)).catch_unwind().await;
        let result = result.unwrap_or(Err(Failure::Panicked));
        if let Err(failure) = &result {
            tracing::debug!(%caller, ?failure, "call failed");
        }
        finish(&mut writer, result, self.shared.config.write_timeout).await;
        drop(slot);
    }

    async fn run(&self, mut reader: FrameReader, writer: &mut FrameWriter) -> Result<(), Failure> {
        let config = &self.shared.config;
        let header = select! {
            biased;
            () = self.shared.closed.cancelled() => return Err(Failure::Cancelled),
            header = timeout(config.header_timeout, read_header(&mut reader)) => {
                header.unwrap_or(Err(Failure::TimedOut))?
            }
        };
        let method = self.shared.resolve(self.origin, &header.service, &header.method)?;
        let allowed = header.timeout_ms.map_or(config.call_timeout_max, |timeout_ms| {
            Duration::from_millis(timeout_ms).min(config.call_timeout_max)
        });
        let over = self.shared.closed.child_token();
        let context = Context {
            caller: self.origin.peer(),
            names: Arc::new(Names { service: header.service, method: header.method }),
            deadline: Instant::now() + allowed,
            is_local: matches!(self.origin, Origin::Local(_)),
            over: over.clone(),
        };

        let (items, input) = mpsc::unbounded_channel();
        let (frames, output) = mpsc::channel(FRAMES_WAITING);
        // Outlives the method: were it dropped before, a request that breaks off would look like one that ends.
        let mut items = Some(items);
        // Dropped after the method, and before the items, for those who ask whether an end is one.
        let _over = over.drop_guard();
        let deadline = context.deadline;
        let answer = Output { frames, message_bytes_max: config.message_bytes_max };
        let answering = AssertUnwindSafe(async { (method.run)(context, input, answer).await }).catch_unwind();
        let answering = answering.map(|result| result.unwrap_or(Err(Failure::Panicked))).boxed();
        reader.set_body_bytes_max(config.message_bytes_max);
        let reading = read_items(&mut reader, &mut items, config.read_ahead_bytes);
        select! {
            failure = reading => Err(failure),
            result = timeout_at(deadline, answer_with(answering, output, writer, config.write_timeout)) => {
                result.unwrap_or(Err(Failure::TimedOut))
            }
            () = self.shared.closed.cancelled() => Err(Failure::Cancelled),
        }
    }
}

async fn read_header(reader: &mut FrameReader) -> Result<Header, Failure> {
    let Some(frame) = reader.next().await? else { return Err(Failure::Gone) };
    match frame.kind {
        FrameKind::Header => cbor::read(&frame.body).map_err(|error| Failure::Malformed(error.to_string())),
        FrameKind::Cancel => Err(Failure::Gone),
        kind => Err(Failure::Malformed(format!("frame of kind {} before the header", kind.code()))),
    }
}

/// Hands the request's items on, and watches for its caller to leave, which is what ends this.
async fn read_items(reader: &mut FrameReader, items: &mut Option<Items>, ahead_bytes: usize) -> Failure {
    let ahead = Arc::new(Semaphore::new(ahead_bytes));
    loop {
        let frame = match reader.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Failure::Gone,
            Err(error) => return error.into(),
        };
        match (frame.kind, &*items) {
            (FrameKind::Item, Some(to)) => {
                let len = frame.body.len().clamp(1, ahead_bytes);
                let len = u32::try_from(len).expect("what is read ahead is below 2^29 bytes");
                let share = ahead.clone().acquire_many_owned(len).await.expect("the semaphore is never closed");
                // A method that wants no more items gets none.
                let _ = to.send((frame.body, share));
            }
            (FrameKind::End, Some(_)) => *items = None,
            (FrameKind::Cancel, _) => return Failure::Gone,
            (kind @ (FrameKind::Item | FrameKind::End), None) => {
                return Failure::Malformed(format!("frame of kind {} after the end", kind.code()));
            }
            (kind, _) => return Failure::Malformed(format!("unexpected frame of kind {}", kind.code())),
        }
    }
}

/// Runs the method and writes what it sends.
async fn answer_with(
    answering: BoxFuture<'_, Result<(), Failure>>,
    mut output: mpsc::Receiver<Bytes>,
    writer: &mut FrameWriter,
    write_timeout: Duration,
) -> Result<(), Failure> {
    let has_answered = CancellationToken::new();
    let writing = async {
        loop {
            let frame = select! {
                biased;
                frame = output.recv() => frame,
                () = has_answered.cancelled(), if !output.is_closed() => {
                    // A sender that has outlived the method does not hold up the end.
                    output.close();
                    continue;
                }
            };
            let Some(frame) = frame else { break };
            writer.push(&frame);
            timeout(write_timeout, writer.flush()).await.map_err(|_| Failure::Gone)?.map_err(|_| Failure::Gone)?;
        }
        Ok::<(), Failure>(())
    };
    // A caller that does not take what is written ends the method at once; a method that fails has its items written first.
    let answering = answering.inspect(|_| has_answered.cancel()).map(Ok);
    let ((), answer) = try_join(writing, answering).await?;
    answer
}

/// Says how the call has ended, and ends the stream.
async fn finish(writer: &mut FrameWriter, result: Result<(), Failure>, write_timeout: Duration) {
    match result.map_err(Failure::into_body) {
        Ok(()) => writer.push_bare(FrameKind::End),
        Err(Some(body)) => match payload(FrameKind::Error, &body, ERROR_BYTES_MAX) {
            Ok(frame) => writer.push(&frame),
            Err(error) => tracing::error!(?error, "error does not fit its frame"),
        },
        Err(None) => return,
    }
    // Whoever does not take it has left.
    let _ = timeout(write_timeout, writer.close()).await;
}
