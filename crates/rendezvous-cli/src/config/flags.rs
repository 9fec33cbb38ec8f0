//! The flags of `serve` that stand for settings. They follow from the table, and not from a structure of their own, so
//! that a setting cannot be without its flag or have another meaning there.

use std::ffi::OsString;

use clap::{
    Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, ValueHint,
    builder::{OsStringValueParser, TypedValueParser},
};

use super::{
    Config,
    error::{ConfigError, Source},
    field::{Given, Shape},
    setting::{Flag, Setting},
    settings::Settings,
    table::SETTINGS,
};
use crate::args::LAST;

/// What `--help` calls the tables.
pub(super) const HEADINGS: [(&str, &str); 12] = [
    ("statistics", "Statistics"),
    ("ttl", "Lifetimes"),
    ("registrations", "Registrations"),
    ("records", "Records"),
    ("page", "Pages"),
    ("rate", "Rates"),
    ("work", "Processor time of requests"),
    ("discover", "Access"),
    ("streams", "Streams"),
    ("store", "Store"),
    ("connections", "Connections"),
    ("transport", "Transport"),
];

/// Tables whose flags `-h` shows; `--help` shows all.
const SHORT: [&str; 3] = ["", "statistics", "ttl"];

/// The flags given: which setting, and the words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags(Vec<(usize, Vec<OsString>)>);

impl Flags {
    /// Sets what they say.
    pub(super) fn apply(&self, config: &mut Config) -> Result<(), ConfigError> {
        for (index, words) in &self.0 {
            let Some(Flag { name, .. }) = SETTINGS.get(*index).and_then(|setting| setting.flag) else { continue };
            let set = config.set(*index, Given::Words(words), Source::Flag(name));
            set.map_err(|invalid| ConfigError::InvalidFlag { name, invalid: invalid.into() })?;
        }
        Ok(())
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = SETTINGS.iter().enumerate().filter(|(_, setting)| setting.flag.is_some());
        let given = given.filter_map(|(index, setting)| {
            let words = matches.get_many::<OsString>(setting.key)?;
            Some((index, words.cloned().collect()))
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let defaults = Settings::default();
        SETTINGS.iter().fold(command, |command, setting| match setting.flag {
            Some(flag) => command.arg(arg(setting, flag, &defaults)),
            None => command,
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn arg(setting: &'static Setting<Settings>, flag: Flag, defaults: &Settings) -> Arg {
    let check = |word: OsString| match setting.set(&mut Settings::default(), Given::Words(std::slice::from_ref(&word)))
    {
        Ok(()) => Ok(word),
        Err(invalid) => Err(invalid.advice()),
    };
    let table = setting.key.split_once('.').map_or("", |(table, _)| table);
    let mut arg = Arg::new(setting.key)
        .long(flag.name)
        .value_name(flag.value)
        .help(help(setting, defaults))
        .value_parser(OsStringValueParser::new().try_map(check))
        .hide_short_help(!SHORT.contains(&table));
    if let Some((_, heading)) = HEADINGS.iter().find(|(name, _)| *name == table) {
        arg = arg.help_heading(*heading);
    }
    if flag.name == "json" {
        arg = arg.display_order(LAST);
    }
    arg = match flag.value {
        "FILE" => arg.value_hint(ValueHint::FilePath),
        "DIR" => arg.value_hint(ValueHint::DirPath),
        _ => arg,
    };
    match setting.shape(defaults) {
        Shape::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Shape::One => arg.action(ArgAction::Set),
        Shape::Many => arg.action(ArgAction::Append),
    }
}

/// The help, with the default where it is not in it.
fn help(setting: &Setting<Settings>, defaults: &Settings) -> String {
    use serde_json::Value as Json;
    let shown = match setting.value(defaults) {
        Json::Number(number) => number.to_string(),
        Json::String(text) => text,
        Json::Array(list) => list.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(","),
        Json::Null | Json::Bool(_) | Json::Object(_) => String::new(),
    };
    match shown.is_empty() || setting.help.contains("[default:") {
        true => setting.help.to_owned(),
        false => format!("{} [default: {shown}]", setting.help),
    }
}
