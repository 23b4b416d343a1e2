//! Writing an object to a bucket: in one request when it is small, else in parts, several on their way at once and never
//! more in memory than the settings say.

use std::io::{self, Write};

use aws_sdk_s3::{
    primitives::ByteStream,
    types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;
use domain::ids::BlobId;
use tokio::task::JoinHandle;

use super::{
    S3,
    failure::{Failure, Kind},
    probe::Digests,
};
use crate::objects::{BlobKind, ObjectError, Result};

/// The metadata by which an upload knows its own object again when the answer to its last request was lost.
pub(super) const MARK: &str = "dia-upload";
/// What S3 allows.
const MOST_PARTS: usize = 10_000;

type Outcome<T> = std::result::Result<T, Failure>;

/// An object being written. Dropped without [`Upload::publish`], it leaves nothing: its parts are thrown away.
#[derive(Debug)]
pub(crate) struct Upload {
    s3: S3,
    blob: BlobId,
    kind: BlobKind,
    key: String,
    mark: String,
    /// What is not on its way yet, at most one part.
    buffer: Vec<u8>,
    /// The id of an upload in parts, once there is one.
    id: Option<String>,
    parts: Vec<Part>,
    failed: bool,
}

#[derive(Debug)]
enum Part {
    Sent(JoinHandle<Outcome<CompletedPart>>),
    Done(Box<CompletedPart>),
}

impl Upload {
    pub(super) fn new(s3: S3, blob: BlobId, kind: BlobKind) -> Self {
        let (key, mark) = (s3.key(blob), domain::ids::fresh().to_string());
        Self { s3, blob, kind, key, mark, buffer: Vec::new(), id: None, parts: Vec::new(), failed: false }
    }

    /// Makes the object durable under its name. Blocks.
    pub(crate) fn publish(mut self) -> Result<()> {
        let blob = self.blob;
        let failed = |failure: Failure| match failure.kind {
            Kind::Taken => ObjectError::Exists(blob),
            _ => ObjectError::io("store an object", failure.into()),
        };
        if self.failed {
            return Err(ObjectError::Interrupted);
        }
        let stored = if self.id.is_some() { self.complete() } else { self.put() };
        stored.map_err(failed)
    }

    fn put(&mut self) -> Outcome<()> {
        let bytes = Bytes::from(std::mem::take(&mut self.buffer));
        let (s3, key, mark, body) = (self.s3.clone(), self.key.clone(), self.mark.clone(), bytes.clone());
        self.s3.0.wire.wait(async move {
            let _turn = s3.turn().await?;
            let (shared, digests) = (&s3.0, Digests::of(&body));
            if !shared.can.conditional_put {
                s3.refuse_taken(&key).await?;
            }
            let put = shared.wire.tried(|| async {
                let put = shared.wire.client.put_object().bucket(&shared.bucket).key(&key).metadata(MARK, &mark);
                let put = put.set_if_none_match(shared.can.conditional_put.then(|| "*".to_owned()));
                let put = put
                    .set_checksum_sha256(digests.sha256(shared.can.checksum))
                    .set_content_md5(digests.md5(shared.can.checksum));
                let put = put.body(ByteStream::from(body.clone()));
                let answer = put.send().await.map_err(|error| Failure::of(&error))?;
                digests.confirm(shared.can.checksum, answer.checksum_sha256(), answer.e_tag())
            });
            s3.settle(put.await, &key, &mark).await
        })?;
        if self.kind != BlobKind::Original {
            // Index files are read again at once, by the merge or the next question.
            self.s3.0.cache.put(self.blob, bytes.len() as u64, 0, &bytes);
        }
        Ok(())
    }

    /// Sends the buffer on its way as the next part.
    fn send_part(&mut self) -> Outcome<()> {
        if self.parts.len() >= MOST_PARTS {
            return Err(Failure::new(
                Kind::Lasting,
                "the object has more than 10,000 parts; raise objects.part_megabytes",
            ));
        }
        self.take_results(false)?;
        let id = match &self.id {
            Some(id) => id.clone(),
            None => self.begin()?,
        };
        let empty = Vec::with_capacity(self.s3.0.part_bytes);
        let body = Bytes::from(std::mem::replace(&mut self.buffer, empty));
        let number = i32::try_from(self.parts.len() + 1).unwrap_or(i32::MAX);
        let (s3, key) = (self.s3.clone(), self.key.clone());
        // The turn is taken here: whoever writes faster than the server takes waits.
        let turn = self.s3.0.wire.wait({
            let s3 = self.s3.clone();
            async move { s3.turn().await }
        })?;
        let sent = self.s3.0.wire.start(async move {
            let _turn = turn;
            let (shared, digests) = (&s3.0, Digests::of(&body));
            let sent = shared.wire.tried(|| async {
                let part = shared.wire.client.upload_part().bucket(&shared.bucket).key(&key).upload_id(&id);
                let part = part.part_number(number).body(ByteStream::from(body.clone()));
                let part = part
                    .set_checksum_sha256(digests.sha256(shared.can.checksum))
                    .set_content_md5(digests.md5(shared.can.checksum));
                let answer = part.send().await.map_err(|error| Failure::of(&error))?;
                digests.confirm(shared.can.checksum, answer.checksum_sha256(), answer.e_tag())?;
                Ok(answer.e_tag().map(str::to_owned))
            });
            let tag = sent.await?;
            let part = CompletedPart::builder().part_number(number).set_e_tag(tag);
            Ok(part.set_checksum_sha256(digests.sha256(shared.can.checksum)).build())
        });
        self.parts.push(Part::Sent(sent.ok_or_else(Failure::stopping)?));
        Ok(())
    }

    fn begin(&mut self) -> Outcome<String> {
        let (s3, key, mark) = (self.s3.clone(), self.key.clone(), self.mark.clone());
        let id = self.s3.0.wire.wait(async move {
            let shared = &s3.0;
            let request = || async {
                let begin = shared.wire.client.create_multipart_upload().bucket(&shared.bucket).key(&key);
                let begin =
                    begin.set_checksum_algorithm(shared.can.checksum.is_sha256().then_some(ChecksumAlgorithm::Sha256));
                let begun = begin.metadata(MARK, &mark).send().await.map_err(|error| Failure::of(&error))?;
                let id = begun.upload_id().map(str::to_owned);
                id.ok_or_else(|| Failure::new(Kind::Unknown, "S3 began an upload without a name"))
            };
            shared.wire.tried(request).await
        })?;
        self.id = Some(id.clone());
        Ok(id)
    }

    /// Takes what has come of the parts; waits for all of them if `all`.
    fn take_results(&mut self, all: bool) -> Outcome<()> {
        for at in 0..self.parts.len() {
            if !matches!(&self.parts[at], Part::Sent(sent) if all || sent.is_finished()) {
                continue;
            }
            if let Part::Sent(sent) = self.parts.remove(at) {
                let part = self.s3.0.wire.wait(async { sent.await.unwrap_or_else(|_| Err(Failure::stopping())) })?;
                self.parts.insert(at, Part::Done(Box::new(part)));
            }
        }
        Ok(())
    }

    fn complete(&mut self) -> Outcome<()> {
        self.send_part()?;
        self.take_results(true)?;
        let parts = self
            .parts
            .iter()
            .filter_map(|part| if let Part::Done(part) = part { Some(part.as_ref().clone()) } else { None });
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        let Some(id) = self.id.clone() else { return Ok(()) };
        let (s3, key, mark) = (self.s3.clone(), self.key.clone(), self.mark.clone());
        self.s3.0.wire.wait(async move {
            let shared = &s3.0;
            if !shared.can.conditional_complete {
                s3.refuse_taken(&key).await?;
            }
            let completed = shared.wire.tried(|| async {
                let complete = shared.wire.client.complete_multipart_upload().bucket(&shared.bucket).key(&key);
                let complete = complete.upload_id(&id).multipart_upload(parts.clone());
                let complete = complete.set_if_none_match(shared.can.conditional_complete.then(|| "*".to_owned()));
                complete.send().await.map(drop).map_err(|error| Failure::of(&error))
            });
            s3.settle(completed.await, &key, &mark).await
        })?;
        self.id = None;
        Ok(())
    }
}

impl S3 {
    async fn turn(&self) -> Outcome<tokio::sync::OwnedSemaphorePermit> {
        let turn = self.0.turns.clone().acquire_owned().await;
        turn.map_err(|_| Failure::stopping())
    }

    /// The mark of the object of that name, if there is one.
    async fn mark(&self, key: &str) -> Outcome<Option<String>> {
        let shared = &self.0;
        let head = shared.wire.tried(|| async {
            let head = shared.wire.client.head_object().bucket(&shared.bucket).key(key);
            head.send().await.map_err(|error| Failure::of(&error))
        });
        match head.await {
            Ok(head) => Ok(Some(head.metadata().and_then(|all| all.get(MARK)).cloned().unwrap_or_default())),
            Err(failure) if failure.kind == Kind::Missing => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Fails when the name is taken: for servers that do not look themselves.
    async fn refuse_taken(&self, key: &str) -> Outcome<()> {
        match self.mark(key).await? {
            Some(_) => Err(Failure::new(Kind::Taken, "the name is taken")),
            None => Ok(()),
        }
    }

    /// What the last request of an upload came to. When the name is taken or the upload is gone, a try before may have
    /// succeeded and its answer got lost: then the object bears the mark of this upload.
    async fn settle(&self, outcome: Outcome<()>, key: &str, mark: &str) -> Outcome<()> {
        match outcome {
            Err(failure) if matches!(failure.kind, Kind::Taken | Kind::Missing) => {
                if self.mark(key).await?.as_deref() == Some(mark) { Ok(()) } else { Err(failure) }
            }
            other => other,
        }
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed {
            return Err(io::Error::other(ObjectError::Interrupted));
        }
        let most = self.s3.0.part_bytes;
        if self.buffer.len() >= most
            && let Err(failure) = self.send_part()
        {
            self.failed = true;
            return Err(failure.into());
        }
        let taken = bytes.len().min(most - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let (s3, key, parts) = (self.s3.clone(), std::mem::take(&mut self.key), std::mem::take(&mut self.parts));
        self.s3.0.wire.start(async move {
            // A part that arrives after the end would stay: they end first.
            for part in parts {
                if let Part::Sent(sent) = part {
                    let _ = sent.await;
                }
            }
            if let Err(failure) = s3.abort(&key, &id).await {
                tracing::warn!(%failure, "an unfinished upload could not be aborted; the collection of garbage will");
            }
        });
    }
}
