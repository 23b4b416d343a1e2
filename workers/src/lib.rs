//! The workers: what happens to documents and questions after the door has taken them in. [`runner`] claims jobs and runs
//! them; each job is one file in `jobs`; `schedule` is the one table of what happens by the clock.

mod alerts;
mod answer;
pub mod checkpoints;
mod clamd;
mod config;
mod context;
pub mod jobs;
pub mod llm;
pub mod mail;
mod outbound;
mod readers;
mod references;
pub mod runner;
mod schedule;
mod syslog;
mod webhooks;

use storage::Storage;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use alerts::AlertsConfig;
pub use config::WorkersConfig;
pub use context::Context;
pub use llm::LlmConfig;
pub use mail::MailConfig;
pub use references::{References, ReferencesConfig};
pub use webhooks::{Webhooks, WebhooksConfig};

/// The workers of this process.
#[derive(Debug)]
pub struct Workers;

impl Workers {
    /// Starts a worker for each configured queue and the schedule. Cancelling `shutdown` stops them gracefully; the
    /// handle ends when running jobs have finished or were handed back.
    pub fn start(
        storage: Storage,
        context: Context,
        config: &WorkersConfig,
        shutdown: CancellationToken,
    ) -> JoinHandle<()> {
        let every =
            schedule::Every { collect: config.collect(), seal: context.audit.every(), alert: context.alerts.every() };
        let schedule = tokio::spawn(schedule::run(storage.clone(), every, shutdown.clone()));
        let running = runner::start(storage, jobs::registry(context), config, shutdown);
        tokio::spawn(async move {
            let _both = tokio::join!(schedule, running);
        })
    }
}
