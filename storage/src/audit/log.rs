//! The log: every event gets a position, once, and with it a place in a Merkle tree whose root is signed. Who does it holds one row,
//! so many processes never fork the log; and goes on only from the root that was signed last, so that rows somebody changed are
//! not signed over.

use std::{ops::Range, time::Duration};

use domain::{
    actor::Actor,
    ids::{AuditId, CaseId},
};
use sqlx::FromRow;
use uuid::Uuid;

use super::{
    Audit,
    leaf::{Event, event_columns},
    merkle::{self, Frontier, Hash, Subtree},
    note::{Checkpoint, Signer, Verifier},
};
use crate::{
    Error, Result, Storage, Tx,
    db::{change, query},
};

/// Events that get their positions in one transaction, and at most as many stand in the log between two checkpoints.
pub const TOGETHER: u32 = 1_000;
/// Levels of the tree between those whose hashes are kept.
pub(super) const STEP: u32 = 8;

/// Who verifies this installation's checkpoints.
pub fn verifier(storage: &Storage) -> Result<Verifier> {
    Ok(Signer::new(&storage.vault)?.verifier().clone())
}

/// A signed note of lines that are no checkpoint.
pub(super) fn sign_text(storage: &Storage, lines: &str) -> Result<String> {
    Ok(Signer::new(&storage.vault)?.sign_text(lines))
}

/// True when so many events wait for their positions that a checkpoint is due.
pub async fn is_due(storage: &Storage) -> Result<bool> {
    let mut tx = storage.read(&Actor::system(Uuid::nil())).await?;
    let waiting: i64 = query!(tx, c => sqlx::query_scalar(
        "select count(*) from (select event_id from audit_pending limit $1) as waiting")
        .bind(i64::from(TOGETHER)).fetch_one(c).await)?;
    Ok(waiting >= i64::from(TOGETHER))
}

