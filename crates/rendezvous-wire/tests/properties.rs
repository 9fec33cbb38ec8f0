//! Any message that can be said is read back as it was said.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::{collection::vec, option, prelude::*};
use rendezvous_wire::{
    Discover, DiscoverResponse, Message, MessageType, Register, RegisterResponse, Registrations, Request, Response,
    Status, Unregister, frame,
};

type Bytes = Option<Vec<u8>>;
type Number = Option<u64>;
type OwnedRegister = (Bytes, Bytes, Number);

/// A message that owns its bytes, absent fields included.
#[derive(Clone, Debug)]
struct Owned {
    kind: Option<i32>,
    register: Option<OwnedRegister>,
    register_response: Option<(Option<i32>, Bytes, Number)>,
    unregister: Option<(Bytes, Bytes)>,
    discover: Option<(Bytes, Number, Bytes, Number)>,
    discover_response: Option<(Vec<OwnedRegister>, Bytes, Option<i32>, Bytes)>,
}

/// Short ones, and such as need a length of two bytes.
fn bytes() -> impl Strategy<Value = Bytes> {
    option::of(prop_oneof![vec(any::<u8>(), 0..20), vec(any::<u8>(), 120..140)])
}

/// Numbers of every length as a varint.
fn number() -> impl Strategy<Value = Number> {
    option::of((any::<u64>(), 0..64_u32).prop_map(|(bits, shift)| bits >> shift))
}

fn code() -> impl Strategy<Value = Option<i32>> {
    let known = prop::sample::select(vec![0, 1, 2, 3, 4, 100, 101, 102, 103, 200, 300, 400]);
    option::of(prop_oneof![known, any::<i32>()])
}

fn owned() -> impl Strategy<Value = Owned> {
    let register = || (bytes(), bytes(), number());
    (
        code(),
        option::of(register()),
        option::of((code(), bytes(), number())),
        option::of((bytes(), bytes())),
        option::of((bytes(), number(), bytes(), number())),
        option::of((vec(register(), 0..5), bytes(), code(), bytes())),
    )
        .prop_map(|(kind, register, register_response, unregister, discover, discover_response)| Owned {
            kind,
            register,
            register_response,
            unregister,
            discover,
            discover_response,
        })
}

fn borrow_register((namespace, signed_peer_record, ttl_secs): &OwnedRegister) -> Register<'_> {
    Register { namespace: namespace.as_deref(), signed_peer_record: signed_peer_record.as_deref(), ttl_secs: *ttl_secs }
}

impl Owned {
    fn registrations(&self) -> Vec<Register<'_>> {
        self.discover_response.iter().flat_map(|(registrations, ..)| registrations).map(borrow_register).collect()
    }

    fn borrow<'a>(&'a self, registrations: &'a [Register<'a>]) -> Message<'a> {
        Message {
            kind: self.kind.map(MessageType::from_number),
            register: self.register.as_ref().map(borrow_register),
            register_response: self.register_response.as_ref().map(|(status, text, ttl_secs)| RegisterResponse {
                status: status.map(Status::from_code),
                status_text: text.as_deref(),
                ttl_secs: *ttl_secs,
            }),
            unregister: self
                .unregister
                .as_ref()
                .map(|(namespace, id)| Unregister { namespace: namespace.as_deref(), id: id.as_deref() }),
            discover: self.discover.as_ref().map(|(namespace, limit, cookie, reads)| Discover {
                namespace: namespace.as_deref(),
                limit: *limit,
                cookie: cookie.as_deref(),
                reads: *reads,
            }),
            discover_response: self.discover_response.as_ref().map(|(_, cookie, status, text)| DiscoverResponse {
                registrations: Registrations::listed(registrations),
                cookie: cookie.as_deref(),
                status: status.map(Status::from_code),
                status_text: text.as_deref(),
            }),
        }
    }
}

proptest! {
    #[test]
    fn an_encoded_message_decodes_to_itself(owned in owned()) {
        let registrations = owned.registrations();
        let message = owned.borrow(&registrations);
        let payload = message.encode();
        prop_assert_eq!(Message::decode(&payload), Ok(message));
        // What was decoded encodes to the same bytes, registrations that were never unpacked included.
        prop_assert_eq!(Message::decode(&payload).unwrap().encode(), payload);
    }

    #[test]
    fn a_frame_is_the_payload_behind_its_length(owned in owned(), before in vec(any::<u8>(), 0..9)) {
        let registrations = owned.registrations();
        let message = owned.borrow(&registrations);
        let mut frame = before.clone();
        message.encode_frame(&mut frame);
        let payload = message.encode();
        prop_assert!(frame.starts_with(&before), "a frame is appended");
        let frame = &frame[before.len()..];
        prop_assert_eq!(frame::split(frame, payload.len()), Ok(Some((payload.as_slice(), frame.len()))));

        let mut appended = Vec::new();
        frame::append(&payload, &mut appended);
        prop_assert_eq!(&appended, frame);
    }

    #[test]
    fn a_request_or_response_decodes_to_itself(owned in owned()) {
        let registrations = owned.registrations();
        let message = owned.borrow(&registrations);
        for request in [
            message.register.map(Request::Register),
            message.unregister.map(Request::Unregister),
            message.discover.map(Request::Discover),
        ].into_iter().flatten() {
            let payload = request.to_message().encode();
            prop_assert_eq!(Request::decode(&payload), Ok(request));
        }
        for response in [
            message.register_response.map(Response::Register),
            message.discover_response.map(Response::Discover),
        ].into_iter().flatten() {
            let payload = response.to_message().encode();
            prop_assert_eq!(Response::decode(&payload), Ok(response));
        }
    }

    #[test]
    fn random_bytes_are_decoded_or_refused(payload in vec(any::<u8>(), 0..200)) {
        if let Ok(message) = Message::decode(&payload) {
            let again = message.encode();
            let again = Message::decode(&again);
            prop_assert!(again.is_ok());
            prop_assert_eq!(again.unwrap().effective_kind(), message.effective_kind());
        }
    }
}
