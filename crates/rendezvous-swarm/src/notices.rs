//! Log lines about limits that were met.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use rendezvous_core::{
    Time,
    server::{NoticeLimiter, Origin},
};

/// Appended to the first line about a share of an IP prefix: where all clients have one prefix, the share is the fault.
const EXEMPT_HINT: &str = "; behind a proxy or a container bridge every client has the same prefix: name its network in \
                           the setting `connections.exempt`";

/// Writes a log line for each limit, origin and minute at most.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    limiter: Mutex<NoticeLimiter>,
    is_hint_given: AtomicBool,
}

impl Notices {
    /// Says that a limit was met. `setting` is the setting that changes it.
    pub(crate) fn limit(&self, now: Time, setting: &'static str, origin: Origin, what: &str) {
        if self.admit(now, setting, origin) {
            tracing::warn!(setting, %origin, "{what}");
        }
    }

    /// Says that the share of an origin was exceeded.
    pub(crate) fn share(&self, now: Time, setting: &'static str, origin: Origin, what: &str) {
        if self.admit(now, setting, origin) {
            let is_first = !self.is_hint_given.swap(true, Ordering::Relaxed);
            let hint = if is_first { EXEMPT_HINT } else { "" };
            tracing::warn!(setting, %origin, "{what}: the share of its network is used up{hint}");
        }
    }

    fn admit(&self, now: Time, setting: &'static str, origin: Origin) -> bool {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner).admit(now, setting, origin)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fmt::Write as _,
        sync::{Arc, Mutex},
    };

    use tracing::{
        Event, Metadata, Subscriber,
        field::{Field, Visit},
        span,
    };

    use super::*;

    /// Collects what is logged.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            write!(self.0, "{field}={value:?} ").expect("a String takes every write");
        }
    }

    impl Subscriber for Lines {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut line = Line(String::new());
            event.record(&mut line);
            self.0.lock().expect("no panic").push(line.0);
        }

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }

    #[test]
    fn a_share_that_is_used_up_is_told_once_and_the_first_line_names_the_exempt_setting() {
        let lines = Lines::default();
        tracing::subscriber::with_default(lines.clone(), || {
            let (notices, now) = (Notices::default(), Time::from_unix_millis(0));
            notices.share(now, "streams.max", Origin::Unlocated, "streams are reset");
            notices.share(now, "streams.max", Origin::Unlocated, "streams are reset");
            notices.share(now, "streams.max", Origin::Exempt, "streams are reset");
        });
        let lines = lines.0.lock().expect("no panic");
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("connections.exempt") && lines[0].contains("streams.max"), "{}", lines[0]);
        assert!(!lines[1].contains("connections.exempt"), "{}", lines[1]);
    }
}
