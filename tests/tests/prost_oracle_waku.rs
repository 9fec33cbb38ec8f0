//! The codec of the Waku dialect beside one that prost generates from `proto/waku-rendezvous.proto`.
//!
//! The dialect is proto3: prost leaves every zero out, ours writes it, and either reads the other's as the same values. On
//! bytes that neither wrote they agree too, save for the differences that `prost_oracle.rs` lists.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::{collection::vec, option, prelude::*, sample::Index};
use prost::Message as _;
use rendezvous_wire::{
    Register, RegisterResponse, Registrations, Status,
    waku::{Discover, DiscoverResponse, Message, MessageType},
};

#[allow(missing_docs, unnameable_types, unreachable_pub, clippy::all, reason = "generated")]
mod pb {
    include!(concat!(env!("OUT_DIR"), "/waku.rendezvous.pb.rs"));
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), (any::<i64>(), 0..64_u32).prop_map(|(bits, shift)| bits >> shift)]
}

fn code() -> impl Strategy<Value = i32> {
    prop_oneof![prop::sample::select(vec![0, 1, 2, 3, 4, 100, 101, 102, 103, 200, 300, 400]), any::<i32>()]
}

prop_compose! {
    fn register()(
        ns in "[a-zé/]{0,12}", signed_peer_record in vec(any::<u8>(), 0..20), ttl in number()
    ) -> pb::message::Register {
        pb::message::Register { ns, signed_peer_record, ttl }
    }
}

prop_compose! {
    fn register_response()(
        status in code(), status_text in "[a-z ]{0,12}", ttl in number()
    ) -> pb::message::RegisterResponse {
        pb::message::RegisterResponse { status, status_text, ttl }
    }
}

prop_compose! {
    fn discover_response()(
        registrations in vec(register(), 0..4), status in code(), status_text in "[a-z ]{0,12}"
    ) -> pb::message::DiscoverResponse {
        pb::message::DiscoverResponse { registrations, status, status_text }
    }
}

prop_compose! {
    fn message()(
        r#type in code(),
        register in option::of(register()),
        register_response in option::of(register_response()),
        discover in option::of(("[a-zé/]{0,12}", number())),
        discover_response in option::of(discover_response()),
    ) -> pb::Message {
        let discover = discover.map(|(ns, limit)| pb::message::Discover { ns, limit });
        pb::Message { r#type, register, register_response, discover, discover_response }
    }
}

fn borrow_register(register: &pb::message::Register) -> Register<'_> {
    Register {
        namespace: Some(register.ns.as_bytes()),
        signed_peer_record: Some(&register.signed_peer_record),
        ttl_secs: Some(register.ttl as u64),
    }
}

