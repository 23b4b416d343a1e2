//! How much of each queue this process is working on: for its metrics, and for the row in which it tells the others.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use domain::jobs::Queue;
use storage::{
    Storage,
    workers::{self, QueueLoad, Worker},
};
use tokio_util::sync::CancellationToken;

/// How often a process says that it lives.
const BEAT: Duration = Duration::from_secs(5);

/// The slots of one queue.
#[derive(Debug)]
pub(super) struct Load {
    queue: Queue,
    slots: usize,
    running: AtomicUsize,
}

/// A job that runs; counted until dropped.
#[derive(Debug)]
pub(super) struct Running(Arc<Load>);

impl Load {
    pub(super) fn new(queue: Queue, slots: usize) -> Arc<Self> {
        let load = Self { queue, slots, running: AtomicUsize::new(0) };
        load.measure(0);
        Arc::new(load)
    }

    pub(super) fn begin(self: &Arc<Self>) -> Running {
        self.measure(self.running.fetch_add(1, Ordering::SeqCst) + 1);
        Running(Arc::clone(self))
    }

    #[allow(clippy::cast_precision_loss, reason = "gauges are floating point")]
    fn measure(&self, running: usize) {
        metrics::gauge!("dia_jobs_in_flight", "queue" => self.queue.name()).set(running as f64);
        metrics::gauge!("dia_worker_slots", "queue" => self.queue.name()).set(self.slots as f64);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.measure(self.0.running.fetch_sub(1, Ordering::SeqCst) - 1);
    }
}

/// The name of this machine.
pub(crate) fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// Keeps this process's row fresh until `end`, then removes it. From `shutdown` on it says that it is stopping.
pub(super) async fn tell(
    storage: Storage,
    name: String,
    loads: Vec<Arc<Load>>,
    shutdown: CancellationToken,
    end: CancellationToken,
) {
    let mut worker = Worker {
        name,
        host: host(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        queues: Vec::new(),
        is_stopping: false,
        started_at: storage.clock.now(),
        seen_at: storage.clock.now(),
    };
    while !end.is_cancelled() {
        let load = |load: &Arc<Load>| QueueLoad::new(load.queue, load.slots, load.running.load(Ordering::SeqCst));
        worker.queues = loads.iter().map(load).collect();
        worker.is_stopping = shutdown.is_cancelled();
        if let Err(error) = workers::beat(&storage, &worker).await {
            tracing::warn!(%error, "this process could not say that it lives; it is repeated");
        }
        tokio::select! {
            () = end.cancelled() => {}
            () = shutdown.cancelled(), if !worker.is_stopping => {}
            () = tokio::time::sleep(BEAT) => {}
        }
    }
    if let Err(error) = workers::leave(&storage, &worker.name).await {
        tracing::warn!(%error, "this process could not say that it ends; the others will notice");
    }
}
