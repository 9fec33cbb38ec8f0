//! Requests as the bytes of their frames, and what the answers say.

use libp2p_identity::{Keypair, PeerId};
use rendezvous_record::{Flavour, Limits, VerifiedRecord};
use rendezvous_wire::{Discover, Register, Request, Response, Status, Unregister, frame};

/// DISCOVER of all namespaces, one page.
pub const DISCOVER_ALL: Option<&str> = None;

/// What a point answers, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Register { status: Status, ttl_secs: Option<u64> },
    Discover { status: Status, listed: Vec<Listed> },
}

/// A registration of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub namespace: String,
    pub peer: PeerId,
    pub flavour: Flavour,
}

impl Answer {
    pub fn read(payload: &[u8]) -> Self {
        match Response::decode(payload).unwrap() {
            Response::Register(answer) => Self::Register { status: answer.status.unwrap(), ttl_secs: answer.ttl_secs },
            Response::Discover(answer) => {
                let listed = answer.registrations.iter().map(|registration| {
                    let registration = registration.unwrap();
                    let envelope = registration.signed_peer_record.unwrap().to_vec().into();
                    let record = VerifiedRecord::verify(envelope, &Limits::default()).unwrap();
                    let namespace = String::from_utf8(registration.namespace.unwrap().to_vec()).unwrap();
                    Listed { namespace, peer: record.peer_id(), flavour: record.flavour() }
                });
                Self::Discover { status: answer.status.unwrap(), listed: listed.collect() }
            }
        }
    }

    pub fn status(&self) -> Status {
        match self {
            Self::Register { status, .. } | Self::Discover { status, .. } => *status,
        }
    }

    /// The namespaces of a page, in its order.
    pub fn namespaces(&self) -> Vec<&str> {
        self.listed().iter().map(|listed| listed.namespace.as_str()).collect()
    }

    /// The flavours of the records on a page, in its order.
    pub fn flavours(&self) -> Vec<Flavour> {
        self.listed().iter().map(|listed| listed.flavour).collect()
    }

    pub fn listed(&self) -> &[Listed] {
        match self {
            Self::Discover { status: Status::Ok, listed } => listed,
            other => panic!("{other:?} is no page"),
        }
    }
}

pub fn record(key: &Keypair, flavour: Flavour) -> Vec<u8> {
    let addresses = ["/ip4/192.0.2.1/tcp/4001".parse().unwrap()];
    VerifiedRecord::sign(key, flavour, 1, &addresses, &Limits::default()).unwrap().envelope().to_vec()
}

/// REGISTER with a record of this flavour.
pub fn register(key: &Keypair, namespace: &str, flavour: Flavour, ttl_secs: u64) -> Vec<u8> {
    let record = record(key, flavour);
    encoded(Request::Register(Register {
        namespace: Some(namespace.as_bytes()),
        signed_peer_record: Some(&record),
        ttl_secs: Some(ttl_secs),
    }))
}

pub fn unregister(namespace: &str) -> Vec<u8> {
    encoded(Request::Unregister(Unregister { namespace: Some(namespace.as_bytes()), ..Unregister::default() }))
}

/// DISCOVER that does not say which flavours its sender reads.
pub fn discover(namespace: Option<&str>) -> Vec<u8> {
    encoded(Request::Discover(Discover { namespace: namespace.map(str::as_bytes), ..Discover::default() }))
}

/// A frame whose type can be told, and whose body is cut off.
pub fn malformed(kind: u8, field: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::append(&[0x08, kind, field << 3 | 2, 0x7f, 0x0a], &mut bytes);
    bytes
}

fn encoded(request: Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.encode_frame(&mut bytes);
    bytes
}
