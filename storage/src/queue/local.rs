//! The bell inside one process.

use std::{sync::Arc, time::Duration};

use domain::jobs::Queue;
use tokio::sync::Notify;

/// One notify per queue.
#[derive(Debug, Clone, Default)]
pub struct LocalBell {
    bells: Arc<[Notify; Queue::ALL.len()]>,
}

impl LocalBell {
    pub(super) fn ring(&self, queue: Queue) {
        self.bells[queue as usize].notify_one();
    }

    pub(super) async fn wait(&self, queue: Queue, patience: Duration) {
        // Running out of patience is as good a reason to look as a ring.
        let _ = tokio::time::timeout(patience, self.rung(queue)).await;
    }

    /// Returns when the bell rings. Dropping the future loses no ring.
    pub(super) async fn rung(&self, queue: Queue) {
        self.bells[queue as usize].notified().await;
    }
}
