//! multistream-select: the client's half, by hand.

use std::io;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The first message of either side.
pub const HEADER: &str = "/multistream/1.0.0";

/// Longest message that is read here.
const MESSAGE_BYTES_MAX: usize = 127;

/// A proposal, with its length before it.
#[must_use]
pub fn proposal(protocol: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(protocol.len() + 4);
    let mut line = protocol.as_bytes().to_vec();
    line.push(b'\n');
    rendezvous_wire::frame::append(&line, &mut bytes);
    bytes
}

/// The header and a proposal.
#[must_use]
pub fn negotiation(protocol: &str) -> Vec<u8> {
    let mut bytes = proposal(HEADER);
    bytes.extend_from_slice(&proposal(protocol));
    bytes
}

/// Agrees on a protocol.
pub(super) async fn negotiate<T: AsyncRead + AsyncWrite + Unpin>(io: &mut T, protocol: &str) -> io::Result<()> {
    io.write_all(&negotiation(protocol)).await?;
    io.flush().await?;
    for expected in [HEADER, protocol] {
        let line = line(io).await?;
        if line != expected.as_bytes() {
            let line = String::from_utf8_lossy(&line).into_owned();
            return Err(io::Error::other(format!("{expected} is answered with {line}")));
        }
    }
    Ok(())
}

async fn line<T: AsyncRead + Unpin>(io: &mut T) -> io::Result<Vec<u8>> {
    let mut len = [0];
    io.read_exact(&mut len).await?;
    let len = usize::from(len[0]);
    if len > MESSAGE_BYTES_MAX {
        return Err(io::Error::other("a message of multistream-select is too long"));
    }
    let mut line = vec![0; len];
    io.read_exact(&mut line).await?;
    line.pop();
    Ok(line)
}
