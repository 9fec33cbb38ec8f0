//! A bounded queue of lines in front of a stream, and the thread that writes them.
//!
//! A pipe that nobody reads blocks its writer, and a full disk fails every write. Behind this queue neither reaches the
//! rest of the program: [`LineQueue::push`] never waits, and only the thread blocks. Lines that find the queue full, or
//! whose write fails, are dropped and counted. The count takes their place in the stream as soon as a write succeeds.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// Most bytes that the thread takes out of the queue and writes at a time.
const BATCH_BYTES: usize = 64 << 10;

/// Pause before another attempt on a stream that somebody has set to non-blocking and that takes nothing.
const RETRY: Duration = Duration::from_millis(20);

/// Bounds of a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backlog {
    /// Most bytes that wait. A single entry that is larger is taken if nothing else waits.
    pub(crate) bytes_max: usize,
    /// Most lines that wait.
    pub(crate) lines_max: u64,
}

/// What hinders a stream. Each is reported once, and again only after the stream has worked in between.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The queue is full, because the stream takes lines too slowly or not at all.
    Full,
    /// A write has failed.
    Failed(io::Error),
}

/// How a queue's owner wants its stream treated.
pub(crate) struct Options {
    pub(crate) backlog: Backlog,
    /// The line that stands for this many lines that were not written.
    pub(crate) gap: fn(u64) -> String,
    /// Called with each trouble, on any thread.
    pub(crate) on_trouble: Box<dyn Fn(Trouble) + Send + Sync>,
}

/// A handle of the queue; clones are handles of the same queue.
#[derive(Clone)]
pub(crate) struct LineQueue(Arc<Shared>);

struct Shared {
    options: Options,
    state: Mutex<State>,
    /// Wakes the writing thread, and [`LineQueue::finish`].
    changed: Condvar,
    /// Wakes the tasks that wait for the writing thread.
    progress: Notify,
}

/// Entries of the queue, in the order of the stream.
enum Entry {
    /// One or several whole lines, each with its line feed.
    Lines(Vec<u8>),
    /// So many lines were dropped here.
    Gap(u64),
}

#[derive(Default)]
struct State {
    queue: VecDeque<Entry>,
    /// Bytes and lines in the queue and in the hands of the thread.
    bytes: usize,
    lines: u64,
    /// Whether the thread has taken something that it has not written yet.
    is_writing: bool,
    /// Whether the reader has gone (`EPIPE`): nothing is written any more.
    is_closed: bool,
    /// Whether lines are being dropped because the queue is full, which has been reported.
    is_full: bool,
    /// Why the last write failed; `None` after one that succeeded.
    failure: Option<io::ErrorKind>,
    /// Lines dropped since the start.
    dropped: u64,
}

