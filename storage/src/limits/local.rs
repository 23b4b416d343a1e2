//! Budgets in the memory of one process, bounded. A budget that is whole again needs no memory and goes when room is wanted. When none
//! is whole, whoever is new shares one budget with all others who are: full memory makes limits stricter, never looser.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use domain::{
    clock::Timestamp,
    limits::{Rate, Verdict},
};

use super::Name;

/// Most budgets remembered at once; each takes about 50 bytes.
pub const MOST: usize = 100_000;
/// The budget of those for whom there is no room.
const OTHERS: Name = [0; 16];
/// Microseconds between two looks for budgets that are whole again.
const SWEPT: i64 = 1_000_000;

/// See the module. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct LocalLimits(Arc<Mutex<Budgets>>);

#[derive(Debug, Default)]
struct Budgets {
    whole_at: HashMap<Name, Timestamp>,
    swept_at: Timestamp,
}

impl LocalLimits {
    pub(super) fn take(&self, name: &Name, rate: Rate, now: Timestamp) -> Verdict {
        let mut budgets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = if budgets.has_room_for(name, now) { name } else { &OTHERS };
        let whole_at = budgets.whole_at.get(name).copied().unwrap_or_default();
        let (verdict, whole_at) = rate.take(whole_at, now);
        budgets.whole_at.insert(*name, whole_at);
        verdict
    }

    /// Budgets remembered now.
    pub fn remembered(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).whole_at.len()
    }
}

impl Budgets {
    fn has_room_for(&mut self, name: &Name, now: Timestamp) -> bool {
        if self.whole_at.len() < MOST || self.whole_at.contains_key(name) {
            return true;
        }
        if (now.0 - self.swept_at.0).abs() < SWEPT {
            return false;
        }
        self.swept_at = now;
        self.whole_at.retain(|_, whole_at| *whole_at > now);
        self.whole_at.len() < MOST
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn named(n: usize) -> Name {
        let mut name = [1; 16];
        name[..8].copy_from_slice(&n.to_be_bytes());
        name
    }

    #[test]
    fn memory_is_bounded_and_full_memory_is_strict() {
        let (limits, rate) = (LocalLimits::default(), Rate { per_minute: 60, burst: 2 });
        let start = Timestamp(1_000_000_000);
        for n in 0..MOST {
            assert!(limits.take(&named(n), rate, start).is_allowed);
        }
        // The new ones share a budget of two; who is known keeps their own.
        let allowed = (0..1_000).filter(|n| limits.take(&named(MOST + n), rate, start).is_allowed).count();
        assert_eq!(allowed, 2);
        assert!(limits.take(&named(7), rate, start).is_allowed);
        assert_eq!(limits.remembered(), MOST + 1);
        // Once budgets are whole again there is room.
        let later = start.plus(Duration::from_secs(1));
        assert!(limits.take(&named(MOST + 1), rate, later).is_allowed);
        assert!(limits.remembered() < 10, "{}", limits.remembered());
    }
}
