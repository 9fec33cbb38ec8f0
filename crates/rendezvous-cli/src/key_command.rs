//! `rendezvous key`: make a key file, and show whose it is.

use std::{fmt, path::Path};

use data_encoding::{BASE64, HEXLOWER};
use libp2p::identity::{KeyType, Keypair};
use rendezvous_wire::frame;
use rsa::{RsaPrivateKey, pkcs1::EncodeRsaPrivateKey, rand_core::OsRng};
use serde::Serialize;

use crate::{
    args,
    error::Error,
    key,
    output::{Output, printable},
};

/// Length of new RSA keys: the shortest that libp2p takes, and what other implementations make.
const RSA_BITS: usize = 2_048;

/// What a `PrivateKey` message of an RSA key opens with: field 1, type RSA (0), and the key of field 2, its data.
const RSA_PREFIX: [u8; 3] = [0x08, 0x00, 0x12];

/// A key as both commands show it: nothing of it is secret.
#[derive(Debug, Serialize)]
struct Shown {
    peer: String,
    #[serde(rename = "type")]
    key_type: &'static str,
    /// The `PublicKey` message, in hexadecimal.
    public_key: String,
    #[serde(skip)]
    public_key_base64: String,
    file: String,
}

pub(crate) fn run(command: args::Key) -> Result<(), Error> {
    let (keypair, file, is_json) = match command {
        args::Key::New(args) => {
            let (keypair, bytes) = generate(args.key_type)?;
            key::write_new(&args.file, &bytes)?;
            (keypair, args.file, args.json)
        }
        args::Key::Show(args) => (key::read(&args.file)?, args.file, args.json),
    };
    let shown = Shown::new(&keypair, &file);
    let mut output = Output::new(is_json);
    output.result(&shown, &shown)?;
    output.flush()
}

/// A new key, and its protobuf form.
fn generate(key_type: args::KeyType) -> Result<(Keypair, Vec<u8>), Error> {
    let keypair = match key_type {
        args::KeyType::Ed25519 => Keypair::generate_ed25519(),
        args::KeyType::Secp256k1 => Keypair::generate_secp256k1(),
        args::KeyType::Ecdsa => Keypair::generate_ecdsa(),
        args::KeyType::Rsa => return generate_rsa(),
    };
    let bytes = keypair.to_protobuf_encoding().map_err(|error| Error::NoKey(error.to_string()))?;
    Ok((keypair, bytes))
}

/// libp2p reads RSA keys, and neither makes nor writes them. What makes the key here is used for nothing else: libp2p
/// signs with it.
fn generate_rsa() -> Result<(Keypair, Vec<u8>), Error> {
    let made = RsaPrivateKey::new(&mut OsRng, RSA_BITS).map_err(|error| Error::NoKey(error.to_string()))?;
    let der = made.to_pkcs1_der().map_err(|error| Error::NoKey(error.to_string()))?;
    let mut bytes = RSA_PREFIX.to_vec();
    // A length and the bytes: a frame is written like a field.
    frame::append(der.as_bytes(), &mut bytes);
    let keypair = Keypair::from_protobuf_encoding(&bytes).map_err(|error| Error::NoKey(error.to_string()))?;
    Ok((keypair, bytes))
}

impl Shown {
    fn new(keypair: &Keypair, file: &Path) -> Self {
        let public = keypair.public();
        let bytes = public.encode_protobuf();
        Self {
            peer: public.to_peer_id().to_string(),
            key_type: match public.key_type() {
                KeyType::Ed25519 => "ed25519",
                KeyType::RSA => "rsa",
                KeyType::Secp256k1 => "secp256k1",
                KeyType::Ecdsa => "ecdsa",
            },
            public_key: HEXLOWER.encode(&bytes),
            public_key_base64: BASE64.encode(&bytes),
            file: file.display().to_string(),
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "peer id: {}", self.peer)?;
        writeln!(f, "type: {}", self.key_type)?;
        writeln!(f, "public key: {}", self.public_key)?;
        writeln!(f, "public key in base64: {}", self.public_key_base64)?;
        write!(f, "file: {}", printable(&self.file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_each_type_is_read_back_and_signs() {
        for (key_type, expected) in [
            (args::KeyType::Ed25519, KeyType::Ed25519),
            (args::KeyType::Secp256k1, KeyType::Secp256k1),
            (args::KeyType::Ecdsa, KeyType::Ecdsa),
            (args::KeyType::Rsa, KeyType::RSA),
        ] {
            let (keypair, bytes) = generate(key_type).expect("a key");
            let read = Keypair::from_protobuf_encoding(&bytes).expect("it is its protobuf form");
            assert_eq!((read.public().key_type(), read.public()), (expected, keypair.public()));
            let signature = read.sign(b"message").expect("it signs");
            assert!(keypair.public().verify(b"message", &signature));
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let secret = [7; 32];
        let keypair = Keypair::ed25519_from_bytes(secret).expect("32 bytes are a key");
        let shown = Shown::new(&keypair, Path::new("key"));
        for text in [shown.to_string(), serde_json::to_string(&shown).expect("it is JSON")] {
            assert!(!text.contains(&HEXLOWER.encode(&secret)) && !text.contains(&BASE64.encode(&secret)), "{text}");
        }
    }
}
