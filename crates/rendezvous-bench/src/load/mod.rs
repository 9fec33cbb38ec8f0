//! Load for any rendezvous point on this machine: real connections, real streams, one request after the other on each.

mod client;
mod outcome;
mod target;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, future, stream};
use rendezvous_record::{Flavour, Limits, SeqSource, VerifiedRecord};
use rendezvous_sim::fixtures;
use rendezvous_wire::{Discover, Register, Request, Response, Status, Ttl, Unregister};
use tokio::time::timeout;

use self::client::{Client, ExchangeError};
pub use self::{
    client::ConnectError,
    outcome::Outcome,
    target::{InvalidTarget, Target},
};

/// TTL that is asked for: the one that every implementation accepts.
const TTL: Ttl = Ttl::DEFAULT;

/// Connections that are opened, or registered over while filling, at the same time.
const OPENING_MAX: usize = 32;

/// Time for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The first of the peers that a load is sent by; the peers that fill a point have the numbers below.
const CLIENTS_FIRST: u64 = 1_000_000_000;

/// Name of a namespace that is filled.
fn filled_namespace(number: u64) -> String {
    format!("/load/filled/{number}")
}

/// Peers that are connected to the point.
pub struct Clients {
    clients: Vec<Client>,
    flavour: Flavour,
    seqs: SeqSource,
    /// Namespaces of an earlier run are not new.
    run: u64,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// REGISTER in namespaces that the peer is not registered in: they bear this number, and that of the request.
    Register {
        /// Another number for each time.
        series: u64,
    },
    /// UNREGISTER of the same namespaces.
    Unregister {
        /// As given to [`Work::Register`].
        series: u64,
    },
    /// REGISTER in the one namespace that the peer is registered in, after the first time.
    Renew,
    /// DISCOVER of a filled namespace, without a cookie.
    Discover {
        /// Registrations asked for.
        limit: u64,
    },
}

/// One request, with what it borrows from.
enum Prepared {
    Register { namespace: String, record: Bytes },
    Unregister { namespace: String },
    Discover { namespace: String, limit: u64 },
}

impl Clients {
    /// Connects `count` peers.
    ///
    /// # Errors
    /// One of them gets no connection.
    pub async fn connect(target: &Target, count: u64, flavour: Flavour) -> Result<Self, ConnectError> {
        let connecting =
            (0..count).map(|number| Client::connect(target, fixtures::keypair(CLIENTS_FIRST + number), flavour));
        let clients = stream::iter(connecting).buffered(OPENING_MAX).try_collect().await?;
        let mut seqs = SeqSource::new();
        let run = seqs.next(unix_nanos());
        Ok(Self { clients, flavour, seqs, run })
    }

    /// Sends `requests` requests over all connections: each peer waits for its answer before it asks again.
    ///
    /// Each request has a stream of its own, unless `reuse` says that those of a peer share one.
    pub async fn run(&mut self, work: Work, requests: u64, reuse: bool) -> Outcome {
        let (run, flavour, count) = (self.run, self.flavour, self.clients.len() as u64);
        // Every peer gets its share of the sequence numbers.
        let seq = self.seqs.next(unix_nanos());
        self.seqs = SeqSource::after(seq + requests);
        let started = Instant::now();
        let runs = self.clients.iter_mut().zip(0..).map(|(client, number)| async move {
            let share = requests / count + u64::from(number < requests % count);
            let mut outcome = Outcome::default();
            for index in 0..share {
                let prepared = work.prepare(client, run, index, seq + index, flavour);
                client.measure(&prepared, reuse, &mut outcome).await;
            }
            outcome
        });
        let mut total = Outcome::default();
        future::join_all(runs).await.into_iter().for_each(|outcome| total.merge(outcome));
        total.elapsed = started.elapsed();
        total
    }
}

impl Work {
    fn prepare(self, client: &Client, run: u64, index: u64, seq: u64, flavour: Flavour) -> Prepared {
        let new_namespace = |series: u64| format!("/load/new/{run}/{series}/{index}");
        match self {
            // A record of its own for each, as clients sign one whenever they register.
            Self::Register { series } => {
                Prepared::Register { namespace: new_namespace(series), record: record(client, seq, flavour) }
            }
            Self::Unregister { series } => Prepared::Unregister { namespace: new_namespace(series) },
            Self::Renew => {
                Prepared::Register { namespace: "/load/renewed".to_owned(), record: record(client, seq, flavour) }
            }
            Self::Discover { limit } => Prepared::Discover { namespace: filled_namespace(0), limit },
        }
    }
}

