//! Keys in files: one key each, in the protobuf form in which every libp2p implementation writes its keys.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use libp2p::identity::Keypair;

use crate::output;

/// A longer file is no key: RSA keys of 8192 bits take less than 5 KiB.
const KEY_BYTES_MAX: u64 = 16 << 10;

/// How often a new key file is tried for, where others make and remove it at the same time.
const TRIES_MAX: usize = 3;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("cannot read the key file {}: {source}; name another file", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(
        "{} holds no key that can be read; it is left as it is: name another file, or move it away to get a new key",
        path.display()
    )]
    Damaged { path: PathBuf },
    #[error("cannot write the key file {}: {source}; name another file", path.display())]
    Unwritable { path: PathBuf, source: io::Error },
    #[error("there is no key file {}: `rendezvous key new` makes one", path.display())]
    Missing { path: PathBuf },
    #[error("{} is there, and left as it is: name another file, or move it away", path.display())]
    Exists { path: PathBuf },
}

/// A key, and whether it is new.
#[derive(Debug)]
pub(crate) struct Key {
    /// The key.
    pub(crate) keypair: Keypair,
    /// Whether it was made by this run.
    pub(crate) is_new: bool,
}

/// The key in this file, which is made where it is missing; without a file, a key for this run.
pub(crate) fn load_or_create(path: Option<&Path>) -> Result<Key, KeyError> {
    let Some(path) = path else { return Ok(Key { keypair: Keypair::generate_ed25519(), is_new: true }) };
    for _ in 0..TRIES_MAX {
        if let Some(keypair) = load(path)? {
            return Ok(Key { keypair, is_new: false });
        }
        let keypair = Keypair::generate_ed25519();
        let bytes = keypair.to_protobuf_encoding().map_err(|error| unwritable(path, io::Error::other(error)))?;
        if create(path, &bytes).map_err(|source| unwritable(path, source))? {
            tracing::debug!(path = %path.display(), "made a key");
            return Ok(Key { keypair, is_new: true });
        }
    }
    Err(unwritable(path, io::Error::other("it comes and goes")))
}

/// The key in a file that is there.
pub(crate) fn read(path: &Path) -> Result<Keypair, KeyError> {
    load(path)?.ok_or_else(|| KeyError::Missing { path: path.to_owned() })
}

/// Writes a key in its protobuf form to a file that is not there yet.
pub(crate) fn write_new(path: &Path, key: &[u8]) -> Result<(), KeyError> {
    match create(path, key).map_err(|source| unwritable(path, source))? {
        true => Ok(()),
        false => Err(KeyError::Exists { path: path.to_owned() }),
    }
}

fn unwritable(path: &Path, source: io::Error) -> KeyError {
    KeyError::Unwritable { path: path.to_owned(), source }
}

/// The key in a file; `None` if there is no such file.
fn load(path: &Path) -> Result<Option<Keypair>, KeyError> {
    let unreadable = |source| KeyError::Unreadable { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let metadata = file.metadata();
    let mut bytes = Vec::new();
    file.take(KEY_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let damaged = || KeyError::Damaged { path: path.to_owned() };
    if bytes.len() as u64 > KEY_BYTES_MAX {
        return Err(damaged());
    }
    let keypair = Keypair::from_protobuf_encoding(&bytes).map_err(|_| damaged())?;
    if let Ok(metadata) = metadata {
        warn_of_readers(path, &metadata);
    }
    Ok(Some(keypair))
}

/// Writes a new key file: beside it first, so that whoever reads the name finds a whole key or none. `false`, and
/// nothing is changed, if there is a file of that name by now.
fn create(path: &Path, key: &[u8]) -> io::Result<bool> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    make_private_dirs(parent)?;
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = parent.join(name);

    let made = write_private(&beside, key).and_then(|()| publish(&beside, path));
    // After a rename there is nothing left to remove.
    let _ = fs::remove_file(&beside);
    if let (Ok(true), Ok(parent)) = (&made, File::open(parent)) {
        // The name is durable once its directory is; some file systems cannot tell.
        let _ = parent.sync_all();
    }
    made
}

/// Gives a finished file its name, unless that is taken: two runs that start together agree on one key.
fn publish(beside: &Path, path: &Path) -> io::Result<bool> {
    match fs::hard_link(beside, path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        // Not every file system has links.
        Err(_) if !path.try_exists()? => fs::rename(beside, path).map(|()| true),
        Err(_) => Ok(false),
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // What a run with the same process id has left behind.
    let _ = fs::remove_file(path);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn make_private_dirs(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Says so if other users can read the key.
fn warn_of_readers(path: &Path, metadata: &fs::Metadata) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 {
            let path = path.display();
            output::note(format_args!("other users can read the key file {path}: run `chmod 600 {path}`"));
        }
    }
    #[cfg(not(unix))]
    let _ = (path, metadata);
}
