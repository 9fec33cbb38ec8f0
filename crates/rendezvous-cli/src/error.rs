//! What can end a command early: each error says in one line what happened and what to do, and has its exit status.

use std::{io, path::PathBuf, time::Duration};

use libp2p::{Multiaddr, PeerId};
use rendezvous_core::client::{Failure, WalkLimit};
use rendezvous_swarm::client::PointAddressError;
use rendezvous_wire::{Dialect, Status};

use crate::{
    address::{AdvertisedAddress, Point},
    config::ConfigError,
    inspect::InputError,
    key::KeyError,
    store::StoreError,
};

/// Why a command ends without having done its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    // The command line.
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("there is no home directory to keep the key in: name a directory with --data-dir, or a file with --key")]
    NoDataDir,
    #[error("--address {} names another peer than the key's, which is {own}: leave its /p2p/… out", address.0)]
    ForeignAddress { address: AdvertisedAddress, own: PeerId },
    #[error("the key is that of the point {0} itself: use another --key")]
    PointIsSelf(PeerId),
    #[error("{0}: give fewer --point")]
    PointAddress(#[from] PointAddressError),

    #[error(
        "the {0} dialect has no UNREGISTER: a registration ends by itself, {secs} s at most after it was renewed last",
        secs = .0.ttl_max().as_secs()
    )]
    NoUnregister(Dialect),

    #[error(transparent)]
    Input(#[from] InputError),
    #[error("these {bytes} bytes are no frame, message, envelope or peer record of this protocol: give all of one")]
    NotRecognised { bytes: usize },

    // What was inspected.
    #[error("not valid from byte {offset}: {reason}")]
    NotValid { offset: usize, reason: String },

    // This machine.
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no store in {}: give the directory that `serve` has as --data-dir", .0.display())]
    NoStore(PathBuf),
    #[error(
        "{bad} of {records} records do not verify, though their bytes are as they were written: restore the store from a copy"
    )]
    BadRecords { bad: u64, records: u64 },
    #[error("cannot make a key of this type: {0}; try again, or choose another --type")]
    NoKey(String),
    #[error("cannot listen on {address}: {}", listen_advice(source))]
    Listen { address: Multiaddr, source: io::Error },
    #[error("no listener is left: {0}; start again")]
    ListenersGone(io::Error),
    #[error("cannot write the output: {0}; check where it goes to")]
    Output(io::Error),
    #[error("cannot start: {0}")]
    Start(io::Error),
    #[error("{0}; use another --key")]
    Transport(#[from] rendezvous_host::TransportError),
    #[error("there is no address to advertise: name one with --address")]
    NoAddresses,
    #[error("this key cannot sign a record of the addresses: use another --key, or fewer or shorter addresses")]
    CannotSign,
    #[error("too much is pending: end some of it, and try again")]
    AtCapacity,

    // The point.
    #[error("the point refuses: {status} ({}){}{text}; {}", status.code(), colon(text), refusal_advice(*status))]
    Refused { status: Status, text: String },
    #[error("cannot reach the point at {point}: {reason}")]
    Unreachable { point: Box<Point>, reason: Unreachable },
    #[error("the point at {point} gave no answer within {} s; try again later, or wait longer with --timeout", timeout.as_secs())]
    Silent { point: Box<Point>, timeout: Duration },
    #[error("the peer at {0} does not speak the rendezvous protocol ({protocol}): give a rendezvous point with --point", protocol = .1.protocol())]
    Unsupported(Box<Point>, Dialect),
    #[error("the peer at {point} does not keep to the rendezvous protocol ({failure}): use another --point")]
    Misbehaves { point: Box<Point>, failure: Failure },
    #[error(
        "gave up on the point at {point}: {limit}; what it listed until then is a part of its listing: use another --point, or say with --limit how much to read"
    )]
    Endless { point: Box<Point>, limit: WalkLimit },
}

/// Why there is no connection to the point.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreachable {
    #[error("nobody listens there; check the address, and that the point runs")]
    Refused,
    #[error("no connection within {} s; check the address, and that no firewall is in between", .0.as_secs())]
    TimedOut(Duration),
    #[error("what listens there is no libp2p peer; check the address")]
    NotLibp2p,
    #[error("the peer there is {0}; check the peer id, which changes with the point's key")]
    OtherPeer(PeerId),
    #[error("{0}; check the address")]
    Other(String),
    #[error("the connection was lost; try again")]
    Lost,
}

impl Error {
    /// The error that a failed request to the point ends a command with.
    pub(crate) fn from_failure(failure: Failure, point: &Point, dialect: Dialect, timeout: Duration) -> Self {
        let point = Box::new(point.clone());
        match failure {
            Failure::Refused { status, text } => Self::Refused { status, text },
            Failure::Unreachable => Self::Unreachable { point, reason: Unreachable::Lost },
            Failure::TimedOut => Self::Silent { point, timeout },
            Failure::Unsupported => Self::Unsupported(point, dialect),
            Failure::CannotSign => Self::CannotSign,
            Failure::AtCapacity => Self::AtCapacity,
            Failure::Listing(limit) => Self::Endless { point, limit },
            failure => Self::Misbehaves { point, failure },
        }
    }

