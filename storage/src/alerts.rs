//! Alerts: what the rules of [`domain::alerts`] find in the audit trail. One alert stands for everything of one rule about one subject
//! until it has been quiet for the rule's window, or somebody looked and it goes on.

use std::collections::BTreeMap;

use domain::{
    access::{SystemAction, may_system},
    alerts::{Counted, RULES, Rule, Subject},
    clock::Timestamp,
    ids::{AlertId, UserId},
    jobs::{AlertRoute, SendAlert},
    page::{Page, PageQuery},
};
use uuid::Uuid;

use crate::{
    Error, Result, Storage, Tx,
    audit::Audit,
    db::{change, query},
};

/// How far back a look reaches when none has been for long, in microseconds: a day.
const FARTHEST: i64 = 86_400_000_000;
/// Where the time of the last look is kept.
const LOOKED: &str = "alerts_looked";

/// An alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Its id.
    pub id: AlertId,
    /// The name of its rule.
    pub rule: String,
    /// `notice`, `warning` or `critical`.
    pub severity: String,
    /// `actor`, `address`, `resource` or `system`.
    pub subject_kind: String,
    /// Whom or what it is about: an id, an address or `system`.
    pub subject: String,
    /// What the rule counted, the last time something was found.
    pub events: u64,
    /// The first event.
    pub first_at: Timestamp,
    /// The last event.
    pub last_at: Timestamp,
    /// When the rule was met.
    pub raised_at: Timestamp,
    /// When somebody looked at it.
    pub acknowledged_at: Option<Timestamp>,
    /// Who.
    pub acknowledged_by: Option<UserId>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    rule: String,
    severity: String,
    subject_kind: String,
    subject: String,
    events: i64,
    first_at: i64,
    last_at: i64,
    raised_at: i64,
    acknowledged_at: Option<i64>,
    acknowledged_by: Option<Uuid>,
}

impl From<Row> for Alert {
    fn from(row: Row) -> Self {
        Self {
            id: AlertId(row.id),
            rule: row.rule,
            severity: row.severity,
            subject_kind: row.subject_kind,
            subject: row.subject,
            events: u64::try_from(row.events).unwrap_or(0),
            first_at: Timestamp(row.first_at),
            last_at: Timestamp(row.last_at),
            raised_at: Timestamp(row.raised_at),
            acknowledged_at: row.acknowledged_at.map(Timestamp),
            acknowledged_by: row.acknowledged_by.map(UserId),
        }
    }
}

/// What a rule counted about one subject.
struct Found {
    subject: String,
    events: i64,
    first: i64,
    last: i64,
}

macro_rules! columns {
    () => {
        "id, rule, severity, subject_kind, subject, events, first_at, last_at, raised_at, acknowledged_at, acknowledged_by"
    };
}

impl Alert {
    /// One alert, for whoever may read the trail of the system.
    pub async fn find(tx: &mut Tx, id: AlertId) -> Result<Self> {
        permit(tx)?;
        let row: Option<Row> = query!(tx, c => sqlx::query_as(concat!("select ", columns!(), " from alerts where id = $1"))
            .bind(id.uuid()).fetch_optional(c).await)?;
        row.map(Self::from).ok_or(Error::NotFound)
    }

    /// Alerts, newest first; only those nobody looked at when `open`.
    pub async fn list(tx: &mut Tx, open: bool, page: &PageQuery) -> Result<Page<Self>> {
        permit(tx)?;
        let (limit, before): (u32, Uuid) = (page.limit()?, page.key()?.unwrap_or(Uuid::max()));
        let rows: Vec<Row> = query!(tx, c => sqlx::query_as(concat!("select ", columns!(),
            " from alerts where id < $1 and (acknowledged_at is null or not $2) order by id desc limit $3"))
            .bind(before).bind(open).bind(i64::from(limit) + 1).fetch_all(c).await)?;
        Ok(Page::of(rows.into_iter().map(Self::from).collect(), limit, |alert| alert.id))
    }

    /// Says that somebody looked. Who looked first stays.
    pub async fn acknowledge(&self, tx: &mut Tx) -> Result<()> {
        permit(tx)?;
        let (user, now) = (tx.actor().user().map(UserId::uuid), tx.now());
        let first = change!(tx, c => sqlx::query(
            "update alerts set acknowledged_at = $2, acknowledged_by = $3 where id = $1 and acknowledged_at is null")
            .bind(self.id.uuid()).bind(now.0).bind(user).execute(c).await.map(|r| r.rows_affected()))?;
        if first == 0 {
            return Err(Error::Conflict("somebody looked at this alert before"));
        }
        tx.audit(Audit::AlertAcknowledged { alert: self.id }).await
    }
}

/// Alerts and sign-ins from everywhere belong to whoever answers for the whole system.
fn permit(tx: &Tx) -> Result<()> {
    if may_system(tx.actor(), SystemAction::ReadAudit) { Ok(()) } else { Err(Error::Forbidden) }
}

