//! Breaking the glass: an administrator who is no member asks to read a case, another one lets them or not, and for a short while the first
//! reads as a reviewer does. Everything of it stands in the case's trail and is said to its webhooks.

use std::time::Duration;

use domain::{
    access::{Action, SystemRole},
    clock::Timestamp,
    events::{Event, Topic},
    ids::{BreakGlassId, CaseId, UserId},
    page::{Page, PageQuery},
    webhooks::EventType,
};
use serde_json::json;
use uuid::Uuid;

use crate::{
    Error, Result, Tx,
    access::is_administrator,
    audit::Audit,
    cases::{Case, permit_over_access, person},
    db::{change, query},
    standing,
    tx::{seal, unseal},
    users,
    vault::Place,
    walls, webhooks,
};

/// How long a request waits for its decision.
const PATIENCE: Duration = Duration::from_hours(24);

/// A request, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakGlass {
    /// Its id.
    pub id: BreakGlassId,
    /// The case.
    pub case: CaseId,
    /// Who wants to read.
    pub requested_by: UserId,
    /// Why.
    pub reason: String,
    /// For how long.
    pub minutes: u32,
    /// `pending`, `approved`, `refused`, `ended`, `expired`, or `lapsed` when nobody decided within a day.
    pub state: &'static str,
    /// Who decided.
    pub decided_by: Option<UserId>,
    /// When.
    pub decided_at: Option<Timestamp>,
    /// When reading ends.
    pub expires_at: Option<Timestamp>,
    /// Who ended it early.
    pub ended_by: Option<UserId>,
    /// When it was asked.
    pub created_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    case_id: Uuid,
    requested_by: Uuid,
    sealed_reason: Vec<u8>,
    minutes: i64,
    state: String,
    decided_by: Option<Uuid>,
    decided_at: Option<i64>,
    expires_at: Option<i64>,
    ended_by: Option<Uuid>,
    created_at: i64,
    #[sqlx(flatten)]
    standing: standing::Row,
}

/// Selects requests in the order of [`Row`] with how the person `$1` stands to their cases, up to the `where`. A request is its own
/// table here, beside the grant that the standing joins.
macro_rules! select {
    () => {
        concat!(
            "select b.id, b.case_id, b.requested_by, b.sealed_reason, b.minutes, b.state, b.decided_by, b.decided_at, b.expires_at,
             b.ended_by, b.created_at, ",
            standing::columns!(),
            " from break_glass b join cases c on c.id = b.case_id ",
            standing::joins!("b.case_id", "$1")
        )
    };
}

fn place(id: BreakGlassId) -> Place {
    Place::new("break_glass", "sealed_reason", id)
}

/// What a row's state means now.
fn state(name: &str, created_at: i64, expires_at: Option<i64>, now: Timestamp) -> &'static str {
    match name {
        "pending" if created_at <= now.minus(PATIENCE).0 => "lapsed",
        "pending" => "pending",
        "approved" if expires_at.is_none_or(|end| end <= now.0) => "expired",
        "approved" => "approved",
        "refused" => "refused",
        "lapsed" => "lapsed",
        _ => "ended",
    }
}

async fn open(tx: &mut Tx, row: Row) -> Result<BreakGlass> {
    let key = tx.case_key(CaseId(row.case_id)).await?;
    let id = BreakGlassId(row.id);
    Ok(BreakGlass {
        id,
        case: CaseId(row.case_id),
        requested_by: UserId(row.requested_by),
        reason: unseal(&key, &place(id), &row.sealed_reason)?,
        minutes: u32::try_from(row.minutes).unwrap_or(0),
        state: state(&row.state, row.created_at, row.expires_at, tx.now()),
        decided_by: row.decided_by.map(UserId),
        decided_at: row.decided_at.map(Timestamp),
        expires_at: row.expires_at.map(Timestamp),
        ended_by: row.ended_by.map(UserId),
        created_at: Timestamp(row.created_at),
    })
}

