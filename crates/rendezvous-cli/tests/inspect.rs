//! `rendezvous inspect`: frames, messages, envelopes and records, whole and broken.

mod common;

use std::{fs::File, process::Stdio};

use common::{Running, fields, program, run, scratch, text};
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use rendezvous_wire::{DiscoverResponse, Register, Registrations, Response, Status};
use serde_json::Value;

/// Signed by implementations of libp2p, in both flavours and with all types of keys.
const VECTORS: &str = include_str!("../../rendezvous-record/tests/vectors/envelopes.json");

fn vectors() -> Vec<Value> {
    serde_json::from_str::<Value>(VECTORS).expect("it is JSON").as_array().expect("a list").clone()
}

fn envelope(vector: &Value) -> Vec<u8> {
    HEXLOWER.decode(vector["envelope"].as_str().expect("an envelope").as_bytes()).expect("it is hexadecimal")
}

/// Inspects bytes that come by standard input.
fn inspect_stdin(bytes: &[u8], name: &str) -> common::Ended {
    let path = scratch("inspect").join(name);
    std::fs::write(&path, bytes).expect("the target directory can be written");
    let mut command = program();
    command.args(["inspect", "-"]).stdin(Stdio::from(File::open(path).expect("it was written")));
    Running::spawn_as_it_is(&mut command).ended()
}

#[test]
fn every_envelope_that_implementations_sign_verifies() {
    for vector in vectors() {
        let hex = vector["envelope"].as_str().expect("an envelope");
        let ended = run(&["inspect", "--json", hex]);
        let [line] = ended.succeeded().stdout.as_slice() else { panic!("one object: {ended:?}") };
        assert_eq!(fields(line), ["envelope", "fields", "kind", "length", "offset", "valid"]);
        let shown: Value = serde_json::from_str(line).expect("it is JSON");
        assert_eq!((&shown["kind"], &shown["valid"]), (&"envelope".into(), &true.into()));
        let verdict = serde_json::json!({ "verifies": true, "flavour": vector["flavour"], "signer": vector["peer"] });
        assert_eq!(shown["envelope"], verdict);

        let readable = run(&["inspect", hex]).succeeded().stdout.join("\n");
        let seq = vector["seq"].as_str().expect("a seq");
        for part in [vector["peer"].as_str().expect("a peer"), &format!("2 seq: {seq}: as ")] {
            assert!(readable.contains(part), "{part}: {readable}");
        }
        for address in vector["addresses"].as_array().expect("addresses") {
            let line = format!(" bytes: {}", address.as_str().expect("an address"));
            assert!(readable.contains(&line), "{line}: {readable}");
        }
    }
}

#[test]
fn a_frame_is_shown_field_by_field_with_what_is_in_its_envelopes() {
    let vector = &vectors()[0];
    let envelope = envelope(vector);
    let listed = [Register { namespace: Some(b"chat"), signed_peer_record: Some(&envelope), ttl_secs: Some(7_200) }];
    let response = DiscoverResponse {
        registrations: Registrations::listed(&listed),
        cookie: Some(b"\0\0\0\0\0\0\0\x05chat"),
        status: Some(Status::Ok),
        status_text: None,
    };
    let mut frame = Vec::new();
    Response::Discover(response).encode_frame(&mut frame);
    for form in [HEXLOWER.encode(&frame), BASE64.encode(&frame), BASE64URL_NOPAD.encode(&frame)] {
        let ended = run(&["inspect", &form]);
        let lines: Vec<&str> = ended.succeeded().stdout.iter().map(|line| line.trim()).collect();
        assert_eq!(lines[0], format!("frame at byte 0, {} bytes: DISCOVER_RESPONSE", frame.len()));
        let signer = vector["peer"].as_str().expect("a peer");
        for part in [
            "1 type: DISCOVER_RESPONSE (4)",
            "1 ns, 4 bytes: \"chat\"",
            &format!(
                "signedPeerRecord, {} bytes: envelope, verifies: legacy flavour, signed by {signer}",
                envelope.len()
            ),
            "3 ttl: 7200 s",
            "position 5 in \"chat\"",
            "3 status: OK (0)",
        ] {
            assert!(lines.iter().any(|line| line.contains(part)), "{part}: {lines:#?}");
        }
    }
    // Two of them, in binary.
    let ended = inspect_stdin(&[&frame[..], &frame].concat(), "two-frames");
    let frames = ended.succeeded().stdout.iter().filter(|line| line.starts_with("frame at byte "));
    assert_eq!(frames.count(), 2, "{ended:?}");
}

