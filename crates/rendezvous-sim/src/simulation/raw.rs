//! Peers that send what they like.

use std::collections::BTreeMap;

use bytes::Bytes;
use libp2p_identity::PeerId;
use rand::Rng;
use rendezvous_core::{
    Time,
    client::RequestKind,
    server::{IpPrefix, Rate},
};
use rendezvous_record::{Flavour, VerifiedRecord};
use rendezvous_wire::{Discover, Message, Register, RegisterResponse, Request, Response, Unregister};

use super::{Simulation, network::Sending};
use crate::fixtures;

/// Number of the first key of such peers.
const RAW_KEYS: u64 = 500;

/// A peer without a client.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) id: PeerId,
    pub(super) prefix: IpPrefix,
    records: [VerifiedRecord; 2],
}

impl Raw {
    pub(super) fn new(index: u64) -> Self {
        let records = Flavour::ALL.map(|flavour| fixtures::record(RAW_KEYS + index, flavour));
        Self { id: records[0].peer_id(), prefix: IpPrefix::V4([10, 0, 0]), records }
    }
}

impl Simulation {
    /// A peer that sends what it likes does so.
    pub(super) fn mischief(&mut self, raw: usize) {
        let point = self.rng.random_range(0..self.points.len());
        let count = if self.rng.random_range(0..8) == 0 {
            self.tally.floods += 1;
            12
        } else {
            1
        };
        for _ in 0..count {
            let (kind, frame) = self.malice(raw);
            self.note(format_args!("raw peer {raw} sends {kind} of {} bytes", frame.len()));
            let asker = self.peers.len() + raw;
            let frame = Bytes::from(frame);
            let sending = Sending { id: None, kind, namespace: None, frame, has_waited: false, number: 0, life: 0 };
            self.send(asker, point, sending);
        }
        if self.rng.random_range(0..10) == 0 {
            self.links.remove(&(self.peers.len() + raw, point));
        }
    }

    fn malice(&mut self, raw: usize) -> (RequestKind, Vec<u8>) {
        let namespace = self.namespace();
        let name = namespace.as_str().as_bytes();
        let own = self.raws[raw].records[self.rng.random_range(0..2)].envelope().clone();
        let ttl = self.rng.random_range(self.plan.ttl_secs.clone());
        let mut frame = Vec::new();
        let kind = match self.rng.random_range(0..16) {
            0..3 => {
                frame = Self::register_frame(name, &own, Some(ttl));
                RequestKind::Register
            }
            3 => {
                // Another's record, as anybody can have it from a page.
                self.tally.forgeries += 1;
                let number = self.rng.random_range(0..self.peers.len());
                let record = self.peers[number].client.own_record(Flavour::Standard);
                let record = record.map(|record| record.envelope().clone()).unwrap_or_default();
                frame = Self::register_frame(name, &record, Some(ttl));
                RequestKind::Register
            }
            4 => {
                self.tally.forgeries += 1;
                let victim = self.peers[self.rng.random_range(0..self.peers.len())].id.to_bytes();
                let namespace = self.rng.random::<bool>().then_some(name);
                Request::Unregister(Unregister { namespace, id: Some(&victim) }).encode_frame(&mut frame);
                RequestKind::Unregister
            }
            5 => {
                let ttl = [0, 1, u64::MAX, 1 << 63][self.rng.random_range(0..4)];
                frame = Self::register_frame(name, &own, Some(ttl));
                RequestKind::Register
            }
            6 => {
                let long = vec![b'n'; 256];
                let bad = [&b""[..], &[0xc3, 0x28], &long][self.rng.random_range(0..3)];
                frame = Self::register_frame(bad, &own, Some(ttl));
                RequestKind::Register
            }
            7 => {
                let mut broken = own.to_vec();
                let at = self.rng.random_range(0..broken.len());
                broken[at] ^= 1 << self.rng.random_range(0..8);
                frame = Self::register_frame(name, &broken, Some(ttl));
                RequestKind::Register
            }
            8 => {
                let register = Register { namespace: Some(name), signed_peer_record: None, ttl_secs: None };
                Request::Register(register).encode_frame(&mut frame);
                RequestKind::Register
            }
            9 | 10 => {
                let mut cookie = self.rng.random::<[u8; 8]>().to_vec();
                if self.rng.random() {
                    cookie[..2].fill(0);
                }
                match self.rng.random_range(0..4) {
                    0 => cookie.extend_from_slice(b"elsewhere"),
                    1 => cookie.truncate(3),
                    2 => cookie.clear(),
                    _ => cookie.extend_from_slice(name),
                }
                let namespace = (self.rng.random_range(0..3) > 0).then_some(name);
                let limit = Some([0, 1, 1_000, u64::MAX][self.rng.random_range(0..4)]);
                let discover = Discover { namespace, limit, cookie: Some(&cookie), reads: None };
                Request::Discover(discover).encode_frame(&mut frame);
                RequestKind::Discover
            }
            11 => {
                Response::Register(RegisterResponse::default()).encode_frame(&mut frame);
                RequestKind::Register
            }
            12 => {
                Message::default().encode_frame(&mut frame);
                RequestKind::Register
            }
            13 => {
                frame = (0..self.rng.random_range(1..60)).map(|_| self.rng.random()).collect();
                RequestKind::Discover
            }
            14 => {
                frame = Self::register_frame(name, &own, Some(ttl));
                let at = self.rng.random_range(0..frame.len());
                frame[at] ^= 1 << self.rng.random_range(0..8);
                RequestKind::Register
            }
            _ => {
                let namespace = self.rng.random::<bool>().then_some(name);
                Request::Unregister(Unregister { namespace, id: None }).encode_frame(&mut frame);
                RequestKind::Unregister
            }
        };
        (kind, frame)
    }
}

/// Token buckets as the documentation of rates has them, one each.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    peers: BTreeMap<PeerId, Bucket>,
    prefixes: BTreeMap<IpPrefix, Bucket>,
}

/// What is in a bucket, in milliseconds of its rate, and when that was.
type Bucket = (u64, Time);

impl Buckets {
    /// Whether a request passes; it takes a token of its peer's bucket, and if there is one of its prefix's.
    pub(super) fn pass(
        &mut self,
        now: Time,
        (rate, peer): (Option<Rate>, &PeerId),
        (prefix_rate, prefix): (Option<Rate>, &IpPrefix),
    ) -> bool {
        take(&mut self.peers, now, rate, *peer) && take(&mut self.prefixes, now, prefix_rate, *prefix)
    }
}

fn take<K: Ord>(buckets: &mut BTreeMap<K, Bucket>, now: Time, rate: Option<Rate>, key: K) -> bool {
    let Some(rate) = rate else { return true };
    let period = rate.period.as_millis() as u64;
    let full = period * u64::from(rate.burst);
    let (held, since) = buckets.entry(key).or_insert((full, now));
    *held = (*held + now.saturating_since(*since).as_millis() as u64).min(full);
    *since = now;
    if *held < period {
        return false;
    }
    *held -= period;
    true
}
