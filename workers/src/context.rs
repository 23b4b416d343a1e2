//! What the jobs work with besides storage.

use domain::provenance::Provenance;
use index::BlockCache;
use pipeline::Reader;
use storage::known_files::KnownFiles;

use crate::{
    alerts::AlertsConfig, checkpoints::AuditConfig, config::WorkersConfig, llm::LlmConfig, mail::MailConfig,
    references::References, runner::JobError, webhooks::Webhooks,
};

/// Everything a job may need that is chosen at start.
#[derive(Debug, Clone)]
pub struct Context {
    /// Reads documents in sandboxed children.
    pub reader: Reader,
    /// Sizes and times.
    pub config: WorkersConfig,
    /// Files that are left out, if the operator has a list of them.
    pub known_files: Option<KnownFiles>,
    /// The model that writes answers, if there is one.
    pub llm: LlmConfig,
    /// When the audit log is signed, and where checkpoints are published: without a directory in the process's log alone.
    pub audit: AuditConfig,
    /// What raises alerts, and who is told.
    pub alerts: AlertsConfig,
    /// Where files may be fetched from that load files name.
    pub references: References,
    /// How people are written to.
    pub mail: MailConfig,
    /// How programs are told what happened.
    pub webhooks: Webhooks,
    /// Decrypted blocks of indexes; the API of the same process shares it.
    pub cache: BlockCache,
}

impl Context {
    /// What reads documents here.
    pub(crate) async fn provenance(&self) -> Result<Provenance, JobError> {
        provenance(&self.reader).await
    }
}

/// What a reader says of itself.
pub(crate) async fn provenance(reader: &Reader) -> Result<Provenance, JobError> {
    let reader = reader.clone();
    let found = tokio::task::spawn_blocking(move || reader.provenance()).await?;
    found.map_err(|error| JobError::retry(anyhow::Error::new(error).context("a reading engine cannot be examined")))
}
