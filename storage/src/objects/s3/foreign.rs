//! Buckets of others: files that a load file names as `s3://bucket/key` are read from them, once, from start to end.

use std::{fmt, time::Duration};

use aws_sdk_s3::{Client, primitives::ByteStream};
use bytes::Bytes;

use super::{
    Settings,
    failure::{Failure, Kind},
    wire,
};

/// A connection to the server that the operator configured for references. Cloning shares it.
#[derive(Clone)]
pub struct Buckets {
    client: Client,
    each: Duration,
}

/// Why a file of a bucket cannot be had. What the server said is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BucketError {
    /// There is no such object or bucket.
    #[error("there is no such object in the bucket")]
    Missing,
    /// The credentials do not open it.
    #[error("the bucket's server refuses it")]
    Refused,
    /// The server is away, overloaded or broke off: it may work the next time.
    #[error("the bucket's server is away")]
    Passing,
    /// It will not work the next time either.
    #[error("the bucket's server does not hand it out")]
    Lasting,
}

/// An object on its way here.
pub struct RemoteObject {
    body: ByteStream,
    length: Option<u64>,
    each: Duration,
}

impl Buckets {
    /// Reaches the server that `settings` name; their bucket and prefix say nothing here.
    pub async fn new(settings: &Settings) -> Self {
        // Futures of the SDK are large.
        Self { client: Box::pin(wire::client(settings)).await, each: settings.request_timeout() }
    }

    /// Asks for an object.
    pub async fn open(&self, bucket: &str, key: &str) -> Result<RemoteObject, BucketError> {
        let asked = Box::pin(self.client.get_object().bucket(bucket).key(key).send());
        let answer = match tokio::time::timeout(self.each, asked).await {
            Ok(answer) => answer.map_err(|error| BucketError::from(Failure::of(&error)))?,
            Err(_) => return Err(BucketError::Passing),
        };
        let length = answer.content_length().and_then(|length| u64::try_from(length).ok());
        Ok(RemoteObject { body: answer.body, length, each: self.each })
    }
}

impl RemoteObject {
    /// How many bytes it says it has.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The next bytes.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, BucketError> {
        match tokio::time::timeout(self.each, self.body.next()).await {
            Ok(None) => Ok(None),
            Ok(Some(Ok(piece))) => Ok(Some(piece)),
            // It broke off, or fell silent.
            Ok(Some(Err(_))) | Err(_) => Err(BucketError::Passing),
        }
    }
}

impl From<Failure> for BucketError {
    fn from(failure: Failure) -> Self {
        tracing::info!(%failure, "an object of a reference cannot be had; what this says of objects, mend in [references]");
        match failure.kind {
            Kind::Missing => Self::Missing,
            Kind::Refused => Self::Refused,
            Kind::Passing => Self::Passing,
            _ => Self::Lasting,
        }
    }
}

impl fmt::Debug for Buckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Buckets")
    }
}

impl fmt::Debug for RemoteObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteObject").field("length", &self.length).finish_non_exhaustive()
    }
}
