//! API keys: how programs act for a person. A key can never do more than its person may now; its scopes, cases, networks and time
//! narrow that further. The row keeps SHA-256 of the secret: 256 random bits need no slower hash. A key is rotated into a
//! successor and goes on for a while beside it, so that no program is cut off between the two.

mod text;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use domain::{
    access::{Action, SystemAction, may_system},
    actor::{Actor, Who},
    clock::Timestamp,
    events::{Event, Topic},
    ids::{ApiKeyId, CaseId, UserId},
    page::{Page, PageQuery},
    scope::{Grant, Scope},
};
use sqlx::types::Json;
use uuid::Uuid;

pub use self::text::{MARK, stands_in};
use crate::{
    Error, Result, Storage, Tx,
    audit::Audit,
    cases::Case,
    db::{change, query},
    users::{self, User},
    vault::is_same,
};

/// Most cases one key can be for.
const CASES: usize = 100;
/// Most networks one key can be used from.
const NETWORKS: usize = 100;
/// How often the last use of a key is written down at most.
pub const NOTED: Duration = Duration::from_mins(1);

/// A key without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Whose it is.
    pub user: UserId,
    /// What its person calls it.
    pub name: String,
    /// What its text begins with, after `dia_`.
    pub prefix: String,
    /// What it is for.
    pub grant: Arc<Grant>,
    /// Where it may be used from, such as `10.0.0.0/8`; empty for anywhere.
    pub networks: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// The key that follows it.
    pub successor: Option<ApiKeyId>,
}

/// What a new key is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// 1 to 100 characters.
    pub name: String,
    /// What it is for.
    pub grant: Grant,
    /// Where it may be used from, each a network; empty for anywhere.
    pub networks: Vec<String>,
    /// How long it is good for.
    pub life: Duration,
}

/// How many keys there may be, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most keys of one person that count at once.
    pub most: u64,
    /// Longest life of a key.
    pub life: Duration,
    /// Longest time a rotated key goes on.
    pub overlap: Duration,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    user_id: Uuid,
    name: String,
    prefix: String,
    secret_hash: Vec<u8>,
    scopes: Json<Vec<String>>,
    networks: Json<Vec<String>>,
    is_limited: bool,
    created_at: i64,
    expires_at: i64,
    last_used_at: Option<i64>,
    revoked_at: Option<i64>,
    successor_id: Option<Uuid>,
}

/// The columns of a [`Row`], by name: a plan of `select *` breaks when a newer version adds one.
macro_rules! columns {
    () => {
        "id, user_id, name, prefix, secret_hash, scopes, networks, is_limited, created_at, expires_at, \
         last_used_at, revoked_at, successor_id"
    };
}

impl Row {
    async fn open(self, tx: &mut Tx) -> Result<ApiKey> {
        let id = ApiKeyId(self.id);
        let cases = if self.is_limited { Some(cases_of(tx, id).await?) } else { None };
        // A scope that this version does not know gives nothing.
        let scopes = self.scopes.0.iter().filter_map(|name| Scope::parse(name)).collect();
        Ok(ApiKey {
            id,
            user: UserId(self.user_id),
            name: self.name,
            prefix: self.prefix,
            grant: Arc::new(Grant { scopes, cases }),
            networks: self.networks.0,
            created_at: Timestamp(self.created_at),
            expires_at: Timestamp(self.expires_at),
            last_used_at: self.last_used_at.map(Timestamp),
            revoked_at: self.revoked_at.map(Timestamp),
            successor: self.successor_id.map(ApiKeyId),
        })
    }
}

async fn cases_of(tx: &mut Tx, key: ApiKeyId) -> Result<BTreeSet<CaseId>> {
    let ids: Vec<Uuid> = query!(tx, c => sqlx::query_scalar("select case_id from api_key_cases where key_id = $1")
        .bind(key.uuid()).fetch_all(c).await)?;
    Ok(ids.into_iter().map(CaseId).collect())
}