impl LineQueue {
    /// Starts the thread that writes to `sink`.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub(crate) fn start(sink: impl Write + Send + 'static, options: Options) -> io::Result<Self> {
        let queue = Self(Arc::new(Shared {
            options,
            state: Mutex::default(),
            changed: Condvar::new(),
            progress: Notify::new(),
        }));
        let writer = Writer { shared: Arc::clone(&queue.0), sink, lost: 0, is_within_line: false };
        thread::Builder::new().name("output".to_owned()).spawn(move || writer.run())?;
        Ok(queue)
    }

    /// Queues whole lines, each with its line feed. If the queue is full, drops and counts them.
    pub(crate) fn push(&self, lines: Vec<u8>) {
        let Backlog { bytes_max, lines_max } = self.0.options.backlog;
        let number = count_lines(&lines);
        let mut state = self.0.lock();
        if state.is_closed {
            return;
        }
        let fits = state.bytes + lines.len() <= bytes_max && state.lines + number <= lines_max;
        if fits || state.lines == 0 {
            state.add(lines, number);
            drop(state);
            self.0.changed.notify_all();
            return;
        }
        match state.queue.back_mut() {
            Some(Entry::Gap(dropped)) => *dropped += number,
            _ => state.queue.push_back(Entry::Gap(number)),
        }
        state.dropped += number;
        let is_news = !std::mem::replace(&mut state.is_full, true);
        drop(state);
        if is_news {
            (self.0.options.on_trouble)(Trouble::Full);
        }
    }

    /// Queues lines whether or not there is room: for producers that wait for [`has_room`](Self::has_room) before they
    /// produce more, and for the last words of the program.
    pub(crate) fn push_anyway(&self, lines: Vec<u8>) {
        let number = count_lines(&lines);
        let mut state = self.0.lock();
        if !state.is_closed {
            state.add(lines, number);
            drop(state);
            self.0.changed.notify_all();
        }
    }

    /// Whether the reader of the stream has gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.lock().is_closed
    }

    /// Lines dropped since the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.lock().dropped
    }

    /// Waits until the queue is at most half full.
    pub(crate) async fn has_room(&self) {
        let Backlog { bytes_max, lines_max } = self.0.options.backlog;
        self.0.until(|state| (state.bytes <= bytes_max / 2 && state.lines <= lines_max / 2).then_some(())).await;
    }

    /// Waits until everything in the queue has been written, or dropped after a failed write.
    pub(crate) async fn is_drained(&self) {
        self.0.until(|state| state.is_drained().then_some(())).await;
    }

    /// Waits until the reader has gone, or a write has failed; that failure.
    pub(crate) async fn is_useless(&self) -> Result<(), io::Error> {
        let failed = |state: &State| match state.failure {
            Some(kind) => Some(Err(kind.into())),
            None => state.is_closed.then_some(Ok(())),
        };
        self.0.until(failed).await
    }

    /// Blocks until everything in the queue has been written or dropped, or until the deadline. Whether it was.
    pub(crate) fn finish(&self, deadline: Instant) -> bool {
        let mut state = self.0.lock();
        while !state.is_drained() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl fmt::Debug for LineQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineQueue").finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn until<T>(&self, look: impl Fn(&State) -> Option<T>) -> T {
        loop {
            let progress = self.progress.notified();
            tokio::pin!(progress);
            // From here on no change is missed.
            progress.as_mut().enable();
            if let Some(seen) = look(&self.lock()) {
                return seen;
            }
            progress.await;
        }
    }
}

impl State {
    fn add(&mut self, lines: Vec<u8>, number: u64) {
        self.bytes += lines.len();
        self.lines += number;
        self.queue.push_back(Entry::Lines(lines));
    }

    fn is_drained(&self) -> bool {
        self.is_closed || self.queue.is_empty() && !self.is_writing
    }
}

/// The thread's side.
struct Writer<W> {
    shared: Arc<Shared>,
    sink: W,
    /// Lines that are to be reported as not written.
    lost: u64,
    /// Whether a failed write has left a part of a line in the stream.
    is_within_line: bool,
}

/// What the thread writes at a time.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Of the queue: what is given back when the batch has been dealt with.
    queued_bytes: usize,
    queued_lines: u64,
    /// Each line of the batch: its end, how many lines it stands for, and whether those had been dropped before.
    ends: Vec<(usize, u64, bool)>,
}

impl<W: Write> Writer<W> {
    fn run(mut self) {
        while let Some(batch) = self.take() {
            let result = self.write(&batch.bytes);
            self.settle(&batch, result);
        }
    }

    /// The next batch, once there is one; `None` if the reader has gone.
    fn take(&mut self) -> Option<Batch> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        while state.queue.is_empty() && !state.is_closed {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.is_closed {
            return None;
        }
        let gap = self.shared.options.gap;
        let mut batch = Batch::default();
        if self.is_within_line {
            batch.bytes.push(b'\n');
        }
        if self.lost > 0 {
            batch.add_gap(gap, self.lost);
        }
        self.lost = 0;
        while let Some(entry) = state.queue.pop_front() {
            match entry {
                Entry::Gap(lines) => batch.add_gap(gap, lines),
                Entry::Lines(lines) => {
                    batch.queued_bytes += lines.len();
                    let mut at = batch.bytes.len();
                    for line in lines.split_inclusive(|byte| *byte == b'\n') {
                        at += line.len();
                        batch.ends.push((at, 1, false));
                    }
                    batch.queued_lines += count_lines(&lines);
                    batch.bytes.extend_from_slice(&lines);
                }
            }
            if batch.bytes.len() >= BATCH_BYTES {
                break;
            }
        }
        state.is_writing = true;
        Some(batch)
    }

