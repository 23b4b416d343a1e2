//! What programs are told about a case through webhooks: which events there are, and when a message that did not arrive is sent again.
//! Messages hold ids and counts, never names or text.

use std::time::Duration;

/// One kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventType {
    /// A batch takes no more files.
    BatchSealed,
    /// Nothing of a sealed batch is on its way any more.
    BatchSettled,
    /// A batch was cancelled.
    BatchCancelled,
    /// A load file was read to its end.
    LoadFileRead,
    /// A load file could not be read.
    LoadFileFailed,
    /// An administrator who is no member asked to read the case, was let, was refused, or ended it.
    BreakGlass,
    /// Somebody tries whether a webhook works.
    Test,
}

impl EventType {
    /// What a webhook can be told of. [`EventType::Test`] is sent to the one that is tried.
    pub const ALL: [Self; 6] = [
        Self::BatchSealed,
        Self::BatchSettled,
        Self::BatchCancelled,
        Self::LoadFileRead,
        Self::LoadFileFailed,
        Self::BreakGlass,
    ];

    /// The name in messages, rows and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::BatchSealed => "batch.sealed",
            Self::BatchSettled => "batch.settled",
            Self::BatchCancelled => "batch.cancelled",
            Self::LoadFileRead => "load_file.read",
            Self::LoadFileFailed => "load_file.failed",
            Self::BreakGlass => "case.break_glass",
            Self::Test => "webhook.test",
        }
    }
}

/// Stands for every event in the list of those a webhook is told of.
pub const EVERYTHING: &str = "*";

/// Longest wait between two attempts, also when the receiver asks for a longer one.
pub const LONGEST_DELAY: Duration = Duration::from_hours(6);

/// The wait after `failed` attempts, without jitter: 10 s, 40 s, 160 s … up to [`LONGEST_DELAY`]; ten attempts take about 22 hours. A
/// receiver that asks for a longer wait (`Retry-After`) gets it, within that bound.
pub fn delay(failed: u32, asked: Option<Duration>) -> Duration {
    let fourfold = 4_u32.saturating_pow(failed.saturating_sub(1));
    let own = Duration::from_secs(10).saturating_mul(fourfold);
    own.max(asked.unwrap_or_default()).min(LONGEST_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_attempts_take_about_a_day() {
        let seconds: Vec<u64> = (1..=9).map(|failed| delay(failed, None).as_secs()).collect();
        assert_eq!(seconds, [10, 40, 160, 640, 2_560, 10_240, 21_600, 21_600, 21_600]);
        let hours = seconds.iter().sum::<u64>() / 3_600;
        assert!((20..=24).contains(&hours), "{hours}");
        assert_eq!(delay(u32::MAX, None), LONGEST_DELAY);
    }

    #[test]
    fn a_receiver_may_ask_for_a_longer_wait_within_bounds() {
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(delay(1, seconds(120)), Duration::from_mins(2));
        assert_eq!(delay(3, seconds(1)), Duration::from_secs(160));
        assert_eq!(delay(1, seconds(u64::MAX)), LONGEST_DELAY);
    }
}
