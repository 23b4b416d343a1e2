//! Why a request to S3 failed, in words that say what to do next.

use std::{fmt, io};

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
};

/// What the caller can do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// There is no such object, bucket or upload.
    Missing,
    /// A condition did not hold: the name is taken.
    Taken,
    /// The range lies outside the object.
    Outside,
    /// The credentials or their rights do not do.
    Refused,
    /// The account's or the server's space is used up.
    Full,
    /// The server does not know what was asked of it.
    Unknown,
    /// The server is away, overloaded or broke off: it may work the next time.
    Passing,
    /// Anything else.
    Lasting,
}

/// A failed request. The text names codes and hosts, never credentials or contents.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    said: String,
}

impl Failure {
    pub(super) fn new(kind: Kind, said: impl Into<String>) -> Self {
        Self { kind, said: said.into() }
    }

    /// The process is ending, and what it began with it.
    pub(super) fn stopping() -> Self {
        Self::new(Kind::Passing, "dia is stopping")
    }

    /// What the server's answer, or its absence, means.
    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        let (Some(answer), Some(code)) = (error.raw_response(), error.code()) else {
            return Self::without_code(error);
        };
        let status = answer.status().as_u16();
        let kind = kind(status, code);
        let advice = match (kind, code) {
            (_, "RequestTimeTooSkewed") => "; set this machine's clock",
            (_, "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
                "; mend objects.region and objects.endpoint"
            }
            (Kind::Refused, "AccessDenied" | "AllAccessDisabled") => "; give the credentials the right to do this",
            (Kind::Refused, _) => "; mend the credentials in [objects] or of the environment",
            (Kind::Full, _) => "; free space or raise the quota",
            _ => "",
        };
        Self::new(kind, format!("S3 answered {status} {code}{advice}"))
    }

    fn without_code<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: std::error::Error + 'static,
    {
        if let (Some(answer), true) = (error.raw_response(), matches!(error, SdkError::ServiceError(_))) {
            // Answers to HEAD have no body, so the status is all there is.
            let status = answer.status().as_u16();
            return Self::new(kind(status, ""), format!("S3 answered {status}"));
        }
        match error {
            SdkError::ConstructionFailure(_) => Self::new(
                Kind::Refused,
                format!(
                    "the request could not be made; mend [objects] or the environment ({})",
                    DisplayErrorContext(error)
                ),
            ),
            SdkError::DispatchFailure(failure) if !(failure.is_io() || failure.is_timeout()) => Self::new(
                // Most of these are credentials that are nowhere to be found, and names that do not resolve.
                if failure.is_user() { Kind::Lasting } else { Kind::Passing },
                format!("S3 could not be asked ({})", DisplayErrorContext(error)),
            ),
            SdkError::TimeoutError(_) => Self::new(Kind::Passing, "S3 did not answer in time"),
            _ => Self::new(Kind::Passing, format!("S3 cannot be reached ({})", DisplayErrorContext(error))),
        }
    }
}

fn kind(status: u16, code: &str) -> Kind {
    match (status, code) {
        (_, "QuotaExceeded" | "XMinioStorageFull" | "InsufficientStorage" | "XMinioAdminBucketQuotaExceeded")
        | (507, _) => Kind::Full,
        (
            _,
            "RequestTimeout" | "SlowDown" | "RequestTimeTooSkewed" | "ConditionalRequestConflict" | "OperationAborted",
        )
        | (408 | 429, _) => Kind::Passing,
        (501, _) | (_, "NotImplemented") => Kind::Unknown,
        (500..=599, _) => Kind::Passing,
        (401 | 403, _) => Kind::Refused,
        (404, _) => Kind::Missing,
        (412, _) => Kind::Taken,
        (416, _) => Kind::Outside,
        _ => Kind::Lasting,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        let kind = match failure.kind {
            Kind::Missing => io::ErrorKind::NotFound,
            Kind::Taken => io::ErrorKind::AlreadyExists,
            // Every object has a header: one that ends before its first byte was cut.
            Kind::Outside => io::ErrorKind::InvalidData,
            Kind::Refused => io::ErrorKind::PermissionDenied,
            Kind::Full => io::ErrorKind::StorageFull,
            Kind::Unknown => io::ErrorKind::Unsupported,
            Kind::Passing => io::ErrorKind::TimedOut,
            Kind::Lasting => io::ErrorKind::Other,
        };
        Self::new(kind, failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_sorted_by_what_can_be_done() {
        for (status, code, expected) in [
            (404, "NoSuchKey", Kind::Missing),
            (412, "PreconditionFailed", Kind::Taken),
            (416, "InvalidRange", Kind::Outside),
            (403, "SignatureDoesNotMatch", Kind::Refused),
            (403, "QuotaExceeded", Kind::Full),
            (403, "RequestTimeTooSkewed", Kind::Passing),
            (507, "", Kind::Full),
            (400, "RequestTimeout", Kind::Passing),
            (503, "SlowDown", Kind::Passing),
            (500, "InternalError", Kind::Passing),
            (501, "NotImplemented", Kind::Unknown),
            (400, "InvalidArgument", Kind::Lasting),
        ] {
            assert_eq!(kind(status, code), expected, "{status} {code}");
        }
        assert_eq!(io::Error::from(Failure::new(Kind::Full, "")).kind(), io::ErrorKind::StorageFull);
    }
}
