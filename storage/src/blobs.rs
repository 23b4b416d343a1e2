//! The register of objects: every object the store should hold has a row, written in the transaction that begins to refer
//! to it. An object without a row is an orphan of a crash and is collected after a grace period.

use domain::{
    clock::Timestamp,
    ids::{BlobId, CaseId},
};
use futures::TryStreamExt;
use uuid::Uuid;

use crate::{
    Result, Storage, Tx,
    db::{change, query},
    objects::{BlobKind, Stored},
};

impl Tx {
    /// Registers a stored object.
    pub async fn register_blob(&mut self, case: CaseId, kind: BlobKind, stored: &Stored) -> Result<()> {
        let now = self.now();
        change!(self, c => sqlx::query(
            "insert into blobs (id, case_id, kind, size, sha256, created_at) values ($1,$2,$3,$4,$5,$6)")
            .bind(stored.blob.uuid()).bind(case.uuid()).bind(kind.name())
            .bind(i64::try_from(stored.size).unwrap_or(i64::MAX)).bind(&stored.sha256[..]).bind(now.0)
            .execute(c).await.map(drop))?;
        Ok(())
    }

    /// Strikes an object from the register; the object itself goes with the next collection.
    pub async fn forget_blob(&mut self, blob: BlobId) -> Result<()> {
        change!(self, c => sqlx::query("delete from blobs where id = $1").bind(blob.uuid()).execute(c).await.map(drop))?;
        Ok(())
    }

    /// True when the object is registered.
    pub async fn is_registered(&mut self, blob: BlobId) -> Result<bool> {
        Ok(query!(self, c => sqlx::query_scalar("select exists (select 1 from blobs where id = $1)")
            .bind(blob.uuid()).fetch_one(c).await)?)
    }
}

/// Registered objects of a case after `after`, for its purge.
pub async fn of_case(tx: &mut Tx, case: CaseId, after: BlobId, most: u32) -> Result<Vec<BlobId>> {
    let ids: Vec<Uuid> = query!(tx, c => sqlx::query_scalar(
        "select id from blobs where case_id = $1 and id > $2 order by id limit $3")
        .bind(case.uuid()).bind(after.uuid()).bind(i64::from(most)).fetch_all(c).await)?;
    Ok(ids.into_iter().map(BlobId).collect())
}

/// Deletes objects that were stored in vain or have been struck from the register. One that a row refers to nevertheless (a
/// commit that failed with its connection may have happened) stays; what fails is left to the garbage collection.
pub async fn discard(storage: &Storage, blobs: impl IntoIterator<Item = BlobId>) {
    let mut blobs = blobs.into_iter().peekable();
    if blobs.peek().is_none() {
        return;
    }
    if let Err(error) = delete_unregistered(storage, blobs).await {
        tracing::warn!(%error, "objects were left for the garbage collection");
    }
}

async fn delete_unregistered(storage: &Storage, blobs: impl Iterator<Item = BlobId>) -> Result<()> {
    let mut unregistered = Vec::new();
    let mut tx = storage.read(&domain::actor::Actor::system(Uuid::nil())).await?;
    for blob in blobs {
        if !tx.is_registered(blob).await? {
            unregistered.push(blob);
        }
    }
    drop(tx);
    for blob in unregistered {
        storage.objects.delete(blob).await?;
    }
    Ok(())
}

/// Deletes objects that are older than `older_than` and not registered. Returns how many.
pub async fn collect_orphans(storage: &Storage, older_than: Timestamp) -> Result<u64> {
    let mut removed = 0;
    let mut pages = std::pin::pin!(storage.objects.list(older_than));
    while let Some(page) = pages.try_next().await? {
        let mut orphans = Vec::new();
        let mut tx = storage.read(&domain::actor::Actor::system(Uuid::nil())).await?;
        for object in page {
            if !tx.is_registered(object.blob).await? {
                orphans.push(object.blob);
            }
        }
        drop(tx);
        for blob in orphans {
            storage.objects.delete(blob).await?;
            removed += 1;
        }
    }
    Ok(removed)
}
