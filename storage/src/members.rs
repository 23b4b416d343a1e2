//! Members of a case and their roles. A change is heard by open sockets, which check their access again.

use domain::{
    access::{Action, CaseRole},
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
    /// Their role in the case.
    pub role: CaseRole,
    /// Since when.
    pub created_at: Timestamp,
}

impl Case {
    /// All members, first come first.
    pub async fn members(&self, tx: &mut Tx) -> Result<Vec<Member>> {
        permit(tx, self.id, self.role, Action::SeeCase)?;
        let rows: Vec<(Uuid, String, String, String, i64)> = query!(tx, c => sqlx::query_as(
            "select u.id, u.email, u.name, m.role, m.created_at from case_members m join users u on u.id = m.user_id
             where m.case_id = $1 order by m.created_at, u.id")
            .bind(self.id.uuid()).fetch_all(c).await)?;
        let members = rows.into_iter().filter_map(|(user, email, name, role, at)| {
            Some(Member { user: UserId(user), email, name, role: CaseRole::parse(&role)?, created_at: Timestamp(at) })
        });
        Ok(members.collect())
    }

    /// Adds a member or changes their role. A case keeps at least one manager.
    pub async fn set_member(&self, tx: &mut Tx, user: UserId, role: CaseRole) -> Result<()> {
        permit(tx, self.id, self.role, Action::ManageMembers)?;
        let known: bool = query!(tx, c => sqlx::query_scalar("select exists (select 1 from users where id = $1 and is_active)")
            .bind(user.uuid()).fetch_one(c).await)?;
        if !known {
            return Err(Error::NotFound);
        }
        let now = tx.now();
        change!(tx, c => sqlx::query(
            "insert into case_members (case_id, user_id, role, created_at) values ($1, $2, $3, $4)
             on conflict (case_id, user_id) do update set role = excluded.role")
            .bind(self.id.uuid()).bind(user.uuid()).bind(role.name()).bind(now.0).execute(c).await.map(drop))?;
        self.keep_a_manager(tx).await?;
        tx.audit(Audit::MemberSet { case: self.id, user, role: role.name() }).await?;
        tx.publish(Topic::Access(self.id), Event::AccessChanged);
        Ok(())
    }

    /// Removes a member. A case keeps at least one manager.
    pub async fn remove_member(&self, tx: &mut Tx, user: UserId) -> Result<()> {
        permit(tx, self.id, self.role, Action::ManageMembers)?;
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

    async fn keep_a_manager(&self, tx: &mut Tx) -> Result<()> {
        let managers: i64 = query!(tx, c => sqlx::query_scalar(
            "select count(*) from case_members where case_id = $1 and role = 'manager'")
            .bind(self.id.uuid()).fetch_one(c).await)?;
        if managers == 0 { Err(Error::Conflict("a case keeps at least one manager")) } else { Ok(()) }
    }
}
