//! One effect per Idempotency-Key: the answer is kept in the transaction of the effect. A repeated request waits for the
//! first (the row's unique key is held until that commits) and then gets the kept answer. Answers may name documents, so
//! they are sealed.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    Error, Result, Tx,
    db::{change, query},
    vault::Place,
};

/// A creating request: who asks, under which key, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The actor and route the key belongs to.
    pub scope: String,
    /// The client's key.
    pub key: String,
    /// SHA-256 of what was asked.
    pub hash: [u8; 32],
}

/// The answer given before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Vec<u8>,
}

impl Request {
    /// Describes a request; `content` is whatever makes it this request (its body).
    pub fn new(scope: impl Into<String>, key: impl Into<String>, content: &[u8]) -> Self {
        Self { scope: scope.into(), key: key.into(), hash: Sha256::digest(content).into() }
    }

    /// A row id to bind the sealed answer to.
    fn row(&self) -> Uuid {
        let digest = Sha256::new()
            .chain_update(self.scope.as_bytes())
            .chain_update([0])
            .chain_update(self.key.as_bytes())
            .finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Uuid::from_bytes(id)
    }

    fn place(&self) -> Place {
        Place::new("idempotency", "sealed_response", self.row())
    }
}

impl Tx {
    /// The answer kept for this request, or `None` when the key is free — then it is reserved until this transaction
    /// ends, and [`Tx::keep_answer`] must follow in it. [`Error::IdempotencyMismatch`] for a key used with another request.
    pub async fn kept_answer(&mut self, request: &Request) -> Result<Option<Kept>> {
        let now = self.now();
        // Keeping answers is bookkeeping: it owes no audit event when the request had no effect.
        let owed = self.changed;
        let reserved = change!(self, c => sqlx::query(
            "insert into idempotency (scope, key, request_hash, status, sealed_response, created_at)
             values ($1, $2, $3, 0, $3, $4) on conflict do nothing")
            .bind(&request.scope).bind(&request.key).bind(&request.hash[..]).bind(now.0).execute(c).await
            .map(|r| r.rows_affected()))?;
        self.changed = owed;
        if reserved == 1 {
            return Ok(None);
        }
        let (hash, status, sealed): (Vec<u8>, i64, Vec<u8>) = query!(self, c => sqlx::query_as(
            "select request_hash, status, sealed_response from idempotency where scope = $1 and key = $2")
            .bind(&request.scope).bind(&request.key).fetch_one(c).await)?;
        if hash != request.hash {
            return Err(Error::IdempotencyMismatch);
        }
        let body = self.storage().vault.system_key("idempotency").open(&request.place(), &sealed)?;
        Ok(Some(Kept { status: u16::try_from(status).unwrap_or(200), body }))
    }

    /// Keeps the answer of this request's effect.
    pub async fn keep_answer(&mut self, request: &Request, status: u16, body: &[u8]) -> Result<()> {
        let sealed = self.storage().vault.system_key("idempotency").seal(&request.place(), body)?;
        let owed = self.changed;
        change!(self, c => sqlx::query(
            "update idempotency set status = $3, sealed_response = $4 where scope = $1 and key = $2")
            .bind(&request.scope).bind(&request.key).bind(i64::from(status)).bind(sealed).execute(c).await.map(drop))?;
        self.changed = owed;
        Ok(())
    }
}

/// Removes answers older than 48 hours; returns how many. For housekeeping.
pub async fn forget_old(tx: &mut Tx) -> Result<u64> {
    let before = tx.now().minus(std::time::Duration::from_hours(48));
    Ok(change!(tx, c => sqlx::query("delete from idempotency where created_at < $1")
        .bind(before.0).execute(c).await.map(|r| r.rows_affected()))?)
}
