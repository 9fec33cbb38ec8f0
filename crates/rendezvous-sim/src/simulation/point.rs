//! A point's process: what its shell does, its store's thread, its ends and beginnings.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use libp2p_identity::PeerId;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rendezvous_core::{
    Time,
    server::{Batch, BatchId, ChangeId, CommitFailed, RequestReader, Server, ServerConfig, registered_frame},
};
use rendezvous_store::{CommitError, LoadError, Store};
use rendezvous_wire::MessageType;

use super::{
    Flaw, Happening, Simulation,
    disk::{Disk, DiskKind, Observed},
    model::Model,
    network::{Sending, Way},
    plan::{POINT_KEYS, Plan},
    raw::Buckets,
    shifted,
    violation::{Breach, Invariant},
};
use crate::fixtures;

/// A point over all its lives.
#[derive(Debug)]
pub(super) struct Point {
    pub(super) id: PeerId,
    disk: Disk,
    /// By how much its wall clock is ahead.
    skew_millis: i64,
    /// Times that it has begun.
    pub(super) life: u64,
    pub(super) up: Option<Up>,
    pub(super) model: Model,
    /// Its time at the last commit that it reported as done, and at the last that it tried.
    committed: Option<Time>,
    tried: Option<Time>,
    pub(super) is_full_until: Time,
}

/// A process of a point.
pub(super) struct Up {
    pub(super) server: Server,
    pub(super) reader: RequestReader,
    store: Box<dyn Store>,
    /// The point's time when it began, and the true time then.
    anchor: (Time, Time),
    pub(super) waiting: BTreeMap<ChangeId, (Way, Sending)>,
    /// Handed out and not written yet; the first is being written.
    queue: VecDeque<Batch>,
    /// The point's time when the first began to be written.
    writing_since: Option<Time>,
    /// Batches handed out of which the point has not been told.
    untold: usize,
    pub(super) buckets: Buckets,
    /// Registrations listed first that a broken point goes on listing.
    pub(super) stale: Option<super::model::Found>,
}

impl core::fmt::Debug for Up {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Up").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Point {
    pub(super) fn new(index: usize, kind: DiskKind, plan: &Plan, rng: &mut ChaCha8Rng) -> Self {
        let disk = Disk::new(kind, rng);
        if let Disk::Journal(journal) = &disk {
            let mut journal = super::journal::lock(journal);
            journal.acknowledges_early = plan.flaw == Some(Flaw::StoreAcknowledgesEarly);
            journal.forgets_nothing = plan.flaw == Some(Flaw::StoreForgetsNothing);
        }
        Self {
            id: fixtures::keypair(POINT_KEYS + index as u64).public().to_peer_id(),
            disk,
            skew_millis: rng.random_range(-5_000..5_000),
            life: 0,
            up: None,
            model: Model::new(),
            committed: None,
            tried: None,
            is_full_until: Time::from_unix_millis(0),
        }
    }

    /// When its timer goes off.
    pub(super) fn due(&self, plan: &Plan) -> Option<Time> {
        let up = self.up.as_ref()?;
        let (clock, since) = up.anchor;
        Some(since + up.server.poll_timeout()?.saturating_since(clock) + plan.timer_lag)
    }

    /// Its clock; the wall clock where it does not run.
    pub(super) fn clock(&self, now: Time) -> Time {
        match &self.up {
            Some(up) => up.clock(now),
            None => shifted(now, self.skew_millis),
        }
    }

    pub(super) fn is_durable(&self) -> bool {
        self.disk.is_durable()
    }
}

impl Up {
    /// The point's clock.
    pub(super) fn clock(&self, now: Time) -> Time {
        self.anchor.0 + now.saturating_since(self.anchor.1)
    }
}

impl Simulation {
    pub(super) fn point_due(&mut self, point: usize) -> Result<(), Breach> {
        let clock = self.points[point].clock(self.now);
        if let Some(up) = &mut self.points[point].up {
            up.server.handle_timeout(clock);
        }
        self.note(format_args!("point {point} takes out what has ended"));
        self.after_input(point)
    }

    /// What a point's shell does after it has given its server something to do; and the check of all that it lists.
    pub(super) fn after_input(&mut self, point: usize) -> Result<(), Breach> {
        let clock = self.points[point].clock(self.now);
        let pipeline = self.plan.pipeline;
        let Point { up: Some(up), model, .. } = &mut self.points[point] else { return Ok(()) };
        while up.untold < pipeline
            && let Some(batch) = up.server.poll_commit()
        {
            model.polled(&batch, clock)?;
            up.untold += 1;
            up.queue.push_back(batch);
        }
        self.write_next(point);
        self.audit(point)
    }

