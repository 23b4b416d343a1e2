//! Sign-ins between the password and the second factor: the password was right, a code is still owed. The token of such a step opens
//! nothing by itself, is good for five minutes, five guesses and one sign-in, and ends when the password changes.

use std::time::Duration;

use domain::ids::UserId;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    Error, Result, Storage, Tx,
    db::{change, query},
};

/// How long the second factor may take.
pub const LIFE: Duration = Duration::from_mins(5);
/// Codes that may be tried with one token.
const GUESSES: i64 = 5;

/// Begins a step for a person whose password was right; its token. The caller holds the person's row ([`crate::users::hold`]).
pub async fn begin(tx: &mut Tx, user: UserId) -> Result<String> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|e| Error::Io(e.into()))?;
    let (token, now) = (hex::encode(secret), tx.now());
    change!(tx, c => sqlx::query(
        "insert into sign_in_steps (hash, user_id, created_at, expires_at) values ($1, $2, $3, $4)")
        .bind(hash(&token)).bind(user.uuid()).bind(now.0).bind(now.plus(LIFE).0).execute(c).await.map(drop))?;
    Ok(token)
}

/// Whose step it is, if a code may still be tried with its token.
pub async fn look(tx: &mut Tx, token: &str) -> Result<Option<UserId>> {
    let now = tx.now();
    let user: Option<Uuid> = query!(tx, c => sqlx::query_scalar(
        "select user_id from sign_in_steps where hash = $1 and used_at is null and expires_at > $2 and guesses < $3")
        .bind(hash(token)).bind(now.0).bind(GUESSES).fetch_optional(c).await)?;
    Ok(user.map(UserId))
}

/// Counts a guess, for good, before any code is looked at; false when there may be no more.
pub async fn count(storage: &Storage, token: &str) -> Result<bool> {
    let mut tx = storage.begin_machinery().await?;
    let now = tx.now();
    let counted = change!(tx, c => sqlx::query(
        "update sign_in_steps set guesses = guesses + 1
         where hash = $1 and used_at is null and expires_at > $2 and guesses < $3")
        .bind(hash(token)).bind(now.0).bind(GUESSES).execute(c).await.map(|r| r.rows_affected()))?;
    tx.commit().await?;
    Ok(counted > 0)
}

/// Uses the token up; false when it does not count any more.
pub async fn spend(tx: &mut Tx, token: &str) -> Result<bool> {
    let now = tx.now();
    let spent = change!(tx, c => sqlx::query(
        "update sign_in_steps set used_at = $2 where hash = $1 and used_at is null and expires_at > $2")
        .bind(hash(token)).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
    Ok(spent > 0)
}

/// Ends all steps of a person.
pub(crate) async fn forget(tx: &mut Tx, user: UserId) -> Result<()> {
    change!(tx, c => sqlx::query("delete from sign_in_steps where user_id = $1")
        .bind(user.uuid()).execute(c).await.map(drop))?;
    Ok(())
}

/// Removes the rows of steps that are over; returns how many. For housekeeping.
pub async fn forget_old(tx: &mut Tx) -> Result<u64> {
    let now = tx.now();
    Ok(change!(tx, c => sqlx::query("delete from sign_in_steps where expires_at < $1")
        .bind(now.0).execute(c).await.map(|r| r.rows_affected()))?)
}

fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}
