//! Being registered with points: what the commands that register share.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use libp2p::{Multiaddr, PeerId};
use rendezvous_core::Time;
use rendezvous_swarm::{
    RecordKind,
    client::{self, ClientConfig, Failure, Namespace, RegistrationId, Ttl},
};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use crate::{
    address, args,
    error::Error,
    listing::is_false,
    node::Change,
    output::{self, Output, printable},
    session::{Event, Session},
};

/// Longest time for the withdrawal after a Ctrl-C.
const UNREGISTER_MAX: Duration = Duration::from_secs(3);

/// Time after which it is told what the withdrawal waits for.
const UNREGISTER_QUIET: Duration = Duration::from_secs(1);

/// What `--json` prints, an object per event.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Told<'a> {
    Registered {
        namespace: &'a str,
        point: String,
        ttl: u64,
        addresses: Vec<String>,
        #[serde(skip_serializing_if = "is_false")]
        unverified: bool,
    },
    Renewed {
        namespace: &'a str,
        point: String,
        ttl: u64,
    },
    Failed {
        namespace: &'a str,
        point: String,
        error: String,
        retry_secs: Option<u64>,
    },
    Lapsed {
        namespace: &'a str,
        point: String,
    },
    Unregistered {
        namespace: &'a str,
        point: String,
    },
}

/// How a command registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stay {
    /// Refreshed for as long as the command runs.
    Refreshed,
    /// Left to lapse while the command runs.
    Unrefreshed,
    /// Beyond the command's end.
    Once,
}

/// A registration that is kept, and its telling.
pub(crate) struct Keeper {
    pub(crate) session: Session,
    pub(crate) output: Output,
    pub(crate) namespace: Namespace,
    pub(crate) id: RegistrationId,
    /// Whether the addresses that are listened on are those that are advertised.
    follows_listeners: bool,
    /// How it stands with each point that is of use.
    points: BTreeMap<PeerId, State>,
    stay: Stay,
}

/// How it stands with a point.
#[derive(Debug, Default)]
struct State {
    /// Kind of the first record that was granted. At a point that keeps both flavours, the other one is not worth a line.
    kind: Option<RecordKind>,
    /// When that was granted last, and for how long.
    granted: Option<(Instant, Ttl)>,
}

impl Keeper {
    /// Starts to register with the points.
    pub(crate) async fn start(
        client: &args::Client,
        registration: args::Registration,
        stay: Stay,
        config: ClientConfig,
        output: Output,
    ) -> Result<Self, Error> {
        let config = ClientConfig { refreshes: stay != Stay::Unrefreshed, ..config };
        let (mut session, key) = Session::start_with(client, config)?;
        let args::Registration { namespace, address, ttl } = registration;
        let own = key.keypair.public().to_peer_id();
        if let Some(address) = address.iter().find(|address| address.peer().is_some_and(|peer| peer != own)) {
            return Err(Error::ForeignAddress { address: address.clone(), own });
        }
        let mut addresses: Vec<Multiaddr> = address.iter().map(|address| address.0.clone()).collect();
        let follows_listeners = addresses.is_empty();
        if follows_listeners {
            session.listen().await?;
            addresses = advertised(session.listen_addresses(), session.is_loopback());
            if addresses.is_empty() {
                return Err(Error::NoAddresses);
            }
            say_listening(&addresses, stay == Stay::Once);
        }
        let points = session.points();
        session.rendezvous().set_addresses(Some(addresses));
        let ttl = Some(Ttl::from_secs(ttl));
        let id = session.rendezvous().register(namespace.clone(), points.clone(), ttl);
        let points = points.into_iter().map(|point| (point, State::default())).collect();
        Ok(Self { session, output, namespace, id, follows_listeners, points, stay })
    }

    /// Whether a point has granted the registration, in this run and since it is known to have forgotten it.
    pub(crate) fn is_granted(&self, point: &PeerId) -> bool {
        self.points.get(point).is_some_and(|state| state.kind.is_some())
    }

    /// Kind of a record that was granted: a signed one, if there is one.
    pub(crate) fn kind(&self) -> Option<RecordKind> {
        self.points.values().filter_map(|state| state.kind).min()
    }

