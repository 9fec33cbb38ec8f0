//! Commands on their way to a behaviour, bounded by what they are about: [`Commands`].

use std::collections::BTreeMap;

use rendezvous_wire::Namespace;

use super::Command;
use crate::source::Urgency;

/// What a command is about, and whether it is one that wants it or one that wants it no longer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Topic {
    is_request: bool,
    namespace: Option<Namespace>,
    is_wanted: bool,
}

impl Topic {
    /// `None` for the end of all.
    fn of(command: &Command) -> Option<Self> {
        let (is_request, namespace, is_wanted) = match command {
            Command::Advertise(namespace, _) => (false, Some(namespace.clone()), true),
            Command::Withdraw(namespace) => (false, Some(namespace.clone()), false),
            Command::Request(namespace, _) => (true, namespace.clone(), true),
            Command::Release(namespace) => (true, namespace.clone(), false),
            Command::End => return None,
        };
        Some(Self { is_request, namespace, is_wanted })
    }
}

/// Commands in order. One that repeats another takes its place, and one that undoes another waits instead of it, so that of each
/// name there wait two at most: that it is wanted no longer, and that it is wanted anew.
#[derive(Debug, Default)]
pub(super) struct Commands {
    order: BTreeMap<u64, Command>,
    places: BTreeMap<Topic, u64>,
    last: u64,
}

impl Commands {
    pub(super) fn push(&mut self, mut command: Command) {
        let Some(topic) = Topic::of(&command) else {
            *self = Self::default();
            return self.append(command);
        };
        let same = self.take(&topic);
        // The application's wish is not forgotten over what was due.
        if let (Some(Command::Request(_, Urgency::Now)), Command::Request(_, urgency)) = (same, &mut command) {
            *urgency = Urgency::Now;
        }
        if !topic.is_wanted {
            self.take(&Topic { is_wanted: true, ..topic.clone() });
        }
        self.places.insert(topic, self.last + 1);
        self.append(command);
    }

    pub(super) fn pop(&mut self) -> Option<Command> {
        let (_, command) = self.order.pop_first()?;
        if let Some(topic) = Topic::of(&command) {
            self.places.remove(&topic);
        }
        Some(command)
    }

    fn take(&mut self, topic: &Topic) -> Option<Command> {
        let place = self.places.remove(topic)?;
        self.order.remove(&place)
    }

    fn append(&mut self, command: Command) {
        self.last += 1;
        self.order.insert(self.last, command);
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    fn name() -> Namespace {
        Namespace::new("a").expect("it is a name")
    }

    fn advertise(ttl_secs: u64) -> Command {
        Command::Advertise(name(), Duration::from_secs(ttl_secs))
    }

    fn withdraw() -> Command {
        Command::Withdraw(name())
    }

    fn request(urgency: Urgency) -> Command {
        Command::Request(Some(name()), urgency)
    }

    fn release() -> Command {
        Command::Release(Some(name()))
    }

    fn popped(commands: impl IntoIterator<Item = Command>) -> Vec<Command> {
        let mut queue = Commands::default();
        commands.into_iter().for_each(|command| queue.push(command));
        let popped = std::iter::from_fn(|| queue.pop()).collect();
        assert!(queue.order.is_empty() && queue.places.is_empty());
        popped
    }

    #[test]
    fn what_was_wanted_last_is_told_last_whatever_waits() {
        assert_eq!(popped([advertise(1), withdraw(), advertise(1)]), [withdraw(), advertise(1)]);
        assert_eq!(popped([advertise(1), withdraw(), advertise(1), withdraw()]), [withdraw()]);
        let due = || request(Urgency::Due);
        assert_eq!(popped([due(), release(), due()]), [release(), due()]);
        assert_eq!(popped([due(), release(), due(), release()]), [release()]);
    }

    #[test]
    fn a_command_that_repeats_another_waits_once_and_an_urgent_one_stays_urgent() {
        assert_eq!(popped([advertise(1), release(), advertise(2)]), [release(), advertise(2)]);
        assert_eq!(popped([request(Urgency::Now), request(Urgency::Due)]), [request(Urgency::Now)]);
    }

    #[test]
    fn a_name_that_comes_and_goes_unread_leaves_two_commands_at_most() {
        let commands = (0..100).flat_map(|_| [advertise(1), request(Urgency::Due), withdraw(), release()]);
        assert_eq!(popped(commands.clone()), [withdraw(), release()]);
        assert_eq!(popped(commands.chain([Command::End])), [Command::End]);
    }
}
