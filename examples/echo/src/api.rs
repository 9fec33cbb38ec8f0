//! The service: what is called, and the calls.

use std::{convert::Infallible, time::Duration};

use rendezvous_node::{
    PeerId,
    rpc::{Context, MultiCall, Rpc, Service},
};
use serde::{Deserialize, Serialize};

const SERVICE: &str = "EchoRPCAPI";
const ECHO: &str = "Echo";

/// Longest wait for an answer: who takes longer does not hold up the next round for ever.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// What is sent, and what comes back.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope {
    pub(crate) message: String,
}

/// The service of this peer.
pub(crate) fn service(own: PeerId) -> Service {
    Service::new(SERVICE).unary(ECHO, move |_: Context, Envelope { message }| async move {
        Ok::<_, Infallible>(Envelope { message: format!("Peer {own} echoing: {message}") })
    })
}

/// Calls it on each of these peers.
pub(crate) fn echo(rpc: &Rpc, peers: Vec<PeerId>, round: u64) -> MultiCall<Envelope> {
    let message = format!("Message ({round}): Hello from {}", rpc.local_peer());
    rpc.multi_call(peers, SERVICE, ECHO, &Envelope { message })
}
