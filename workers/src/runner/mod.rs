//! Claim, run, retry, dead-letter. apalis lives here and nowhere else: it drives each queue's worker, catches panics,
//! traces runs and stops gracefully; the truth is in `storage::jobs`.

mod admission;
mod backend;
mod claims;
mod error;
mod handler;
mod heart;
pub(crate) mod load;
pub(crate) mod measure;
mod memory;
mod settle;

use std::{any::Any, sync::Arc, time::Duration};

use apalis::{
    layers::{
        catch_panic::CatchPanicLayer,
        tracing::{DefaultOnRequest, DefaultOnResponse, TraceLayer},
    },
    prelude::{ParallelizeExt as _, Task, WorkerBuilder, WorkerError},
};
use domain::ids;
use futures::future::BoxFuture;
use storage::Storage;
use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{Level, Span};

use self::{
    admission::Admission,
    backend::JobBackend,
    claims::{Claim, Claims},
    heart::Heart,
    load::Load,
    settle::Settle,
};
pub use self::{
    error::{Cause, JobError},
    handler::{Handler, Registry, Run},
};
use crate::config::WorkersConfig;

/// How long a run that was told to stop may take to do so before it is dropped.
const GRACE: Duration = Duration::from_secs(5);

/// Starts a worker for each configured queue. When `shutdown` is cancelled no more jobs are claimed; running ones may go
/// on for [`WorkersConfig::stop`], then they are cancelled and handed back. The handle ends when all is settled.
pub fn start(
    storage: Storage,
    registry: Registry,
    config: &WorkersConfig,
    shutdown: CancellationToken,
) -> JoinHandle<()> {
    let (registry, config) = (Arc::new(registry), config.clone());
    tokio::spawn(async move {
        let worker = format!("{}-{}", std::process::id(), ids::fresh().simple());
        let heart = Arc::new(Heart::new(storage.clone(), config.lease()));
        let (abort, heart_ends) = (CancellationToken::new(), CancellationToken::new());
        let admission = Arc::new(Admission::new(config.memory_floor()));
        let (mut queues, mut loads) = (JoinSet::new(), Vec::new());
        for queue in config.queues.iter().copied() {
            let load = Load::new(queue, config.concurrency(queue));
            loads.push(Arc::clone(&load));
            let claims = Claims {
                storage: storage.clone(),
                registry: Arc::clone(&registry),
                heart: Arc::clone(&heart),
                queue,
                worker: worker.clone(),
                load,
                admission: Arc::clone(&admission),
                slots: config.concurrency(queue),
                lease: config.lease(),
                poll: config.poll(),
                shutdown: shutdown.clone(),
                abort: abort.clone(),
            };
            queues.spawn(work(claims));
        }
        let beats = AbortOnDropHandle::new(tokio::spawn({
            let (heart, end) = (Arc::clone(&heart), heart_ends.clone());
            async move { heart.run(end).await }
        }));
        let telling = load::tell(storage, worker, loads, shutdown.clone(), heart_ends.clone());
        let telling = AbortOnDropHandle::new(tokio::spawn(telling));
        shutdown.cancelled().await;
        let all_ended = async { while queues.join_next().await.is_some() {} };
        tokio::pin!(all_ended);
        if tokio::time::timeout(config.stop(), &mut all_ended).await.is_err() {
            abort.cancel();
            all_ended.await;
        }
        heart_ends.cancel();
        let _ended = tokio::join!(beats, telling);
    })
}

/// Works on one queue until the shutdown. Should apalis's worker ever end before, another takes its place.
async fn work(claims: Claims) {
    let (shutdown, queue) = (claims.shutdown.clone(), claims.queue);
    let claims = Arc::new(claims);
    while !shutdown.is_cancelled() {
        let (out, receiver) = mpsc::channel(claims.slots);
        let claiming = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&claims).run(out)));
        if let Err(error) = apalis_worker(&claims, receiver).await {
            tracing::error!(queue = queue.name(), %error, "a worker ended; another begins");
        }
        if claiming.await.is_err() {
            tracing::error!(queue = queue.name(), "claiming panicked");
        }
    }
}

/// The worker as apalis builds it. Boxed here, where its type is known: within another future the compiler cannot see
/// that it may be spawned.
fn apalis_worker(claims: &Claims, receiver: mpsc::Receiver<Claim>) -> BoxFuture<'static, Result<(), WorkerError>> {
    let (storage, heart, shutdown) = (claims.storage.clone(), Arc::clone(&claims.heart), claims.shutdown.clone());
    let settle =
        Settle { storage: storage.clone(), queue: claims.queue, heart: Arc::clone(&heart), shutdown: shutdown.clone() };
    let backend = JobBackend { claims: receiver, storage, heart, settle, closing: None };
    let traces = TraceLayer::new()
        .make_span_with(|task: &Task<Arc<Claim>>| span(task))
        .on_request(DefaultOnRequest::new().level(Level::TRACE))
        .on_response(DefaultOnResponse::new().level(Level::DEBUG))
        .on_failure(()); // settling says it, with what becomes of the job
    let worker = WorkerBuilder::new(claims.queue.name())
        .backend(backend)
        .layer(traces)
        .layer(CatchPanicLayer::with_panic_handler(|_: &Box<dyn Any + Send>| JobError::panicked()))
        .parallelize(tokio::spawn)
        .build(|claim: Arc<Claim>| async move { execute(&claim).await });
    Box::pin(worker.run_until(async move {
        shutdown.cancelled().await;
        Ok::<(), std::io::Error>(())
    }))
}

/// One span a job, with the request that began it all.
fn span(task: &Task<Arc<Claim>>) -> Span {
    let Some(claim) = task.data().get::<Arc<Claim>>() else { return Span::none() };
    let held = &claim.run.held;
    tracing::info_span!("job", kind = claim.work.kind(), job = %held.id, attempt = held.attempts, request = %held.request)
}

/// Runs a job within its time, and no longer than [`GRACE`] after it was told to stop.
async fn execute(claim: &Claim) -> Result<(), JobError> {
    let _blocking_threads_stop = claim.run.cancel.clone().drop_guard();
    let limit = claim.work.policy().timeout;
    let told_to_stop = async {
        claim.stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        biased;
        ended = tokio::time::timeout(limit, claim.work.run(&claim.run)) => {
            ended.unwrap_or_else(|_| Err(JobError::retry(anyhow::anyhow!("it ran longer than {} s", limit.as_secs()))))
        }
        () = told_to_stop => Err(JobError::Cancelled),
    }
}
