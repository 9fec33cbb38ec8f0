//! A uniform random choice of registrations.

use hashbrown::HashSet;
use rand::Rng;
use rendezvous_record::{Flavour, Flavours};

use super::{Registry, Served, order::Order};
use crate::Time;

/// A listing of at most so many entries for each one wanted is shuffled as a whole; a longer one is thrown at. Beyond it
/// there are more than twice as many entries as are wanted, so every second hit at least is a new one.
const SHUFFLED_PER_WANTED: usize = 8;

/// Throws for each registration that is wanted, and beside these for those that have ended and are not taken out yet. A
/// throw finds a new registration with a chance of more than an eighth, so of living ones these are enough but for one
/// sample in 2^500; and where ten in eleven have ended, there are still 186 living ones among the latter.
const THROWS_PER_WANTED: usize = 32;
const THROWS_FOR_ENDED: usize = 16_384;

impl Registry {
    /// Hands at most `count` living registrations of a namespace (or of all) with a record of this flavour to `take`, until
    /// that returns `false`: drawn uniformly, without replacement, in random order.
    ///
    /// It costs O(`count`), whatever the size of the listing. What has ended and is not taken out yet is passed over, and
    /// changes the chances of no other.
    pub(crate) fn sample(
        &self,
        now: Time,
        namespace: Option<&str>,
        flavour: Flavour,
        count: usize,
        rng: &mut impl Rng,
        mut take: impl FnMut(Served<'_>) -> bool,
    ) {
        let orders = match namespace {
            None => &self.all,
            Some(name) => match self.namespaces.find(name) {
                None => return,
                Some(index) => &self.namespaces.at(index).orders,
            },
        };
        let (order, reads, now) = (&orders[flavour.index()], Flavours::from(flavour), self.tick(now));
        let mut left = count;
        let mut serve = |index| match self.served(index, reads, now) {
            None => Taken::Ended,
            Some(served) if left > 0 && take(served) => {
                left -= 1;
                if left > 0 { Taken::Yes } else { Taken::Last }
            }
            Some(_) => Taken::Last,
        };
        if order.is_empty() || count == 0 {
            return;
        }
        if order.len_bound() <= count.saturating_mul(SHUFFLED_PER_WANTED) {
            self.shuffle(order, rng, &mut serve);
        } else {
            self.throw(order, count, rng, &mut serve);
        }
    }

    /// A shuffle of the whole listing, as far as it is wanted.
    fn shuffle(&self, order: &Order, rng: &mut impl Rng, serve: &mut impl FnMut(u32) -> Taken) {
        let mut entries: Vec<u32> = order.iter_after(&self.slots, 0).collect();
        let len = entries.len();
        for at in 0..len {
            entries.swap(at, rng.random_range(at..len));
            if let Taken::Last = serve(entries[at]) {
                return;
            }
        }
    }

    /// Throws at the listing until there are enough new ones.
    fn throw(&self, order: &Order, count: usize, rng: &mut impl Rng, serve: &mut impl FnMut(u32) -> Taken) {
        let mut taken = HashSet::with_capacity_and_hasher(count, self.keys);
        for _ in 0..count * THROWS_PER_WANTED + THROWS_FOR_ENDED {
            let Some(index) = order.throw(rng).filter(|index| !taken.contains(index)) else { continue };
            match serve(index) {
                Taken::Yes => {
                    taken.insert(index);
                }
                Taken::Last => return,
                Taken::Ended => {}
            }
        }
    }
}

/// What has become of an entry.
enum Taken {
    Yes,
    /// It was the last one, or one too many.
    Last,
    Ended,
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::collections::BTreeSet;

    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;
    use rendezvous_wire::Namespace;

    use super::*;
    use crate::server::{hash::Keys, registry::Record};

    const SAMPLES: usize = 4_000;

    /// What chi-square with 499 degrees of freedom exceeds, and stays below, once in 100,000 each (by Wilson and Hilferty): a
    /// fair choice fails with one seed in 50,000. Where half of the peers are drawn a tenth more often than the others, the
    /// statistic is above 900.
    const CHI_SQUARE_499: core::ops::Range<f64> = 375.0..646.0;

    fn at(secs: u64) -> Time {
        Time::from_unix_millis(1_700_000_000_000) + Duration::from_secs(secs)
    }

    fn registry() -> Registry {
        Registry::new(at(0), Keys::new([3; 16]))
    }

    fn rng(seed: u8) -> ChaCha8Rng {
        ChaCha8Rng::from_seed([seed; 32])
    }

    fn put(registry: &mut Registry, number: u32, namespace: &str, flavour: Flavour, position: u64, ends: Time) {
        let mut bytes = [0x80; 60];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        bytes[4] = flavour.index() as u8;
        let record = Record { flavour, bytes: &bytes, peer_start: 0, peer_len: 4 };
        registry.put(
            &Namespace::new(namespace).expect("a short name"),
            record,
            position,
            ends,
            crate::server::Origin::Exempt,
        );
    }

    /// The numbers of the peers that are drawn.
    fn draw(registry: &Registry, now: Time, namespace: &str, count: usize, rng: &mut ChaCha8Rng) -> Vec<u32> {
        let mut drawn = Vec::new();
        registry.sample(now, Some(namespace), Flavour::Standard, count, rng, |served| {
            assert_eq!(served.record[4], 0, "the record is of the flavour that is asked for");
            drawn.push(u32::from_le_bytes(served.record[..4].try_into().expect("four bytes")));
            true
        });
        let distinct: BTreeSet<_> = drawn.iter().collect();
        assert_eq!(distinct.len(), drawn.len(), "drawn without replacement");
        drawn
    }