    /// Writes it all; with an error, how much had been written before.
    fn write(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut written = 0;
        while written < bytes.len() {
            match self.sink.write(&bytes[written..]) {
                Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(RETRY),
                Err(error) => return Err((written, error)),
            }
        }
        self.sink.flush().map_err(|error| (written, error))
    }

    fn settle(&mut self, batch: &Batch, result: Result<(), (usize, io::Error)>) {
        let mut trouble = None;
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        state.is_writing = false;
        state.bytes -= batch.queued_bytes;
        state.lines -= batch.queued_lines;
        match result {
            Ok(()) => {
                self.is_within_line = false;
                state.failure = None;
                if state.queue.is_empty() {
                    state.is_full = false;
                }
            }
            Err((_, error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                state.is_closed = true;
                state.queue.clear();
                (state.bytes, state.lines) = (0, 0);
            }
            Err((written, error)) => {
                let unwritten = || batch.ends.iter().filter(|(end, ..)| *end > written);
                self.lost = unwritten().map(|(_, lines, _)| lines).sum();
                state.dropped += unwritten().filter(|(.., is_gap)| !is_gap).map(|(_, lines, _)| lines).sum::<u64>();
                if written > 0 {
                    self.is_within_line = batch.bytes[written - 1] != b'\n';
                }
                let is_news = state.failure.replace(error.kind()).is_none();
                trouble = is_news.then_some(Trouble::Failed(error));
            }
        }
        drop(state);
        shared.changed.notify_all();
        shared.progress.notify_waiters();
        if let Some(trouble) = trouble {
            (shared.options.on_trouble)(trouble);
        }
    }
}

impl Batch {
    fn add_gap(&mut self, gap: fn(u64) -> String, lines: u64) {
        self.bytes.extend_from_slice(gap(lines).as_bytes());
        self.bytes.push(b'\n');
        self.ends.push((self.bytes.len(), lines, true));
    }
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A stream whose writes do what the test says, one after the other: take so many bytes, or fail.
    struct Scripted {
        says: Receiver<Result<usize, io::ErrorKind>>,
        /// Each write that was taken; an empty one for one that has begun.
        told: Sender<Vec<u8>>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.told.send(Vec::new());
            // Without a test that says more, everything is taken.
            let taken = self.says.recv().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
            let _ = self.told.send(bytes[..taken].to_vec());
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Bench {
        queue: LineQueue,
        say: Sender<Result<usize, io::ErrorKind>>,
        told: Receiver<Vec<u8>>,
        troubles: Receiver<String>,
    }

    impl Bench {
        fn start(bytes_max: usize, lines_max: u64) -> Self {
            let (say, says) = channel();
            let (tell, told) = channel();
            let (trouble, troubles) = channel();
            let options = Options {
                backlog: Backlog { bytes_max, lines_max },
                gap: |lines| format!("({lines} lost)"),
                on_trouble: Box::new(move |what| _ = trouble.send(format!("{what:?}"))),
            };
            let queue = LineQueue::start(Scripted { says, told: tell }, options).expect("there are threads");
            Self { queue, say, told, troubles }
        }

        fn push(&self, line: &str) {
            self.queue.push(format!("{line}\n").into_bytes());
        }

        /// Waits until the thread is within a write.
        fn begun(&self) {
            assert_eq!(self.told.recv().expect("it writes"), b"");
        }

