//! The end of the database's log, as a loss of power leaves it.
//!
//! A commit that was being written when the power went may be there in parts. The database cuts off one that has no end; but
//! where what is missing lies within a value, it finds the checksum wrong, and refuses the log. That one was not acknowledged
//! either, and is cut off here.
//!
//! A log is a sequence of batches. Numbers are little-endian.
//!
//! | part | bytes |
//! |---|---|
//! | start | 1, number of items 4, sequence number 8 |
//! | each item | 2, kind 1, compression 1 (0 for none), table 8, length of the key 2, of the value 4, and again 4, key, value |
//! | end | 3, XXH3 of 64 bits over all items 8, `FJL` and 3 |

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
};

use bytes::Buf;
use xxhash_rust::xxh3::Xxh3Default;

const END_MAGIC: &[u8; 4] = b"FJL\x03";

/// What follows in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Batch {
    Good,
    /// It has its end, and is not what was written.
    Changed,
    /// It begins, and has no end.
    Endless,
}

/// Cuts off a last commit that is there in parts, of the log that was written last.
pub(super) fn cut_torn_end(database: &Path) -> io::Result<()> {
    let Some((_, log)) = logs(database)?.pop() else { return Ok(()) };
    cut(&log, false)
}

/// Cuts each log where it cannot be read on, so that what comes before can be.
pub(super) fn cut_at_changes(database: &Path) -> io::Result<()> {
    logs(database)?.iter().try_for_each(|(_, log)| cut(log, true))
}

fn cut(log: &Path, is_anywhere: bool) -> io::Result<()> {
    let mut reader = Reader { file: BufReader::new(File::open(log)?), position: 0 };
    loop {
        let start = reader.position;
        match reader.batch()? {
            Some(Batch::Good) => {}
            // One that is followed by another was acknowledged.
            Some(batch) if batch == Batch::Endless || is_anywhere || reader.is_at_end()? => {
                let file = OpenOptions::new().write(true).open(log)?;
                file.set_len(start)?;
                tracing::warn!(log = %log.display(), "a commit is there in parts, and is dropped");
                return file.sync_all();
            }
            Some(_) | None => return Ok(()),
        }
    }
}

/// Reads a log, batch by batch.
struct Reader {
    file: BufReader<File>,
    position: u64,
}

impl Reader {
    /// A batch; `None` if none follows.
    fn batch(&mut self) -> io::Result<Option<Batch>> {
        let is_end = |error: &io::Error| error.kind() == io::ErrorKind::UnexpectedEof;
        match self.part() {
            Ok([1]) => {}
            Err(error) if !is_end(&error) => return Err(error),
            _ => return Ok(None),
        }
        match self.rest_of_batch() {
            Err(error) if is_end(&error) => Ok(Some(Batch::Endless)),
            read => read.map(Some),
        }
    }

    fn rest_of_batch(&mut self) -> io::Result<Batch> {
        let mut hasher = Xxh3Default::new();
        let (expected, _sequence) = (u32::from_le_bytes(self.part()?), self.part::<8>()?);
        let mut count = 0;
        loop {
            match self.part()? {
                [2] => {
                    let head: [u8; 20] = self.part()?;
                    let (compression, key, value) = (head[1], &head[10..12], &head[16..20]);
                    if compression != 0 {
                        return Ok(Batch::Endless);
                    }
                    // Of the two lengths of a value the database goes by the second.
                    for part in [&[2], &head[..12], value, value] {
                        hasher.update(part);
                    }
                    let (mut key, mut value) = (key, value);
                    self.skip(u64::from(key.get_u16_le()) + u64::from(value.get_u32_le()), &mut hasher)?;
                    count += 1;
                }
                [3] => {
                    let (checksum, magic) = (u64::from_le_bytes(self.part()?), self.part::<4>()?);
                    let is_good = count == expected && checksum == hasher.digest();
                    return Ok(match (magic == *END_MAGIC, is_good) {
                        (false, _) => Batch::Endless,
                        (true, true) => Batch::Good,
                        (true, false) => Batch::Changed,
                    });
                }
                _ => return Ok(Batch::Endless),
            }
        }
    }

    fn part<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut part = [0; N];
        self.file.read_exact(&mut part)?;
        self.position += N as u64;
        Ok(part)
    }

    fn skip(&mut self, mut len: u64, hasher: &mut Xxh3Default) -> io::Result<()> {
        while len > 0 {
            let bytes = self.file.fill_buf()?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let taken = bytes.len().min(usize::try_from(len).unwrap_or(usize::MAX));
            hasher.update(&bytes[..taken]);
            self.file.consume(taken);
            self.position += taken as u64;
            len -= taken as u64;
        }
        Ok(())
    }

    /// Whether nothing but zeros follows.
    fn is_at_end(&mut self) -> io::Result<bool> {
        loop {
            let bytes = self.file.fill_buf()?;
            if bytes.is_empty() {
                return Ok(true);
            }
            if bytes.iter().any(|&byte| byte != 0) {
                return Ok(false);
            }
            let len = bytes.len();
            self.file.consume(len);
        }
    }
}

/// The logs of a database, the oldest first.
fn logs(database: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(database)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".jnl"));
        if let Some(number) = name.and_then(|name| name.parse().ok()) {
            logs.push((number, path));
        }
    }
    logs.sort_unstable();
    Ok(logs)
}
