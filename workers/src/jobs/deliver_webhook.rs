//! `deliver_webhook`: one attempt at one message. What became of it and the next attempt, if there is one, commit together. A run that
//! dies between the answer and that commit is repeated: the receiver may get a message twice, under the same id.

use std::time::Instant;

use domain::{jobs::DeliverWebhook, webhooks::delay};
use rand::RngExt as _;
use storage::{
    Tx,
    webhooks::{Ending, Message},
};

use crate::{
    context::Context,
    outbound::OutboundError,
    runner::{Handler, JobError, Run},
    webhooks::Reply,
};

/// What a receiver answers that wants nothing any more (RFC 9110 §15.5.11; Standard Webhooks 1.0).
const GONE: u16 = 410;

impl Handler<DeliverWebhook> for Context {
    async fn run(&self, job: &DeliverWebhook, run: &Run) -> Result<(), JobError> {
        let mut tx = run.read().await?;
        let Some(message) = Message::load(&mut tx, job.case, job.delivery).await? else { return Ok(()) };
        drop(tx);
        if !message.is_wanted {
            let mut tx = run.begin().await?;
            if message.abandon(&mut tx).await? {
                run.complete(tx).await?;
            }
            return Ok(());
        }
        let (at, begun) = (run.storage.clock.now(), Instant::now());
        let answer = self.webhooks.send(&message, at).await;
        let (ending, took) = (self.ending(&message, &answer), begun.elapsed());
        tracing::info!(delivery = %message.id, status = answer.as_ref().ok().map(|reply| reply.status), ?ending, "a message was sent");
        let answer = answer.map(|reply| reply.status).map_err(|error| error.to_string());
        let mut tx = run.begin().await?;
        if message.note(&mut tx, at, took, answer, ending).await? {
            run.complete(tx).await?;
        }
        Ok(())
    }

    async fn buried(&self, tx: &mut Tx, job: &DeliverWebhook, _: &JobError) -> storage::Result<()> {
        match Message::load(tx, job.case, job.delivery).await? {
            Some(message) => message.abandon(tx).await.map(drop),
            None => Ok(()),
        }
    }
}

impl Context {
    /// What an answer, or none, means for a message.
    fn ending(&self, message: &Message, answer: &Result<Reply, OutboundError>) -> Ending {
        match answer {
            Ok(Reply { status: 200..=299, .. }) => return Ending::Delivered,
            Ok(Reply { status: GONE, .. }) => return Ending::Gone,
            Ok(_) | Err(_) => {}
        }
        let failed = message.tries.saturating_add(1);
        if failed >= self.webhooks.attempts() {
            return Ending::Failed { disable_after: self.webhooks.disable_after() };
        }
        let asked = answer.as_ref().ok().and_then(|reply| reply.retry_after);
        // Messages that failed together do not come back together; never sooner than they were asked to.
        Ending::Again(delay(failed, asked).mul_f64(rand::rng().random_range(1.0..1.25)))
    }
}
