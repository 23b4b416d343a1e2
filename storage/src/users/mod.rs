//! People who sign in. E-mail addresses are kept in one spelling, so that one person is one row.

mod manage;

use domain::{access::SystemRole, clock::Timestamp, ids::UserId};
use serde::Serialize;
use uuid::Uuid;

pub use self::manage::{Change, change, end_sessions, list, managed};
use crate::{
    Error, Result, Tx,
    audit::Audit,
    db::{change, query},
    password_resets, sign_in_steps,
};

/// A person, without anything secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// Their e-mail address as [`normal_email`] spells it.
    pub email: String,
    /// Their name.
    pub name: String,
    /// Their role in the whole system.
    pub role: SystemRole,
    /// False once suspended: no session of theirs counts any more.
    pub is_active: bool,
    /// True once a second factor of theirs counts.
    pub has_second_factor: bool,
    /// When they last signed in.
    pub last_login: Option<Timestamp>,
    /// When they signed up.
    pub created_at: Timestamp,
}

/// A person and what proves that it is them.
#[derive(Debug, Clone)]
pub struct Account {
    /// The person.
    pub user: User,
    /// A PHC string.
    pub password_hash: String,
    /// False while the password is one that needs a second factor beside it.
    pub password_is_long: bool,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    email: String,
    name: String,
    password_hash: String,
    password_is_long: bool,
    role: String,
    is_active: bool,
    has_second_factor: bool,
    last_login: Option<i64>,
    created_at: i64,
}

/// The columns of a [`Row`], by name: a plan of `select *` breaks when a newer version adds one.
macro_rules! columns {
    () => {
        "id, email, name, password_hash, password_is_long, role, is_active, last_login, created_at, \
         exists (select 1 from second_factors f where f.user_id = users.id and f.confirmed_at is not null) \
         as has_second_factor"
    };
}
use columns;

impl TryFrom<Row> for Account {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let role = SystemRole::parse(&row.role).ok_or(Error::Invalid("a user has an unknown role"))?;
        let user = User {
            id: UserId(row.id),
            email: row.email,
            name: row.name,
            role,
            is_active: row.is_active,
            has_second_factor: row.has_second_factor,
            last_login: row.last_login.map(Timestamp),
            created_at: Timestamp(row.created_at),
        };
        Ok(Self { user, password_hash: row.password_hash, password_is_long: row.password_is_long })
    }
}

/// The one spelling of an e-mail address: trimmed, lower case. `None` when the text is not an address that mail could
/// be sent to: one `@` with something around it, no blanks or control characters, at most 254 bytes (RFC 5321 §4.5.3.1).
pub fn normal_email(text: &str) -> Option<String> {
    let email = text.trim().to_lowercase();
    let (local, domain) = email.rsplit_once('@')?;
    let sound = !local.is_empty()
        && !local.contains('@')
        && !domain.is_empty()
        && email.len() <= 254
        && !email.chars().any(|c| c.is_whitespace() || c.is_control());
    sound.then_some(email)
}

/// True while nobody has signed up.
pub async fn none_yet(tx: &mut Tx) -> Result<bool> {
    Ok(query!(tx, c => sqlx::query_scalar("select not exists (select 1 from users)").fetch_one(c).await)?)
}

/// Signs somebody up. [`Error::Conflict`] when the address is taken. `email` is as [`normal_email`] spells it.
pub async fn create(tx: &mut Tx, email: &str, name: &str, password_hash: &str, role: SystemRole) -> Result<User> {
    let (id, now) = (UserId::new(), tx.now());
    let added = change!(tx, c => sqlx::query(
        "insert into users (id, email, name, password_hash, role, is_active, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $7) on conflict (email) do nothing")
        .bind(id.uuid()).bind(email).bind(name).bind(password_hash).bind(role.name()).bind(true).bind(now.0)
        .execute(c).await.map(|r| r.rows_affected()))?;
    if added == 0 {
        return Err(Error::Conflict("a user with this e-mail address exists"));
    }
    tx.audit(Audit::UserSignedUp { user: id, role: role.name() }).await?;
    Ok(find(tx, id).await?.user)
}

