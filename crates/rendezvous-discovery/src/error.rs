//! What there is no answer from: [`Stopped`].

/// The manager was stopped, or its driver dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the discovery manager has ended")]
pub struct Stopped;
