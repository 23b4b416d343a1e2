//! `dia jobs …` and `dia queues …`.

use anyhow::{Context, Result};
use domain::{ids::JobId, jobs::Queue, page::PageQuery};
use storage::jobs::{self, JobFilter};

use super::operator;
use crate::{
    cli::{JobsCommand, QueuesCommand},
    compose,
    config::Config,
    out,
};

/// `dia jobs …`
pub(crate) async fn jobs(command: JobsCommand, config: Config) -> Result<()> {
    let storage = compose::storage(&config).await?;
    match command {
        JobsCommand::List { state, kind, limit } => {
            let mut tx = storage.read(&operator()).await?;
            let page = PageQuery { cursor: None, limit: Some(limit) };
            let found = jobs::list(&mut tx, &JobFilter { state, kind }, &page).await?;
            for job in &found.items {
                let error = job.error.as_deref().unwrap_or("");
                out::line(&format!(
                    "{}  {:<9}  {:<17}  {}/{}  {}  {error}",
                    job.id, job.state, job.kind, job.attempts, job.max_attempts, job.run_at
                ));
            }
            if found.items.is_empty() {
                out::line("no jobs");
            }
        }
        JobsCommand::Show { id } => {
            let mut tx = storage.read(&operator()).await?;
            out::json(&jobs::find(&mut tx, parse(&id)?).await.context("cannot show the job")?)?;
        }
        JobsCommand::Retry { id } => {
            let mut tx = storage.begin(&operator()).await?;
            let job = jobs::retry(&mut tx, parse(&id)?).await.context("cannot retry the job")?;
            tx.commit().await?;
            out::json(&job)?;
        }
        JobsCommand::Cancel { id } => {
            let mut tx = storage.begin(&operator()).await?;
            let job = jobs::cancel(&mut tx, parse(&id)?).await.context("cannot cancel the job")?;
            tx.commit().await?;
            out::json(&job)?;
        }
    }
    storage.db.close().await;
    Ok(())
}

/// `dia queues …`
pub(crate) async fn queues(command: QueuesCommand, config: Config) -> Result<()> {
    let storage = compose::storage(&config).await?;
    let mut tx = storage.begin(&operator()).await?;
    match command {
        QueuesCommand::List => {}
        QueuesCommand::Pause { queue } => jobs::set_paused(&mut tx, named(&queue)?, true).await?,
        QueuesCommand::Resume { queue } => jobs::set_paused(&mut tx, named(&queue)?, false).await?,
    }
    let counts = jobs::counts(&mut tx).await?;
    tx.commit().await?;
    for (queue, stats) in counts {
        let paused = if stats.paused { "  paused" } else { "" };
        out::line(&format!(
            "{:<12}  ready {}  delayed {}  running {}  dead {}  oldest {} s{paused}",
            queue.name(),
            stats.ready,
            stats.delayed,
            stats.running,
            stats.dead,
            stats.oldest_micros / 1_000_000
        ));
    }
    storage.db.close().await;
    Ok(())
}

fn parse(id: &str) -> Result<JobId> {
    id.parse().with_context(|| format!("`{id}` is not a job id; `dia jobs list` shows them"))
}

fn named(queue: &str) -> Result<Queue> {
    Queue::parse(queue).with_context(|| {
        format!("`{queue}` is not a queue: ingest, extract, ocr, index, relate, chat, network or maintenance")
    })
}
