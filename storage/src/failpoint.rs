//! Named moments at which a test can make the process die. Inert unless one is armed at start; then the process aborts on
//! the spot when it comes there: no destructor runs, nothing is flushed, as under `kill -9`.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

struct Armed {
    name: String,
    /// Passes still allowed before the one that kills, this one included.
    left: AtomicU64,
}

static ARMED: OnceLock<Armed> = OnceLock::new();

/// Arms a fail point, written `name` or `name:nth` (the nth passing kills, from 1). The first call of a process counts.
pub fn arm(spec: &str) {
    let (name, nth) = spec.split_once(':').unwrap_or((spec, "1"));
    let armed = Armed { name: name.to_owned(), left: AtomicU64::new(nth.parse().unwrap_or(1).max(1)) };
    if ARMED.set(armed).is_ok() {
        tracing::warn!(spec, "a fail point is armed: this process will die there");
    }
}

/// Dies here if this point is armed and its turn has come.
pub fn hit(name: &'static str) {
    let Some(armed) = ARMED.get() else { return };
    if armed.name == name && armed.left.fetch_sub(1, Ordering::SeqCst) == 1 {
        std::process::abort();
    }
}
