//! The contract between a job and the runner: a job is a handler with two methods, and a run with what it may use.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use domain::{
    actor::Actor,
    jobs::{Job, Policy},
};
use serde_json::Value;
use storage::{
    Storage, Tx, failpoint,
    jobs::{self, Held},
};
use tokio_util::sync::CancellationToken;

use super::{Cause, JobError};

/// What a kind of job does. A job may run twice and must not matter twice.
pub trait Handler<J: Job>: Send + Sync + 'static {
    /// Does the work. The effect and the job's completion belong in one transaction: end with [`Run::complete`]. A run
    /// that returns `Ok` without it had no effect, and the runner completes it.
    fn run(&self, job: &J, run: &Run) -> impl Future<Output = Result<(), JobError>> + Send;

    /// What else must happen in the transaction that dead-letters the job, so that nothing waits for it for ever.
    fn buried(&self, tx: &mut Tx, job: &J, error: &JobError) -> impl Future<Output = storage::Result<()>> + Send {
        let _ = (tx, job, error);
        std::future::ready(Ok(()))
    }
}

/// One attempt at one job.
#[derive(Debug)]
pub struct Run {
    /// Where everything is.
    pub storage: Storage,
    /// The claim.
    pub held: Held,
    /// Cancelled when the work should stop: the job was cancelled, taken over, ran out of time, or dia is stopping. It is
    /// also cancelled when the run ends for any reason, so blocking threads that watch it never outlive it for long.
    pub cancel: CancellationToken,
    completed: AtomicBool,
}

impl Run {
    pub(super) fn new(storage: Storage, held: Held, cancel: CancellationToken) -> Self {
        Self { storage, held, cancel, completed: AtomicBool::new(false) }
    }

    /// The system, carrying on what the person behind the job began.
    pub fn actor(&self) -> Actor {
        Actor::system_for(self.held.on_behalf, self.held.request)
    }

    /// Begins a transaction in the job's name.
    pub async fn begin(&self) -> storage::Result<Tx> {
        self.storage.begin(&self.actor()).await
    }

    /// Begins a transaction in the job's name that only reads.
    pub async fn read(&self) -> storage::Result<Tx> {
        self.storage.read(&self.actor()).await
    }

    /// Completes the job in the transaction of its effect, and commits both. [`storage::Error::LeaseLost`] when the job
    /// moved on meanwhile: then nothing happened.
    pub async fn complete(&self, mut tx: Tx) -> storage::Result<()> {
        tx.complete(&self.held).await?;
        failpoint::hit("job.before_commit");
        tx.commit().await?;
        self.completed.store(true, Ordering::SeqCst);
        failpoint::hit("job.after_commit");
        Ok(())
    }

    /// Completes the job by leaving its work to `next`. [`storage::Error::LeaseLost`] when the job moved on meanwhile.
    pub async fn hand_over(&self, next: &impl Job) -> storage::Result<()> {
        self.leave_to(next, None).await
    }

    /// Completes the job by leaving its work to `next`, which is not begun before `delay` has passed. Unlike a failed attempt it
    /// may be put off without end. [`storage::Error::LeaseLost`] when the job moved on meanwhile.
    pub async fn put_off(&self, next: &impl Job, delay: Duration) -> storage::Result<()> {
        self.leave_to(next, Some(delay)).await
    }

    async fn leave_to(&self, next: &impl Job, delay: Option<Duration>) -> storage::Result<()> {
        jobs::hand_over(&self.storage, &self.actor(), &self.held, next, delay).await?;
        self.completed.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// True once [`Run::complete`] has committed.
    pub(super) fn is_completed(&self) -> bool {
        self.completed.load(Ordering::SeqCst)
    }
}

/// A job with its handler, kind forgotten.
#[async_trait]
pub(super) trait Work: Send + Sync {
    fn kind(&self) -> &'static str;
    fn policy(&self) -> Policy;
    async fn run(&self, run: &Run) -> Result<(), JobError>;
    async fn buried(&self, tx: &mut Tx, error: &JobError) -> storage::Result<()>;
}

struct Bound<J, H> {
    job: J,
    handler: Arc<H>,
}

#[async_trait]
impl<J: Job, H: Handler<J>> Work for Bound<J, H> {
    fn kind(&self) -> &'static str {
        J::KIND
    }

    fn policy(&self) -> Policy {
        J::POLICY
    }

    async fn run(&self, run: &Run) -> Result<(), JobError> {
        self.handler.run(&self.job, run).await
    }

    async fn buried(&self, tx: &mut Tx, error: &JobError) -> storage::Result<()> {
        self.handler.buried(tx, &self.job, error).await
    }
}

type Decode = dyn Fn(&Value) -> serde_json::Result<Box<dyn Work>> + Send + Sync;

/// Which handler runs which kind of job.
#[derive(Default)]
pub struct Registry(BTreeMap<&'static str, Box<Decode>>);

impl Registry {
    /// Lets `handler` run jobs of kind `J`.
    #[must_use]
    pub fn on<J: Job>(mut self, handler: &Arc<impl Handler<J>>) -> Self {
        let handler = Arc::clone(handler);
        let decode = move |payload: &Value| -> serde_json::Result<Box<dyn Work>> {
            Ok(Box::new(Bound { job: serde_json::from_value::<J>(payload.clone())?, handler: Arc::clone(&handler) }))
        };
        self.0.insert(J::KIND, Box::new(decode));
        self
    }

    /// The kinds with a handler.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    /// The work of a claimed row, or why there can be none: a kind without a handler waits for a worker that has one, as there
    /// are while a fleet is upgraded.
    pub(super) fn work(&self, held: &Held) -> Result<Box<dyn Work>, JobError> {
        let unknown = || JobError::Wait(Cause::new(anyhow::anyhow!("its kind is unknown to the workers asked so far")));
        let decode = self.0.get(held.kind.as_str()).ok_or_else(unknown)?;
        decode(&held.payload).map_err(|_| JobError::fail(anyhow::anyhow!("the payload cannot be read")))
    }
}
