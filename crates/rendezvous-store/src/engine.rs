//! What the ledger asks of whatever keeps its bytes.

use crate::{
    error::{CommitError, LoadError},
    format::Summary,
};

/// A key and what is to stand there; `None` for nothing.
pub(crate) type Write = (Vec<u8>, Option<Vec<u8>>);

/// A map of bytes that takes several writes as one.
pub(crate) trait Engine: Send {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, CommitError>;

    /// Hands out every entry whose key begins so.
    fn scan(&mut self, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), LoadError>;

    /// Writes all or nothing. Durable when it has returned `Ok`.
    fn write(&mut self, writes: &[Write]) -> Result<(), CommitError>;

    /// The summary in what was written last is acknowledged.
    fn acknowledged(&mut self, _summary: &Summary) {}

    /// Brings the engine back after a write that failed: afterwards [`Self::get`] tells what is durable.
    fn recover(&mut self) -> Result<(), CommitError>;
}
