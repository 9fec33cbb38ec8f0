//! Reads and writes frames of the rendezvous protocol with `rendezvous-wire` alone: no runtime, no cryptography.
//!
//! It plays a point that knows one record by its bytes, and shows what each frame says:
//!
//! ```text
//! cargo run -p example-codec-only
//! ```

use std::error::Error;

use rendezvous_wire::{
    Discover, Limit, Namespace, PageWriter, PositionCookie, Register, RegisterResponse, Request, Response, Status, Ttl,
    frame,
};

/// Bytes that stand for a signed envelope; this crate does not look into them.
const ENVELOPE: &[u8] = b"a signed envelope";

fn main() -> Result<(), Box<dyn Error>> {
    // What a client would write: two requests, one after the other on the same stream.
    let mut stream = Vec::new();
    let register = Register {
        namespace: Some(b"chat"),
        signed_peer_record: Some(ENVELOPE),
        ttl_secs: Some(Ttl::DEFAULT.as_secs()),
    };
    Request::Register(register).encode_frame(&mut stream);
    Request::Discover(Discover { namespace: Some(b"chat"), limit: Some(10), ..Discover::default() })
        .encode_frame(&mut stream);

    // What a point reads, as the bytes come in: frames are split off the front of what has arrived.
    let mut answers = Vec::new();
    let mut rest = &stream[..];
    while let Some((payload, frame_len)) = frame::split(rest, frame::REQUEST_BYTES_MAX)? {
        match Request::decode(payload)? {
            Request::Register(register) => {
                let namespace = Namespace::parse(register.namespace.unwrap_or_default())?;
                let ttl = Ttl::from_wire(register.ttl_secs).unwrap_or(Ttl::DEFAULT);
                let envelope = register.signed_peer_record.unwrap_or_default();
                println!("REGISTER in {namespace:?} for {ttl}, an envelope of {} bytes", envelope.len());
                let response = RegisterResponse {
                    status: Some(Status::Ok),
                    ttl_secs: Some(ttl.as_secs()),
                    ..RegisterResponse::default()
                };
                Response::Register(response).encode_frame(&mut answers);
            }
            Request::Discover(discover) => {
                let namespace = discover.namespace.map(Namespace::parse).transpose()?;
                println!("DISCOVER of {namespace:?}, at most {}", Limit::from_wire(discover.limit).count());
                let mut page = PageWriter::new(frame::PAGE_BYTES_MAX);
                page.push(b"chat", ENVELOPE, 7_199);
                let page = page.finish(&PositionCookie { position: 1, namespace }.encode());
                answers.extend_from_slice(page.as_bytes());
            }
            Request::Unregister(_) => println!("UNREGISTER, which has no answer"),
        }
        rest = &rest[frame_len..];
    }

    // And what the client reads in return.
    let mut rest = &answers[..];
    while let Some((payload, frame_len)) = frame::split(rest, frame::RESPONSE_BYTES_MAX)? {
        match Response::decode(payload)? {
            Response::Register(response) => {
                println!("{}: granted {:?} s", Status::from_wire(response.status), response.ttl_secs.unwrap_or(0));
            }
            Response::Discover(response) => {
                for registration in response.registrations {
                    let registration = registration?;
                    println!("found a record of {} bytes", registration.signed_peer_record.unwrap_or_default().len());
                }
            }
        }
        rest = &rest[frame_len..];
    }
    Ok(())
}