/// The account of that id.
pub async fn find(tx: &mut Tx, id: UserId) -> Result<Account> {
    let row: Option<Row> = query!(tx, c => sqlx::query_as(concat!("select ", columns!(), " from users where id = $1"))
        .bind(id.uuid()).fetch_optional(c).await)?;
    row.ok_or(Error::NotFound)?.try_into()
}

/// The account of that e-mail address, spelled as [`normal_email`] does.
pub async fn by_email(tx: &mut Tx, email: &str) -> Result<Option<Account>> {
    let row: Option<Row> = query!(tx, c =>
        sqlx::query_as(concat!("select ", columns!(), " from users where email = $1"))
        .bind(email).fetch_optional(c).await)?;
    row.map(Account::try_from).transpose()
}

/// Holds the person's row until the transaction ends, and keeps the password's hash made anew (`new_hash`). False when the person was
/// suspended or got another password since `checked` was looked at: then nobody proved anything. Whatever suspends, changes a password or a
/// second factor takes the same row first, so that a session opened after this is one that it finds.
pub async fn hold(tx: &mut Tx, id: UserId, checked: &str, new_hash: Option<&str>) -> Result<bool> {
    let owed = tx.changed;
    let held = change!(tx, c => sqlx::query(
        "update users set password_hash = coalesce($3, password_hash)
         where id = $1 and password_hash = $2 and is_active")
        .bind(id.uuid()).bind(checked).bind(new_hash).execute(c).await.map(|r| r.rows_affected()))?;
    tx.changed = owed || new_hash.is_some();
    Ok(held > 0)
}

/// The same for who has proved already who they are; [`Error::Conflict`] when they were suspended.
pub(crate) async fn take(tx: &mut Tx, id: UserId) -> Result<()> {
    let owed = tx.changed;
    let held = change!(tx, c => sqlx::query("update users set role = role where id = $1 and is_active")
        .bind(id.uuid()).execute(c).await.map(|r| r.rows_affected()))?;
    tx.changed = owed;
    if held == 0 {
        return Err(Error::Conflict("the person is suspended"));
    }
    Ok(())
}

/// Notes a sign-in.
pub async fn signed_in(tx: &mut Tx, id: UserId) -> Result<()> {
    let now = tx.now();
    change!(tx, c => sqlx::query("update users set last_login = $2 where id = $1")
        .bind(id.uuid()).bind(now.0).execute(c).await.map(drop))?;
    Ok(())
}

/// A password as it is kept.
#[derive(Debug, Clone, Copy)]
pub struct NewPassword<'a> {
    /// A PHC string.
    pub hash: &'a str,
    /// False when it is one that needs a second factor beside it.
    pub is_long: bool,
}

/// Replaces a password, provided it is still the one that was checked (`old_hash`) and the person is active; [`Error::Conflict`]
/// otherwise. What the old one began ends with it: sign-ins half-way, codes for a new password.
pub async fn set_password(tx: &mut Tx, id: UserId, old_hash: &str, new: NewPassword<'_>) -> Result<()> {
    let now = tx.now();
    let set = change!(tx, c => sqlx::query(
        "update users set password_hash = $3, password_is_long = $4, updated_at = $5
         where id = $1 and password_hash = $2 and is_active")
        .bind(id.uuid()).bind(old_hash).bind(new.hash).bind(new.is_long).bind(now.0)
        .execute(c).await.map(|r| r.rows_affected()))?;
    if set == 0 {
        return Err(Error::Conflict("the password was changed meanwhile; sign in again"));
    }
    sign_in_steps::forget(tx, id).await?;
    password_resets::forget(tx, id).await?;
    tx.audit(Audit::PasswordChanged { user: id }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_spelling() {
        assert_eq!(normal_email(" Ann.Lee@Example.COM ").as_deref(), Some("ann.lee@example.com"));
        assert_eq!(normal_email("jürgen@müller.example").as_deref(), Some("jürgen@müller.example"));
        for bad in ["", "@", "a@", "@b", "a b@c", "a@b@c", "a\u{0}@b", &format!("{}@b.example", "a".repeat(250))] {
            assert_eq!(normal_email(bad), None, "{bad:?}");
        }
    }
}
