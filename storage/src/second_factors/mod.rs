//! The second factor of a person: an authenticator that shares a secret with dia (TOTP, RFC 6238), and recovery codes for when it is lost.
//! The secret is sealed in its row; of recovery codes only hashes are kept. Every code counts once, whichever process it comes to: the row
//! remembers the step of the last code, and takes none of the same step or before.

mod recovery;

use domain::{
    actor::Who,
    clock::Timestamp,
    events::{Event, Topic},
    ids::UserId,
};
use zeroize::Zeroizing;

use crate::{
    Error, Result, Tx,
    audit::Audit,
    db::{change, query},
    sessions::{self, Proof},
    sign_in_steps, users,
    vault::{Place, STEP, is_same, one_time_code},
};

pub use self::recovery::new_recovery_codes;

/// Bytes of a secret: as many as SHA-1 gives (RFC 4226 §4).
const SECRET: usize = 20;
/// What the key is for that seals secrets.
const PURPOSE: &str = "second factors";

/// What a person says to prove their second factor.
#[derive(Debug, Clone, Copy)]
pub enum Said<'a> {
    /// The code that the authenticator shows.
    Code(&'a str),
    /// A recovery code.
    RecoveryCode(&'a str),
}

/// What is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// When the authenticator was confirmed.
    pub since: Option<Timestamp>,
    /// True while one was begun and not confirmed.
    pub is_pending: bool,
    /// Recovery codes that still count.
    pub recovery_codes: u64,
}

/// What the actor has set up.
pub async fn standing(tx: &mut Tx) -> Result<Standing> {
    let user = signed_in(tx)?;
    let row: Option<(Option<i64>,)> = query!(tx, c => sqlx::query_as(
        "select confirmed_at from second_factors where user_id = $1").bind(user.uuid()).fetch_optional(c).await)?;
    let since = row.and_then(|(confirmed,)| confirmed).map(Timestamp);
    Ok(Standing {
        since,
        is_pending: row.is_some() && since.is_none(),
        recovery_codes: recovery::left(tx, user).await?,
    })
}

