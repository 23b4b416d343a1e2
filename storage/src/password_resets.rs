//! Codes with which a person sets a new password: given out by an administrator or written to their address, good once within twenty
//! minutes. A newer one voids those before it that came the same way. They stand for the forgotten password alone: the second factor is asked for as ever.

use std::time::Duration;

use domain::{clock::Timestamp, ids::UserId};
use uuid::Uuid;

use crate::{
    Error, Result, Tx,
    audit::Audit,
    codes,
    db::{change, query},
    sessions, sign_in_steps,
    users::{self, Account, NewPassword},
};

/// How long a code is good for.
const LIFE: Duration = Duration::from_mins(20);
/// How long nobody is written to again.
const PAUSE: Duration = Duration::from_mins(5);

/// Makes a code for somebody else, for who manages users; the code and when it ends.
pub async fn issue(tx: &mut Tx, user: UserId) -> Result<(String, Timestamp)> {
    let account = users::managed(tx, user).await?;
    let by = tx.actor().user();
    if by == Some(user) {
        return Err(Error::Conflict("change your own password with your password"));
    }
    if !account.user.is_active {
        return Err(Error::Conflict("the person is suspended; restore them first"));
    }
    change!(tx, c => sqlx::query("delete from password_resets where user_id = $1 and not is_mailed")
        .bind(user.uuid()).execute(c).await.map(drop))?;
    let (code, ends) = keep(tx, user, by, false).await?;
    tx.audit(Audit::PasswordResetIssued { user }).await?;
    Ok((code, ends))
}

/// A person to write to, and the code they asked for.
#[derive(Clone)]
pub struct Letter {
    /// Where to.
    pub email: String,
    /// The code.
    pub code: String,
}

/// Makes a code that somebody asked for by mail. None when nothing is to be written: to who is suspended, and to who was written to less
/// than five minutes ago, so that nobody is flooded by others who ask in their name.
pub async fn issue_by_mail(tx: &mut Tx, user: UserId) -> Result<Option<Letter>> {
    let account = users::find(tx, user).await?;
    let since = tx.now().minus(PAUSE);
    let recent: Option<i64> = query!(tx, c => sqlx::query_scalar(
        "select created_at from password_resets where user_id = $1 and is_mailed and created_at > $2")
        .bind(user.uuid()).bind(since.0).fetch_optional(c).await)?;
    if !account.user.is_active || recent.is_some() {
        return Ok(None);
    }
    forget_mailed(tx, user).await?;
    let (code, _) = keep(tx, user, None, true).await?;
    tx.audit(Audit::PasswordResetMailed { user }).await?;
    Ok(Some(Letter { email: account.user.email, code }))
}

async fn forget_mailed(tx: &mut Tx, user: UserId) -> Result<()> {
    change!(tx, c => sqlx::query("delete from password_resets where user_id = $1 and is_mailed")
        .bind(user.uuid()).execute(c).await.map(drop))?;
    Ok(())
}

/// Voids a code that could not be sent.
pub async fn unsent(tx: &mut Tx, user: UserId) -> Result<()> {
    forget_mailed(tx, user).await?;
    tx.audit(Audit::PasswordResetUnsent { user }).await
}

async fn keep(tx: &mut Tx, user: UserId, by: Option<UserId>, is_mailed: bool) -> Result<(String, Timestamp)> {
    let (code, now, ends) = (codes::fresh()?, tx.now(), tx.now().plus(LIFE));
    change!(tx, c => sqlx::query(
        "insert into password_resets (hash, user_id, created_by, created_at, expires_at, is_mailed) values ($1, $2, $3, $4, $5, $6)")
        .bind(codes::hash(&code)).bind(user.uuid()).bind(by.map(UserId::uuid)).bind(now.0).bind(ends.0).bind(is_mailed)
        .execute(c).await.map(drop))?;
    Ok((code, ends))
}

/// Whose code it is, if it counts now. Looking does not use it up.
pub async fn look(tx: &mut Tx, code: &str) -> Result<Option<Account>> {
    let now = tx.now();
    let user: Option<Uuid> = query!(tx, c => sqlx::query_scalar(
        "select user_id from password_resets where hash = $1 and used_at is null and expires_at > $2")
        .bind(codes::hash(code)).bind(now.0).fetch_optional(c).await)?;
    let Some(user) = user else { return Ok(None) };
    Ok(Some(users::find(tx, UserId(user)).await?).filter(|account| account.user.is_active))
}

/// Uses a code up, sets the password of `account` (as [`look`] found it) and ends all its sessions. False, and nothing may be committed,
/// when the code does not count any more.
pub async fn redeem(tx: &mut Tx, code: &str, account: &Account, new: NewPassword<'_>) -> Result<bool> {
    let (user, now) = (account.user.id, tx.now());
    // The person's row first, as everything does that changes who they are.
    if !users::hold(tx, user, &account.password_hash, Some(new.hash)).await? {
        return Ok(false);
    }
    let used = change!(tx, c => sqlx::query(
        "update password_resets set used_at = $3
         where hash = $1 and user_id = $2 and used_at is null and expires_at > $3")
        .bind(codes::hash(code)).bind(user.uuid()).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
    if used == 0 {
        return Ok(false);
    }
    change!(tx, c => sqlx::query("update users set password_is_long = $2, updated_at = $3 where id = $1")
        .bind(user.uuid()).bind(new.is_long).bind(now.0).execute(c).await.map(drop))?;
    sign_in_steps::forget(tx, user).await?;
    sessions::end_all(tx, user).await?;
    tx.audit(Audit::PasswordReset { user }).await?;
    Ok(true)
}

/// Voids all codes of a person.
pub(crate) async fn forget(tx: &mut Tx, user: UserId) -> Result<()> {
    change!(tx, c => sqlx::query("delete from password_resets where user_id = $1")
        .bind(user.uuid()).execute(c).await.map(drop))?;
    Ok(())
}

/// Removes the rows of codes that are over; returns how many. For housekeeping.
pub async fn forget_old(tx: &mut Tx) -> Result<u64> {
    let now = tx.now();
    Ok(change!(tx, c => sqlx::query("delete from password_resets where expires_at < $1")
        .bind(now.0).execute(c).await.map(|r| r.rows_affected()))?)
}
