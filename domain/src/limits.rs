//! How often somebody may ask: classes of requests, and the generic cell rate algorithm (GCRA, ITU-T I.371) that counts them. Pure,
//! so that the same arithmetic holds for a map in memory and for a key in Redis.
//!
//! A budget is one number: the moment at which it would be whole again (the theoretical arrival time). Every request moves that on by
//! one period; it is refused when that would lie further ahead than a whole burst takes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

macro_rules! classes {
    ($($variant:ident = $name:literal, $meaning:literal;)+) => {
        /// A kind of request with a budget of its own.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Class {
            $(#[doc = $meaning] $variant,)+
        }

        impl Class {
            /// All classes.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in headers, metrics and settings.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

classes! {
    Login = "login", "Signing up and in, and changing a password.";
    Read = "read", "Everything that changes nothing.";
    Write = "write", "Changes that are none of the others.";
    Upload = "upload", "Files, load files and pieces of files on their way in.";
    Chat = "chat", "Questions.";
    Export = "export", "Original files and lists for other programs, on their way out.";
}

/// How often something may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Requests that come back each minute; 0 for no limit.
    pub per_minute: u32,
    /// Requests that may come at once.
    pub burst: u32,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// True when it may go on.
    pub is_allowed: bool,
    /// Requests that may follow at once.
    pub remaining: u32,
    /// Until the budget is whole again.
    pub whole_in: Duration,
    /// Until the next request may come; zero when it may at once.
    pub wait: Duration,
}

impl Rate {
    /// `None` when there is no limit.
    pub fn limit(self) -> Option<Self> {
        (self.per_minute > 0).then_some(self)
    }

    /// Microseconds in which one request comes back; at least 1.
    pub fn period(self) -> i64 {
        (60_000_000 / i64::from(self.per_minute.max(1))).max(1)
    }

    /// Microseconds in which a whole budget comes back.
    pub fn window(self) -> i64 {
        self.period().saturating_mul(i64::from(self.burst.max(1)))
    }

    /// Takes one request at `now` out of a budget that was to be whole at `whole_at`; the verdict, and when it is whole now. A moment
    /// further ahead than a burst (a clock was put back) counts as an empty budget.
    pub fn take(self, whole_at: Timestamp, now: Timestamp) -> (Verdict, Timestamp) {
        let whole_at = whole_at.0.clamp(now.0, now.0.saturating_add(self.window()));
        let next = whole_at.saturating_add(self.period());
        let is_allowed = next - now.0 <= self.window();
        let whole_at = Timestamp(if is_allowed { next } else { whole_at });
        (self.verdict(is_allowed, whole_at.0 - now.0), whole_at)
    }

    /// What a budget that is whole in `behind` microseconds leaves, after a request that was allowed or not.
    pub fn verdict(self, is_allowed: bool, behind: i64) -> Verdict {
        let behind = behind.clamp(0, self.window());
        let room = self.window() - behind;
        let micros = |n: i64| Duration::from_micros(u64::try_from(n).unwrap_or(0));
        Verdict {
            is_allowed,
            remaining: u32::try_from(room / self.period()).unwrap_or(u32::MAX),
            whole_in: micros(behind),
            wait: micros(self.period() - room),
        }
    }
}

impl Verdict {
    /// The stricter of two.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            is_allowed: self.is_allowed && other.is_allowed,
            remaining: self.remaining.min(other.remaining),
            whole_in: self.whole_in.max(other.whole_in),
            wait: self.wait.max(other.wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate { per_minute: 60, burst: 3 };

    #[test]
    fn a_burst_and_then_one_a_period() {
        let (mut whole, start) = (Timestamp(0), Timestamp(1_000_000_000));
        for left in [2, 1, 0] {
            let (verdict, next) = RATE.take(whole, start);
            assert_eq!((verdict.is_allowed, verdict.remaining), (true, left));
            whole = next;
        }
        let (verdict, next) = RATE.take(whole, start);
        assert_eq!((verdict.is_allowed, verdict.wait, next), (false, Duration::from_secs(1), whole));
        assert_eq!(verdict.whole_in, Duration::from_secs(3));
        let almost = start.plus(Duration::from_micros(999_999));
        assert_eq!(RATE.take(whole, almost).0.wait, Duration::from_micros(1));
        assert!(RATE.take(whole, start.plus(Duration::from_secs(1))).0.is_allowed);
        assert_eq!(RATE.take(whole, start.plus(Duration::from_secs(9))).0.remaining, 2);
    }

    #[test]
    fn no_clock_shuts_anybody_out_for_good() {
        let (now, far) = (Timestamp(1_000_000_000), Timestamp(i64::MAX));
        let (verdict, whole) = RATE.take(far, now);
        assert!(!verdict.is_allowed && verdict.wait <= Duration::from_secs(1));
        assert_eq!(whole, now.plus(Duration::from_secs(3)));
    }

    #[test]
    fn zero_is_no_limit() {
        assert_eq!(Rate { per_minute: 0, burst: 5 }.limit(), None);
        assert_eq!(RATE.limit(), Some(RATE));
        let names: std::collections::BTreeSet<_> = Class::ALL.iter().map(|class| class.name()).collect();
        assert_eq!(names.len(), Class::ALL.len());
    }

    proptest! {
        /// Whatever the pauses, no span of time sees more than its share and one burst; and who waits as told is let in.
        #[test]
        fn never_more_than_the_share(
            per_minute in 1_u32..100_000, burst in 1_u32..50, pauses in prop::collection::vec(0_i64..3_000_000, 1..200)
        ) {
            let rate = Rate { per_minute, burst };
            let (mut now, mut whole, mut allowed) = (Timestamp(1), Timestamp(0), 0_i64);
            for pause in pauses {
                now = Timestamp(now.0 + pause);
                let (verdict, next) = rate.take(whole, now);
                whole = next;
                allowed += i64::from(verdict.is_allowed);
                if !verdict.is_allowed {
                    prop_assert!(rate.take(whole, now.plus(verdict.wait)).0.is_allowed);
                }
                prop_assert!(verdict.wait <= Duration::from_micros(u64::try_from(rate.period()).unwrap_or(0)));
                prop_assert!(allowed <= i64::from(burst) + (now.0 - 1) / rate.period());
            }
        }
    }
}
