//! The messages, field by field, and the tree that bytes are read into.

use serde::Serialize;

use super::{
    meaning,
    proto::{Fault, Field, Reader, Span, Value},
    verdict::{self, Verdict},
};

/// What a message consists of.
pub(super) struct Schema {
    fields: &'static [Def],
}

struct Def {
    number: u32,
    name: &'static str,
    kind: Kind,
}

/// What a field holds, and how it is shown.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    // Numbers.
    MessageType,
    WakuMessageType,
    Status,
    KeyType,
    Ttl,
    Limit,
    Reads,
    Seq,
    // Bytes.
    Namespace,
    Text,
    Cookie,
    PeerId,
    PayloadType,
    Multiaddr,
    Opaque,
    // Messages.
    Message(&'static Schema),
    Envelope,
}

macro_rules! schema {
    ($name:ident: $($number:literal $field:literal $kind:expr),* $(,)?) => {
        pub(super) static $name: Schema = Schema {
            fields: &[$(Def { number: $number, name: $field, kind: $kind }),*],
        };
    };
}

schema!(MESSAGE:
    1 "type" Kind::MessageType,
    2 "register" Kind::Message(&REGISTER),
    3 "registerResponse" Kind::Message(&REGISTER_RESPONSE),
    4 "unregister" Kind::Message(&UNREGISTER),
    5 "discover" Kind::Message(&DISCOVER),
    6 "discoverResponse" Kind::Message(&DISCOVER_RESPONSE),
);
schema!(WAKU_MESSAGE:
    1 "type" Kind::WakuMessageType,
    2 "register" Kind::Message(&REGISTER),
    3 "registerResponse" Kind::Message(&REGISTER_RESPONSE),
    4 "discover" Kind::Message(&WAKU_DISCOVER),
    5 "discoverResponse" Kind::Message(&WAKU_DISCOVER_RESPONSE),
);
schema!(WAKU_DISCOVER:
    1 "ns" Kind::Namespace,
    2 "limit" Kind::Limit,
);
schema!(WAKU_DISCOVER_RESPONSE:
    1 "registrations" Kind::Message(&REGISTER),
    3 "status" Kind::Status,
    4 "statusText" Kind::Text,
);
schema!(REGISTER:
    1 "ns" Kind::Namespace,
    2 "signedPeerRecord" Kind::Envelope,
    3 "ttl" Kind::Ttl,
);
schema!(REGISTER_RESPONSE:
    1 "status" Kind::Status,
    2 "statusText" Kind::Text,
    3 "ttl" Kind::Ttl,
);
schema!(UNREGISTER:
    1 "ns" Kind::Namespace,
    2 "id" Kind::PeerId,
);
schema!(DISCOVER:
    1 "ns" Kind::Namespace,
    2 "limit" Kind::Limit,
    3 "cookie" Kind::Cookie,
    64 "reads" Kind::Reads,
);
schema!(DISCOVER_RESPONSE:
    1 "registrations" Kind::Message(&REGISTER),
    2 "cookie" Kind::Cookie,
    3 "status" Kind::Status,
    4 "statusText" Kind::Text,
);
schema!(ENVELOPE:
    1 "public_key" Kind::Message(&PUBLIC_KEY),
    2 "payload_type" Kind::PayloadType,
    3 "payload" Kind::Message(&PEER_RECORD),
    5 "signature" Kind::Opaque,
);
schema!(PUBLIC_KEY:
    1 "type" Kind::KeyType,
    2 "data" Kind::Opaque,
);
schema!(PEER_RECORD:
    1 "peer_id" Kind::PeerId,
    2 "seq" Kind::Seq,
    3 "addresses" Kind::Message(&ADDRESS_INFO),
);
schema!(ADDRESS_INFO:
    1 "multiaddr" Kind::Multiaddr,
);

/// A field that has been read, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Node {
    /// Where its key stands in the input.
    pub(super) offset: usize,
    #[serde(rename = "field")]
    pub(super) number: u32,
    /// `None` where the schema has no such field.
    pub(super) name: Option<&'static str>,
    /// Of bytes and messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) length: Option<usize>,
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number_on_wire: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) envelope: Option<Verdict>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) fields: Vec<Node>,
    /// Where the value stands in the input.
    #[serde(skip)]
    pub(super) start: usize,
}

