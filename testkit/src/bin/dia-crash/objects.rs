//! The objects of a run, looked at from outside: in a directory, or in a bucket without the proxy that spoils it for the fleet.

use std::{collections::BTreeSet, fs, path::PathBuf};

use anyhow::Result;
use domain::{clock::Timestamp, ids::BlobId};
use futures::TryStreamExt as _;
use storage::objects::{Buckets, Objects, S3Settings};
use testkit::plaintext::Secrets;

/// Where the objects of a run are.
#[derive(Debug)]
pub(crate) enum Store {
    /// In a directory.
    Directory(PathBuf),
    /// In a bucket.
    Bucket(S3Settings),
}

impl Store {
    /// An object is durable before its row is committed, so a kill leaves orphans; after a collection there are none.
    pub(crate) async fn compare(&self, registered: &BTreeSet<String>) -> Result<Vec<String>> {
        let (stored, unfinished) = match self {
            Self::Directory(objects) => {
                let mut stored = BTreeSet::new();
                for folder in fs::read_dir(objects.join("blobs"))? {
                    for object in fs::read_dir(folder?.path())? {
                        stored.insert(object?.file_name().to_string_lossy().replace('-', "").to_lowercase());
                    }
                }
                (stored, fs::read_dir(objects.join("temporary"))?.count() as u64)
            }
            Self::Bucket(settings) => {
                let cache = tempfile::tempdir()?;
                let objects = Objects::s3(settings, cache.path()).await?;
                let stored = list(&objects).await?.iter().map(|blob| blob.uuid().simple().to_string()).collect();
                // What it removes was left unfinished.
                let clean = move || objects.clean_temporary(ALL);
                (stored, tokio::task::spawn_blocking(clean).await??)
            }
        };
        let (missing, orphans) = (registered.difference(&stored).count(), stored.difference(registered).count());
        println!("{} objects, {} registered, {unfinished} unfinished", stored.len(), registered.len());
        let mut wrong = Vec::new();
        for (count, what) in [
            (missing as u64, "registered objects do not exist"),
            (orphans as u64, "objects are left that no row refers to"),
            (unfinished, "unfinished objects are left"),
        ] {
            if count > 0 {
                wrong.push(format!("I5 {count} {what}"));
            }
        }
        Ok(wrong)
    }

    /// I7: the objects of a bucket in which something secret stands in the clear; a directory is searched as files are.
    pub(crate) async fn plaintext(&self, secrets: &Secrets) -> Result<Vec<String>> {
        let Self::Bucket(settings) = self else { return Ok(Vec::new()) };
        let (cache, mut found, mut total) = (tempfile::tempdir()?, Vec::new(), 0);
        let buckets = Buckets::new(settings).await;
        for blob in list(&Objects::s3(settings, cache.path()).await?).await? {
            let [.., last] = *blob.uuid().as_bytes();
            let key = format!("{}blobs/{last:02x}/{blob}", settings.prefix);
            let mut object = buckets.open(&settings.bucket, &key).await?;
            let mut bytes = Vec::new();
            while let Some(piece) = object.piece().await? {
                bytes.extend_from_slice(&piece);
            }
            total += bytes.len();
            if secrets.stand_in(&bytes) {
                found.push(key);
            }
        }
        println!("searched {} kB of objects for plaintext", total / 1000);
        Ok(found)
    }
}

/// However young.
const ALL: Timestamp = Timestamp(i64::MAX);

async fn list(objects: &Objects) -> Result<Vec<BlobId>> {
    let listed: Vec<_> = objects.list(ALL).try_concat().await?;
    Ok(listed.iter().map(|listed| listed.blob).collect())
}
