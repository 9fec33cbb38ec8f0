//! What this peer advertises: its addresses, signed.

use bytes::Bytes;
use libp2p_identity::{Keypair, PeerId};
use multiaddr::{Multiaddr, Protocol};
use rendezvous_record::{Flavour, Limits, SeqSource, SignError, VerifiedRecord, VerifyError};
use rendezvous_wire::{NAMESPACE_BYTES_MAX, PeerInfo, frame::REGISTER_BYTES_MAX};

use super::reach;
use crate::{RecordKind, Time};

/// What a REGISTER frame has around its record at most: length prefix (2), `type` (2), tag and length of `register` (3),
/// the namespace (3 and its bytes), tag and length of the record (3), a TTL of up to 72 h (4).
const REGISTER_OVERHEAD_BYTES_MAX: usize = 17 + NAMESPACE_BYTES_MAX;

/// Longest envelope that fits a REGISTER of every namespace.
const ENVELOPE_BYTES_MAX: usize = REGISTER_BYTES_MAX - REGISTER_OVERHEAD_BYTES_MAX;

/// Bytes of the addresses in a `PeerInfo`: more than this the Go point refuses.
const PEER_INFO_ADDRESS_BYTES_MAX: usize = 2_048;

/// What an address costs in a record beyond its bytes: two tags and two lengths of up to two bytes.
const ADDRESS_OVERHEAD_BYTES: usize = 6;

/// By how much lengths around the addresses may grow, measured on a record with none.
const GROWTH_BYTES_MAX: usize = 4;

/// Most addresses that are looked at; more than that is no list of one host's addresses.
const ADDRESSES_GIVEN_MAX: usize = 256;

/// Whether a record is there to be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    Ready,
    NoAddresses,
    CannotSign,
}

/// This peer's key, addresses and current records.
#[derive(Debug)]
pub(super) struct Own {
    key: Keypair,
    peer_id: PeerId,
    limits: Limits,
    seq: SeqSource,
    /// In the order of preference, without duplicates and without this peer's id at the end.
    addresses: Vec<Multiaddr>,
    /// By [`Flavour::index`]; made when they are first needed, and kept until the addresses change, so that refreshes
    /// repeat the same bytes and whoever remembers verified envelopes recognises them.
    records: Option<[VerifiedRecord; 2]>,
    /// Places of the addresses that are in none of the records.
    left_out: Vec<usize>,
    readiness: Readiness,
}

impl Own {
    pub(super) fn new(key: Keypair, limits: Limits) -> Self {
        let peer_id = key.public().to_peer_id();
        let seq = SeqSource::new();
        let readiness = Readiness::NoAddresses;
        Self { key, peer_id, limits, seq, addresses: Vec::new(), records: None, left_out: Vec::new(), readiness }
    }

    pub(super) fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    pub(super) fn addresses(&self) -> &[Multiaddr] {
        &self.addresses
    }

    /// The addresses that are in none of the records.
    pub(super) fn left_out(&self) -> impl Iterator<Item = &Multiaddr> {
        self.left_out.iter().filter_map(|place| self.addresses.get(*place))
    }

    pub(super) fn is_ready(&self) -> bool {
        self.records.is_some()
    }

    pub(super) fn record(&self, flavour: Flavour) -> Option<&VerifiedRecord> {
        self.records.as_ref().map(|records| &records[flavour.index()])
    }

    /// What a REGISTER carries in this kind; `None` while nothing can be registered.
    pub(super) fn bytes(&self, kind: RecordKind) -> Option<Bytes> {
        let records = self.records.as_ref()?;
        match kind {
            RecordKind::Signed(flavour) => Some(records[flavour.index()].envelope().clone()),
            RecordKind::Unsigned => Some(self.peer_info()),
        }
    }

    /// The addresses without a signature, as many as fit: each that still does behind those before it.
    fn peer_info(&self) -> Bytes {
        let mut left = PEER_INFO_ADDRESS_BYTES_MAX.min(self.limits.envelope_bytes_max);
        let fitting = self.addresses.iter().filter(|address| {
            let fits = address.len() <= left;
            left -= if fits { address.len() } else { 0 };
            fits
        });
        let mut bytes = Vec::new();
        let addresses = fitting.take(self.limits.addresses_max).map(AsRef::as_ref);
        PeerInfo::encode(&self.peer_id.to_bytes(), addresses, &mut bytes);
        bytes.into()
    }

