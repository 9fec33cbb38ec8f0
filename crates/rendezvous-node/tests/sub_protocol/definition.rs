//! Names, versions, and which of them two peers speak.

use libp2p::StreamProtocol;
use rendezvous_node::sub_protocol::{
    End, InvalidSubProtocol, Limits, NAME_BYTES_MAX, SubProtocol, Version, expect_message, pipe_to, some_peer,
};

fn protocol(name: &str, versions: &[u32]) -> SubProtocol {
    let (first, others) = versions.split_first().expect("at least one");
    let first = SubProtocol::new(name, Version { number: *first, codes: 1 }, async |_, _| Ok(End::Finished));
    others.iter().fold(first.expect("valid"), |protocol, &number| {
        protocol.with_version(Version { number, codes: 1 }, async |_, _| Ok(End::Finished)).expect("valid")
    })
}

fn invalid(name: &str) -> Option<InvalidSubProtocol> {
    SubProtocol::new(name, Version { number: 1, codes: 1 }, async |_, _| Ok(End::Finished)).err()
}

fn ids(ids: &[&str]) -> Vec<StreamProtocol> {
    ids.iter().map(|id| StreamProtocol::try_from_owned(format!("/rendezvous/sub/{id}")).expect("a path")).collect()
}

#[test]
fn names_are_letters_digits_and_three_signs() {
    for name in ["a", "eth", "Foo-Bar_2.0", &"x".repeat(NAME_BYTES_MAX)] {
        assert_eq!(invalid(name), None);
    }
    assert_eq!(invalid(""), Some(InvalidSubProtocol::NameLength { len_bytes: 0 }));
    assert_eq!(invalid(&"x".repeat(65)), Some(InvalidSubProtocol::NameLength { len_bytes: 65 }));
    for (name, char) in [("a/b", '/'), ("a b", ' '), ("naïve", 'ï'), ("a\0", '\0'), ("a\n", '\n'), ("1%", '%')] {
        assert_eq!(invalid(name), Some(InvalidSubProtocol::NameChar { char }));
    }
}

#[test]
fn a_version_has_codes_and_is_there_once() {
    let run = async |_, _| Ok(End::Finished);
    let no_codes = SubProtocol::new("a", Version { number: 3, codes: 0 }, run).expect_err("no codes");
    assert_eq!(no_codes, InvalidSubProtocol::NoCodes { version: 3 });
    let no_codes = protocol("a", &[3]).with_version(Version { number: 4, codes: 0 }, run).expect_err("no codes");
    assert_eq!(no_codes, InvalidSubProtocol::NoCodes { version: 4 });
    for number in [1, 2, 3] {
        let twice = protocol("a", &[2, 1, 3]).with_version(Version { number, codes: 1 }, run).expect_err("twice");
        assert_eq!(twice, InvalidSubProtocol::DuplicateVersion { version: number });
    }
}

#[test]
fn protocol_ids_are_highest_first_whatever_the_order_of_definition() {
    for versions in [[1, 2, 10], [10, 2, 1], [2, 10, 1]] {
        assert_eq!(protocol("a", &versions).protocol_ids(), ids(&["a/10", "a/2", "a/1"]));
    }
    assert_eq!(protocol("a", &[0, u32::MAX]).protocol_ids(), ids(&["a/4294967295", "a/0"]));
}

#[test]
fn the_highest_common_version_is_spoken() {
    let cases: &[(&[u32], &[&str], Option<u32>)] = &[
        (&[1], &[], None),                                    // the peer lists nothing
        (&[1], &["b/1"], None),                               // no protocol in common
        (&[2], &["a/1"], None),                               // no version in common
        (&[1], &["local/1", "a/1", "b/1"], Some(1)),          // among others
        (&[2, 3], &["a/1", "a/2"], Some(2)),                  // one version in common
        (&[2, 3], &["a/1", "a/2", "a/3", "a/4"], Some(3)),    // several
        (&[2, 3, 1], &["a/4", "a/1", "a/3", "a/2"], Some(3)), // in any order
        (&[9, 10], &["a/9", "a/10"], Some(10)),               // as numbers, not as text
        (&[1], &["a/01", "a/1/", "A/1", "a/+1", "a/"], None), // none of these is ours
        (&[1], &["aa/1", "a/11"], None),                      // nor what only begins like ours
    ];
    for (ours, theirs, expected) in cases {
        let negotiated = protocol("a", ours).highest_common(&ids(theirs));
        assert_eq!(negotiated.map(|negotiated| negotiated.version().number), *expected, "{ours:?} {theirs:?}");
    }
}

#[test]
fn both_sides_come_to_the_same_version() {
    let (ours, theirs) = (protocol("a", &[1, 3, 5, 6]), protocol("a", &[5, 2, 3, 7]));
    let here = ours.highest_common(&theirs.protocol_ids()).expect("3 and 5 are common");
    let there = theirs.highest_common(&ours.protocol_ids()).expect("3 and 5 are common");
    assert_eq!((here.version().number, here.protocol_id()), (5, there.protocol_id()));
}

#[test]
fn several_protocols_are_matched_each_by_its_name() {
    let theirs = ids(&["aa/1", "ab/1", "bb/1", "ba/1"]);
    for name in ["ba", "bb", "ab", "aa"] {
        let negotiated = protocol(name, &[1]).highest_common(&theirs).expect("it is listed");
        assert_eq!(negotiated.name(), name);
    }
}

#[test]
fn a_stream_that_is_opened_names_its_version() {
    let protocol = protocol("a", &[1, 2]);
    for (number, id) in [(1, "a/1"), (2, "a/2")] {
        let negotiated = protocol.negotiated(&ids(&[id])[0]).expect("it has the version");
        assert_eq!(negotiated.version().number, number);
    }
    for id in ["a/3", "b/1", "a/1/x"] {
        assert!(protocol.negotiated(&ids(&[id])[0]).is_none());
    }
}

#[tokio::test]
async fn each_version_has_its_codes_and_its_run_function() {
    let mut limits = Limits::default();
    limits.message_bytes_max = 77;
    let protocol = SubProtocol::new("a", Version { number: 1, codes: 1 }, async |peer, messages| {
        messages.send(0, &("old", peer.version)).await?;
        Ok(End::Finished)
    });
    let protocol = protocol.expect("valid").with_version(Version { number: 2, codes: 3 }, async |peer, messages| {
        messages.send(2, &("new", peer.version)).await?;
        Ok(End::Finished)
    });
    let protocol = protocol.expect("valid").with_limits(limits);
    for (id, version, code, content) in [("a/1", (1, 1), 0, ("old", 1)), ("a/2", (2, 3), 2, ("new", 2))] {
        let negotiated = protocol.highest_common(&ids(&[id])).expect("it has the version");
        assert_eq!((negotiated.version().number, negotiated.version().codes), version);
        assert_eq!(negotiated.limits(), limits);
        let (mut messages, session) = pipe_to(negotiated, some_peer());
        let session = tokio::spawn(session);
        expect_message(&mut messages, code, &content).await.expect("it is sent");
        drop(messages);
        session.await.expect("no panic");
    }
}

#[test]
fn definitions_are_shared_between_tasks() {
    fn check<T: Clone + Send + Sync + 'static>(_: &T) {}
    let protocol = protocol("a", &[1]);
    check(&protocol);
    check(&protocol.highest_common(&protocol.protocol_ids()).expect("it has a version"));
}
