//! The claim loop of one queue: a task of its own, so that no half-polled claim ever holds a database connection. It
//! claims as many jobs as there are free slots, never ahead of them: a claim is a start, so a dead process costs an
//! attempt only to what it was running.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use domain::jobs::Queue;
use storage::{
    Storage,
    jobs::{self, Claimer, Held},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    admission::Admission,
    handler::{Registry, Run, Work},
    heart::Heart,
    load::{Load, Running},
    settle,
};

/// How long to wait after the database failed.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// How long a claim waits for more slots to become free.
const GATHER: Duration = Duration::from_millis(5);

/// A claimed job, ready to run.
pub(super) struct Claim {
    pub(super) work: Box<dyn Work>,
    pub(super) run: Run,
    /// Cancelled when the job is lost or dia stops hard; the run's own token is its child.
    pub(super) stop: CancellationToken,
    /// When it was claimed.
    pub(super) started: Instant,
    _slot: OwnedSemaphorePermit,
    _running: Running,
}

pub(super) struct Claims {
    pub(super) storage: Storage,
    pub(super) registry: Arc<Registry>,
    pub(super) heart: Arc<Heart>,
    pub(super) queue: Queue,
    pub(super) worker: String,
    pub(super) load: Arc<Load>,
    pub(super) admission: Arc<Admission>,
    pub(super) slots: usize,
    pub(super) lease: Duration,
    pub(super) poll: Duration,
    /// No more claims.
    pub(super) shutdown: CancellationToken,
    /// Stop what runs.
    pub(super) abort: CancellationToken,
}

impl Claims {
    /// Claims until the shutdown, or until nobody takes the claims any more.
    pub(super) async fn run(self: Arc<Self>, out: mpsc::Sender<Claim>) {
        let shutdown = self.shutdown.clone();
        let slots = Arc::new(Semaphore::new(self.slots));
        let mut bell = self.storage.bell.listen(self.queue, self.slots);
        let mut claimer = Claimer::new(self.storage.clone(), self.queue, self.worker.clone(), self.lease);
        while let Some(Ok(first)) = shutdown.run_until_cancelled(Arc::clone(&slots).acquire_owned()).await {
            // While most slots are busy, a claim waits a moment for more of them: one transaction then starts many jobs.
            if slots.available_permits() + 1 < self.slots / 4 {
                tokio::time::sleep(GATHER).await;
            }
            let mut free = vec![first];
            while let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
                free.push(slot);
            }
            if !self.admission.room(&shutdown).await {
                break;
            }
            self.heart.beat_if_late().await;
            let most = u32::try_from(free.len()).unwrap_or(u32::MAX);
            bell.claiming();
            let claimed = claimer.claim(most).await;
            if claimed.is_ok() {
                bell.claimed().await;
            }
            let taken = match claimed {
                Ok(claimed) if claimed.is_empty() => {
                    drop(free);
                    shutdown.run_until_cancelled(bell.wait(self.poll)).await.is_some()
                }
                Ok(claimed) => self.hand_out(claimed, free, &slots, &out).await,
                Err(error) => {
                    tracing::warn!(queue = self.queue.name(), %error, "claiming failed; it is repeated");
                    shutdown.run_until_cancelled(tokio::time::sleep(AFTER_ERROR)).await.is_some()
                }
            };
            if !taken {
                break;
            }
        }
    }

    /// Hands claimed jobs to the worker; false when nobody takes them any more.
    async fn hand_out(
        &self,
        claimed: Vec<Held>,
        mut free: Vec<OwnedSemaphorePermit>,
        slots: &Arc<Semaphore>,
        out: &mpsc::Sender<Claim>,
    ) -> bool {
        let mut claimed = self.without_buried(claimed).await;
        if let Some(suspect) = claimed.iter().position(is_last_chance) {
            let suspect = claimed.swap_remove(suspect);
            self.release(&claimed).await;
            return self.hand_out_alone(suspect, free, slots, out).await;
        }
        while let (Some(held), Some(slot)) = (claimed.pop(), free.pop()) {
            if !self.send(held, slot, out).await {
                self.release(&claimed).await;
                return false;
            }
        }
        true
    }

    /// A job whose earlier attempts all ended badly may be what kills the process: on its last attempt it runs alone in
    /// its queue, so that it takes no neighbour's attempts with it.
    async fn hand_out_alone(
        &self,
        suspect: Held,
        mut free: Vec<OwnedSemaphorePermit>,
        slots: &Arc<Semaphore>,
        out: &mpsc::Sender<Claim>,
    ) -> bool {
        let stop = CancellationToken::new();
        self.heart.keep(&suspect, stop.clone());
        let missing = u32::try_from(self.slots - free.len()).unwrap_or(0);
        let rest = self.shutdown.run_until_cancelled(Arc::clone(slots).acquire_many_owned(missing)).await;
        self.heart.drop_job(&suspect);
        let (Some(Ok(mut all)), false) = (rest, stop.is_cancelled()) else {
            self.release(&[suspect]).await;
            return !self.shutdown.is_cancelled();
        };
        for slot in free.drain(..) {
            all.merge(slot);
        }
        self.send(suspect, all, out).await
    }

    async fn send(&self, held: Held, slot: OwnedSemaphorePermit, out: &mpsc::Sender<Claim>) -> bool {
        let work = match self.registry.work(&held) {
            Ok(work) => work,
            Err(error) => {
                settle::without_handler(&self.storage, &held, &error).await;
                return true;
            }
        };
        let stop = self.abort.child_token();
        self.heart.keep(&held, stop.clone());
        let run = Run::new(self.storage.clone(), held, stop.child_token());
        let claim = Claim { work, run, stop, started: Instant::now(), _slot: slot, _running: self.load.begin() };
        let Err(refused) = out.send(claim).await else { return true };
        self.heart.drop_job(&refused.0.run.held);
        self.release(std::slice::from_ref(&refused.0.run.held)).await;
        false
    }

    /// Buries jobs that have used up their attempts, counting those that ended in a dead process.
    async fn without_buried(&self, claimed: Vec<Held>) -> Vec<Held> {
        let (spent, fit): (Vec<Held>, Vec<Held>) =
            claimed.into_iter().partition(|held| held.attempts > held.max_attempts);
        for held in spent {
            settle::bury_spent(&self.storage, &self.registry, &held).await;
        }
        fit
    }

    async fn release(&self, held: &[Held]) {
        if let Err(error) = jobs::release(&self.storage, held).await {
            tracing::warn!(queue = self.queue.name(), %error, "claims were not given back; their leases run out");
        }
    }
}

fn is_last_chance(held: &Held) -> bool {
    held.max_attempts > 1 && held.attempts == held.max_attempts
}
