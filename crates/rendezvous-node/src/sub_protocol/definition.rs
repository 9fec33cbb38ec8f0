//! What a sub-protocol is: a name, versions, and what is run for each peer.

use std::{fmt, future::Future, sync::Arc};

use futures::{FutureExt as _, future::BoxFuture};
use libp2p::StreamProtocol;

use super::{end::End, error::SessionError, limits::Limits, messages::Messages, peer::Peer};
use crate::DisconnectReason;

/// Longest name: 64 bytes, so that the protocol id, of which it becomes a part, stays far below the 140 bytes that some
/// implementations of libp2p read.
pub const NAME_BYTES_MAX: usize = 64;

/// What a run function returns.
pub(super) type Outcome = Result<End, SessionError>;

type RunFn = Arc<dyn Fn(Peer, Messages) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// A protocol of messages between two peers, in one or more versions.
///
/// The node speaks it with each peer that knows it too, in the highest version that both know, and calls the run
/// function of that version once for each such peer. Clones are cheap and share all of it.
///
/// ```
/// use rendezvous_node::sub_protocol::{End, SubProtocol, Version};
///
/// let chat = SubProtocol::new("chat", Version { number: 1, codes: 2 }, |_peer, mut messages| async move {
///     let text: String = messages.recv().await?.decode()?;
///     messages.send(1, &text).await?;
///     Ok(End::Finished)
/// })?;
/// assert_eq!(chat.protocol_ids(), ["/rendezvous/sub/chat/1"]);
/// # Ok::<(), rendezvous_node::sub_protocol::InvalidSubProtocol>(())
/// ```
#[derive(Clone, Debug)]
pub struct SubProtocol {
    name: Arc<str>,
    /// Highest first, and never empty.
    versions: Arc<Vec<Entry>>,
    limits: Limits,
}

/// A version of a sub-protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    /// Its number; among the versions that two peers know, the highest is spoken.
    pub number: u32,
    /// How many messages it has: their codes are all the numbers below this. At least one.
    pub codes: u16,
}

#[derive(Clone)]
struct Entry {
    version: Version,
    run: RunFn,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.version.fmt(f)
    }
}

impl SubProtocol {
    /// A sub-protocol with one version. The name is of 1 to [`NAME_BYTES_MAX`] letters and digits of ASCII, `-`, `_` and
    /// `.`.
    ///
    /// # Errors
    /// [`InvalidSubProtocol`] when the name is another, or the version has no codes.
    pub fn new<F, R>(name: &str, version: Version, run: F) -> Result<Self, InvalidSubProtocol>
    where
        F: Fn(Peer, Messages) -> R + Send + Sync + 'static,
        R: Future<Output = Result<End, SessionError>> + Send + 'static,
    {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(InvalidSubProtocol::NameLength { len_bytes: name.len() });
        }
        if let Some(char) = name.chars().find(|&char| !is_allowed(char)) {
            return Err(InvalidSubProtocol::NameChar { char });
        }
        let empty = Self { name: name.into(), versions: Arc::default(), limits: Limits::default() };
        empty.with_version(version, run)
    }

    /// This with one more version, which has its own run function.
    ///
    /// # Errors
    /// [`InvalidSubProtocol`] when there is the version already, or it has no codes.
    pub fn with_version<F, R>(mut self, version: Version, run: F) -> Result<Self, InvalidSubProtocol>
    where
        F: Fn(Peer, Messages) -> R + Send + Sync + 'static,
        R: Future<Output = Result<End, SessionError>> + Send + 'static,
    {
        let Version { number, codes } = version;
        if codes == 0 {
            return Err(InvalidSubProtocol::NoCodes { version: number });
        }
        let lower = self.versions.partition_point(|entry| entry.version.number > number);
        if self.versions.get(lower).is_some_and(|entry| entry.version.number == number) {
            return Err(InvalidSubProtocol::DuplicateVersion { version: number });
        }
        let run: RunFn = Arc::new(move |peer, messages| run(peer, messages).boxed());
        Arc::make_mut(&mut self.versions).insert(lower, Entry { version, run });
        Ok(self)
    }

    /// This with other limits, for all its versions.
    #[must_use]
    pub const fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The versions, highest first.
    pub fn versions(&self) -> impl Iterator<Item = Version> + '_ {
        self.versions.iter().map(|entry| entry.version)
    }

    /// What the versions are called in libp2p, highest first.
    #[must_use]
    pub fn protocol_ids(&self) -> Vec<StreamProtocol> {
        self.versions().map(|version| protocol_id(&self.name, version.number)).collect()
    }

    /// The highest version that a peer knows too, by the protocol ids that it lists. Both sides come to the same.
    #[must_use]
    pub fn highest_common(&self, theirs: &[StreamProtocol]) -> Option<Negotiated> {
        self.protocol_ids().iter().find(|id| theirs.contains(id)).and_then(|id| self.negotiated(id))
    }

    /// The version that has this protocol id, as when a peer has opened a stream for it.
    #[must_use]
    pub fn negotiated(&self, id: &StreamProtocol) -> Option<Negotiated> {
        let has_id = |entry: &&Entry| protocol_id(&self.name, entry.version.number) == *id;
        let entry = self.versions.iter().find(has_id)?;
        Some(Negotiated { name: Arc::clone(&self.name), entry: entry.clone(), limits: self.limits })
    }
}

/// A sub-protocol in the version that two peers speak.
#[derive(Clone, Debug)]
pub struct Negotiated {
    name: Arc<str>,
    entry: Entry,
    limits: Limits,
}

impl Negotiated {
    /// Name of the sub-protocol.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.entry.version
    }

    /// Limits of its sessions.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// What it is called in libp2p.
    #[must_use]
    pub fn protocol_id(&self) -> StreamProtocol {
        protocol_id(&self.name, self.entry.version.number)
    }

    /// This with somebody who is told that the run function has the peer disconnected, before the other side is.
    pub(crate) fn on_disconnect(mut self, tell: impl Fn(DisconnectReason) + Send + Sync + 'static) -> Self {
        let (run, tell) = (self.entry.run, Arc::new(tell));
        self.entry.run = Arc::new(move |peer, messages| {
            let (running, tell) = (run(peer, messages), tell.clone());
            let told = move |outcome: &Outcome| {
                if let Ok(End::Disconnect(reason)) = outcome {
                    tell(*reason);
                }
            };
            running.inspect(told).boxed()
        });
        self
    }

    /// Calls the run function.
    pub(super) fn run(&self, peer: Peer, messages: Messages) -> BoxFuture<'static, Outcome> {
        (self.entry.run)(peer, messages)
    }
}

fn protocol_id(name: &str, version: u32) -> StreamProtocol {
    StreamProtocol::try_from_owned(format!("/rendezvous/sub/{name}/{version}")).expect("it starts with a slash")
}

const fn is_allowed(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.')
}

/// Why there is no such sub-protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum InvalidSubProtocol {
    /// The name is empty or too long.
    #[error("name of {len_bytes} bytes: 1 to {NAME_BYTES_MAX} are allowed")]
    NameLength {
        /// Its length.
        len_bytes: usize,
    },
    /// The name has a character that no name has.
    #[error("name with {char:?}: letters and digits of ASCII, '-', '_' and '.' are allowed")]
    NameChar {
        /// The first of them.
        char: char,
    },
    /// A version is without messages.
    #[error("version {version} has no message codes")]
    NoCodes {
        /// Its number.
        version: u32,
    },
    /// A version is there twice.
    #[error("version {version} is there already")]
    DuplicateVersion {
        /// Its number.
        version: u32,
    },
}