/// The key of that text and its person, if both count now. Where it may be used from is for the caller to look at.
pub async fn holder(tx: &mut Tx, text: &str) -> Result<Option<(ApiKey, User)>> {
    let Some(parts) = text::parse(text) else { return Ok(None) };
    let now = tx.now();
    let row: Option<Row> = query!(tx, c =>
        sqlx::query_as(concat!("select ", columns!(), " from api_keys where prefix = $1"))
        .bind(parts.prefix).fetch_optional(c).await)?;
    let Some(row) = row.filter(|row| is_same(&row.secret_hash, &parts.hash())) else {
        return Ok(None);
    };
    if row.revoked_at.is_some() || row.expires_at <= now.0 {
        return Ok(None);
    }
    let key = row.open(tx).await?;
    let user = users::find(tx, key.user).await?.user;
    Ok(user.is_active.then_some((key, user)))
}

/// Makes a key for the actor, who has signed in; the key and its text, which nothing keeps. Cases the actor may not see are not found.
pub async fn create(tx: &mut Tx, new: &NewApiKey, bounds: &Bounds) -> Result<(ApiKey, String)> {
    let user = signed_in(tx)?;
    check(new, bounds)?;
    let now = tx.now();
    let counting: i64 = query!(tx, c => sqlx::query_scalar(
        "select count(*) from api_keys where user_id = $1 and revoked_at is null and successor_id is null and expires_at > $2")
        .bind(user.uuid()).bind(now.0).fetch_one(c).await)?;
    if u64::try_from(counting).unwrap_or(u64::MAX) >= bounds.most {
        return Err(Error::Conflict("you have as many API keys as api.max_api_keys allows; revoke one"));
    }
    for case in new.grant.cases.iter().flatten() {
        Case::find(tx, *case, Action::SeeCase).await?;
    }
    insert(tx, user, new).await
}

