//! The settings of `rendezvous serve`, set as an operator sets them.

mod common;

use std::fs;

use common::{Ended, Point, Running, fields, fresh, fresh_key, program, run, text};

/// A file with this text.
fn file(name: &str, text: &str) -> String {
    let path = fresh(&format!("config-{name}")).join("rendezvous.toml");
    fs::write(&path, text).expect("the target directory can be written");
    path.to_str().expect("the target directory is UTF-8").to_owned()
}

/// A command that registers once, with a key of its own if none is given.
fn register(point: &Point, key: Option<&str>, more: &[&str]) -> Ended {
    let new = fresh_key("config");
    let args = ["register", "--once", "--point", &point.address, "--address", "/ip4/192.0.2.1/tcp/1"];
    run(&[&args[..], &["--key", key.unwrap_or(&new)], more].concat())
}

/// The refusal with which a command ends; a note about a new key may stand before it.
#[track_caller]
fn refusal(ended: &Ended) -> &str {
    assert_eq!(ended.code, Some(3), "{ended:?}");
    ended.stderr.last().expect("an error").strip_prefix("error: the point refuses: ").expect("a refusal")
}

#[track_caller]
fn assert_refused(ended: &Ended, start: &str) {
    let refusal = refusal(ended);
    assert!(refusal.starts_with(start), "{refusal}");
}

#[test]
fn what_is_in_force_is_printed_with_where_it_comes_from() {
    let file = file("sources", "[ttl]\nmin_secs = 61\nmax_secs = 71\ndefault_secs = 65\n\n[[policy]]\nprefix = 'a'\n");
    let mut command = program();
    command.args(["serve", "--check-config", "--config", &file, "--max-ttl", "73"]);
    command.env("RENDEZVOUS_TTL_MAX_SECS", "72").env("RENDEZVOUS_TTL_MIN_SECS", "62");
    let ended = Running::spawn(&mut command).ended();
    let lines = &ended.succeeded().stdout;
    let expected = [
        "statistics.interval_secs = 10  # default".to_owned(),
        "ttl.min_secs = 62  # RENDEZVOUS_TTL_MIN_SECS".to_owned(),
        "ttl.max_secs = 73  # --max-ttl".to_owned(),
        format!("ttl.default_secs = 65  # {file}:4"),
        format!("[[policy]]  # {file}:6"),
        format!("prefix = \"a\"  # {file}:7"),
    ];
    for line in expected {
        assert!(lines.contains(&line), "{line}: {lines:?}");
    }
}

#[test]
fn what_is_printed_is_a_configuration_that_says_the_same() {
    let values = |lines: &[String]| -> Vec<String> {
        lines.iter().map(|line| line.split("  # ").next().expect("a value").to_owned()).collect()
    };
    let file = file("again", "[rate.per_peer]\nburst = 5\n[[policy]]\nnamespace = 'a'\nregister = 'nobody'\n");
    let first = run(&["serve", "--check-config", "--config", &file, "--min-ttl", "99"]);
    fs::write(&file, first.succeeded().stdout.join("\n")).expect("the target directory can be written");
    let second = run(&["serve", "--check-config", "--config", &file]);
    assert_eq!(values(&second.succeeded().stdout), values(&first.stdout));
    // What is not set follows from other settings, and is a comment.
    let is_said = |line: &String| {
        line.contains(&format!("  # {file}:"))
            || line == "discover = \"anyone\"  # default"
            || line == "# registrations.per_prefix_max is not set"
    };
    assert!(second.stdout.iter().all(is_said), "{:?}", second.stdout);
}

#[test]
fn json_has_an_object_for_each_setting_and_policy() {
    let file = file("json", "ttl.min_secs = 61\n[[policy]]\nprefix = 'a'\n");
    let ended = run(&["serve", "--check-config", "--json", "--config", &file]);
    let lines = &ended.succeeded().stdout;
    assert!(lines.iter().all(|line| fields(line) == ["setting", "source", "value"]), "{lines:?}");
    let line = lines.iter().find(|line| text(line, "setting") == "ttl.min_secs").expect("it is there");
    assert_eq!(*line, format!("{{\"setting\":\"ttl.min_secs\",\"value\":61,\"source\":\"{file}:1\"}}"));
    let policy: serde_json::Value = serde_json::from_str(lines.last().expect("a line")).expect("it is JSON");
    assert_eq!(policy["setting"], "policy");
    assert_eq!(policy["value"], serde_json::json!({ "prefix": "a", "register": "anyone", "discover": "anyone" }));
}

