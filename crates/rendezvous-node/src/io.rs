//! The byte streams under sub-protocols and RPC.

use futures::{AsyncRead, AsyncWrite};

/// A stream in both directions: of libp2p between two nodes, or in memory.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A stream whatever it is made of.
pub(crate) type Io = Box<dyn Duplex>;
