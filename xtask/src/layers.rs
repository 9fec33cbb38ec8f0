//! `cargo xtask layers`: dependencies point downwards, and the lower crates stay free of IO.
//!
//! Directions are read from the manifests (`cargo metadata`). What a crate reaches is read from `cargo tree`, which
//! resolves the features of one crate as a user of it would get them; the graph in the metadata has the features of all
//! members united, and in it `libp2p-swarm` depends on tokio as soon as the binary asks for that.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    process::{Command, ExitCode},
};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::cargo;

/// The published crates from the bottom up. A crate may depend on those of lower rows alone.
const LAYERS: [&[&str]; 7] = [
    &["rendezvous-wire", "rendezvous-record"],
    &["rendezvous-core"],
    &["rendezvous-store"],
    &["rendezvous-swarm"],
    &["rendezvous-discovery", "rendezvous-host"],
    &["rendezvous-node"],
    &["rendezvous-cli"],
];

/// The crates without IO.
const SANS_IO: &[&str] = &["rendezvous-wire", "rendezvous-record", "rendezvous-core"];

/// No crate of `of` reaches one of `banned`, at any depth, with any of its [`features`], on any platform.
struct Ban {
    of: &'static [&'static str],
    banned: &'static [&'static str],
    because: &'static str,
}

const BANS: &[Ban] = &[
    Ban {
        of: SANS_IO,
        banned: &[
            "async-executor",
            "async-global-executor",
            "async-std",
            "embassy-executor",
            "futures-executor",
            "glommio",
            "monoio",
            "smol",
            "smol-potat",
            "tokio",
            "tokio-util",
        ],
        because: "they are driven by their caller and need no runtime",
    },
    Ban {
        of: SANS_IO,
        banned: &[
            "async-io",
            "async-timer",
            "chrono",
            "coarsetime",
            "futures-timer",
            "futures-time",
            "gloo-timers",
            "instant",
            "quanta",
            "time",
            "tokio-timer",
            "wasm-timer",
            "wasmtimer",
            "web-time",
        ],
        because: "time is a parameter of everything they do",
    },
    Ban {
        of: SANS_IO,
        banned: &["async-net", "libp2p", "libp2p-swarm", "mio", "quinn", "socket2"],
        because: "they can be used over any transport",
    },
    Ban {
        of: SANS_IO,
        banned: &[
            "async-fs", "fjall", "heed", "lmdb", "lsm-tree", "memmap2", "persy", "redb", "rocksdb", "rusqlite", "sled",
            "sqlx",
        ],
        because: "where a registry lives is decided above them",
    },
    Ban {
        of: &["rendezvous-wire"],
        banned: &["rendezvous-record", "libp2p-identity", "multiaddr"],
        because: "the codec carries records and does not look into them",
    },
    Ban {
        of: &["rendezvous-record"],
        banned: &["rendezvous-wire"],
        because: "a record is the same in every protocol that carries one",
    },
    Ban {
        of: &["rendezvous-swarm", "rendezvous-discovery"],
        banned: &["async-std", "smol", "tokio"],
        because: "the application chooses the runtime",
    },
];

/// With which features a crate is held to its bans: all of them, but that mDNS is tokio's in libp2p.
fn features(of: &str) -> &'static [&'static str] {
    match of {
        "rendezvous-discovery" => &["--no-default-features", "--features=kad"],
        _ => &["--all-features"],
    }
}

/// Most crates that one crate brings along without its default features, itself not counted.
struct Budget {
    of: &'static str,
    crates_max: usize,
    because: &'static str,
}

const BUDGETS: &[Budget] = &[Budget {
    of: "rendezvous-wire",
    // quick-protobuf with byteorder; thiserror with its macro and the four crates that every derive macro needs.
    crates_max: 8,
    because: "a codec must not weigh more than what it is put into",
}];

