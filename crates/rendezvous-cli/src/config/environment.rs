//! Settings in the environment.

use std::ffi::OsString;

use super::{
    Config,
    error::{ConfigError, Source, nearest},
    field::Given,
    table::SETTINGS,
};

/// How the names of this program's variables begin.
pub(super) const PREFIX: &str = "RENDEZVOUS_";

/// The variable that names the file, as `--config` does.
pub(super) const CONFIG: &str = "RENDEZVOUS_CONFIG";

/// The variables of this program, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment(Vec<(String, OsString)>);

impl Environment {
    /// That of this process.
    pub(crate) fn of_process() -> Self {
        Self::of(std::env::vars_os())
    }

    /// Sorted, so that of several errors the same one is told each time.
    pub(super) fn of(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let ours = variables.into_iter().filter_map(|(name, value)| {
            let name = name.to_string_lossy().into_owned();
            (name.starts_with(PREFIX) && !is_of_container(&name, &value)).then_some((name, value))
        });
        let mut ours: Vec<_> = ours.collect();
        ours.sort();
        Self(ours)
    }

    /// The file that it names.
    pub(super) fn file(&self) -> Option<&OsString> {
        self.0.iter().find(|(name, _)| name == CONFIG).map(|(_, value)| value)
    }

    /// Sets what it says.
    pub(super) fn apply(&self, config: &mut Config) -> Result<(), ConfigError> {
        for (name, value) in self.0.iter().filter(|(name, _)| name != CONFIG) {
            let Some(index) = SETTINGS.iter().position(|setting| setting.variable() == *name) else {
                let known = SETTINGS.iter().map(|setting| setting.variable());
                let nearest = nearest(name, known.chain([CONFIG.to_owned()]));
                return Err(ConfigError::UnknownVariable { name: name.clone(), nearest });
            };
            let words = std::slice::from_ref(value);
            let set = config.set(index, Given::Words(words), Source::Environment(name.clone()));
            set.map_err(|invalid| ConfigError::InvalidVariable { name: name.clone(), invalid: invalid.into() })?;
        }
        Ok(())
    }
}

/// Whether a container platform has set this: Kubernetes and Docker do so for each service that runs beside, and this
/// program's would be called by its name. None of them is a setting.
fn is_of_container(name: &str, value: &OsString) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else { return false };
    let is_url = value.to_string_lossy().contains("://");
    rest.starts_with("SERVICE_") || rest.starts_with("PORT_") || (rest == "PORT" && is_url)
}
