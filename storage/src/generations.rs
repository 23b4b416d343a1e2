//! Published states of a database's index. A generation is a list of immutable sealed files; publishing one is a row, in the
//! transaction that marks its documents, under the lease's fence. Readers keep theirs while the next is published.

use std::collections::BTreeMap;

use domain::{
    clock::Timestamp,
    ids::{BlobId, CaseId, DatabaseId, GenerationId},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Error, Result, Tx,
    db::{change, query},
    leases::Lease,
    tx::{seal, unseal},
    vault::Place,
};

/// What a reader needs to open a generation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Manifest {
    /// The index's own description of its segments.
    pub meta: Vec<u8>,
    /// Where each file lies.
    pub files: BTreeMap<String, BlobId>,
}

/// A published state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Its row.
    pub id: GenerationId,
    /// The database.
    pub database: DatabaseId,
    /// Its case.
    pub case: CaseId,
    /// 1, 2, 3 …
    pub number: u64,
    /// How to open it.
    pub manifest: Manifest,
    /// Documents in it.
    pub documents: u64,
    /// Passages in it.
    pub chunks: u64,
    /// When it was published.
    pub created_at: Timestamp,
}

/// What is published.
#[derive(Debug, Clone)]
pub struct Publication<'a> {
    /// The database.
    pub database: DatabaseId,
    /// Its case.
    pub case: CaseId,
    /// The lease `index:<database>`.
    pub lease: &'a Lease,
    /// The files.
    pub manifest: Manifest,
    /// Documents in it.
    pub documents: u64,
    /// Passages in it.
    pub chunks: u64,
}

type Row = (Uuid, i64, Vec<u8>, i64, i64, i64);

fn place(id: Uuid) -> Place {
    Place::new("generations", "sealed_manifest", id)
}

/// The live generation of a database; `None` before the first.
pub async fn live(tx: &mut Tx, case: CaseId, database: DatabaseId) -> Result<Option<Generation>> {
    let row: Option<Row> = query!(tx, c => sqlx::query_as(
        "select g.id, g.number, g.sealed_manifest, g.documents, g.chunks, g.created_at
         from databases d join generations g on g.database_id = d.id and g.number = d.generation where d.id = $1 and d.case_id = $2")
        .bind(database.uuid()).bind(case.uuid()).fetch_optional(c).await)?;
    let Some((id, number, sealed, documents, chunks, created_at)) = row else { return Ok(None) };
    let key = tx.case_key(case).await?;
    Ok(Some(Generation {
        id: GenerationId(id),
        database,
        case,
        number: u64::try_from(number).unwrap_or(0),
        manifest: unseal(&key, &place(id), &sealed)?,
        documents: u64::try_from(documents).unwrap_or(0),
        chunks: u64::try_from(chunks).unwrap_or(0),
        created_at: Timestamp(created_at),
    }))
}

/// Publishes the next generation of a database and retires the one before. [`Error::LeaseLost`] when the lease changed
/// hands: then nothing of this transaction may be committed.
pub async fn publish(tx: &mut Tx, publication: &Publication<'_>) -> Result<u64> {
    tx.fence(publication.lease).await?;
    let current: Option<i64> = query!(tx, c => sqlx::query_scalar("select generation from databases where id = $1")
        .bind(publication.database.uuid()).fetch_optional(c).await)?;
    let number = current.ok_or(Error::NotFound)? + 1;
    let (id, now) = (GenerationId::new(), tx.now());
    let key = tx.case_key(publication.case).await?;
    let sealed = seal(&key, &place(id.uuid()), &publication.manifest)?;
    change!(tx, c => sqlx::query(
        "insert into generations (id, database_id, case_id, number, fence, sealed_manifest, documents, chunks, created_at)
         values ($1,$2,$3,$4,$5,$6,$7,$8,$9)")
        .bind(id.uuid()).bind(publication.database.uuid()).bind(publication.case.uuid()).bind(number)
        .bind(publication.lease.fence).bind(sealed).bind(i64::try_from(publication.documents).unwrap_or(i64::MAX))
        .bind(i64::try_from(publication.chunks).unwrap_or(i64::MAX)).bind(now.0).execute(c).await.map(drop))?;
    change!(tx, c => sqlx::query("update generations set retired_at = $3 where database_id = $1 and number < $2 and retired_at is null")
        .bind(publication.database.uuid()).bind(number).bind(now.0).execute(c).await.map(drop))?;
    change!(tx, c => sqlx::query("update databases set generation = $2, updated_at = $3 where id = $1")
        .bind(publication.database.uuid()).bind(number).bind(now.0).execute(c).await.map(drop))?;
    Ok(u64::try_from(number).unwrap_or(0))
}

/// Forgets up to 100 generations retired before `before`. Returns how many, and the files that no remaining generation of
/// their database refers to, now struck from the register: the caller deletes the objects after the commit.
pub async fn collect_retired(tx: &mut Tx, before: Timestamp) -> Result<(u64, Vec<BlobId>)> {
    let retired: Vec<(Uuid, Uuid, Uuid, Vec<u8>)> = query!(tx, c => sqlx::query_as(
        "select g.id, g.database_id, g.case_id, g.sealed_manifest from generations g where g.retired_at < $1
         and exists (select 1 from case_keys k where k.case_id = g.case_id) order by g.id limit 100")
        .bind(before.0).fetch_all(c).await)?;
    let (forgotten, mut freed) = (retired.len() as u64, Vec::new());
    for (id, database, case, sealed) in retired {
        let case = CaseId(case);
        let key = tx.case_key(case).await?;
        let old: Manifest = unseal(&key, &place(id), &sealed)?;
        change!(tx, c => sqlx::query("delete from generations where id = $1").bind(id).execute(c).await.map(drop))?;
        let kept: Vec<(Uuid, Vec<u8>)> = query!(tx, c => sqlx::query_as(
            "select id, sealed_manifest from generations where database_id = $1").bind(database).fetch_all(c).await)?;
        let mut living = std::collections::HashSet::new();
        for (id, sealed) in kept {
            let manifest: Manifest = unseal(&key, &place(id), &sealed)?;
            living.extend(manifest.files.into_values());
        }
        for blob in old.files.into_values().filter(|blob| !living.contains(blob)) {
            tx.forget_blob(blob).await?;
            freed.push(blob);
        }
    }
    Ok((forgotten, freed))
}
