//! Four honest clients that ask all the time, and how long each request takes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    client::{Client, Failure},
    point::Target,
    request,
};

/// Clients that ask at the same time.
pub const CLIENTS: u64 = 4;

/// The namespace that is discovered, with ten registrations.
pub const NAMESPACE: &str = "probe/listed";

/// Registrations of a DISCOVER.
pub const LISTED: usize = 10;

/// Time from the beginning of one request to the next, if it is answered by then.
const PACE: Duration = Duration::from_millis(20);

/// What a request was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// DISCOVER of ten.
    Discover,
    /// REGISTER again where the client is registered.
    Renew,
    /// REGISTER in a new namespace.
    Register,
    /// A new connection, with identify on it.
    Connect,
}

/// The part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Calm.
    Before,
    /// Under attack.
    During,
    /// After the attack.
    After,
}

/// What the probe has seen in a phase.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Time of each request that was answered, by what it was.
    pub answered: BTreeMap<Kind, Vec<Duration>>,
    /// Requests that were refused, reset or not answered, by what happened.
    pub failed: BTreeMap<String, u64>,
}

impl Seen {
    /// Requests that failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Requests that were answered.
    #[must_use]
    pub fn answers(&self) -> usize {
        self.answered.values().map(Vec::len).sum()
    }

    /// Time that this share of the requests of a kind took at most. `None` without an answer.
    #[must_use]
    pub fn quantile(&self, kind: Kind, share: f64) -> Option<Duration> {
        let mut times = self.answered.get(&kind)?.clone();
        times.sort_unstable();
        // The rank is within the list: the share is at most 1.
        let rank = (times.len() as f64 * share).ceil() as usize;
        times.get(rank.saturating_sub(1)).copied()
    }
}

/// The clients at work.
#[derive(Debug)]
pub struct Probe {
    phase: watch::Sender<Option<Phase>>,
    seen: Arc<Mutex<BTreeMap<Phase, Seen>>>,
    /// Namespaces in which a registration was acknowledged, with the number of the client.
    acknowledged: Arc<Mutex<Vec<(u64, String)>>>,
    clients: JoinSet<()>,
}

impl Probe {
    /// Connects the clients, and begins with the first phase.
    ///
    /// # Errors
    /// One of them does not get in, and there is no attack yet.
    pub async fn start(target: Target) -> Result<Self, Failure> {
        let (phase, phases) = watch::channel(Some(Phase::Before));
        let seen = Arc::<Mutex<BTreeMap<Phase, Seen>>>::default();
        let acknowledged = Arc::<Mutex<Vec<(u64, String)>>>::default();
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let client = Client::connect(&target.multiaddr(), target.peer, request::key(2, number)).await?;
            let worker = Worker {
                number,
                target,
                client: Some(client),
                phases: phases.clone(),
                seen: Arc::clone(&seen),
                acknowledged: Arc::clone(&acknowledged),
            };
            clients.spawn(worker.run());
        }
        Ok(Self { phase, seen, acknowledged, clients })
    }

    /// Requests that begin from here on count for this phase.
    pub fn enter(&self, phase: Phase) {
        self.phase.send_replace(Some(phase));
    }

    /// Waits for the requests in flight, and gives what was seen and what was acknowledged.
    pub async fn end(mut self) -> (BTreeMap<Phase, Seen>, Vec<(u64, String)>) {
        self.phase.send_replace(None);
        while self.clients.join_next().await.is_some() {}
        let seen = std::mem::take(&mut *lock(&self.seen));
        let acknowledged = std::mem::take(&mut *lock(&self.acknowledged));
        (seen, acknowledged)
    }
}

struct Worker {
    number: u64,
    target: Target,
    client: Option<Client>,
    phases: watch::Receiver<Option<Phase>>,
    seen: Arc<Mutex<BTreeMap<Phase, Seen>>>,
    acknowledged: Arc<Mutex<Vec<(u64, String)>>>,
}

impl Worker {
    async fn run(mut self) {
        let mut turn = self.number;
        loop {
            let Some(phase) = *self.phases.borrow() else { return };
            let begin = Instant::now();
            let kind = match turn % 10 {
                2 | 7 => Kind::Renew,
                4 => Kind::Register,
                9 => Kind::Connect,
                _ => Kind::Discover,
            };
            let outcome = self.request(kind, turn).await;
            self.note(phase, kind, outcome);
            turn += 1;
            sleep_until(begin + PACE).await;
        }
    }

    fn note(&self, phase: Phase, kind: Kind, outcome: Result<Duration, Failure>) {
        let mut seen = lock(&self.seen);
        let seen = seen.entry(phase).or_default();
        match outcome {
            Ok(time) => seen.answered.entry(kind).or_default().push(time),
            Err(failure) => *seen.failed.entry(format!("{kind:?}: {failure}")).or_default() += 1,
        }
    }

    /// One request. A client that has lost its connection makes a new one first, which counts as a request that failed if
    /// there is none.
    async fn request(&mut self, kind: Kind, turn: u64) -> Result<Duration, Failure> {
        let address = self.target.multiaddr();
        if kind == Kind::Connect {
            // A peer of its own: it is not the client's connection that is tested.
            let key = request::key(2, CLIENTS + turn * CLIENTS + self.number);
            let begin = Instant::now();
            Client::connect(&address, self.target.peer, key).await?;
            return Ok(begin.elapsed());
        }
        let key = request::key(2, self.number);
        let mut client = match self.client.take() {
            Some(client) => client,
            None => Client::connect(&address, self.target.peer, key.clone()).await?,
        };
        let own = |error: anyhow::Error| Failure::Own(error.to_string());
        let namespace = match kind {
            Kind::Register => format!("probe/new/{}/{turn}", self.number),
            _ => "probe/renewed".to_owned(),
        };
        let (bytes, listed) = match kind {
            Kind::Discover => (request::discover(Some(NAMESPACE), LISTED as u64, &[]), LISTED),
            Kind::Renew | Kind::Register | Kind::Connect => {
                let record = request::record(&key, 3).map_err(own)?;
                (request::register(&namespace, record.envelope()), 0)
            }
        };
        let begin = Instant::now();
        let outcome = client.ask_ok(&bytes, listed).await;
        let time = begin.elapsed();
        let is_lost = matches!(outcome, Err(Failure::Open(_) | Failure::Io(_) | Failure::Timeout));
        if !is_lost {
            self.client = Some(client);
        }
        outcome?;
        if kind == Kind::Register {
            lock(&self.acknowledged).push((self.number, namespace));
        }
        Ok(time)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_time_that_was_measured() {
        let mut seen = Seen::default();
        assert_eq!(seen.quantile(Kind::Discover, 0.99), None);
        seen.answered.insert(Kind::Discover, (1..=200).map(Duration::from_millis).collect());
        assert_eq!(seen.quantile(Kind::Discover, 0.5), Some(Duration::from_millis(100)));
        assert_eq!(seen.quantile(Kind::Discover, 0.99), Some(Duration::from_millis(198)));
        assert_eq!(seen.quantile(Kind::Discover, 1.0), Some(Duration::from_millis(200)));
    }
}