    /// The statistic of how often each of `n` was drawn in samples of `count` without replacement: as these are negatively
    /// correlated, the variance of a cell is that of a binomial one times n / (n - 1).
    fn chi_square(drawn: &[u32], count: usize) -> f64 {
        let n = drawn.len() as f64;
        let chance = count as f64 / n;
        let expected = SAMPLES as f64 * chance;
        let sum: f64 = drawn.iter().map(|&times| (f64::from(times) - expected).powi(2)).sum();
        sum / (expected * (1.0 - chance)) * (n - 1.0) / n
    }

    /// Draws many samples of `count` in "a", and counts how often each of the living, which are those below 500, came.
    fn assert_fair(registry: &Registry, now: Time, count: usize, seed: u8) {
        let (mut rng, mut times) = (rng(seed), vec![0; 500]);
        for _ in 0..SAMPLES {
            let drawn = draw(registry, now, "a", count, &mut rng);
            assert_eq!(drawn.len(), count);
            for number in drawn {
                times[number as usize] += 1;
            }
        }
        let statistic = chi_square(&times, count);
        assert!(CHI_SQUARE_499.contains(&statistic), "chi-square of {count} of 500 is {statistic}");
    }

    #[test]
    fn each_of_500_is_drawn_as_often_as_any_other() {
        let mut registry = registry();
        for number in 0..500 {
            put(&mut registry, number, "a", Flavour::Standard, u64::from(number) + 1, at(20));
        }
        // One of eight is drawn by throwing, one of two by shuffling.
        assert_fair(&registry, at(1), 50, 1);
        assert_fair(&registry, at(1), 250, 2);
    }

    #[test]
    fn the_ended_in_between_are_not_drawn_and_make_no_other_likelier() {
        let mut registry = registry();
        // The ended stand thick in some places and thin in others, and none is taken out.
        let mut position = 0;
        for number in 0..500 {
            for ended in 0..if number < 100 { 10 } else { number % 3 } {
                position += 1;
                put(&mut registry, 1_000 + 10 * number + ended, "a", Flavour::Standard, position, at(5));
            }
            position += 1;
            put(&mut registry, number, "a", Flavour::Standard, position, at(20));
        }
        assert!(registry.len() > 1_800);
        assert_fair(&registry, at(10), 50, 3);
        assert_fair(&registry, at(10), 250, 4);
    }

    #[test]
    fn blocks_that_have_become_thin_are_drawn_from_as_fairly() {
        let mut registry = registry();
        // Of 3500, 500 are left: all of one stretch, and of the rest none, or every seventh.
        let is_left = |place: u32| (500..700).contains(&place) || (place >= 1_400 && place.is_multiple_of(7));
        let mut numbers = 0..500;
        let mut gone = Vec::new();
        for place in 0..3_500 {
            let number = if is_left(place) { numbers.next().expect("500 are left") } else { 1_000 + place };
            put(&mut registry, number, "a", Flavour::Standard, u64::from(place) + 1, at(20));
            gone.extend((!is_left(place)).then_some(number));
        }
        for number in gone {
            registry.remove(&number.to_le_bytes(), "a");
        }
        assert_eq!(registry.len(), 500);
        assert_fair(&registry, at(1), 50, 5);
    }

    #[test]
    fn namespaces_and_flavours_do_not_mix() {
        let mut registry = registry();
        for number in 0..500 {
            let position = 4 * u64::from(number) + 1;
            put(&mut registry, number, "a", Flavour::Standard, position, at(20));
            put(&mut registry, 1_000 + number, "b", Flavour::Standard, position + 1, at(20));
            put(&mut registry, 2_000 + number, "a", Flavour::Legacy, position + 2, at(20));
            if number % 2 == 0 {
                put(&mut registry, number, "a", Flavour::Legacy, position + 3, at(20));
            }
        }
        assert_fair(&registry, at(1), 50, 6);
        assert_eq!(draw(&registry, at(1), "nobody", 50, &mut rng(7)), []);
        assert_eq!(draw(&registry, at(1), "a", 0, &mut rng(7)), []);
        let mut all = 0;
        registry.sample(at(1), None, Flavour::Standard, 1_000, &mut rng(8), |_| {
            all += 1;
            true
        });
        assert_eq!(all, 1_000, "no namespace is all of them");
    }

    #[test]
    fn as_many_come_as_are_wanted_or_there_or_taken() {
        let mut registry = registry();
        for number in 0..10_000 {
            put(&mut registry, number, "a", Flavour::Standard, u64::from(number) + 1, at(20));
        }
        for count in [1, 2, 50, 1_000, 1_280, 5_000, 10_000, 20_000] {
            let drawn = draw(&registry, at(1), "a", count, &mut rng(9)).len();
            assert_eq!(drawn, count.min(10_000));
        }
        let mut offered = 0;
        registry.sample(at(1), Some("a"), Flavour::Standard, 50, &mut rng(10), |_| {
            offered += 1;
            offered < 7
        });
        assert_eq!(offered, 7, "a full page ends it");
        assert_eq!(draw(&registry, at(30), "a", 50, &mut rng(11)), [], "all have ended, and it ends");
    }

    #[test]
    fn a_throw_hits_with_more_than_a_chance_of_a_quarter_however_thin_the_blocks_are() {
        let mut registry = registry();
        let mut rng = rng(12);
        for number in 0..20_000 {
            put(&mut registry, number, "a", Flavour::Standard, u64::from(number) + 1, at(20));
        }
        let mut left: Vec<u32> = (0..20_000).collect();
        while left.len() > 600 {
            for _ in 0..97 {
                let gone = left.swap_remove(rng.random_range(0..left.len()));
                registry.remove(&gone.to_le_bytes(), "a");
            }
            let bound = registry.all[0].len_bound();
            assert!(left.len() * 4 > bound, "{} in {bound} places", left.len());
        }
    }
}
