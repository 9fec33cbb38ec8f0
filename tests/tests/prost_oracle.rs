//! The codec of rendezvous-wire beside one that prost generates from `proto/rendezvous.proto`.
//!
//! What either writes the other reads, with the same fields present and the same values, and both write the same bytes.
//! On bytes that neither wrote they agree too, save for these differences, each on purpose:
//!
//! | bytes | prost | rendezvous-wire | because |
//! |---|---|---|---|
//! | a string that is not UTF-8 | refuses the message | gives the bytes | text is checked where it is used, and a bad status text costs no answer |
//! | a registration that cannot be decoded | refuses the message | gives an error in its place | one bad record must not lose the others |
//! | a sub-message that stands twice | merges the two | the last one counts | no writer does it, and merging would have to copy |
//! | a group in an unknown field | skips it | refuses the message | groups left protobuf before this protocol was written, and skipping them takes recursion |

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::{collection::vec, option, prelude::*, sample::Index};
use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use rendezvous_wire::{
    Discover, DiscoverResponse, Malformed, Message, MessageType, Register, RegisterResponse, Registrations, Status,
    Unregister,
};

#[allow(deprecated, missing_docs, unnameable_types, unreachable_pub, clippy::all, reason = "generated")]
mod pb {
    include!(concat!(env!("OUT_DIR"), "/rendezvous.pb.rs"));
}

fn text() -> impl Strategy<Value = Option<String>> {
    option::of(prop_oneof!["[a-zé/]{0,12}", "[a-z]{120,140}"])
}

fn bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
    option::of(vec(any::<u8>(), 0..20))
}

fn number() -> impl Strategy<Value = Option<u64>> {
    option::of((any::<u64>(), 0..64_u32).prop_map(|(bits, shift)| bits >> shift))
}

fn code() -> impl Strategy<Value = Option<i32>> {
    let known = prop::sample::select(vec![0, 1, 2, 3, 4, 100, 101, 102, 103, 200, 300, 400]);
    option::of(prop_oneof![known, any::<i32>()])
}

prop_compose! {
    fn register()(ns in text(), signed_peer_record in bytes(), ttl in number()) -> pb::message::Register {
        pb::message::Register { ns, signed_peer_record, ttl }
    }
}

prop_compose! {
    fn register_response()(status in code(), status_text in text(), ttl in number()) -> pb::message::RegisterResponse {
        pb::message::RegisterResponse { status, status_text, ttl }
    }
}

prop_compose! {
    #[allow(deprecated, reason = "the field is read, as some points insist on it")]
    fn unregister()(ns in text(), id in bytes()) -> pb::message::Unregister {
        pb::message::Unregister { ns, id }
    }
}

prop_compose! {
    fn discover()(
        ns in text(), limit in number(), cookie in bytes(), reads in number()
    ) -> pb::message::Discover {
        pb::message::Discover { ns, limit, cookie, reads }
    }
}

prop_compose! {
    fn discover_response()(
        registrations in vec(register(), 0..4), cookie in bytes(), status in code(), status_text in text()
    ) -> pb::message::DiscoverResponse {
        pb::message::DiscoverResponse { registrations, cookie, status, status_text }
    }
}

prop_compose! {
    fn message()(
        r#type in code(),
        register in option::of(register()),
        register_response in option::of(register_response()),
        unregister in option::of(unregister()),
        discover in option::of(discover()),
        discover_response in option::of(discover_response()),
    ) -> pb::Message {
        pb::Message { r#type, register, register_response, unregister, discover, discover_response }
    }
}

fn borrow_register(register: &pb::message::Register) -> Register<'_> {
    Register {
        namespace: register.ns.as_deref().map(str::as_bytes),
        signed_peer_record: register.signed_peer_record.as_deref(),
        ttl_secs: register.ttl,
    }
}

/// The bytes of rendezvous-wire for prost's message.
#[allow(deprecated, reason = "the field is read, as some points insist on it")]
fn encode(message: &pb::Message) -> Vec<u8> {
    let registrations: Vec<_> =
        message.discover_response.iter().flat_map(|answer| &answer.registrations).map(borrow_register).collect();
    Message {
        kind: message.r#type.map(MessageType::from_number),
        register: message.register.as_ref().map(borrow_register),
        register_response: message.register_response.as_ref().map(|answer| RegisterResponse {
            status: answer.status.map(Status::from_code),
            status_text: answer.status_text.as_deref().map(str::as_bytes),
            ttl_secs: answer.ttl,
        }),
        unregister: message.unregister.as_ref().map(|unregister| Unregister {
            namespace: unregister.ns.as_deref().map(str::as_bytes),
            id: unregister.id.as_deref(),
        }),
        discover: message.discover.as_ref().map(|discover| Discover {
            namespace: discover.ns.as_deref().map(str::as_bytes),
            limit: discover.limit,
            cookie: discover.cookie.as_deref(),
            reads: discover.reads,
        }),
        discover_response: message.discover_response.as_ref().map(|answer| DiscoverResponse {
            registrations: Registrations::listed(&registrations),
            cookie: answer.cookie.as_deref(),
            status: answer.status.map(Status::from_code),
            status_text: answer.status_text.as_deref().map(str::as_bytes),
        }),
    }
    .encode()
}

