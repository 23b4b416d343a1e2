//! A job that does what a test tells it to, and the workers that run it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use domain::{
    actor::Actor,
    ids::CaseId,
    jobs::{Job, Policy, Queue},
};
use serde::{Deserialize, Serialize};
use storage::{Storage, Tx, audit::Audit};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use workers::{
    WorkersConfig,
    runner::{self, Handler, JobError, Registry, Run},
};

/// What the job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Act {
    Succeed,
    FailUntil(u32),
    RetryAfter,
    Fail,
    Panic,
    /// Longer than its time limit.
    Hang,
    /// As long as its process lives, until its third attempt.
    Outlived,
    /// Until it is told to stop.
    UntilTold,
    /// Its process dies of it.
    Poison,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Probe {
    pub(crate) act: Act,
    pub(crate) case: Option<CaseId>,
    pub(crate) key: Option<String>,
    pub(crate) n: u32,
}

pub(crate) const POLICY: Policy = Policy {
    max_attempts: 3,
    backoff: Duration::from_secs(100),
    backoff_cap: Duration::from_secs(150),
    timeout: Duration::from_hours(1),
    priority: 0,
};

impl Job for Probe {
    const KIND: &'static str = "probe";
    const QUEUE: Queue = Queue::Ingest;
    const POLICY: Policy = POLICY;

    fn case(&self) -> Option<CaseId> {
        self.case
    }

    fn unique_key(&self) -> Option<String> {
        self.key.clone()
    }
}

/// The same with no time at all.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Hasty(pub(crate) Probe);

impl Job for Hasty {
    const KIND: &'static str = "hasty";
    const QUEUE: Queue = Queue::Ingest;
    const POLICY: Policy = Policy { timeout: Duration::from_millis(50), ..POLICY };

    fn case(&self) -> Option<CaseId> {
        self.0.case
    }
}

/// A payload that a probe cannot be read from.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Garbage {
    pub(crate) not: String,
}

impl Job for Garbage {
    const KIND: &'static str = Probe::KIND;
    const QUEUE: Queue = Queue::Ingest;

    fn case(&self) -> Option<CaseId> {
        None
    }
}

/// A kind that only a newer version knows.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Future {}

impl Job for Future {
    const KIND: &'static str = "from_the_future";
    const QUEUE: Queue = Queue::Ingest;

    fn case(&self) -> Option<CaseId> {
        None
    }
}

/// What happened, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Began(u32),
    Ended(u32),
    Buried(u32),
}

#[derive(Debug, Default)]
pub(crate) struct Prober {
    seen: Mutex<Vec<Seen>>,
}

impl Prober {
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn saw(&self, what: Seen) -> usize {
        self.seen().iter().filter(|seen| **seen == what).count()
    }

    fn note(&self, what: Seen) {
        self.seen.lock().unwrap().push(what);
    }
}

impl Handler<Probe> for Prober {
    async fn run(&self, job: &Probe, run: &Run) -> Result<(), JobError> {
        self.note(Seen::Began(job.n));
        let result = match job.act {
            Act::Succeed => Ok(()),
            Act::FailUntil(attempt) if run.held.attempts >= attempt => Ok(()),
            Act::FailUntil(_) => Err(JobError::retry(std::io::Error::other("not yet"))),
            Act::RetryAfter => Err(JobError::RetryAfter(
                Duration::from_secs(5_000),
                runner::Cause::new(std::io::Error::other("much later")),
            )),
            Act::Fail => Err(JobError::fail(std::io::Error::other("never"))),
            Act::Panic => panic!("the words of a document"),
            Act::Outlived if run.held.attempts >= 3 => Ok(()),
            Act::Hang | Act::Outlived | Act::Poison => std::future::pending().await,
            Act::UntilTold => {
                run.cancel.cancelled().await;
                Err(JobError::Cancelled)
            }
        };
        self.note(Seen::Ended(job.n));
        result
    }

    async fn buried(&self, _: &mut Tx, job: &Probe, _: &JobError) -> storage::Result<()> {
        self.note(Seen::Buried(job.n));
        Ok(())
    }
}

impl Handler<Hasty> for Prober {
    async fn run(&self, job: &Hasty, run: &Run) -> Result<(), JobError> {
        Handler::<Probe>::run(self, &job.0, run).await
    }
}

/// Workers of one queue on a test's storage.
pub(crate) struct Running {
    pub(crate) prober: Arc<Prober>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) handle: JoinHandle<()>,
}

pub(crate) fn quick() -> WorkersConfig {
    WorkersConfig { queues: vec![Queue::Ingest], poll_milliseconds: 10, ..WorkersConfig::default() }
}

impl Running {
    pub(crate) fn start(storage: &Storage, config: &WorkersConfig) -> Self {
        let prober = Arc::new(Prober::default());
        let registry = Registry::default().on::<Probe>(&prober).on::<Hasty>(&prober);
        let shutdown = CancellationToken::new();
        let handle = runner::start(storage.clone(), registry, config, shutdown.clone());
        Self { prober, shutdown, handle }
    }

    /// A graceful stop.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.handle.await.unwrap();
    }

    /// What a dead process leaves: nothing is settled, nobody keeps the leases.
    pub(crate) async fn die(self) {
        self.handle.abort();
        let _aborted = self.handle.await;
    }
}

pub(crate) fn probe(n: u32, act: Act) -> Probe {
    Probe { act, case: None, key: None, n }
}

pub(crate) async fn enqueue<J: Job>(storage: &Storage, jobs: &[J]) {
    let mut tx = storage.begin(&Actor::system(domain::ids::fresh())).await.unwrap();
    for job in jobs {
        tx.enqueue(job).await.unwrap();
    }
    tx.audit(Audit::JobsSwept { enqueued: jobs.len() as u64 }).await.unwrap();
    tx.commit().await.unwrap();
}
