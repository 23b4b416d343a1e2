//! What happens to a job's row after its run: done, again later, dead, or given back. Every step checks the fence, so a
//! process that lost the job changes nothing; a database that is away is asked again until the lease would have run out.

use std::{convert::Infallible, sync::Arc, time::Duration};

use apalis::prelude::BoxDynError;
use apalis_core::{task::ExecutionContext, worker::ext::ack::Acknowledge};
use domain::jobs::Queue;
use futures::{FutureExt as _, future::BoxFuture};
use rand::RngExt as _;
use storage::{
    Storage, failpoint,
    jobs::{self, Held},
};
use tokio_util::sync::CancellationToken;

use super::{
    JobError,
    claims::Claim,
    handler::{Registry, Work},
    heart::Heart,
    measure,
};

/// How long a job that met a full disk or an absent database is held back.
const RECOVERY: Duration = Duration::from_secs(5);
/// How long a job of an unknown kind is left to others before it is looked at again.
const UNKNOWN: Duration = Duration::from_mins(1);
/// How often a settlement is tried, a second apart.
const TRIES: u32 = 30;

/// Settles the jobs of one queue.
#[derive(Clone)]
pub(super) struct Settle {
    pub(super) storage: Storage,
    pub(super) queue: Queue,
    pub(super) heart: Arc<Heart>,
    pub(super) shutdown: CancellationToken,
}

/// What becomes of a row.
enum Verdict {
    Done,
    Again { delay: Duration, error: String },
    Dead(JobError),
    GivenBack,
    Nothing,
}

impl Acknowledge<()> for Settle {
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<(), Infallible>>;

    fn ack(&mut self, result: &Result<(), BoxDynError>, context: &ExecutionContext) -> Self::Future {
        let claim = context.data().get::<Arc<Claim>>().map(Arc::clone);
        let ended = match result {
            Ok(()) => Ok(()),
            Err(error) => Err(error.downcast_ref::<JobError>().cloned().unwrap_or_else(JobError::panicked)),
        };
        let settle = self.clone();
        async move {
            if let Some(claim) = claim {
                settle.settle(&claim, ended).await;
            }
            Ok(())
        }
        .boxed()
    }
}

impl Settle {
    async fn settle(&self, claim: &Claim, ended: Result<(), JobError>) {
        failpoint::hit("job.before_settle");
        let held = &claim.run.held;
        let verdict = self.verdict(claim, ended).await;
        let outcome = match &verdict {
            Verdict::Done => "done",
            Verdict::Again { .. } => "retried",
            Verdict::Dead(_) => "dead",
            Verdict::GivenBack => "given_back",
            Verdict::Nothing if claim.run.is_completed() => "done",
            Verdict::Nothing => "lost",
        };
        self.write(claim, &verdict).await;
        self.heart.drop_job(held);
        measure::ended(self.queue, claim.work.kind(), outcome, claim.started.elapsed());
    }

    async fn verdict(&self, claim: &Claim, ended: Result<(), JobError>) -> Verdict {
        let held = &claim.run.held;
        let error = match ended {
            _ if claim.run.is_completed() => return Verdict::Nothing,
            Ok(()) | Err(JobError::Gone) => return Verdict::Done,
            Err(error) => error,
        };
        tracing::info!(job = %held.id, kind = claim.work.kind(), attempt = held.attempts, %error, "a job did not succeed");
        match error {
            JobError::Fail(_) => Verdict::Dead(error),
            // Told to stop: whatever it said then is not held against it.
            _ if claim.stop.is_cancelled() => Verdict::GivenBack,
            JobError::Wait(_) => {
                let recovered = tokio::time::sleep(RECOVERY);
                let _stopped = self.shutdown.run_until_cancelled(recovered).await;
                Verdict::GivenBack
            }
            // Not only the job's own lease can be lost, so a lost run is repeated; if it was the job's, the fence refuses.
            error if held.attempts >= held.max_attempts => Verdict::Dead(error),
            JobError::RetryAfter(delay, cause) => Verdict::Again { delay, error: cause.to_string() },
            error => Verdict::Again { delay: jittered(claim), error: error.to_string() },
        }
    }

    async fn write(&self, claim: &Claim, verdict: &Verdict) {
        let held = &claim.run.held;
        match verdict {
            Verdict::Nothing => {}
            Verdict::Done => persist(held, || jobs::done(&self.storage, held)).await,
            Verdict::Again { delay, error } => {
                persist(held, || jobs::again(&self.storage, held, *delay, error)).await;
            }
            Verdict::GivenBack => persist(held, || jobs::release(&self.storage, std::slice::from_ref(held))).await,
            Verdict::Dead(error) => bury(&self.storage, held, Some(&*claim.work), error).await,
        }
    }
}

/// The kind's back-off, a quarter more or less: jobs that failed together do not come back together.
fn jittered(claim: &Claim) -> Duration {
    claim.work.policy().delay(claim.run.held.attempts).mul_f64(rand::rng().random_range(0.75..1.25))
}

/// Dead-letters a job that has no attempts left, its last one having ended in a dead process.
pub(super) async fn bury_spent(storage: &Storage, registry: &Registry, held: &Held) {
    let error = JobError::fail(anyhow::anyhow!("it was running each time its process died"));
    match registry.work(held) {
        Ok(work) => bury(storage, held, Some(&*work), &error).await,
        Err(error) => without_handler(storage, held, &error).await,
    }
}

/// Leaves a job of a kind that this version does not know to a newer worker, and dead-letters one whose payload cannot be
/// read.
pub(super) async fn without_handler(storage: &Storage, held: &Held, error: &JobError) {
    if let JobError::Wait(why) = error {
        tracing::warn!(job = %held.id, kind = held.kind, "a job of a kind that this version does not know is left to newer workers");
        let why = why.to_string();
        persist(held, || jobs::set_aside(storage, held, UNKNOWN, &why)).await;
        return;
    }
    tracing::error!(job = %held.id, kind = held.kind, %error, "a job cannot be run");
    bury(storage, held, None, error).await;
}

async fn bury(storage: &Storage, held: &Held, work: Option<&dyn Work>, error: &JobError) {
    tracing::error!(job = %held.id, kind = held.kind, attempts = held.attempts, %error, "a job is given up");
    persist(held, || async {
        let actor = domain::actor::Actor::system_for(held.on_behalf, held.request);
        let mut tx = storage.begin(&actor).await?;
        tx.bury(held, &error.to_string()).await?;
        if let Some(work) = work {
            match work.buried(&mut tx, error).await {
                // What the job worked on is gone or has moved on: it needs no exception.
                Ok(()) | Err(storage::Error::NotFound | storage::Error::LeaseLost) => {}
                Err(error) => return Err(error),
            }
        }
        failpoint::hit("job.before_bury");
        tx.commit().await
    })
    .await;
}

/// Repeats a settlement until the database takes it. When it never does, the job's lease runs out and another claim
/// finds it.
async fn persist<F: Future<Output = storage::Result<()>>>(held: &Held, settlement: impl Fn() -> F) {
    for _ in 0..TRIES {
        match settlement().await {
            Ok(()) | Err(storage::Error::LeaseLost) => return,
            Err(error) => tracing::warn!(job = %held.id, %error, "a job could not be settled; it is repeated"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
