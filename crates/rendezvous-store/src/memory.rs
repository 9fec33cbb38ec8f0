//! The store that keeps nothing.

use rendezvous_core::{
    Time,
    server::{Change, Kept},
};

use crate::{
    error::{CommitError, Damage, LoadError},
    store::{Last, Loaded, Store},
};

/// Keeps nothing: the registry in the point's memory is all there is, and a restart empties it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory;

impl Store for Memory {
    fn is_durable(&self) -> bool {
        false
    }

    fn last(&mut self) -> Result<Option<Last>, LoadError> {
        Ok(None)
    }

    fn load(&mut self, _: Time, _: &mut dyn FnMut(Kept) -> Result<(), Damage>) -> Result<Loaded, LoadError> {
        Ok(Loaded::default())
    }

    fn commit(&mut self, _: Time, _: &[Change]) -> Result<(), CommitError> {
        Ok(())
    }
}
