//! Telling a peer why it is disconnected, before it is.
//!
//! A stream of [`PROTOCOL`] carries one byte, the [code](DisconnectReason::code) of the reason, and is closed. The other side
//! closes it when it has taken note of the reason, and whoever opened it closes the connection then. A peer that does not speak
//! it just sees the connection end.

use core::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::{PeerId, StreamProtocol};
use tokio::time::timeout;

use crate::{DisconnectReason, streams};

/// The protocol.
pub(crate) const PROTOCOL: StreamProtocol = StreamProtocol::new("/rendezvous/goodbye/1.0.0");

/// Longest time that is taken for it, on either side: nobody stays because he cannot be told to go.
pub(crate) const DEADLINE: Duration = Duration::from_secs(1);

/// Tells a peer, as far as it can be told.
pub(crate) async fn say(control: streams::Control, peer: PeerId, reason: DisconnectReason) {
    let said = async {
        let Ok(mut stream) = control.open(peer, PROTOCOL).await else { return };
        if stream.write_all(&[reason.code()]).await.is_ok() && stream.close().await.is_ok() {
            // The other side closes when it has read it; closing the connection sooner may overtake the byte.
            let _ = stream.read(&mut [0; 1]).await;
        }
    };
    let _ = timeout(DEADLINE, said).await;
}

/// What a peer says; `None` if it says nothing.
///
/// The stream is to be dropped when the reason is noted: the end of the connection, which follows, would else be seen first, as
/// one without a word.
pub(crate) async fn hear(mut stream: streams::Stream) -> Option<(DisconnectReason, streams::Stream)> {
    let mut code = [0; 1];
    timeout(DEADLINE, stream.read_exact(&mut code)).await.ok()?.ok()?;
    Some((DisconnectReason::from_code(code[0]), stream))
}
