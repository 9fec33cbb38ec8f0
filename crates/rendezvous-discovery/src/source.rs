//! What peers are found by: [`Source`].

use core::{
    error::Error,
    fmt,
    task::{Context, Poll},
    time::Duration,
};
use std::{borrow::Cow, sync::Arc};

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use rendezvous_wire::Namespace;

use crate::attribute::Attributes;

/// Time from one request to the next, unless told otherwise (`ttr` of nim-libp2p): one minute.
pub const TTR: Duration = Duration::from_secs(60);

/// Time from one advertisement to the next, unless told otherwise (`tta` of nim-libp2p): one minute.
pub const TTA: Duration = Duration::from_secs(60);

/// Lifetime that an advertisement asks for, unless told otherwise: two hours.
pub const TTL: Duration = Duration::from_secs(7_200);

/// What a source is called: an attribute of the peers that it tells of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceName(Cow<'static, str>);

impl SourceName {
    /// This name.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for SourceName {
    fn from(name: String) -> Self {
        Self(Cow::Owned(name))
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which source of a manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(u64);

impl SourceId {
    pub(crate) const fn new(id: u64) -> Self {
        Self(id)
    }
}

/// How often a source is asked, and told.
///
/// ```
/// use std::time::Duration;
/// use rendezvous_discovery::Timing;
///
/// let timing = Timing { ttr: Duration::from_millis(250), ..Timing::default() };
/// assert_eq!(timing.ttl, Duration::from_secs(7_200));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Time from one request to the next. Default [`TTR`]; below 10 ms it acts as 10 ms.
    pub ttr: Duration,
    /// Time from one advertisement to the next. Default [`TTA`]; below 10 ms it acts as 10 ms. The first is sent at once.
    pub tta: Duration,
    /// Lifetime that an advertisement asks for. Default [`TTL`].
    pub ttl: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { ttr: TTR, tta: TTA, ttl: TTL }
    }
}

/// Why a request is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Urgency {
    /// It is time. A source that asks by itself has nothing to do.
    Due,
    /// The application wants it now, whatever the source had planned.
    Now,
}

/// Something by which peers are found: the manager tells it what is wanted, and takes what it reports.
///
/// A source keeps no time of its own. The manager calls [`advertise`](Self::advertise) at once for a name that is new and
/// then every [`Timing::tta`], [`request`](Self::request) likewise every [`Timing::ttr`]. All calls return without waiting;
/// what comes of them is reported through [`poll`](Self::poll).
///
/// ```
/// use std::{collections::VecDeque, task::{Context, Poll}, time::Duration};
/// use libp2p_identity::PeerId;
/// use rendezvous_discovery::{Found, Namespace, Report, Source, SourceName, Urgency};
///
/// /// A directory in memory that everybody in this process shares.
/// struct Directory { peers: Vec<PeerId>, reports: VecDeque<Report> }
///
/// impl Source for Directory {
///     fn name(&self) -> SourceName {
///         SourceName::new("directory")
///     }
///
///     fn request(&mut self, namespace: Option<&Namespace>, _: Urgency) -> bool {
///         let found = self.peers.iter().map(|peer| Found::new(*peer, namespace.cloned(), Duration::from_secs(60)));
///         self.reports.extend(found.map(Report::Found));
///         self.reports.push_back(Report::Requested { namespace: namespace.cloned() });
///         true
///     }
///
///     fn poll(&mut self, _: &mut Context<'_>) -> Poll<Option<Report>> {
///         // Nothing wakes the manager: this one has something to say only when it has been asked.
///         self.reports.pop_front().map_or(Poll::Pending, |report| Poll::Ready(Some(report)))
///     }
/// }
/// ```
pub trait Source: Send {
    /// What it is called.
    fn name(&self) -> SourceName;

    /// How often it is asked, and told.
    fn timing(&self) -> Timing {
        Timing::default()
    }

    /// This peer is to be found under a name for so long. Told again every [`Timing::tta`] while it is wanted.
    ///
    /// `true` if it goes about it: [`Report::Advertised`] or [`Report::AdvertiseFailed`] follows. `false` if it does not
    /// advertise, which is the default.
    fn advertise(&mut self, namespace: &Namespace, ttl: Duration) -> bool {
        let _ = (namespace, ttl);
        false
    }

    /// This peer is to be found under a name no longer. Told only of names whose [`advertise`](Self::advertise) has returned
    /// `true`; [`Report::Withdrawn`] is to follow.
    fn withdraw(&mut self, namespace: &Namespace) {
        let _ = namespace;
    }

