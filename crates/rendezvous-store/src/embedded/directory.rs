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
const FORMAT_FILE_NEW: &str = "format.new";
const MARK_FILE: &str = "mark";

/// What the names of databases begin with; a number follows.
const DATABASE_PREFIX: &str = "db-";

/// What the first line of the format file begins with.
const FORMAT_LINE: &str = "rendezvous-store ";

/// What checksums are made with, in the place of a key.
const FORMAT_KEY: &[u8] = b"format";
const MARK_KEY: &[u8] = b"mark";

/// A store's directory, locked.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Number of the database in use.
    number: u64,
    /// Highest number that a database has been made under.
    highest: u64,
    mark: Mark,
    mark_file: File,
    lock: Option<File>,
}

/// How far commits have been acknowledged at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) serial: u64,
    pub(super) position: u64,
}

impl Directory {
    /// What a store consists of, beside its database.
    pub(super) const FILES: [&str; 2] = [FORMAT_FILE, MARK_FILE];

    pub(super) fn open_or_create(path: &Path) -> Result<Self, LoadError> {
        create_directory(path)?;
        // Before the lock is made: nothing is written into what is no store.
        names(path)?;
        let lock = lock(path, true)?;
        if names(path)?.is_empty() {
            write_mark(&path.join(MARK_FILE), Mark::default())?;
            write_format(path, 1)?;
        }
        Self::with_lock(path, lock)
    }

    /// A directory that is there already. Nothing in it is changed.
    pub(super) fn open(path: &Path) -> Result<Self, LoadError> {
        names_in_store(path)?;
        let lock = lock(path, false)?;
        Self::with_lock(path, lock)
    }

    /// A directory of which anything may be damaged. A mark that cannot be read counts as one that tells nothing; where the
    /// database in use cannot be told, it is the one that is there.
    pub(super) fn open_damaged(path: &Path) -> Result<Self, LoadError> {
        let names = names_in_store(path)?;
        let lock = lock(path, true)?;
        let mark_path = path.join(MARK_FILE);
        if fs::read(&mark_path).ok().and_then(|bytes| Mark::decode(&bytes)).is_none() {
            write_mark(&mark_path, Mark::default())?;
        }
        if let Err(LoadError::Damaged(_)) = read_format(&path.join(FORMAT_FILE)) {
            // Where there are two, the lower one was copied to the other, and lacks nothing.
            let number = names.iter().filter_map(|name| database_number(name)).min();
            write_format(path, number.unwrap_or(1))?;
        }
        Self::with_lock(path, lock)
    }

    fn with_lock(path: &Path, lock: Option<File>) -> Result<Self, LoadError> {
        let number = read_format(&path.join(FORMAT_FILE))?;
        let mark_path = path.join(MARK_FILE);
        let damaged = || {
            let lost = "whether the last commits are there cannot be told".to_owned();
            Damage::File { file: MARK_FILE.to_owned(), lost }
        };
        let mut mark_file = match OpenOptions::new().read(true).write(true).open(&mark_path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged().into()),
            Err(error) => return Err(io_error("open", &mark_path)(error)),
        };
        let mut bytes = Vec::new();
        mark_file.read_to_end(&mut bytes).map_err(io_error("read", &mark_path))?;
        let mark = Mark::decode(&bytes).ok_or_else(damaged)?;
        Ok(Self { path: path.to_owned(), number, highest: number, mark, mark_file, lock })
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

    /// Where a database is made before it gets its name; what an earlier attempt left there is removed.
    pub(super) fn unfinished_database(&self) -> io::Result<PathBuf> {
        let path = self.path.join("db.new");
        remove(&path)?;
        Ok(path)
    }

    /// Has a database that is made whole be the one in use, which is not there yet.
    pub(super) fn finish_database(&self, path: &Path) -> io::Result<()> {
        fs::rename(path, self.database())?;
        sync_directory(&self.path)
    }

    /// Where a database is made that is to take the place of the one in use. Each has a number of its own: after an attempt
    /// that failed at its end, the format file may name either.
    pub(super) fn next_database(&mut self) -> io::Result<PathBuf> {
        self.highest += 1;
        let path = self.numbered(self.highest);
        remove(&path)?;
        Ok(path)
    }

