//! The database's files, looked at before it opens them itself.
//!
//! It would make anew what is missing, over what is left; it keeps checksums of its lists of tables and of whole tables, and
//! does not verify them; and some changes end the process: it asks for as much memory as a changed length says, or panics
//! while it holds a lock, and then again while it unwinds.
//!
//! | file, or part | bytes, little-endian |
//! |---|---|
//! | `current` of a tree | number of its list 8, XXH3 of 128 bits over all of that 16, 0 |
//! | list `v` and its number, and table | sections, contents, trailer |
//! | trailer | `SFA!`, 1, 0, XXH3 of 128 bits over the contents 16, where they begin 8, their length 8 |
//! | contents | `TOC!`, number of sections 4, for each: where it begins 8, its length 8, length of its name 2, name |
//! | section `tables` of a list | number of levels 1, for each: number of runs 1, for each: number of tables 4, for each: number 8, 0, XXH3 of 128 bits over all of it 16, sequence number 8 |

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use bytes::Buf;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

use super::directory::io_error;
use crate::error::{Damage, LoadError};

/// The trees of a database: of the names of tables, and of our one table.
const TREES: [&str; 2] = ["0", "1"];
const TREES_DIRECTORY: &str = "keyspaces";

const TRAILER_BYTES: usize = 38;

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Which changes are borne.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bears {
    Nothing,
    /// Parts of tables that cannot be read.
    Parts,
}

/// Whether there is what makes a database, nothing else stands among it, and its lists and tables are as they were written.
pub(super) fn check(path: &Path, bears: Bears) -> Result<(), LoadError> {
    if !path.join("version").is_file() {
        return Err(damaged("version".to_owned()));
    }
    let trees = path.join(TREES_DIRECTORY);
    for entry in fs::read_dir(&trees).map_err(io_error("read", &trees))? {
        let name = entry.map_err(io_error("read", &trees))?.file_name();
        if !TREES.iter().any(|tree| name == *tree) {
            return Err(damaged(format!("{TREES_DIRECTORY}/{}", name.to_string_lossy())));
        }
    }
    for tree in TREES {
        let path = trees.join(tree);
        let list = list(&path).map_err(io_error("read", &path))?;
        let tables = list.as_deref().and_then(tables);
        for (number, checksum) in tables.ok_or_else(|| damaged(format!("{TREES_DIRECTORY}/{tree}/current")))? {
            let table = path.join("tables").join(number.to_string());
            if !is_table(&table, checksum, bears).map_err(io_error("read", &table))? {
                return Err(damaged(format!("{TREES_DIRECTORY}/{tree}/tables/{number}")));
            }
        }
    }
    Ok(())
}

/// The list that a tree's `current` names, if it is the one that it was made for.
fn list(tree: &Path) -> io::Result<Option<Vec<u8>>> {
    let Some(current) = read(&tree.join("current"))? else { return Ok(None) };
    let Ok::<[u8; 25], _>(current) = current.try_into() else { return Ok(None) };
    let mut current = &current[..];
    let (number, checksum, kind) = (current.get_u64_le(), current.get_u128_le(), current.get_u8());
    let list = read(&tree.join(format!("v{number}")))?;
    Ok(list.filter(|list| kind == 0 && xxh3_128(list) == checksum))
}

/// The tables of a list, with their checksums.
fn tables(list: &[u8]) -> Option<Vec<(u64, u128)>> {
    let trailer = Trailer::decode(list.last_chunk()?)?;
    let begin = usize::try_from(trailer.contents_begin).ok()?;
    let mut contents = list.get(begin..list.len() - TRAILER_BYTES)?;
    let (_magic, sections) = (contents.try_get_u32_le().ok()?, contents.try_get_u32_le().ok()?);
    for _ in 0..sections {
        let (begin, len) = (contents.try_get_u64_le().ok()?, contents.try_get_u64_le().ok()?);
        let name_len = usize::from(contents.try_get_u16_le().ok()?);
        let (name, rest) = contents.split_at_checked(name_len)?;
        contents = rest;
        if name == b"tables" {
            let (begin, len) = (usize::try_from(begin).ok()?, usize::try_from(len).ok()?);
            return tables_in(list.get(begin..)?.get(..len)?);
        }
    }
    None
}

fn tables_in(mut section: &[u8]) -> Option<Vec<(u64, u128)>> {
    let mut tables = Vec::new();
    for _level in 0..section.try_get_u8().ok()? {
        for _run in 0..section.try_get_u8().ok()? {
            for _table in 0..section.try_get_u32_le().ok()? {
                let (number, _kind) = (section.try_get_u64_le().ok()?, section.try_get_u8().ok()?);
                tables.push((number, section.try_get_u128_le().ok()?));
                section.try_get_u64_le().ok()?;
            }
        }
    }
    Some(tables)
}

/// Whether a table is as it was written, or at least can be opened.
fn is_table(path: &Path, checksum: u128, bears: Bears) -> io::Result<bool> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    let len = file.metadata()?.len();
    if hash(&mut file, 0, len)? == checksum {
        return Ok(true);
    }
    let Some(contents_end) = len.checked_sub(TRAILER_BYTES as u64).filter(|_| bears == Bears::Parts) else {
        return Ok(false);
    };
    let mut trailer = [0; TRAILER_BYTES];
    file.seek(SeekFrom::Start(contents_end))?;
    file.read_exact(&mut trailer)?;
    let Some(trailer) = Trailer::decode(&trailer) else { return Ok(false) };
    Ok(trailer.contents_begin < contents_end
        && hash(&mut file, trailer.contents_begin, contents_end)? == trailer.contents_checksum)
}

struct Trailer {
    contents_checksum: u128,
    contents_begin: u64,
}

impl Trailer {
    fn decode(bytes: &[u8; TRAILER_BYTES]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(b"SFA!\x01\x00")?;
        Some(Self { contents_checksum: rest.get_u128_le(), contents_begin: rest.get_u64_le() })
    }
}

fn hash(file: &mut File, begin: u64, end: u64) -> io::Result<u128> {
    file.seek(SeekFrom::Start(begin))?;
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, file.take(end - begin));
    let mut hasher = Xxh3Default::new();
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Ok(hasher.digest128());
        }
        hasher.update(bytes);
        let len = bytes.len();
        reader.consume(len);
    }
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

fn damaged(file: String) -> LoadError {
    Damage::File { file, lost: "what is lost cannot be told".to_owned() }.into()
}
