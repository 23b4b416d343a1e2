//! The bell: tells workers that a queue has work. It carries no work itself; a ring that is lost costs latency only, since
//! workers also look at the rows by themselves.

mod local;

use std::time::Duration;

use domain::jobs::Queue;

pub use local::LocalBell;

/// How workers are woken.
#[derive(Debug, Clone)]
pub enum Bell {
    /// Inside one process.
    Local(LocalBell),
}

impl Bell {
    /// A bell inside this process.
    pub fn local() -> Self {
        Self::Local(LocalBell::default())
    }

    /// Says that `queue` has work.
    pub fn ring(&self, queue: Queue) {
        match self {
            Self::Local(bell) => bell.ring(queue),
        }
    }

    /// Waits until the bell of `queue` rings, or `patience` has passed. A ring before the call still counts.
    pub async fn wait(&self, queue: Queue, patience: Duration) {
        match self {
            Self::Local(bell) => bell.wait(queue, patience).await,
        }
    }
}
