//! A peer that has a multiplexer and no protocols.

use std::{future::poll_fn, pin::Pin, task::Poll};

use futures::{AsyncWrite as _, StreamExt as _};
use libp2p::{
    Multiaddr, PeerId, Transport as _,
    core::{
        muxing::{StreamMuxerExt as _, SubstreamBox},
        transport::{ListenerId, TransportEvent},
    },
    identity::Keypair,
};
use tokio::{sync::mpsc, task::JoinHandle};

use super::Network;

/// Takes one connection and holds the streams that are opened on it, without a word on any of them unless it is told to.
#[derive(Debug)]
pub struct Raw {
    pub id: PeerId,
    pub address: Multiaddr,
    /// One for each stream that has come.
    pub came: mpsc::UnboundedReceiver<()>,
    answers: mpsc::UnboundedSender<Answer>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
enum Answer {
    Reset,
    Nonsense,
}

impl Raw {
    pub async fn start(key: &Keypair) -> Self {
        Self::on(Network::Memory, key).await
    }

    pub async fn on(network: Network, key: &Keypair) -> Self {
        let mut transport = network.transport(key);
        transport.listen_on(ListenerId::next(), network.address()).unwrap();
        let address = transport.next().await.unwrap().into_new_address().expect("the first event");
        let (teller, came) = mpsc::unbounded_channel();
        let (answers, mut due) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let upgrade = loop {
                if let TransportEvent::Incoming { upgrade, .. } = transport.next().await.unwrap() {
                    break upgrade;
                }
            };
            let (_, mut muxer) = upgrade.await.unwrap();
            let mut held: Vec<SubstreamBox> = Vec::new();
            poll_fn(|cx| {
                while let Poll::Ready(Some(answer)) = due.poll_recv(cx) {
                    match answer {
                        Answer::Reset => held.clear(),
                        Answer::Nonsense => {
                            for stream in &mut held {
                                assert!(Pin::new(stream).poll_write(cx, b"\x05what\n").is_ready());
                            }
                        }
                    }
                }
                while let Poll::Ready(Ok(stream)) = muxer.poll_inbound_unpin(cx) {
                    held.push(stream);
                    let _ = teller.send(());
                }
                muxer.poll_unpin(cx).map(drop)
            })
            .await;
        });
        Self { id: key.public().to_peer_id(), address, came, answers, task }
    }

    /// Resets the streams that are held.
    pub fn reset(&self) {
        self.answers.send(Answer::Reset).unwrap();
    }

    /// Answers on the streams that are held with what is no protocol.
    pub fn talk_nonsense(&self) {
        self.answers.send(Answer::Nonsense).unwrap();
    }

    /// Drops the connection.
    pub fn hang_up(&self) {
        self.task.abort();
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.hang_up();
    }
}
