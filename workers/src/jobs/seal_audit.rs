//! `seal_audit`: positions in the log for the events that have none, a signed checkpoint, and its publication.

use domain::{actor::Actor, ids, jobs::SealAudit};
use storage::{
    Storage,
    audit::{Checkpoint, log},
};

use crate::{
    checkpoints,
    context::Context,
    runner::{Handler, JobError, Run},
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
        let directory = self.audit.checkpoint_directory.clone();
        if directory.as_os_str().is_empty() {
            return Ok(());
        }
        tokio::task::spawn_blocking(move || checkpoints::publish(&directory, &checkpoint, &note))
            .await?
            .map_err(|error| JobError::retry(anyhow::Error::new(error).context("a checkpoint cannot be published")))
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