    /// Whether the registration stands at a point, as far as the point's grants tell.
    pub(crate) fn is_registered(&mut self, point: &PeerId) -> bool {
        self.session.rendezvous().is_registered(self.id, point)
    }

    /// What is left of the longest lifetime that was granted.
    pub(crate) fn ttl_left(&self) -> Ttl {
        let granted = self.points.values().filter_map(|state| state.granted);
        let left = granted.map(|(at, ttl)| ttl.as_secs().saturating_sub(at.elapsed().as_secs()));
        Ttl::from_secs(left.max().unwrap_or(0))
    }

    /// Registers again at a point that has forgotten this peer.
    pub(crate) fn register_again(&mut self, point: &PeerId) {
        if let Some(state) = self.points.get_mut(point) {
            state.kind = None;
        }
        self.session.rendezvous().register_again_at(self.id, point);
    }

    pub(crate) fn on_event(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Rendezvous(client::Event::Registered { point, kind, ttl, .. }) => {
                self.on_registered(&point, kind, ttl)?;
            }
            Event::Rendezvous(client::Event::RegisterFailed { point, failure, retry_at, .. }) => {
                self.on_failed(point, failure, retry_at)?;
            }
            Event::Rendezvous(client::Event::Lapsed { point, kind, .. })
                if self.points.get(&point).is_some_and(|state| state.kind == Some(kind)) =>
            {
                let place = self.session.place(&point);
                match self.stay {
                    Stay::Unrefreshed => {
                        output::note(format_args!("the registration{place} has ended, and --no-refresh leaves it so"));
                    }
                    Stay::Refreshed | Stay::Once => output::note(format_args!(
                        "the registration{place} has ended without a renewal; it is tried on"
                    )),
                }
                self.tell_json(&point, |namespace, point| Told::Lapsed { namespace, point })?;
            }
            Event::Rendezvous(client::Event::AddressesLeftOut { addresses }) => {
                let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                output::note(format_args!("not all addresses fit a registration: without {}", list.join(", ")));
            }
            Event::Listening(change) if self.follows_listeners => {
                let addresses = advertised(self.session.listen_addresses(), self.session.is_loopback());
                match change {
                    Change::New(address) => output::note(format_args!("listening on {address} as well")),
                    Change::Gone(address) => output::note(format_args!("no longer listening on {address}")),
                }
                self.session.rendezvous().set_addresses(Some(addresses));
            }
            _ => {}
        }
        self.output.flush()
    }

    fn on_registered(&mut self, peer: &PeerId, kind: RecordKind, ttl: Ttl) -> Result<(), Error> {
        let Some(state) = self.points.get_mut(peer) else { return Ok(()) };
        let first = state.kind;
        if first.is_none_or(|first| first == kind) {
            state.kind = Some(kind);
            state.granted = Some((Instant::now(), ttl));
        }
        let (point, ttl) = (self.session.name(peer), ttl.as_secs());
        let namespace = self.namespace.as_str();
        tracing::debug!(namespace, point, %kind, ttl, "registered");
        if first.is_none() {
            let unverified = kind == RecordKind::Unsigned;
            let mark = if unverified { ", unverified: without a signature" } else { "" };
            let human = format!("registered: {} at {point} for {ttl} s{mark}", printable(namespace));
            let addresses = self.session.rendezvous().addresses().iter().map(ToString::to_string).collect();
            self.output.result(human, &Told::Registered { namespace, point, ttl, addresses, unverified })?;
        } else if first == Some(kind) {
            self.tell_json(peer, |namespace, point| Told::Renewed { namespace, point, ttl })?;
        }
        self.output.flush()
    }

    /// A point has refused, or cannot be reached. One that is of no use from the start is left; the last such ends the
    /// command.
    fn on_failed(&mut self, point: PeerId, failure: Failure, retry_at: Option<Time>) -> Result<(), Error> {
        let error = self.session.error(&point, failure);
        let Some(state) = self.points.get(&point) else { return Ok(()) };
        let now = self.session.rendezvous().now();
        let mut retry_secs = retry_at.map(|at| at.saturating_since(now).as_secs());
        if state.granted.is_none() && error.is_permanent() || retry_at.is_none() {
            self.points.remove(&point);
            if self.points.is_empty() {
                return Err(error);
            }
            self.session.rendezvous().remove_registration_point(self.id, &point);
            output::note(format_args!("{}; it is left", self.session.remark(&point, &error)));
            retry_secs = None;
        } else if let Some(secs) = retry_secs {
            output::note(format_args!("{} (next try in {secs} s)", self.session.remark(&point, &error)));
        }
        let error = error.to_string();
        self.tell_json(&point, |namespace, point| Told::Failed { namespace, point, error, retry_secs })
    }

    /// Withdraws the registration. Points that cannot be told do not hold the exit.
    pub(crate) async fn leave(mut self) -> Result<(), Error> {
        self.session.rendezvous().shutdown();
        let deadline = Instant::now() + UNREGISTER_MAX;
        let mut until = Instant::now() + UNREGISTER_QUIET;
        let mut waiting: BTreeSet<PeerId> = self.points.keys().copied().collect();
        while !self.session.rendezvous().is_drained() && !waiting.is_empty() {
            match timeout_at(until, self.session.next()).await {
                Ok(event) => {
                    if let Event::Rendezvous(client::Event::Unregistered { point, failure: None, .. }) = event?
                        && waiting.remove(&point)
                        && self.is_granted(&point)
                    {
                        let (namespace, point) = (self.namespace.as_str(), self.session.name(&point));
                        let human = format!("unregistered: {} at {point}", printable(namespace));
                        self.output.result(human, &Told::Unregistered { namespace, point })?;
                        self.output.flush()?;
                    }
                }
                Err(_) if until == deadline => break,
                Err(_) => {
                    output::note("waiting for the point; a second Ctrl-C ends this at once");
                    until = deadline;
                }
            }
        }
        for point in waiting.iter().filter(|point| self.is_granted(point)) {
            let name = self.session.name(point);
            output::note(format_args!(
                "the point at {name} could not be told: it lists the registration until its lifetime ends"
            ));
        }
        Ok(())
    }

    /// Tells what people are told elsewhere, or not at all.
    fn tell_json<'a>(
        &'a mut self,
        point: &PeerId,
        told: impl FnOnce(&'a str, String) -> Told<'a>,
    ) -> Result<(), Error> {
        let told = told(self.namespace.as_str(), self.session.name(point));
        self.output.json(&told)
    }
}

