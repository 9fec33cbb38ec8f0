//! The command line.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, value_parser};
use rendezvous_wire::{Namespace, Ttl};

use crate::address::{AdvertisedAddress, ListenAddress, Point};

/// TCP port that `serve` listens on by default. No service has it assigned, and it is above the ports that Linux gives to
/// outgoing connections, so that none of these takes it.
pub(crate) const PORT_DEFAULT: u16 = 62_649;

/// Behind the options that say what to do.
const LAST: usize = 1_000;

const EXIT_STATUS: &str = "\
Exit status:
  0  done
  1  something on this machine failed: a key, a port, the output
  2  wrong usage
  3  refused by the rendezvous point
  4  the point is unreachable or silent
  5  the point does not speak the protocol";

const EXAMPLES: &str = "\
Examples, one terminal each:
  rendezvous serve --listen /ip4/127.0.0.1/tcp/62649
  rendezvous register --point /ip4/127.0.0.1/tcp/62649/p2p/<peer id>
  rendezvous discover --point /ip4/127.0.0.1/tcp/62649/p2p/<peer id>
`serve` prints its peer id, and the `register` command to paste.";

// Paragraphs are one line each: clap breaks them as the terminal is wide.

const SERVE_HELP: &str = "\
Example:
  rendezvous serve --listen /ip4/127.0.0.1/tcp/0 --key ./point.key

It prints `peer id: …`, a line `listening: …` per address, the command for a client to try, and from then on statistics \
when they have changed. Ctrl-C or SIGTERM ends it. It goes on if nobody reads its output.";

const REGISTER_HELP: &str = "\
Example, where PEER is the peer id that `rendezvous serve` prints:
  rendezvous register --point /ip4/127.0.0.1/tcp/62649/p2p/$PEER --namespace chat --key ./me.key

It stays, refreshes the registration before it ends, and withdraws it on Ctrl-C or SIGTERM, which takes three seconds at \
most; a second Ctrl-C ends it at once.

What may pass is tried again for as long as it runs: a point that is away, full or overloaded. It ends with status 3 if \
the point refuses the first attempt because of the namespace, the TTL or the record, and with 5 if the peer is no \
rendezvous point.";

const DISCOVER_HELP: &str = "\
Example, where PEER is the peer id that `rendezvous serve` prints:
  rendezvous discover --point /ip4/127.0.0.1/tcp/62649/p2p/$PEER --namespace chat --limit 10

Each registration is listed once, and this peer's own one is left out. The walk over the point's pages ends with the last \
page, at --limit, after 10 million registrations or 100,000 pages, or when the point gives the same cookie again.";

const UNREGISTER_HELP: &str = "\
Example, where PEER is the peer id that `rendezvous serve` prints:
  rendezvous unregister --point /ip4/127.0.0.1/tcp/62649/p2p/$PEER --namespace chat --key ./me.key

The protocol has no answer to this: it is done when the request is written to a point that speaks the protocol.";

