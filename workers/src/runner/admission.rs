//! Whether there is room to begin something: a claim waits while too little memory is left.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::memory;

/// How long a look at the memory is good for.
const LOOK: Duration = Duration::from_millis(500);

/// The gate that all claims of a process pass.
pub(super) struct Admission {
    /// Bytes that must be left; 0 for no gate.
    floor: u64,
    available: fn() -> Option<u64>,
    looked: Mutex<Option<(Instant, bool)>>,
    is_short: AtomicBool,
}

impl Admission {
    pub(super) fn new(floor: u64) -> Self {
        Self::seeing(floor, memory::available)
    }

    fn seeing(floor: u64, available: fn() -> Option<u64>) -> Self {
        Self { floor, available, looked: Mutex::new(None), is_short: AtomicBool::new(false) }
    }

    /// Returns when there is room; `false` when `shutdown` came first.
    pub(super) async fn room(&self, shutdown: &CancellationToken) -> bool {
        while !self.has_room() {
            if shutdown.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_none() {
                return false;
            }
        }
        true
    }

    fn has_room(&self) -> bool {
        if self.floor == 0 {
            return true;
        }
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, has_room)) = *looked
            && at.elapsed() < LOOK
        {
            return has_room;
        }
        let available = (self.available)();
        let has_room = available.is_none_or(|bytes| bytes >= self.floor);
        *looked = Some((Instant::now(), has_room));
        self.say(has_room, available.unwrap_or(0));
        has_room
    }

    /// Says once that it begins and once that it ends.
    fn say(&self, has_room: bool, available: u64) {
        metrics::gauge!("dia_memory_short").set(if has_room { 0.0 } else { 1.0 });
        if self.is_short.swap(!has_room, Ordering::Relaxed) == has_room {
            let (available, floor) = (available >> 20, self.floor >> 20);
            if has_room {
                tracing::info!(available, "there is memory again; jobs are claimed");
            } else {
                tracing::warn!(
                    available,
                    floor,
                    "too little memory is left, in megabytes; no job is claimed until there is more"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    static LEFT: AtomicU64 = AtomicU64::new(100);

    #[tokio::test]
    async fn claims_wait_until_there_is_room() {
        let (gate, stop) = (Admission::seeing(200, || Some(LEFT.load(Ordering::SeqCst))), CancellationToken::new());
        assert!(tokio::time::timeout(LOOK * 3, gate.room(&stop)).await.is_err(), "it was let in");
        LEFT.store(200, Ordering::SeqCst);
        assert!(gate.room(&stop).await);
        LEFT.store(199, Ordering::SeqCst);
        tokio::time::sleep(LOOK * 2).await;
        stop.cancel();
        assert!(!gate.room(&stop).await, "it waits although dia stops");
        assert!(Admission::seeing(0, || Some(0)).room(&CancellationToken::new()).await, "no floor is no gate");
        assert!(
            Admission::seeing(1, || None).room(&CancellationToken::new()).await,
            "what nobody knows is no reason to wait"
        );
    }
}
