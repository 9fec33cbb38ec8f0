//! Services: methods under a name.

use std::{collections::BTreeMap, fmt, future::Future, sync::Arc};

use futures::{FutureExt as _, future::BoxFuture};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{select, sync::oneshot};

use super::{
    context::Context,
    error::ApplicationError,
    flow::{self, Fault, Incoming, Input, Outgoing, Output},
    status::Failure,
};

/// How many items a method takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MethodKind {
    /// One, and one.
    Unary,
    /// One, and any number.
    ServerStreaming,
    /// Any number, and one.
    ClientStreaming,
    /// Any number, and any number.
    Bidirectional,
}

/// A method with its types forgotten.
pub(super) type Run = Arc<dyn Fn(Context, Input, Output) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync>;

#[derive(Clone)]
pub(super) struct Method {
    pub(super) kind: MethodKind,
    pub(super) run: Run,
}

/// Methods under a name, to be registered with [`Services`](super::Services).
///
/// A method is a closure that takes a [`Context`] and its argument, and returns a future. Its error is any type that converts
/// into [`ApplicationError`]. The future is dropped when the call is cancelled or its time is over.
///
/// ```
/// use rendezvous_node::rpc::{ApplicationError, Context, Incoming, Outgoing, Service};
///
/// let arith = Service::new("Arith")
///     .unary("Divide", async |_: Context, (a, b): (u64, u64)| {
///         a.checked_div(b).ok_or(ApplicationError::new(1, "division by zero"))
///     })
///     .server_streaming("CountTo", async |_: Context, end: u64, mut answer: Outgoing<u64>| {
///         for number in 0..end {
///             answer.send(number).await?;
///         }
///         Ok::<(), ApplicationError>(())
///     })
///     .client_streaming("Sum", async |_: Context, mut numbers: Incoming<u64>| {
///         let mut sum = 0_u64;
///         while let Some(number) = numbers.next().await {
///             sum = sum.wrapping_add(number);
///         }
///         Ok::<u64, ApplicationError>(sum)
///     })
///     .bidirectional("Double", async |_: Context, mut numbers: Incoming<u64>, mut answer: Outgoing<u64>| {
///         while let Some(number) = numbers.next().await {
///             answer.send(number.wrapping_mul(2)).await?;
///         }
///         Ok::<(), ApplicationError>(())
///     });
/// ```
#[derive(Clone)]
pub struct Service {
    pub(super) name: String,
    pub(super) methods: BTreeMap<String, Method>,
    /// A name that was given to two methods.
    pub(super) duplicate: Option<String>,
}

impl Service {
    /// A service without methods.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), methods: BTreeMap::new(), duplicate: None }
    }

    /// Adds a method that takes one item and gives one.
    #[must_use]
    pub fn unary<A, R, E, F, Fut>(self, name: impl Into<String>, method: F) -> Self
    where
        A: DeserializeOwned + Send,
        R: Serialize + Send,
        E: Into<ApplicationError>,
        F: Fn(Context, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send,
    {
        let method = Arc::new(method);
        self.add(name, MethodKind::Unary, move |context, input, output| {
            let method = method.clone();
            async move {
                let argument = flow::only(input).await?;
                let answer = method(context, argument).await.map_err(application)?;
                output.put(answer).await
            }
            .boxed()
        })
    }

    /// Adds a method that takes one item and gives any number.
    #[must_use]
    pub fn server_streaming<A, R, E, F, Fut>(self, name: impl Into<String>, method: F) -> Self
    where
        A: DeserializeOwned + Send,
        R: Serialize + Send,
        E: Into<ApplicationError>,
        F: Fn(Context, A, Outgoing<R>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send,
    {
        let method = Arc::new(method);
        self.add(name, MethodKind::ServerStreaming, move |context, input, output| {
            let method = method.clone();
            async move {
                let argument = flow::only(input).await?;
                let (outgoing, fault) = Outgoing::new(output);
                method(context, argument, outgoing).await.map_err(|error| passed_on(&fault, error))
            }
            .boxed()
        })
    }

    /// Adds a method that takes any number of items and gives one.
    #[must_use]
    pub fn client_streaming<A, R, E, F, Fut>(self, name: impl Into<String>, method: F) -> Self
    where
        A: DeserializeOwned + Send,
        R: Serialize + Send,
        E: Into<ApplicationError>,
        F: Fn(Context, Incoming<A>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send,
    {
        let method = Arc::new(method);
        self.add(name, MethodKind::ClientStreaming, move |context, input, output| {
            let method = method.clone();
            async move {
                let (incoming, broken) = Incoming::new(input, context.over.clone());
                let answering = async { method(context, incoming).await.map_err(application) };
                let answer = unless_broken(broken, answering).await?;
                output.put(answer).await
            }
            .boxed()
        })
    }

    /// Adds a method that takes any number of items and gives any number.
    #[must_use]
    pub fn bidirectional<A, R, E, F, Fut>(self, name: impl Into<String>, method: F) -> Self
    where
        A: DeserializeOwned + Send,
        R: Serialize + Send,
        E: Into<ApplicationError>,
        F: Fn(Context, Incoming<A>, Outgoing<R>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send,
    {
        let method = Arc::new(method);
        self.add(name, MethodKind::Bidirectional, move |context, input, output| {
            let method = method.clone();
            async move {
                let (incoming, broken) = Incoming::new(input, context.over.clone());
                let (outgoing, fault) = Outgoing::new(output);
                let answering =
                    async { method(context, incoming, outgoing).await.map_err(|error| passed_on(&fault, error)) };
                unless_broken(broken, answering).await
            }
            .boxed()
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn add(
        mut self,
        name: impl Into<String>,
        kind: MethodKind,
        run: impl Fn(Context, Input, Output) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync + 'static,
    ) -> Self {
        let name = name.into();
        if self.methods.insert(name.clone(), Method { kind, run: Arc::new(run) }).is_some() {
            self.duplicate = Some(name);
        }
        self
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("name", &self.name).field("methods", &self.methods.keys()).finish()
    }
}

fn application(error: impl Into<ApplicationError>) -> Failure {
    Failure::Application(error.into())
}

/// The error of a method that may have got it from [`Outgoing::send`].
fn passed_on(fault: &Fault, error: impl Into<ApplicationError>) -> Failure {
    let fault = fault.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    fault.unwrap_or_else(|| application(error))
}

/// What the method returns, unless an item that it was to get cannot be read.
async fn unless_broken<R>(
    mut broken: oneshot::Receiver<Failure>,
    answering: impl Future<Output = Result<R, Failure>>,
) -> Result<R, Failure> {
    select! {
        biased;
        Ok(failure) = &mut broken => Err(failure),
        result = answering => result,
    }
}
