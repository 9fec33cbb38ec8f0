//! Two maps that a user could write: one in memory that outlives its point, and a directory of files.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs::{self, File},
    io::{self, Write as _},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use rendezvous_store::KeyValue;

pub type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// A map that whoever holds a clone of it sees.
#[derive(Clone, Debug, Default)]
pub struct SharedMap(pub Arc<Mutex<Entries>>);

impl KeyValue for SharedMap {
    type Error = Infallible;

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Infallible> {
        self.0.lock().unwrap().insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Infallible> {
        self.0.lock().unwrap().remove(key);
        Ok(())
    }

    fn iterate(&mut self, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Infallible> {
        let entries = self.0.lock().unwrap();
        entries.iter().filter(|(key, _)| key.starts_with(prefix)).for_each(|(key, value)| each(key, value));
        Ok(())
    }

    fn value_at(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }
}

/// A file for each entry. A file's name has at most 255 bytes, a key in hexadecimal digits up to 682: what is longer goes
/// into directories.
#[derive(Clone, Debug)]
pub struct FileMap {
    pub root: PathBuf,
}

const NAME_DIGITS: usize = 200;

impl FileMap {
    fn path_of(&self, key: &[u8]) -> PathBuf {
        let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut path = self.root.clone();
        let mut rest = digits.as_str();
        while rest.len() > NAME_DIGITS {
            let (head, tail) = rest.split_at(NAME_DIGITS);
            path.push(format!("{head}.more"));
            rest = tail;
        }
        path.join(rest)
    }

    fn walk(&self, directory: &std::path::Path, prefix: &str, each: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if let Some(head) = name.strip_suffix(".more") {
                self.walk(&path, &format!("{prefix}{head}"), each)?;
            } else if !name.ends_with(".new") {
                let digits = format!("{prefix}{name}");
                let key: Vec<u8> = (0..digits.len() / 2)
                    .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
                    .collect();
                each(&key, &fs::read(&path)?);
            }
        }
        Ok(())
    }
}

impl KeyValue for FileMap {
    type Error = io::Error;

    fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let path = self.path_of(key);
        let directory = path.parent().unwrap();
        fs::create_dir_all(directory)?;
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(value)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        sync_directory(directory)
    }

    fn delete(&mut self, key: &[u8]) -> io::Result<()> {
        let path = self.path_of(key);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => sync_directory(path.parent().unwrap()),
        }
    }

    fn iterate(&mut self, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<()> {
        self.walk(&self.root, "", &mut |key, value| {
            if key.starts_with(prefix) {
                each(key, value);
            }
        })
    }

    fn value_at(&mut self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path_of(key)) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn sync_directory(path: &std::path::Path) -> io::Result<()> {
    if cfg!(windows) { Ok(()) } else { File::open(path)?.sync_all() }
}
