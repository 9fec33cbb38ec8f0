//! Which lifetime to ask for where a point refuses one with E_INVALID_TTL.
//!
//! There is one retry. It asks for, in this order:
//!
//! 1. a number in the refusal's text: the one nearest to what was asked for, of those from 1 s to 72 h; followed by `m`,
//!    `h` or `d` it counts minutes, hours or days ("ttl 60 s is below the minimum of 7200 s");
//! 2. what was wanted at first, if what was refused had been brought into bounds that are out of date;
//! 3. what the point granted before, if that is less;
//! 4. 2 h: the shortest lifetime that the specification has a point accept, and everybody's default.

use rendezvous_wire::Ttl;

use super::memory::PointMemory;

/// The lifetime for the retry; `None` where there is nothing left to guess.
pub(super) fn guess(refused: Ttl, wanted: Ttl, text: &str, memory: &PointMemory) -> Option<Ttl> {
    let told = told(text).filter(|told| *told != refused);
    let told = told.min_by_key(|told| told.as_secs().abs_diff(refused.as_secs()));
    let granted = memory.ttl_granted.filter(|granted| *granted < refused);
    told.or((wanted != refused).then_some(wanted)).or(granted).or((refused != Ttl::DEFAULT).then_some(Ttl::DEFAULT))
}

/// The lifetimes that a text names.
fn told(text: &str) -> impl Iterator<Item = Ttl> {
    let is_start = |at: usize| !text.as_bytes().get(at.wrapping_sub(1)).is_some_and(u8::is_ascii_digit);
    let starts = text.bytes().enumerate().filter(move |(at, byte)| byte.is_ascii_digit() && is_start(*at));
    starts.filter_map(|(at, _)| {
        let rest = text.get(at..)?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        let unit = rest.get(digits..)?.trim_start().bytes().next();
        let unit_secs = match unit {
            Some(b'm') => 60,
            Some(b'h') => 3_600,
            Some(b'd') => 86_400,
            _ => 1,
        };
        let ttl = Ttl::from_secs(number.saturating_mul(unit_secs));
        (ttl >= Ttl::from_secs(1) && ttl <= Ttl::RECOMMENDED_MAX).then_some(ttl)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_retry_asks_for_the_bound_that_the_text_names_and_else_for_two_hours() {
        let ttl = Ttl::from_secs;
        let cases = [
            (60, "ttl 60 s is below the minimum of 7200 s", Some(7_200)),
            (259_200, "ttl 259200 s is above the maximum of 3600 s", Some(3_600)),
            (60, "TTL must be between 300 and 86400", Some(300)),
            (100_000, "TTL must be between 300 and 86400", Some(86_400)),
            (60, "at least 2h", Some(7_200)),
            (60, "1 day please", Some(86_400)),
            (60, "bad ttl", Some(7_200)),
            (259_200, "", Some(7_200)),
            (7_200, "", None),
            (7_200, "at most 1 h", Some(3_600)),
            (60, "18446744073709551616 and 18446744073709551615 d and 0 and 60", Some(7_200)),
        ];
        for (refused, text, expected) in cases {
            let guess = guess(ttl(refused), ttl(refused), text, &PointMemory::default());
            assert_eq!(guess, expected.map(ttl), "{refused}: {text}");
        }
    }

    #[test]
    fn what_was_wanted_at_first_is_tried_before_a_guess_and_what_was_granted_before_is_one() {
        let [day, hour, minute] = [86_400, 3_600, 60].map(Ttl::from_secs);
        assert_eq!(guess(hour, minute, "", &PointMemory::default()), Some(minute));
        let memory = PointMemory { ttl_granted: Some(hour), ..PointMemory::default() };
        assert_eq!(guess(day, day, "", &memory), Some(hour));
        assert_eq!(guess(minute, minute, "", &memory), Some(Ttl::DEFAULT));
    }
}
