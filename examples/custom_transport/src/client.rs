//! The client's shell: takes requests from the core, writes them, reads the answers, hands them back.

use std::{error::Error, net::SocketAddr};

use async_std::{future::timeout, net::TcpStream, stream::StreamExt as _};
use asynchronous_codec::FramedRead;
use bytes::Bytes;
use futures::{
    AsyncReadExt as _, AsyncWriteExt as _,
    io::{ReadHalf, WriteHalf},
};
use libp2p_identity::{Keypair, PeerId};
use rendezvous_core::client::{
    Answer, AnswerReader, Client, ClientConfig, Event, Failure, From, Outbound, RegistrationId,
};
use rendezvous_record::{Limits, VerifiedRecord};
use rendezvous_wire::{FrameCodec, Namespace, frame};

use crate::Clock;

pub(crate) struct Peer {
    client: Client,
    reader: AnswerReader,
    clock: Clock,
    point: PeerId,
    frames: FramedRead<ReadHalf<TcpStream>, FrameCodec>,
    write: WriteHalf<TcpStream>,
}

impl Peer {
    /// Connects to a point and claims the peer id of a new key.
    pub(crate) async fn connect(
        clock: Clock,
        point_address: SocketAddr,
        point: PeerId,
        own_address: &str,
    ) -> Result<Self, Box<dyn Error>> {
        let key = Keypair::generate_ed25519();
        let (read, mut write) = TcpStream::connect(point_address).await?.split();
        let mut claim = Vec::new();
        frame::append(&key.public().to_peer_id().to_bytes(), &mut claim);
        write.write_all(&claim).await?;

        let seed = key.derive_secret(b"jitter").expect("an Ed25519 key derives secrets");
        let mut client = Client::new(ClientConfig::default(), key, seed);
        client.set_addresses(clock.now(), vec![own_address.parse()?]);
        let reader = AnswerReader::new(Limits::default());
        let frames = FramedRead::new(read, FrameCodec::new(frame::RESPONSE_BYTES_MAX));
        Ok(Self { client, reader, clock, point, frames, write })
    }

    pub(crate) async fn register(&mut self, namespace: &Namespace) -> Result<RegistrationId, Box<dyn Error>> {
        let id = self.client.register(self.clock.now(), namespace.clone(), [self.point], None);
        for event in self.drive().await {
            match event {
                Event::Registered { id: registered, .. } if registered == id => return Ok(id),
                Event::RegisterFailed { failure, .. } => return Err(failure.into()),
                _ => {}
            }
        }
        Err("the registration has not ended".into())
    }

    pub(crate) async fn unregister(&mut self, id: RegistrationId) -> Result<(), Box<dyn Error>> {
        self.client.unregister(self.clock.now(), id);
        self.drive().await;
        Ok(())
    }

    /// What is new since the last time.
    pub(crate) async fn discover(&mut self, namespace: &Namespace) -> Result<Vec<VerifiedRecord>, Box<dyn Error>> {
        self.walk(namespace, From::Cookie).await
    }

    /// All that is there.
    pub(crate) async fn discover_afresh(
        &mut self,
        namespace: &Namespace,
    ) -> Result<Vec<VerifiedRecord>, Box<dyn Error>> {
        self.walk(namespace, From::Fresh).await
    }

    async fn walk(&mut self, namespace: &Namespace, from: From) -> Result<Vec<VerifiedRecord>, Box<dyn Error>> {
        let mut from = from;
        let mut records = Vec::new();
        loop {
            self.client.discover(self.clock.now(), self.point, Some(namespace.clone()), None, from);
            from = From::Cookie;
            let mut is_done = true;
            for event in self.drive().await {
                match event {
                    Event::Discovered { registrations, more, .. } => {
                        records.extend(registrations.into_iter().map(|registration| registration.record));
                        is_done = !more;
                    }
                    Event::DiscoverFailed { failure, .. } => return Err(failure.into()),
                    _ => {}
                }
            }
            if is_done {
                return Ok(records);
            }
        }
    }

    /// Sends what the core asks for until it asks for nothing; returns what has happened.
    ///
    /// A program that stays would also wait for `poll_timeout`, so that its registrations are refreshed.
    async fn drive(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            events.extend(core::iter::from_fn(|| self.client.poll_event()));
            let Some(outbound) = self.client.poll_request(self.clock.now()) else { return events };
            let result = self.exchange(&outbound).await;
            let now = self.clock.now();
            match result {
                Ok(answer) => self.client.handle_answer(now, outbound.id, answer),
                Err(failure) => self.client.handle_failure(now, outbound.id, failure),
            }
        }
    }

    async fn exchange(&mut self, outbound: &Outbound) -> Result<Answer, Failure> {
        self.write.write_all(&outbound.frame).await.map_err(|_| Failure::Unreachable)?;
        if !outbound.expects_answer {
            return Ok(Answer::Sent);
        }
        let patience = outbound.deadline.saturating_since(self.clock.now());
        let payload: Bytes = timeout(patience, self.frames.next())
            .await
            .map_err(|_| Failure::TimedOut)?
            .and_then(Result::ok)
            .ok_or(Failure::ClosedWithoutAnswer)?;
        Ok(self.reader.read(outbound.kind, outbound.namespace.as_ref(), payload)?)
    }
}