    /// Replaces the addresses; `false`, and nothing changes, if they are the same set.
    pub(super) fn set_addresses(&mut self, addresses: Vec<Multiaddr>) -> bool {
        let mut kept: Vec<Multiaddr> = Vec::new();
        for mut address in addresses.into_iter().take(ADDRESSES_GIVEN_MAX) {
            // As go-libp2p has it: the record names the peer, its addresses need not.
            if address.iter().last() == Some(Protocol::P2p(self.peer_id)) {
                address.pop();
            }
            if !address.is_empty() && !kept.contains(&address) {
                kept.push(address);
            }
        }
        let is_same = kept.len() == self.addresses.len() && kept.iter().all(|address| self.addresses.contains(address));
        if is_same {
            return false;
        }
        self.addresses = kept;
        self.records = None;
        self.left_out.clear();
        true
    }

    /// Signs the addresses in both flavours, unless that is done.
    pub(super) fn prepare(&mut self, now: Time) -> Readiness {
        if self.records.is_some() {
            return Readiness::Ready;
        }
        self.readiness = match self.sign_both(now) {
            Ok(Some(records)) => {
                self.records = Some(records);
                Readiness::Ready
            }
            Ok(None) => Readiness::NoAddresses,
            Err(_) => Readiness::CannotSign,
        };
        self.readiness
    }

    fn sign_both(&mut self, now: Time) -> Result<Option<[VerifiedRecord; 2]>, SignError> {
        let [standard, legacy] = Flavour::ALL;
        let Some(standard) = self.sign_fitting(standard, now)? else { return Ok(None) };
        let Some(legacy) = self.sign_fitting(legacy, now)? else { return Ok(None) };
        let advertised: Vec<Multiaddr> = standard.addresses().chain(legacy.addresses()).collect();
        let is_left_out = |place: &usize| !advertised.contains(&self.addresses[*place]);
        self.left_out = (0..self.addresses.len()).filter(is_left_out).collect();
        Ok(Some([standard, legacy]))
    }

    /// Signs as many addresses as fit. Where not all do, they are taken in the order of [`reach::ranked`], each that still
    /// fits beside those before it; in the record they stand as they were given. `None` if not one fits.
    fn sign_fitting(&mut self, flavour: Flavour, now: Time) -> Result<Option<VerifiedRecord>, SignError> {
        let count = self.addresses.len().min(self.limits.addresses_max);
        if count == 0 {
            return Ok(None);
        }
        let limits = Limits {
            envelope_bytes_max: self.limits.envelope_bytes_max.min(ENVELOPE_BYTES_MAX),
            ..self.limits.clone()
        };
        let seq = self.seq.next(now.as_unix_nanos());
        let sign = |addresses: &[Multiaddr]| VerifiedRecord::sign(&self.key, flavour, seq, addresses, &limits);
        let ranked = reach::ranked(&self.addresses);
        match sign(&self.at(&ranked[..count])) {
            Err(SignError::Record(VerifyError::TooLarge { .. })) => {}
            signed => return signed.map(Some),
        }
        let Ok(bare) = sign(&[]) else { return Ok(None) };
        let mut left = limits.envelope_bytes_max.saturating_sub(bare.envelope().len() + GROWTH_BYTES_MAX);
        let mut fitting = Vec::new();
        for place in ranked {
            let cost = self.addresses[place].len() + ADDRESS_OVERHEAD_BYTES;
            if cost <= left && fitting.len() < count {
                left -= cost;
                fitting.push(place);
            }
        }
        if fitting.is_empty() { Ok(None) } else { sign(&self.at(&fitting)).map(Some) }
    }

    /// The addresses at these places, as they were given.
    fn at(&self, places: &[usize]) -> Vec<Multiaddr> {
        let mut places = places.to_vec();
        places.sort_unstable();
        places.into_iter().filter_map(|place| self.addresses.get(place).cloned()).collect()
    }
}
