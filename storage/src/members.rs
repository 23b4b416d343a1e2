//! Members of a case, their roles and the time they count for. A change is heard by open sockets, which check their access again; that
//! time passes they find out by themselves.

use domain::{
    access::{Action, CaseRole, Membership},
    clock::Timestamp,
    events::{Event, Topic},
    ids::UserId,
};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    Error, Result, Tx,
    audit::Audit,
    cases::{Case, permit},
    db::{change, query},
};

/// A person in a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Member {
    /// The person.
    pub user: UserId,
    /// Their e-mail address.
    pub email: String,
    /// Their name.
    pub name: String,
    /// Their role in the case, and when it counts.
    pub membership: Membership,
    /// Since when they are on the list.
    pub created_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    email: String,
    name: String,
    role: String,
    not_before: Option<i64>,
    expires_at: Option<i64>,
    created_at: i64,
}

impl Row {
    fn member(self) -> Option<Member> {
        let membership = Membership {
            role: CaseRole::parse(&self.role)?,
            not_before: self.not_before.map(Timestamp),
            expires_at: self.expires_at.map(Timestamp),
        };
        let (user, created_at) = (UserId(self.id), Timestamp(self.created_at));
        Some(Member { user, email: self.email, name: self.name, membership, created_at })
    }
}

impl Case {
    /// All members, first come first; those whose time has not come or is over, too.
    pub async fn members(&self, tx: &mut Tx) -> Result<Vec<Member>> {
        permit(tx, self.id, &self.standing, Action::SeeCase)?;
        let rows: Vec<Row> = query!(tx, c => sqlx::query_as(
            "select u.id, u.email, u.name, m.role, m.not_before, m.expires_at, m.created_at
             from case_members m join users u on u.id = m.user_id where m.case_id = $1 order by m.created_at, u.id")
            .bind(self.id.uuid()).fetch_all(c).await)?;
        Ok(rows.into_iter().filter_map(Row::member).collect())
    }

    /// Adds a member, or changes their role and time. A case keeps at least one manager whose time has no end. Somebody behind a wall
    /// becomes no member.
    pub async fn set_member(&self, tx: &mut Tx, user: UserId, membership: impl Into<Membership>) -> Result<()> {
        let membership = membership.into();
        permit(tx, self.id, &self.standing, Action::ManageMembers)?;
        let now = tx.now();
        membership.check(now).map_err(Error::Invalid)?;
        self.take_turn(tx).await?;
        let known: bool = query!(tx, c => sqlx::query_scalar("select exists (select 1 from users where id = $1 and is_active)")
            .bind(user.uuid()).fetch_one(c).await)?;
        if !known {
            return Err(Error::NotFound);
        }
        if self.is_walled(tx, user).await? {
            return Err(Error::Conflict("an ethical wall keeps this person out of the case; lift it first"));
        }
        let (begin, end) = (membership.not_before.map(Timestamp::micros), membership.expires_at.map(Timestamp::micros));
        change!(tx, c => sqlx::query(
            "insert into case_members (case_id, user_id, role, created_at, not_before, expires_at) values ($1, $2, $3, $4, $5, $6)
             on conflict (case_id, user_id) do update set role = excluded.role, not_before = excluded.not_before,
             expires_at = excluded.expires_at")
            .bind(self.id.uuid()).bind(user.uuid()).bind(membership.role.name()).bind(now.0).bind(begin).bind(end)
            .execute(c).await.map(drop))?;
        self.keep_a_manager(tx).await?;
        let Membership { role, not_before, expires_at } = membership;
        tx.audit(Audit::MemberSet { case: self.id, user, role: role.name(), not_before, expires_at }).await?;
        tx.publish(Topic::Access(self.id), Event::AccessChanged);
        Ok(())
    }

    /// Removes a member. A case keeps at least one manager whose time has no end.
    pub async fn remove_member(&self, tx: &mut Tx, user: UserId) -> Result<()> {
        permit(tx, self.id, &self.standing, Action::ManageMembers)?;
        self.take_turn(tx).await?;
        let removed = change!(tx, c => sqlx::query("delete from case_members where case_id = $1 and user_id = $2")
            .bind(self.id.uuid()).bind(user.uuid()).execute(c).await.map(|r| r.rows_affected()))?;
        if removed == 0 {
            return Err(Error::NotFound);
        }
        self.keep_a_manager(tx).await?;
        tx.audit(Audit::MemberRemoved { case: self.id, user }).await?;
        tx.publish(Topic::Access(self.id), Event::AccessChanged);
        Ok(())
    }

    /// Those who change who is in a case do so one after the other: two managers must not remove each other at once.
    pub(crate) async fn take_turn(&self, tx: &mut Tx) -> Result<()> {
        Ok(change!(tx, c => sqlx::query("update cases set updated_at = updated_at where id = $1")
            .bind(self.id.uuid()).execute(c).await.map(drop))?)
    }

    async fn keep_a_manager(&self, tx: &mut Tx) -> Result<()> {
        let now = tx.now();
        let managers: i64 = query!(tx, c => sqlx::query_scalar(
            "select count(*) from case_members m where m.case_id = $1 and m.role = 'manager' and m.expires_at is null
             and (m.not_before is null or m.not_before <= $2)
             and not exists (select 1 from case_walls w where w.case_id = m.case_id and w.user_id = m.user_id)")
            .bind(self.id.uuid()).bind(now.0).fetch_one(c).await)?;
        if managers > 0 {
            return Ok(());
        }
        Err(Error::Conflict("a case keeps at least one manager whose membership has begun and has no end"))
    }
}
