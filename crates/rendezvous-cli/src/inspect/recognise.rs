//! What bytes are: frames, a message without its frame, an envelope, or a peer record.

use libp2p::PeerId;
use rendezvous_record::PeerRecordPayload;
use rendezvous_wire::{Dialect, Message, MessageType, waku};
use serde::{Serialize, Serializer};

use super::{
    proto::{Fault, Reader, Span},
    schema::{MESSAGE, Node, PEER_RECORD, Tree, WAKU_MESSAGE},
    verdict::Verdict,
};

/// One thing in the input, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Item {
    pub(super) kind: ItemKind,
    /// Where it stands in the input, a frame with its length prefix.
    pub(super) offset: usize,
    pub(super) length: usize,
    /// Of a message: what it is.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) message_type: Option<String>,
    /// Of a message: its dialect, if that is not `/rendezvous/1.0.0`. What both would read is not told apart.
    #[serde(serialize_with = "name", skip_serializing_if = "Option::is_none")]
    pub(super) dialect: Option<Dialect>,
    /// Whether it is well-formed, and every envelope in it verifies.
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Told>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) envelope: Option<Verdict>,
    pub(super) fields: Vec<Node>,
    #[serde(skip)]
    pub(super) fault: Option<Fault>,
    #[serde(skip)]
    score: Score,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ItemKind {
    Frame,
    Message,
    Envelope,
    PeerRecord,
}

#[derive(Debug, Serialize)]
struct Told {
    offset: usize,
    reason: String,
}

/// How much speaks for a reading of the input.
#[derive(Clone, Copy, Debug, Default)]
struct Score {
    known: usize,
    unknown: usize,
    /// Whether it has what the reading cannot do without, and no fault.
    is_whole: bool,
}

/// The reading of the input that fits best; empty if none does.
pub(super) fn recognise(bytes: &[u8]) -> Vec<Item> {
    let span = Span::whole(bytes);
    let (main, waku) = (Dialect::Rendezvous, Dialect::Waku);
    let readings = [
        frames(span, main),
        vec![message(span, main)],
        vec![envelope(span)],
        vec![peer_record(span)],
        frames(span, waku),
        vec![message(span, waku)],
    ];
    let fits = |items: &[Item]| {
        let known = items.iter().map(|item| item.score.known).sum::<usize>();
        let unknown = items.iter().map(|item| item.score.unknown).sum::<usize>();
        let is_whole = !items.is_empty() && items.iter().all(|item| item.score.is_whole);
        // A field that the schema does not have says more against a reading than one that it has says for it.
        (known > 0).then_some((is_whole && unknown == 0, is_whole, known as i64 - 3 * unknown as i64))
    };
    // Of readings that fit alike the first counts.
    let mut best = (None, Vec::new());
    for reading in readings {
        let fit = fits(&reading);
        if fit > best.0 {
            best = (fit, reading);
        }
    }
    best.1
}

/// Frames one after another, up to where the bytes are none.
fn frames(span: Span<'_>, dialect: Dialect) -> Vec<Item> {
    let mut reader = Reader::new(span);
    let mut items = Vec::new();
    while !reader.is_at_end() {
        let offset = reader.offset();
        let payload = reader.varint("a frame's length").and_then(|length| reader.take(length, offset));
        match payload {
            Ok(payload) => {
                let mut item = Item::of_message(ItemKind::Frame, payload, dialect);
                (item.offset, item.length) = (offset, payload.end() - offset);
                items.push(item);
            }
            Err(fault) => {
                let mut item = Item::of_message(ItemKind::Frame, span_from(span, reader.offset()), dialect);
                // What the cut frame holds is shown; that it is cut is what is wrong with it.
                (item.offset, item.length) = (offset, span.end() - offset);
                items.push(item.with_fault(fault));
                break;
            }
        }
    }
    items
}

