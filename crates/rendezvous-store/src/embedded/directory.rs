//! The files beside the database.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use bytes::{Buf, BufMut};

use crate::{
    error::{Damage, LoadError},
    format::{self, FORMAT, Summary},
};

const LOCK_FILE: &str = "lock";
const FORMAT_FILE: &str = "format";
const MARK_FILE: &str = "mark";

/// What the first line of the format file begins with.
const FORMAT_LINE: &str = "rendezvous-store ";

/// What the mark's checksum is made with, in the place of a key.
const MARK_KEY: &[u8] = b"mark";

/// A store's directory, locked.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Number of the database in use.
    number: u64,
    mark: Mark,
    mark_file: File,
    _lock: File,
}

/// How far commits have been acknowledged at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) serial: u64,
    pub(super) position: u64,
}

impl Directory {
    pub(super) fn open_or_create(path: &Path) -> Result<Self, LoadError> {
        fs::create_dir_all(path).map_err(io_error("make the directory", path))?;
        let lock = lock(path)?;
        let is_empty = fs::read_dir(path).map_err(io_error("read", path))?.all(|entry| {
            // A crash in the middle of making it leaves at most these.
            entry.is_ok_and(|entry| [LOCK_FILE, MARK_FILE, "format.new"].iter().any(|name| entry.file_name() == *name))
        });
        if is_empty {
            write_mark(&path.join(MARK_FILE), Mark::default())?;
            write_format(path, 1)?;
        }
        Self::with_lock(path, lock)
    }

    /// A directory that is there already.
    pub(super) fn open(path: &Path) -> Result<Self, LoadError> {
        let lock = lock(path)?;
        Self::with_lock(path, lock)
    }

    /// A directory of which the mark may be damaged: it counts as one that tells nothing.
    pub(super) fn open_damaged(path: &Path) -> Result<Self, LoadError> {
        let lock = lock(path)?;
        let mark_path = path.join(MARK_FILE);
        if fs::read(&mark_path).ok().and_then(|bytes| Mark::decode(&bytes)).is_none() {
            write_mark(&mark_path, Mark::default())?;
        }
        Self::with_lock(path, lock)
    }

    fn with_lock(path: &Path, lock: File) -> Result<Self, LoadError> {
        let number = read_format(&path.join(FORMAT_FILE))?;
        let mark_path = path.join(MARK_FILE);
        let lost = "whether the last commits are there cannot be told";
        let damaged = Damage::File { file: MARK_FILE, lost };
        let mut mark_file = match OpenOptions::new().read(true).write(true).open(&mark_path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged.into()),
            Err(error) => return Err(io_error("open", &mark_path)(error)),
        };
        let mut bytes = Vec::new();
        mark_file.read_to_end(&mut bytes).map_err(io_error("read", &mark_path))?;
        let mark = Mark::decode(&bytes).ok_or(damaged)?;
        let directory = Self { path: path.to_owned(), number, mark, mark_file, _lock: lock };
        directory.remove_other_databases();
        Ok(directory)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) const fn mark(&self) -> Mark {
        self.mark
    }

    /// The database in use.
    pub(super) fn database(&self) -> PathBuf {
        self.numbered(self.number)
    }

    /// Where a database is made that is to take its place; what an earlier attempt left there is removed.
    pub(super) fn next_database(&self) -> io::Result<PathBuf> {
        let next = self.numbered(self.number + 1);
        match fs::remove_dir_all(&next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(next),
        }
    }

    /// Has the next database take the place of the one in use.
    pub(super) fn switch_to_next_database(&mut self) -> Result<(), LoadError> {
        write_format(&self.path, self.number + 1)?;
        self.number += 1;
        self.remove_other_databases();
        Ok(())
    }

    /// Commits up to this one are acknowledged. It is not made durable: after a loss of power it may lag, and then less is
    /// noticed; it is never ahead.
    pub(super) fn set_mark(&mut self, summary: &Summary) {
        self.mark = Mark { serial: summary.serial, position: summary.position };
        let file = &mut self.mark_file;
        let written = file.rewind().and_then(|()| file.write_all(&self.mark.encode()));
        if let Err(error) = written {
            tracing::warn!(%error, "the store's mark cannot be written: missing commits would not be noticed");
        }
    }

    fn numbered(&self, number: u64) -> PathBuf {
        self.path.join(format!("db-{number}"))
    }

    /// Removes what was left when databases were switched.
    fn remove_other_databases(&self) {
        for number in [self.number.wrapping_sub(1), self.number + 1] {
            let path = self.numbered(number);
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%error, path = %path.display(), "cannot remove what is not used any more");
                }
                _ => {}
            }
        }
    }
}

impl Mark {
    fn encode(self) -> Vec<u8> {
        format::sealed(MARK_KEY, |bytes| {
            bytes.put_u64(self.serial);
            bytes.put_u64(self.position);
        })
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (_, mut body) = format::unsealed(MARK_KEY, bytes)?;
        Some(Self { serial: body.try_get_u64().ok()?, position: body.try_get_u64().ok()? })
    }
}

fn lock(path: &Path) -> Result<File, LoadError> {
    let lock_path = path.join(LOCK_FILE);
    let opened = OpenOptions::new().create(true).write(true).truncate(false).open(&lock_path);
    let file = opened.map_err(io_error("open", &lock_path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LoadError::InUse { directory: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(io_error("lock", &lock_path)(error)),
    }
}

/// The number of the database that the format file names.
fn read_format(path: &Path) -> Result<u64, LoadError> {
    let damaged = Damage::File { file: FORMAT_FILE, lost: "which database is in use cannot be told" };
    let text = match fs::read(path) {
        Ok(bytes) => String::from_utf8(bytes).map_err(|_| damaged.clone())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged.into()),
        Err(error) => return Err(io_error("read", path)(error)),
    };
    let mut lines = text.lines();
    let found = lines.next().and_then(|line| line.strip_prefix(FORMAT_LINE)).and_then(|number| number.parse().ok());
    match found {
        Some(FORMAT) => {}
        Some(found) => return Err(LoadError::Format { found, known: FORMAT }),
        None => return Err(damaged.into()),
    }
    let number = lines.next().and_then(|line| line.strip_prefix("db-")).and_then(|number| number.parse().ok());
    match number {
        Some(number) if text == format_text(number) => Ok(number),
        _ => Err(damaged.into()),
    }
}

fn format_text(number: u64) -> String {
    format!("{FORMAT_LINE}{FORMAT}\ndb-{number}\n")
}

/// Names the database in use, at one stroke.
fn write_format(directory: &Path, number: u64) -> Result<(), LoadError> {
    let (path, new) = (directory.join(FORMAT_FILE), directory.join("format.new"));
    let write = || {
        let mut file = File::create(&new)?;
        file.write_all(format_text(number).as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        sync_directory(directory)
    };
    write().map_err(io_error("write", &path))
}

fn write_mark(path: &Path, mark: Mark) -> Result<(), LoadError> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(&mark.encode())?;
        file.sync_all()
    };
    write().map_err(io_error("write", path))
}

/// Makes the names in a directory durable; on Windows they are.
fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(windows) { Ok(()) } else { File::open(path)?.sync_all() }
}

pub(super) fn io_error<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> LoadError + use<'a> {
    move |source| LoadError::Io { action, path: path.to_owned(), source }
}
