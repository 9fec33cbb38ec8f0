//! Where a node's key comes from: [`Identity`].

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use libp2p::identity::Keypair;

/// A longer file is no key: RSA keys of 8192 bits take less than 5 KiB.
const KEY_BYTES_MAX: u64 = 16 << 10;

/// What seeded keys begin with, before the seed.
const SEED_LABEL: &[u8; 24] = b"rendezvous-node: seeded ";

/// Where a node's key comes from, and with it its peer id.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "there is one in a node's settings")]
pub enum Identity {
    /// A new Ed25519 key in each process.
    #[default]
    Generated,
    /// This key.
    Given(Keypair),
    /// The key in this file, in libp2p's protobuf form; where the file is missing, a new Ed25519 key is written to it, for its
    /// owner's eyes only.
    File(PathBuf),
    /// An Ed25519 key that follows from this number, and is as secret as the number is: for tests and demonstrations.
    Seed(u64),
}

impl Identity {
    /// The key.
    ///
    /// # Errors
    /// [`IdentityError`] if a file cannot be read or made, or holds no key.
    ///
    /// ```
    /// use rendezvous_node::Identity;
    ///
    /// let [first, second] = [1, 2].map(|seed| Identity::Seed(seed).keypair().map(|key| key.public()));
    /// assert_ne!(first?, second?);
    /// # Ok::<(), rendezvous_node::IdentityError>(())
    /// ```
    pub fn keypair(&self) -> Result<Keypair, IdentityError> {
        match self {
            Self::Generated => Ok(Keypair::generate_ed25519()),
            Self::Given(keypair) => Ok(keypair.clone()),
            Self::File(path) => from_file(path),
            Self::Seed(seed) => {
                let mut secret = [0; 32];
                secret[..24].copy_from_slice(SEED_LABEL);
                secret[24..].copy_from_slice(&seed.to_be_bytes());
                Ok(Keypair::ed25519_from_bytes(secret).expect("every 32 bytes are the secret of an Ed25519 key"))
            }
        }
    }
}

fn from_file(path: &Path) -> Result<Keypair, IdentityError> {
    match File::open(path) {
        Ok(file) => read(path, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let keypair = Keypair::generate_ed25519();
            let bytes = keypair.to_protobuf_encoding().expect("a key that was generated can be encoded");
            match write_new(path, &bytes) {
                Ok(()) => Ok(keypair),
                // Another process was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => from_file(path),
                Err(source) => Err(IdentityError::Unwritable { path: path.to_owned(), source }),
            }
        }
        Err(source) => Err(IdentityError::Unreadable { path: path.to_owned(), source }),
    }
}

fn read(path: &Path, file: File) -> Result<Keypair, IdentityError> {
    let mut bytes = Vec::new();
    file.take(KEY_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| IdentityError::Unreadable { path: path.to_owned(), source })?;
    let keypair = Keypair::from_protobuf_encoding(&bytes).ok().filter(|_| bytes.len() as u64 <= KEY_BYTES_MAX);
    keypair.ok_or_else(|| IdentityError::NoKey { path: path.to_owned() })
}

/// Writes a key beside the file first, so that whoever reads the name finds a whole key or none.
fn write_new(path: &Path, key: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(name);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    let written = file
        .write_all(key)
        .and_then(|()| file.sync_all())
        // A link, unlike a rename, does not replace what another process has put there.
        .and_then(|()| std::fs::hard_link(&beside, path));
    let _ = std::fs::remove_file(&beside);
    written
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The file is there and cannot be read.
    #[error("cannot read the key file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be made.
    #[error("cannot write the key file {}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{} holds no key", path.display())]
    NoKey {
        /// The file, which is left as it is.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_peer_id_everywhere_and_for_ever() {
        let id = Identity::Seed(1).keypair().expect("seeds are keys").public().to_peer_id();
        assert_eq!(id.to_string(), "12D3KooWCoFDrA6W24EA8JAP32o3UpFdTZ7wyDqkV4ZwbXyyKNX8");
    }

    #[test]
    fn a_file_is_made_once_and_read_from_then_on() {
        let directory = tempfile::tempdir().expect("there is room");
        let path = directory.path().join("key");
        let identity = Identity::File(path.clone());
        let made = identity.keypair().expect("it is made").public();
        assert_eq!(identity.keypair().expect("it is read").public(), made);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let files = std::fs::read_dir(directory.path()).expect("it is there").count();
        assert_eq!(files, 1, "nothing is left beside it");
    }

    #[test]
    fn a_file_that_holds_no_key_is_left_as_it_is() {
        let directory = tempfile::tempdir().expect("there is room");
        let path = directory.path().join("notes");
        std::fs::write(&path, "buy milk").expect("there is room");
        let error = Identity::File(path.clone()).keypair().expect_err("it is no key");
        assert!(matches!(error, IdentityError::NoKey { .. }));
        assert_eq!(std::fs::read_to_string(&path).expect("it is there"), "buy milk");
    }
}
