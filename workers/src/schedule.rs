//! Everything that happens by the clock, in one table.

use std::time::{Duration, Instant};

use domain::jobs::{CollectGarbage, Job, SweepJobs};
use storage::{Storage, schedules};
use tokio_util::sync::CancellationToken;

const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// How often the table is looked at.
const TICK: Duration = Duration::from_secs(5);

/// Fires what is due until the shutdown; garbage is collected every `collect_every`. Many processes may do this at once: a
/// schedule fires once.
pub(crate) async fn run(storage: Storage, collect_every: Duration, shutdown: CancellationToken) {
    let (mut sweep, mut collect) = (Due::now(), Due::now());
    loop {
        sweep.fire(&storage, &SweepJobs {}, SWEEP_EVERY).await;
        collect.fire(&storage, &CollectGarbage {}, collect_every).await;
        if shutdown.run_until_cancelled(tokio::time::sleep(TICK)).await.is_none() {
            return;
        }
    }
}

/// When this process next asks whether a schedule is due; the row decides.
struct Due(Instant);

impl Due {
    fn now() -> Self {
        Self(Instant::now())
    }

    async fn fire<J: Job>(&mut self, storage: &Storage, job: &J, every: Duration) {
        if Instant::now() < self.0 {
            return;
        }
        match schedules::fire(storage, job, every).await {
            // Another process may die before its turn, so ask more often than the schedule fires.
            Ok(_) => self.0 = Instant::now() + every / 3,
            Err(error) => tracing::warn!(kind = J::KIND, %error, "a schedule could not be looked at; it is repeated"),
        }
    }
}
