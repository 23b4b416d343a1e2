//! Named leases with fencing numbers: one holder at a time by the shared clock, and a number that rises with every change of
//! hands, so that a holder that slept through its lease cannot write over its successor.

use std::time::Duration;

use domain::ids::DatabaseId;

use crate::{
    Error, Result, Storage, Tx,
    db::{change, query},
};

/// A lease this process holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What it is a lease of.
    pub name: String,
    /// Who holds it.
    pub holder: String,
    /// Rises with every change of hands.
    pub fence: i64,
}

/// The name of the lease under which a database's index is written.
pub fn of_index(database: DatabaseId) -> String {
    format!("index:{database}")
}

/// Takes the lease `name` for `span` if nobody else holds it; `None` when somebody does.
pub async fn acquire(storage: &Storage, name: &str, holder: &str, span: Duration) -> Result<Option<Lease>> {
    let mut tx = storage.begin_machinery().await?;
    let now = tx.shared_now().await?;
    let fence: Option<i64> = change!(tx, c => sqlx::query_scalar(
        "insert into leases (name, holder, fence, expires_at) values ($1, $2, 1, $3)
         on conflict (name) do update set holder = excluded.holder, fence = leases.fence + 1, expires_at = excluded.expires_at
         where leases.expires_at < $4 returning fence")
        .bind(name).bind(holder).bind(now.plus(span).0).bind(now.0).fetch_optional(c).await)?;
    tx.commit().await?;
    Ok(fence.map(|fence| Lease { name: name.to_owned(), holder: holder.to_owned(), fence }))
}

/// Keeps a held lease for another `span`; [`Error::LeaseLost`] when it changed hands.
pub async fn renew(storage: &Storage, lease: &Lease, span: Duration) -> Result<()> {
    let mut tx = storage.begin_machinery().await?;
    let until = tx.shared_now().await?.plus(span);
    let kept = change!(tx, c => sqlx::query("update leases set expires_at = $3 where name = $1 and fence = $2")
        .bind(&lease.name).bind(lease.fence).bind(until.0).execute(c).await.map(|r| r.rows_affected()))?;
    tx.commit().await?;
    if kept == 1 { Ok(()) } else { Err(Error::LeaseLost) }
}

/// Gives a lease back early.
pub async fn release(storage: &Storage, lease: &Lease) -> Result<()> {
    let mut tx = storage.begin_machinery().await?;
    change!(tx, c => sqlx::query("update leases set expires_at = 0 where name = $1 and fence = $2")
        .bind(&lease.name).bind(lease.fence).execute(c).await.map(drop))?;
    tx.commit().await
}

impl Tx {
    /// Checks, inside the transaction that publishes, that the lease is still ours: [`Error::LeaseLost`] otherwise.
    pub async fn fence(&mut self, lease: &Lease) -> Result<()> {
        let sql = if self.is_postgres() {
            "select fence from leases where name = $1 for update"
        } else {
            "select fence from leases where name = $1"
        };
        let fence: Option<i64> = query!(self, c => sqlx::query_scalar(sql).bind(&lease.name).fetch_optional(c).await)?;
        if fence == Some(lease.fence) { Ok(()) } else { Err(Error::LeaseLost) }
    }
}
