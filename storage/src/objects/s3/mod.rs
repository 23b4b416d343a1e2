//! Objects in a bucket of any server that speaks S3:
//!
//! ```text
//! PREFIXblobs/3f/01989c1e-…-…3f     a finished object, as it would lie in a directory
//! PREFIXprobe/01989c1e-…            asked for and deleted again while dia finds out what the server can do
//! ```
//!
//! An object is put in one request, or in parts that nobody sees before the last is confirmed. Its name is taken once: by
//! `If-None-Match: *` where the server honours it, else by looking first; names are random, so nobody races for one. Every
//! transfer is checked by the server (SHA-256 where it can, else MD5) and its answer by us. A crash leaves at most an
//! unfinished upload, which [`S3::clean_unfinished`] aborts once it is old enough.

mod cache;
mod failure;
mod foreign;
mod probe;
mod settings;
mod source;
mod upload;
mod wire;

use std::{path::Path, sync::Arc};

use aws_sdk_s3::{operation::list_objects_v2::ListObjectsV2Output, primitives::DateTime, types::Object};
use domain::{clock::Timestamp, files::ReadAt, ids::BlobId};
use futures::{Stream, stream};
use tokio::sync::Semaphore;

pub(super) use self::upload::Upload;
use self::{
    cache::Cache,
    failure::{Failure, Kind},
    wire::Wire,
};
pub use self::{
    foreign::{BucketError, Buckets, RemoteObject},
    probe::{Capabilities, Checksum},
    settings::Settings,
};
use super::{BlobKind, Listed, ObjectError, Result};
use crate::vault::CaseKey;

/// A store in a bucket. Cloning shares it.
#[derive(Debug, Clone)]
pub struct S3(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    wire: Wire,
    bucket: String,
    prefix: String,
    part_bytes: usize,
    /// A turn for each part on its way.
    turns: Arc<Semaphore>,
    can: Capabilities,
    cache: Cache,
}

impl S3 {
    /// Reaches the bucket and finds out what its server can do; parts of objects that were read are kept in `cache`.
    pub(super) async fn open(settings: &Settings, cache: &Path) -> Result<Self> {
        let failed = |error| ObjectError::io("prepare the object store", error);
        let wire = Wire::new(settings).await.map_err(failed)?;
        let can = probe::probe(&wire, &settings.bucket, &settings.prefix).await?;
        let cache = Cache::open(cache, settings.cache_megabytes << 20).map_err(failed)?;
        Ok(Self(Arc::new(Shared {
            wire,
            bucket: settings.bucket.clone(),
            prefix: settings.prefix.clone(),
            part_bytes: settings.part_bytes(),
            turns: Arc::new(Semaphore::new(settings.parts_at_once)),
            can,
            cache,
        })))
    }

