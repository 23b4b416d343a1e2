//! Our jobs as an apalis backend: a channel of claims on one side, apalis's polling on the other.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll, ready},
};

use apalis::prelude::{Backend, Task, TaskBuilder, TaskId};
use apalis_core::{
    backend::{BackendConfig, finalize::Ephemeral},
    worker::{context::WorkerContext, ext::ack::AcknowledgeLayer},
};
use futures::{FutureExt as _, future::BoxFuture};
use storage::{Storage, jobs};
use tokio::sync::mpsc;

use super::{claims::Claim, heart::Heart, settle::Settle};

/// The claims of one queue.
pub(super) struct JobBackend {
    pub(super) claims: mpsc::Receiver<Claim>,
    pub(super) storage: Storage,
    pub(super) heart: Arc<Heart>,
    pub(super) settle: Settle,
    pub(super) closing: Option<BoxFuture<'static, ()>>,
}

impl JobBackend {
    /// Gives back what was claimed and never started.
    fn give_back(&mut self) -> BoxFuture<'static, ()> {
        self.claims.close();
        let mut held = Vec::new();
        while let Ok(claim) = self.claims.try_recv() {
            self.heart.drop_job(&claim.run.held);
            held.push(claim.run.held.clone());
        }
        let storage = self.storage.clone();
        async move {
            if let Err(error) = jobs::release(&storage, &held).await {
                tracing::warn!(%error, "claims were not given back; their leases run out");
            }
        }
        .boxed()
    }
}

impl Backend for JobBackend {
    type Task = Task<Arc<Claim>>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Option<Result<Self::Task, Infallible>>> {
        let Some(claim) = ready!(self.claims.poll_recv(cx)) else { return Poll::Ready(None) };
        let claim = Arc::new(claim);
        let id = TaskId::from(claim.run.held.id.uuid().to_string());
        Poll::Ready(Some(Ok(TaskBuilder::new(Arc::clone(&claim)).task_id(id).data(claim).build())))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        let mut closing = self.closing.take().unwrap_or_else(|| self.give_back());
        if closing.poll_unpin(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        self.closing = Some(closing);
        Poll::Pending
    }
}

impl BackendConfig for JobBackend {
    type Args = Arc<Claim>;
    type Id = String;
    type Kind = Ephemeral;
    type Config = Settle;
    type Layer = AcknowledgeLayer<Settle>;

    fn config(&self) -> &Settle {
        &self.settle
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Self::Layer {
        AcknowledgeLayer::new(self.settle.clone())
    }
}
