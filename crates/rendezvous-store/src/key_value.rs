//! A store on a key-value map of the user's own.

use core::fmt;
use std::error::Error;

use bytes::{Buf, BufMut};
use rendezvous_core::{
    Time,
    server::{Change, Kept},
};

use crate::{
    engine::{Engine, Write},
    error::{CommitError, Damage, LoadError},
    format,
    ledger::Ledger,
    store::{Last, Loaded, Store},
};

/// Where the writes of the last commit stand, so that they can be done again.
const INTENT_KEY: &[u8] = b"i";

/// A map from keys to values, both bytes, that outlives the process: a table of a database, a directory of files.
///
/// Asked of it: a put or delete is done whole or not at all, and [`Self::sync`] makes those before it durable. Atomicity over
/// several of them is not needed. The map must hold nothing else. Keys are at most 341 bytes long; one value is as long as a
/// whole commit, the others at most 65 KiB. A map that has lost all it held is taken for a new one.
///
/// ```
/// use std::{collections::BTreeMap, convert::Infallible};
/// use rendezvous_store::{KeyValue, KeyValueStore};
///
/// #[derive(Default)]
/// struct Map(BTreeMap<Vec<u8>, Vec<u8>>);
///
/// impl KeyValue for Map {
///     type Error = Infallible;
///
///     fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Infallible> {
///         self.0.insert(key.to_vec(), value.to_vec());
///         Ok(())
///     }
///
///     fn delete(&mut self, key: &[u8]) -> Result<(), Infallible> {
///         self.0.remove(key);
///         Ok(())
///     }
///
///     fn iterate(&mut self, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Infallible> {
///         self.0.iter().filter(|(key, _)| key.starts_with(prefix)).for_each(|(key, value)| each(key, value));
///         Ok(())
///     }
/// }
///
/// let store = KeyValueStore::open(Map::default())?;
/// # let _ = store;
/// # Ok::<(), rendezvous_store::LoadError>(())
/// ```
pub trait KeyValue: Send {
    /// Why it refuses.
    type Error: Error + Send + Sync + 'static;

    /// Puts a value at a key, in place of what is there.
    ///
    /// # Errors
    /// If it is not there then. The change is reported as failed, and undone if it turns out to be there after all.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Self::Error>;

    /// Takes out what is at a key; nothing may be there.
    ///
    /// # Errors
    /// As for [`Self::put`].
    fn delete(&mut self, key: &[u8]) -> Result<(), Self::Error>;

    /// Hands out all entries whose keys begin with `prefix`, in any order.
    ///
    /// # Errors
    /// If they cannot be read.
    fn iterate(&mut self, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Self::Error>;

    /// The value at a key. To be overridden where there is a quicker way than iterating over what begins with the key.
    ///
    /// # Errors
    /// If it cannot be read.
    fn value_at(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, Self::Error> {
        let mut value = None;
        self.iterate(key, &mut |found, bytes| {
            if found == key {
                value = Some(bytes.to_vec());
            }
        })?;
        Ok(value)
    }

    /// Makes all that was put and deleted so far survive a crash. Nothing to do where each put does.
    ///
    /// # Errors
    /// If they may be lost.
    fn sync(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// A [`Store`] on a [`KeyValue`] map.
///
/// Each commit is written down whole before it is carried out, and carried out again when the store is opened: so a crash in
/// between leaves all of it, and the map need not write several entries as one.
pub struct KeyValueStore<K: KeyValue> {
    ledger: Ledger<Intent<K>>,
}

impl<K: KeyValue> KeyValueStore<K> {
    /// A store on a map that holds one already, or nothing.
    ///
    /// # Errors
    /// [`LoadError`] if the map cannot be read or holds something else.
    pub fn open(map: K) -> Result<Self, LoadError> {
        let mut intent = Intent { map };
        intent.carry_out().map_err(|error| LoadError::Engine(Box::new(error)))?;
        Ok(Self { ledger: Ledger::open(intent)? })
    }
}

impl<K: KeyValue> fmt::Debug for KeyValueStore<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyValueStore").field("summary", &self.ledger.summary()).finish_non_exhaustive()
    }
}

impl<K: KeyValue> Store for KeyValueStore<K> {
    fn last(&mut self) -> Result<Option<Last>, LoadError> {
        self.ledger.last()
    }

    fn load(&mut self, now: Time, each: &mut dyn FnMut(Kept) -> Result<(), Damage>) -> Result<Loaded, LoadError> {
        self.ledger.load(now, each)
    }

    fn commit(&mut self, now: Time, changes: &[Change]) -> Result<(), CommitError> {
        self.ledger.commit(now, changes)
    }
}

/// A map that takes several writes as one, by writing them down first.
struct Intent<K> {
    map: K,
}

impl<K: KeyValue> Intent<K> {
    /// Does again what was written down last. It may have been done before, wholly or in part: that changes nothing.
    fn carry_out(&mut self) -> Result<(), K::Error> {
        let Some(value) = self.map.value_at(INTENT_KEY)? else { return Ok(()) };
        let Some(writes) = decode(&value) else { return Ok(()) };
        // It may be there and not be durable; carried out in part it would then be torn by a crash.
        self.map.sync()?;
        self.apply(&writes)
    }

    fn apply(&mut self, writes: &[Write]) -> Result<(), K::Error> {
        for (key, value) in writes {
            match value {
                Some(value) => self.map.put(key, value)?,
                None => self.map.delete(key)?,
            }
        }
        self.map.sync()
    }
}

impl<K: KeyValue> Engine for Intent<K> {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, CommitError> {
        self.map.value_at(key).map_err(failed)
    }

    fn scan(&mut self, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), LoadError> {
        self.map.iterate(prefix, each).map_err(|error| LoadError::Engine(Box::new(error)))
    }

    fn write(&mut self, writes: &[Write]) -> Result<(), CommitError> {
        self.map.put(INTENT_KEY, &encode(writes)).map_err(failed)?;
        self.map.sync().map_err(failed)?;
        self.apply(writes).map_err(failed)
    }

    fn recover(&mut self) -> Result<(), CommitError> {
        self.carry_out().map_err(failed)
    }
}

fn failed<E: Error + Send + Sync + 'static>(error: E) -> CommitError {
    CommitError::Engine(Box::new(error))
}

fn encode(writes: &[Write]) -> Vec<u8> {
    format::sealed(INTENT_KEY, |bytes| {
        for (key, value) in writes {
            // Keys have at most 341 bytes, values two records of at most 32 KiB each.
            bytes.put_u32(key.len() as u32);
            bytes.put_slice(key);
            match value {
                None => bytes.put_u8(0),
                Some(value) => {
                    bytes.put_u8(1);
                    bytes.put_u32(value.len() as u32);
                    bytes.put_slice(value);
                }
            }
        }
    })
}

fn decode(value: &[u8]) -> Option<Vec<Write>> {
    fn part<'a>(body: &mut &'a [u8]) -> Option<&'a [u8]> {
        let len = usize::try_from(body.try_get_u32().ok()?).ok()?;
        let (part, rest) = body.split_at_checked(len)?;
        *body = rest;
        Some(part)
    }
    let (_, mut body) = format::unsealed(INTENT_KEY, value)?;
    let mut writes = Vec::new();
    while body.has_remaining() {
        let key = part(&mut body)?.to_vec();
        let value = match body.try_get_u8().ok()? {
            0 => None,
            _ => Some(part(&mut body)?.to_vec()),
        };
        writes.push((key, value));
    }
    Some(writes)
}
