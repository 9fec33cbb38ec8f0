//! What `--check-config` prints: the settings in force, and where each comes from.
//!
//! For people it is a configuration file itself, with the sources as comments.

use serde::Serialize;
use serde_json::Value as Json;

use super::{Config, table::SETTINGS};
use crate::{
    descriptors,
    error::Error,
    output::{Output, printable},
};

/// What `--json` prints for a setting, or for a policy.
#[derive(Debug, Serialize)]
struct Line<'a> {
    setting: &'a str,
    value: Json,
    source: String,
    /// The value that holds in its place, where the limit of descriptors is too low for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_force: Option<usize>,
}

impl Config {
    /// Prints the settings, a line each.
    pub(crate) fn print(&self, output: &mut Output) -> Result<(), Error> {
        let lowered = self.lowered(descriptors::attainable());
        for (setting, source) in SETTINGS.iter().zip(&self.sources) {
            let (value, source) = (setting.value(&self.settings), source.to_string());
            let in_force = lowered.filter(|_| setting.key == descriptors::SETTING);
            let note = in_force.map(|lowered| format!("{source}; in force: {lowered}"));
            let in_force = in_force.map(|lowered| lowered.connections);
            let human = match &value {
                Json::Null => format!("# {} is not set", setting.key),
                value => with_source(setting.key, value, note.as_deref().unwrap_or(&source)),
            };
            output.result(human, &Line { setting: setting.key, value, source, in_force })?;
        }
        for written in &self.policies {
            let source = written.at.to_string();
            let mut lines = vec![format!("[[policy]]  # {}", printable(&source))];
            lines.extend(written.parts().map(|(key, value, source)| with_source(key, &value, &source.to_string())));
            let value = written.parts().map(|(key, value, _)| (key.to_owned(), value)).collect();
            output.result(lines.join("\n"), &Line { setting: "policy", value, source, in_force: None })?;
        }
        output.flush()
    }
}

fn with_source(key: &str, value: &Json, source: &str) -> String {
    format!("{key} = {value}  # {}", printable(source))
}
