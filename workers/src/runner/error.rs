//! How a job ends when it does not succeed, and what the runner does about it.

use std::{fmt, io, sync::Arc, time::Duration};

use storage::objects::ObjectError;

/// Why a job did not succeed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JobError {
    /// It may succeed later: again after the kind's back-off, until its attempts are used up.
    #[error("{0}")]
    Retry(Cause),
    /// As [`JobError::Retry`], but not before this time has passed.
    #[error("{1}")]
    RetryAfter(Duration, Cause),
    /// The machine is short of something (the disk is full, the database is away): again when it may have recovered, and
    /// the attempt does not count.
    #[error("{0}")]
    Wait(Cause),
    /// It will never succeed: dead-lettered at once.
    #[error("{0}")]
    Fail(Cause),
    /// It was told to stop and did.
    #[error("stopped")]
    Cancelled,
    /// Another process took it over: whatever this one did does not count.
    #[error("the lease was lost")]
    Lost,
    /// What it works on no longer exists: there is nothing left to do.
    #[error("what the job works on is gone")]
    Gone,
}

/// The reason of a [`JobError`], sources kept. Never holds text of a document.
#[derive(Clone)]
pub struct Cause(Arc<anyhow::Error>);

impl JobError {
    /// May succeed later; when what failed is a store that is full or away, without costing an attempt.
    pub fn retry(cause: impl Into<anyhow::Error>) -> Self {
        let cause = cause.into();
        let is_short = cause.chain().any(is_short);
        let cause = Cause(Arc::new(cause));
        if is_short { Self::Wait(cause) } else { Self::Retry(cause) }
    }

    /// The job panicked. The panic's message may quote what was being read, so it is not kept.
    pub(super) fn panicked() -> Self {
        Self::retry(anyhow::anyhow!("the job panicked"))
    }

    /// Will never succeed.
    pub fn fail(cause: impl Into<anyhow::Error>) -> Self {
        Self::Fail(Cause::new(cause))
    }
}

/// True when an error says that the machine is short of something, or a store is away. Reads and writes of objects say it by
/// their kind.
fn is_short(error: &(dyn std::error::Error + 'static)) -> bool {
    let stored = error.downcast_ref::<storage::Error>().is_some_and(|error| error.is_full() || error.is_away());
    let object = error.downcast_ref::<ObjectError>().is_some_and(|error| error.is_full() || error.is_away());
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    stored || object || matches!(kind, Some(io::ErrorKind::TimedOut | io::ErrorKind::StorageFull))
}

impl Cause {
    /// Wraps an error.
    pub fn new(cause: impl Into<anyhow::Error>) -> Self {
        Self(Arc::new(cause.into()))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<storage::Error> for JobError {
    fn from(error: storage::Error) -> Self {
        match error {
            storage::Error::LeaseLost => Self::Lost,
            storage::Error::NotFound => Self::Gone,
            error => Self::retry(error),
        }
    }
}

impl From<ObjectError> for JobError {
    fn from(error: ObjectError) -> Self {
        storage::Error::from(error).into()
    }
}

impl From<anyhow::Error> for JobError {
    fn from(error: anyhow::Error) -> Self {
        Self::retry(error)
    }
}

impl From<tokio::task::JoinError> for JobError {
    fn from(error: tokio::task::JoinError) -> Self {
        // The error's own words hold the panic's message, and that may quote what was being read.
        let what = if error.is_panic() { "a blocking step panicked" } else { "the process is stopping" };
        Self::retry(anyhow::anyhow!(what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_away_costs_no_attempt() {
        let away = || io::Error::from(io::ErrorKind::TimedOut);
        let object = || ObjectError::Io { doing: "read an object", source: away() };
        assert!(matches!(JobError::retry(away()), JobError::Wait(_)));
        assert!(matches!(JobError::from(object()), JobError::Wait(_)));
        assert!(matches!(JobError::retry(io::Error::from(object())), JobError::Wait(_)));
        assert!(matches!(JobError::retry(anyhow::Error::from(object()).context("reading")), JobError::Wait(_)));
        assert!(matches!(JobError::retry(io::Error::from(io::ErrorKind::InvalidData)), JobError::Retry(_)));
    }
}
