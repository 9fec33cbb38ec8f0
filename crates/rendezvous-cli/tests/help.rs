//! The examples in `--help` work when they are pasted.

mod common;

use common::{Ended, Point, Running, fresh, program, run};

/// Every command that has a help of its own, and whether its example stays until Ctrl-C.
const COMMANDS: [(&[&str], bool); 15] = [
    (&["serve"], true),
    (&["client"], true),
    (&["register"], true),
    (&["discover"], false),
    (&["unregister"], false),
    (&["key", "new"], false),
    (&["key", "show"], false),
    (&["store", "check"], false),
    (&["store", "stats"], false),
    (&["store", "repair"], false),
    (&["inspect"], false),
    (&["completions"], false),
    // Groups show those of their commands.
    (&["key"], false),
    (&["store"], false),
    (&[], true),
];

/// The address in the examples.
const EXAMPLE: &str = "/ip4/127.0.0.1/tcp/62649";

/// Columns of a narrow terminal, in which nothing is broken.
const COLUMNS: usize = 80;

/// The commands to paste, with lines that go on joined.
fn examples(command: &[&str]) -> Vec<String> {
    let help = run(&[command, &["--help"]].concat());
    let mut lines = help.succeeded().stdout.iter();
    let mut examples = Vec::new();
    while let Some(line) = lines.next() {
        let Some(mut example) = line.strip_prefix("  rendezvous ").map(str::to_owned) else { continue };
        assert!(line.len() <= COLUMNS, "{line}");
        while let Some(start) = example.strip_suffix('\\') {
            let next = lines.next().expect("it goes on");
            assert!(next.len() <= COLUMNS, "{next}");
            example = format!("{start}{}", next.trim_start());
        }
        examples.push(example);
    }
    examples
}

#[test]
fn each_example_works() {
    let point = Point::start(&[]);
    let (address, _) = point.address.split_once("/p2p/").expect("it has a peer id");
    for (command, stays) in COMMANDS {
        // `key show` reads what `key new` has made; each command has a place of its own otherwise.
        let place = fresh(&format!("help-{}", command.join("-")));
        if command == ["key", "show"] {
            run(&["key", "new", place.join("me.key").to_str().expect("it is UTF-8")]).succeeded();
        }
        if command.first() == Some(&"store") {
            let data = place.join("data");
            let args = ["serve", "--listen", "/ip4/127.0.0.1/tcp/0", "--data-dir", data.to_str().expect("it is UTF-8")];
            let running = Running::start(&args);
            running.line_with("try: ");
            running.signal("INT");
            running.ended().succeeded();
        }
        let examples = examples(command);
        assert!(!examples.is_empty(), "{command:?} has an example");
        for example in examples {
            // The shell does the first, people the second; the third is that tests run beside each other.
            let line = example.replace("$PEER", &point.peer).replace("<peer id>", &point.peer);
            let line = match example.starts_with("serve") {
                true => line.replace(EXAMPLE, "/ip4/127.0.0.1/tcp/0"),
                false => line.replace(EXAMPLE, address),
            };
            let mut words = program();
            words.args(line.split_whitespace()).current_dir(&place);
            let running = Running::spawn(&mut words);
            let stays = stays && !line.starts_with("discover") && !line.contains("--check-config");
            let ended: Ended = if stays {
                let first = running.line();
                assert!(first.starts_with("peer id: ") || first.starts_with("registered: "), "{line}: {first}");
                running.signal("INT");
                running.ended()
            } else {
                running.ended()
            };
            assert_eq!(ended.code, Some(0), "{line}: {ended:?}");
        }
    }
}

#[test]
fn every_command_has_its_example() {
    let help = run(&["--help"]);
    let lines = &help.succeeded().stdout;
    let from = lines.iter().position(|line| line == "Commands:").expect("there are commands");
    let names = lines[from + 1..].iter().take_while(|line| !line.is_empty());
    for name in names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
        assert!(COMMANDS.iter().any(|(command, _)| command.first() == Some(&name)), "{name}");
    }
}