    /// Begins to write the next batch, if none is being written.
    fn write_next(&mut self, point: usize) {
        let clock = self.points[point].clock(self.now);
        let Point { up: Some(up), life, .. } = &mut self.points[point] else { return };
        if up.writing_since.is_some() || up.queue.is_empty() {
            return;
        }
        up.writing_since = Some(clock);
        let life = *life;
        let most = if self.is_quiet { 30.min(self.plan.sync_millis_max) } else { self.plan.sync_millis_max };
        let mut time = Duration::from_millis(self.rng.random_range(0..=most));
        if !self.is_quiet && self.has_luck(self.plan.long_commit_per_mille) {
            time = self.up_to(Duration::from_secs(8));
            self.tally.commits_long += u64::from(time > Duration::from_secs(1));
        }
        self.schedule(time, Happening::Written { point, life });
    }

    pub(super) fn written(&mut self, point: usize, life: u64) -> Result<(), Breach> {
        if self.points[point].life != life || self.points[point].up.is_none() {
            return Ok(());
        }
        let is_full = self.points[point].is_full_until > self.now;
        let fails = !self.is_quiet && (is_full || self.has_luck(self.plan.failing_commit_per_mille));
        self.points[point].disk.set_failing(fails, &mut self.rng);
        let Some((batch, is_ok)) = self.commit(point)? else { return Ok(()) };
        self.points[point].disk.set_failing(false, &mut self.rng);
        let delay = self.up_to(Duration::from_millis(40));
        self.schedule(delay, Happening::Told { point, life, batch, is_ok });
        self.write_next(point);
        Ok(())
    }

    /// Has the store write the first batch.
    fn commit(&mut self, point: usize) -> Result<Option<(BatchId, bool)>, Breach> {
        let clock = self.points[point].clock(self.now);
        let Point { up: Some(up), model, disk, committed, tried, .. } = &mut self.points[point] else {
            return Ok(None);
        };
        let Some(batch) = up.queue.pop_front() else { return Ok(None) };
        let since = up.writing_since.take().unwrap_or(clock);
        let result = up.store.commit(since, &batch.changes);
        *tried = (*tried).max(Some(since));
        if result.is_ok() {
            *committed = (*committed).max(Some(since));
        }
        if let Err(CommitError::Damaged(damage)) = &result {
            return Err((Invariant::Acknowledged, format!("the store takes nothing: {damage}")));
        }
        let most = model.stored(batch.id, result.is_ok())?;
        if let Some(most) = most.filter(|most| disk.len() > *most) {
            let kept = disk.len();
            return Err((
                Invariant::Memory,
                format!("the store of point {point} keeps {kept}, {most} live: {}", model.kept()),
            ));
        }
        self.tally.commits += 1;
        self.tally.commits_failed += u64::from(result.is_err());
        let (changes, outcome) = (batch.changes.len(), result.as_ref().err().map(ToString::to_string));
        self.note(format_args!("point {point} wrote {changes} changes: {outcome:?}"));
        Ok(Some((batch.id, result.is_ok())))
    }

    pub(super) fn told(&mut self, point: usize, life: u64, batch: BatchId, is_ok: bool) -> Result<(), Breach> {
        let clock = self.points[point].clock(self.now);
        let Point { up: Some(up), model, life: current, .. } = &mut self.points[point] else { return Ok(()) };
        if *current != life {
            return Ok(());
        }
        up.untold -= 1;
        let settled = up.server.handle_committed(clock, batch, if is_ok { Ok(()) } else { Err(CommitFailed) });
        model.told(clock, batch, is_ok);
        let mut answers = Vec::new();
        for settled in settled {
            let Some((way, sending)) = up.waiting.remove(&settled.id) else { continue };
            match settled.result {
                Ok(Some(ttl)) => answers.push((way, sending, registered_frame(ttl), None)),
                Ok(None) => {}
                Err(refusal) => {
                    let mut frame = Vec::new();
                    refusal.encode_frame(MessageType::Register, &mut frame);
                    answers.push((way, sending, frame, Some(refusal)));
                }
            }
        }
        for (way, sending, frame, refusal) in answers {
            match &refusal {
                Some(refusal) => self.tally.refusals[refusal.kind() as usize] += 1,
                None => self.tally.acknowledged += 1,
            }
            self.note(format_args!("{way:?} is answered {:?}", refusal.map(|refusal| refusal.kind())));
            self.answer(way, &sending, frame, None);
        }
        self.after_input(point)
    }

    /// The process of a point ends: at once, or after all that it has taken is written and answered.
    pub(super) fn end(&mut self, point: usize) -> Result<(), Breach> {
        if self.points[point].up.is_none() {
            return Ok(());
        }
        let is_orderly = self.rng.random_range(0..4) == 0;
        if is_orderly {
            self.tally.stops += 1;
            let life = self.points[point].life;
            while let Some((batch, is_ok)) = self.commit(point)? {
                self.told(point, life, batch, is_ok)?;
            }
        } else {
            self.tally.crashes += 1;
            self.die_writing(point);
        }
        self.note(format_args!("point {point} ends, orderly: {is_orderly}"));
        let record = &mut self.points[point];
        record.up = None;
        record.model.crashed();
        record.disk.crash(&mut self.rng);
        for asker in 0..self.peers.len() + self.raws.len() {
            self.cut(asker, point)?;
        }
        self.step_clock(point);
        let away = self.up_to(Duration::from_secs(12));
        self.schedule(away, Happening::Start { point });
        Ok(())
    }

