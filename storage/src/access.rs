//! What somebody may do in a case, and why: the same decision that every door asks for, with its reasons.

use domain::{
    access::{Action, Decision, Standing, SystemRole, decide},
    actor::{Actor, Origin, Who},
    ids::{CaseId, SessionId, UserId},
};
use uuid::Uuid;

use crate::{
    Error, Result, Tx,
    audit::Audit,
    cases::{Case, permit_over_access},
    db::query,
    standing, users,
};

/// What a person may do in a case at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The person.
    pub user: UserId,
    /// How they stand to the case.
    pub standing: Standing,
    /// Every action and what is decided of it.
    pub decisions: Vec<(Action, Decision)>,
}

#[derive(sqlx::FromRow)]
struct Row {
    is_active: bool,
    #[sqlx(flatten)]
    standing: standing::Row,
}

/// How `user` stands to `case`, whoever asks; none when there is no such person or case.
pub(crate) async fn standing(tx: &mut Tx, case: CaseId, user: UserId) -> Result<Option<Standing>> {
    let row: Option<Row> = query!(tx, c => sqlx::query_as(concat!(
        "select u.is_active, ", standing::columns!(), " from users u join cases c on c.id = $1 ",
        standing::joins!("c.id", "u.id"), "where u.id = $2 and c.deleted_at is null"))
        .bind(case.uuid()).bind(user.uuid()).fetch_optional(c).await)?;
    Ok(row.map(|row| Standing { is_suspended: !row.is_active, ..row.standing.into() }))
}

fn explained(tx: &Tx, case: CaseId, user: UserId, actor: &Actor, standing: Standing) -> Explanation {
    let decision = |action| (action, decide(actor, case, &standing, tx.now(), action));
    Explanation { user, standing, decisions: Action::ALL.into_iter().map(decision).collect() }
}

impl Case {
    /// What `user` may do in a case found with [`Action::ExplainAccess`] when they sign in.
    pub async fn explain(&self, tx: &mut Tx, user: UserId) -> Result<Explanation> {
        permit_over_access(tx, self.id, &self.standing, Action::ExplainAccess)?;
        let person = users::find(tx, user).await?.user;
        let standing = standing(tx, self.id, user).await?.ok_or(Error::NotFound)?;
        tx.audit(Audit::AccessExplained { case: self.id, user }).await?;
        let who = Who::User { user, session: SessionId(Uuid::nil()), role: person.role };
        Ok(explained(tx, self.id, user, &Actor { who, origin: Origin::default() }, standing))
    }

    /// What the actor may do in a case they found, with the key they use if it is one.
    pub fn explain_own(&self, tx: &Tx) -> Result<Explanation> {
        let user = tx.actor().user().ok_or(Error::Forbidden)?;
        Ok(explained(tx, self.id, user, tx.actor(), self.standing))
    }
}

/// True for people who signed in as administrators: a key is no administrator.
pub(crate) fn is_administrator(actor: &Actor) -> bool {
    matches!(actor.who, Who::User { role: SystemRole::Administrator, .. })
}
