//! The protocols that are offered on a connection.

use std::{convert::Infallible, future, sync::Arc};

use libp2p::{
    Stream, StreamProtocol,
    core::upgrade::{InboundUpgrade, UpgradeInfo},
};

/// Accepts streams of the protocols that have acceptors.
#[derive(Clone, Debug)]
pub struct Upgrade {
    protocols: Arc<[StreamProtocol]>,
}

impl Upgrade {
    pub(super) fn new(protocols: Arc<[StreamProtocol]>) -> Self {
        Self { protocols }
    }
}

/// The protocols, one after the other. They are listed whenever a connection is polled, so the list is shared.
#[derive(Clone, Debug)]
pub struct Protocols {
    list: Arc<[StreamProtocol]>,
    next: usize,
}

impl Iterator for Protocols {
    type Item = StreamProtocol;

    fn next(&mut self) -> Option<StreamProtocol> {
        let protocol = self.list.get(self.next).cloned()?;
        self.next += 1;
        Some(protocol)
    }
}

impl UpgradeInfo for Upgrade {
    type Info = StreamProtocol;
    type InfoIter = Protocols;

    fn protocol_info(&self) -> Protocols {
        Protocols { list: self.protocols.clone(), next: 0 }
    }
}

impl InboundUpgrade<Stream> for Upgrade {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = future::Ready<Result<(Stream, StreamProtocol), Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        future::ready(Ok((stream, protocol)))
    }
}
