//! What this node keeps of the DHT: [`Store`].

use libp2p::{
    PeerId,
    kad::{
        ProviderRecord, Record, RecordKey,
        store::{MemoryStore, MemoryStoreConfig, RecordStore, Result},
    },
};
use std::borrow::Cow;

/// Names that this node provides itself.
const OWN_KEYS_MAX: usize = 4_096;

/// Names for which others have sent provider records here.
const OTHERS_KEYS_MAX: usize = 4_096;

/// Values that others have sent here; nothing here uses them.
const VALUES_MAX: usize = 1_024;

/// Longest of them: with all of them, 8 MiB.
const VALUE_BYTES_MAX: usize = 8 << 10;

/// Records in memory, this node's own apart from those of others: a store that strangers have filled would keep this node from
/// advertising.
pub(crate) struct Store {
    local: PeerId,
    own: MemoryStore,
    others: MemoryStore,
}

impl Store {
    pub(crate) fn new(local: PeerId) -> Self {
        let store = |max_records, max_provided_keys| {
            let config = MemoryStoreConfig {
                max_records,
                max_value_bytes: VALUE_BYTES_MAX,
                max_provided_keys,
                ..MemoryStoreConfig::default()
            };
            MemoryStore::with_config(local, config)
        };
        Self { local, own: store(0, OWN_KEYS_MAX), others: store(VALUES_MAX, OTHERS_KEYS_MAX) }
    }

    fn of(&mut self, provider: &PeerId) -> &mut MemoryStore {
        if *provider == self.local { &mut self.own } else { &mut self.others }
    }
}

impl RecordStore for Store {
    type RecordsIter<'a> = <MemoryStore as RecordStore>::RecordsIter<'a>;
    type ProvidedIter<'a> = <MemoryStore as RecordStore>::ProvidedIter<'a>;

    fn get(&self, key: &RecordKey) -> Option<Cow<'_, Record>> {
        self.others.get(key)
    }

    fn put(&mut self, record: Record) -> Result<()> {
        self.others.put(record)
    }

    fn remove(&mut self, key: &RecordKey) {
        self.others.remove(key);
    }

    fn records(&self) -> Self::RecordsIter<'_> {
        self.others.records()
    }

    fn add_provider(&mut self, record: ProviderRecord) -> Result<()> {
        self.of(&record.provider).add_provider(record)
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        let mut providers = self.own.providers(key);
        providers.extend(self.others.providers(key));
        providers
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        self.own.provided()
    }

    fn remove_provider(&mut self, key: &RecordKey, provider: &PeerId) {
        self.of(provider).remove_provider(key, provider);
    }
}

#[cfg(test)]
mod tests {
    use libp2p::identity::Keypair;

    use super::*;

    fn peer() -> PeerId {
        Keypair::generate_ed25519().public().to_peer_id()
    }

    fn record(number: usize, provider: PeerId) -> ProviderRecord {
        ProviderRecord::new(RecordKey::new(&number.to_be_bytes()), provider, Vec::new())
    }

    #[test]
    fn a_store_that_strangers_have_filled_takes_what_this_node_provides() {
        let [local, stranger] = [peer(), peer()];
        let mut store = Store::new(local);
        assert!((0..OTHERS_KEYS_MAX).all(|number| store.add_provider(record(number, stranger)).is_ok()));
        assert!(store.add_provider(record(OTHERS_KEYS_MAX, stranger)).is_err(), "it is bounded");
        let own = record(0, local);
        store.add_provider(own.clone()).expect("there is room for its own");
        assert_eq!(store.provided().count(), 1);
        let providers: Vec<_> = store.providers(&own.key).into_iter().map(|record| record.provider).collect();
        assert_eq!(providers, [local, stranger]);
        store.remove_provider(&own.key, &local);
        assert_eq!((store.provided().count(), store.providers(&own.key).len()), (0, 1));
    }

    #[test]
    fn values_of_others_are_bounded_in_number_and_size() {
        let mut store = Store::new(peer());
        let value = |number: usize, bytes| Record::new(number.to_be_bytes().to_vec(), vec![0; bytes]);
        assert!(store.put(value(0, VALUE_BYTES_MAX)).is_err());
        assert!((0..VALUES_MAX).all(|number| store.put(value(number, 1)).is_ok()));
        assert!(store.put(value(VALUES_MAX, 1)).is_err());
    }
}