#[test]
fn where_an_envelope_stops_being_valid_is_told_with_its_offset() {
    let whole = envelope(&vectors()[1]);
    let signature = whole.len() - 66;
    let mut of_another_payload = whole.clone();
    of_another_payload[60] ^= 1;
    let ended = inspect_stdin(&of_another_payload, "bad-signature");
    let reason = format!("not valid from byte {signature}: signature does not match key, domain and payload");
    assert_eq!(ended.error(1), format!("error: {reason}"));
    assert!(ended.stdout[0].contains("does not verify"), "{ended:?}");

    // In a frame, offsets count from the start of the input.
    let register =
        Register { namespace: Some(b"chat"), signed_peer_record: Some(&of_another_payload), ttl_secs: Some(1) };
    let mut frame = Vec::new();
    rendezvous_wire::Request::Register(register).encode_frame(&mut frame);
    let start = frame.windows(whole.len()).position(|bytes| bytes == of_another_payload).expect("it is in there");
    let ended = run(&["inspect", "--json", &HEXLOWER.encode(&frame)]);
    assert!(ended.error(1).contains(&format!("byte {}", start + signature)), "{ended:?}");
    let shown: Value = serde_json::from_str(&ended.stdout[0]).expect("it is JSON");
    assert_eq!((&shown["kind"], &shown["valid"]), (&"frame".into(), &false.into()));
    assert_eq!(shown["error"]["offset"], Value::from(start + signature));

    // Cut anywhere, it is one line, and never valid.
    for length in (1..whole.len()).step_by(23) {
        let ended = run(&["inspect", &HEXLOWER.encode(&whole[..length])]);
        assert!(matches!(ended.code, Some(1 | 2)), "{length}: {ended:?}");
        assert_eq!(ended.stderr.len(), 1, "{length}: {ended:?}");
    }
}

#[test]
fn a_peer_record_without_its_envelope_is_well_formed_and_not_signed() {
    let whole = envelope(&vectors()[1]);
    let record = rendezvous_record::Envelope::parse(&whole).expect("it is an envelope").payload;
    let ended = run(&["inspect", &HEXLOWER.encode(record)]);
    let first = &ended.succeeded().stdout[0];
    assert_eq!(*first, format!("peer record, not signed at byte 0, {} bytes", record.len()));
    let ended = run(&["inspect", "--json", &HEXLOWER.encode(record)]);
    assert_eq!(text(&ended.succeeded().stdout[0], "kind"), "peer_record");
}

#[test]
fn what_a_stranger_wrote_stays_on_its_line() {
    let register = Register { namespace: Some(b"a\x1b[2J\nb"), ..Register::default() };
    let mut frame = Vec::new();
    rendezvous_wire::Request::Register(register).encode_frame(&mut frame);
    let ended = run(&["inspect", &HEXLOWER.encode(&frame)]);
    assert!(ended.succeeded().stdout.iter().any(|line| line.ends_with("\"a\\u{1b}[2J\\u{a}b\"")), "{ended:?}");
}

#[test]
fn input_that_cannot_be_read_is_one_line_and_2() {
    for (input, part) in [
        ("", "nothing to inspect"),
        ("abc", "3 hexadecimal digits"),
        ("zz.z", "neither hexadecimal nor base64"),
        ("deadbeef", "4 bytes are no frame"),
    ] {
        let ended = run(&["inspect", input]);
        assert!(ended.error(2).contains(part), "{ended:?}");
    }
    assert!(inspect_stdin(b"", "empty").error(2).contains("nothing to inspect"));
}