fn span_from(span: Span<'_>, offset: usize) -> Span<'_> {
    Span { bytes: &span.bytes[offset - span.start..], start: offset }
}

fn message(span: Span<'_>, dialect: Dialect) -> Item {
    Item::of_message(ItemKind::Message, span, dialect)
}

fn envelope(span: Span<'_>) -> Item {
    let (tree, verdict) = Tree::read_envelope(span);
    let is_whole = [1, 2, 3, 5].iter().all(|number| tree.field(*number).is_some());
    let mut item = Item::new(ItemKind::Envelope, span, tree, is_whole);
    item.envelope = Some(verdict);
    item
}

fn peer_record(span: Span<'_>) -> Item {
    let mut tree = Tree::read(span, &PEER_RECORD);
    if tree.fault.is_none() {
        tree.fault = match PeerRecordPayload::parse(span.bytes) {
            Err(error) => Some(Fault::new(span.start + error.0.offset, error.0.problem.to_string())),
            Ok(record) if PeerId::from_bytes(record.peer_id()).is_err() => {
                let offset = tree.field(1).map_or(span.start, |node| node.offset);
                Some(Fault::new(offset, "it names no valid peer id"))
            }
            Ok(_) => None,
        };
    }
    let is_whole = tree.field(1).is_some();
    Item::new(ItemKind::PeerRecord, span, tree, is_whole)
}

impl Item {
    fn of_message(kind: ItemKind, span: Span<'_>, dialect: Dialect) -> Self {
        let (schema, message_type) = match dialect {
            Dialect::Rendezvous => (&MESSAGE, Message::decode(span.bytes).ok().map(|message| message.effective_kind())),
            Dialect::Waku => {
                let message = waku::Message::decode(span.bytes).ok();
                (&WAKU_MESSAGE, message.map(|message| MessageType::from(message.effective_kind())))
            }
        };
        let tree = Tree::read(span, schema);
        let has_body = tree.fields.iter().any(|node| node.name.is_some());
        let mut item = Self::new(kind, span, tree, has_body);
        item.message_type = message_type.map(|kind| kind.to_string());
        item.dialect = (dialect != Dialect::Rendezvous).then_some(dialect);
        item
    }

    fn new(kind: ItemKind, span: Span<'_>, tree: Tree, has_all: bool) -> Self {
        let score = Score { known: tree.known, unknown: tree.unknown, is_whole: has_all && tree.fault.is_none() };
        let item = Self {
            kind,
            offset: span.start,
            length: span.bytes.len(),
            message_type: None,
            dialect: None,
            valid: true,
            error: None,
            envelope: None,
            fields: tree.fields,
            fault: None,
            score,
        };
        match tree.fault.or(tree.unverified) {
            Some(fault) => Self { score, ..item.with_fault(fault) },
            None => item,
        }
    }

    fn with_fault(mut self, fault: Fault) -> Self {
        self.valid = false;
        self.score.is_whole = false;
        self.error = Some(Told { offset: fault.offset, reason: fault.reason.clone() });
        self.fault = Some(fault);
        self
    }
}

fn name<S: Serializer>(dialect: &Option<Dialect>, serializer: S) -> Result<S::Ok, S::Error> {
    dialect.map(Dialect::name).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    fn kinds(hex: &str) -> Vec<(ItemKind, bool)> {
        let bytes = HEXLOWER.decode(hex.as_bytes()).expect("it is hexadecimal");
        recognise(&bytes).iter().map(|item| (item.kind, item.valid)).collect()
    }

    #[test]
    fn frames_of_every_implementation_are_told_as_frames() {
        for hex in [
            "0a080222060a04666f6f31",
            "0c08032a080a04666f6f31100a",
            "0408032a00",
            "0708011a0318a038",
            "120804320e1867220a62616420636f6f6b6965",
            "0408043200",
        ] {
            assert_eq!(kinds(hex), [(ItemKind::Frame, true)], "{hex}");
            assert_eq!(kinds(&hex[2..]), [(ItemKind::Message, true)], "{hex} without its length");
            assert_eq!(kinds(&format!("{hex}{hex}")), [(ItemKind::Frame, true); 2], "{hex} twice");
            assert_eq!(kinds(&format!("{hex}0c08032a080a")), [(ItemKind::Frame, true), (ItemKind::Frame, false)]);
        }
    }

    #[test]
    fn frames_of_the_waku_dialect_are_told_by_what_the_other_dialect_cannot_read() {
        let dialects = |hex: &str| -> Vec<_> {
            let bytes = HEXLOWER.decode(hex.as_bytes()).expect("it is hexadecimal");
            recognise(&bytes).into_iter().map(|item| (item.kind, item.valid, item.dialect, item.message_type)).collect()
        };
        let frame = |dialect, kind: &str| (ItemKind::Frame, true, dialect, Some(kind.to_owned()));
        let waku = Some(Dialect::Waku);
        let discover = "0c080222080a04666f6f311032";
        assert_eq!(dialects(discover), [frame(waku, "DISCOVER")]);
        assert_eq!(dialects("0608032a021800"), [frame(waku, "DISCOVER_RESPONSE")]);
        // The first is of either dialect, the second of this one, so both are.
        let register_response = "0808011a0408001814";
        let both = [frame(waku, "REGISTER_RESPONSE"), frame(waku, "DISCOVER")];
        assert_eq!(dialects(&[register_response, discover].concat()), both);
        assert_eq!(dialects(register_response), [frame(None, "REGISTER_RESPONSE")]);
    }

    #[test]
    fn bytes_that_are_nothing_are_nothing() {
        for hex in ["", "00", "ff", "ffffffffffffffffffff", "deadbeef"] {
            assert_eq!(kinds(hex), [], "{hex}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut state = 1_u64;
        for round in 0..20_000_usize {
            let bytes: Vec<u8> = (0..round % 48)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    // Small numbers are keys and lengths.
                    if state >> 62 == 0 { (state >> 33) as u8 } else { (state >> 33) as u8 & 0x3f }
                })
                .collect();
            recognise(&bytes);
        }
    }
}