/// Makes the successor of one of the actor's keys: the same name, scopes, cases and networks, and a life as long. The key itself ends
/// after `overlap`, or when it would have ended anyway.
pub async fn rotate(tx: &mut Tx, id: ApiKeyId, overlap: Duration, bounds: &Bounds) -> Result<(ApiKey, String)> {
    let user = signed_in(tx)?;
    if overlap > bounds.overlap {
        return Err(Error::Invalid("overlap_minutes is more than api.api_key_overlap_hours allows"));
    }
    let key = find(tx, id).await?;
    if key.user != user {
        return Err(Error::Forbidden);
    }
    let new = NewApiKey {
        name: key.name,
        grant: Arc::unwrap_or_clone(key.grant),
        networks: key.networks,
        life: key.expires_at.since(key.created_at).min(bounds.life),
    };
    let (successor, text) = insert(tx, user, &new).await?;
    let (now, ends) = (tx.now(), tx.now().plus(overlap));
    // A successor that was made meanwhile stays the only one.
    let rotated = change!(tx, c => sqlx::query(
        "update api_keys set successor_id = $2, expires_at = case when expires_at < $4 then expires_at else $4 end
         where id = $1 and successor_id is null and revoked_at is null and expires_at > $3")
        .bind(id.uuid()).bind(successor.id.uuid()).bind(now.0).bind(ends.0)
        .execute(c).await.map(|r| r.rows_affected()))?;
    if rotated == 0 {
        return Err(Error::Conflict("the API key has ended or was rotated before; make a new one"));
    }
    tx.audit(Audit::ApiKeyRotated { key: id, successor: successor.id }).await?;
    tx.publish(Topic::User(user), Event::AccessChanged);
    Ok((successor, text))
}

/// Ends a key at once, for programs and sockets everywhere: one of the actor's, or anybody's for who manages users.
pub async fn revoke(tx: &mut Tx, id: ApiKeyId) -> Result<()> {
    signed_in(tx)?;
    let key = find(tx, id).await?;
    let now = tx.now();
    let ended = change!(tx, c => sqlx::query("update api_keys set revoked_at = $2 where id = $1 and revoked_at is null")
        .bind(id.uuid()).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
    if ended == 0 {
        return Err(Error::NotFound);
    }
    tx.audit(Audit::ApiKeyRevoked { key: id, user: key.user }).await?;
    tx.publish(Topic::User(key.user), Event::AccessChanged);
    Ok(())
}

/// Ends all keys of a person, whoever acts. The caller has made sure that they may.
pub(crate) async fn end_all(tx: &mut Tx, user: UserId) -> Result<()> {
    let now = tx.now();
    let ended: Vec<Uuid> = change!(tx, c => sqlx::query_scalar(
        "update api_keys set revoked_at = $2 where user_id = $1 and revoked_at is null and expires_at > $2 returning id")
        .bind(user.uuid()).bind(now.0).fetch_all(c).await)?;
    for key in ended {
        tx.audit(Audit::ApiKeyRevoked { key: ApiKeyId(key), user }).await?;
    }
    tx.publish(Topic::User(user), Event::AccessChanged);
    Ok(())
}

/// One of the actor's keys, or anybody's for who manages users.
pub async fn find(tx: &mut Tx, id: ApiKeyId) -> Result<ApiKey> {
    let user = signed_in(tx)?;
    let all = may_system(tx.actor(), SystemAction::ManageUsers);
    let row: Option<Row> = query!(tx, c =>
        sqlx::query_as(concat!("select ", columns!(), " from api_keys where id = $1 and ($2 or user_id = $3)"))
        .bind(id.uuid()).bind(all).bind(user.uuid()).fetch_optional(c).await)?;
    row.ok_or(Error::NotFound)?.open(tx).await
}

/// The actor's keys, newest first; with `everybody`, everybody's, for who manages users.
pub async fn list(tx: &mut Tx, everybody: bool, page: &PageQuery) -> Result<Page<ApiKey>> {
    let user = signed_in(tx)?;
    if everybody && !may_system(tx.actor(), SystemAction::ManageUsers) {
        return Err(Error::Forbidden);
    }
    let limit = page.limit()?;
    let before: Uuid = page.key()?.unwrap_or(Uuid::max());
    let rows: Vec<Row> = query!(tx, c => sqlx::query_as(
        concat!("select ", columns!(), " from api_keys where ($1 or user_id = $2) and id < $3 \
            order by id desc limit $4"))
        .bind(everybody).bind(user.uuid()).bind(before).bind(i64::from(limit) + 1).fetch_all(c).await)?;
    let mut keys = Vec::with_capacity(rows.len());
    for row in rows {
        keys.push(row.open(tx).await?);
    }
    Ok(Page::of(keys, limit, |key| key.id))
}

/// Writes down that a key was used now, unless that was done within [`NOTED`]. It is bookkeeping beside the request, which neither
/// waits for it nor fails with it.
pub async fn note_use(storage: &Storage, id: ApiKeyId) -> Result<()> {
    let mut tx = storage.begin_machinery().await?;
    let now = tx.now();
    change!(tx, c => sqlx::query(
        "update api_keys set last_used_at = $2 where id = $1 and (last_used_at is null or last_used_at <= $3)")
        .bind(id.uuid()).bind(now.0).bind(now.minus(NOTED).0).execute(c).await.map(drop))?;
    tx.commit().await
}

/// Leaves a trace that a key came from a network it is not for.
pub async fn note_refusal(storage: &Storage, actor: &Actor, key: &ApiKey) -> Result<()> {
    let mut tx = storage.begin(actor).await?;
    tx.audit(Audit::ApiKeyRefused { key: key.id, user: key.user }).await?;
    tx.commit().await
}

/// Removes the rows of keys that ended more than 90 days ago; returns how many. For housekeeping.
pub async fn forget_old(tx: &mut Tx) -> Result<u64> {
    let before = tx.now().minus(Duration::from_hours(90 * 24));
    change!(tx, c => sqlx::query(
        "delete from api_key_cases where key_id in (select id from api_keys where expires_at < $1 or revoked_at < $1)")
        .bind(before.0).execute(c).await.map(drop))?;
    Ok(change!(tx, c => sqlx::query("delete from api_keys where expires_at < $1 or revoked_at < $1")
        .bind(before.0).execute(c).await.map(|r| r.rows_affected()))?)
}

/// Which cases the actor's key leaves to statements that list: true and nil when all of its person's.
pub(crate) fn reach(tx: &Tx) -> (bool, Uuid) {
    match &tx.actor().who {
        Who::Key { key, grant, .. } if grant.cases.is_some() => (false, key.uuid()),
        Who::Key { .. } | Who::User { .. } | Who::System { .. } | Who::Anonymous => (true, Uuid::nil()),
    }
}

async fn insert(tx: &mut Tx, user: UserId, new: &NewApiKey) -> Result<(ApiKey, String)> {
    // A suspension that comes meanwhile finds this key, too.
    users::take(tx, user).await?;
    let text = text::fresh()?;
    let parts = text::parse(&text).ok_or(Error::Invalid("a fresh API key cannot be read"))?;
    let (id, now) = (ApiKeyId::new(), tx.now());
    let scopes: Vec<&'static str> = new.grant.scopes.iter().map(|scope| scope.name()).collect();
    change!(tx, c => sqlx::query(
        "insert into api_keys (id, user_id, name, prefix, secret_hash, scopes, networks, is_limited, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)")
        .bind(id.uuid()).bind(user.uuid()).bind(&new.name).bind(parts.prefix).bind(&parts.hash()[..]).bind(Json(&scopes))
        .bind(Json(&new.networks)).bind(new.grant.cases.is_some()).bind(now.0).bind(now.plus(new.life).0)
        .execute(c).await.map(drop))?;
    for case in new.grant.cases.iter().flatten() {
        change!(tx, c => sqlx::query("insert into api_key_cases (key_id, case_id) values ($1, $2)")
            .bind(id.uuid()).bind(case.uuid()).execute(c).await.map(drop))?;
    }
    let cases = new.grant.cases.as_ref().map(|cases| cases.iter().copied().collect());
    let prefix = parts.prefix.to_owned();
    tx.audit(Audit::ApiKeyCreated { key: id, user, prefix, scopes, cases, networks: new.networks.clone() }).await?;
    Ok((find(tx, id).await?, text))
}

fn check(new: &NewApiKey, bounds: &Bounds) -> Result<()> {
    let length = new.name.trim().chars().count();
    if !(1..=100).contains(&length) || new.name.chars().any(char::is_control) {
        return Err(Error::Invalid("name must have 1 to 100 characters"));
    }
    if new.grant.scopes.is_empty() {
        return Err(Error::Invalid("scopes must name at least one scope"));
    }
    if new.grant.cases.as_ref().is_some_and(|cases| cases.is_empty() || cases.len() > CASES) {
        return Err(Error::Invalid("case_ids must name 1 to 100 cases, or be left out for all of yours"));
    }
    if new.networks.len() > NETWORKS {
        return Err(Error::Invalid("networks must name at most 100 networks"));
    }
    if new.life.is_zero() || new.life > bounds.life {
        return Err(Error::Invalid("expires_in_days must be at least 1 and at most what api.max_api_key_days allows"));
    }
    Ok(())
}

/// Keys are managed by people who signed in, never with a key.
fn signed_in(tx: &Tx) -> Result<UserId> {
    match tx.actor().who {
        Who::User { user, .. } => Ok(user),
        Who::Key { .. } | Who::Anonymous | Who::System { .. } => Err(Error::Forbidden),
    }
}