    /// The batch that is being written is written in part, or not at all, or wholly; nobody is told.
    fn die_writing(&mut self, point: usize) {
        let Point { up: Some(up), disk, tried, .. } = &mut self.points[point] else { return };
        if let (Some(batch), Some(since)) = (up.queue.front(), up.writing_since) {
            disk.die(&mut self.rng);
            // Whether it was written nobody learns: the process is gone.
            let _ = up.store.commit(since, &batch.changes);
            *tried = (*tried).max(Some(since));
            self.tally.commits_cut += 1;
        }
    }

    /// Sets the wall clock of a point that does not run.
    fn step_clock(&mut self, point: usize) {
        if !self.plan.steps_clocks || self.rng.random_range(0..2) == 0 {
            return;
        }
        let most = [2_000, 30_000, 4_000_000][self.rng.random_range(0..3)];
        let step = self.rng.random_range(-most..=most) * i64::from(self.plan.pace);
        self.points[point].skew_millis += step;
        self.tally.clocks_forward += u64::from(step > 0);
        self.tally.clocks_back += u64::from(step < 0);
        self.note(format_args!("the wall clock of point {point} is set by {step} ms"));
    }

    /// A point begins with what its store has kept.
    pub(super) fn start(&mut self, point: usize) -> Result<(), Breach> {
        if self.points[point].up.is_some() {
            return Ok(());
        }
        let wall = self.points[point].clock(self.now);
        let failing = if self.is_quiet || self.rng.random_range(0..4) > 0 { 0 } else { 150 };
        let seed = self.rng.random();
        let store = self.points[point].disk.open(failing);
        let opened = store.and_then(|mut store| {
            let mut observed = Observed { store: &mut *store, loaded: Vec::new() };
            let opened = rendezvous_store::open(&mut observed, wall, self.server_config(), seed, &mut |_| {});
            let loaded = observed.loaded;
            opened.map(|(server, opened)| (server, opened, loaded, store))
        });
        let (server, opened, loaded, store) = match opened {
            Ok(opened) => opened,
            Err(LoadError::Engine(_)) => {
                self.tally.starts_failed += 1;
                self.note(format_args!("point {point} does not start"));
                self.points[point].disk.crash(&mut self.rng);
                let again = self.up_to(Duration::from_secs(4));
                self.schedule(again, Happening::Start { point });
                return Ok(());
            }
            Err(error) => return Err((Invariant::Acknowledged, format!("point {point} does not start: {error}"))),
        };
        let now = self.now;
        let record = &mut self.points[point];
        let (least, most) = (Some(wall).max(record.committed), Some(wall).max(record.tried));
        if record.is_durable() && (Some(opened.now) < least || Some(opened.now) > most) {
            let what = format!("begins at {}, wall clock {wall}, last commit {least:?} to {most:?}", opened.now);
            return Err((Invariant::Expiry, format!("point {point} {what}")));
        }
        let is_more = record.model.restored(opened.now, &loaded)?;
        self.tally.commits_back += u64::from(is_more);
        record.life += 1;
        record.up = Some(Up {
            reader: server.reader(),
            server,
            store,
            anchor: (opened.now, now),
            waiting: BTreeMap::new(),
            queue: VecDeque::new(),
            writing_since: None,
            untold: 0,
            buckets: Buckets::default(),
            stale: None,
        });
        let (life, loaded) = (record.life, loaded.len());
        self.note(format_args!("point {point} begins life {life} with {loaded} at {}", opened.now));
        self.after_input(point)
    }

    fn server_config(&self) -> ServerConfig {
        let mut config = self.plan.server.clone();
        if self.plan.flaw == Some(Flaw::QuotasIgnored) {
            let unlimited = ServerConfig::default();
            config.registrations_per_peer_max = unlimited.registrations_per_peer_max;
            config.registrations_max = unlimited.registrations_max;
            config.registrations_per_prefix_max = unlimited.registrations_per_prefix_max;
            config.registrations_per_namespace_max = unlimited.registrations_per_namespace_max;
        }
        config
    }

    /// The payload of a frame.
    pub(super) fn payload(frame: &Bytes, payload_bytes_max: usize) -> Option<Bytes> {
        let (payload, _) = rendezvous_wire::frame::split(frame, payload_bytes_max).ok()??;
        Some(frame.slice_ref(payload))
    }
}