#[test]
fn a_check_starts_and_makes_nothing() {
    let home = fresh("config-nothing");
    let data = home.join("data");
    let data = data.to_str().expect("UTF-8");
    for more in [&[][..], &["--data-dir", data], &["--key", &format!("{data}/key")]] {
        let mut command = program();
        command.args(["serve", "--check-config"]).args(more).env("XDG_DATA_HOME", &home);
        Running::spawn(&mut command).ended().succeeded();
        assert_eq!(fs::read_dir(&home).expect("it is there").count(), 0);
    }
    // What is wrong is told before anything is made, too.
    let mut command = program();
    command.args(["serve", "--data-dir", data]).env("RENDEZVOUS_TTL_MIN_SECS", "0");
    Running::spawn(&mut command).ended().error(2);
    assert_eq!(fs::read_dir(&home).expect("it is there").count(), 0);
}

#[test]
fn what_is_wrong_is_one_line_and_status_2_with_and_without_check() {
    let cases = [
        ("[ttl]\nmin_sec = 5", ":2: there is no setting ttl.min_sec; the nearest is ttl.min_secs"),
        ("[ttl]\n\nmin_secs = 'x'", ":3: ttl.min_secs: expected a whole number from 1 to 259200, found \"x\""),
        ("ttl.max_secs = 259_201", ":1: ttl.max_secs: expected a whole number from 1 to 259200, found 259201"),
        ("\n[ttl", ":2: this is not TOML: "),
    ];
    for (text, part) in cases {
        let file = file("wrong", text);
        for more in [&["--check-config"][..], &[]] {
            let ended = run(&[&["serve", "--config", &file], more].concat());
            assert!(ended.error(2).contains(&format!("{file}{part}")), "{ended:?}");
        }
    }
    for (name, value) in [("RENDEZVOUS_TTL_MIN", "5"), ("RENDEZVOUS_TTL_MIN_SECS", "x")] {
        let ended = Running::spawn(program().args(["serve", "--check-config"]).env(name, value)).ended();
        assert!(ended.error(2).starts_with(&format!("error: {name}: ")), "{ended:?}");
    }
    let ended = run(&["serve", "--check-config", "--page-bytes-max", "1"]);
    assert!(ended.error(2).contains("'--page-bytes-max <BYTES>': expected a whole number from 40960"), "{ended:?}");
    assert!(run(&["serve", "--config", "/no/such/file"]).error(2).contains("name another file with --config"));
}

#[test]
fn the_file_may_be_named_by_a_variable() {
    let file = file("variable", "ttl.min_secs = 61");
    let mut command = program();
    let ended = Running::spawn(command.args(["serve", "--check-config"]).env("RENDEZVOUS_CONFIG", &file)).ended();
    assert!(ended.succeeded().stdout.contains(&format!("ttl.min_secs = 61  # {file}:1")), "{ended:?}");
}

#[test]
fn the_example_is_what_holds_without_it() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/rendezvous.example.toml");
    let home = fresh("config-example");
    let values = |args: &[&str]| -> Vec<String> {
        let mut command = program();
        let ended =
            Running::spawn(command.args(["serve", "--check-config"]).args(args).env("XDG_DATA_HOME", &home)).ended();
        let lines = &ended.succeeded().stdout;
        lines.iter().map(|line| line.split("  # ").next().expect("a value").to_owned()).collect()
    };
    assert_eq!(values(&["--config", example]), values(&[]));
}