impl Prepared {
    fn request(&self) -> Request<'_> {
        match self {
            Self::Register { namespace, record } => Request::Register(Register {
                namespace: Some(namespace.as_bytes()),
                signed_peer_record: Some(record),
                ttl_secs: Some(TTL.as_secs()),
            }),
            Self::Unregister { namespace } => {
                Request::Unregister(Unregister { namespace: Some(namespace.as_bytes()), id: None })
            }
            Self::Discover { namespace, limit } => Request::Discover(Discover {
                namespace: Some(namespace.as_bytes()),
                limit: Some(*limit),
                ..Discover::default()
            }),
        }
    }

    /// Registrations in the answer, if it is the right one.
    fn check(&self, answer: Option<&Bytes>) -> Result<u64, RequestError> {
        if let Self::Unregister { .. } = self {
            return if answer.is_none() { Ok(0) } else { Err(RequestError::AnotherAnswer) };
        }
        let answer = Response::decode(answer.ok_or(RequestError::NoAnswer)?)?;
        let (status, registrations) = match (self, &answer) {
            (Self::Register { .. }, Response::Register(response)) => (response.status, 0),
            (Self::Discover { .. }, Response::Discover(response)) => {
                (response.status, response.registrations.iter().filter(Result::is_ok).count() as u64)
            }
            _ => return Err(RequestError::AnotherAnswer),
        };
        match Status::from_wire(status) {
            Status::Ok => Ok(registrations),
            status => Err(RequestError::Refused(status)),
        }
    }
}

impl Client {
    async fn measure(&mut self, prepared: &Prepared, reuse: bool, outcome: &mut Outcome) {
        let started = Instant::now();
        match self.exchange(prepared, reuse).await {
            Ok(registrations) => outcome.answered(started.elapsed(), registrations),
            Err(error) => outcome.failed(error),
        }
    }

    async fn exchange(&mut self, prepared: &Prepared, reuse: bool) -> Result<u64, RequestError> {
        let request = prepared.request();
        let answer = async { if reuse { self.ask_on_kept(&request).await } else { self.ask(&request).await } };
        let answer = timeout(ANSWER_TIMEOUT, answer).await.map_err(|_| RequestError::Timeout)??;
        prepared.check(answer.as_ref())
    }
}

/// Fills a point: `peers` peers, each with a connection that it closes again, register in `namespaces` namespaces each.
///
/// # Errors
/// A connection or a registration fails: what would be measured after it would not be what was asked for.
pub async fn fill(target: &Target, peers: u64, namespaces: u64, flavour: Flavour) -> Result<Outcome, FillError> {
    let seq = unix_nanos();
    let started = Instant::now();
    let filling = (0..peers).map(|number| async move {
        let mut client = Client::connect(target, fixtures::keypair(number), flavour).await?;
        let record = record_of(number, &client, seq, flavour);
        let mut outcome = Outcome::default();
        for number in 0..namespaces {
            let prepared = Prepared::Register { namespace: filled_namespace(number), record: record.clone() };
            client.measure(&prepared, false, &mut outcome).await;
        }
        match &outcome.first_error {
            None => Ok(outcome),
            Some(error) => Err(FillError::Register(error.clone())),
        }
    });
    let outcomes = stream::iter(filling).buffer_unordered(OPENING_MAX);
    let mut total = outcomes
        .try_fold(Outcome::default(), |mut total, outcome| async move {
            total.merge(outcome);
            Ok(total)
        })
        .await?;
    total.elapsed = started.elapsed();
    Ok(total)
}

fn record(client: &Client, seq: u64, flavour: Flavour) -> Bytes {
    record_of(CLIENTS_FIRST, client, seq, flavour)
}

fn record_of(number: u64, client: &Client, seq: u64, flavour: Flavour) -> Bytes {
    let addresses = fixtures::addresses(number);
    let record = VerifiedRecord::sign(&client.key, flavour, seq, &addresses, &Limits::default());
    record.expect("an Ed25519 key signs, and three addresses are within the limits").envelope().clone()
}

fn unix_nanos() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// Why a point could not be filled.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// A peer gets no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A registration fails.
    #[error("a registration failed: {0}")]
    Register(String),
}

/// What is wrong with an answer.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    #[error("no answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Timeout,
    #[error("the stream ended without an answer")]
    NoAnswer,
    #[error("an answer to something else")]
    AnotherAnswer,
    #[error("{0}")]
    Malformed(#[from] rendezvous_wire::ResponseError),
    #[error("refused: {0}")]
    Refused(Status),
}
