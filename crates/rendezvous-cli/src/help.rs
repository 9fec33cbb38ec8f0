//! What `--help` says behind the options: examples that work when pasted, and what cannot be told in a line.
//!
//! Lines of examples fit a terminal of 80 columns: clap would break them elsewhere than a shell lets them be broken.

pub(crate) const EXIT_STATUS: &str = "\
Exit status:
  0  done
  1  something on this machine failed: a key, a port, the output; or what was inspected is not valid
  2  wrong usage
  3  refused by the rendezvous point
  4  the point is unreachable or silent
  5  the point does not speak the protocol";

pub(crate) const EXAMPLES: &str = "\
Examples, one terminal each:
  rendezvous serve --listen /ip4/127.0.0.1/tcp/62649
  rendezvous client --point /ip4/127.0.0.1/tcp/62649/p2p/<peer id>
  rendezvous discover --point /ip4/127.0.0.1/tcp/62649/p2p/<peer id>
`serve` prints its peer id, and a command to paste.";

// Paragraphs are one line each: clap breaks them as the terminal is wide.

pub(crate) const SERVE: &str = "\
Examples:
  rendezvous serve --listen /ip4/127.0.0.1/tcp/0 --key ./point.key
  rendezvous serve --check-config --min-ttl 600

It prints `peer id: …`, a line `listening: …` per address, the command for a client to try, and from then on statistics \
when they have changed. Ctrl-C or SIGTERM ends it. It goes on if nobody reads its output. SIGHUP has it read its settings again: `dialects` follows at once, and what needs a restart is named.

Each setting has its place in the file that --config names, a variable such as RENDEZVOUS_TTL_MIN_SECS for `min_secs` under \
[ttl], and a flag. Variables override the file, flags override both. RENDEZVOUS_CONFIG stands for --config. What holds in \
some namespaces, [[policy]], is for the file only. What --check-config prints is such a file. A list takes its values \
separated by commas, or its flag several times; a flag alone stands for `=true`.";

pub(crate) const CLIENT: &str = "\
Example, where PEER is the peer id that `rendezvous serve` prints:
  rendezvous client --namespace chat --every 5 \\
    --point /ip4/127.0.0.1/tcp/62649/p2p/$PEER

It registers, keeps the registration, and shows who is registered: `+` who has come, this peer marked, `~` whose addresses \
have changed, `-` who has gone. It goes on where the point is away, and registers again where the point has forgotten it. \
Ctrl-C or SIGTERM withdraws the registration; a second Ctrl-C ends it at once.

With several --point it registers with each and looks around at all of them, also while some are away; a peer is gone when \
no point lists it.

What each poll lists is told by `rendezvous discover --help`, and when it ends early by `rendezvous register --help`.";

pub(crate) const REGISTER: &str = "\
Example, where PEER is the peer id that `rendezvous serve` prints:
  rendezvous register --namespace chat --key ./me.key \\
    --point /ip4/127.0.0.1/tcp/62649/p2p/$PEER

It stays, refreshes the registration before it ends, and withdraws it on Ctrl-C or SIGTERM, which takes three seconds at \
most; a second Ctrl-C ends it at once.

What may pass is tried again for as long as it runs: a point that is away, full or overloaded. It ends with status 3 if \
the point refuses the first attempt because of the namespace, the TTL or the record, and with 5 if the peer is no \
rendezvous point.

With several --point it registers with each. A point for which it would end is left with a note, and it ends if that was \
the last; with --once, the status is 0 if one of them did it.";

pub(crate) const DISCOVER: &str = "\
Example, where PEER is the peer id that `rendezvous serve` prints:
  rendezvous discover --namespace chat --limit 10 \\
    --point /ip4/127.0.0.1/tcp/62649/p2p/$PEER

Each registration is listed once, and this peer's own one is left out. The walk over the point's pages ends with the last \
page, at --limit, after 10 million registrations or 100,000 pages, or when the point gives the same cookie again.

With --every it goes on until Ctrl-C: `+` who has come, `~` whose addresses have changed, `-` who has gone. A renewal is \
nothing new. The protocol tells who has come since a cookie, and never who has gone; so where there are up to 1000 \
registrations, each poll lists all of them, and who withdraws is gone within one. Where there are more, polls follow the \
cookie and bring what is new, and every tenth lists all; who withdraws is gone with that one, or when the lifetime ends. \
With --fresh each poll forgets the cookie and lists all, however many. At most 100,000 registrations are followed.

In the waku dialect a poll is a random choice of at most 1000 registrations; where there are more, who withdraws is gone when \
the lifetime ends.

A point that is away is told of once, and tried on at intervals that grow to 30 s; after a restart it lists who has \
registered again. The time between polls varies by an eighth, so that clients do not ask in step.

With several --point, what they list is merged: each peer once, with the newest of its records, the longest time left and \
the points that list it. It is printed when the last point has answered; at most 100,000 registrations are taken of each. \
The status is 0 if one of them has answered; notes tell of the others.";

pub(crate) const UNREGISTER: &str = "\
Example, where PEER is the peer id that `rendezvous serve` prints:
  rendezvous unregister --namespace chat --key ./me.key \\
    --point /ip4/127.0.0.1/tcp/62649/p2p/$PEER

The protocol has no answer to this: it is done when the request is written to a point that speaks the protocol. With \
several --point, the status is 0 if that is so at one of them; notes tell of the others.";

pub(crate) const KEY: &str = "\
Examples:
  rendezvous key new ./me.key
  rendezvous key show ./me.key";

pub(crate) const KEY_NEW: &str = "\
Example:
  rendezvous key new ./me.key --type secp256k1

The file holds the key in the protobuf form that every libp2p implementation reads, and only this user can read it.";

pub(crate) const KEY_SHOW: &str = "\
Example:
  rendezvous key show ./me.key

The public key is a `PublicKey` message of libp2p. The private key is never shown.";

pub(crate) const INSPECT: &str = "\
Example:
  rendezvous inspect 0c08032a080a04666f6f31100a

It takes one or several frames, a message without its length, a signed envelope, or the peer record in one. Each line has \
the offset in the input, the number and name of a field, its length and its meaning. Envelopes are verified within the \
bounds that a point has: 8 KiB and 32 addresses.

The status is 0 if all is well-formed and every envelope verifies; 1 if not, with the offset from which it is not valid; \
and 2 if the input cannot be read as anything.";

pub(crate) const COMPLETIONS: &str = "\
Example:
  rendezvous completions bash

For one session: `source <(rendezvous completions bash)`. To stay, write it to where the shell looks for completions, such \
as ~/.local/share/bash-completion/completions/rendezvous.";

pub(crate) const STORE: &str = "\
Examples, with the directory that `rendezvous serve --data-dir` was given:
  rendezvous store check ./data
  rendezvous store stats ./data

The point must not run.";

pub(crate) const STORE_CHECK: &str = "\
Example:
  rendezvous store check ./data

It reads a copy, which it makes beside the store for as long as it takes: nothing is changed. Exit status 1 and one line \
say what is lost.";

pub(crate) const STORE_STATS: &str = "\
Example:
  rendezvous store stats ./data

It reads a copy, which it makes beside the store for as long as it takes.";

pub(crate) const STORE_REPAIR: &str = "\
Example:
  rendezvous store repair ./data

It keeps the registrations whose bytes are as they were written, and drops the others. What is missing altogether stays \
so: peers register again within their TTL.";
