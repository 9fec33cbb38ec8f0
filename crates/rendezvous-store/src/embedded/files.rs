//! The database's files, looked at before it opens them itself.
//!
//! It would make anew what is missing, over what is left; it takes a changed list of its tables for the true one; and on some
//! changes it panics while it holds a lock, then again while it unwinds, which ends the process.

use std::{fs, io, path::Path};

use bytes::Buf;
use xxhash_rust::xxh3::xxh3_128;

use super::directory::io_error;
use crate::error::{Damage, LoadError};

/// The trees of a database: of the names of tables, and of our one table.
const TREES: [&str; 2] = ["0", "1"];
const TREES_DIRECTORY: &str = "keyspaces";

/// Whether there is what makes a database, nothing else stands among it, and the lists of tables are as they were written.
pub(super) fn check(path: &Path) -> Result<(), LoadError> {
    if !path.join("version").is_file() {
        return Err(damaged("version".to_owned()));
    }
    let trees = path.join(TREES_DIRECTORY);
    for tree in TREES {
        if !has_true_list(&trees.join(tree)).map_err(io_error("read", &trees))? {
            return Err(damaged(format!("{TREES_DIRECTORY}/{tree}/current")));
        }
    }
    for entry in fs::read_dir(&trees).map_err(io_error("read", &trees))? {
        let name = entry.map_err(io_error("read", &trees))?.file_name();
        if !TREES.iter().any(|tree| name == *tree) {
            return Err(damaged(format!("{TREES_DIRECTORY}/{}", name.to_string_lossy())));
        }
    }
    Ok(())
}

/// Whether the list that a tree's `current` names is that of its checksum there: XXH3 of 128 bits. Numbers are little-endian.
fn has_true_list(tree: &Path) -> io::Result<bool> {
    let Some(current) = read(&tree.join("current"))? else { return Ok(false) };
    let Ok::<[u8; 25], _>(current) = current.try_into() else { return Ok(false) };
    let mut current = &current[..];
    let (number, checksum, kind) = (current.get_u64_le(), current.get_u128_le(), current.get_u8());
    let list = read(&tree.join(format!("v{number}")))?;
    Ok(kind == 0 && list.is_some_and(|list| xxh3_128(&list) == checksum))
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
