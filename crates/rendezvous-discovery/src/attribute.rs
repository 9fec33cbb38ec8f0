//! What is known of a peer, as a bag of typed values.

use core::{any::Any, fmt};
use std::sync::Arc;

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use rendezvous_wire::Namespace;

use crate::source::SourceName;

/// A value that a peer may have: of any type that can be compared.
///
/// Implemented for every such type. What a source of one's own knows beyond ids and addresses, it tells as types of its own,
/// and queries ask for them by value.
pub trait Attribute: Any + PartialEq + fmt::Debug + Send + Sync {}

impl<T: Any + PartialEq + fmt::Debug + Send + Sync> Attribute for T {}

/// [`Attribute`] without its type.
trait AnyAttribute: Any + fmt::Debug + Send + Sync {
    fn as_any(&self) -> &dyn Any;
    fn is(&self, other: &dyn AnyAttribute) -> bool;
}

impl<T: Attribute> AnyAttribute for T {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn is(&self, other: &dyn AnyAttribute) -> bool {
        other.as_any().downcast_ref::<T>() == Some(self)
    }
}

/// One value of some type. Clones share it.
#[derive(Clone)]
pub struct Value(Arc<dyn AnyAttribute>);

impl Value {
    /// This value.
    #[must_use]
    pub fn new<T: Attribute>(value: T) -> Self {
        Self(Arc::new(value))
    }

    /// The value, if it is of this type.
    #[must_use]
    pub fn downcast_ref<T: Attribute>(&self) -> Option<&T> {
        (*self.0).as_any().downcast_ref()
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        (*self.0).is(&*other.0)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A bag of attributes: several of one type may be in it, and none twice.
///
/// Those that sources here tell are of the types [`PeerId`], [`Multiaddr`], [`Namespace`] and [`SourceName`].
///
/// ```
/// use rendezvous_discovery::Attributes;
///
/// #[derive(Debug, PartialEq)]
/// struct Load(u8);
///
/// let attributes = Attributes::default().with(Load(3)).with(Load(3)).with("de");
/// assert_eq!(attributes.len(), 2);
/// assert_eq!(attributes.get::<Load>(), Some(&Load(3)));
/// assert!(attributes.contains(&"de"));
/// assert!(!attributes.contains(&Load(4)));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Attributes(Vec<Value>);

impl Attributes {
    /// Adds a value, unless it is there.
    pub fn insert<T: Attribute>(&mut self, value: T) {
        if !self.contains(&value) {
            self.0.push(Value::new(value));
        }
    }

    /// The bag with this value in it.
    #[must_use]
    pub fn with<T: Attribute>(mut self, value: T) -> Self {
        self.insert(value);
        self
    }

    /// The first value of a type.
    #[must_use]
    pub fn get<T: Attribute>(&self) -> Option<&T> {
        self.all().next()
    }

    /// All values of a type, in the order in which they came in.
    pub fn all<T: Attribute>(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(Value::downcast_ref)
    }

    /// Whether this value is in it.
    #[must_use]
    pub fn contains<T: Attribute>(&self, value: &T) -> bool {
        self.all::<T>().any(|known| known == value)
    }

    /// Whether this value, of whatever type, is in it.
    #[must_use]
    pub fn contains_value(&self, value: &Value) -> bool {
        self.0.contains(value)
    }

    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what is in another bag.
    pub(crate) fn extend(&mut self, other: &Self) {
        for value in &other.0 {
            if !self.0.contains(value) {
                self.0.push(value.clone());
            }
        }
    }
}

impl PartialEq for Attributes {
    /// Whether the same values are in both, in whatever order.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.0.iter().all(|value| other.0.contains(value))
    }
}

/// The types that the sources of this crate tell are attributes.
const _: () = {
    const fn is_attribute<T: Attribute>() {}
    is_attribute::<PeerId>();
    is_attribute::<Multiaddr>();
    is_attribute::<Namespace>();
    is_attribute::<SourceName>();
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_different_types_are_never_equal() {
        assert_eq!(Value::new(1_u8), Value::new(1_u8));
        assert_ne!(Value::new(1_u8), Value::new(2_u8));
        assert_ne!(Value::new(1_u8), Value::new(1_u16));
    }

    #[test]
    fn a_bag_is_compared_without_regard_to_order() {
        let bag = Attributes::default().with(1_u8).with("a");
        assert_eq!(bag, Attributes::default().with("a").with(1_u8));
        assert_ne!(bag, Attributes::default().with("a"));
        assert_ne!(bag, Attributes::default().with("a").with(2_u8));
    }
}
