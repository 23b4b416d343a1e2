//! `seal_audit`: positions in the log for the events that have none, a signed checkpoint, and its publication.

use domain::{actor::Actor, ids, jobs::SealAudit};
use serde_json::json;
use storage::{
    Storage,
    audit::{Checkpoint, log},
};

use crate::{
    checkpoints,
    context::Context,
    runner::{Handler, JobError, Run},
    syslog::{Level, line},
};

impl Handler<SealAudit> for Context {
    async fn run(&self, _: &SealAudit, run: &Run) -> Result<(), JobError> {
        while let Some((checkpoint, note)) = sequence(&run.storage).await? {
            // A checkpoint is public; whoever keeps the log keeps what it proves.
            tracing::info!(target: "dia::audit", size = checkpoint.size, note, "checkpoint");
            if run.cancel.is_cancelled() {
                return Err(JobError::Cancelled);
            }
        }
        // Also what an earlier run signed and could not publish.
        let mut tx = run.storage.read(&Actor::system(ids::fresh())).await?;
        let Some((checkpoint, note)) = log::checkpoint(&mut tx).await? else { return Ok(()) };
        drop(tx);
        // The collector hears of it though the directory fails, and the other way round.
        let (kept, sent) = tokio::join!(self.keep(checkpoint.clone(), note.clone()), self.send(&checkpoint, &note));
        kept.and(sent)
    }
}

impl Context {
    async fn keep(&self, checkpoint: Checkpoint, note: String) -> Result<(), JobError> {
        let directory = self.audit.checkpoint_directory.clone();
        if directory.as_os_str().is_empty() {
            return Ok(());
        }
        tokio::task::spawn_blocking(move || checkpoints::publish(&directory, &checkpoint, &note))
            .await?
            .map_err(|error| JobError::retry(anyhow::Error::new(error).context("a checkpoint cannot be published")))
    }

    /// The latest checkpoint again each time: that none comes any more is seen by whoever collects them.
    async fn send(&self, checkpoint: &Checkpoint, note: &str) -> Result<(), JobError> {
        let collector = self.audit.collector().map_err(|error| JobError::fail(anyhow::anyhow!(error)))?;
        let Some(collector) = collector else { return Ok(()) };
        let text = json!({ "size": checkpoint.size, "note": note }).to_string();
        let sent = collector.send(&line(Level::INFORMATIONAL, checkpoint.at, "checkpoint", &text)).await;
        sent.map_err(|error| JobError::retry(anyhow::Error::new(error).context("the syslog collector cannot be told")))
    }
}

/// The next checkpoint. That there can be none leaves a trace.
async fn sequence(storage: &Storage) -> Result<Option<(Checkpoint, String)>, JobError> {
    let sequenced = log::sequence(storage).await;
    if matches!(sequenced, Err(storage::Error::LogDamaged)) {
        log::note_damage(storage).await?;
    }
    Ok(sequenced?)
}
