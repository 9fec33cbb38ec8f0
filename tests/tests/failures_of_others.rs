//! Failures seen in the field, each a test here: a fault that a system in use has, and that a user of ours never meets.
//!
//! Where `libp2p-rendezvous` 0.18 has it, the test runs that beside ours and shows it; a test that fails there after an
//! update means that it was mended.
//!
//! Some of these failures have their test where the code is that must not have them:
//!
//! | failure | test |
//! |---|---|
//! | a refresh is refused at a cap | besides here: `rendezvous-core/tests/server.rs`, `a_renewal_passes_at_every_cap_and_a_newcomer_does_not` |
//! | registering one namespace again leaks a record and a timer | besides here: `rendezvous-core/tests/server.rs`, `registering_one_namespace_again_and_again_keeps_one_registration` |
//! | unlimited namespaces per peer | `tests/conformance.rs`, `a_maximum_of_1000_registrations_for_each_peer` |
//! | a length prefix is allocated before it is checked | `rendezvous-wire/tests/allocation.rs`, `the_codec_takes_nothing_for_a_frame_that_is_only_announced` |
//! | one bad record loses the whole answer | besides here: `rendezvous-wire/tests/hostile.rs`, `one_broken_registration_among_a_thousand_loses_only_itself` |
//! | a cookie from before the point's restart | the point: `rendezvous-core/tests/server.rs`, `a_cookie_from_before_a_restart_lists_everything_again`; the client: here |
//! | offset cookies skip and repeat when entries expire | `rendezvous-core/tests/server.rs`, `expiry_and_withdrawal_between_pages_neither_skip_nor_repeat` |
//! | one long TTL keeps all expired entries behind it | `rendezvous-core/src/server/registry/tests.rs`, `one_long_ttl_at_the_head_keeps_nothing_behind_it` |
//! | DISCOVER of unknown namespaces creates entries | `rendezvous-core/tests/server.rs`, `an_unknown_namespace_is_an_empty_page_and_leaves_nothing_behind` |
//! | an answer larger than the reader's limit | besides here: `rendezvous-wire/tests/page.rs`, `a_full_page_has_no_room_for_one_more_and_stays_within_what_everybody_reads` |
//! | one dead point stops discovery | besides here: `rendezvous-core/tests/client/lookups.rs`, `one_dead_point_stops_no_lookup_and_is_asked_again_after_its_back_off`; `rendezvous-sim/tests/five_points.rs` |
//! | a point's results are dialled without a cap | besides here: `rendezvous-swarm/tests/client_requests.rs`, `no_more_addresses_are_offered_than_the_limits_allow` |
//! | a random choice that is none | besides here: `rendezvous-core/src/server/registry/sample.rs`, `each_of_500_is_drawn_as_often_as_any_other` |
//! | a TTL taken for nanoseconds | besides here: `tests/conformance.rs`, `a_registration_persists_until_its_ttl_expires` |

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "failures_of_others/answers.rs"]
mod answers;
#[path = "failures_of_others/client.rs"]
mod client;
#[path = "failures_of_others/point.rs"]
mod point;
#[path = "failures_of_others/side_by_side.rs"]
mod side_by_side;
#[path = "failures_of_others/waku.rs"]
mod waku;
