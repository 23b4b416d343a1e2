//! One-time codes that let somebody sign up: the setup code of an empty system and invitations. Of invitations only hashes are kept.

use std::time::Duration;

use domain::{
    access::{SystemAction, SystemRole, may_system},
    actor::Actor,
    clock::Timestamp,
    ids::UserId,
};
use uuid::Uuid;

use crate::{
    Error, Result, Storage, Tx,
    audit::Audit,
    codes,
    db::{change, query},
    users,
    vault::Place,
};

const SETUP: &str = "setup";
const INVITATION: &str = "invitation";
/// Where the setup code is kept for the other processes of a fleet.
const KEPT: &str = "setup code";
/// How long a setup code is shown again instead of a fresh one.
const SHARED: Duration = Duration::from_mins(5);
/// How long an invitation is good for.
const INVITATION_LIFE: Duration = Duration::from_hours(7 * 24);

/// The setup code of a system without users, for the caller to show to the operator; `None` once somebody has signed up. The
/// processes of a fleet that start within five minutes of each other show the same one, which is kept sealed; later a fresh one voids it.
pub async fn ensure_setup_code(storage: &Storage) -> Result<Option<String>> {
    let mut tx = storage.begin(&Actor::system(domain::ids::fresh())).await?;
    if !users::none_yet(&mut tx).await? {
        return Ok(None);
    }
    if let Some(code) = shown_lately(&mut tx).await? {
        return Ok(Some(code));
    }
    change!(tx, c => sqlx::query("delete from signup_codes where purpose = $1").bind(SETUP).execute(c).await.map(drop))?;
    let code = keep_new(&mut tx, SETUP, SystemRole::Administrator, None, Timestamp(i64::MAX)).await?;
    let sealed = storage.vault.system_key(KEPT).seal(&place(), code.as_bytes())?;
    change!(tx, c => sqlx::query("insert into system (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value")
        .bind(KEPT).bind(sealed).execute(c).await.map(drop))?;
    tx.audit(Audit::SetupCodeIssued {}).await?;
    tx.commit().await?;
    Ok(Some(code))
}

/// The setup code another process has just shown.
async fn shown_lately(tx: &mut Tx) -> Result<Option<String>> {
    let since = tx.now().minus(SHARED);
    let sealed: Option<Vec<u8>> = query!(tx, c => sqlx::query_scalar(
        "select value from system where name = $1 and exists
         (select 1 from signup_codes where purpose = $2 and used_at is null and created_at > $3)")
        .bind(KEPT).bind(SETUP).bind(since.0).fetch_optional(c).await)?;
    let Some(sealed) = sealed else { return Ok(None) };
    let code = tx.storage().vault.system_key(KEPT).open(&place(), &sealed)?;
    Ok(String::from_utf8(code).ok())
}

fn place() -> Place {
    Place::new("system", "value", Uuid::nil())
}

/// Makes an invitation that signs somebody up in `role`, good once within seven days; the code and when it ends.
pub async fn invite(tx: &mut Tx, role: SystemRole) -> Result<(String, Timestamp)> {
    if !may_system(tx.actor(), SystemAction::ManageUsers) {
        return Err(Error::Forbidden);
    }
    let ends = tx.now().plus(INVITATION_LIFE);
    let by = tx.actor().user();
    let code = keep_new(tx, INVITATION, role, by, ends).await?;
    tx.audit(Audit::InvitationIssued { role: role.name() }).await?;
    Ok((code, ends))
}

/// The role a code gives, if it is good now. Looking does not use it up.
pub async fn look(tx: &mut Tx, code: &str) -> Result<Option<SystemRole>> {
    let now = tx.now();
    let role: Option<String> = query!(tx, c => sqlx::query_scalar(
        "select role from signup_codes where hash = $1 and used_at is null and expires_at > $2")
        .bind(codes::hash(code)).bind(now.0).fetch_optional(c).await)?;
    Ok(role.as_deref().and_then(SystemRole::parse))
}

/// Uses a code up and returns the role it gives; `None` when it is unknown, used or over. A setup code counts only while
/// nobody has signed up. The caller creates the user in the same transaction.
pub async fn redeem(tx: &mut Tx, code: &str) -> Result<Option<SystemRole>> {
    let now = tx.now();
    let used: Option<(String, String)> = change!(tx, c => sqlx::query_as(
        "update signup_codes set used_at = $2 where hash = $1 and used_at is null and expires_at > $2 returning purpose, role")
        .bind(codes::hash(code)).bind(now.0).fetch_optional(c).await)?;
    match used {
        Some((purpose, _)) if purpose == SETUP && !users::none_yet(tx).await? => Ok(None),
        Some((_, role)) => Ok(SystemRole::parse(&role)),
        None => Ok(None),
    }
}

async fn keep_new(tx: &mut Tx, purpose: &str, role: SystemRole, by: Option<UserId>, ends: Timestamp) -> Result<String> {
    let code = codes::fresh()?;
    let now = tx.now();
    change!(tx, c => sqlx::query(
        "insert into signup_codes (hash, purpose, role, created_by, created_at, expires_at) values ($1, $2, $3, $4, $5, $6)")
        .bind(codes::hash(&code)).bind(purpose).bind(role.name()).bind(by.map(UserId::uuid)).bind(now.0).bind(ends.0)
        .execute(c).await.map(drop))?;
    Ok(code)
}
