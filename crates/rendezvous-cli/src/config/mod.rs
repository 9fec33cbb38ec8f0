//! The configuration of `serve`: a file, the environment and flags, of which the later override the earlier.
//!
//! `table` lists the settings, and everything else follows it: `file`, `environment` and `flags` read, `check`
//! finds contradictions, `report` shows. [`Settings`] is what is left for the point to use.

mod check;
mod environment;
mod error;
mod field;
mod file;
mod flags;
mod policy;
mod quantity;
mod report;
mod setting;
mod settings;
mod size;
mod table;
#[cfg(test)]
mod tests;

use std::path::Path;

pub(crate) use self::{environment::Environment, error::ConfigError, flags::Flags, settings::Settings};
use self::{
    error::{Invalid, Source, Stated},
    field::Given,
    file::File,
    policy::Written,
    table::SETTINGS,
};
use crate::descriptors::Lowered;

/// The setting that follows a change at run time.
pub(crate) const DIALECTS: &str = "dialects";

/// The settings in force, and where each comes from.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) settings: Settings,
    /// As in [`SETTINGS`].
    sources: Vec<Source>,
    policies: Vec<Written>,
}

impl Config {
    /// Reads all there is. The file is that of `--config`, or else that which the environment names.
    pub(crate) fn load(file: Option<&Path>, environment: &Environment, flags: &Flags) -> Result<Self, ConfigError> {
        let file = file.or_else(|| environment.file().map(Path::new));
        Self::layered(file.map(File::open).transpose()?.as_ref(), environment, flags)
    }

    fn layered(file: Option<&File>, environment: &Environment, flags: &Flags) -> Result<Self, ConfigError> {
        let sources = vec![Source::Default; SETTINGS.len()];
        let mut config = Self { settings: Settings::default(), sources, policies: Vec::new() };
        if let Some(file) = file {
            file.apply(&mut config)?;
        }
        environment.apply(&mut config)?;
        flags.apply(&mut config)?;
        check::check(&config)?;
        config.settings.complete();
        let policies = config.policies.iter().map(|written| written.policy().clone());
        config.settings.server.server.policies = policies.collect();
        Ok(config)
    }

    /// The keys of the settings that are not the same in another configuration.
    pub(crate) fn differing(&self, other: &Self) -> Vec<&'static str> {
        let (ours, theirs) = (&self.settings, &other.settings);
        let differing = SETTINGS.iter().filter(|setting| setting.value(ours) != setting.value(theirs));
        let policies = (ours.server.server.policies != theirs.server.server.policies).then_some(policy::KEY);
        differing.map(|setting| setting.key).chain(policies).collect()
    }

    fn set(&mut self, index: usize, given: Given<'_>, source: Source) -> Result<(), Invalid> {
        SETTINGS[index].set(&mut self.settings, given)?;
        self.sources[index] = source;
        Ok(())
    }

    /// What the limit of descriptors leaves for connections, where that is less than the settings say.
    pub(crate) fn lowered(&self, descriptors: Option<u64>) -> Option<Lowered> {
        let Settings { connections, listen, ephemeral, .. } = &self.settings;
        Lowered::of(descriptors, &connections.limits, listen.len(), !ephemeral)
    }

    fn stated(&self, key: &'static str) -> Stated {
        let index = SETTINGS.iter().position(|setting| setting.key == key).expect("it is in the table");
        let value = SETTINGS[index].value(&self.settings).to_string();
        Stated { key, value, source: self.sources[index].clone() }
    }
}
