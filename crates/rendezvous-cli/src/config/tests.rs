use std::{collections::BTreeSet, ffi::OsString, time::Duration};

use clap::Parser;
use rendezvous_core::server::{Access, Pattern, Rate};
use rendezvous_wire::{Namespace, Ttl};
use toml_edit::Document;

use super::{
    Config, ConfigError, Environment, File, Flags, Given, SETTINGS, Settings, Source, field::Shape, flags::HEADINGS,
    table::POLICY,
};
use crate::args::{Cli, Command, NetworkCommand};

const EXAMPLE: &str = include_str!("../../rendezvous.example.toml");

/// A file, variables and flags, and what is told of them.
type Case = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str], &'static str);

const PEER: &str = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";

fn load(file: &str, variables: &[(&str, &str)], flags: &[&str]) -> Result<Config, ConfigError> {
    let cli = Cli::try_parse_from([&["rendezvous", "serve"], flags].concat()).expect("it is a command line");
    let Command::Network(NetworkCommand::Serve(args)) = cli.command else { panic!("it is `serve`") };
    let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Config::layered(Some(&File::of_text(file)), &Environment::of(variables), &args.flags)
}

#[track_caller]
fn of_file(text: &str) -> Config {
    load(text, &[], &[]).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn error(result: Result<Config, ConfigError>) -> String {
    let line = result.expect_err("it is wrong").to_string();
    assert!(!line.contains('\n'), "{line}");
    line
}

/// The value and the source of a setting.
#[track_caller]
fn stated(config: &Config, key: &'static str) -> (String, String) {
    let stated = config.stated(key);
    (stated.value, stated.source.to_string())
}

#[test]
fn flags_override_variables_and_these_the_file_for_every_kind_of_setting() {
    let cases = [
        ("ephemeral", "true", "false", "--ephemeral", "true"),
        ("key", "\"a\"", "b", "--key=c", "\"c\""),
        ("ttl.min_secs", "61", "62", "--min-ttl=63", "63"),
        ("statistics.interval_secs", "61", "62", "--stats-interval=63", "63"),
        ("registrations.per_prefix_max", "61", "62", "--registrations-per-prefix-max=unlimited", "\"unlimited\""),
        ("registrations.record_bytes_max", "61", "62", "--registrations-record-bytes-max=63", "63"),
        ("rate.per_peer.burst", "61", "62", "--rate-per-peer-burst=63", "63"),
        ("streams.requests_max", "61", "unlimited", "--streams-requests-max=63", "63"),
        ("page.registrations_max", "61", "62", "--page-registrations-max=63", "63"),
        (
            "records.accepts",
            "[\"standard\"]",
            "legacy",
            "--records-accepts=legacy,standard",
            "[\"standard\",\"legacy\"]",
        ),
        ("memory_max", "\"2 GiB\"", "3 GiB", "--memory-max=65536KiB", "\"64 MiB\""),
        (
            "connections.exempt",
            "[\"10.0.0.0/8\"]",
            "172.17.0.0/16,fd00::/8",
            "--connections-exempt=192.0.2.0/24",
            "[\"192.0.2.0/24\"]",
        ),
        ("discover.all", "\"nobody\"", PEER, "--discover-all=anyone", "\"anyone\""),
        (
            "listen",
            "[\"/ip4/127.0.0.1/tcp/1\"]",
            "/ip4/127.0.0.1/tcp/2,/ip6/::1/tcp/2",
            "--listen=/ip4/127.0.0.1/tcp/3",
            "[\"/ip4/127.0.0.1/tcp/3\"]",
        ),
    ];
    for (key, in_file, variable, flag, value) in cases {
        let file = format!("{key} = {in_file}");
        let setting = SETTINGS.iter().find(|setting| setting.key == key).expect("it is in the table");
        let name = setting.variable();
        let config = of_file(&file);
        assert_eq!(stated(&config, key), (in_file.to_owned(), "test.toml:1".to_owned()));
        let shown = stated(&load(&file, &[(&name, variable)], &[]).expect("it is right"), key);
        assert_eq!(shown.1, name);
        assert!(variable.split(',').all(|part| shown.0.contains(part)), "{shown:?}");
        let config = load(&file, &[(&name, variable)], &[flag]).expect("it is right");
        let flag = flag.split('=').next().expect("it has a name");
        assert_eq!(stated(&config, key), (value.to_owned(), flag.to_owned()));
    }
}

#[test]
fn a_switch_can_be_turned_off_by_its_flag() {
    let config = load("json = true\nstatistics.namespaces = true", &[], &["--json=false", "--stats=false"]);
    let settings = config.expect("it is right").settings;
    assert!(!settings.json && !settings.statistics.namespaces);
}

#[test]
fn each_setting_has_the_line_of_its_key() {
    let text = "# first\nlisten = [\n  '/ip4/127.0.0.1/tcp/1',\n]\n[ttl]\n\nmin_secs =\t61\n[rate]\nper_peer.burst = 1\n\
                per_prefix = { burst = 2 }\n[[policy]]\nprefix = ''\n\nregister = 'nobody'\n";
    let config = of_file(text);
    let cases = [
        ("listen", "test.toml:2"),
        ("ttl.min_secs", "test.toml:7"),
        ("ttl.max_secs", "default"),
        ("rate.per_peer.burst", "test.toml:9"),
        ("rate.per_prefix.burst", "test.toml:10"),
    ];
    for (key, source) in cases {
        assert_eq!(stated(&config, key).1, source, "{key}");
    }
    let [policy] = config.policies.as_slice() else { panic!("one: {:?}", config.policies) };
    assert_eq!(policy.at.line, 11);
    assert_eq!(policy.stated("register").expect("it is set").source.to_string(), "test.toml:14");
}

#[test]
fn what_is_wrong_in_a_file_is_told_with_its_line_and_what_to_do() {
    let cases = [
        ("\n[ttl]\nmin_sec = 1", "test.toml:3: there is no setting ttl.min_sec; the nearest is ttl.min_secs"),
        ("min_secs = 1", "test.toml:1: there is no setting min_secs; the nearest is ttl.min_secs"),
        ("\n[tll]", "test.toml:2: there is no setting tll; the nearest is ttl"),
        ("[rate.per_per]", "test.toml:1: there is no setting rate.per_per; the nearest is rate.per_peer"),
        (
            "\nxyzzy = 1",
            "test.toml:2: there is no setting xyzzy; `rendezvous serve --check-config` lists all there are",
        ),
        ("\nttl = 5", "test.toml:2: ttl: expected a table, found 5"),
        (
            "[listen]",
            "test.toml:1: listen: expected a list of multiaddrs such as /ip4/0.0.0.0/tcp/62649, found a table",
        ),
        ("\n[ttl]\nmin_secs = '1'", "test.toml:3: ttl.min_secs: expected a whole number from 1 to 259200, found \"1\""),
        ("ttl.min_secs = 1.5", "test.toml:1: ttl.min_secs: expected a whole number from 1 to 259200, found 1.5"),
        ("ttl.min_secs = 0", "test.toml:1: ttl.min_secs: expected a whole number from 1 to 259200, found 0"),
        ("ttl.max_secs = 259_201", "test.toml:1: ttl.max_secs: expected a whole number from 1 to 259200, found 259201"),
        (
            "registrations.max = -1",
            "test.toml:1: registrations.max: expected a whole number from 1 to 1000000000, found -1",
        ),
        ("registrations.max = 'unlimited'", "found \"unlimited\""),
        ("rate.per_peer.burst = 0", "from 1 to 1000000000, or \"unlimited\", found 0"),
        (
            "memory_max = '1 GB'",
            "test.toml:1: memory_max: expected a size from 64 MiB to 1024 TiB, as a number of bytes or with a unit such as \
             \"1 GiB\", found \"1 GB\"",
        ),
        ("memory_max = 1", "memory_max: expected a size from 64 MiB to 1024 TiB"),
        (
            "connections.exempt = [\n'10.0.0.1/8']",
            "test.toml:2: connections.exempt: 10.0.0.1/8 has bits set behind its prefix; write 10.0.0.0/8 for the whole block",
        ),
        ("connections.exempt = 1", "connections.exempt: expected a list of networks such as 10.0.0.0/8, found 1"),
        ("json = 1", "test.toml:1: json: expected true or false, found 1"),
        ("key = ''", "test.toml:1: key: expected a path, found \"\""),
        (
            "listen = []",
            "test.toml:1: listen: expected a list of multiaddrs such as /ip4/0.0.0.0/tcp/62649, found an array",
        ),
        (
            "listen = [\n'/ip4/127.0.0.1/tcp/1',\n'x']",
            "test.toml:3: listen: \"x\": invalid multiaddr: expected a multiaddr",
        ),
        ("discover.all = ['x']", "test.toml:1: discover.all: expected a peer id, found \"x\""),
        ("discover.all = 'all'", "expected \"anyone\", \"nobody\" or a list of peer ids, found \"all\""),
        ("records.accepts = []", "expected a list of \"standard\", \"legacy\" or both, found an array"),
        ("records.accepts = ['new']", "expected a list of \"standard\", \"legacy\" or both, found \"new\""),
        ("a = 1\na = 2", "test.toml:2: this is not TOML: duplicate key"),
        ("\nlisten", "test.toml:2: this is not TOML: "),
        ("policy = 1", "test.toml:1: policy: expected tables, each under [[policy]], found 1"),
        (
            "[[policy]]\nprefix = 'a'\nregster = 'x'",
            "test.toml:3: there is no setting policy.regster; the nearest is register",
        ),
        ("[[policy]]\nnamespace = ''", "test.toml:2: policy.namespace: expected a name of 1 to 255 bytes, found \"\""),
        ("[[policy]]\nprefix = 'a'\nttl_min_secs = 0", "test.toml:3: policy.ttl_min_secs: expected a whole number"),
        ("\n[[policy]]\nregister = 'nobody'", "test.toml:2: this policy is for no namespaces: give it a `namespace`"),
    ];
    for (text, part) in cases {
        let line = error(load(text, &[], &[]));
        assert!(line.contains(part), "{text}: {line}");
    }
}

#[test]
fn what_is_wrong_in_the_environment_is_told_with_the_variable() {
    let cases = [
        ("RENDEZVOUS_TTL_MIN", "1", "there is no setting for this variable; the nearest is RENDEZVOUS_TTL_MIN_SECS"),
        ("RENDEZVOUS_ttl_min_secs", "1", "the nearest is RENDEZVOUS_"),
        ("RENDEZVOUS_POLICY", "x", "there is no setting for this variable"),
        ("RENDEZVOUS_PORT", "1", "there is no setting for this variable"),
        ("RENDEZVOUS_TTL_MIN_SECS", "one", "expected a whole number from 1 to 259200, found \"one\""),
        ("RENDEZVOUS_TTL_MIN_SECS", "0", "expected a whole number from 1 to 259200, found \"0\""),
        ("RENDEZVOUS_JSON", "yes", "expected true or false, found \"yes\""),
        ("RENDEZVOUS_KEY", "", "expected a path, found \"\""),
        ("RENDEZVOUS_LISTEN", "x", "\"x\": invalid multiaddr"),
    ];
    for (name, value, part) in cases {
        let line = error(load("", &[(name, value)], &[]));
        assert!(line.starts_with(&format!("{name}: ")) && line.contains(part), "{line}");
    }
    // Those are set by platforms that run containers.
    let strange = [("RENDEZVOUS_SERVICE_HOST", "10.0.0.1"), ("RENDEZVOUS_PORT", "tcp://10.0.0.1:62649")];
    let strange = [&strange[..], &[("RENDEZVOUS_PORT_62649_TCP_ADDR", "10.0.0.1"), ("RENDEZVOUSX", "1")]].concat();
    assert!(load("", &strange, &[]).is_ok());
}

#[test]
fn a_contradiction_names_both_places() {
    let cases: [Case; 9] = [
        (
            "ttl.min_secs = 100\nttl.max_secs = 99",
            &[],
            &[],
            "ttl.min_secs = 100 (test.toml:1) is above ttl.max_secs = 99 (test.toml:2): change one of them",
        ),
        (
            "ttl.min_secs = 100",
            &[("RENDEZVOUS_TTL_MAX_SECS", "99")],
            &[],
            "ttl.min_secs = 100 (test.toml:1) is above RENDEZVOUS_TTL_MAX_SECS=99: change one of them",
        ),
        ("", &[], &["--max-ttl=59"], "ttl.min_secs = 60 (default) is above --max-ttl 59: change one of them"),
        (
            "ttl.default_secs = 59",
            &[],
            &[],
            "ttl.min_secs = 60 (default) is above ttl.default_secs = 59 (test.toml:1): change one of them",
        ),
        ("", &[], &["--default-ttl=61", "--max-ttl=60"], "--default-ttl 61 is above --max-ttl 60: change one of them"),
        (
            "records.bytes_max = 8192\nstreams.request_bytes_max = 4096",
            &[],
            &[],
            "records.bytes_max = 8192 (test.toml:1) is above streams.request_bytes_max = 4096 (test.toml:2)",
        ),
        (
            "rate.per_peer.period_millis = 5",
            &[],
            &[],
            "rate.per_peer.period_millis = 5 (test.toml:1) means nothing while rate.per_peer.burst = \"unlimited\" (default)",
        ),
        (
            "[[policy]]\nprefix = 'a'\nttl_max_secs = 70",
            &[],
            &["--min-ttl=80"],
            "--min-ttl 80 is above ttl_max_secs = 70 (test.toml:3): change one of them",
        ),
        (
            "[[policy]]\nprefix = 'a'\nttl_min_secs = 90\nttl_max_secs = 80",
            &[],
            &[],
            "ttl_min_secs = 90 (test.toml:3) is above ttl_max_secs = 80 (test.toml:4): change one of them",
        ),
    ];
    for (file, variables, flags, part) in cases {
        let line = error(load(file, variables, flags));
        assert!(line.contains(part), "{line}");
    }
    let line = error(load("[[policy]]\nprefix = 'a'\n[[policy]]\nprefix = 'a'", &[], &[]));
    assert!(
        line.starts_with("prefix = \"a\" (test.toml:4) has its policy already, prefix = \"a\" (test.toml:2)"),
        "{line}"
    );
    let line = error(load("policy = [{ prefix = 'a', namespace = 'b' }]", &[], &[]));
    assert!(line.starts_with("namespace = \"b\" (test.toml:1) and prefix = \"a\" (test.toml:1) are of one"), "{line}");
}

#[test]
fn what_is_set_reaches_the_point() {
    let config = of_file(&format!(
        "[rate]\nper_peer = {{ burst = 7, period_millis = 50 }}\nper_prefix.burst = 9\n[records]\nbytes_max = 300\n\
         [discover]\nall = ['{PEER}']\n[streams]\nidle_timeout_secs = 5\n[connections]\nper_peer_max = 3\n[ttl]\n\
         max_secs = 90\n[[policy]]\nnamespace = 'a'\ndiscover = 'nobody'\nttl_min_secs = 70\nregistrations_max = 2\n\
         [[policy]]\nprefix = 'b/'\nregistrations_max = 'unlimited'"
    ));
    let Settings { server: shell, connections, .. } = config.settings;
    assert_eq!(connections.limits.connections_per_peer_max, 3);
    assert_eq!(shell.idle_timeout, Duration::from_secs(5));
    let server = shell.server;
    assert_eq!(server.rate_per_peer, Some(Rate { burst: 7, period: Duration::from_millis(50) }));
    assert_eq!(server.rate_per_prefix, Some(Rate { burst: 9, period: Duration::from_secs(1) }));
    assert_eq!(server.record_limits.envelope_bytes_max, 300);
    assert_eq!(server.discover_all, Access::Only([PEER.parse().expect("it is a peer id")].into()));
    assert_eq!((server.ttl_max, server.ttl_default), (Ttl::from_secs(90), Ttl::from_secs(90)));
    let [exact, prefix] = server.policies.as_slice() else { panic!("two: {:?}", server.policies) };
    assert_eq!(exact.pattern, Pattern::Exact(Namespace::new("a").expect("it is a namespace")));
    assert_eq!((&exact.register, &exact.discover), (&Access::Anyone, &Access::Nobody));
    assert_eq!((exact.ttl_min, exact.ttl_max, exact.registrations_max), (Some(Ttl::from_secs(70)), None, Some(2)));
    assert_eq!((&prefix.pattern, prefix.registrations_max), (&Pattern::Prefix("b/".to_owned()), Some(usize::MAX)));
}

#[test]
fn each_setting_takes_what_it_shows() {
    let defaults = Settings::default();
    for setting in SETTINGS {
        let shown = setting.value(&defaults);
        if shown.is_null() {
            continue;
        }
        let text = format!("value = {shown}");
        let document = Document::parse(text.as_str()).expect("it is TOML");
        let mut settings = Settings::default();
        let item = document.get("value").expect("it is there");
        setting.set(&mut settings, Given::Toml(item)).unwrap_or_else(|invalid| panic!("{}: {invalid}", setting.key));
        assert_eq!(setting.value(&settings), shown, "{}", setting.key);
    }
}

#[test]
fn no_two_settings_share_a_variable_and_each_table_has_a_heading() {
    let variables: BTreeSet<String> = SETTINGS.iter().map(|setting| setting.variable()).collect();
    assert_eq!(variables.len(), SETTINGS.len());
    for setting in SETTINGS {
        if let Some((table, _)) = setting.key.split_once('.') {
            assert!(HEADINGS.iter().any(|(name, _)| *name == table), "{table}");
        }
        // A flag is named after its key, but for those that read better otherwise.
        let flag = setting.flag.expect("each setting has a flag").name;
        let is_other = flag.ends_with("-ttl") || flag.starts_with("stats");
        assert!(is_other || flag == setting.key.replace(['.', '_'], "-"), "{flag}");
        let is_switch = setting.shape(&Settings::default()) == Shape::Switch;
        assert_eq!(is_switch, setting.flag.is_some_and(|flag| flag.value == "BOOL"), "{flag}");
    }
    assert!(POLICY.iter().all(|setting| setting.flag.is_none()));
}

#[test]
fn the_example_names_every_setting_with_its_default() {
    let (config, defaults) = (of_file(EXAMPLE), Settings::default());
    // Some defaults follow from others.
    let mut completed = defaults.clone();
    completed.complete();
    for (setting, source) in SETTINGS.iter().zip(&config.sources) {
        let default = setting.value(&completed);
        if setting.value(&defaults).is_null() {
            // It depends on the machine, so that it is there as a comment.
            assert_eq!(*source, Source::Default, "{}", setting.key);
        } else {
            assert!(matches!(source, Source::File(_)), "{}", setting.key);
            assert_eq!(setting.value(&config.settings), default, "{}", setting.key);
        }
    }
    assert!(config.policies.is_empty());
}

#[test]
fn what_the_example_has_as_comments_is_right_and_complete() {
    let is_setting =
        |line: &str| line.starts_with("#[") || line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
    let uncommented = |line: &str| line.strip_prefix('#').filter(|_| is_setting(line)).unwrap_or(line).to_owned();
    let config = of_file(&EXAMPLE.lines().map(uncommented).collect::<Vec<_>>().join("\n"));
    for (setting, source) in SETTINGS.iter().zip(&config.sources) {
        assert!(matches!(source, Source::File(_)), "{}", setting.key);
    }
    let [policy] = config.policies.as_slice() else { panic!("one: {:?}", config.policies) };
    let said: Vec<&str> = policy.parts().map(|(key, ..)| key).collect();
    let all = POLICY.iter().map(|setting| setting.key).filter(|key| *key != "prefix");
    assert_eq!(said, all.collect::<Vec<_>>(), "a policy has a namespace or a prefix");
}

#[test]
fn without_anything_the_defaults_of_the_libraries_hold() {
    let config = Config::load(None, &Environment::default(), &Flags::default()).expect("it is right");
    let mut defaults = rendezvous_swarm::server::Config::default();
    // What follows from `memory_max`.
    (defaults.streams_max, defaults.pages_bytes_max, defaults.requests_bytes_max) = (32_768, 128 << 20, 64 << 20);
    assert_eq!(format!("{:?}", config.settings.server), format!("{defaults:?}"));
    assert!(config.settings.listens_everywhere());
}

#[test]
fn every_bound_on_memory_is_a_share_of_one_number() {
    let settings = of_file("memory_max = \"256 MiB\"\n[streams]\npages_bytes_max = 1_000_000\n").settings;
    assert_eq!(settings.server.pages_bytes_max, 1_000_000, "a bound of its own that is lower holds");
    assert_eq!(settings.server.requests_bytes_max, 16 << 20);
    assert_eq!((settings.transport.unread_max, settings.transport.unsent_max), (16 << 20, 16 << 20));
    assert_eq!(settings.connections.limits.connections_max, (128 << 20) / (48 << 10));
}

#[test]
fn an_exempt_network_is_exempt_everywhere() {
    let settings = of_file("[connections]\nexempt = [\"172.17.0.0/16\"]\n").settings;
    let exempt = settings.connections.exempt;
    assert_eq!(exempt.networks().len(), 1);
    for other in [settings.server.exempt, settings.connections.limits.exempt, settings.transport.exempt] {
        assert_eq!(other, exempt);
    }
}