    /// Has the last [`Self::next_database`] take the place of the one in use.
    pub(super) fn switch_to_next_database(&mut self) -> Result<(), LoadError> {
        write_format(&self.path, self.highest)?;
        self.number = self.highest;
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

    /// Removes what was left when databases were switched. To be called when the one in use has shown to be readable.
    pub(super) fn remove_other_databases(&self) {
        let Ok(names) = names(&self.path) else { return };
        let others = names.iter().filter(|name| database_number(name).is_some_and(|number| number != self.number));
        for name in others {
            let path = self.path.join(name);
            if let Err(error) = remove(&path) {
                tracing::warn!(%error, path = %path.display(), "cannot remove what is not used any more");
            }
        }
    }

    fn numbered(&self, number: u64) -> PathBuf {
        self.path.join(format!("{DATABASE_PREFIX}{number}"))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Closing it would not do: a process that is just being started may share the open file for a moment.
        if let Some(Err(error)) = self.lock.as_ref().map(File::unlock) {
            tracing::warn!(%error, "the lock is released when the file is closed");
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
        let mark = Self { serial: body.try_get_u64().ok()?, position: body.try_get_u64().ok()? };
        body.is_empty().then_some(mark)
    }
}

/// What is in a directory, but for what a crash in the middle of making a store leaves at most. Refuses one that holds other
/// things and no store.
fn names(path: &Path) -> Result<Vec<String>, LoadError> {
    let (mut names, mut is_store, mut is_foreign) = (Vec::new(), false, false);
    for entry in fs::read_dir(path).map_err(io_error("read", path))? {
        let name = entry.map_err(io_error("read", path))?.file_name().to_string_lossy().into_owned();
        match name.as_str() {
            // The root of a file system holds the last of these.
            LOCK_FILE | MARK_FILE | FORMAT_FILE_NEW | "lost+found" => continue,
            FORMAT_FILE => is_store = true,
            name if database_number(name).is_some() => is_store = true,
            _ => is_foreign = true,
        }
        names.push(name);
    }
    if is_foreign && !is_store {
        return Err(LoadError::NotAStore { directory: path.to_owned() });
    }
    Ok(names)
}

/// As [`names`], of a directory that must hold a store.
fn names_in_store(path: &Path) -> Result<Vec<String>, LoadError> {
    let names = names(path)?;
    if names.is_empty() { Err(LoadError::NotAStore { directory: path.to_owned() }) } else { Ok(names) }
}

fn database_number(name: &str) -> Option<u64> {
    name.strip_prefix(DATABASE_PREFIX)?.parse().ok()
}

/// Takes the lock. Where it is not there and not to be made, nobody holds it.
fn lock(path: &Path, is_made: bool) -> Result<Option<File>, LoadError> {
    let lock_path = path.join(LOCK_FILE);
    let file = match OpenOptions::new().create(is_made).write(true).truncate(false).open(&lock_path) {
        Err(error) if !is_made && error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io_error("open", &lock_path))?,
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(LoadError::InUse { directory: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(io_error("lock", &lock_path)(error)),
    }
}

/// The number of the database that the format file names.
fn read_format(path: &Path) -> Result<u64, LoadError> {
    let damaged = || {
        let lost = "which database is in use cannot be told".to_owned();
        LoadError::from(Damage::File { file: FORMAT_FILE.to_owned(), lost })
    };
    let text = match fs::read(path) {
        Ok(bytes) => String::from_utf8(bytes).map_err(|_| damaged())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged()),
        Err(error) => return Err(io_error("read", path)(error)),
    };
    let body_len = text.trim_end_matches('\n').rfind('\n').map_or(0, |end| end + 1);
    let mut lines = text.lines();
    let found = lines.next().and_then(|line| line.strip_prefix(FORMAT_LINE)).and_then(|number| number.parse().ok());
    let number = lines.next().and_then(database_number);
    match (found, number) {
        // Whatever comes between them, the first line and the last are those of all formats.
        _ if text[body_len..] != checksum_line(&text[..body_len]) => Err(damaged()),
        (Some(FORMAT), Some(number)) => Ok(number),
        (Some(FORMAT) | None, _) => Err(damaged()),
        (Some(found), _) => Err(LoadError::Format { found, known: FORMAT }),
    }
}

fn format_text(number: u64) -> String {
    let body = format!("{FORMAT_LINE}{FORMAT}\n{DATABASE_PREFIX}{number}\n");
    let checksum = checksum_line(&body);
    body + &checksum
}

fn checksum_line(body: &str) -> String {
    format!("{:016x}\n", format::checksum(FORMAT_KEY, body.as_bytes()))
}

/// Names the database in use, at one stroke.
fn write_format(directory: &Path, number: u64) -> Result<(), LoadError> {
    let (path, new) = (directory.join(FORMAT_FILE), directory.join(FORMAT_FILE_NEW));
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

/// Makes a directory, and its name durable.
fn create_directory(path: &Path) -> Result<(), LoadError> {
    let missing: Vec<&Path> =
        path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    fs::create_dir_all(path).map_err(io_error("make the directory", path))?;
    for parent in missing.iter().filter_map(|path| path.parent()) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        sync_directory(parent).map_err(io_error("sync", parent))?;
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes the names in a directory durable; on Windows they are.
fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(windows) { Ok(()) } else { File::open(path)?.sync_all() }
}

pub(super) fn io_error<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> LoadError + use<'a> {
    move |source| LoadError::Io { action, path: path.to_owned(), source }
}