/// Checks every rule and prints a line per breach.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let members = Member::all()?;
    let mut breaches = directions(&members);
    for member in &members {
        if BANS.iter().any(|ban| ban.of.contains(&member.name.as_str())) {
            breaches.extend(bans(&member.name, &Graph::of(&member.name, features(&member.name))?));
        }
        for budget in BUDGETS.iter().filter(|budget| budget.of == member.name) {
            breaches.extend(over_budget(budget, &Graph::of(&member.name, &["--no-default-features"])?));
        }
    }
    for breach in &breaches {
        eprintln!("layers: {breach}");
    }
    if breaches.is_empty() {
        println!("layers: {} crates keep to their layers", members.len());
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

/// A member of the workspace and what it depends on by its manifest, dev-dependencies and build scripts left out.
#[derive(Debug)]
struct Member {
    name: String,
    published: bool,
    dependencies: Vec<String>,
}

impl Member {
    fn all() -> anyhow::Result<Vec<Self>> {
        let json = stdout(cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
        Self::parse(&serde_json::from_str(&json).context("`cargo metadata` prints JSON")?)
            .context("`cargo metadata` prints packages with names and dependencies")
    }

    fn parse(metadata: &Value) -> Option<Vec<Self>> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        metadata["packages"]
            .as_array()?
            .iter()
            .map(|package| {
                // The kind of a normal dependency is null; `publish = false` is an empty list of registries.
                let normal =
                    package["dependencies"].as_array()?.iter().filter(|dependency| dependency["kind"].is_null());
                Some(Self {
                    name: text(&package["name"])?,
                    published: package["publish"].as_array().is_none_or(|registries| !registries.is_empty()),
                    dependencies: normal.map(|dependency| text(&dependency["name"])).collect::<Option<_>>()?,
                })
            })
            .collect()
    }
}

/// The crates that one crate reaches.
#[derive(Debug, Default)]
struct Graph(BTreeMap<String, BTreeSet<String>>);

impl Graph {
    fn of(package: &str, features: &[&str]) -> anyhow::Result<Self> {
        let tree = stdout(cargo().args(["tree", "--package", package]).args(features).args([
            "--edges",
            "normal",
            "--target",
            "all",
            "--prefix",
            "depth",
            "--charset",
            "ascii",
            "--format",
            " {p}",
        ]))?;
        Self::parse(&tree).with_context(|| format!("`cargo tree` of {package} is not a tree"))
    }

    /// Reads lines of a depth, a name and whatever else, each crate standing below the one that depends on it.
    fn parse(tree: &str) -> Option<Self> {
        let mut graph = Self::default();
        let mut path: Vec<&str> = Vec::new();
        for line in tree.lines().filter(|line| !line.is_empty()) {
            let mut words = line.split_whitespace();
            let depth: usize = words.next()?.parse().ok()?;
            let name = words.next()?;
            if depth > path.len() {
                return None;
            }
            path.truncate(depth);
            if let Some(&parent) = path.last() {
                graph.0.entry(parent.to_owned()).or_default().insert(name.to_owned());
            }
            graph.0.entry(name.to_owned()).or_default();
            path.push(name);
        }
        (!graph.0.is_empty()).then_some(graph)
    }

    /// The shortest way from one crate to another, ends included.
    fn path<'a>(&'a self, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
        let mut parents = BTreeMap::from([(from, None)]);
        let mut queue = VecDeque::from([from]);
        while let Some(name) = queue.pop_front() {
            if name == to {
                let mut path: Vec<_> = std::iter::successors(Some(name), |name| parents[name]).collect();
                path.reverse();
                return Some(path);
            }
            for next in self.0.get(name).into_iter().flatten() {
                if !parents.contains_key(next.as_str()) {
                    parents.insert(next, Some(name));
                    queue.push_back(next);
                }
            }
        }
        None
    }
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

/// Published crates that have no layer, and dependencies that do not point downwards.
fn directions(members: &[Member]) -> Vec<String> {
    let mut breaches = Vec::new();
    for Member { name, dependencies, .. } in members.iter().filter(|member| member.published) {
        let Some(own) = layer(name) else {
            breaches.push(format!("{name} is published and stands in no layer"));
            continue;
        };
        for dependency in dependencies {
            let unpublished = members.iter().any(|member| member.name == *dependency && !member.published);
            if unpublished {
                breaches.push(format!("{name} -> {dependency}: a published crate cannot depend on an unpublished one"));
            } else if layer(dependency).is_some_and(|layer| layer >= own) {
                breaches.push(format!("{name} -> {dependency}: dependencies point downwards"));
            }
        }
    }
    breaches
}

/// What a crate reaches and must not.
fn bans(of: &str, graph: &Graph) -> Vec<String> {
    BANS.iter()
        .filter(|ban| ban.of.contains(&of))
        .flat_map(|ban| ban.banned.iter().map(move |banned| (ban.because, banned)))
        .filter_map(|(because, banned)| Some(format!("{}: {because}", graph.path(of, banned)?.join(" -> "))))
        .collect()
}

fn over_budget(budget: &Budget, graph: &Graph) -> Option<String> {
    let Budget { of, crates_max, because } = *budget;
    let crates: Vec<_> = graph.0.keys().map(String::as_str).filter(|name| *name != of).collect();
    (crates.len() > crates_max).then(|| {
        let count = crates.len();
        format!("{of} brings {count} crates along, more than {crates_max} ({}): {because}", crates.join(", "))
    })
}

fn stdout(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("{command:?} does not start"))?;
    if !output.status.success() {
        bail!("{command:?} fails: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{command:?} prints no text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(tree: &str) -> Graph {
        Graph::parse(tree).expect("the tree of a test is one")
    }

    fn member(name: &str, dependencies: &[&str]) -> Member {
        Member {
            name: name.to_owned(),
            published: true,
            dependencies: dependencies.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn a_tree_becomes_a_graph_and_a_repeated_crate_keeps_its_first_children() {
        let graph = graph("0 a v0.1.0 (/a)\n1 b v1.0.0\n2 c v1.0.0\n1 d v1.0.0\n2 b v1.0.0 (*)\n");
        assert_eq!(graph.path("a", "c"), Some(vec!["a", "b", "c"]));
        assert_eq!(graph.path("d", "c"), Some(vec!["d", "b", "c"]));
        assert_eq!(graph.path("b", "d"), None);
        assert_eq!(graph.path("a", "e"), None);
    }

    #[test]
    fn what_is_no_tree_is_not_taken_for_an_empty_one() {
        for text in ["", "\n", "a v1.0.0\n", "0\n", "1 a v1.0.0\n", "0 a v1.0.0\n2 b v1.0.0\n"] {
            assert!(Graph::parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_runtime_at_any_depth_is_named_with_the_way_to_it() {
        let graph =
            graph("0 rendezvous-core v0.1.0\n1 bytes v1.0.0\n1 helper v2.0.0\n2 deeper v0.3.0\n3 tokio v1.0.0\n");
        assert_eq!(
            bans("rendezvous-core", &graph),
            [concat!(
                "rendezvous-core -> helper -> deeper -> tokio: ",
                "they are driven by their caller and need no runtime"
            )]
        );
    }

    #[test]
    fn every_ban_is_found_in_a_graph_that_breaks_it_and_in_no_other() {
        for ban in BANS {
            for of in ban.of {
                assert_eq!(bans(of, &graph(&format!("0 {of} v0.1.0\n1 bytes v1.0.0\n"))), [""; 0]);
                for banned in ban.banned {
                    let breaches = bans(of, &graph(&format!("0 {of} v0.1.0\n1 between v1.0.0\n2 {banned} v1.0.0\n")));
                    assert_eq!(breaches, [format!("{of} -> between -> {banned}: {}", ban.because)]);
                }
            }
        }
    }

    #[test]
    fn a_name_that_only_begins_like_a_banned_one_is_allowed() {
        assert_eq!(bans("rendezvous-wire", &graph("0 rendezvous-wire v0.1.0\n1 tokio-less v1.0.0\n")), [""; 0]);
    }

    #[test]
    fn the_behaviours_may_have_timers_and_no_runtime() {
        let tree = "0 rendezvous-swarm v0.1.0\n1 futures-timer v3.0.0\n1 libp2p-swarm v0.48.0\n";
        assert_eq!(bans("rendezvous-swarm", &graph(tree)), [""; 0]);
        let tree = format!("{tree}2 tokio v1.0.0\n");
        assert_eq!(
            bans("rendezvous-swarm", &graph(&tree)),
            ["rendezvous-swarm -> libp2p-swarm -> tokio: the application chooses the runtime"]
        );
    }

    #[test]
    fn dependencies_downwards_are_allowed() {
        let members = [
            member("rendezvous-wire", &["thiserror"]),
            member("rendezvous-core", &["rendezvous-wire", "rendezvous-record"]),
            member("rendezvous-cli", &["rendezvous-wire", "rendezvous-swarm"]),
        ];
        assert_eq!(directions(&members), [""; 0]);
    }

    #[test]
    fn dependencies_upwards_and_sideways_are_breaches() {
        let members = [
            member("rendezvous-wire", &["rendezvous-record"]),
            member("rendezvous-core", &["rendezvous-swarm", "bytes"]),
        ];
        assert_eq!(
            directions(&members),
            [
                "rendezvous-wire -> rendezvous-record: dependencies point downwards",
                "rendezvous-core -> rendezvous-swarm: dependencies point downwards",
            ]
        );
    }

    #[test]
    fn a_published_crate_has_a_layer_and_depends_on_nothing_unpublished() {
        let unpublished = Member { published: false, ..member("rendezvous-sim", &["rendezvous-cli"]) };
        let members = [member("rendezvous-new", &[]), member("rendezvous-core", &["rendezvous-sim"]), unpublished];
        assert_eq!(
            directions(&members),
            [
                "rendezvous-new is published and stands in no layer",
                "rendezvous-core -> rendezvous-sim: a published crate cannot depend on an unpublished one",
            ]
        );
    }

    #[test]
    fn a_crate_over_its_budget_is_told_what_it_brings_along() {
        let budget = Budget { of: "a", crates_max: 2, because: "it must be small" };
        let within = graph("0 a v1.0.0\n1 b v1.0.0\n2 c v1.0.0\n1 c v1.0.0\n");
        assert_eq!(over_budget(&budget, &within), None);
        let over = graph("0 a v1.0.0\n1 b v1.0.0\n2 c v1.0.0\n1 d v1.0.0\n");
        assert_eq!(
            over_budget(&budget, &over).as_deref(),
            Some("a brings 3 crates along, more than 2 (b, c, d): it must be small")
        );
    }

    #[test]
    fn only_normal_dependencies_of_the_metadata_count() {
        let metadata = serde_json::json!({ "packages": [
            { "name": "a", "publish": null, "dependencies": [
                { "name": "normal", "kind": null },
                { "name": "tests-only", "kind": "dev" },
                { "name": "build-only", "kind": "build" },
            ] },
            { "name": "b", "publish": [], "dependencies": [] },
        ] });
        let members = Member::parse(&metadata).expect("metadata in cargo's shape");
        assert_eq!(members[0].dependencies, ["normal"]);
        assert_eq!((members[0].published, members[1].published), (true, false));
        assert!(Member::parse(&serde_json::json!({ "packages": [{}] })).is_none());
    }

    #[test]
    fn a_crate_stands_in_one_layer() {
        let names: Vec<_> = LAYERS.into_iter().flatten().collect();
        assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len());
        assert!(BANS.iter().flat_map(|ban| ban.of).all(|of| layer(of).is_some()), "bans are of known crates");
        assert!(BUDGETS.iter().all(|budget| layer(budget.of).is_some()), "budgets are of known crates");
    }
}
