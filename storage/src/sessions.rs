//! Sign-ins. The row is the truth: an access token counts only while its session's row does. A session is a family of
//! refresh tokens, of which the newest is good and the one before is good for a moment more.
//!
//! A refresh token is `session (16) ‖ secret (32) ‖ tag (16)` in hexadecimal. The first secret is 256 random bits; each
//! next one is `HMAC-SHA256(key of the vault, secret before)`, unguessable without both, so that two requests racing with
//! the same token get the *same* next one: whichever answer a client keeps last is right. The tag, keyed too, shows that
//! dia gave the token out; so a token that is genuine but no longer good is a replay, and no stranger can forge one to
//! end somebody's session. Rows hold SHA-256 of the secrets only (RFC 9700 §4.14.2).

use std::time::Duration;

use domain::{
    actor::Who,
    clock::Timestamp,
    events::{Event, Topic},
    ids::{SessionId, UserId},
};
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    Error, Result, Tx,
    audit::Audit,
    db::{change, query},
    users::{self, User},
    vault::Vault,
};

/// How long the token before is still taken from a client that raced itself.
const GRACE: Duration = Duration::from_secs(15);

/// How long sessions live.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// Without a refresh.
    pub idle: Duration,
    /// With them.
    pub absolute: Duration,
}

/// How a person proved that it is them, in the words of RFC 8176.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// By their password.
    Password,
    /// By their password and their second factor.
    SecondFactor,
}

impl Proof {
    /// The methods, separated by blanks.
    pub fn methods(self) -> &'static str {
        match self {
            Self::Password => "pwd",
            Self::SecondFactor => "pwd otp",
        }
    }
}

/// Who is behind a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The person.
    pub user: User,
    /// When they last proved that it is them.
    pub authenticated_at: Timestamp,
}

/// A sign-in as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it was last refreshed.
    pub last_used_at: Timestamp,
    /// When it ends if it is not refreshed.
    pub expires_at: Timestamp,
    /// Where it was opened from.
    pub address: Option<String>,
    /// With which program.
    pub agent: Option<String>,
    /// When its person last proved that it is them.
    pub authenticated_at: Timestamp,
    /// How, as [`Proof::methods`] says it.
    pub methods: String,
}

/// What a refresh came to. The transaction must be committed either way: a replay revokes.
#[derive(Debug, Clone)]
pub enum Refreshed {
    /// The next token of the family.
    Next {
        /// Whose it is.
        user: User,
        /// The session.
        session: SessionId,
        /// The refresh token.
        token: String,
    },
    /// Unknown, over, revoked, or replayed.
    Refused,
}

type Secret = [u8; 32];
/// Person, hash before the newest, rotated, expires, revoked.
type FamilyRow = (Uuid, Option<Vec<u8>>, i64, i64, Option<i64>);
/// Id, created, last used, expires, address, agent, authenticated, methods.
type SessionRow = (Uuid, i64, i64, i64, Option<String>, Option<String>, i64, String);

/// Opens a session of somebody who proved now that it is them, and returns it with its first refresh token.
pub async fn open(tx: &mut Tx, user: UserId, lives: &Lifetimes, proof: Proof) -> Result<(SessionId, String)> {
    let (id, now) = (SessionId::new(), tx.now());
    let mut secret: Secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|e| Error::Io(e.into()))?;
    let origin = tx.actor().origin.clone();
    change!(tx, c => sqlx::query(
        "insert into sessions (id, user_id, refresh_hash, rotated_at, created_at, last_used_at, expires_at, address, agent,
          authenticated_at, methods)
         values ($1, $2, $3, $4, $4, $4, $5, $6, $7, $4, $8)")
        .bind(id.uuid()).bind(user.uuid()).bind(hash(&secret)).bind(now.0).bind(now.plus(lives.idle.min(lives.absolute)).0)
        .bind(&origin.address).bind(&origin.agent).bind(proof.methods()).execute(c).await.map(drop))?;
    tx.audit(Audit::SessionOpened { user, session: id }).await?;
    Ok((id, token(&tx.storage().vault, id, &secret)))
}

