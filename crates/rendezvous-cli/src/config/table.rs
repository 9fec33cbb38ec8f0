//! The settings, one entry each: keys in files, variables, flags, bounds, help and what `--check-config` prints follow
//! from it. A new setting is an entry here, and its place in [`Settings`].

use rendezvous_wire::{NAMESPACE_BYTES_MAX, Ttl, frame};

use super::{
    field::{Bounds, Field},
    policy::Draft,
    setting::{Flag, Setting, setting, shape},
    settings::Settings,
};

const ANY: Bounds = Bounds::NONE;
const TTL: Bounds = Bounds::new(1, Ttl::RECOMMENDED_MAX.as_secs());
const SECS: Bounds = Bounds::new(1, 86_400);
const MILLIS: Bounds = Bounds::new(1, 86_400_000);
/// Milliseconds of processor time in a second, of up to a hundred cores.
const WORK: Bounds = Bounds::new(1, 100_000);
/// What positions and counters hold with room to spare.
const COUNT: Bounds = Bounds::new(1, 1_000_000_000);
const BYTES: Bounds = Bounds::new(1, 1 << 50);
/// From what any record with an address takes, to what the registry keeps.
const RECORD_BYTES: Bounds = Bounds::new(256, 32 << 10);
/// A page takes the largest record, its namespace and a cookie.
const PAGE_BYTES: Bounds = Bounds::new(40 << 10, frame::PAGE_BYTES_MAX as u64);
/// From what some clients write at most, to sixteen times the default: a request has no use for more.
const REQUEST_BYTES: Bounds = Bounds::new(frame::REGISTER_BYTES_MAX as u64, 16 * frame::REQUEST_BYTES_MAX as u64);

/// From what an idle point with its connections takes, to more than any machine has.
const MEMORY: Bounds = Bounds::new(64 << 20, 1 << 50);

const fn flag(name: &'static str, value: &'static str) -> Option<Flag> {
    Some(Flag { name, value })
}

