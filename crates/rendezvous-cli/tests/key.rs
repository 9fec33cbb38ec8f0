//! `rendezvous key`, and `rendezvous completions`.

mod common;

use std::fs;

use common::{Point, fields, fresh_key, run, text};
use libp2p::identity::{KeyType, Keypair, PublicKey};

const TYPES: [(&str, KeyType); 4] = [
    ("ed25519", KeyType::Ed25519),
    ("secp256k1", KeyType::Secp256k1),
    ("ecdsa", KeyType::Ecdsa),
    ("rsa", KeyType::RSA),
];

#[test]
fn a_key_of_each_type_is_made_shown_and_used() {
    let point = Point::start(&[]);
    for (name, key_type) in TYPES {
        let file = fresh_key(name);
        let made = run(&["key", "new", &file, "--type", name, "--json"]);
        let made = made.succeeded().stdout[0].clone();
        assert_eq!(fields(&made), ["file", "peer", "public_key", "type"]);
        assert_eq!((text(&made, "type"), text(&made, "file")), (name.to_owned(), file.clone()));
        assert_eq!(run(&["key", "show", &file, "--json"]).succeeded().stdout, std::slice::from_ref(&made));

        let bytes = fs::read(&file).expect("it was made");
        let keypair = Keypair::from_protobuf_encoding(&bytes).expect("it is libp2p's form");
        assert_eq!(
            (keypair.public().key_type(), keypair.public().to_peer_id().to_string()),
            (key_type, text(&made, "peer"))
        );
        let public = data_encoding::HEXLOWER.decode(text(&made, "public_key").as_bytes()).expect("it is hexadecimal");
        assert_eq!(PublicKey::try_decode_protobuf(&public).expect("it is libp2p's form"), keypair.public());

        let args = ["register", "--point", &point.address, "--namespace", name, "--once", "--key", &file];
        run(&[&args[..], &["--address", "/ip4/192.0.2.1/tcp/1"]].concat()).succeeded();
        let found = run(&["discover", "--point", &point.address, "--namespace", name, "--json"]);
        assert_eq!(text(&found.succeeded().stdout[0], "peer"), text(&made, "peer"));
    }
}

#[test]
fn a_key_that_is_there_is_left_as_it_is() {
    let file = fresh_key("there");
    run(&["key", "new", &file]).succeeded();
    let bytes = fs::read(&file).expect("it was made");
    for name in ["ed25519", "rsa"] {
        let ended = run(&["key", "new", &file, "--type", name]);
        assert!(ended.error(1).contains("left as it is"), "{ended:?}");
        assert_eq!(fs::read(&file).expect("it is there"), bytes);
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn the_private_key_is_never_shown() {
    let file = fresh_key("secret");
    let made = run(&["key", "new", &file]).succeeded().stdout.join("\n");
    let shown = run(&["key", "show", &file]).succeeded().stdout.join("\n");
    assert_eq!(made, shown);
    assert!(shown.starts_with("peer id: 12D3Koo") && shown.contains("\ntype: ed25519\n"), "{shown}");
    // Type and length, the 32 bytes of the secret, those of the public key.
    let bytes = fs::read(&file).expect("it was made");
    let (secret, public) = (&bytes[4..36], &bytes[36..]);
    assert!(shown.contains(&data_encoding::HEXLOWER.encode(public)));
    assert!(!shown.contains(&data_encoding::HEXLOWER.encode(secret)));
}

#[test]
fn a_file_without_a_key_is_one_line() {
    let missing = fresh_key("missing");
    assert!(run(&["key", "show", &missing]).error(1).contains("`rendezvous key new` makes one"));
    let damaged = fresh_key("damaged");
    common::write_private(&damaged, b"no key");
    assert!(run(&["key", "show", &damaged]).error(1).contains("holds no key"));
    assert!(run(&["key", "new", &missing, "--type", "dsa"]).error(2).contains("--type"));
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&["completions", shell]).succeeded().stdout.join("\n");
        for word in ["serve", "client", "register", "discover", "unregister", "inspect", "completions", "no-refresh"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    run(&["completions", "csh"]).error(2);
}