    /// What the server was found to be able to do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.0.can
    }

    /// Requests sent so far, repetitions included.
    pub fn requests(&self) -> u64 {
        self.0.wire.requests()
    }

    fn key(&self, blob: BlobId) -> String {
        let [.., last] = *blob.uuid().as_bytes();
        format!("{}blobs/{last:02x}/{blob}", self.0.prefix)
    }

    /// Starts an object.
    pub(super) fn create(&self, blob: BlobId, kind: BlobKind) -> Upload {
        Upload::new(self.clone(), blob, kind)
    }

    /// Opens an object for reading. Blocks.
    pub(super) fn read(
        &self,
        blob: BlobId,
        kind: BlobKind,
        key: &CaseKey,
        context: &[u8],
    ) -> std::io::Result<Arc<dyn ReadAt>> {
        Ok(Arc::new(source::Checked::open(self.clone(), blob, kind, key.clone(), context.to_vec())?))
    }

    /// Asks for the bucket. Blocks.
    pub(super) fn check(&self) -> Result<()> {
        let s3 = self.clone();
        let asked = self.0.wire.wait(async move {
            let shared = &s3.0;
            shared
                .wire
                .tried(|| async {
                    let bucket = shared.wire.client.head_bucket().bucket(&shared.bucket);
                    bucket.send().await.map(drop).map_err(|error| Failure::of(&error))
                })
                .await
        });
        asked.map_err(|failure| ObjectError::io("reach the object store", failure.into()))
    }

    /// Deletes an object. Blocks.
    pub(super) fn delete(&self, blob: BlobId) -> Result<()> {
        self.0.cache.forget(blob);
        let (s3, key) = (self.clone(), self.key(blob));
        let deleted = self.0.wire.wait(async move {
            let shared = &s3.0;
            shared
                .wire
                .tried(|| async {
                    let object = shared.wire.client.delete_object().bucket(&shared.bucket).key(&key);
                    object.send().await.map(drop).map_err(|error| Failure::of(&error))
                })
                .await
        });
        match deleted {
            Err(failure) if failure.kind != Kind::Missing => Err(ObjectError::io("delete an object", failure.into())),
            _ => Ok(()),
        }
    }

    pub(super) fn list(&self, older_than: Timestamp) -> impl Stream<Item = Result<Vec<Listed>>> + Send + use<> {
        // `None` when the last page was seen, `Some(None)` before the first.
        let begin = (self.clone(), Some(None::<String>));
        stream::try_unfold(begin, move |(s3, mut next)| async move {
            let failed = |failure: Failure| ObjectError::io("list the objects", failure.into());
            while let Some(token) = next {
                let page = s3.page(token).await.map_err(failed)?;
                let found = page.contents().iter().filter_map(|object| s3.listed(object));
                let batch: Vec<Listed> = found.filter(|listed| listed.written_at < older_than).collect();
                let more = page.next_continuation_token().filter(|_| page.is_truncated() == Some(true));
                next = more.map(|token| Some(token.to_owned()));
                if !batch.is_empty() {
                    return Ok(Some((batch, (s3, next))));
                }
            }
            Ok(None)
        })
    }

    async fn page(&self, token: Option<String>) -> std::result::Result<ListObjectsV2Output, Failure> {
        let s3 = self.clone();
        let page = async move {
            let shared = &s3.0;
            let prefix = format!("{}blobs/", shared.prefix);
            let request = || async {
                let list = shared.wire.client.list_objects_v2().bucket(&shared.bucket).prefix(&prefix);
                list.set_continuation_token(token.clone()).send().await.map_err(|error| Failure::of(&error))
            };
            shared.wire.tried(request).await
        };
        match self.0.wire.start(page) {
            Some(page) => page.await.unwrap_or_else(|_| Err(Failure::stopping())),
            None => Err(Failure::stopping()),
        }
    }

    /// The object that a key stands for; `None` for what is no object.
    fn listed(&self, object: &Object) -> Option<Listed> {
        let name = object.key().and_then(|key| key.rsplit('/').next()).and_then(|name| name.parse::<BlobId>().ok());
        let Some(blob) = name.filter(|blob| object.key() == Some(self.key(*blob).as_str())) else {
            tracing::warn!("something in the object store is not an object");
            return None;
        };
        let stored_bytes = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
        // Without a date it counts as new, and nobody takes it for an orphan.
        let written_at = object.last_modified().map_or(Timestamp(i64::MAX), time_of);
        Some(Listed { blob, stored_bytes, written_at })
    }

    /// Aborts uploads begun before `older_than`, and deletes what an interrupted probe left. Blocks.
    pub(super) fn clean_unfinished(&self, older_than: Timestamp) -> Result<u64> {
        let s3 = self.clone();
        let cleaned = self.0.wire.wait(async move { s3.clean(older_than).await });
        cleaned.map_err(|failure| ObjectError::io("clean up unfinished objects", failure.into()))
    }

    async fn clean(&self, older_than: Timestamp) -> std::result::Result<u64, Failure> {
        let shared = &self.0;
        let (client, mut removed) = (&shared.wire.client, 0);
        let mut marker = None;
        loop {
            let page = shared
                .wire
                .tried(|| async {
                    let (key, upload) = marker.clone().unzip();
                    let list = client.list_multipart_uploads().bucket(&shared.bucket).prefix(&shared.prefix);
                    let list = list.set_key_marker(key).set_upload_id_marker(upload);
                    list.send().await.map_err(|error| Failure::of(&error))
                })
                .await?;
            for upload in page.uploads() {
                let old = upload.initiated().is_some_and(|begun| time_of(begun) < older_than);
                if let (true, Some(key), Some(id)) = (old, upload.key(), upload.upload_id()) {
                    removed += u64::from(self.abort(key, id).await?);
                }
            }
            marker =
                page.next_key_marker().zip(page.next_upload_id_marker()).map(|(k, u)| (k.to_owned(), u.to_owned()));
            if !page.is_truncated().unwrap_or(false) || marker.is_none() {
                break;
            }
        }
        probe::clean(&shared.wire, &shared.bucket, &shared.prefix, older_than).await?;
        Ok(removed)
    }

    /// Aborts one upload; false when somebody else finished or aborted it meanwhile.
    async fn abort(&self, key: &str, upload: &str) -> std::result::Result<bool, Failure> {
        let shared = &self.0;
        let aborted = shared
            .wire
            .tried(|| async {
                let abort = shared.wire.client.abort_multipart_upload().bucket(&shared.bucket).key(key);
                abort.upload_id(upload).send().await.map(drop).map_err(|error| Failure::of(&error))
            })
            .await;
        match aborted {
            Err(failure) if failure.kind == Kind::Missing => Ok(false),
            other => other.map(|()| true),
        }
    }
}

fn time_of(time: &DateTime) -> Timestamp {
    Timestamp(i64::try_from(time.as_nanos() / 1_000).unwrap_or(i64::MAX))
}
