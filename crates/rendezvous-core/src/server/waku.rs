//! The Waku dialect at the point: short-lived registrations in the same registry, and DISCOVER as a random choice.

use bytes::Bytes;
use libp2p_identity::PeerId;
use rendezvous_record::Flavour;
use rendezvous_wire::{
    Dialect, Limit, MessageType, Page, PageWriter, RegisterResponse, Status, Ttl,
    waku::{Request, Response},
};

use super::{
    Discover, PAGE_BYTES_MIN, REGISTRATION_BYTES_GUESS, Refusal, Register, Rejected, RequestReader, Requester, Server,
    config::ServerConfig,
};
use crate::Time;

/// A request of the Waku dialect that has passed every check that needs no state.
#[derive(Debug)]
pub enum WakuCommand<'a> {
    /// REGISTER, for [`Server::handle_register`].
    Register(Register<'a>),
    /// DISCOVER, for [`Server::handle_sample`].
    Sample(Sample<'a>),
}

/// A checked DISCOVER of the Waku dialect.
#[derive(Clone, Debug)]
pub struct Sample<'a> {
    /// `None` for all namespaces.
    namespace: Option<&'a str>,
    limit: Limit,
    page_bytes_max: usize,
}

impl Sample<'_> {
    /// Bounds the page by the bytes that the caller has room for; see [`Discover::with_page_bytes_max`].
    #[must_use]
    pub fn with_page_bytes_max(mut self, bytes: usize) -> Self {
        self.page_bytes_max = bytes;
        self
    }
}

/// Reads and checks requests of the Waku dialect: what [`RequestReader`] is to `/rendezvous/1.0.0`.
///
/// Policies and bounds are the same, but for the TTL ([`ServerConfig::waku_ttl_max`] and its neighbours); records of the
/// standard flavour alone are taken, since this dialect's clients read no other.
#[derive(Clone, Debug)]
pub struct WakuReader(RequestReader);

impl WakuReader {
    /// A reader with the bounds of these settings.
    #[must_use]
    pub fn new(config: &ServerConfig) -> Self {
        Self(RequestReader::waku(config))
    }

    /// Reads the payload of one frame that `peer`, authenticated by the transport, has sent.
    ///
    /// # Errors
    /// [`Rejected`] with the refusal to be answered, by [`Refusal::encode_waku_frame`].
    pub fn read<'a>(&self, peer: &PeerId, payload: &'a Bytes) -> Result<WakuCommand<'a>, Rejected> {
        let request =
            Request::decode(payload).map_err(|error| Rejected { kind: error.kind(), refusal: Refusal::Malformed })?;
        let (kind, read) = match request {
            Request::Register(register) => {
                (MessageType::Register, self.0.register(peer, payload, &register).map(WakuCommand::Register))
            }
            Request::Discover(discover) => {
                let (namespace, limit) = (discover.namespace, discover.limit);
                let discover = rendezvous_wire::Discover { namespace, limit, ..rendezvous_wire::Discover::default() };
                (MessageType::Discover, self.sample(peer, &discover).map(WakuCommand::Sample))
            }
        };
        read.map_err(|refusal| Rejected { kind: Some(kind), refusal })
    }

    /// The type of the request in a payload, if it has one: what a refusal answers to that comes before reading.
    #[must_use]
    pub fn kind(payload: &[u8]) -> Option<MessageType> {
        match Request::decode(payload) {
            Ok(Request::Register(_)) => Some(MessageType::Register),
            Ok(Request::Discover(_)) => Some(MessageType::Discover),
            Err(error) => error.kind(),
        }
    }

    fn sample<'a>(&self, peer: &PeerId, discover: &rendezvous_wire::Discover<'a>) -> Result<Sample<'a>, Refusal> {
        let discover = self.0.discover_decoded(peer, discover)?;
        let Discover { namespace, limit, page_bytes_max, .. } = discover;
        Ok(Sample { namespace, limit, page_bytes_max })
    }
}

impl Server {
    /// A reader of requests in the Waku dialect, with this point's bounds.
    #[must_use]
    pub fn waku_reader(&self) -> WakuReader {
        WakuReader::new(&self.config)
    }

    /// DISCOVER of the Waku dialect: a uniform random choice, without replacement, of the living registrations of the
    /// namespace that have a record of the standard flavour, by whichever dialect they came.
    ///
    /// It costs as much as what it serves, however large the namespace is. Where the page is full by bytes it ends early.
    pub fn handle_sample(&mut self, now: Time, requester: &Requester, sample: &Sample<'_>) -> Page {
        self.advance(now);
        let Sample { namespace, limit, .. } = *sample;
        let mut page = PageWriter::of(Dialect::Waku, self.page_payload_bytes(sample.page_bytes_max));
        let there = namespace.map_or(self.registry.len(), |name| self.registry.count_in(name));
        page.reserve(limit.count().min(there) * REGISTRATION_BYTES_GUESS);
        if !self.fill_with_sample(&mut page, namespace, limit.count()) && page.count() == 0 {
            page = PageWriter::of(Dialect::Waku, PAGE_BYTES_MIN);
            self.fill_with_sample(&mut page, namespace, 1);
        }
        let page = page.finish(&[]);
        self.note_served(requester, namespace, page.count());
        page
    }

    /// Bytes that the answer to a sample can need: what [`Self::page_bytes_needed`] is to DISCOVER.
    #[must_use]
    pub fn sample_bytes_needed(&self, sample: &Sample<'_>) -> usize {
        self.page_bytes_bound(sample.namespace, sample.limit, sample.page_bytes_max)
    }

    /// Fills a page with a sample; `false` if a registration was left out because the page is full.
    fn fill_with_sample(&mut self, page: &mut PageWriter, namespace: Option<&str>, count: usize) -> bool {
        let mut has_room = true;
        self.registry.sample(self.now, namespace, Flavour::Standard, count, &mut self.rng, |served| {
            has_room = page.push(served.namespace.as_str().as_bytes(), served.record, served.ttl_secs);
            has_room
        });
        has_room
    }
}

/// The frame that answers a REGISTER of the Waku dialect that was granted.
#[must_use]
pub fn waku_registered_frame(ttl: Ttl) -> Vec<u8> {
    let response =
        RegisterResponse { status: Some(Status::Ok), ttl_secs: Some(ttl.as_secs()), ..RegisterResponse::default() };
    let mut frame = Vec::new();
    Response::Register(response).encode_frame(&mut frame);
    frame
}