/// Why bytes that rendezvous-wire reads have no counterpart in prost.
#[derive(Debug, PartialEq)]
enum Unlike {
    NotUtf8,
    Registration(Malformed),
}

fn to_text(text: Option<&[u8]>) -> Result<Option<String>, Unlike> {
    text.map(|text| String::from_utf8(text.to_vec()).map_err(|_| Unlike::NotUtf8)).transpose()
}

fn to_register(register: Register<'_>) -> Result<pb::message::Register, Unlike> {
    Ok(pb::message::Register {
        ns: to_text(register.namespace)?,
        signed_peer_record: register.signed_peer_record.map(<[u8]>::to_vec),
        ttl: register.ttl_secs,
    })
}

/// What rendezvous-wire decoded, as prost's message.
#[allow(deprecated, reason = "the field is read, as some points insist on it")]
fn to_prost(message: Message<'_>) -> Result<pb::Message, Unlike> {
    Ok(pb::Message {
        r#type: message.kind.map(MessageType::number),
        register: message.register.map(to_register).transpose()?,
        register_response: message
            .register_response
            .map(|answer| {
                Ok(pb::message::RegisterResponse {
                    status: answer.status.map(Status::code),
                    status_text: to_text(answer.status_text)?,
                    ttl: answer.ttl_secs,
                })
            })
            .transpose()?,
        unregister: message
            .unregister
            .map(|unregister| {
                Ok(pb::message::Unregister {
                    ns: to_text(unregister.namespace)?,
                    id: unregister.id.map(<[u8]>::to_vec),
                })
            })
            .transpose()?,
        discover: message
            .discover
            .map(|discover| {
                Ok(pb::message::Discover {
                    ns: to_text(discover.namespace)?,
                    limit: discover.limit,
                    cookie: discover.cookie.map(<[u8]>::to_vec),
                    reads: discover.reads,
                })
            })
            .transpose()?,
        discover_response: message
            .discover_response
            .map(|answer| {
                let registrations = answer
                    .registrations
                    .into_iter()
                    .map(|register| register.map_err(Unlike::Registration).and_then(to_register))
                    .collect::<Result<_, _>>()?;
                Ok(pb::message::DiscoverResponse {
                    registrations,
                    cookie: answer.cookie.map(<[u8]>::to_vec),
                    status: answer.status.map(Status::code),
                    status_text: to_text(answer.status_text)?,
                })
            })
            .transpose()?,
    })
}

/// A message of the schema, as far as strings and sub-messages in it go.
#[derive(Clone, Copy)]
enum Schema {
    Message,
    Answer,
    DiscoverAnswer,
    Leaf,
}

/// What a third reading of the bytes, field by field, finds of the causes for a difference. It stops at the first fault.
#[derive(Debug, Default)]
struct Causes {
    not_utf8: bool,
    bad_registration: bool,
    twice: bool,
    group: bool,
}

impl Causes {
    fn of(payload: &[u8]) -> Self {
        let mut causes = Self::default();
        let _fault = causes.read(payload, Schema::Message);
        causes
    }

    fn read(&mut self, mut body: &[u8], schema: Schema) -> Option<()> {
        let mut seen = [false; 7];
        while !body.is_empty() {
            let (number, wire_type) = decode_key(&mut body).ok()?;
            self.group |= matches!(wire_type, WireType::StartGroup | WireType::EndGroup);
            let is_registration = matches!((schema, number), (Schema::DiscoverAnswer, 1));
            if wire_type != WireType::LengthDelimited {
                self.bad_registration |= is_registration;
                skip_field(wire_type, number, &mut body, DecodeContext::default()).ok()?;
                continue;
            }
            let len = usize::try_from(decode_varint(&mut body).ok()?).ok()?;
            let (value, rest) = body.split_at_checked(len)?;
            body = rest;
            let child = match (schema, number) {
                (Schema::Message, 2 | 4 | 5) | (Schema::DiscoverAnswer, 1) => Schema::Leaf,
                (Schema::Message, 3) => Schema::Answer,
                (Schema::Message, 6) => Schema::DiscoverAnswer,
                (Schema::Leaf, 1) | (Schema::Answer, 2) | (Schema::DiscoverAnswer, 4) => {
                    self.not_utf8 |= str::from_utf8(value).is_err();
                    continue;
                }
                _ => continue,
            };
            if let (Schema::Message, Some(seen)) = (schema, seen.get_mut(number as usize)) {
                self.twice |= *seen;
                *seen = true;
            }
            if is_registration {
                self.bad_registration |= pb::message::Register::decode(value).is_err();
                self.read(value, child);
            } else {
                self.read(value, child)?;
            }
        }
        Some(())
    }
}

