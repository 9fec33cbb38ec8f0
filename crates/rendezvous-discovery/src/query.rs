//! What is looked for.

use core::{fmt, ops::Not};
use std::{collections::BTreeSet, sync::Arc};

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use rendezvous_wire::Namespace;

use crate::{
    address::AddressKind,
    attribute::{Attribute, Attributes, Value},
    source::SourceName,
};

/// A condition on the attributes of a peer.
///
/// ```
/// use rendezvous_discovery::{AddressKind, Attributes, Namespace, Query};
///
/// let chat = Namespace::new("chat")?;
/// let query = Query::namespace(chat.clone()) & Query::address(AddressKind::Quic) & !Query::equal("banned");
///
/// let address: libp2p_core::Multiaddr = "/ip4/192.0.2.1/udp/4001/quic-v1".parse()?;
/// let peer = Attributes::default().with(chat).with(address);
/// assert!(query.matches(&peer));
/// assert!(!query.matches(&peer.with("banned")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Query {
    /// The peer has this value among its attributes.
    Equal(Value),
    /// At least one address is of this kind.
    Address(AddressKind),
    /// The attributes satisfy this predicate.
    Where(Predicate),
    /// Every condition holds; true if there is none.
    All(Vec<Query>),
    /// At least one condition holds; false if there is none.
    Any(Vec<Query>),
    /// The condition does not hold.
    Not(Box<Query>),
}

impl Query {
    /// Every peer that a source tells of.
    #[must_use]
    pub const fn everything() -> Self {
        Self::All(Vec::new())
    }

    /// Peers with this value.
    #[must_use]
    pub fn equal<T: Attribute>(value: T) -> Self {
        Self::Equal(Value::new(value))
    }

    /// Peers that are there under this name.
    #[must_use]
    pub fn namespace(namespace: Namespace) -> Self {
        Self::equal(namespace)
    }

    /// This peer.
    #[must_use]
    pub fn peer(peer: PeerId) -> Self {
        Self::equal(peer)
    }

    /// Peers at this address.
    #[must_use]
    pub fn at(address: Multiaddr) -> Self {
        Self::equal(address)
    }

    /// Peers that this source tells of.
    #[must_use]
    pub fn source(name: SourceName) -> Self {
        Self::equal(name)
    }

    /// Peers with an address of this kind.
    #[must_use]
    pub const fn address(kind: AddressKind) -> Self {
        Self::Address(kind)
    }

    /// Peers that satisfy all of these.
    #[must_use]
    pub fn all(queries: impl IntoIterator<Item = Self>) -> Self {
        Self::All(queries.into_iter().collect())
    }

    /// Peers that satisfy one of these.
    #[must_use]
    pub fn any(queries: impl IntoIterator<Item = Self>) -> Self {
        Self::Any(queries.into_iter().collect())
    }

    /// Peers whose attributes satisfy a predicate. It is called under the manager's lock: it must be quick, and must not call
    /// the manager.
    #[must_use]
    pub fn satisfying(predicate: impl Fn(&Attributes) -> bool + Send + Sync + 'static) -> Self {
        Self::Where(Predicate(Arc::new(predicate)))
    }

    /// Whether a peer with these attributes is looked for.
    #[must_use]
    pub fn matches(&self, attributes: &Attributes) -> bool {
        match self {
            Self::Equal(value) => attributes.contains_value(value),
            Self::Address(kind) => attributes.all::<Multiaddr>().any(|address| kind.is(address)),
            Self::Where(predicate) => (predicate.0)(attributes),
            Self::All(queries) => queries.iter().all(|query| query.matches(attributes)),
            Self::Any(queries) => queries.iter().any(|query| query.matches(attributes)),
            Self::Not(query) => !query.matches(attributes),
        }
    }

    /// The names that sources are to be asked for: those that the query mentions, or, as `None`, for whatever there is, where
    /// peers under other names may match.
    pub(crate) fn requests(&self) -> BTreeSet<Option<Namespace>> {
        if self.is_bounded() {
            let mut names = BTreeSet::new();
            self.mentioned(&mut names);
            names
        } else {
            BTreeSet::from([None])
        }
    }