/// Makes a secret for the actor's authenticator, in place of one that was never confirmed; it counts for nothing until [`confirm`].
pub async fn begin(tx: &mut Tx) -> Result<Zeroizing<Vec<u8>>> {
    let user = signed_in(tx)?;
    let mut secret = Zeroizing::new(vec![0; SECRET]);
    getrandom::fill(&mut secret).map_err(|e| Error::Io(e.into()))?;
    let sealed = tx.storage().vault.system_key(PURPOSE).seal(&place(user), &secret)?;
    let now = tx.now();
    let begun = change!(tx, c => sqlx::query(
        "insert into second_factors (user_id, sealed_secret, created_at) values ($1, $2, $3)
         on conflict (user_id) do update set sealed_secret = excluded.sealed_secret, created_at = excluded.created_at
         where second_factors.confirmed_at is null")
        .bind(user.uuid()).bind(sealed).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
    if begun == 0 {
        return Err(Error::Conflict("a second factor is set up; remove it before you set up another"));
    }
    tx.audit(Audit::SecondFactorBegun { user }).await?;
    Ok(secret)
}

/// Switches the actor's second factor on, if `code` is what its authenticator shows now; the recovery codes, which nothing keeps. `None`
/// when it is not. The session has then been proved by both, and the person's others end.
pub async fn confirm(tx: &mut Tx, code: &str) -> Result<Option<Vec<String>>> {
    let user = signed_in(tx)?;
    users::take(tx, user).await?;
    let sealed: Option<Vec<u8>> = query!(tx, c => sqlx::query_scalar(
        "select sealed_secret from second_factors where user_id = $1 and confirmed_at is null")
        .bind(user.uuid()).fetch_optional(c).await)?;
    let sealed = sealed.ok_or(Error::Conflict("no second factor waits to be confirmed; begin with a fresh secret"))?;
    let Some(step) = step_of(tx, user, &sealed, code)? else { return Ok(None) };
    let now = tx.now();
    change!(tx, c => sqlx::query(
        "update second_factors set confirmed_at = $2, last_step = $3 where user_id = $1 and confirmed_at is null")
        .bind(user.uuid()).bind(now.0).bind(step).execute(c).await.map(drop))?;
    tx.audit(Audit::SecondFactorConfirmed { user }).await?;
    let codes = recovery::replace(tx, user).await?;
    sessions::proved(tx, Proof::SecondFactor).await?;
    sessions::revoke_others(tx).await?;
    tx.publish(Topic::User(user), Event::AccessChanged);
    Ok(Some(codes))
}

/// Takes what a person said, once: true when it proves their second factor. Whoever says false must commit nothing.
pub async fn accept(tx: &mut Tx, user: UserId, said: Said<'_>) -> Result<bool> {
    let code = match said {
        Said::Code(code) => code,
        Said::RecoveryCode(code) => return recovery::accept(tx, user, code).await,
    };
    let sealed: Option<Vec<u8>> = query!(tx, c => sqlx::query_scalar(
        "select sealed_secret from second_factors where user_id = $1 and confirmed_at is not null")
        .bind(user.uuid()).fetch_optional(c).await)?;
    let Some(sealed) = sealed else { return Ok(false) };
    let Some(step) = step_of(tx, user, &sealed, code)? else { return Ok(false) };
    let taken = change!(tx, c => sqlx::query(
        "update second_factors set last_step = $2
         where user_id = $1 and confirmed_at is not null and (last_step is null or last_step < $2)")
        .bind(user.uuid()).bind(step).execute(c).await.map(|r| r.rows_affected()))?;
    Ok(taken > 0)
}

/// Removes the actor's second factor, confirmed or not.
pub async fn remove_own(tx: &mut Tx) -> Result<()> {
    let user = signed_in(tx)?;
    remove(tx, user).await
}

/// Removes the second factor that somebody else has lost, for who manages users.
pub async fn remove_of(tx: &mut Tx, user: UserId) -> Result<()> {
    users::managed(tx, user).await?;
    if tx.actor().user() == Some(user) {
        return Err(Error::Conflict("remove your own second factor as everybody does theirs"));
    }
    remove(tx, user).await
}

async fn remove(tx: &mut Tx, user: UserId) -> Result<()> {
    users::take(tx, user).await?;
    if !users::find(tx, user).await?.password_is_long {
        return Err(Error::Conflict(
            "the password is too short to stand alone; one of 15 characters or more must be set before the second factor goes",
        ));
    }
    let removed = change!(tx, c => sqlx::query("delete from second_factors where user_id = $1")
        .bind(user.uuid()).execute(c).await.map(|r| r.rows_affected()))?;
    if removed == 0 {
        return Err(Error::Conflict("no second factor is set up"));
    }
    recovery::forget(tx, user).await?;
    sign_in_steps::forget(tx, user).await?;
    tx.audit(Audit::SecondFactorRemoved { user }).await?;
    tx.publish(Topic::User(user), Event::AccessChanged);
    Ok(())
}

/// The step whose code this is: now's, or, because clocks differ, that before or after it.
fn step_of(tx: &Tx, user: UserId, sealed: &[u8], code: &str) -> Result<Option<i64>> {
    let secret = Zeroizing::new(tx.storage().vault.system_key(PURPOSE).open(&place(user), sealed)?);
    let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    let now = tx.now().seconds().div_euclid(STEP);
    let fits = |step: &i64| is_same(one_time_code(&secret, *step).as_bytes(), code.as_bytes());
    Ok([now, now - 1, now + 1].into_iter().find(fits))
}

fn place(user: UserId) -> Place {
    Place::new("second_factors", "sealed_secret", user)
}

fn signed_in(tx: &Tx) -> Result<UserId> {
    match tx.actor().who {
        Who::User { user, .. } => Ok(user),
        Who::Key { .. } | Who::Anonymous | Who::System { .. } => Err(Error::Forbidden),
    }
}
