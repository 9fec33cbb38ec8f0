//! The services of a peer.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    sync::{Arc, PoisonError, RwLock},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p_identity::PeerId;
use tokio_util::sync::CancellationToken;

use super::{
    config::{NAME_BYTES_MAX, ServerConfig},
    pipe::Pipe,
    service::{Method, MethodKind, Service},
    session::{Origin, Session},
    slots::Slots,
    status::Failure,
};

/// The services that a peer offers, and the rules by which calls to them are served. Clones are of the same services.
///
/// ```
/// use rendezvous_node::rpc::{ApplicationError, Context, RegisterError, ServerConfig, Service, Services};
///
/// let services = Services::new(ServerConfig::default());
/// let echo = Service::new("Echo")
///     .unary("Echo", async |_: Context, text: String| Ok::<String, ApplicationError>(text));
/// services.register(echo.clone())?;
/// assert_eq!(services.register(echo), Err(RegisterError::DuplicateService { service: "Echo".into() }));
/// assert!(services.unregister("Echo"));
/// # Ok::<(), RegisterError>(())
/// ```
#[derive(Clone)]
pub struct Services {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) config: ServerConfig,
    services: RwLock<BTreeMap<String, Service>>,
    policy: RwLock<Option<Policy>>,
    pub(super) slots: Arc<Slots>,
    pub(super) closed: CancellationToken,
}

type Policy = Arc<dyn Fn(PeerId, &str, &str) -> bool + Send + Sync>;

impl Services {
    /// No services yet.
    #[must_use]
    pub fn new(config: ServerConfig) -> Self {
        let config = config.bounded();
        let slots = Arc::new(Slots::new(config.calls_per_peer_max, config.calls_max));
        let (services, policy, closed) = Default::default();
        Self { shared: Arc::new(Shared { config, services, policy, slots, closed }) }
    }

    /// Offers a service from now on.
    ///
    /// # Errors
    /// [`RegisterError`] if there is a service of this name, or if the names in it cannot be used.
    pub fn register(&self, service: Service) -> Result<(), RegisterError> {
        if let Some(method) = service.duplicate {
            return Err(RegisterError::DuplicateMethod { service: service.name, method });
        }
        let is_usable = |name: &String| (1..=NAME_BYTES_MAX).contains(&name.len());
        if let Some(name) = [&service.name].into_iter().chain(service.methods.keys()).find(|&name| !is_usable(name)) {
            return Err(RegisterError::Name { name: name.clone() });
        }
        let mut services = self.shared.services.write().unwrap_or_else(PoisonError::into_inner);
        if services.contains_key(&service.name) {
            return Err(RegisterError::DuplicateService { service: service.name });
        }
        services.insert(service.name.clone(), service);
        Ok(())
    }

    /// Offers a service no longer; whether there was one. Calls that are under way go on.
    pub fn unregister(&self, service: &str) -> bool {
        let removed = self.shared.services.write().unwrap_or_else(PoisonError::into_inner).remove(service);
        // Dropped outside the lock: a method may own anything.
        removed.is_some()
    }

    /// What is offered, in the order of the names.
    #[must_use]
    pub fn list(&self) -> Vec<ServiceInfo> {
        let services = self.shared.services.read().unwrap_or_else(PoisonError::into_inner);
        let method = |(name, method): (&String, &Method)| (name.clone(), method.kind);
        let info = |service: &Service| ServiceInfo {
            name: service.name.clone(),
            methods: service.methods.iter().map(method).collect(),
        };
        services.values().map(info).collect()
    }

    /// From now on, a call of another peer is served if the policy says so: it is given the caller, the service and the
    /// method. Without a policy every call is served.
    ///
    /// It is asked before the names are looked up, so that who may not call does not learn what there is. It is not asked
    /// for the calls of this peer to itself. It must not block.
    pub fn set_authorization(&self, policy: impl Fn(PeerId, &str, &str) -> bool + Send + Sync + 'static) {
        self.replace_policy(Some(Arc::new(policy)));
    }

    /// From now on, every call is served.
    pub fn clear_authorization(&self) {
        self.replace_policy(None);
    }

    fn replace_policy(&self, policy: Option<Policy>) {
        let mut current = self.shared.policy.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *current, policy);
        drop(current);
        // Behind the lock: what it holds may call this as it is dropped.
        drop(old);
    }

    /// Cancels the calls that are under way and those that come: their callers are told
    /// [`Cancelled`](super::CallError::Cancelled).
    pub fn close(&self) {
        self.shared.closed.cancel();
    }

    /// Calls that are served at the moment.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.shared.slots.taken()
    }

    /// Serves the call that arrives on a stream of [`PROTOCOL`](super::PROTOCOL), to be spawned by whoever has accepted the
    /// stream. `caller` is the authenticated peer at its other end.
    ///
    /// Ends when the call has; no read and no write in it waits for ever. Dropping it drops the call. It needs the
    /// timers of tokio.
    pub fn serve<S>(&self, caller: PeerId, stream: S) -> impl Future<Output = ()> + Send + 'static + use<S>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.serve_from(Origin::Network(caller), Pipe::new(stream))
    }

    pub(super) fn serve_from(&self, origin: Origin, pipe: Pipe) -> impl Future<Output = ()> + Send + 'static + use<> {
        Session::new(self.shared.clone(), origin).serve(pipe)
    }
}

impl Shared {
    /// Finds what is to be called, if this caller may call it.
    pub(super) fn resolve(&self, origin: Origin, service: &str, method: &str) -> Result<Method, Failure> {
        if let Origin::Network(caller) = origin {
            let policy = self.policy.read().unwrap_or_else(PoisonError::into_inner).clone();
            if policy.is_some_and(|policy| !policy(caller, service, method)) {
                return Err(Failure::NotAuthorized);
            }
        }
        let services = self.services.read().unwrap_or_else(PoisonError::into_inner);
        let service = services.get(service).ok_or(Failure::NoService)?;
        service.methods.get(method).cloned().ok_or(Failure::NoMethod)
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").field("list", &self.list()).field("calls", &self.calls()).finish_non_exhaustive()
    }
}

/// A service that is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceInfo {
    /// Its name.
    pub name: String,
    /// Its methods, in the order of their names.
    pub methods: Vec<(String, MethodKind)>,
}

/// Why a service is not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// There is a service of this name.
    #[error("service {service} is registered already")]
    DuplicateService {
        /// The name.
        service: String,
    },
    /// Two methods of the service have this name.
    #[error("service {service} has two methods {method}")]
    DuplicateMethod {
        /// The service.
        service: String,
        /// The name.
        method: String,
    },
    /// The name is empty, or longer than [`NAME_BYTES_MAX`].
    #[error("a name has 1 to {NAME_BYTES_MAX} bytes: {name:?}")]
    Name {
        /// The name.
        name: String,
    },
}
