//! The command line.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum, value_parser};
use clap_complete::Shell;
use rendezvous_wire::{Dialect, Namespace, Ttl};

use crate::{
    address::{AdvertisedAddress, Point},
    config::Flags,
    help,
    store::command::Store,
};

/// Port of TCP and QUIC that `serve` listens on by default. No service has it assigned, and it is above the ports that Linux gives to
/// outgoing connections, so that none of these takes it.
pub(crate) const PORT_DEFAULT: u16 = 62_649;

/// Behind the options that say what to do.
pub(crate) const LAST: usize = 1_000;

/// Run a libp2p rendezvous point, or register with one and discover peers at it.
#[derive(Debug, Parser)]
#[command(name = "rendezvous", version, after_help = format!("{}\n\n{}", help::EXAMPLES, help::EXIT_STATUS))]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Log what happens inside to standard error; the variable RUST_LOG refines it.
    #[arg(long, short, global = true, display_order = LAST)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Network(NetworkCommand),
    /// Make a key file, or show whose it is.
    #[command(subcommand, after_help = help::KEY)]
    Key(Key),
    /// Check, count or repair the registrations that a point keeps in its data directory.
    #[command(subcommand, after_help = help::STORE)]
    Store(Store),
    /// Say what bytes of the protocol mean, and whether they verify.
    #[command(after_help = help::INSPECT)]
    Inspect(Inspect),
    /// Print what a shell needs to complete this program's command line.
    #[command(after_help = help::COMPLETIONS)]
    Completions(Completions),
}

/// The commands that talk to others.
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Run a rendezvous point.
    #[command(after_help = help::SERVE)]
    Serve(Serve),
    /// Register, stay registered, and show who comes and goes.
    #[command(after_help = help::CLIENT)]
    Client(ClientRun),
    /// Register with a point, and stay registered.
    #[command(after_help = help::REGISTER)]
    Register(Register),
    /// List the peers that are registered with a point.
    #[command(after_help = help::DISCOVER)]
    Discover(Discover),
    /// Withdraw a registration that an earlier run has left.
    #[command(after_help = help::UNREGISTER)]
    Unregister(Unregister),
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// File with settings, in TOML; variables RENDEZVOUS_… override it, and flags override both.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Check the settings, print those in force, each with where it comes from, and start nothing.
    #[arg(long)]
    pub(crate) check_config: bool,

    #[command(flatten)]
    pub(crate) flags: Flags,
}

#[derive(Debug, Args)]
pub(crate) struct Register {
    #[command(flatten)]
    pub(crate) client: Client,

    #[command(flatten)]
    pub(crate) registration: Registration,

    /// Register once and leave: no refresh, no withdrawal.
    #[arg(long)]
    pub(crate) once: bool,

    /// Print one JSON object per line: `registered`, `renewed`, `failed`, `lapsed`, `unregistered`.
    #[arg(long, display_order = LAST)]
    pub(crate) json: bool,
}

/// Named for what it runs; what all client commands share is [`Client`].
#[derive(Debug, Args)]
pub(crate) struct ClientRun {
    #[command(flatten)]
    pub(crate) client: Client,

    #[command(flatten)]
    pub(crate) registration: Registration,

    /// Do not refresh the registration: it ends with its lifetime, or with this command.
    #[arg(long)]
    pub(crate) no_refresh: bool,

    /// Time from one poll to the next, in seconds.
    #[arg(long, value_name = "SECS", default_value_t = 10, value_parser = every_parser())]
    pub(crate) every: u64,

    /// Print one JSON object per line: `registered`, `renewed`, `failed`, `lapsed`, `unregistered`, and `found`, `changed`,
    /// `gone`, `away`, `back`.
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

    /// Go on polling, at intervals of so many seconds, and print only what is new, changed or gone.
    #[arg(long, value_name = "SECS", value_parser = every_parser(), conflicts_with = "limit")]
    pub(crate) every: Option<u64>,

    /// With --every: forget the cookie, so that each poll lists everything, however much that is.
    #[arg(long, requires = "every")]
    pub(crate) fresh: bool,

    /// Print one JSON object per line: `peer`, `namespace`, `ttl`, `addresses`, `seq`, `flavour`; with --legacy `unverified` in the
    /// place of the last two where nothing is signed; with --every also
    /// `event`: `found`, `changed`, `gone`, `away`, `back`, `partial`.
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

/// What is registered.
#[derive(Debug, Args)]
pub(crate) struct Registration {
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
}

/// What every client command needs.
#[derive(Debug, Args)]
pub(crate) struct Client {
    /// A rendezvous point: its address with its peer id, as `serve` prints it; may be repeated, for several points or for
    /// several addresses of one.
    #[arg(long, value_name = "MULTIADDR", required = true)]
    pub(crate) point: Vec<Point>,

    /// Dialect of the protocol that is spoken with the point: rendezvous, waku
    #[arg(long, value_name = "DIALECT", default_value_t, hide_default_value = false)]
    pub(crate) dialect: Dialect,

    /// File with this peer's key, which is its identity; made if it is missing [default: a key for this run alone]
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,

    /// Speak the older form of the protocol too, as points of py-libp2p and older Go do: register without a signature where no
    /// signed record is taken, and list such registrations, marked `unverified`.
    #[arg(long)]
    pub(crate) legacy: bool,

    /// Longest wait for the connection, and for each answer, in seconds.
    #[arg(long, value_name = "SECS", default_value_t = 10, value_parser = value_parser!(u64).range(1..=3_600))]
    pub(crate) timeout: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a key and keep it in a file that is not there yet.
    #[command(after_help = help::KEY_NEW)]
    New(KeyNew),
    /// Show the peer id, type and public key of a key file.
    #[command(after_help = help::KEY_SHOW)]
    Show(KeyShow),
}

#[derive(Debug, Args)]
pub(crate) struct KeyNew {
    /// File to make.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Type of the key; an RSA key has 2048 bits.
    #[arg(long = "type", value_name = "TYPE", value_enum, default_value_t = KeyType::Ed25519)]
    pub(crate) key_type: KeyType,

    /// Print one JSON object.
    #[arg(long, display_order = LAST)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyType {
    Ed25519,
    Secp256k1,
    Ecdsa,
    Rsa,
}

#[derive(Debug, Args)]
pub(crate) struct KeyShow {
    /// File with a key.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Print one JSON object.
    #[arg(long, display_order = LAST)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The bytes in hexadecimal or base64, white space allowed; `-` or nothing reads standard input, which may be binary.
    #[arg(value_name = "HEX|BASE64|-", allow_hyphen_values = true)]
    pub(crate) bytes: Option<String>,

    /// Print one JSON object per line, one per frame.
    #[arg(long, display_order = LAST)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

fn every_parser() -> clap::builder::RangedU64ValueParser {
    value_parser!(u64).range(1..=86_400)
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