/// Gives the next token of a family for the newest one, or again for the one before within `GRACE`. Any other genuine
/// token of the family is a replay: the session is revoked.
pub async fn refresh(tx: &mut Tx, text: &str, lives: &Lifetimes) -> Result<Refreshed> {
    let Some((id, secret)) = genuine(&tx.storage().vault, text) else { return Ok(Refreshed::Refused) };
    let next = successor(&tx.storage().vault, &secret);
    let now = tx.now();
    let owed = tx.changed;
    let rotated = change!(tx, c => sqlx::query(
        "update sessions set refresh_hash = $3, previous_hash = $2, rotated_at = $4, last_used_at = $4,
         expires_at = case when created_at + $6 < $5 then created_at + $6 else $5 end
         where id = $1 and refresh_hash = $2 and revoked_at is null and expires_at > $4")
        .bind(id.uuid()).bind(hash(&secret)).bind(hash(&next)).bind(now.0).bind(now.plus(lives.idle).0)
        .bind(Timestamp(0).plus(lives.absolute).0).execute(c).await.map(|r| r.rows_affected()))?;
    if rotated == 0 {
        tx.changed = owed;
    }
    let row: Option<FamilyRow> = query!(tx, c => sqlx::query_as(
        "select user_id, previous_hash, rotated_at, expires_at, revoked_at from sessions where id = $1")
        .bind(id.uuid()).fetch_optional(c).await)?;
    let Some((user, previous, rotated_at, expires_at, revoked_at)) = row else { return Ok(Refreshed::Refused) };
    if revoked_at.is_some() || expires_at <= now.0 {
        return Ok(Refreshed::Refused);
    }
    if rotated == 0 {
        let raced = previous == Some(hash(&secret)) && now.since(Timestamp(rotated_at)) <= GRACE;
        if !raced {
            end(tx, UserId(user), id).await?;
            tx.audit(Audit::SessionReplayed { session: id }).await?;
            return Ok(Refreshed::Refused);
        }
    }
    tx.audit(Audit::SessionRefreshed { session: id }).await?;
    let user = users::find(tx, UserId(user)).await?.user;
    if !user.is_active {
        return Ok(Refreshed::Refused);
    }
    Ok(Refreshed::Next { user, session: id, token: token(&tx.storage().vault, id, &next) })
}

/// Who is behind a session of `user`, if it counts now: not revoked, not over, and the person active.
pub async fn holder(tx: &mut Tx, id: SessionId, user: UserId) -> Result<Option<Holder>> {
    let now = tx.now();
    let authenticated_at: Option<i64> = query!(tx, c => sqlx::query_scalar(
        "select coalesce(authenticated_at, created_at) from sessions
         where id = $1 and user_id = $2 and revoked_at is null and expires_at > $3")
        .bind(id.uuid()).bind(user.uuid()).bind(now.0).fetch_optional(c).await)?;
    let Some(authenticated_at) = authenticated_at.map(Timestamp) else { return Ok(None) };
    let user = users::find(tx, user).await?.user;
    Ok(user.is_active.then_some(Holder { user, authenticated_at }))
}

/// Notes that the actor proved now that it is them.
pub async fn proved(tx: &mut Tx, proof: Proof) -> Result<()> {
    let (user, id) = signed_in(tx)?;
    let now = tx.now();
    let noted = change!(tx, c => sqlx::query(
        "update sessions set authenticated_at = $3, methods = $4
         where id = $1 and user_id = $2 and revoked_at is null and expires_at > $3")
        .bind(id.uuid()).bind(user.uuid()).bind(now.0).bind(proof.methods())
        .execute(c).await.map(|r| r.rows_affected()))?;
    if noted == 0 {
        return Err(Error::Conflict("the session ended meanwhile; sign in again"));
    }
    tx.audit(Audit::SessionProved { session: id, methods: proof.methods() }).await
}

/// The actor's open sessions, newest first.
pub async fn list(tx: &mut Tx) -> Result<Vec<Session>> {
    let (user, _) = signed_in(tx)?;
    let now = tx.now();
    let rows: Vec<SessionRow> = query!(tx, c => sqlx::query_as(
        "select id, created_at, last_used_at, expires_at, address, agent, coalesce(authenticated_at, created_at),
         coalesce(methods, 'pwd') from sessions
         where user_id = $1 and revoked_at is null and expires_at > $2 order by id desc")
        .bind(user.uuid()).bind(now.0).fetch_all(c).await)?;
    let sessions = rows.into_iter().map(|(id, created, used, expires, address, agent, proved, methods)| Session {
        id: SessionId(id),
        created_at: Timestamp(created),
        last_used_at: Timestamp(used),
        expires_at: Timestamp(expires),
        address,
        agent,
        authenticated_at: Timestamp(proved),
        methods,
    });
    Ok(sessions.collect())
}

/// Ends one of the actor's sessions; [`Error::NotFound`] for any other.
pub async fn revoke(tx: &mut Tx, id: SessionId) -> Result<()> {
    let (user, _) = signed_in(tx)?;
    if end(tx, user, id).await? == 0 {
        return Err(Error::NotFound);
    }
    tx.audit(Audit::SessionClosed { session: id }).await
}

/// Ends all of the actor's sessions but the one they act in.
pub async fn revoke_others(tx: &mut Tx) -> Result<()> {
    let (_, own) = signed_in(tx)?;
    for session in list(tx).await? {
        if session.id != own {
            revoke(tx, session.id).await?;
        }
    }
    Ok(())
}

/// Ends all sessions of a person, whoever acts. The caller has made sure that they may.
pub(crate) async fn end_all(tx: &mut Tx, user: UserId) -> Result<()> {
    let now = tx.now();
    let ended = change!(tx, c => sqlx::query(
        "update sessions set revoked_at = $2 where user_id = $1 and revoked_at is null and expires_at > $2")
        .bind(user.uuid()).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
    tx.publish(Topic::User(user), Event::AccessChanged);
    tx.audit(Audit::SessionsClosed { user, sessions: ended }).await
}

/// Removes the rows of sessions that ended more than 90 days ago; returns how many. For housekeeping.
pub async fn forget_old(tx: &mut Tx) -> Result<u64> {
    let before = tx.now().minus(Duration::from_hours(90 * 24));
    Ok(change!(tx, c => sqlx::query("delete from sessions where expires_at < $1 or revoked_at < $1")
        .bind(before.0).execute(c).await.map(|r| r.rows_affected()))?)
}

fn signed_in(tx: &Tx) -> Result<(UserId, SessionId)> {
    match tx.actor().who {
        Who::User { user, session, .. } => Ok((user, session)),
        Who::Key { .. } | Who::Anonymous | Who::System { .. } => Err(Error::Forbidden),
    }
}

async fn end(tx: &mut Tx, user: UserId, id: SessionId) -> Result<u64> {
    let now = tx.now();
    let ended = change!(tx, c => sqlx::query(
        "update sessions set revoked_at = $3 where user_id = $1 and id = $2 and revoked_at is null")
        .bind(user.uuid()).bind(id.uuid()).bind(now.0)
        .execute(c).await.map(|r| r.rows_affected()))?;
    tx.publish(Topic::User(user), Event::AccessChanged);
    Ok(ended)
}

fn hash(secret: &Secret) -> Vec<u8> {
    Sha256::digest(secret).to_vec()
}

fn successor(vault: &Vault, secret: &Secret) -> Secret {
    vault.blind_index("refresh-next", &hex::encode(secret))
}

fn tag(vault: &Vault, id: SessionId, secret: &Secret) -> [u8; 16] {
    let whole = vault.blind_index("refresh-tag", &format!("{id}{}", hex::encode(secret)));
    let mut tag = [0; 16];
    tag.copy_from_slice(&whole[..16]);
    tag
}

fn token(vault: &Vault, id: SessionId, secret: &Secret) -> String {
    hex::encode([id.uuid().as_bytes(), &secret[..], &tag(vault, id, secret)].concat())
}

/// Session and secret of a token that dia gave out at some time; `None` for anything else.
fn genuine(vault: &Vault, text: &str) -> Option<(SessionId, Secret)> {
    let mut bytes = [0; 64];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    let id = SessionId(Uuid::from_slice(&bytes[..16]).ok()?);
    let secret: Secret = bytes[16..48].try_into().ok()?;
    // Comparing hashes of the tags tells a timing attacker nothing about the tags.
    let same = Sha256::digest(tag(vault, id, &secret)) == Sha256::digest(&bytes[48..]);
    same.then_some((id, secret))
}
