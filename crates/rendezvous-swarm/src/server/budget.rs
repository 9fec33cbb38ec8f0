//! What all connections together may hold of something.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// An amount that is shared out. Nobody waits for it: whoever comes when too little is left goes without.
#[derive(Debug)]
pub(super) struct Budget {
    used: AtomicUsize,
    max: usize,
}

/// A part of a budget, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    amount: usize,
}

impl Budget {
    pub(super) fn new(max: usize) -> Self {
        Self { used: AtomicUsize::new(0), max }
    }

    /// So much of it, if there is as much left.
    pub(super) fn try_take(self: &Arc<Self>, amount: usize) -> Option<Share> {
        // The number alone is shared, so that no order with other memory is needed.
        let add = |used: usize| used.checked_add(amount).filter(|&used| used <= self.max);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).ok()?;
        Some(Share { budget: self.clone(), amount })
    }

    /// How much of it is taken.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

impl Share {
    /// Takes what is missing to this amount; whether there was as much left.
    pub(super) fn grow_to(&mut self, amount: usize) -> bool {
        let missing = amount.saturating_sub(self.amount);
        let Some(mut more) = self.budget.try_take(missing) else { return false };
        self.amount += core::mem::take(&mut more.amount);
        true
    }

    /// Gives back what is above this amount.
    pub(super) fn shrink_to(&mut self, amount: usize) {
        let above = self.amount.saturating_sub(amount);
        self.budget.used.fetch_sub(above, Ordering::Relaxed);
        self.amount -= above;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.amount, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_taken_than_there_is_and_what_is_dropped_is_there_again() {
        let budget = Arc::new(Budget::new(10));
        let first = budget.try_take(6).expect("room");
        assert!(budget.try_take(5).is_none());
        let second = budget.try_take(4).expect("room");
        assert!(budget.try_take(1).is_none());
        assert!(budget.try_take(usize::MAX).is_none());
        drop(first);
        assert_eq!(budget.used(), 4);
        assert!(budget.try_take(6).is_some());
        drop(second);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_share_gives_back_what_it_does_not_need() {
        let budget = Arc::new(Budget::new(10));
        let mut share = budget.try_take(10).expect("room");
        share.shrink_to(3);
        assert_eq!(budget.used(), 3);
        share.shrink_to(5);
        assert_eq!(budget.used(), 3);
        drop(share);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_share_grows_within_the_budget() {
        let budget = Arc::new(Budget::new(10));
        let mut share = budget.try_take(2).expect("room");
        assert!(share.grow_to(7) && share.grow_to(5));
        assert_eq!(budget.used(), 7);
        assert!(!share.grow_to(11));
        assert_eq!(budget.used(), 7);
        drop(share);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn threads_that_take_together_stay_within_it() {
        let budget = Arc::new(Budget::new(10));
        std::thread::scope(|scope| {
            for amount in 1..5 {
                let budget = &budget;
                scope.spawn(move || {
                    for _ in 0..10_000 {
                        let mut share = budget.try_take(amount + 1);
                        assert!(budget.used() <= 10);
                        share.iter_mut().for_each(|share| share.shrink_to(amount));
                    }
                });
            }
        });
        assert_eq!(budget.used(), 0);
    }
}