/// All settings but the policies, in the order in which they are told.
pub(crate) static SETTINGS: &[Setting<Settings>] = &[
    setting!(
        "listen",
        flag("listen", "MULTIADDR"),
        ANY,
        listen,
        "Address to listen on, of TCP or QUIC; may be repeated. A wildcard is every interface, port 0 any free port \
         [default: port 62649 of every interface, as /ip4/0.0.0.0/tcp/62649, /ip4/0.0.0.0/udp/62649/quic-v1, and both of \
         /ip6/::]"
    ),
    setting!(
        "key",
        flag("key", "FILE"),
        ANY,
        key,
        "File with the point's key, which is its identity; made if it is missing [default: `key` in the data directory]"
    ),
    setting!(
        "data_dir",
        flag("data-dir", "DIR"),
        ANY,
        data_dir,
        "Directory for what the point keeps; made if it is missing [default: $XDG_DATA_HOME/rendezvous, or \
         ~/.local/share/rendezvous]"
    ),
    setting!(
        "ephemeral",
        flag("ephemeral", "BOOL"),
        ANY,
        ephemeral,
        "Keep registrations in memory only, so that they end with this process"
    ),
    setting!(
        "dialects",
        flag("dialects", "DIALECT"),
        ANY,
        server.dialects,
        "Dialects of the protocol that are served, from one registry: rendezvous, waku"
    ),
    setting!(
        "json",
        flag("json", "BOOL"),
        ANY,
        json,
        "Print one JSON object per line: `start`, `listening`, `stats`, `reloaded`, `shutdown`"
    ),
    setting!(
        "memory_max",
        flag("memory-max", "SIZE"),
        MEMORY,
        memory_max,
        "Memory for connections, requests and answers together, beyond the registrations; bytes, or with a unit such as GiB"
    ),
    setting!(
        "statistics.interval_secs",
        flag("stats-interval", "SECS"),
        SECS,
        statistics.interval,
        "How often changed statistics are printed, in seconds"
    ),
    setting!(
        "statistics.namespaces",
        flag("stats", "BOOL"),
        ANY,
        statistics.namespaces,
        "List the namespaces with their numbers of registrations, the fullest 1000, with each line of statistics"
    ),
    setting!(
        "ttl.min_secs",
        flag("min-ttl", "SECS"),
        TTL,
        server.server.ttl_min,
        "Shortest lifetime that a registration may ask for, in seconds"
    ),
    setting!(
        "ttl.max_secs",
        flag("max-ttl", "SECS"),
        TTL,
        server.server.ttl_max,
        "Longest lifetime that a registration may ask for, in seconds; at most 72 hours"
    ),
    setting!(
        "ttl.default_secs",
        flag("default-ttl", "SECS"),
        TTL,
        server.server.ttl_default,
        "Lifetime of a registration that asks for none, in seconds"
    ),
    setting!(
        "registrations.max",
        flag("registrations-max", "N"),
        COUNT,
        server.server.registrations_max,
        "Registrations in total"
    ),
    setting!(
        "registrations.per_peer_max",
        flag("registrations-per-peer-max", "N"),
        COUNT,
        server.server.registrations_per_peer_max,
        "Registrations that one peer may have"
    ),
    setting!(
        "registrations.per_prefix_max",
        flag("registrations-per-prefix-max", "N"),
        COUNT.or_unlimited(),
        server.server.registrations_per_prefix_max,
        "Registrations that may come from one IP prefix, /24 or /56; an IPv6 /48 may have twice as many, a /32 five times \
         [default: a hundredth of registrations.max, and at least 1000]"
    ),
    setting!(
        "registrations.per_namespace_max",
        flag("registrations-per-namespace-max", "N"),
        COUNT.or_unlimited(),
        server.server.registrations_per_namespace_max,
        "Registrations in one namespace"
    ),
    setting!(
        "registrations.record_bytes_max",
        flag("registrations-record-bytes-max", "BYTES"),
        BYTES.or_unlimited(),
        server.server.record_bytes_max,
        "Bytes of all records together"
    ),
    setting!(
        "records.bytes_max",
        flag("records-bytes-max", "BYTES"),
        RECORD_BYTES,
        server.server.record_limits.envelope_bytes_max,
        "Bytes of one signed record"
    ),
    setting!(
        "records.addresses_max",
        flag("records-addresses-max", "N"),
        Bounds::new(1, 1_000),
        server.server.record_limits.addresses_max,
        "Addresses in one signed record"
    ),
    setting!(
        "records.accepts",
        flag("records-accepts", "FLAVOUR"),
        ANY,
        server.server.accepts,
        "Flavours of records that a registration may carry: standard, legacy"
    ),
    setting!(
        "records.unknown_reads",
        flag("records-unknown-reads", "FLAVOUR"),
        ANY,
        server.server.unknown_reads,
        "Flavours that go to a requester of whom nothing is known, where there are both"
    ),
    setting!(
        "records.legacy_peer_info",
        flag("records-legacy-peer-info", "BOOL"),
        ANY,
        server.server.legacy_peer_info,
        "Take registrations without a signature, of py-libp2p and older Go, and list them to such clients alone"
    ),
    setting!(
        "page.registrations_max",
        flag("page-registrations-max", "N"),
        Bounds::new(1, 1_000),
        server.server.page_registrations_max,
        "Registrations in one answer"
    ),
    setting!(
        "page.bytes_max",
        flag("page-bytes-max", "BYTES"),
        PAGE_BYTES,
        server.server.page_bytes_max,
        "Bytes of one answer"
    ),
    setting!(
        "rate.per_peer.burst",
        flag("rate-per-peer-burst", "N"),
        COUNT.or_unlimited(),
        rates.per_peer.burst,
        "Requests of one peer that may come at once"
    ),
    setting!(
        "rate.per_peer.period_millis",
        flag("rate-per-peer-period-millis", "MILLIS"),
        MILLIS,
        rates.per_peer.period_millis,
        "Time that earns one peer another request, in milliseconds"
    ),
    setting!(
        "rate.per_prefix.burst",
        flag("rate-per-prefix-burst", "N"),
        COUNT.or_unlimited(),
        rates.per_prefix.burst,
        "Requests from one IP prefix, /24 or /56, that may come at once"
    ),
    setting!(
        "rate.per_prefix.period_millis",
        flag("rate-per-prefix-period-millis", "MILLIS"),
        MILLIS,
        rates.per_prefix.period_millis,
        "Time that earns an IP prefix another request, in milliseconds"
    ),
    setting!(
        "work.per_peer.burst_millis",
        flag("work-per-peer-burst-millis", "MILLIS"),
        MILLIS.or_unlimited(),
        work.per_peer.burst_millis,
        "Processor time that the requests of one peer may take at once, in milliseconds"
    ),
    setting!(
        "work.per_peer.millis_per_sec",
        flag("work-per-peer-millis-per-sec", "MILLIS"),
        WORK,
        work.per_peer.millis_per_sec,
        "Processor time that each second earns one peer, in milliseconds"
    ),
    setting!(
        "work.per_prefix.burst_millis",
        flag("work-per-prefix-burst-millis", "MILLIS"),
        MILLIS.or_unlimited(),
        work.per_prefix.burst_millis,
        "Processor time that the requests from one IP prefix, /24 or /56, may take at once, in milliseconds"
    ),
    setting!(
        "work.per_prefix.millis_per_sec",
        flag("work-per-prefix-millis-per-sec", "MILLIS"),
        WORK,
        work.per_prefix.millis_per_sec,
        "Processor time that each second earns an IP prefix, in milliseconds"
    ),
    setting!(
        "work.max_millis_per_sec",
        flag("work-max-millis-per-sec", "MILLIS"),
        WORK.or_unlimited(),
        work.max_millis_per_sec,
        "Processor time of all requests in a second, in milliseconds, above which the IP prefixes that take most get less"
    ),
    setting!(
        "discover.all",
        flag("discover-all", "WHO"),
        ANY,
        server.server.discover_all,
        "Who may list all namespaces at once: anyone, nobody, or peer ids; never whom a policy keeps from one of them"
    ),
    setting!(
        "streams.max",
        flag("streams-max", "N"),
        COUNT,
        server.streams_max,
        "Streams in flight on all connections together; near it idle streams are reset; at most an eighth of memory_max, at 4 KiB \
         each"
    ),
    setting!(
        "streams.per_connection_max",
        flag("streams-per-connection-max", "N"),
        Bounds::new(1, 10_000),
        server.streams_per_connection_max,
        "Streams in flight on one connection; another one is reset"
    ),
    setting!(
        "streams.pages_per_connection_max",
        flag("streams-pages-per-connection-max", "N"),
        Bounds::new(1, 10_000),
        server.pages_per_connection_max,
        "Pages under way on one connection; others wait"
    ),
    setting!(
        "streams.pages_bytes_max",
        flag("streams-pages-bytes-max", "BYTES"),
        BYTES,
        server.pages_bytes_max,
        "Bytes of the pages under way on all connections together; pages get shorter before it; at most an eighth of memory_max"
    ),
    setting!(
        "streams.requests_max",
        flag("streams-requests-max", "N"),
        COUNT.or_unlimited(),
        server.requests_per_stream_max,
        "Requests that one stream may carry, after which it is closed"
    ),
    setting!(
        "streams.request_bytes_max",
        flag("streams-request-bytes-max", "BYTES"),
        REQUEST_BYTES,
        server.request_bytes_max,
        "Bytes of one request"
    ),
    setting!(
        "streams.requests_bytes_max",
        flag("streams-requests-bytes-max", "BYTES"),
        Bounds::new(1 << 20, 1 << 40),
        server.requests_bytes_max,
        "Bytes of requests that wait, on all connections together; streams of the largest network are reset above it; at most a \
         sixteenth of memory_max"
    ),
    setting!(
        "streams.pipelined_requests_max",
        flag("streams-pipelined-requests-max", "N"),
        Bounds::new(6, 10_000),
        server.pipelined_requests_max,
        "Requests that may wait on one stream while one is served; with one more the stream is reset"
    ),
    setting!(
        "streams.pipelined_bytes_max",
        flag("streams-pipelined-bytes-max", "BYTES"),
        Bounds::new(64 << 10, 64 << 20),
        server.pipelined_bytes_max,
        "Bytes of requests that may wait on one stream; above it the stream is reset"
    ),
    setting!(
        "streams.negotiating_max",
        flag("streams-negotiating-max", "N"),
        COUNT,
        server.negotiating_max,
        "Streams whose protocol is being negotiated, on all connections together; above it connections with most are closed"
    ),
    setting!(
        "streams.frame_timeout_secs",
        flag("streams-frame-timeout-secs", "SECS"),
        SECS,
        server.frame_timeout,
        "Time for a request, from its first byte to its last, in seconds"
    ),
    setting!(
        "streams.idle_timeout_secs",
        flag("streams-idle-timeout-secs", "SECS"),
        SECS,
        server.idle_timeout,
        "Time that a stream may be silent between requests, in seconds"
    ),
    setting!(
        "streams.write_timeout_secs",
        flag("streams-write-timeout-secs", "SECS"),
        SECS,
        server.write_timeout,
        "Time for each 64 KiB of an answer to be taken, in seconds"
    ),
    setting!(
        "store.commit_timeout_secs",
        flag("store-commit-timeout-secs", "SECS"),
        SECS,
        server.commit_timeout,
        "Time for the store to take a registration, in seconds"
    ),
    setting!(
        "store.pending_max",
        flag("store-pending-max", "N"),
        Bounds::new(1, 10_000_000),
        server.server.pending_max,
        "Changes that may wait for the store; others are refused"
    ),
    setting!(
        "store.pending_bytes_max",
        flag("store-pending-bytes-max", "BYTES"),
        Bounds::new(64 << 10, 1 << 40),
        server.server.pending_bytes_max,
        "Bytes of records that may wait for the store; others are refused"
    ),
    setting!(
        "connections.max",
        flag("connections-max", "N"),
        COUNT,
        connections.limits.connections_max,
        "Inbound connections in total; near it idle ones are closed; at most half of memory_max, at 48 KiB each"
    ),
    setting!(
        "connections.per_peer_max",
        flag("connections-per-peer-max", "N"),
        COUNT,
        connections.limits.connections_per_peer_max,
        "Inbound connections of one peer"
    ),
    setting!(
        "connections.per_prefix_max",
        flag("connections-per-prefix-max", "N"),
        COUNT,
        connections.limits.connections_per_prefix_max,
        "Inbound connections from one IP prefix, /24 or /56"
    ),
    setting!(
        "connections.pending_max",
        flag("connections-pending-max", "N"),
        COUNT,
        connections.limits.pending_max,
        "Inbound connections that are being set up, over TCP and over QUIC each; above it the oldest of the network with the most \
         are given up"
    ),
    setting!(
        "connections.pending_per_prefix_max",
        flag("connections-pending-per-prefix-max", "N"),
        COUNT,
        connections.limits.pending_per_prefix_max,
        "Inbound connections from one IP prefix that are being set up"
    ),
    setting!(
        "connections.exempt",
        flag("connections-exempt", "CIDR"),
        ANY,
        connections.exempt,
        "Networks whose connections have no share per IP prefix, such as that of a proxy or a container bridge, behind \
         which all clients have one prefix [default: none]"
    ),
    setting!(
        "connections.handshakes_per_second_max",
        flag("connections-handshakes-per-second-max", "N"),
        Bounds::new(1, 1_000_000),
        transport.handshakes_per_second_max,
        "Connections that may begin to be set up in a second, over TCP and over QUIC each; others wait"
    ),
    setting!(
        "connections.idle_timeout_secs",
        flag("connections-idle-timeout-secs", "SECS"),
        SECS,
        connections.limits.idle_timeout,
        "Time after which a connection without a request is closed, in seconds"
    ),
    setting!(
        "connections.pressure_idle_secs",
        flag("connections-pressure-idle-secs", "SECS"),
        SECS,
        connections.limits.pressure_idle,
        "The same for networks above their share, near connections.max, in seconds"
    ),
    setting!(
        "connections.handshake_timeout_secs",
        flag("connections-handshake-timeout-secs", "SECS"),
        SECS,
        transport.handshake_timeout,
        "Time for a connection to be set up, in seconds"
    ),
    setting!(
        "transport.streams_max",
        flag("transport-streams-max", "N"),
        Bounds::new(16, 8_192),
        transport.streams_max,
        "Streams of any protocol on one connection over TCP; with one more the connection ends"
    ),
    setting!(
        "transport.unread_per_connection_max",
        flag("transport-unread-per-connection-max", "BYTES"),
        Bounds::new(64 << 10, 1 << 40),
        transport.unread_per_connection_max,
        "Bytes that one connection may send unread; above it the connection is closed"
    ),
    setting!(
        "transport.unread_max",
        flag("transport-unread-max", "BYTES"),
        Bounds::new(1 << 20, 1 << 40),
        transport.unread_max,
        "The same for all connections together; above it the largest is closed; at most a sixteenth of memory_max"
    ),
    setting!(
        "transport.unsent_per_connection_max",
        flag("transport-unsent-per-connection-max", "BYTES"),
        Bounds::new(4 << 10, 1 << 40),
        transport.unsent_per_connection_max,
        "Bytes written to one connection that have not left; more wait"
    ),
    setting!(
        "transport.unsent_max",
        flag("transport-unsent-max", "BYTES"),
        Bounds::new(1 << 20, 1 << 40),
        transport.unsent_max,
        "The same for all connections together; above it the largest is closed; at most a sixteenth of memory_max"
    ),
    setting!(
        "transport.stall_timeout_secs",
        flag("transport-stall-timeout-secs", "SECS"),
        SECS,
        transport.stall_timeout,
        "Time for which a peer may take nothing that is written to it, in seconds"
    ),
    setting!(
        "transport.close_timeout_secs",
        flag("transport-close-timeout-secs", "SECS"),
        SECS,
        transport.close_timeout,
        "Time for a connection to close in good order, in seconds"
    ),
];

/// What `[[policy]]` can say.
pub(crate) static POLICY: &[Setting<Draft>] = &[
    setting!("namespace", None, ANY, namespace, "The namespace that it is for"),
    setting!(
        "prefix",
        None,
        Bounds::new(0, NAMESPACE_BYTES_MAX as u64),
        prefix,
        "In place of `namespace`: how the namespaces begin that it is for"
    ),
    setting!("register", None, ANY, policy.register, "Who may register"),
    setting!("discover", None, ANY, policy.discover, "Who may discover"),
    setting!("ttl_min_secs", None, TTL, policy.ttl_min, "Shortest lifetime, in place of the point's"),
    setting!("ttl_max_secs", None, TTL, policy.ttl_max, "Longest lifetime, in place of the point's"),
    setting!(
        "registrations_max",
        None,
        COUNT.or_unlimited(),
        policy.registrations_max,
        "Registrations in each of these namespaces, in place of the point's bound"
    ),
];