impl Case {
    /// Asks to read a case found with [`Action::BreakGlass`]. At most `most` minutes; one request of a person waits at a time.
    pub async fn ask_break_glass(&self, tx: &mut Tx, reason: &str, minutes: u32, most: u32) -> Result<BreakGlass> {
        permit_over_access(tx, self.id, &self.standing, Action::BreakGlass)?;
        let user = tx.actor().user().ok_or(Error::Forbidden)?;
        walls::check_reason(reason)?;
        if !(1..=most).contains(&minutes) {
            return Err(Error::Invalid(
                "minutes must be at least 1 and at most what access.break_glass_minutes allows",
            ));
        }
        if self.role.is_some() {
            return Err(Error::Conflict("you are a member of this case; there is no glass to break"));
        }
        self.settle_old(tx, user).await?;
        let (id, now) = (BreakGlassId::new(), tx.now());
        let key = tx.case_key(self.id).await?;
        let sealed = seal(&key, &place(id), &reason.trim())?;
        let asked = change!(tx, c => sqlx::query(
            "insert into break_glass (id, case_id, requested_by, sealed_reason, minutes, state, created_at)
             values ($1, $2, $3, $4, $5, 'pending', $6) on conflict do nothing")
            .bind(id.uuid()).bind(self.id.uuid()).bind(user.uuid()).bind(sealed).bind(i64::from(minutes)).bind(now.0)
            .execute(c).await.map(|r| r.rows_affected()))?;
        if asked == 0 {
            return Err(Error::Conflict("a request of yours for this case waits already"));
        }
        tx.audit(Audit::BreakGlassAsked { case: self.id, request: id, minutes }).await?;
        let asked = BreakGlass::find(tx, id).await?;
        asked.announce(tx, "pending").await?;
        Ok(asked)
    }

    /// What nobody decided in time, and what has ended by itself, makes room.
    async fn settle_old(&self, tx: &mut Tx, user: UserId) -> Result<()> {
        let (now, old) = (tx.now(), tx.now().minus(PATIENCE));
        change!(tx, c => sqlx::query(
            "update break_glass set state = 'lapsed' where requested_by = $1 and case_id = $2 and state = 'pending'
             and created_at <= $3")
            .bind(user.uuid()).bind(self.id.uuid()).bind(old.0).execute(c).await.map(drop))?;
        Ok(change!(tx, c => sqlx::query(
            "update break_glass set state = 'ended' where requested_by = $1 and case_id = $2 and state = 'approved'
             and expires_at <= $3")
            .bind(user.uuid()).bind(self.id.uuid()).bind(now.0).execute(c).await.map(drop))?)
    }
}

impl BreakGlass {
    /// A request that the actor may know of: any for administrators, and those for their cases for managers; behind a wall, none.
    pub async fn find(tx: &mut Tx, id: BreakGlassId) -> Result<Self> {
        let user = person(tx);
        let row: Option<Row> = query!(tx, c => sqlx::query_as(concat!(select!(), "where b.id = $2 and c.deleted_at is null"))
            .bind(user).bind(id.uuid()).fetch_optional(c).await)?;
        let row = row.ok_or(Error::NotFound)?;
        permit_over_access(tx, CaseId(row.case_id), &row.standing.clone().into(), Action::ManageWalls)?;
        open(tx, row).await
    }

    /// The requests that the actor may know of, newest first.
    pub async fn list(tx: &mut Tx, page: &PageQuery) -> Result<Page<Self>> {
        let limit = page.limit()?;
        let before: Uuid = page.key()?.unwrap_or(Uuid::max());
        let (user, now, all) = (person(tx), tx.now(), is_administrator(tx.actor()));
        let rows: Vec<Row> = query!(tx, c => sqlx::query_as(concat!(
            select!(), "where c.deleted_at is null and b.id < $2 and w.user_id is null and ($3 or (m.role = 'manager' and ",
            standing::current!("$4"), ")) order by b.id desc limit $5"))
            .bind(user).bind(before).bind(all).bind(now.0).bind(i64::from(limit) + 1).fetch_all(c).await)?;
        let mut requests = Vec::with_capacity(rows.len());
        for row in rows {
            requests.push(open(tx, row).await?);
        }
        Ok(Page::of(requests, limit, |request| request.id))
    }

    /// Lets whoever asked read from now on; never done by themselves, and once.
    pub async fn approve(&self, tx: &mut Tx) -> Result<Self> {
        let by = self.decider(tx)?;
        let person = users::find(tx, self.requested_by).await?.user;
        if !person.is_active || person.role != SystemRole::Administrator {
            return Err(Error::Conflict("whoever asked is no active administrator any more"));
        }
        let (now, old) = (tx.now(), tx.now().minus(PATIENCE));
        // What ended by itself since it was asked makes room, whoever approved it.
        change!(tx, c => sqlx::query(
            "update break_glass set state = 'ended' where requested_by = $1 and case_id = $2 and state = 'approved'
             and expires_at <= $3")
            .bind(self.requested_by.uuid()).bind(self.case.uuid()).bind(now.0).execute(c).await.map(drop))?;
        let until = now.plus(Duration::from_secs(u64::from(self.minutes) * 60));
        let approved = change!(tx, c => sqlx::query(
            "update break_glass set state = 'approved', decided_by = $2, decided_at = $3, expires_at = $4
             where id = $1 and state = 'pending' and requested_by <> $2 and created_at > $5
             and not exists (select 1 from break_glass o where o.requested_by = $6 and o.case_id = $7 and o.state = 'approved')")
            .bind(self.id.uuid()).bind(by.uuid()).bind(now.0).bind(until.0).bind(old.0)
            .bind(self.requested_by.uuid()).bind(self.case.uuid()).execute(c).await.map(|r| r.rows_affected()))?;
        if approved == 0 {
            return Err(Error::Conflict("the request was decided, ended or lapsed, or a former grant still counts"));
        }
        let (case, request, user) = (self.case, self.id, self.requested_by);
        tx.audit(Audit::BreakGlassApproved { case, request, user, until }).await?;
        self.announce(tx, "approved").await?;
        Self::find(tx, self.id).await
    }

    /// Does not let them.
    pub async fn refuse(&self, tx: &mut Tx) -> Result<Self> {
        let by = self.decider(tx)?;
        let now = tx.now();
        let refused = change!(tx, c => sqlx::query(
            "update break_glass set state = 'refused', decided_by = $2, decided_at = $3 where id = $1 and state = 'pending'")
            .bind(self.id.uuid()).bind(by.uuid()).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
        if refused == 0 {
            return Err(Error::Conflict("the request was decided or ended before"));
        }
        tx.audit(Audit::BreakGlassRefused { case: self.case, request: self.id, user: self.requested_by }).await?;
        self.announce(tx, "refused").await?;
        Self::find(tx, self.id).await
    }

    /// Ends it at once, or takes the request back.
    pub async fn end(&self, tx: &mut Tx) -> Result<()> {
        let (now, by) = (tx.now(), tx.actor().user().map(UserId::uuid));
        let ended = change!(tx, c => sqlx::query(
            "update break_glass set state = 'ended', ended_by = $2, ended_at = $3
             where id = $1 and (state = 'pending' or (state = 'approved' and expires_at > $3))")
            .bind(self.id.uuid()).bind(by).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
        if ended == 0 {
            return Err(Error::Conflict("it has ended before"));
        }
        tx.audit(Audit::BreakGlassEnded { case: self.case, request: self.id, user: self.requested_by }).await?;
        tx.publish(Topic::Access(self.case), Event::AccessChanged);
        self.announce(tx, "ended").await
    }

    /// The administrator who decides, who is not the one that asked.
    fn decider(&self, tx: &Tx) -> Result<UserId> {
        let by = tx.actor().user().filter(|by| *by != self.requested_by && is_administrator(tx.actor()));
        by.ok_or(Error::Forbidden)
    }

    async fn announce(&self, tx: &mut Tx, state: &str) -> Result<()> {
        let by = tx.actor().user();
        let data = json!({
            "case_id": self.case, "break_glass_id": self.id, "state": state, "requested_by": self.requested_by, "by": by,
            "minutes": self.minutes,
        });
        webhooks::announce(tx, self.case, EventType::BreakGlass, &data).await
    }
}
