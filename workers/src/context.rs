//! What the jobs work with besides storage.

use pipeline::Reader;

use crate::{config::WorkersConfig, llm::LlmConfig};

/// Everything a job may need that is chosen at start.
#[derive(Debug, Clone)]
pub struct Context {
    /// Reads documents in sandboxed children.
    pub reader: Reader,
    /// Sizes and times.
    pub config: WorkersConfig,
    /// The model that writes answers, if there is one.
    pub llm: LlmConfig,
}
