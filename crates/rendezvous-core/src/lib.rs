//! The [libp2p rendezvous protocol] without IO: the point and the client as state machines that their caller drives.
//!
//! - [`server::Server`] is a rendezvous point: the registry, its quotas, and who is served what.
//! - [`client::Client`] keeps its owner registered with points and asks them for peers.
//!
//! Nothing here opens a socket, reads a clock, draws randomness from the system or waits. Frames, instants and a seed come in;
//! frames, events and deadlines go out. So it runs over any transport and on any runtime, and a test of it is the same each time.
//!
//! The two against each other, with a function call for a network:
//!
//! ```
//! use bytes::Bytes;
//! use libp2p_identity::Keypair;
//! use rendezvous_core::{
//!     Time,
//!     client::{AnswerReader, Client, ClientConfig, Event},
//!     server::{Command, Registered, Requester, Server, ServerConfig, registered_frame},
//! };
//! use rendezvous_record::Limits;
//! use rendezvous_wire::{Namespace, frame};
//!
//! let now = Time::from_unix_millis(1_700_000_000_000);
//! let mut server = Server::new(now, ServerConfig::default(), [7; 16]);
//! let point = Keypair::ed25519_from_bytes([2; 32])?.public().to_peer_id();
//!
//! let key = Keypair::ed25519_from_bytes([1; 32])?;
//! let peer = key.public().to_peer_id();
//! let mut client = Client::new(ClientConfig::default(), key, [3; 32]);
//! client.set_addresses(now, vec!["/ip4/192.0.2.1/tcp/4001".parse()?]);
//! let chat = Namespace::new("chat")?;
//! client.register(now, chat.clone(), [point], None);
//!
//! // The client's shell sends a frame …
//! let request = client.poll_request(now).expect("a REGISTER");
//! let (payload, _) = frame::split(&request.frame, frame::REQUEST_BYTES_MAX)?.expect("a whole frame");
//!
//! // … the point's shell reads it, hands it over, and sends the answer …
//! let payload = request.frame.slice_ref(payload);
//! let Ok(Command::Register(register)) = server.reader().read(&peer, &payload) else { panic!("it is a valid REGISTER") };
//! let Ok(Registered::Done(ttl)) = server.handle_register(now, &Requester::new(peer), register) else { panic!("granted") };
//! let answer = Bytes::from(registered_frame(ttl));
//!
//! // … and the client's shell reads that.
//! let (payload, _) = frame::split(&answer, frame::RESPONSE_BYTES_MAX)?.expect("a whole frame");
//! let answer = AnswerReader::new(Limits::default()).read(request.kind, Some(&chat), answer.slice_ref(payload))?;
//! client.handle_answer(now, request.id, answer);
//! assert!(matches!(client.poll_event(), Some(Event::Registered { .. })));
//! assert!(server.is_registered(&peer, "chat"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Neighbours
//! `rendezvous-wire` has the messages, `rendezvous-record` the signed records; `rendezvous-swarm` drives both state machines in a
//! libp2p swarm.
//!
//! [libp2p rendezvous protocol]: https://github.com/libp2p/specs/blob/master/rendezvous/README.md

pub mod client;
mod kind;
pub mod server;
mod time;

pub use kind::RecordKind;
pub use time::Time;