    /// Peers under a name are wanted; with `None`, all there are. Told again every [`Timing::ttr`] while they are.
    ///
    /// `true` if it goes about it: [`Report::Requested`] or [`Report::RequestFailed`] follows. `false` if it cannot be asked
    /// so, which is the default.
    fn request(&mut self, namespace: Option<&Namespace>, urgency: Urgency) -> bool {
        let _ = (namespace, urgency);
        false
    }

    /// Peers under a name are wanted no longer. Told only of names whose [`request`](Self::request) has returned `true`.
    fn release(&mut self, namespace: Option<&Namespace>) {
        let _ = namespace;
    }

    /// The next report. `None` if there will be none any more: the manager drops the source, and what it has told ends.
    ///
    /// Called in the manager's task, again after every call of the other functions; it must not block.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Report>>;
}

/// What a source tells.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Report {
    /// A peer is there, or is there still. It replaces what the source told before of this peer under this name.
    Found(Found),
    /// A peer is there no longer, under this name.
    Gone {
        /// Who.
        peer: PeerId,
        /// The name under which it was told.
        namespace: Option<Namespace>,
    },
    /// A request has been answered, and who was found has been told.
    Requested {
        /// The name that was asked for.
        namespace: Option<Namespace>,
    },
    /// A request has come to nothing. It is made again when it is due.
    RequestFailed {
        /// The name that was asked for.
        namespace: Option<Namespace>,
        /// Why.
        failure: Failure,
    },
    /// This peer is advertised: told of every renewal.
    Advertised {
        /// The name.
        namespace: Namespace,
        /// Where, if the source has several places.
        place: Option<PeerId>,
        /// For how long.
        ttl: Duration,
    },
    /// An advertisement has failed. It is made again when it is due, or sooner if the source does so by itself.
    AdvertiseFailed {
        /// The name.
        namespace: Namespace,
        /// Where, if the source has several places.
        place: Option<PeerId>,
        /// Why.
        failure: Failure,
    },
    /// This peer is advertised no longer, or as little as the source can do about it.
    Withdrawn {
        /// The name.
        namespace: Namespace,
        /// Why it may be found until its lifetime ends.
        failure: Option<Failure>,
    },
}

/// A peer that a source tells of.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Found {
    /// Who.
    pub peer: PeerId,
    /// The name under which it is there; `None` if the source knows no names.
    pub namespace: Option<Namespace>,
    /// Where it can be reached. At most [`ADDRESSES_MAX`](crate::ADDRESSES_MAX) are kept.
    pub addresses: Vec<Multiaddr>,
    /// Sequence number of the record that has the addresses, signed by the peer and verified; `None` if they are not signed.
    /// Those of different records must be comparable.
    pub seq: Option<u64>,
    /// How long this holds unless it is told again; at most 72 h are kept.
    pub ttl: Duration,
    /// What else is known of it.
    pub attributes: Attributes,
}

impl Found {
    /// A peer without addresses so far.
    #[must_use]
    pub fn new(peer: PeerId, namespace: Option<Namespace>, ttl: Duration) -> Self {
        Self { peer, namespace, addresses: Vec::new(), seq: None, ttl, attributes: Attributes::default() }
    }

    /// With these addresses, which nobody has signed.
    #[must_use]
    pub fn with_addresses(self, addresses: impl IntoIterator<Item = Multiaddr>) -> Self {
        Self { addresses: addresses.into_iter().collect(), ..self }
    }

    /// With this sequence number of the signed record that has the addresses.
    #[must_use]
    pub fn with_seq(self, seq: u64) -> Self {
        Self { seq: Some(seq), ..self }
    }

    /// With these attributes.
    #[must_use]
    pub fn with_attributes(self, attributes: Attributes) -> Self {
        Self { attributes, ..self }
    }
}

/// Why an advertisement or a request has failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{kind}")]
pub struct Failure {
    /// In the terms that all sources share.
    pub kind: FailureKind,
    /// In the source's own.
    #[source]
    pub source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure of this kind, with what the source has to say.
    #[must_use]
    pub fn new(kind: FailureKind, source: impl Error + Send + Sync + 'static) -> Self {
        Self { kind, source: Some(Arc::new(source)) }
    }
}

impl From<FailureKind> for Failure {
    fn from(kind: FailureKind) -> Self {
        Self { kind, source: None }
    }
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum FailureKind {
    /// The other side has understood and declined.
    #[error("refused")]
    Refused,
    /// Nobody can be reached.
    #[error("unreachable")]
    Unreachable,
    /// The other side does not speak the protocol.
    #[error("not supported by the other side")]
    Unsupported,
    /// No answer came in time.
    #[error("timed out")]
    TimedOut,
    /// The answer was not one.
    #[error("malformed answer")]
    Malformed,
    /// This peer has no address that others could reach.
    #[error("no address to advertise")]
    NoAddresses,
    /// The source cannot do it.
    #[error("failed on this side")]
    Local,
}
