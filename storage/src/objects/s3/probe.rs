//! What the server behind a bucket can do, asked once at start. What it cannot do is done another way; a bucket that is
//! not there, and credentials that do not do, are told before anything is served.

use std::fmt;

use aws_sdk_s3::{
    operation::complete_multipart_upload::CompleteMultipartUploadOutput,
    primitives::ByteStream,
    types::{BucketVersioningStatus, CompletedMultipartUpload, CompletedPart, ObjectLockEnabled},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use domain::clock::Timestamp;
use md5::Md5;
use sha2::{Digest as _, Sha256};

use super::{
    failure::{Failure, Kind},
    time_of,
    wire::Wire,
};
use crate::objects::ObjectError;

type Outcome<T> = Result<T, Failure>;

/// What the server can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether deleted objects stay as old versions; `None` when the credentials may not ask.
    pub versioning: Option<bool>,
    /// Whether the bucket can forbid deletion; `None` when the credentials may not ask.
    pub object_lock: Option<bool>,
    /// Whether a put with `If-None-Match: *` is refused when the name is taken.
    pub conditional_put: bool,
    /// Whether the end of an upload in parts is.
    pub conditional_complete: bool,
    /// How transfers are checked.
    pub checksum: Checksum,
}

/// How the server and we check that what arrived is what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// The server compares SHA-256 and returns it.
    Sha256,
    /// The server compares MD5 and returns it as the entity tag.
    Md5,
    /// The server compares MD5 and returns nothing that could be compared.
    Md5Unreturned,
}

impl Checksum {
    pub(super) fn is_sha256(self) -> bool {
        self == Self::Sha256
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let three = |known: Option<bool>| known.map_or("unknown", |on| if on { "on" } else { "off" });
        let two = |can: bool| if can { "yes" } else { "no" };
        write!(
            f,
            "versioning {}, object lock {}, conditional put {}, conditional end of multipart {}, checksum {}",
            three(self.versioning),
            three(self.object_lock),
            two(self.conditional_put),
            two(self.conditional_complete),
            if self.checksum.is_sha256() { "SHA-256" } else { "MD5" },
        )
    }
}

/// The checksums of a transfer.
pub(super) struct Digests {
    sha256: String,
    md5: [u8; 16],
}

impl Digests {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { sha256: STANDARD.encode(Sha256::digest(bytes)), md5: Md5::digest(bytes).into() }
    }

    /// To send along, where the server checks it.
    pub(super) fn sha256(&self, checksum: Checksum) -> Option<String> {
        checksum.is_sha256().then(|| self.sha256.clone())
    }

    /// To send along, where the server does not know the better one.
    pub(super) fn md5(&self, checksum: Checksum) -> Option<String> {
        (!checksum.is_sha256()).then(|| STANDARD.encode(self.md5))
    }

    /// Compares what the server says it has stored.
    pub(super) fn confirm(&self, checksum: Checksum, sha256: Option<&str>, tag: Option<&str>) -> Outcome<()> {
        let same = match checksum {
            Checksum::Sha256 => sha256 == Some(self.sha256.as_str()),
            Checksum::Md5 => self.is_tag(tag),
            Checksum::Md5Unreturned => true,
        };
        if same { Ok(()) } else { Err(Failure::new(Kind::Passing, "S3 stored other bytes than were sent")) }
    }

    fn is_tag(&self, tag: Option<&str>) -> bool {
        tag.is_some_and(|tag| tag.trim_matches('"').eq_ignore_ascii_case(&hex::encode(self.md5)))
    }
}

struct Probe<'a> {
    wire: &'a Wire,
    bucket: &'a str,
    key: String,
}

/// Asks.
pub(super) async fn probe(wire: &Wire, bucket: &str, prefix: &str) -> Result<Capabilities, ObjectError> {
    let probe = Probe { wire, bucket, key: format!("{prefix}probe/{}", domain::ids::fresh()) };
    let unusable = |failure: Failure| match failure.kind {
        Kind::Missing => {
            ObjectError::Unusable(format!("there is no bucket {bucket}; create it or mend objects.bucket"))
        }
        _ => ObjectError::Unusable(format!("the bucket {bucket} cannot be used: {failure}")),
    };
    probe.list().await.map_err(unusable)?;
    let found = probe.find_out().await;
    let deleted = probe.delete().await;
    let can = found.map_err(unusable)?;
    deleted.map_err(unusable)?;
    Ok(can)
}

