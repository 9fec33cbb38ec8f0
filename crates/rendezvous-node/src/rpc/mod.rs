//! Calls of methods between peers.

mod answers;
mod call;
mod cbor;
mod client;
mod config;
mod context;
mod error;
mod flow;
mod frame;
mod multi;
mod opener;
mod pipe;
mod requests;
mod service;
mod services;
mod session;
mod slots;
mod status;

pub use self::{
    answers::Answers,
    call::{Call, CallHandle, Canceller},
    cbor::{DEPTH_MAX, DecodeError},
    client::Rpc,
    config::{
        CALL_TIMEOUT, CALL_TIMEOUT_MAX, CALLS_MAX, CALLS_PER_PEER_MAX, ClientConfig, ERROR_MESSAGE_BYTES_MAX,
        HEADER_BYTES_MAX, HEADER_TIMEOUT, MESSAGE_BYTES_MAX, MULTI_CALLS_MAX, NAME_BYTES_MAX, READ_AHEAD_BYTES,
        ServerConfig, WRITE_TIMEOUT,
    },
    context::Context,
    error::{ApplicationError, CallError, ErrorKind, MalformedAnswer, Message, SendError, Side},
    flow::{Incoming, Outgoing},
    frame::FrameKind,
    multi::MultiCall,
    opener::{OpenError, Opener},
    pipe::Pipe,
    requests::Requests,
    service::{MethodKind, Service},
    services::{RegisterError, ServiceInfo, Services},
    status::Status,
};

/// Protocol of the streams, each of which carries one call, unless a node is
/// [told another](crate::Builder::rpc_protocol).
pub const PROTOCOL: &str = "/rendezvous/rpc/1.0.0";
