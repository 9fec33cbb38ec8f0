//! Settings that are numbers, of whatever they count.

use std::{num::NonZeroU32, time::Duration};

use rendezvous_wire::{Limit, Ttl};
use serde_json::Value as Json;

use super::{
    error::{Expected, Invalid},
    field::{Bounds, Field, Given},
};

/// The word for no limit, and how it is shown.
const UNLIMITED: &str = "unlimited";

/// What is given as a number, or as no limit, which is `None`.
pub(crate) trait Quantity {
    fn from_number(number: Option<u64>) -> Self;
    fn number(&self) -> Option<u64>;
}

impl<Q: Quantity> Field for Q {
    fn read(given: Given<'_>, bounds: Bounds) -> Result<Self, Invalid> {
        let number = match given {
            Given::Toml(item) => item.as_integer().and_then(|number| u64::try_from(number).ok()),
            Given::Words(_) => given.text().and_then(|text| text.parse().ok()),
        };
        match number {
            Some(number) if (bounds.min..=bounds.max).contains(&number) => Ok(Self::from_number(Some(number))),
            None if bounds.or_unlimited && given.text() == Some(UNLIMITED) => Ok(Self::from_number(None)),
            _ => Err(given.unexpected(Expected::Number(bounds))),
        }
    }

    fn show(&self) -> Json {
        self.number().map_or_else(|| UNLIMITED.into(), Json::from)
    }
}

impl Quantity for u64 {
    fn from_number(number: Option<u64>) -> Self {
        number.unwrap_or(Self::MAX)
    }

    fn number(&self) -> Option<u64> {
        (*self < Self::MAX).then_some(*self)
    }
}

impl Quantity for u32 {
    fn from_number(number: Option<u64>) -> Self {
        number.and_then(|number| number.try_into().ok()).unwrap_or(Self::MAX)
    }

    fn number(&self) -> Option<u64> {
        (*self < Self::MAX).then_some((*self).into())
    }
}

impl Quantity for usize {
    fn from_number(number: Option<u64>) -> Self {
        number.and_then(|number| number.try_into().ok()).unwrap_or(Self::MAX)
    }

    fn number(&self) -> Option<u64> {
        (*self < Self::MAX).then_some(*self as u64)
    }
}

impl Quantity for Option<u32> {
    fn from_number(number: Option<u64>) -> Self {
        number.map(|number| number.try_into().unwrap_or(u32::MAX))
    }

    fn number(&self) -> Option<u64> {
        self.map(u64::from)
    }
}

impl Quantity for Option<NonZeroU32> {
    fn from_number(number: Option<u64>) -> Self {
        Option::<u32>::from_number(number).and_then(NonZeroU32::new)
    }

    fn number(&self) -> Option<u64> {
        self.map(|number| number.get().into())
    }
}

/// In place of a bound that follows from others, so that no limit is one too. What is not set follows from the others.
impl Field for Option<usize> {
    fn read(given: Given<'_>, bounds: Bounds) -> Result<Self, Invalid> {
        usize::read(given, bounds).map(Some)
    }

    fn show(&self) -> Json {
        self.as_ref().map_or(Json::Null, usize::show)
    }
}

impl Quantity for Duration {
    fn from_number(secs: Option<u64>) -> Self {
        secs.map_or(Self::MAX, Self::from_secs)
    }

    fn number(&self) -> Option<u64> {
        Some(self.as_secs())
    }
}

impl Quantity for Ttl {
    fn from_number(secs: Option<u64>) -> Self {
        Self::from_secs(secs.unwrap_or(u64::MAX))
    }

    fn number(&self) -> Option<u64> {
        Some(self.as_secs())
    }
}

impl Quantity for Option<Ttl> {
    fn from_number(secs: Option<u64>) -> Self {
        secs.map(Ttl::from_secs)
    }

    fn number(&self) -> Option<u64> {
        self.map(Ttl::as_secs)
    }
}

impl Quantity for Limit {
    fn from_number(count: Option<u64>) -> Self {
        count.map_or(Self::MAX, |count| Self::new(usize::from_number(Some(count))))
    }

    fn number(&self) -> Option<u64> {
        Some(self.count() as u64)
    }
}
