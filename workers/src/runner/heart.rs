//! Keeps the leases of everything this process works on alive, in one transaction a beat, and tells jobs that were
//! cancelled or taken over to stop.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use domain::ids::JobId;
use storage::{
    Storage,
    jobs::{self, Held},
};
use tokio_util::sync::CancellationToken;

/// Longest time between beats: how late a running job may learn that it was cancelled.
const LONGEST: Duration = Duration::from_secs(5);

pub(super) struct Heart {
    storage: Storage,
    lease: Duration,
    state: Mutex<State>,
}

struct State {
    held: HashMap<JobId, (i64, CancellationToken)>,
    last: Instant,
}

impl Heart {
    pub(super) fn new(storage: Storage, lease: Duration) -> Self {
        Self { storage, lease, state: Mutex::new(State { held: HashMap::new(), last: Instant::now() }) }
    }

    /// Begins to keep a job; the token is cancelled when the job is lost.
    pub(super) fn keep(&self, held: &Held, token: CancellationToken) {
        if let Some((_, older)) = self.state().held.insert(held.id, (held.fence, token)) {
            older.cancel(); // this process lost the job and claimed it again
        }
    }

    /// Lets a job go.
    pub(super) fn drop_job(&self, held: &Held) {
        let mut state = self.state();
        if state.held.get(&held.id).is_some_and(|(fence, _)| *fence == held.fence) {
            state.held.remove(&held.id);
        }
    }

    /// Beats when the last beat is long ago. Called before a claim: when the database kept everybody waiting, this process
    /// must not take its own jobs for a dead worker's.
    pub(super) async fn beat_if_late(&self) {
        if self.state().last.elapsed() > self.lease / 2 {
            self.beat().await;
        }
    }

    /// Beats until `end`.
    pub(super) async fn run(&self, end: CancellationToken) {
        let every = (self.lease / 3).min(LONGEST);
        while end.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
            self.beat().await;
        }
    }

    async fn beat(&self) {
        let held: Vec<(JobId, i64)> = self.state().held.iter().map(|(id, (fence, _))| (*id, *fence)).collect();
        match jobs::extend(&self.storage, &held, self.lease).await {
            Ok(heartbeat) => {
                let mut state = self.state();
                state.last = Instant::now();
                for id in heartbeat.lost {
                    let asked = held.iter().find(|(asked, _)| *asked == id).map(|(_, fence)| *fence);
                    if let Some((fence, token)) = state.held.get(&id)
                        && Some(*fence) == asked
                    {
                        token.cancel();
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "the heartbeat failed; it is repeated"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