/// Applies every rule and returns what it raised, which is sent over `routes`. `thresholds` says by name of a rule where more or fewer
/// events are needed than it says itself; with 0 it is off. One process does this at a time.
pub async fn raise(storage: &Storage, thresholds: &BTreeMap<String, u64>, routes: &[AlertRoute]) -> Result<Vec<Alert>> {
    let mut tx = storage.begin_machinery().await?;
    let looked = looked(&mut tx).await?;
    let mut raised = Vec::new();
    for rule in RULES {
        let threshold = thresholds.get(rule.name).copied().unwrap_or(rule.threshold);
        if threshold == 0 {
            continue;
        }
        let since = Timestamp(looked).minus(rule.window).0;
        for found in look(&mut tx, rule, threshold, since).await? {
            raised.extend(note(&mut tx, rule, found).await?);
        }
    }
    for alert in &raised {
        for route in routes {
            tx.enqueue(&SendAlert { alert: alert.id, route: *route }).await?;
        }
    }
    tx.commit().await?;
    Ok(raised)
}

/// When the trail was last looked through, which is now from now on; never longer than a day ago.
async fn looked(tx: &mut Tx) -> Result<i64> {
    let now = tx.now().0;
    let kept: Option<Vec<u8>> = query!(tx, c => sqlx::query_scalar("select value from system where name = $1")
        .bind(LOOKED).fetch_optional(c).await)?;
    change!(tx, c => sqlx::query(
        "insert into system (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value")
        .bind(LOOKED).bind(now.to_le_bytes().to_vec()).execute(c).await.map(drop))?;
    let before = kept.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()).map_or(now, i64::from_le_bytes);
    Ok(before.clamp(now.saturating_sub(FARTHEST), now))
}

/// What one rule finds, of every subject: an attacker who made the most of them would hide behind a limit.
async fn look(tx: &mut Tx, rule: &Rule, threshold: u64, since: i64) -> Result<Vec<Found>> {
    let subject = match rule.subject {
        Subject::Actor => "actor_id",
        Subject::Address => "address",
        Subject::Resource => "resource_id",
        Subject::System => "resource_type",
    };
    let counted = match rule.counted {
        Counted::Events | Counted::Nameless => "count(*)",
        Counted::Resources => "count(distinct resource_id)",
        Counted::Cases => "count(distinct case_id)",
    };
    let threshold = i64::try_from(threshold).unwrap_or(i64::MAX);
    macro_rules! found {
        ($subject:ty) => {{
            let rows: Vec<($subject, i64, i64, i64)> = query!(tx, c => {
                let mut sql = sqlx::QueryBuilder::<Driver>::new("select ");
                sql.push(subject).push(", ").push(counted).push(", min(at), max(at) from audit_events where action in (");
                let mut names = sql.separated(", ");
                for action in rule.actions {
                    names.push_bind(*action);
                }
                sql.push(") and at >= ").push_bind(since);
                if let Some((field, value)) = rule.only {
                    sql.push(" and details ->> ").push_bind(field).push(" = ").push_bind(value);
                }
                if rule.counted == Counted::Nameless {
                    sql.push(" and resource_id is null");
                }
                sql.push(" and ").push(subject).push(" is not null group by ").push(subject);
                sql.push(" having ").push(counted).push(" >= ").push_bind(threshold);
                sql.build_query_as().fetch_all(c).await.map_err(Error::from)
            })?;
            rows.into_iter().map(|(subject, events, first, last)| (subject.to_string(), events, first, last)).collect::<Vec<_>>()
        }};
    }
    let rows = match rule.subject {
        Subject::Actor | Subject::Resource => found!(Uuid),
        Subject::Address | Subject::System => found!(String),
    };
    let found = rows.into_iter().map(|(subject, events, first, last)| {
        let subject = if rule.subject == Subject::System { Subject::System.name().to_owned() } else { subject };
        Found { subject, events, first, last }
    });
    Ok(found.collect())
}

/// Adds what was found to the alert that stands, or raises one.
async fn note(tx: &mut Tx, rule: &'static Rule, found: Found) -> Result<Option<Alert>> {
    let standing: Option<(Uuid, i64, Option<i64>)> = query!(tx, c => sqlx::query_as(
        "select id, last_at, acknowledged_at from alerts where rule = $1 and subject = $2 and last_at >= $3
         order by last_at desc, id desc limit 1")
        .bind(rule.name).bind(&found.subject).bind(found.first).fetch_optional(c).await)?;
    match standing {
        Some((_, last, _)) if last >= found.last => return Ok(None),
        Some((id, _, None)) => {
            change!(tx, c => sqlx::query("update alerts set events = $2, last_at = $3 where id = $1")
                .bind(id).bind(found.events).bind(found.last).execute(c).await.map(drop))?;
            return Ok(None);
        }
        // Somebody looked, and it goes on.
        Some((_, _, Some(_))) | None => {}
    }
    let (id, now) = (AlertId::new(), tx.now());
    change!(tx, c => sqlx::query(
        "insert into alerts (id, rule, severity, subject_kind, subject, events, first_at, last_at, raised_at)
         values ($1,$2,$3,$4,$5,$6,$7,$8,$9)")
        .bind(id.uuid()).bind(rule.name).bind(rule.severity.name()).bind(rule.subject.name()).bind(&found.subject)
        .bind(found.events).bind(found.first).bind(found.last).bind(now.0).execute(c).await.map(drop))?;
    tx.audit(Audit::AlertRaised { alert: id, rule: rule.name }).await?;
    Ok(Some(Alert::find(tx, id).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_speak_of_actions_that_there_are() {
        let missing: Vec<_> =
            RULES.iter().flat_map(|rule| rule.actions).filter(|a| !Audit::ACTIONS.contains(a)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