        /// Lets everything pass, and gives what has been written since.
        fn rest(self) -> String {
            let Self { queue, say, told, .. } = self;
            drop(say);
            assert!(queue.finish(Instant::now() + Duration::from_secs(60)));
            String::from_utf8(told.try_iter().flatten().collect()).expect("it is text")
        }
    }

    #[test]
    fn a_stream_that_takes_nothing_costs_no_more_than_the_backlog_and_is_told_what_it_missed() {
        let bench = Bench::start(1_000, 3);
        bench.push("first");
        bench.begun();
        for number in 0..100 {
            bench.push(&format!("line {number}"));
        }
        assert_eq!(bench.queue.0.lock().queue.len(), 3, "two lines and a gap");
        assert_eq!(bench.troubles.try_iter().collect::<Vec<_>>(), ["Full"]);
        assert_eq!(bench.rest(), "first\nline 0\nline 1\n(98 lost)\n");
    }

    #[test]
    fn bytes_bound_the_queue_as_well_but_for_an_entry_that_is_alone() {
        let bench = Bench::start(10, 1_000);
        bench.push("longer than ten bytes");
        bench.begun();
        bench.push("short");
        assert_eq!(bench.rest(), "longer than ten bytes\n(1 lost)\n");
    }

    #[test]
    fn a_failed_write_loses_its_lines_which_are_told_when_the_next_succeeds() {
        let bench = Bench::start(1_000, 100);
        bench.say.send(Err(io::ErrorKind::StorageFull)).expect("it listens");
        bench.push("one");
        bench.begun();
        // The second write begins when the first has been dealt with.
        bench.push("two");
        bench.begun();
        bench.say.send(Err(io::ErrorKind::StorageFull)).expect("it listens");
        bench.push("three");
        bench.begun();
        assert_eq!(bench.troubles.try_iter().collect::<Vec<_>>(), ["Failed(Kind(StorageFull))"], "once");
        assert_eq!(bench.queue.dropped(), 2);
        assert_eq!(bench.rest(), "(2 lost)\nthree\n");
    }

    #[test]
    fn what_follows_a_torn_line_begins_a_line_of_its_own() {
        let bench = Bench::start(1_000, 100);
        bench.say.send(Ok(2)).expect("it listens");
        bench.say.send(Err(io::ErrorKind::StorageFull)).expect("it listens");
        bench.push("torn");
        bench.begun();
        assert_eq!(bench.told.recv().expect("a part"), b"to");
        bench.begun();
        bench.push("whole");
        bench.begun();
        assert_eq!(bench.rest(), "\n(1 lost)\nwhole\n");
    }

    #[test]
    fn a_reader_that_has_gone_is_no_trouble_and_nothing_is_kept_for_it() {
        let bench = Bench::start(1_000, 100);
        bench.say.send(Err(io::ErrorKind::BrokenPipe)).expect("it listens");
        bench.push("one");
        assert!(bench.queue.finish(Instant::now() + Duration::from_secs(60)));
        assert!(bench.queue.is_closed());
        bench.push("two");
        assert_eq!(bench.queue.0.lock().queue.len(), 0);
        assert_eq!(bench.troubles.try_iter().count(), 0);
    }

    #[tokio::test]
    async fn a_producer_that_waits_for_room_loses_nothing() {
        let bench = Bench::start(1_000, 4);
        for number in 0..10 {
            bench.queue.push_anyway(format!("{number}\n").into_bytes());
        }
        bench.begun();
        let queue = bench.queue.clone();
        let room = queue.has_room();
        tokio::pin!(room);
        assert!(futures::poll!(room.as_mut()).is_pending());
        let written = thread::spawn(move || bench.rest());
        room.await;
        assert_eq!(written.join().expect("it ends"), "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    }

    #[test]
    fn the_end_does_not_wait_longer_than_its_deadline() {
        let bench = Bench::start(1_000, 4);
        bench.push("stuck");
        bench.begun();
        assert!(!bench.queue.finish(Instant::now()));
    }
}