/// A change to bytes that somebody wrote.
#[derive(Clone, Debug)]
enum Mutation {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index),
    Truncate(Index),
    /// What stands between two places stands there twice.
    Repeat(Index, Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        2 => (any::<Index>(), vec(any::<u8>(), 1..4)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        2 => any::<Index>().prop_map(Mutation::Remove),
        1 => any::<Index>().prop_map(Mutation::Truncate),
        1 => any::<(Index, Index)>().prop_map(|(from, to)| Mutation::Repeat(from, to)),
    ]
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let place = |index: &Index| index.index(bytes.len() + 1);
        match self {
            Self::Insert(at, inserted) => {
                let at = place(at);
                bytes.splice(at..at, inserted.iter().copied());
            }
            Self::Truncate(at) => bytes.truncate(place(at)),
            Self::Repeat(from, to) => {
                let (from, to) = (place(from).min(place(to)), place(from).max(place(to)));
                let repeated = bytes[from..to].to_vec();
                bytes.splice(to..to, repeated);
            }
            Self::Set(..) | Self::Remove(_) if bytes.is_empty() => {}
            Self::Set(at, byte) => *at.get_mut(bytes.as_mut_slice()) = *byte,
            Self::Remove(at) => {
                bytes.remove(at.index(bytes.len()));
            }
        }
    }
}

/// Both codecs read the bytes as the same, or the difference is one of the table above.
fn compare(payload: &[u8]) -> Result<(), TestCaseError> {
    let ours = Message::decode(payload);
    let theirs = pb::Message::decode(payload);
    let causes = Causes::of(payload);
    match (ours, theirs) {
        (Err(_), Err(_)) => {}
        (Err(error), Ok(_)) => prop_assert!(causes.group, "only prost reads {payload:02x?}: {error}, {causes:?}"),
        (Ok(_), Err(error)) => prop_assert!(
            causes.not_utf8 || causes.bad_registration,
            "only rendezvous-wire reads {payload:02x?}: {error}, {causes:?}"
        ),
        (Ok(ours), Ok(theirs)) => match to_prost(ours) {
            Ok(ours) if ours == theirs => {}
            unlike => prop_assert!(causes.twice, "{payload:02x?} is {unlike:?} and {theirs:?}, {causes:?}"),
        },
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_prost_writes_is_read_with_the_same_fields_and_values(message in message()) {
        let payload = message.encode_to_vec();
        prop_assert_eq!(to_prost(Message::decode(&payload).unwrap()), Ok(message));
    }

    #[test]
    fn what_is_written_prost_reads_with_the_same_fields_and_values(message in message()) {
        let payload = encode(&message);
        prop_assert_eq!(&pb::Message::decode(payload.as_slice()).unwrap(), &message);
        prop_assert_eq!(payload, message.encode_to_vec(), "both write the fields in the order of their numbers");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn mutated_messages_are_read_alike(message in message(), mutations in vec(mutation(), 1..5)) {
        let mut payload = message.encode_to_vec();
        for mutation in mutations {
            mutation.apply(&mut payload);
            compare(&payload)?;
        }
    }

    #[test]
    fn random_bytes_are_read_alike(payload in vec(any::<u8>(), 0..40)) {
        compare(&payload)?;
    }
}

/// The table's rows, so that none of them can become untrue unseen.
#[test]
fn the_differences_are_those_that_are_listed() {
    let both = |payload: &[u8]| (Message::decode(payload).is_ok(), pb::Message::decode(payload).is_ok());

    let not_utf8 = [0x12, 3, 0x0a, 1, 0xff];
    assert_eq!(both(&not_utf8), (true, false));
    assert_eq!(to_prost(Message::decode(&not_utf8).unwrap()), Err(Unlike::NotUtf8));

    for bad_registration in [[0x32, 4, 0x0a, 2, 0x0a, 9], [0x32, 4, 0x08, 1, 0x18, 0]] {
        assert_eq!(both(&bad_registration), (true, false));
        assert!(matches!(to_prost(Message::decode(&bad_registration).unwrap()), Err(Unlike::Registration(_))));
    }

    let twice = [0x12, 3, 0x0a, 1, b'a', 0x12, 2, 0x18, 9];
    assert_eq!(both(&twice), (true, true));
    let ours = to_prost(Message::decode(&twice).unwrap()).unwrap();
    let theirs = pb::Message::decode(&twice[..]).unwrap();
    assert_eq!((ours.register.unwrap().ns, theirs.register.unwrap().ns), (None, Some("a".to_owned())));

    let group = [0x7b, 0x7c];
    assert_eq!(both(&group), (false, true));
}
