//! Everything that happens by the clock, in one table.

use std::time::{Duration, Instant};

use domain::jobs::{CollectGarbage, Job, RaiseAlerts, SealAudit, SweepJobs};
use storage::{Storage, audit::log, schedules};
use tokio_util::sync::CancellationToken;

const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// How often the table is looked at.
const TICK: Duration = Duration::from_secs(5);

/// Fires what is due until the shutdown; what the configuration says is done so often. Many processes may do this at once: a
/// schedule fires once.
pub(crate) async fn run(storage: Storage, every: Every, shutdown: CancellationToken) {
    let (mut sweep, mut collect, mut seal, mut alert) = (Due::now(), Due::now(), Due::now(), Due::now());
    loop {
        sweep.fire(&storage, &SweepJobs {}, SWEEP_EVERY).await;
        collect.fire(&storage, &CollectGarbage {}, every.collect).await;
        seal.fire(&storage, &SealAudit {}, every.seal).await;
        alert.fire(&storage, &RaiseAlerts {}, every.alert).await;
        seal_at_once(&storage).await;
        if shutdown.run_until_cancelled(tokio::time::sleep(TICK)).await.is_none() {
            return;
        }
    }
}

/// How often things are done that the configuration says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Every {
    /// Garbage is collected.
    pub collect: Duration,
    /// The audit log is signed.
    pub seal: Duration,
    /// The audit trail is looked through for what somebody should know.
    pub alert: Duration,
}

/// Many events do not wait for the clock.
async fn seal_at_once(storage: &Storage) {
    let sealed = match log::is_due(storage).await {
        Ok(true) => schedules::at_once(storage, &SealAudit {}).await,
        Ok(false) => return,
        Err(error) => Err(error),
    };
    if let Err(error) = sealed {
        tracing::warn!(%error, "the audit log could not be looked at; it is repeated");
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
