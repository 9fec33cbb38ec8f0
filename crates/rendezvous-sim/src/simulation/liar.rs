//! A point that lies.

use bytes::Bytes;
use libp2p_identity::PeerId;
use rand::Rng;
use rendezvous_core::client::RequestKind;
use rendezvous_record::Flavour;
use rendezvous_wire::{Discover, PageWriter, Register, RegisterResponse, Request, Response, Status, frame};

use super::{
    Simulation,
    network::{Sending, Way},
    plan::POINT_KEYS,
};
use crate::fixtures;

/// Number of the first key of peers that are nowhere.
const GHOST_KEYS: u64 = 2_000;

impl Simulation {
    pub(super) fn point_id(&self, point: usize) -> PeerId {
        match self.points.get(point) {
            Some(point) => point.id,
            None => fixtures::keypair(POINT_KEYS + point as u64).public().to_peer_id(),
        }
    }

    pub(super) fn point_number(&self, id: &PeerId) -> usize {
        self.points.iter().position(|point| point.id == *id).unwrap_or(self.points.len())
    }

    /// Answers a request with whatever comes to mind.
    pub(super) fn lie(&mut self, way: Way, sending: &Sending) {
        self.tally.lies += 1;
        let lie = self.rng.random_range(0..10);
        let mut frame = Vec::new();
        match (lie, sending.kind) {
            // Nothing at all.
            (0, _) => return,
            (1, _) => return self.close(way, sending),
            (2, _) => frame = (0..self.rng.random_range(0..80)).map(|_| self.rng.random()).collect(),
            // A request.
            (3, _) => Request::Discover(Discover::default()).encode_frame(&mut frame),
            // An answer to something else.
            (4, RequestKind::Register) => frame = self.page_of_lies(sending, 1),
            (4, _) | (5, RequestKind::Register) => {
                let ttl_secs = Some([0, 1, 60, u64::MAX][self.rng.random_range(0..4)]);
                let response = RegisterResponse { status: Some(Status::Ok), ttl_secs, ..RegisterResponse::default() };
                Response::Register(response).encode_frame(&mut frame);
            }
            (_, RequestKind::Register) => {
                let status = Status::from_code([100, 102, 200, 300, 400, 999][self.rng.random_range(0..6)]);
                let text = Some(&b"no\x1b[2J\n"[..]);
                let response = RegisterResponse { status: Some(status), status_text: text, ttl_secs: Some(9) };
                Response::Register(response).encode_frame(&mut frame);
            }
            _ => {
                let count = self.rng.random_range(0..6);
                frame = self.page_of_lies(sending, count);
            }
        }
        self.note(format_args!("{way:?} is lied to"));
        self.answer(way, sending, frame, None);
    }

    /// A page that goes on for ever: of peers that are nowhere, in other namespaces, with records that are none.
    fn page_of_lies(&mut self, sending: &Sending, count: usize) -> Vec<u8> {
        let mut page = PageWriter::new(frame::PAGE_BYTES_MAX);
        let asked = sending.namespace.as_ref().map_or(&b"chat"[..], |name| name.as_str().as_bytes());
        for _ in 0..count {
            let number = GHOST_KEYS + self.rng.random_range(0..8);
            let mut record = self.ghost(number);
            let namespace = match self.rng.random_range(0..4) {
                0 => b"elsewhere",
                1 => &[0xff, 0xfe][..],
                _ => asked,
            };
            if self.rng.random_range(0..4) == 0 {
                record = Bytes::from_static(b"no record");
            }
            let ttl = [0, 1, 60, u64::MAX][self.rng.random_range(0..4)];
            page.push(namespace, &record, ttl);
        }
        let cookie: [u8; 12] = self.rng.random();
        page.finish(&cookie).as_bytes().to_vec()
    }

    fn ghost(&mut self, number: u64) -> Bytes {
        let record = self.ghosts.entry(number).or_insert_with(|| fixtures::record(number, Flavour::Standard));
        record.envelope().clone()
    }

    /// A REGISTER, as bytes.
    pub(super) fn register_frame(namespace: &[u8], record: &[u8], ttl_secs: Option<u64>) -> Vec<u8> {
        let mut frame = Vec::new();
        let register = Register { namespace: Some(namespace), signed_peer_record: Some(record), ttl_secs };
        Request::Register(register).encode_frame(&mut frame);
        frame
    }
}
