//! What the workers count: jobs by kind and outcome with their durations, documents and bytes by outcome.

use std::time::Duration;

use domain::outcome::DocumentState;
use metrics::{counter, histogram};

/// A run ended.
pub(super) fn ended(kind: &'static str, outcome: &'static str, took: Duration) {
    counter!("dia_jobs_total", "kind" => kind, "outcome" => outcome).increment(1);
    histogram!("dia_job_duration_seconds", "kind" => kind, "outcome" => outcome).record(took.as_secs_f64());
}

/// Documents of `bytes` together reached `state`.
pub(crate) fn documents(state: DocumentState, count: u64, bytes: u64) {
    counter!("dia_documents_total", "outcome" => state.name()).increment(count);
    counter!("dia_document_bytes_total", "outcome" => state.name()).increment(bytes);
}
