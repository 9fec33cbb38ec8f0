//! A point whose disk is full, and then is not: no call by which it would write goes through in between.

#![cfg(target_os = "linux")]

mod common;

use std::{fs, path::Path, process::Command};

use common::{Ended, Running, fresh, fresh_key, program, run};

/// `ENOSPC` of Linux.
const NO_SPACE: &str = "28";

#[test]
fn a_full_disk_refuses_registrations_alone_and_the_point_recovers_by_itself() {
    let place = fresh("full-disk").canonicalize().expect("it is there");
    let (data, is_full, library) = (place.join("data"), place.join("is-full"), place.join("faults.so"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rendezvous-store/tests/faults.c");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
    assert!(built.expect("there is a C compiler").success());
    let mut command = program();
    command.args(["serve", "--listen", "/ip4/127.0.0.1/tcp/0", "--data-dir"]).arg(&data);
    command.env("LD_PRELOAD", &library).env("FAULTS_BELOW", data.join("store")).env("FAULTS_WHILE", &is_full);
    let point = Running::spawn(command.env("FAULTS_MODE", "fail").env("FAULTS_ERRNO", NO_SPACE));
    let address = point.line_with("listening: ")["listening: ".len()..].to_owned();
    point.line_with("try: ");
    let key = fresh_key("full-disk");
    let register = |key: &str| run(&["register", "--once", "--point", &address, "--key", key]);
    let listed = || {
        let found = run(&["discover", "--point", &address, "--json"]);
        found.succeeded().stdout.len()
    };

    register(&key).succeeded();
    assert_eq!(listed(), 1);
    fs::write(&is_full, "").expect("it can be written");
    for key in [fresh_key("full-disk-newcomer"), key.clone()] {
        let refused: Ended = register(&key);
        assert_eq!(refused.code, Some(3), "{refused:?}");
        let line = refused.stderr.last().expect("an error");
        assert!(
            line.contains("E_INTERNAL_ERROR (300): the rendezvous point could not store the registration"),
            "{line}"
        );
        assert_eq!(listed(), 1);
    }
    let told = point.note_with("registrations are refused");
    assert!(told.contains("no space is left on the store's disk; those that are there are served"), "{told}");

    fs::remove_file(&is_full).expect("it is there");
    // It is tried again at the next registration, at most once a second.
    let newcomer = fresh_key("full-disk-later");
    assert!((0..1_000).any(|_| register(&newcomer).code == Some(0)));
    point.note_with("the store works again");
    assert_eq!(listed(), 2);

    // And what was acknowledged is there after the end.
    point.signal("TERM");
    point.ended().succeeded();
    let checked = run(&["store", "check", data.to_str().expect("UTF-8")]);
    assert!(checked.succeeded().stdout[0].starts_with("sound: 2 registrations"), "{checked:?}");
}
