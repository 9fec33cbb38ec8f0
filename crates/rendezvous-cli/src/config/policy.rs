//! What holds in some namespaces: `[[policy]]` in a file.

use rendezvous_core::server::{Pattern, Policy};
use rendezvous_wire::Namespace;
use serde_json::Value as Json;
use toml_edit::{Item, TableLike};

use super::{
    error::{ConfigError, Expected, Invalid, Place, Source, Stated, nearest},
    field::Given,
    file::File,
    table::POLICY,
};

/// The key of the policies in a file.
pub(super) const KEY: &str = "policy";

/// A policy while it is read: the pattern is one of two settings.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(super) namespace: Option<Namespace>,
    pub(super) prefix: Option<String>,
    pub(super) policy: Policy,
}

impl Default for Draft {
    fn default() -> Self {
        Self { namespace: None, prefix: None, policy: Policy::new(Pattern::Prefix(String::new())) }
    }
}

/// A policy, and where each part of it was set.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(super) draft: Draft,
    pub(super) at: Place,
    /// As in [`POLICY`].
    pub(super) sources: Vec<Source>,
}

impl Written {
    /// The parts that say something: what is set, and who may, since everybody may by default.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&'static str, Json, &Source)> {
        POLICY.iter().zip(&self.sources).filter_map(|(setting, source)| {
            let says = *source != Source::Default || setting.value(&self.draft) == "anyone";
            says.then(|| (setting.key, setting.value(&self.draft), source))
        })
    }

    /// A part that is set.
    pub(super) fn stated(&self, key: &str) -> Option<Stated> {
        let index = POLICY.iter().position(|setting| setting.key == key)?;
        let (setting, source) = (POLICY.get(index)?, self.sources.get(index)?);
        let value = setting.value(&self.draft).to_string();
        (*source != Source::Default).then(|| Stated { key: setting.key, value, source: source.clone() })
    }

    /// The pattern as it is written.
    pub(super) fn stated_pattern(&self) -> Option<Stated> {
        self.stated("namespace").or_else(|| self.stated("prefix"))
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.draft.policy
    }
}

/// Reads all policies of a file.
pub(super) fn read(file: &File, item: &Item, at: &Place) -> Result<Vec<Written>, ConfigError> {
    let tables: Option<Vec<(&dyn TableLike, Option<usize>)>> = match (item.as_array_of_tables(), item.as_array()) {
        (Some(tables), _) => {
            Some(tables.iter().map(|table| (table as &dyn TableLike, table.span().map(|span| span.start))).collect())
        }
        (_, Some(array)) => array.iter().map(inline).collect(),
        _ => None,
    };
    let Some(tables) = tables else {
        let invalid = Given::Toml(item).unexpected(Expected::Policies);
        return Err(ConfigError::InvalidKey { at: at.clone(), key: KEY.to_owned(), invalid: invalid.into() });
    };
    tables
        .into_iter()
        .map(|(table, offset)| read_one(file, table, offset.map_or(at.clone(), |at| file.place(at))))
        .collect()
}

fn inline(value: &toml_edit::Value) -> Option<(&dyn TableLike, Option<usize>)> {
    let table = value.as_inline_table()?;
    Some((table as &dyn TableLike, table.span().map(|span| span.start)))
}

fn read_one(file: &File, table: &dyn TableLike, at: Place) -> Result<Written, ConfigError> {
    let mut written = Written { draft: Draft::default(), at, sources: vec![Source::Default; POLICY.len()] };
    for (name, item) in table.iter() {
        let place = file.place_of(table, name).unwrap_or_else(|| written.at.clone());
        let key = format!("{KEY}.{name}");
        let Some(index) = POLICY.iter().position(|setting| setting.key == name) else {
            let nearest = nearest(name, POLICY.iter().map(|setting| setting.key.to_owned()));
            return Err(ConfigError::UnknownKey { at: place, key, nearest });
        };
        let invalid = |invalid: Invalid| ConfigError::InvalidKey {
            at: file.part(&place, &invalid),
            key,
            invalid: Box::new(invalid),
        };
        POLICY[index].set(&mut written.draft, Given::Toml(item)).map_err(invalid)?;
        written.sources[index] = Source::File(place);
    }
    if let (Some(namespace), Some(prefix)) = (written.stated("namespace"), written.stated("prefix")) {
        return Err(ConfigError::PolicyOfTwoPatterns { namespace: namespace.into(), prefix: prefix.into() });
    }
    let draft = &mut written.draft;
    draft.policy.pattern = match (draft.namespace.clone(), draft.prefix.clone()) {
        (Some(name), _) => Pattern::Exact(name),
        (None, Some(prefix)) => Pattern::Prefix(prefix),
        (None, None) => return Err(ConfigError::PolicyWithoutPattern { at: written.at }),
    };
    Ok(written)
}
