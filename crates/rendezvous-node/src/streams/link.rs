//! What a connection is asked to open.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use futures::{channel::oneshot, task::AtomicWaker};
use libp2p::{StreamProtocol, swarm::ConnectionId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{error::OpenError, stream::Stream};

/// Where the answer to a request goes. Dropped without an answer, it tells that the connection is lost.
pub(super) type Reply = oneshot::Sender<Result<Stream, OpenError>>;

/// A stream that is to be opened.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) protocol: StreamProtocol,
    pub(super) deadline: Instant,
    pub(super) reply: Reply,
}

/// The way to one connection's handler.
///
/// Bounded by the places of the opens: each has at most one request, at one connection.
#[derive(Debug)]
pub(super) struct Link {
    connection: ConnectionId,
    queue: Mutex<Queue>,
    waker: AtomicWaker,
    /// Cancelled with the end, for the streams of this connection.
    ended: CancellationToken,
}

#[derive(Debug, Default)]
struct Queue {
    is_ended: bool,
    next: u64,
    waiting: VecDeque<(u64, Request)>,
}

impl Link {
    pub(super) fn new(connection: ConnectionId) -> Self {
        Self { connection, queue: Mutex::default(), waker: AtomicWaker::new(), ended: CancellationToken::new() }
    }

    pub(super) fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// Queues a request for as long as its ticket lives; gives it back if the connection has ended.
    pub(super) fn push(self: &Arc<Self>, request: Request) -> Result<Ticket, Request> {
        let mut queue = self.lock();
        if queue.is_ended {
            return Err(request);
        }
        let number = queue.next;
        queue.next += 1;
        queue.waiting.push_back((number, request));
        drop(queue);
        self.waker.wake();
        Ok(Ticket { link: self.clone(), number })
    }

    /// The request whose turn it is.
    pub(super) fn pop(&self) -> Option<Request> {
        self.lock().waiting.pop_front().map(|(_, request)| request)
    }

    /// Requests that wait for their turn.
    pub(super) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Tells those whose requests wait that the connection is lost, and takes no more of them.
    pub(super) fn end(&self) {
        let mut queue = self.lock();
        queue.is_ended = true;
        let lost = std::mem::take(&mut queue.waiting);
        drop(queue);
        // Behind the lock, since each wakes a task.
        drop(lost);
        self.ended.cancel();
    }

    /// Tells of the end.
    pub(super) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Has the handler polled again when there is a request, or when it is [woken](Self::wake).
    pub(super) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Has the connection polled, in which it reads anew what protocols there are.
    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    fn cancel(&self, number: u64) {
        let mut queue = self.lock();
        // Numbers rise along the queue.
        let place = queue.waiting.binary_search_by_key(&number, |(number, _)| *number);
        let cancelled = place.ok().and_then(|place| queue.waiting.remove(place));
        drop(queue);
        drop(cancelled);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue, given back on drop.
#[derive(Debug)]
pub(super) struct Ticket {
    link: Arc<Link>,
    number: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.link.cancel(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Answer = oneshot::Receiver<Result<Stream, OpenError>>;

    fn request(protocol: &'static str) -> (Request, Answer) {
        let (reply, answer) = oneshot::channel();
        (Request { protocol: StreamProtocol::new(protocol), deadline: Instant::now(), reply }, answer)
    }

    fn link() -> Arc<Link> {
        Arc::new(Link::new(ConnectionId::new_unchecked(1)))
    }

    #[test]
    fn requests_are_taken_in_order_and_a_dropped_ticket_takes_its_own_out() {
        let link = link();
        let requests = ["/a", "/b", "/c", "/d"].map(|protocol| request(protocol).0);
        let [first, second, third, fourth] = requests.map(|request| link.push(request).expect("the link stands"));
        drop(second);
        assert_eq!(link.len(), 3);
        assert_eq!(link.pop().expect("the first").protocol, "/a");
        drop(first);
        assert_eq!(link.len(), 2, "what is taken is no more in the queue");
        assert_eq!(link.pop().expect("the third").protocol, "/c");
        drop(fourth);
        assert!(link.pop().is_none());
        drop(third);
    }

    #[test]
    fn the_end_of_a_link_is_told_to_all_who_wait_and_to_all_who_come() {
        let link = link();
        let (waiting, mut answer) = request("/a");
        let ticket = link.push(waiting).expect("the link stands");
        assert!(matches!(answer.try_recv(), Ok(None)));
        link.end();
        assert!(answer.try_recv().is_err());
        assert!(link.push(request("/b").0).is_err());
        assert_eq!(link.len(), 0);
        drop(ticket);
    }
}
