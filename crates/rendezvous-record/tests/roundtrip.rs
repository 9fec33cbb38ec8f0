//! What is signed is what is read, for every key, flavour and list of addresses.

use bytes::Bytes;
use libp2p_identity::Keypair;
use multiaddr::{Multiaddr, Protocol};
use proptest::collection::vec;
use proptest::prelude::*;
use rendezvous_record::{
    Envelope, Flavour, Limits, PeerRecordPayload, SignError, VerifiedRecord, VerifyError, verify_batch,
};

mod common;

use common::{ecdsa, ed25519, field, payload, seal, secp256k1};

fn keys() -> impl Strategy<Value = Keypair> {
    prop_oneof![any::<u8>().prop_map(ed25519), (1..=u8::MAX - 1).prop_map(secp256k1), (1..=u8::MAX - 1).prop_map(ecdsa),]
}

fn flavours() -> impl Strategy<Value = Flavour> {
    prop::sample::select(&Flavour::ALL[..])
}

fn addresses() -> impl Strategy<Value = Multiaddr> {
    let host = prop_oneof![
        any::<[u8; 4]>().prop_map(|octets| Protocol::Ip4(octets.into())),
        any::<[u8; 16]>().prop_map(|octets| Protocol::Ip6(octets.into())),
        "[a-z0-9-]{1,40}\\.[a-z]{2,9}".prop_map(|name| Protocol::Dns(name.into())),
        any::<u64>().prop_map(Protocol::Memory),
    ];
    let transport = prop_oneof![
        any::<u16>().prop_map(|port| vec![Protocol::Tcp(port)]),
        any::<u16>().prop_map(|port| vec![Protocol::Udp(port), Protocol::QuicV1]),
        any::<u16>().prop_map(|port| vec![Protocol::Tcp(port), Protocol::Wss("/".into())]),
        Just(vec![]),
    ];
    (host, transport).prop_map(|(host, transport)| [host].into_iter().chain(transport).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_signed_record_reads_back(
        key in keys(),
        flavour in flavours(),
        seq in any::<u64>(),
        addresses in vec(addresses(), 0..=32),
    ) {
        let limits = Limits::default();
        let signed = VerifiedRecord::sign(&key, flavour, seq, &addresses, &limits)?;
        let read = VerifiedRecord::verify(signed.envelope().clone(), &limits)?;
        prop_assert_eq!(&read, &signed);
        prop_assert_eq!(read.peer_id(), key.public().to_peer_id());
        prop_assert_eq!(read.seq(), seq);
        prop_assert_eq!(read.flavour(), flavour);
        prop_assert!(read.addresses().eq(addresses.iter().cloned()));
        prop_assert_eq!(read.unreadable_addresses(), 0);
        prop_assert_eq!(&read.envelope()[read.peer_id_range()], read.peer_id().to_bytes());

        let envelope = Envelope::parse(read.envelope())?;
        prop_assert_eq!(&envelope.encode(), read.envelope());
        let payload = PeerRecordPayload::parse(envelope.payload)?;
        prop_assert_eq!(payload.seq(), seq);
        prop_assert_eq!(payload.address_count(), addresses.len());

        // Every key type here signs deterministically.
        let again = VerifiedRecord::sign(&key, flavour, seq, &addresses, &limits)?;
        prop_assert_eq!(again, signed);
    }

    #[test]
    fn bytes_without_meaning_are_refused(bytes in vec(any::<u8>(), 0..600)) {
        let limits = Limits::default();
        let _ = Envelope::parse(&bytes);
        let _ = PeerRecordPayload::parse(&bytes).map(|payload| payload.addresses().count());
        prop_assert!(VerifiedRecord::verify(bytes.clone().into(), &limits).is_err());
        prop_assert!(verify_batch([Bytes::from(bytes)], &limits).remove(0).is_err());
    }

    #[test]
    fn an_envelope_of_any_parts_reads_back(
        parts in any::<[Vec<u8>; 4]>(),
    ) {
        let [public_key, payload_type, payload, signature] = parts.each_ref();
        let envelope = Envelope { public_key, payload_type, payload, signature };
        let bytes = envelope.encode();
        prop_assert_eq!(Envelope::parse(&bytes), Ok(envelope));
    }

    #[test]
    fn a_payload_of_any_bytes_gives_as_many_addresses_as_it_counts(bytes in vec(any::<u8>(), 0..40)) {
        if let Ok(payload) = PeerRecordPayload::parse(&bytes) {
            prop_assert_eq!(payload.addresses().count(), payload.address_count());
        }
    }
}

#[test]
fn signing_keeps_to_the_limits() {
    let key = ed25519(1);
    let limits = Limits { envelope_bytes_max: 300, addresses_max: 2 };
    let address: Multiaddr = "/ip4/192.0.2.1/tcp/4001".parse().expect("a multiaddr");
    let sign = |addresses: &[Multiaddr]| VerifiedRecord::sign(&key, Flavour::Standard, 1, addresses, &limits);

    assert!(sign(&[address.clone(), address.clone()]).is_ok());
    assert!(matches!(
        sign(&[address.clone(), address.clone(), address.clone()]),
        Err(SignError::Record(VerifyError::TooManyAddresses { count: 3, max: 2 }))
    ));
    assert!(matches!(
        sign(&[address, Multiaddr::empty()]),
        Err(SignError::Record(VerifyError::EmptyAddress { index: 1 }))
    ));
    let long = Multiaddr::empty().with(Protocol::Dns("a".repeat(300).into()));
    assert!(matches!(sign(&[long]), Err(SignError::Record(VerifyError::TooLarge { max: 300, .. }))));
}

#[test]
fn a_sequence_number_of_zero_is_left_out_and_may_be_written_out() {
    let limits = Limits::default();
    for flavour in Flavour::ALL {
        let key = ed25519(1);
        let peer = key.public().to_peer_id();
        let signed = VerifiedRecord::sign(&key, flavour, 0, &[], &limits).expect("within the limits");
        let envelope = Envelope::parse(signed.envelope()).expect("well formed");
        assert_eq!(envelope.payload, field(1, &peer.to_bytes()));

        let written_out = seal(&key, flavour, &payload(peer, 0, &[]));
        let read = VerifiedRecord::verify(written_out, &limits).expect("readable everywhere");
        assert_eq!(read.seq(), 0);
    }
}

#[test]
fn sequence_numbers_in_seconds_and_in_milliseconds_are_scaled_to_nanoseconds() {
    let scaled = |seq| {
        VerifiedRecord::sign(&ed25519(1), Flavour::Legacy, seq, &[], &Limits::default())
            .expect("within the limits")
            .scaled_seq()
    };
    assert_eq!(scaled(0), 0);
    assert_eq!(scaled(1_795_234_666), 1_795_234_666_000_000_000);
    assert_eq!(scaled(18_446_744_073), 18_446_744_073_000_000_000);
    assert_eq!(scaled(18_446_744_074), u64::MAX);
    assert_eq!(scaled(999_999_999_999), u64::MAX);
    assert_eq!(scaled(1_000_000_000_000), 1_000_000_000_000_000_000);
    assert_eq!(scaled(1_795_234_666_123), 1_795_234_666_123_000_000);
    assert_eq!(scaled(999_999_999_999_999), u64::MAX);
    assert_eq!(scaled(1_000_000_000_000_000), 1_000_000_000_000_000);
    assert_eq!(scaled(u64::MAX), u64::MAX);
}