    /// The exit status.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::NoDataDir
            | Self::ForeignAddress { .. }
            | Self::PointIsSelf(_)
            | Self::NoUnregister(_)
            | Self::PointAddress(_)
            | Self::Input(_)
            | Self::NotRecognised { .. } => USAGE,
            Self::NotValid { .. } => LOCAL,
            Self::Key(_)
            | Self::Store(_)
            | Self::NoStore(_)
            | Self::BadRecords { .. }
            | Self::NoKey(_)
            | Self::Listen { .. }
            | Self::ListenersGone(_)
            | Self::Output(_)
            | Self::Start(_)
            | Self::Transport(_)
            | Self::NoAddresses
            | Self::CannotSign
            | Self::AtCapacity => LOCAL,
            Self::Refused { .. } => REFUSED,
            Self::Unreachable { reason: Unreachable::NotLibp2p, .. } => UNSUPPORTED,
            Self::Unreachable { .. } | Self::Silent { .. } => UNREACHABLE,
            Self::Unsupported(..) | Self::Misbehaves { .. } | Self::Endless { .. } => UNSUPPORTED,
        }
    }

    /// Whether asking the same again is of no use.
    pub(crate) fn is_permanent(&self) -> bool {
        match self {
            Self::Refused { status, .. } => {
                matches!(status, Status::InvalidNamespace | Status::InvalidSignedPeerRecord | Status::InvalidTtl)
            }
            Self::Unreachable { reason, .. } => *reason == Unreachable::NotLibp2p,
            Self::Silent { .. } | Self::Endless { .. } => false,
            _ => true,
        }
    }
}

/// Something on this machine failed: the key, the port, the output.
pub(crate) const LOCAL: u8 = 1;
/// Wrong usage; what clap exits with as well.
pub(crate) const USAGE: u8 = 2;
/// Refused by the point.
pub(crate) const REFUSED: u8 = 3;
/// The point is unreachable or silent.
pub(crate) const UNREACHABLE: u8 = 4;
/// The point does not speak the protocol.
pub(crate) const UNSUPPORTED: u8 = 5;
/// Ended at once by a second Ctrl-C, as shells count a SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;

fn colon(text: &str) -> &'static str {
    if text.is_empty() { "" } else { ": " }
}

fn refusal_advice(status: Status) -> &'static str {
    match status {
        Status::InvalidNamespace => "choose another --namespace",
        Status::InvalidSignedPeerRecord => "check --address, and that the point takes records of this kind of --key",
        Status::InvalidTtl => "ask for another --ttl",
        Status::NotAuthorized => "ask the point's operator, or unregister what is not needed",
        _ => "try again later",
    }
}

fn listen_advice(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => "the port is in use; stop what uses it, or choose another with --listen".to_owned(),
        io::ErrorKind::AddrNotAvailable => "no interface has this address; choose another with --listen".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "not permitted; choose a port from 1024 upwards with --listen, or run with the privilege".to_owned()
        }
        _ => format!("{source}; choose another address with --listen"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point() -> Point {
        let text = "/ip4/192.0.2.1/tcp/62649/p2p/12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
        text.parse().expect("it is a point")
    }

    #[test]
    fn every_failure_has_its_exit_status() {
        let refused = |status| Failure::Refused { status, text: "no".to_owned() };
        let cases = [
            (refused(Status::InvalidTtl), 3, true),
            (refused(Status::InvalidNamespace), 3, true),
            (refused(Status::NotAuthorized), 3, false),
            (refused(Status::Unavailable), 3, false),
            (refused(Status::Other(777)), 3, false),
            (Failure::Unreachable, 4, false),
            (Failure::TimedOut, 4, false),
            (Failure::Unsupported, 5, true),
            (Failure::ClosedWithoutAnswer, 5, true),
            (Failure::Listing(WalkLimit::NothingNew), 5, false),
            (Failure::CannotSign, 1, true),
        ];
        for (failure, code, permanent) in cases {
            let error = Error::from_failure(failure.clone(), &point(), Dialect::Rendezvous, Duration::from_secs(10));
            assert_eq!((error.exit_code(), error.is_permanent()), (code, permanent), "{failure}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_refusal_shows_status_and_text() {
        let error = Error::Refused { status: Status::InvalidTtl, text: "too short".to_owned() };
        assert_eq!(error.to_string(), "the point refuses: E_INVALID_TTL (102): too short; ask for another --ttl");
        let error = Error::Refused { status: Status::Other(7), text: String::new() };
        assert_eq!(error.to_string(), "the point refuses: status 7 (7); try again later");
    }
}