#[test]
fn policies_refuse_a_client_with_status_and_text() {
    let friend = fresh_key("friend");
    run(&["key", "new", &friend]).succeeded();
    let id = run(&["key", "show", &friend, "--json"]);
    let id = text(&id.succeeded().stdout[0], "peer");
    let file = file(
        "policies",
        &format!(
            "discover.all = 'nobody'\n[[policy]]\nprefix = 'staff/'\nregister = ['{id}']\ndiscover = 'nobody'\n[[policy]]\n\
             namespace = 'short'\nttl_max_secs = 100\n[[policy]]\nnamespace = 'small'\nregistrations_max = 1\n"
        ),
    );
    let point = Point::start(&["--config", &file]);
    let namespace = |name| ["--namespace", name];
    register(&point, Some(&friend), &namespace("staff/a")).succeeded();
    assert_refused(
        &register(&point, None, &namespace("staff/a")),
        "E_NOT_AUTHORIZED (200): this peer may not register in this namespace",
    );
    assert_refused(
        &run(&["discover", "--point", &point.address, "--namespace", "staff/a"]),
        "E_NOT_AUTHORIZED (200): this peer may not discover in this namespace",
    );
    assert_refused(
        &run(&["discover", "--point", &point.address, "--all"]),
        "E_NOT_AUTHORIZED (200): this peer may not discover in all namespaces",
    );
    assert_refused(
        &register(&point, None, &[&namespace("short")[..], &["--ttl", "101"]].concat()),
        "E_INVALID_TTL (102): ttl 101 s is above the maximum of 100 s",
    );
    register(&point, None, &namespace("small")).succeeded();
    assert_refused(&register(&point, None, &namespace("small")), "E_UNAVAILABLE (400): the namespace is full");
    register(&point, None, &namespace("other")).succeeded();
}

#[test]
fn quotas_refuse_a_client_with_status_and_text() {
    let file = file("quotas", "[registrations]\nper_peer_max = 1\nmax = 2\n[records]\naddresses_max = 1\n");
    let point = Point::start(&["--config", &file]);
    let key = fresh_key("quota");
    register(&point, Some(&key), &["--namespace", "a"]).succeeded();
    assert_refused(
        &register(&point, Some(&key), &["--namespace", "b"]),
        "E_NOT_AUTHORIZED (200): too many registrations of this peer: 1 is the most",
    );
    let two = register(&point, None, &["--address", "/ip4/192.0.2.2/tcp/1"]);
    assert_refused(&two, "E_INVALID_SIGNED_PEER_RECORD (101): signed peer record is not valid: ");
    register(&point, None, &[]).succeeded();
    assert_refused(&register(&point, None, &[]), "E_UNAVAILABLE (400): the rendezvous point is full");
}

#[test]
fn a_rate_refuses_a_client_with_status_and_text() {
    let file = file("rate", "[rate.per_peer]\nburst = 1\nperiod_millis = 3_600_000\n");
    let point = Point::start(&["--config", &file]);
    let key = fresh_key("rate");
    register(&point, Some(&key), &[]).succeeded();
    assert_refused(&register(&point, Some(&key), &[]), "E_UNAVAILABLE (400): too many requests: come back in 3");
    register(&point, None, &[]).succeeded();
}

#[test]
fn a_limit_of_connections_denies_a_client_and_is_counted() {
    let key = fresh_key("limit");
    let file = file("limit", "json = true\nlisten = ['/ip4/127.0.0.1/tcp/0']\nconnections.per_peer_max = 1\n");
    let args = ["serve", "--config", &file, "--stats-interval", "1", "--key", &fresh_key("limited")];
    let point = Running::start(&args);
    let start: serde_json::Value = serde_json::from_str(&point.line()).expect("it is JSON");
    let address = start["addresses"][0].as_str().expect("an address");
    let first = Running::start(&["register", "--point", address, "--address", "/ip4/192.0.2.1/tcp/1", "--key", &key]);
    first.line_with("registered: ");
    assert_eq!(run(&["discover", "--point", address, "--key", &key]).code, Some(4));
    run(&["discover", "--point", address]).succeeded();
    loop {
        let stats: serde_json::Value = serde_json::from_str(&point.line()).expect("it is JSON");
        if stats["connections"]["denied"]["per_peer_max"].as_u64().is_some_and(|denied| denied > 0) {
            assert_eq!(stats["connections"]["denied"]["per_prefix_max"], 0);
            return;
        }
    }
}

#[test]
fn variables_are_in_force_in_a_point_that_runs() {
    let mut command = program();
    command.args(["serve", "--key", &fresh_key("variables")]);
    command.env("RENDEZVOUS_LISTEN", "/ip4/127.0.0.1/tcp/0").env("RENDEZVOUS_JSON", "true");
    let point = Running::spawn(&mut command);
    let start: serde_json::Value = serde_json::from_str(&point.line()).expect("it is JSON");
    let addresses = start["addresses"].as_array().expect("addresses");
    assert!(addresses.len() == 1 && addresses[0].as_str().is_some_and(|it| it.starts_with("/ip4/127.0.0.1/tcp/")));
}
