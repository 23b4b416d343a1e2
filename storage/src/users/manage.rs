//! Users as administrators, and the operator at the command line, see and manage them.

use domain::{
    access::{SystemAction, SystemRole, may_system},
    events::{Event, Topic},
    ids::UserId,
    page::{Page, PageQuery},
};
use uuid::Uuid;

use super::{Account, Row, User, columns, find};
use crate::{
    Error, Result, Tx, api_keys,
    audit::Audit,
    db::{change, query},
    password_resets, sessions, sign_in_steps,
};

/// The row of `system` that whoever may leave dia without an administrator takes first, one after the other.
const TURN: &str = "administrators";

/// What to change of a person; nothing where it is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// False suspends, true restores.
    pub is_active: Option<bool>,
    /// The role in the whole system.
    pub role: Option<SystemRole>,
}

/// The account of that id, for who manages users; [`Error::Forbidden`] for everybody else, whatever the id.
pub async fn managed(tx: &mut Tx, id: UserId) -> Result<Account> {
    manages(tx)?;
    find(tx, id).await
}

/// Everybody who signed up, newest first, for who manages users.
pub async fn list(tx: &mut Tx, page: &PageQuery) -> Result<Page<User>> {
    manages(tx)?;
    let limit = page.limit()?;
    let before: Uuid = page.key()?.unwrap_or(Uuid::max());
    let rows: Vec<Row> = query!(tx, c => sqlx::query_as(
        concat!("select ", columns!(), " from users where id < $1 order by id desc limit $2"))
        .bind(before).bind(i64::from(limit) + 1).fetch_all(c).await)?;
    let accounts = rows.into_iter().map(Account::try_from).collect::<Result<Vec<_>>>()?;
    Ok(Page::of(accounts, limit, |account| account.user.id).map(|account| account.user))
}

/// Suspends, restores, or gives another role. Sessions and API keys of who is suspended end for good, and open sockets with them.
/// [`Error::Conflict`] when nobody would be left to administer dia.
pub async fn change(tx: &mut Tx, id: UserId, change: Change) -> Result<User> {
    manages(tx)?;
    take_turn(tx).await?;
    let user = find(tx, id).await?.user;
    let (is_active, role) = (change.is_active.unwrap_or(user.is_active), change.role.unwrap_or(user.role));
    let administers = |is_active, role| is_active && role == SystemRole::Administrator;
    if administers(user.is_active, user.role) && !administers(is_active, role) && !is_another_left(tx, id).await? {
        return Err(Error::Conflict(
            "nobody would be left to administer dia; make somebody else an administrator first",
        ));
    }
    if (is_active, role) == (user.is_active, user.role) {
        return Ok(user);
    }
    let now = tx.now();
    change!(tx, c => sqlx::query("update users set is_active = $2, role = $3, updated_at = $4 where id = $1")
        .bind(id.uuid()).bind(is_active).bind(role.name()).bind(now.0).execute(c).await.map(drop))?;
    if role != user.role {
        tx.audit(Audit::UserRoleSet { user: id, role: role.name() }).await?;
    }
    match (user.is_active, is_active) {
        (true, false) => {
            tx.audit(Audit::UserSuspended { user: id }).await?;
            sessions::end_all(tx, id).await?;
            sign_in_steps::forget(tx, id).await?;
            password_resets::forget(tx, id).await?;
            api_keys::end_all(tx, id).await?;
        }
        (false, true) => tx.audit(Audit::UserRestored { user: id }).await?,
        _ => {}
    }
    tx.publish(Topic::User(id), Event::AccessChanged);
    Ok(User { role, is_active, ..user })
}

/// Ends all sessions of a person, for who manages users.
pub async fn end_sessions(tx: &mut Tx, id: UserId) -> Result<()> {
    managed(tx, id).await?;
    sessions::end_all(tx, id).await
}

fn manages(tx: &Tx) -> Result<()> {
    if may_system(tx.actor(), SystemAction::ManageUsers) { Ok(()) } else { Err(Error::Forbidden) }
}

/// Waits until no other transaction is about to leave dia with one administrator less: each would see the other's still there.
async fn take_turn(tx: &mut Tx) -> Result<()> {
    let owed = tx.changed;
    change!(tx, c => sqlx::query(
        "insert into system (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value")
        .bind(TURN).bind(&b""[..]).execute(c).await.map(drop))?;
    tx.changed = owed;
    Ok(())
}

async fn is_another_left(tx: &mut Tx, but: UserId) -> Result<bool> {
    Ok(query!(tx, c => sqlx::query_scalar(
        "select exists (select 1 from users where role = $1 and is_active and id <> $2)")
        .bind(SystemRole::Administrator.name()).bind(but.uuid()).fetch_one(c).await)?)
}