impl Probe<'_> {
    async fn list(&self) -> Outcome<()> {
        self.wire
            .tried(|| async {
                let list = self.wire.client.list_objects_v2().bucket(self.bucket).prefix(&self.key).max_keys(1);
                list.send().await.map(drop).map_err(|error| Failure::of(&error))
            })
            .await
    }

    async fn find_out(&self) -> Outcome<Capabilities> {
        let digests = Digests::of(b"dia");
        let mut checksum = Checksum::Sha256;
        let mut put = self.put(checksum, false).await;
        if put.as_ref().is_err_and(|failure| !matches!(failure.kind, Kind::Refused | Kind::Full | Kind::Passing)) {
            checksum = Checksum::Md5;
            put = self.put(checksum, false).await;
        }
        let (sha256, tag) = put?;
        if sha256.as_deref() != Some(digests.sha256.as_str()) {
            checksum = if digests.is_tag(tag.as_deref()) { Checksum::Md5 } else { Checksum::Md5Unreturned };
        }
        let taken = |kind: Option<Kind>| kind == Some(Kind::Taken);
        Ok(Capabilities {
            versioning: self.versioning().await,
            object_lock: self.object_lock().await,
            conditional_put: taken(self.put(checksum, true).await.err().map(|failure| failure.kind)),
            conditional_complete: taken(self.complete().await?.err().map(|failure| failure.kind)),
            checksum,
        })
    }

    /// Puts the probe; what the server says of it: SHA-256 and entity tag.
    async fn put(&self, checksum: Checksum, fresh: bool) -> Outcome<(Option<String>, Option<String>)> {
        let digests = Digests::of(b"dia");
        self.wire
            .tried(|| async {
                let put = self.wire.client.put_object().bucket(self.bucket).key(&self.key);
                let put = put.set_if_none_match(fresh.then(|| "*".to_owned()));
                let put = put.set_checksum_sha256(digests.sha256(checksum)).set_content_md5(digests.md5(checksum));
                let put = put.body(ByteStream::from(Bytes::from_static(b"dia")));
                let answer = put.send().await.map_err(|error| Failure::of(&error))?;
                Ok((answer.checksum_sha256().map(str::to_owned), answer.e_tag().map(str::to_owned)))
            })
            .await
    }

    /// Tries to end an upload in parts on the name of the probe, which is taken.
    async fn complete(&self) -> Outcome<Outcome<CompleteMultipartUploadOutput>> {
        let (client, failed) = (&self.wire.client, "S3 began an upload without a name");
        let id = self
            .wire
            .tried(|| async {
                let begin = client.create_multipart_upload().bucket(self.bucket).key(&self.key);
                let begun = begin.send().await.map_err(|error| Failure::of(&error))?;
                begun.upload_id().map(str::to_owned).ok_or_else(|| Failure::new(Kind::Unknown, failed))
            })
            .await?;
        let tag = self
            .wire
            .tried(|| async {
                let part = client.upload_part().bucket(self.bucket).key(&self.key).upload_id(&id).part_number(1);
                let sent = part.body(ByteStream::from(Bytes::from_static(b"dia"))).send().await;
                sent.map(|sent| sent.e_tag().map(str::to_owned)).map_err(|error| Failure::of(&error))
            })
            .await?;
        let part = CompletedPart::builder().part_number(1).set_e_tag(tag).build();
        let parts = CompletedMultipartUpload::builder().parts(part).build();
        let completed = self
            .wire
            .tried(|| async {
                let complete = client.complete_multipart_upload().bucket(self.bucket).key(&self.key);
                let complete = complete.upload_id(&id).multipart_upload(parts.clone()).if_none_match("*");
                complete.send().await.map_err(|error| Failure::of(&error))
            })
            .await;
        if completed.is_err() {
            let abort = client.abort_multipart_upload().bucket(self.bucket).key(&self.key).upload_id(&id);
            if let Err(error) = abort.send().await {
                tracing::warn!(failure = %Failure::of(&error), "the probe's upload could not be aborted; the next start will");
            }
        }
        Ok(completed)
    }

    async fn versioning(&self) -> Option<bool> {
        let asked = self.wire.client.get_bucket_versioning().bucket(self.bucket).send().await.ok()?;
        Some(asked.status() == Some(&BucketVersioningStatus::Enabled))
    }

    async fn object_lock(&self) -> Option<bool> {
        match self.wire.client.get_object_lock_configuration().bucket(self.bucket).send().await {
            Ok(asked) => {
                let lock = asked.object_lock_configuration().and_then(|lock| lock.object_lock_enabled());
                Some(lock == Some(&ObjectLockEnabled::Enabled))
            }
            // A bucket without it has no configuration of it.
            Err(error) if Failure::of(&error).kind == Kind::Missing => Some(false),
            Err(_) => None,
        }
    }

    async fn delete(&self) -> Outcome<()> {
        self.wire
            .tried(|| async {
                let object = self.wire.client.delete_object().bucket(self.bucket).key(&self.key);
                object.send().await.map(drop).map_err(|error| Failure::of(&error))
            })
            .await
    }
}

/// Deletes probes older than `older_than`, left by processes that died while they asked.
pub(super) async fn clean(wire: &Wire, bucket: &str, prefix: &str, older_than: Timestamp) -> Outcome<()> {
    let prefix = format!("{prefix}probe/");
    let page = wire
        .tried(|| async {
            let list = wire.client.list_objects_v2().bucket(bucket).prefix(&prefix);
            list.send().await.map_err(|error| Failure::of(&error))
        })
        .await?;
    for object in page.contents() {
        let old = object.last_modified().is_some_and(|written| time_of(written) < older_than);
        if let (true, Some(key)) = (old, object.key()) {
            Probe { wire, bucket, key: key.to_owned() }.delete().await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_bytes_are_noticed() {
        let (sent, stored) = (Digests::of(b"sent"), Digests::of(b"stored"));
        let tag = format!("\"{}\"", hex::encode(sent.md5));
        assert!(sent.confirm(Checksum::Sha256, Some(&sent.sha256), None).is_ok());
        assert!(sent.confirm(Checksum::Md5, None, Some(&tag)).is_ok());
        for (checksum, sha256, tag) in [
            (Checksum::Sha256, Some(stored.sha256.as_str()), Some(tag.as_str())),
            (Checksum::Sha256, None, Some(tag.as_str())),
            (Checksum::Md5, Some(sent.sha256.as_str()), Some("\"900150983cd24fb0d6963f7d28e17f72\"")),
            (Checksum::Md5, None, None),
        ] {
            assert_eq!(sent.confirm(checksum, sha256, tag).err().map(|failure| failure.kind), Some(Kind::Passing));
        }
    }
}
