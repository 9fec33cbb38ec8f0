//! The table of attacks.

mod floods;
mod held;
mod memory;
mod places;
mod registry;

use std::{future::Future, pin::Pin, time::Duration};

use crate::{
    arena::{Arena, Carrier},
    point::{Options, Stdout},
};

/// What an attack is as long as it runs.
pub type Running = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// An attack from strangers' sockets.
#[derive(Clone, Copy)]
pub struct Attack {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// What can carry it.
    pub carriers: &'static [Carrier],
    /// Prefixes of the short form.
    pub prefixes: u32,
    /// Seconds of the short form.
    pub secs: u64,
    /// How the point is started.
    pub options: Options,
    /// The attack itself.
    pub run: fn(Arena) -> Running,
}

/// A point at its default settings.
const DEFAULT: Options =
    Options { stdout: Stdout::Read, descriptors: None, scaled: None, disk_mib: None, prints_much: false };

impl Attack {
    const fn new(name: &'static str, about: &'static str, run: fn(Arena) -> Running) -> Self {
        Self { name, about, carriers: &[Carrier::Tcp], prefixes: 16, secs: 2, options: DEFAULT, run }
    }

    const fn both(mut self) -> Self {
        self.carriers = &[Carrier::Tcp, Carrier::Quic];
        self
    }

    const fn over_quic(mut self) -> Self {
        self.carriers = &[Carrier::Quic];
        self
    }

    const fn from(mut self, prefixes: u32) -> Self {
        self.prefixes = prefixes;
        self
    }

    const fn lasting(mut self, secs: u64) -> Self {
        self.secs = secs;
        self
    }

    const fn with(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Time of the attack.
    #[must_use]
    pub const fn duration(&self, is_long: bool) -> Duration {
        Duration::from_secs(if is_long { 3 * self.secs } else { self.secs })
    }
}

/// A pinned future of an attack.
fn running(attack: impl Future<Output = anyhow::Result<()>> + Send + 'static) -> Running {
    Box::pin(attack)
}

/// All attacks, the most damaging first.
#[must_use]
pub fn all() -> Vec<Attack> {
    [memory::ATTACKS, places::ATTACKS, floods::ATTACKS, registry::ATTACKS, held::ATTACKS].concat()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn each_attack_has_a_name_of_its_own_and_says_what_it_does() {
        let attacks = super::all();
        let names: HashSet<&str> = attacks.iter().map(|attack| attack.name).collect();
        assert_eq!(names.len(), attacks.len());
        for attack in attacks {
            assert!(attack.name.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c.is_ascii_digit()));
            assert!(!attack.about.is_empty() && !attack.carriers.is_empty() && attack.prefixes > 0 && attack.secs > 0);
        }
    }
}
