//! `dia workers`.

use anyhow::Result;

use super::operator;
use crate::{compose, config::Config, out};

/// `dia workers`
pub(crate) async fn workers(config: Config) -> Result<()> {
    let storage = compose::storage(&config).await?;
    let mut tx = storage.read(&operator()).await?;
    let found = storage::workers::list(&mut tx).await?;
    for worker in &found {
        let load = |load: &storage::workers::QueueLoad| format!("{} {}/{}", load.queue, load.running, load.slots);
        let queues: Vec<String> = worker.queues.iter().map(load).collect();
        let stopping = if worker.is_stopping { "  stopping" } else { "" };
        out::line(&format!(
            "{}  {}  {}  since {}  seen {}  {}{stopping}",
            worker.name,
            worker.host,
            worker.version,
            worker.started_at,
            worker.seen_at,
            queues.join(", ")
        ));
    }
    if found.is_empty() {
        out::line("no process works the queues");
    }
    drop(tx);
    storage.db.close().await;
    Ok(())
}
