//! Ethical walls: persons who are kept out of a case whatever their membership, because they must not know of it. Set by a manager of the
//! case or by an administrator, who needs to see nothing of it for that.

use domain::{
    access::Action,
    clock::Timestamp,
    events::{Event, Topic},
    ids::{CaseId, UserId},
};
use uuid::Uuid;

use crate::{
    Error, Result, Tx,
    audit::Audit,
    cases::{Case, permit_over_access},
    db::{change, query},
    tx::{seal, unseal},
    vault::Place,
};

/// Longest reason, in characters.
const LONGEST: usize = 2_000;

/// A wall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wall {
    /// Who is kept out.
    pub user: UserId,
    /// Why.
    pub reason: String,
    /// Who said so.
    pub created_by: Option<UserId>,
    /// When.
    pub created_at: Timestamp,
}

/// A person has at most one wall in a case.
fn place(case: CaseId, user: UserId) -> Place {
    Place::new(
        "case_walls",
        "sealed_reason",
        Uuid::from_u128(case.uuid().as_u128() ^ user.uuid().as_u128().rotate_left(64)),
    )
}

/// A reason that somebody gives for what will be looked at later.
pub(crate) fn check_reason(reason: &str) -> Result<()> {
    let length = reason.trim().chars().count();
    if (10..=LONGEST).contains(&length) {
        Ok(())
    } else {
        Err(Error::Invalid("reason must have 10 to 2000 characters"))
    }
}

impl Case {
    /// Keeps `user` out of a case found with [`Action::ManageWalls`], or gives the wall there is another reason. Open sockets close,
    /// answers in the making find nothing to read.
    pub async fn set_wall(&self, tx: &mut Tx, user: UserId, reason: &str) -> Result<()> {
        permit_over_access(tx, self.id, &self.standing, Action::ManageWalls)?;
        check_reason(reason)?;
        self.take_turn(tx).await?;
        let known: bool = query!(tx, c => sqlx::query_scalar("select exists (select 1 from users where id = $1)")
            .bind(user.uuid()).fetch_one(c).await)?;
        if !known {
            return Err(Error::NotFound);
        }
        let key = tx.case_key(self.id).await?;
        let sealed = seal(&key, &place(self.id, user), &reason.trim())?;
        let (now, by) = (tx.now(), tx.actor().user().map(UserId::uuid));
        change!(tx, c => sqlx::query(
            "insert into case_walls (case_id, user_id, sealed_reason, created_by, created_at) values ($1, $2, $3, $4, $5)
             on conflict (case_id, user_id) do update set sealed_reason = excluded.sealed_reason")
            .bind(self.id.uuid()).bind(user.uuid()).bind(sealed).bind(by).bind(now.0).execute(c).await.map(drop))?;
        tx.audit(Audit::WallSet { case: self.id, user }).await?;
        tx.publish(Topic::Access(self.id), Event::AccessChanged);
        Ok(())
    }

    /// Takes a wall away from a case found with [`Action::ManageWalls`], which nobody behind it can.
    pub async fn lift_wall(&self, tx: &mut Tx, user: UserId) -> Result<()> {
        permit_over_access(tx, self.id, &self.standing, Action::ManageWalls)?;
        let lifted = change!(tx, c => sqlx::query("delete from case_walls where case_id = $1 and user_id = $2")
            .bind(self.id.uuid()).bind(user.uuid()).execute(c).await.map(|r| r.rows_affected()))?;
        if lifted == 0 {
            return Err(Error::NotFound);
        }
        tx.audit(Audit::WallLifted { case: self.id, user }).await
    }

    /// The walls of a case found with [`Action::ManageWalls`], oldest first.
    pub async fn walls(&self, tx: &mut Tx) -> Result<Vec<Wall>> {
        permit_over_access(tx, self.id, &self.standing, Action::ManageWalls)?;
        let rows: Vec<(Uuid, Vec<u8>, Option<Uuid>, i64)> = query!(tx, c => sqlx::query_as(
            "select user_id, sealed_reason, created_by, created_at from case_walls where case_id = $1 order by created_at, user_id")
            .bind(self.id.uuid()).fetch_all(c).await)?;
        let key = tx.case_key(self.id).await?;
        let open = |(user, sealed, by, at): (Uuid, Vec<u8>, Option<Uuid>, i64)| {
            let user = UserId(user);
            let reason = unseal(&key, &place(self.id, user), &sealed)?;
            Ok(Wall { user, reason, created_by: by.map(UserId), created_at: Timestamp(at) })
        };
        rows.into_iter().map(open).collect()
    }

    pub(crate) async fn is_walled(&self, tx: &mut Tx, user: UserId) -> Result<bool> {
        Ok(query!(tx, c => sqlx::query_scalar(
            "select exists (select 1 from case_walls where case_id = $1 and user_id = $2)")
            .bind(self.id.uuid()).bind(user.uuid()).fetch_one(c).await)?)
    }
}