/// Gives the next events that wait their positions, in the order of their ids, and signs the log; `None` when none wait.
pub async fn sequence(storage: &Storage) -> Result<Option<(Checkpoint, String)>> {
    let signer = Signer::new(&storage.vault)?;
    let mut tx = storage.begin_machinery().await?;
    // Whoever comes second waits here for the first to commit.
    let head: Vec<u8> = change!(tx, c => sqlx::query_scalar(
        "insert into system (name, value) values ('audit_head', $1) on conflict (name) do update set value = system.value
         returning value")
        .bind(Frontier::default().to_bytes()).fetch_one(c).await)?;
    let mut log = Frontier::from_bytes(&head).ok_or_else(forged)?;
    let first = log.size();
    match latest(&mut tx).await? {
        None if first == 0 => {}
        None => return Err(forged()),
        Some(note) => {
            let signed = signer.verifier().open(&note).ok_or_else(forged)?;
            if (signed.size, signed.root) != (first, log.root()) {
                return Err(forged());
            }
        }
    }
    let events: Vec<Event> = query!(tx, c => sqlx::query_as(concat!("select ", event_columns!(),
        " from audit_pending p join audit_events e on e.id = p.event_id order by p.event_id limit $1"))
        .bind(i64::from(TOGETHER)).fetch_all(c).await)?;
    if events.is_empty() {
        return Ok(None);
    }
    let (mut leaves, mut nodes) = (Vec::with_capacity(events.len()), Vec::new());
    for event in &events {
        log.push(merkle::leaf(event.line()?.as_bytes()), |subtree, hash| match subtree.level {
            0 => leaves.push((subtree.index, event.id, hash)),
            level if level % STEP == 0 => nodes.push((level / STEP, subtree.index, hash)),
            _ => {}
        });
    }
    write(&mut tx, &leaves, &nodes).await?;
    let (checkpoint, note) = signer.sign(log.size(), log.root(), tx.now());
    change!(tx, c => sqlx::query("update system set value = $1 where name = 'audit_head'")
        .bind(log.to_bytes()).execute(c).await.map(drop))?;
    change!(tx, c => sqlx::query("insert into audit_checkpoints (size, note, created_at) values ($1, $2, $3)")
        .bind(signed(log.size())).bind(&note).bind(checkpoint.at.micros()).execute(c).await.map(drop))?;
    tx.commit().await?;
    Ok(Some((checkpoint, note)))
}

/// What stands in the rows is not what was signed.
fn forged() -> Error {
    Error::LogDamaged
}

/// Leaves a trace of it, at most once an hour: alerts look for that.
pub async fn note_damage(storage: &Storage) -> Result<()> {
    let mut tx = storage.begin(&Actor::system(Uuid::nil())).await?;
    let since = tx.now().minus(Duration::from_hours(1));
    let noted: bool = query!(tx, c => sqlx::query_scalar(
        "select exists (select 1 from audit_events where action = 'audit.damaged' and at > $1)")
        .bind(since.0).fetch_one(c).await)?;
    if noted {
        return Ok(());
    }
    tx.audit(Audit::LogDamaged {}).await?;
    tx.commit().await
}

async fn write(tx: &mut Tx, leaves: &[(u64, Uuid, Hash)], nodes: &[(u32, u64, Hash)]) -> Result<()> {
    change!(tx, c => {
        let mut sql = sqlx::QueryBuilder::<Driver>::new("insert into audit_leaves (position, event_id, hash) ");
        sql.push_values(leaves, |mut row, (position, event, hash)| {
            row.push_bind(signed(*position)).push_bind(*event).push_bind(hash.0.to_vec());
        });
        sql.build().execute(&mut *c).await?;
        for (level, position, hash) in nodes {
            sqlx::query("insert into audit_nodes (level, position, hash) values ($1, $2, $3)")
                .bind(i64::from(*level)).bind(signed(*position)).bind(hash.0.to_vec()).execute(&mut *c).await?;
        }
        let mut sql = sqlx::QueryBuilder::<Driver>::new("delete from audit_pending where event_id in (");
        let mut list = sql.separated(", ");
        for (_, event, _) in leaves {
            list.push_bind(*event);
        }
        sql.push(")");
        sql.build().execute(c).await.map(drop).map_err(Error::from)
    })
}

/// Positions stay far below 2^63.
fn signed(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

/// The note of the latest checkpoint.
pub async fn latest(tx: &mut Tx) -> Result<Option<String>> {
    Ok(query!(tx, c => sqlx::query_scalar("select note from audit_checkpoints order by size desc limit 1")
        .fetch_optional(c).await)?)
}

/// The latest checkpoint as this installation signed it.
pub async fn checkpoint(tx: &mut Tx) -> Result<Option<(Checkpoint, String)>> {
    let Some(note) = latest(tx).await? else { return Ok(None) };
    let checkpoint = verifier(tx.storage())?.open(&note).ok_or_else(forged)?;
    Ok(Some((checkpoint, note)))
}

/// The roots of ranges of leaves, such as those of a proof.
pub async fn roots(tx: &mut Tx, ranges: &[Range<u64>]) -> Result<Vec<Hash>> {
    let mut roots = Vec::with_capacity(ranges.len());
    for range in ranges {
        let mut parts = Vec::new();
        for subtree in merkle::subtrees(range.clone()) {
            parts.push(root_of(tx, subtree).await?);
        }
        roots.push(merkle::root(&parts));
    }
    Ok(roots)
}

async fn root_of(tx: &mut Tx, subtree: Subtree) -> Result<Hash> {
    let (kept, below) = (subtree.level / STEP, subtree.level % STEP);
    let (from, to) = (subtree.index << below, (subtree.index + 1) << below);
    let hashes = kept_hashes(tx, kept, from, to).await?;
    whole(&hashes, to - from).ok_or_else(forged)
}

/// The hashes of subtrees `from` to `to` of 256^`kept` leaves.
async fn kept_hashes(tx: &mut Tx, kept: u32, from: u64, to: u64) -> Result<Vec<Vec<u8>>> {
    if kept == 0 {
        return Ok(query!(tx, c => sqlx::query_scalar(
            "select hash from audit_leaves where position >= $1 and position < $2 order by position")
            .bind(signed(from)).bind(signed(to)).fetch_all(c).await)?);
    }
    Ok(query!(tx, c => sqlx::query_scalar(
        "select hash from audit_nodes where level = $3 and position >= $1 and position < $2 order by position")
        .bind(signed(from)).bind(signed(to)).bind(i64::from(kept)).fetch_all(c).await)?)
}

/// The root over so many hashes; `None` when they are not so many.
fn whole(hashes: &[Vec<u8>], count: u64) -> Option<Hash> {
    let mut log = Frontier::default();
    for hash in hashes {
        log.push(Hash(hash.as_slice().try_into().ok()?), |_, _| ());
    }
    (log.size() == count).then(|| log.root())
}

/// An event with its position, if it has one.
#[derive(Debug, FromRow)]
pub(crate) struct Positioned {
    #[sqlx(flatten)]
    pub event: Event,
    pub position: Option<i64>,
}

impl Positioned {
    pub(super) fn position(&self) -> Option<u64> {
        self.position.and_then(|position| u64::try_from(position).ok())
    }
}

/// What proves that an event is in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Its position.
    pub index: u64,
    /// What was hashed.
    pub leaf: String,
    /// The sibling hashes from the leaf up.
    pub hashes: Vec<Hash>,
    /// The signed note they lead to.
    pub checkpoint: String,
}

/// The proof of an event of a case, under the latest checkpoint; [`Error::Conflict`] while it has no position.
pub async fn prove(tx: &mut Tx, case: CaseId, event: AuditId) -> Result<Proof> {
    let row: Option<Positioned> = query!(tx, c => sqlx::query_as(concat!("select ", event_columns!(), ", l.position
        from audit_events e left join audit_leaves l on l.event_id = e.id where e.id = $1 and e.case_id = $2"))
        .bind(event.uuid()).bind(case.uuid()).fetch_optional(c).await)?;
    let row = row.ok_or(Error::NotFound)?;
    let waits = Error::Conflict("the event has no position in the log yet; ask again in a minute");
    let (Some(index), Some((checkpoint, note))) = (row.position(), checkpoint(tx).await?) else { return Err(waits) };
    let hashes = roots(tx, &merkle::inclusion(index, checkpoint.size)).await?;
    Ok(Proof { index, leaf: row.event.line()?, hashes, checkpoint: note })
}

/// The proof that the log of `size` leaves begins with the one of `old`.
pub async fn prove_growth(tx: &mut Tx, old: u64, size: u64) -> Result<Vec<Hash>> {
    let most = checkpoint(tx).await?.map_or(0, |(checkpoint, _)| checkpoint.size);
    if old > size || size > most {
        return Err(Error::Invalid("sizes of the log rise, and end at that of the latest checkpoint"));
    }
    roots(tx, &merkle::consistency(old, size)).await
}

/// True when a kept hash is the root of the 256 hashes below it.
pub(super) async fn is_node(tx: &mut Tx, level: i64, position: i64, hash: &[u8]) -> Result<bool> {
    let (Ok(level), Ok(index)) = (u32::try_from(level), u64::try_from(position)) else { return Ok(false) };
    let Some(below) = level.checked_sub(1) else { return Ok(false) };
    let hashes = kept_hashes(tx, below, index << STEP, (index + 1) << STEP).await?;
    Ok(whole(&hashes, 1 << STEP).is_some_and(|root| root.0[..] == *hash))
}