impl Node {
    /// The first field of a message with this number.
    pub(super) fn field(&self, number: u32) -> Option<&Node> {
        self.fields.iter().find(|node| node.number == number)
    }
}

/// A message that has been read as far as it goes.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) fields: Vec<Node>,
    /// Where it stops being a message of its schema.
    pub(super) fault: Option<Fault>,
    /// The first envelope in it that does not verify.
    pub(super) unverified: Option<Fault>,
    /// Fields that the schema has, and those that it has not.
    pub(super) known: usize,
    pub(super) unknown: usize,
}

impl Tree {
    /// Reads a message. Its sub-messages are read whatever is wrong in one of them.
    pub(super) fn read(span: Span<'_>, schema: &Schema) -> Self {
        let mut tree = Self::default();
        let mut reader = Reader::new(span);
        loop {
            match reader.next_field() {
                Ok(Some(field)) => tree.add(field, schema),
                Ok(None) => return tree,
                Err(fault) => {
                    tree.fault.get_or_insert(fault);
                    return tree;
                }
            }
        }
    }

    /// Reads an envelope and says whether it verifies.
    pub(super) fn read_envelope(span: Span<'_>) -> (Self, Verdict) {
        let mut tree = Self::read(span, &ENVELOPE);
        let verdict = verdict::of(span, &tree.fields);
        tree.unverified = verdict.fault.clone();
        // What is wrong in an envelope, its verdict says.
        tree.fault = None;
        (tree, verdict)
    }

    pub(super) fn field(&self, number: u32) -> Option<&Node> {
        self.fields.iter().find(|node| node.number == number)
    }

    fn add(&mut self, field: Field<'_>, schema: &Schema) {
        let def = schema.fields.iter().find(|def| def.number == field.number);
        let mut node = Node {
            offset: field.offset,
            number: field.number,
            name: def.map(|def| def.name),
            length: None,
            value: None,
            number_on_wire: None,
            hex: None,
            envelope: None,
            fields: Vec::new(),
            start: field.offset,
        };
        if let Value::Bytes(span) | Value::Fixed(span) = field.value {
            (node.length, node.start) = (Some(span.bytes.len()), span.start);
        }
        match (def.map(|def| def.kind), field.value) {
            (Some(Kind::Message(schema)), Value::Bytes(span)) => {
                let tree = Self::read(span, schema);
                node.fields = self.take_in(tree);
            }
            (Some(Kind::Envelope), Value::Bytes(span)) => {
                let (tree, verdict) = Self::read_envelope(span);
                node.fields = self.take_in(tree);
                node.envelope = Some(verdict);
            }
            (Some(kind), Value::Bytes(span)) if kind.is_bytes() => {
                node.value = Some(meaning::of_bytes(kind, span.bytes));
                node.hex = Some(meaning::hex(span.bytes));
            }
            (Some(kind), Value::Varint(number)) if kind.is_number() => {
                node.value = Some(meaning::of_number(kind, number));
                node.number_on_wire = Some(number);
            }
            (Some(_), _) => {
                let reason = format!("field {} has the wrong wire type", field.number);
                self.fault.get_or_insert(Fault::new(field.offset, reason));
            }
            (None, Value::Varint(number)) => {
                node.value = Some(number.to_string());
                node.number_on_wire = Some(number);
            }
            (None, Value::Bytes(span) | Value::Fixed(span)) => {
                node.value = Some(meaning::shown_hex(span.bytes));
                node.hex = Some(meaning::hex(span.bytes));
            }
        }
        (self.known, self.unknown) =
            (self.known + usize::from(def.is_some()), self.unknown + usize::from(def.is_none()));
        self.fields.push(node);
    }

    /// Adds what a sub-message has to say, and gives its fields.
    fn take_in(&mut self, tree: Self) -> Vec<Node> {
        self.known += tree.known;
        self.unknown += tree.unknown;
        self.fault = self.fault.take().or(tree.fault);
        self.unverified = self.unverified.take().or(tree.unverified);
        tree.fields
    }
}

impl Kind {
    const fn is_number(self) -> bool {
        use Kind::{KeyType, Limit, MessageType, Reads, Seq, Status, Ttl, WakuMessageType};
        matches!(self, MessageType | WakuMessageType | Status | KeyType | Ttl | Limit | Reads | Seq)
    }

    const fn is_bytes(self) -> bool {
        !self.is_number() && !matches!(self, Self::Message(_) | Self::Envelope)
    }
}
