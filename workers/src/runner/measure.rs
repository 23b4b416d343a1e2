//! What the workers count: jobs by kind and outcome with their durations, documents and bytes by outcome.

use std::time::Duration;

use domain::{jobs::Queue, outcome::DocumentState};
use metrics::{counter, histogram};

/// A run ended.
pub(super) fn ended(queue: Queue, kind: &'static str, outcome: &'static str, took: Duration) {
    let queue = queue.name();
    counter!("dia_jobs_total", "queue" => queue, "kind" => kind, "outcome" => outcome).increment(1);
    histogram!("dia_job_duration_seconds", "queue" => queue, "kind" => kind, "outcome" => outcome)
        .record(took.as_secs_f64());
}

/// Documents of `bytes` together reached `state`.
pub(crate) fn documents(state: DocumentState, count: u64, bytes: u64) {
    counter!("dia_documents_total", "outcome" => state.name()).increment(count);
    counter!("dia_document_bytes_total", "outcome" => state.name()).increment(bytes);
}