/// The bytes of rendezvous-wire for prost's message, with every scalar present.
fn encode(message: &pb::Message) -> Vec<u8> {
    let registrations: Vec<_> =
        message.discover_response.iter().flat_map(|answer| &answer.registrations).map(borrow_register).collect();
    Message {
        kind: Some(MessageType::from_number(message.r#type)),
        register: message.register.as_ref().map(borrow_register),
        register_response: message.register_response.as_ref().map(|answer| RegisterResponse {
            status: Some(Status::from_code(answer.status)),
            status_text: Some(answer.status_text.as_bytes()),
            ttl_secs: Some(answer.ttl as u64),
        }),
        discover: message
            .discover
            .as_ref()
            .map(|discover| Discover { namespace: Some(discover.ns.as_bytes()), limit: Some(discover.limit as u64) }),
        discover_response: message.discover_response.as_ref().map(|answer| DiscoverResponse {
            registrations: Registrations::listed(&registrations),
            status: Some(Status::from_code(answer.status)),
            status_text: Some(answer.status_text.as_bytes()),
        }),
    }
    .encode()
}

fn to_text(text: Option<&[u8]>) -> Option<String> {
    String::from_utf8(text.unwrap_or_default().to_vec()).ok()
}

fn to_register(register: Register<'_>) -> Option<pb::message::Register> {
    Some(pb::message::Register {
        ns: to_text(register.namespace)?,
        signed_peer_record: register.signed_peer_record.unwrap_or_default().to_vec(),
        ttl: register.ttl_secs.unwrap_or_default() as i64,
    })
}

fn to_code(status: Option<Status>) -> i32 {
    Status::from_wire(status).code()
}

/// What rendezvous-wire decoded, as prost's message: what is absent is zero. `None` where that has no counterpart: text
/// that is not UTF-8, or a registration that cannot be decoded.
fn to_prost(message: Message<'_>) -> Option<pb::Message> {
    let register_response = match message.register_response {
        None => None,
        Some(answer) => Some(pb::message::RegisterResponse {
            status: to_code(answer.status),
            status_text: to_text(answer.status_text)?,
            ttl: answer.ttl_secs.unwrap_or_default() as i64,
        }),
    };
    let discover = match message.discover {
        None => None,
        Some(discover) => Some(pb::message::Discover {
            ns: to_text(discover.namespace)?,
            limit: discover.limit.unwrap_or_default() as i64,
        }),
    };
    let discover_response = match message.discover_response {
        None => None,
        Some(answer) => Some(pb::message::DiscoverResponse {
            registrations: answer
                .registrations
                .iter()
                .map(|register| to_register(register.ok()?))
                .collect::<Option<_>>()?,
            status: to_code(answer.status),
            status_text: to_text(answer.status_text)?,
        }),
    };
    let register = match message.register {
        None => None,
        Some(register) => Some(to_register(register)?),
    };
    let r#type = message.kind.map_or(0, MessageType::number);
    Some(pb::Message { r#type, register, register_response, discover, discover_response })
}

/// The numbers of the fields that stand at the top level, as far as they can be read.
fn top_level(mut payload: &[u8]) -> Vec<u32> {
    use prost::encoding::{DecodeContext, decode_key, skip_field};
    let mut numbers = Vec::new();
    while !payload.is_empty() {
        let Ok((number, wire_type)) = decode_key(&mut payload) else { break };
        numbers.push(number);
        if skip_field(wire_type, number, &mut payload, DecodeContext::default()).is_err() {
            break;
        }
    }
    numbers
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_prost_writes_is_read_with_the_same_values(message in message()) {
        let payload = message.encode_to_vec();
        prop_assert_eq!(to_prost(Message::decode(&payload).unwrap()), Some(message));
    }

    #[test]
    fn what_is_written_prost_reads_with_the_same_values(message in message()) {
        let payload = encode(&message);
        prop_assert_eq!(pb::Message::decode(payload.as_slice()).unwrap(), message);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn changed_bytes_are_read_alike(
        message in message(),
        changes in vec((any::<Index>(), any::<u8>()), 1..4),
    ) {
        let mut payload = message.encode_to_vec();
        for (at, byte) in changes {
            if !payload.is_empty() {
                *at.get_mut(payload.as_mut_slice()) = byte;
            }
        }
        match (Message::decode(&payload), pb::Message::decode(payload.as_slice())) {
            (Ok(ours), Ok(theirs)) => {
                let mut numbers = top_level(&payload);
                numbers.sort_unstable();
                // Of a sub-message that stands twice the last counts here; prost merges.
                let is_twice = numbers.windows(2).any(|pair| pair[0] == pair[1]);
                let ours = to_prost(ours);
                prop_assert!(is_twice || ours.as_ref() == Some(&theirs), "{payload:02x?}: {ours:?} and {theirs:?}");
            }
            // What prost refuses and ours reads has text that is not UTF-8, or a registration that is none.
            (Ok(_), Err(error)) => {
                let error = error.to_string();
                let is_known = error.contains("UTF-8") || error.contains("DiscoverResponse.registrations");
                prop_assert!(is_known, "only ours reads {payload:02x?}: {error}");
            }
            // Groups, which only prost skips, begin with a tag that ends in 3.
            (Err(error), Ok(_)) => {
                prop_assert!(payload.iter().any(|byte| byte & 7 == 3), "only prost reads {payload:02x?}: {error}");
            }
            (Err(_), Err(_)) => {}
        }
    }
}
