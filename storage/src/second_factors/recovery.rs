//! Recovery codes: ten at a time, each good once.

use domain::ids::UserId;

use super::signed_in;
use crate::{
    Error, Result, Tx,
    audit::Audit,
    codes,
    db::{change, query},
    users,
};

/// Codes given out together.
const CODES: usize = 10;

/// Gives the actor new recovery codes, which nothing keeps; those before count no more.
pub async fn new_recovery_codes(tx: &mut Tx) -> Result<Vec<String>> {
    let user = signed_in(tx)?;
    users::take(tx, user).await?;
    if !users::find(tx, user).await?.user.has_second_factor {
        return Err(Error::Conflict("recovery codes stand in for a second factor; set one up first"));
    }
    replace(tx, user).await
}

pub(super) async fn replace(tx: &mut Tx, user: UserId) -> Result<Vec<String>> {
    forget(tx, user).await?;
    let now = tx.now();
    let mut made = Vec::with_capacity(CODES);
    for _ in 0..CODES {
        let code = codes::fresh()?;
        change!(tx, c => sqlx::query("insert into recovery_codes (user_id, hash, created_at) values ($1, $2, $3)")
            .bind(user.uuid()).bind(codes::hash(&code)).bind(now.0).execute(c).await.map(drop))?;
        made.push(code);
    }
    tx.audit(Audit::RecoveryCodesMade { user }).await?;
    Ok(made)
}

pub(super) async fn accept(tx: &mut Tx, user: UserId, code: &str) -> Result<bool> {
    let now = tx.now();
    let used = change!(tx, c => sqlx::query(
        "update recovery_codes set used_at = $3 where user_id = $1 and hash = $2 and used_at is null")
        .bind(user.uuid()).bind(codes::hash(code)).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
    if used > 0 {
        tx.audit(Audit::RecoveryCodeUsed { user }).await?;
    }
    Ok(used > 0)
}

pub(super) async fn left(tx: &mut Tx, user: UserId) -> Result<u64> {
    let left: i64 = query!(tx, c => sqlx::query_scalar(
        "select count(*) from recovery_codes where user_id = $1 and used_at is null")
        .bind(user.uuid()).fetch_one(c).await)?;
    Ok(u64::try_from(left).unwrap_or_default())
}

pub(super) async fn forget(tx: &mut Tx, user: UserId) -> Result<()> {
    change!(tx, c => sqlx::query("delete from recovery_codes where user_id = $1")
        .bind(user.uuid()).execute(c).await.map(drop))?;
    Ok(())
}
