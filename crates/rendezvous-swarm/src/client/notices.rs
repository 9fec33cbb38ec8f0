//! Log lines about points, at most one for each point and subject in a minute.

use std::{collections::BTreeMap, time::Duration};

use libp2p_identity::PeerId;
use rendezvous_core::{
    Time,
    client::{Event, Failure, WalkLimit},
};

/// Time between two lines about the same.
const INTERVAL: Duration = Duration::from_secs(60);

/// Most points and subjects whose last line is remembered. Beyond it nothing is logged until one is a minute old.
const REMEMBERED_MAX: usize = 256;

/// What a line is about: a limit, or, with `None`, pages that were held back.
type Subject = (Option<PeerId>, Option<WalkLimit>);

/// When each line was written last.
#[derive(Debug, Default)]
pub(super) struct Notices {
    written_at: BTreeMap<Subject, Time>,
    held_back: u64,
}

impl Notices {
    /// Logs the limit that a point has met, if the event tells of one.
    pub(super) fn event(&mut self, now: Time, event: &Event) {
        let (Event::Discovered { point, cut: Some(limit), .. } | Event::LookupPolled { point, cut: Some(limit), .. }) =
            event
        else {
            return;
        };
        if self.is_due(now, (Some(*point), Some(*limit))) {
            tracing::warn!(
                %point,
                setting = limit.setting(),
                "listing is read in part: {}; use another point, or raise the setting if the point is honest",
                Failure::Listing(*limit)
            );
        }
    }

    /// Logs that pages were held back, given how many there have been since the start.
    pub(super) fn held_back(&mut self, now: Time, pages: u64) {
        if pages > self.held_back && self.is_due(now, (None, None)) {
            tracing::warn!(
                pages = pages - self.held_back,
                setting = "work_share_percent",
                "pages are asked for later: the answers of a point have used up their share of a core"
            );
            self.held_back = pages;
        }
    }

    fn is_due(&mut self, now: Time, subject: Subject) -> bool {
        let is_recent = |at: &Time| now.saturating_since(*at) < INTERVAL;
        if self.written_at.get(&subject).is_some_and(is_recent) {
            return false;
        }
        if self.written_at.len() >= REMEMBERED_MAX {
            self.written_at.retain(|_, at| is_recent(at));
        }
        let has_room = self.written_at.len() < REMEMBERED_MAX;
        if has_room {
            self.written_at.insert(subject, now);
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_once_a_minute_for_each_point_and_limit_and_memory_is_bounded() {
        let (mut notices, now) = (Notices::default(), Time::from_unix_millis(1_700_000_000_000));
        let subject = (Some(PeerId::random()), Some(WalkLimit::Bytes));
        assert!(notices.is_due(now, subject) && !notices.is_due(now + Duration::from_secs(59), subject));
        assert!(notices.is_due(now, (subject.0, Some(WalkLimit::Pages))));
        assert!(notices.is_due(now + INTERVAL, subject));
        let mut strangers = || notices.is_due(now + INTERVAL, (Some(PeerId::random()), Some(WalkLimit::Bytes)));
        let written = (0..1_000).filter(|_| strangers()).count();
        assert!((REMEMBERED_MAX - 2..=REMEMBERED_MAX).contains(&written), "{written}");
        assert!(notices.written_at.len() <= REMEMBERED_MAX);
    }
}