/// The addresses to advertise of those that are listened on: what others can reach. Loopback is for a point that is on
/// this machine itself, and for machines that have nothing else.
fn advertised(mut addresses: Vec<Multiaddr>, point_is_loopback: bool) -> Vec<Multiaddr> {
    addresses.retain(|address| !address::is_link_local(address));
    // The most useful ones come first.
    addresses.sort_by_key(address::is_loopback);
    if !point_is_loopback && addresses.iter().any(|address| !address::is_loopback(address)) {
        addresses.retain(|address| !address::is_loopback(address));
    }
    addresses
}

fn say_listening(addresses: &[Multiaddr], is_once: bool) {
    let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    output::note(format_args!("no --address: advertising what this command listens on, {}", list.join(", ")));
    if is_once {
        output::note("nobody listens there when this command has ended: name a lasting address with --address");
    }
    if addresses.iter().all(address::is_loopback) {
        output::note("these are addresses of this machine alone: others cannot reach them");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_advertised_to_a_point_on_this_machine_or_for_want_of_another() {
        let parse = |text: &str| -> Multiaddr { text.parse().expect("it is a multiaddr") };
        let [loopback, lan, link] = ["/ip4/127.0.0.1/tcp/1", "/ip4/192.0.2.1/tcp/1", "/ip6/fe80::1/tcp/1"].map(parse);
        let all = vec![loopback.clone(), lan.clone(), link];
        assert_eq!(advertised(all.clone(), true), [lan.clone(), loopback.clone()]);
        assert_eq!(advertised(all, false), [lan]);
        assert_eq!(advertised(vec![loopback.clone()], false), [loopback]);
        assert!(advertised(Vec::new(), true).is_empty());
    }
}
