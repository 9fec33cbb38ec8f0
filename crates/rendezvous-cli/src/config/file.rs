//! A configuration file: TOML, with the line of each setting.

use std::{fs, path::Path, sync::Arc};

use toml_edit::{Document, TableLike};

use super::{
    Config,
    error::{ConfigError, Expected, Invalid, Place, Source, nearest},
    field::Given,
    policy,
    table::SETTINGS,
};

/// A file's text and name.
#[derive(Debug)]
pub(super) struct File {
    path: Arc<Path>,
    text: String,
}

impl File {
    pub(super) fn open(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
        Ok(Self { path: path.into(), text: fs::read_to_string(path).map_err(unreadable)? })
    }

    #[cfg(test)]
    pub(super) fn of_text(text: &str) -> Self {
        Self { path: Path::new("test.toml").into(), text: text.to_owned() }
    }

    /// Sets what the file says.
    pub(super) fn apply(&self, config: &mut Config) -> Result<(), ConfigError> {
        let document = Document::parse(self.text.as_str()).map_err(|error| ConfigError::Syntax {
            at: self.place(error.span().map_or(0, |span| span.start)),
            message: error.message().trim().replace('\n', ", "),
        })?;
        self.walk(document.as_table(), "", config)
    }

    fn walk(&self, table: &dyn TableLike, path: &str, config: &mut Config) -> Result<(), ConfigError> {
        for (name, item) in table.iter() {
            let key = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            let place = self.place_of(table, name).unwrap_or_else(|| self.place(0));
            if key == policy::KEY {
                config.policies = policy::read(self, item, &place)?;
            } else if let Some(index) = SETTINGS.iter().position(|setting| setting.key == key) {
                let set = config.set(index, Given::Toml(item), Source::File(place.clone()));
                set.map_err(|invalid| ConfigError::InvalidKey {
                    at: self.part(&place, &invalid),
                    key,
                    invalid: invalid.into(),
                })?;
            } else if !tables().any(|table| table == key) {
                let known = SETTINGS.iter().map(|setting| setting.key.to_owned()).chain(tables());
                let nearest = nearest(&key, known.chain([policy::KEY.to_owned()]));
                return Err(ConfigError::UnknownKey { at: place, key, nearest });
            } else if let Some(table) = item.as_table_like() {
                self.walk(table, &key, config)?;
            } else {
                let invalid = Given::Toml(item).unexpected(Expected::Table);
                return Err(ConfigError::InvalidKey { at: place, key, invalid: invalid.into() });
            }
        }
        Ok(())
    }

    /// The line of a byte.
    pub(super) fn place(&self, offset: usize) -> Place {
        let before = self.text.as_bytes().iter().take(offset);
        Place { path: Arc::clone(&self.path), line: 1 + before.filter(|byte| **byte == b'\n').count() }
    }

    /// The line of a key.
    pub(super) fn place_of(&self, table: &dyn TableLike, name: &str) -> Option<Place> {
        let (key, item) = table.get_key_value(name)?;
        key.span().or_else(|| item.span()).map(|span| self.place(span.start))
    }

    /// The line of the part of a value that is wrong, or else that of its key.
    pub(super) fn part(&self, place: &Place, invalid: &Invalid) -> Place {
        invalid.offset.map_or_else(|| place.clone(), |offset| self.place(offset))
    }
}

/// The tables that settings are in, those around others among them.
fn tables() -> impl Iterator<Item = String> {
    SETTINGS.iter().flat_map(|setting| {
        let table = setting.table();
        table.match_indices('.').map(|(end, _)| &table[..end]).chain([table]).map(str::to_owned)
    })
}