/// Run a libp2p rendezvous point, or register with one and discover peers at it.
#[derive(Debug, Parser)]
#[command(name = "rendezvous", version, after_help = format!("{EXAMPLES}\n\n{EXIT_STATUS}"))]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Log what happens inside to standard error; the variable RUST_LOG refines it.
    #[arg(long, short, global = true, display_order = LAST)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a rendezvous point.
    #[command(after_help = SERVE_HELP)]
    Serve(Serve),
    /// Register with a point, and stay registered.
    #[command(after_help = REGISTER_HELP)]
    Register(Register),
    /// List the peers that are registered with a point.
    #[command(after_help = DISCOVER_HELP)]
    Discover(Discover),
    /// Withdraw a registration that an earlier run has left.
    #[command(after_help = UNREGISTER_HELP)]
    Unregister(Unregister),
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address to listen on; may be repeated. A wildcard is every interface, port 0 any free port [default:
    /// /ip4/0.0.0.0/tcp/62649, and /ip6/::/tcp/62649 where there is IPv6]
    #[arg(long, value_name = "MULTIADDR")]
    pub(crate) listen: Vec<ListenAddress>,

    /// File with the point's key, which is its identity; made if it is missing [default: `key` in the data directory]
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,

    /// Directory for what the point keeps; made if it is missing [default: $XDG_DATA_HOME/rendezvous, or
    /// ~/.local/share/rendezvous]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Shortest lifetime that a registration may ask for, in seconds.
    #[arg(long, value_name = "SECS", default_value_t = 60, value_parser = ttl_parser())]
    pub(crate) min_ttl: u64,

    /// Longest lifetime that a registration may ask for, in seconds; at most 72 hours.
    #[arg(long, value_name = "SECS", default_value_t = Ttl::RECOMMENDED_MAX.as_secs(), value_parser = ttl_parser())]
    pub(crate) max_ttl: u64,

    /// How often changed statistics are printed, in seconds.
    #[arg(long, value_name = "SECS", default_value_t = 10, value_parser = value_parser!(u64).range(1..=86_400))]
    pub(crate) stats_interval: u64,

    /// Print one JSON object per line: `start`, `listening`, `stats`, `shutdown`.
    #[arg(long, display_order = LAST)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Register {
    #[command(flatten)]
    pub(crate) client: Client,

    /// Name to register under: 1 to 255 bytes.
    #[arg(long, value_name = "NS", default_value = "rendezvous")]
    pub(crate) namespace: Namespace,

    /// Address to advertise; may be repeated. Without it, the command listens on every interface, on any port, and
    /// advertises that; loopback only to a point on this machine, or for want of another address
    #[arg(long, value_name = "MULTIADDR")]
    pub(crate) address: Vec<AdvertisedAddress>,

    /// Lifetime to ask for, in seconds, at most 72 hours; the point may refuse what is outside its bounds.
    #[arg(long, value_name = "SECS", default_value_t = Ttl::DEFAULT.as_secs(), value_parser = ttl_parser())]
    pub(crate) ttl: u64,

    /// Register once and leave: no refresh, no withdrawal.
    #[arg(long)]
    pub(crate) once: bool,

    /// Print one JSON object per line: `registered`, `renewed`, `failed`, `lapsed`, `unregistered`.
    #[arg(long, display_order = LAST)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("where").args(["namespace", "all"]))]
pub(crate) struct Discover {
    #[command(flatten)]
    pub(crate) client: Client,

    /// Name to look under: 1 to 255 bytes.
    #[arg(long, value_name = "NS", default_value = "rendezvous")]
    pub(crate) namespace: Namespace,

    /// Look under all names.
    #[arg(long)]
    pub(crate) all: bool,

    /// Most registrations to list, over all pages [default: all of them]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,

    /// Print one JSON object per line: `peer`, `namespace`, `ttl`, `addresses`, `seq`, `flavour`.
    #[arg(long, display_order = LAST)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Unregister {
    #[command(flatten)]
    pub(crate) client: Client,

    /// Name to be withdrawn from: 1 to 255 bytes.
    #[arg(long, value_name = "NS")]
    pub(crate) namespace: Namespace,

    /// Print one JSON object.
    #[arg(long, display_order = LAST)]
    pub(crate) json: bool,
}

/// What every client command needs.
#[derive(Debug, Args)]
pub(crate) struct Client {
    /// The rendezvous point: its address with its peer id, as `serve` prints it.
    #[arg(long, value_name = "MULTIADDR")]
    pub(crate) point: Point,

    /// File with this peer's key, which is its identity; made if it is missing [default: a key for this run alone]
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,

    /// Longest wait for the connection, and for each answer, in seconds.
    #[arg(long, value_name = "SECS", default_value_t = 10, value_parser = value_parser!(u64).range(1..=3_600))]
    pub(crate) timeout: u64,
}

fn ttl_parser() -> clap::builder::RangedU64ValueParser {
    value_parser!(u64).range(1..=Ttl::RECOMMENDED_MAX.as_secs())
}

/// What clap says about a wrong command line, as one line that ends with where to look.
pub(crate) fn usage_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let said = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let said = said.filter(|line| !line.is_empty() && !line.starts_with("For more information"));
    let said = said.collect::<Vec<_>>().join(" ").replace(" tip: ", "; ");
    let said = said.strip_prefix("error: ").unwrap_or(&said).trim_end_matches('.');
    format!("{said}; `--help` has the usage")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_wrong_command_line_is_told_in_one_line() {
        let cases: [(&[&str], &str); 5] = [
            (&["discover"], "--point"),
            (&["discover", "--pint", "x"], "--pint"),
            (&["discover", "--point", "x"], "expected a multiaddr"),
            (&["serve", "--min-ttl", "0"], "--min-ttl"),
            (&["sevre"], "serve"),
        ];
        for (args, part) in cases {
            let error = Cli::try_parse_from([&["rendezvous"], args].concat()).expect_err("it is wrong");
            let line = usage_line(&error);
            assert!(line.contains(part) && line.ends_with("has the usage") && !line.contains('\n'), "{line}");
            assert_eq!(error.exit_code(), i32::from(crate::error::USAGE));
        }
    }

    #[test]
    fn all_and_a_namespace_exclude_each_other() {
        let point = "/ip4/192.0.2.1/tcp/1/p2p/12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
        let parse = |args: &[&str]| Cli::try_parse_from([&["rendezvous", "discover", "--point", point], args].concat());
        assert!(parse(&["--all"]).is_ok());
        assert!(parse(&["--namespace", "chat"]).is_ok());
        assert!(parse(&["--all", "--namespace", "chat"]).is_err());
    }
}
