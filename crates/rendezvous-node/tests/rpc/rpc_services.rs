//! What is offered, and the changes to it.

use rendezvous_node::rpc::{
    ApplicationError, CallError, Context, MethodKind, NAME_BYTES_MAX, RegisterError, ServerConfig, Service, Services,
};

use crate::support::{Probe, args, arith, arith_with, remote, services_with};

async fn nothing(_: Context, _: ()) -> Result<(), ApplicationError> {
    Ok(())
}

#[tokio::test]
async fn a_name_is_registered_once() {
    let services = services_with(arith());
    assert_eq!(services.register(arith()), Err(RegisterError::DuplicateService { service: "Arith".into() }));
    assert!(services.unregister("Arith"));
    assert!(!services.unregister("Arith"));
    assert_eq!(services.register(arith()), Ok(()));
}

#[tokio::test]
async fn names_that_cannot_be_used_are_refused() {
    let services = Services::new(ServerConfig::default());
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    for service in [Service::new(""), Service::new(&long), Service::new("S").unary(&long, nothing)] {
        assert!(matches!(services.register(service), Err(RegisterError::Name { .. })));
    }
    let twice = Service::new("S").unary("m", nothing).unary("m", nothing);
    let error = RegisterError::DuplicateMethod { service: "S".into(), method: "m".into() };
    assert_eq!(services.register(twice), Err(error));
    assert!(services.list().is_empty());
    let longest = "x".repeat(NAME_BYTES_MAX);
    assert_eq!(services.register(Service::new(&longest).unary(&longest, nothing)), Ok(()));
    let (rpc, peer) = remote(&services);
    assert!(rpc.call::<_, ()>(peer, &longest, &longest, &()).await.is_ok());
}

#[tokio::test]
async fn what_is_offered_is_listed_in_order() {
    let services = services_with(Service::new("B").unary("z", nothing).unary("a", nothing));
    services.register(Service::new("A")).unwrap();
    let list = services.list();
    let names: Vec<_> = list.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["A", "B"]);
    assert_eq!(list[1].methods, [("a".into(), MethodKind::Unary), ("z".into(), MethodKind::Unary)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_offered_is_not_called_and_goes_on_where_it_is() {
    let probe = Probe::default();
    let services = services_with(arith_with(probe.clone()));
    let (rpc, peer) = remote(&services);
    let running = rpc.go::<_, ()>(peer, "Arith", "Sleep", &5);
    probe.begun.notified().await;
    services.unregister("Arith");
    let error = rpc.call::<_, i64>(peer, "Arith", "Multiply", &args(2, 3)).await.unwrap_err();
    assert!(matches!(error, CallError::NoService));
    assert!(running.await.is_ok());
}
