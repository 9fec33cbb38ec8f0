//! `rendezvous inspect`: what bytes say, field by field, and whether they verify.

mod input;
mod meaning;
mod proto;
mod recognise;
mod schema;
mod verdict;

use std::fmt;

pub(crate) use self::input::InputError;
use self::{
    recognise::{Item, ItemKind},
    schema::Node,
};
use crate::{
    args,
    error::Error,
    output::{Output, printable},
};

pub(crate) fn run(args: &args::Inspect) -> Result<(), Error> {
    let mut output = Output::new(args.json);
    let bytes = input::read(args.bytes.as_deref())?;
    if bytes.is_empty() {
        return Err(InputError::Empty.into());
    }
    let items = recognise::recognise(&bytes);
    if items.is_empty() {
        return Err(Error::NotRecognised { bytes: bytes.len() });
    }
    for item in &items {
        output.result(item, item)?;
    }
    output.flush()?;
    match items.into_iter().find_map(|item| item.fault) {
        Some(fault) => Err(Error::NotValid { offset: fault.offset, reason: fault.reason }),
        None => Ok(()),
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ItemKind::Frame => "frame",
            ItemKind::Message => "message without its frame",
            ItemKind::Envelope => "signed envelope",
            ItemKind::PeerRecord => "peer record, not signed",
        };
        write!(f, "{kind} at byte {}, {} bytes", self.offset, self.length)?;
        if let Some(message_type) = &self.message_type {
            write!(f, ": {message_type}")?;
            if let Some(dialect) = self.dialect {
                write!(f, ", {dialect} dialect")?;
            }
        }
        if let Some(envelope) = &self.envelope {
            write!(f, ": {}", printable(&envelope.say()))?;
        }
        for node in &self.fields {
            show(node, 1, f)?;
        }
        match &self.fault {
            Some(fault) if self.envelope.is_none() => {
                write!(f, "\nnot valid from byte {}: {}", fault.offset, printable(&fault.reason))
            }
            _ => Ok(()),
        }
    }
}

/// A field on a line of its own, with those in it below: where it stands, its number and name, its length, its meaning.
fn show(node: &Node, depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let name = node.name.unwrap_or("(unknown)");
    write!(f, "\n{:>6}  {:indent$}{} {name}", node.offset, "", node.number, indent = 2 * (depth - 1))?;
    if let Some(length) = node.length {
        write!(f, ", {length} bytes")?;
    }
    let envelope = node.envelope.as_ref().map(|envelope| format!("envelope, {}", envelope.say()));
    if let Some(value) = node.value.as_ref().or(envelope.as_ref()) {
        write!(f, ": {}", printable(value))?;
    }
    node.fields.iter().try_for_each(|node| show(node, depth + 1, f))
}