    /// Whether only peers under names that it mentions can match.
    fn is_bounded(&self) -> bool {
        match self {
            Self::Equal(value) => value.downcast_ref::<Namespace>().is_some(),
            Self::Address(_) | Self::Where(_) | Self::Not(_) => false,
            Self::All(queries) => queries.iter().any(Self::is_bounded),
            Self::Any(queries) => queries.iter().all(Self::is_bounded),
        }
    }

    fn mentioned(&self, names: &mut BTreeSet<Option<Namespace>>) {
        match self {
            Self::Equal(value) => names.extend(value.downcast_ref::<Namespace>().cloned().map(Some)),
            Self::Address(_) | Self::Where(_) => {}
            Self::All(queries) | Self::Any(queries) => queries.iter().for_each(|query| query.mentioned(names)),
            Self::Not(query) => query.mentioned(names),
        }
    }
}

impl core::ops::BitAnd for Query {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self::All(vec![self, other])
    }
}

impl core::ops::BitOr for Query {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self::Any(vec![self, other])
    }
}

impl Not for Query {
    type Output = Self;

    fn not(self) -> Self {
        Self::Not(Box::new(self))
    }
}

impl From<Namespace> for Query {
    fn from(namespace: Namespace) -> Self {
        Self::namespace(namespace)
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equal(value) => write!(f, "equal({value:?})"),
            Self::Address(kind) => write!(f, "address({kind:?})"),
            Self::Where(_) => f.write_str("where(…)"),
            Self::All(queries) => f.debug_tuple("all").field(queries).finish(),
            Self::Any(queries) => f.debug_tuple("any").field(queries).finish(),
            Self::Not(query) => write!(f, "not({query:?})"),
        }
    }
}

/// A predicate of a [`Query`]. Clones share it, and are equal to it alone.
#[derive(Clone)]
pub struct Predicate(Arc<dyn Fn(&Attributes) -> bool + Send + Sync>);

impl PartialEq for Predicate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Predicate")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Namespace {
        Namespace::new(name).expect("it is a name")
    }

    #[test]
    fn combinators_combine() {
        let bag = Attributes::default().with(1_u8).with(2_u8);
        let [one, two, three] = [1_u8, 2, 3].map(Query::equal);
        assert!((one.clone() & two.clone()).matches(&bag));
        assert!(!(one.clone() & three.clone()).matches(&bag));
        assert!((one | three.clone()).matches(&bag));
        assert!((!three).matches(&bag) && !(!two).matches(&bag));
        assert!(Query::everything().matches(&bag) && !Query::any([]).matches(&bag));
        assert!(Query::satisfying(|bag| bag.all::<u8>().count() == 2).matches(&bag));
    }

    #[test]
    fn a_candidate_matches_when_it_has_every_attribute_of_the_query() {
        let query = Query::all([Query::namespace(name("a")), Query::equal(7_u8)]);
        assert!(query.matches(&Attributes::default().with(7_u8).with(name("a")).with("more")));
        assert!(!query.matches(&Attributes::default().with(name("a"))));
    }

    #[test]
    fn sources_are_asked_for_the_names_that_can_bear_a_match() {
        let [a, b] = ["a", "b"].map(|text| Query::namespace(name(text)));
        let asked =
            |query: &Query| query.requests().into_iter().map(|it| it.map(|it| it.as_str().to_owned())).collect();
        let named = |names: &[&str]| -> Vec<Option<String>> { names.iter().map(|it| Some((*it).to_owned())).collect() };
        let cases: [(Query, Vec<Option<String>>); 8] = [
            (a.clone(), named(&["a"])),
            (a.clone() | b.clone(), named(&["a", "b"])),
            (a.clone() & b.clone(), named(&["a", "b"])),
            (a.clone() & Query::address(AddressKind::Tcp), named(&["a"])),
            (a.clone() | Query::address(AddressKind::Tcp), vec![None]),
            (a.clone() & !b.clone(), named(&["a", "b"])),
            (!a, vec![None]),
            (Query::everything(), vec![None]),
        ];
        for (query, names) in cases {
            let asked: Vec<Option<String>> = asked(&query);
            assert_eq!(asked, names, "{query:?}");
        }
    }
}
