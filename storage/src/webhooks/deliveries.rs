//! Messages to webhooks: written with their job in the transaction of what they tell of, sent until they arrive or are given up, and
//! kept as a log for a while.

use std::time::Duration;

use domain::{
    clock::Timestamp,
    ids::{CaseId, DeliveryId, WebhookId},
    jobs::DeliverWebhook,
    page::{Page, PageQuery},
    webhooks::{EVERYTHING, EventType},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::types::Json;
use uuid::Uuid;

use super::{Secret, Webhook, place_of_former, place_of_secret, place_of_url};
use crate::{
    Error, Result, Tx,
    audit::Audit,
    db::{change, query},
    tx::unseal,
};

/// Attempts of one message that are kept: the last ones.
const KEPT: usize = 50;

/// One message to one webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its id, the `webhook-id` of every attempt.
    pub id: DeliveryId,
    /// The event's name.
    pub event: String,
    /// `pending`, `delivered`, `failed` or `dropped`.
    pub state: String,
    /// What became of each attempt, oldest first; the last 50.
    pub attempts: Vec<Attempt>,
    /// When it is tried next.
    pub next_at: Option<Timestamp>,
    /// When what it tells of happened.
    pub created_at: Timestamp,
    /// When it last moved.
    pub updated_at: Timestamp,
}

/// One attempt at a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// 1, 2, 3 …
    pub number: u32,
    /// When.
    pub at: Timestamp,
    /// How long the answer was waited for.
    pub milliseconds: u64,
    /// What was answered.
    pub status: Option<u16>,
    /// Why nothing was.
    pub error: Option<String>,
}

/// What an attempt means for its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It arrived.
    Delivered,
    /// It is sent again after this time.
    Again(Duration),
    /// It is not sent again; the webhook is disabled when so many in a row were not delivered.
    Failed {
        /// How many.
        disable_after: u32,
    },
    /// The receiver wants nothing any more: the webhook is disabled.
    Gone,
}

/// A message on its way out. Not to be shown: its URL may hold a token.
pub struct Message {
    /// Its id.
    pub id: DeliveryId,
    /// Where it goes.
    pub url: String,
    /// What it says, as JSON.
    pub body: String,
    /// Attempts since it was last set going.
    pub tries: u32,
    /// False when the webhook is disabled, or the case closed or archived.
    pub is_wanted: bool,
    case: CaseId,
    webhook: WebhookId,
    attempts: Vec<Attempt>,
    secret: Secret,
    former: Option<(Secret, Timestamp)>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    event: String,
    state: String,
    attempts: Json<Vec<Attempt>>,
    next_at: Option<i64>,
    created_at: i64,
    updated_at: i64,
}

impl From<Row> for Delivery {
    fn from(row: Row) -> Self {
        Self {
            id: DeliveryId(row.id),
            event: row.event,
            state: row.state,
            attempts: row.attempts.0,
            next_at: row.next_at.map(Timestamp),
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
        }
    }
}

/// Tells the webhooks of a case that want to hear of it what happened, after the commit. `data` holds ids and counts. A case that is
/// closed or archived tells nothing.
pub(crate) async fn announce(tx: &mut Tx, case: CaseId, event: EventType, data: &Value) -> Result<()> {
    macro_rules! told {
        ($tail:literal) => {
            concat!(
                "select w.id, w.events from webhooks w join cases k on k.id = w.case_id where w.case_id = $1 and w.disabled is null
                 and k.deleted_at is null and k.status in ('open', 'pending') order by w.id",
                $tail
            )
        };
    }
    // What happened must not fail because a webhook is removed meanwhile.
    let sql = if tx.is_postgres() { told!(" for key share of w") } else { told!("") };
    let rows: Vec<(Uuid, Json<Vec<String>>)> =
        query!(tx, c => sqlx::query_as(sql).bind(case.uuid()).fetch_all(c).await)?;
    for (webhook, events) in rows {
        if events.0.iter().any(|wanted| wanted == EVERYTHING || wanted == event.name()) {
            send(tx, case, WebhookId(webhook), event, data).await?;
        }
    }
    Ok(())
}

async fn send(tx: &mut Tx, case: CaseId, webhook: WebhookId, event: EventType, data: &Value) -> Result<DeliveryId> {
    let (id, now) = (DeliveryId::new(), tx.now());
    let body = json!({ "type": event.name(), "timestamp": now, "data": data }).to_string();
    let attempts: [Attempt; 0] = [];
    change!(tx, c => sqlx::query(
        "insert into webhook_deliveries (id, webhook_id, case_id, event, body, state, attempts, next_at, created_at, updated_at)
         values ($1,$2,$3,$4,$5,'pending',$6,$7,$7,$7)")
        .bind(id.uuid()).bind(webhook.uuid()).bind(case.uuid()).bind(event.name()).bind(body).bind(Json(&attempts[..]))
        .bind(now.0).execute(c).await.map(drop))?;
    tx.enqueue(&DeliverWebhook { case, delivery: id }).await?;
    Ok(id)
}

impl Webhook {
    /// Sends it a `webhook.test`.
    pub async fn test(&self, tx: &mut Tx) -> Result<DeliveryId> {
        self.must_be_enabled()?;
        let data = json!({ "case_id": self.case, "webhook_id": self.id });
        let delivery = send(tx, self.case, self.id, EventType::Test, &data).await?;
        tx.audit(Audit::WebhookSent { case: self.case, webhook: self.id, delivery }).await?;
        Ok(delivery)
    }

    /// Sends a message again that arrived, was given up or dropped: under the same id, with the same body.
    pub async fn redeliver(&self, tx: &mut Tx, id: DeliveryId) -> Result<()> {
        let delivery = self.delivery(tx, id).await?;
        self.must_be_enabled()?;
        let now = tx.now();
        let moved = change!(tx, c => sqlx::query(
            "update webhook_deliveries set state = 'pending', tries = 0, next_at = $2, updated_at = $2
             where id = $1 and state <> 'pending'")
            .bind(delivery.id.uuid()).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
        if moved == 0 {
            return Err(Error::Conflict("the message is still being sent; wait for it"));
        }
        tx.audit(Audit::WebhookSent { case: self.case, webhook: self.id, delivery: id }).await?;
        tx.enqueue(&DeliverWebhook { case: self.case, delivery: id }).await
    }

    /// One message to it.
    pub async fn delivery(&self, tx: &mut Tx, id: DeliveryId) -> Result<Delivery> {
        let row: Option<Row> = query!(tx, c => sqlx::query_as(
            "select id, event, state, attempts, next_at, created_at, updated_at from webhook_deliveries
             where id = $1 and webhook_id = $2")
            .bind(id.uuid()).bind(self.id.uuid()).fetch_optional(c).await)?;
        Ok(row.ok_or(Error::NotFound)?.into())
    }

    /// The messages to it, newest first.
    pub async fn deliveries(&self, tx: &mut Tx, page: &PageQuery) -> Result<Page<Delivery>> {
        let limit = page.limit()?;
        let before: Uuid = page.key()?.unwrap_or(Uuid::max());
        let rows: Vec<Row> = query!(tx, c => sqlx::query_as(
            "select id, event, state, attempts, next_at, created_at, updated_at from webhook_deliveries
             where webhook_id = $1 and id < $2 order by id desc limit $3")
            .bind(self.id.uuid()).bind(before).bind(i64::from(limit) + 1).fetch_all(c).await)?;
        Ok(Page::of(rows.into_iter().map(Delivery::from).collect(), limit, |delivery| delivery.id))
    }
}

#[derive(sqlx::FromRow)]
struct Outgoing {
    webhook_id: Uuid,
    body: String,
    tries: i64,
    attempts: Json<Vec<Attempt>>,
    sealed_url: Vec<u8>,
    sealed_secret: Vec<u8>,
    sealed_former_secret: Option<Vec<u8>>,
    former_until: Option<i64>,
    is_wanted: bool,
}

impl Message {
    /// Loads a message for its job; `None` when it is not to be sent (any more).
    pub async fn load(tx: &mut Tx, case: CaseId, id: DeliveryId) -> Result<Option<Self>> {
        let row: Option<Outgoing> = query!(tx, c => sqlx::query_as(
            "select d.webhook_id, d.body, d.tries, d.attempts, w.sealed_url, w.sealed_secret, w.sealed_former_secret, w.former_until,
             w.disabled is null and k.status in ('open', 'pending') as is_wanted
             from webhook_deliveries d join webhooks w on w.id = d.webhook_id join cases k on k.id = d.case_id
             where d.id = $1 and d.case_id = $2 and d.state = 'pending' and k.deleted_at is null")
            .bind(id.uuid()).bind(case.uuid()).fetch_optional(c).await)?;
        let Some(row) = row else { return Ok(None) };
        let (key, webhook) = (tx.case_key(case).await?, WebhookId(row.webhook_id));
        let former = match (row.sealed_former_secret, row.former_until) {
            (Some(sealed), Some(until)) => {
                Some((Secret::open(&key, &place_of_former(webhook), &sealed)?, Timestamp(until)))
            }
            _ => None,
        };
        Ok(Some(Self {
            id,
            url: unseal(&key, &place_of_url(webhook), &row.sealed_url)?,
            body: row.body,
            tries: u32::try_from(row.tries).unwrap_or(0),
            is_wanted: row.is_wanted,
            case,
            webhook,
            attempts: row.attempts.0,
            secret: Secret::open(&key, &place_of_secret(webhook), &row.sealed_secret)?,
            former,
        }))
    }

    /// The `webhook-signature` of an attempt at this time: by the secret, and for a while after a rotation by the former one too.
    pub fn sign(&self, at: Timestamp) -> String {
        let signature = self.secret.sign(&self.id.to_string(), at, &self.body);
        match &self.former {
            Some((former, until)) if at < *until => {
                format!("{signature} {}", former.sign(&self.id.to_string(), at, &self.body))
            }
            _ => signature,
        }
    }

    /// Notes what became of an attempt that began at `at`, and what follows from it; the next attempt is a job of this transaction.
    /// False when another run of the job noted one meanwhile: then there is nothing to commit.
    pub async fn note(
        &self,
        tx: &mut Tx,
        at: Timestamp,
        took: Duration,
        answer: std::result::Result<u16, String>,
        ending: Ending,
    ) -> Result<bool> {
        let (status, error) = answer.map_or_else(|error| (None, Some(error)), |status| (Some(status), None));
        let number = self.attempts.last().map_or(0, |last| last.number).saturating_add(1);
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let mut attempts = self.attempts.clone();
        attempts.push(Attempt { number, at, milliseconds, status, error });
        let attempts = &attempts[attempts.len().saturating_sub(KEPT)..];
        let (state, next_at) = match ending {
            Ending::Delivered => ("delivered", None),
            Ending::Again(delay) => ("pending", Some(tx.shared_now().await?.plus(delay))),
            Ending::Failed { .. } | Ending::Gone => ("failed", None),
        };
        let now = tx.now();
        let moved = change!(tx, c => sqlx::query(
            "update webhook_deliveries set state = $2, tries = tries + 1, attempts = $3, next_at = $4, updated_at = $5
             where id = $1 and state = 'pending' and tries = $6")
            .bind(self.id.uuid()).bind(state).bind(Json(attempts)).bind(next_at.map(|at| at.0)).bind(now.0)
            .bind(i64::from(self.tries)).execute(c).await.map(|r| r.rows_affected()))?;
        if moved == 0 {
            return Ok(false);
        }
        let (case, webhook) = (self.case, self.webhook);
        tx.audit(Audit::WebhookAttempted { case, webhook, delivery: self.id, status }).await?;
        match ending {
            Ending::Delivered => self.forget_failures(tx).await?,
            Ending::Again(_) => tx.enqueue_at(&DeliverWebhook { case, delivery: self.id }, next_at).await?,
            Ending::Failed { disable_after } => {
                if self.count_failure(tx).await? >= i64::from(disable_after) {
                    self.disable(tx, "failing").await?;
                }
            }
            Ending::Gone => self.disable(tx, "gone").await?,
        }
        Ok(true)
    }

    /// Does not send it (any more): nobody wants it, or its job was given up. False when another run was faster: then there is nothing to
    /// commit.
    pub async fn abandon(&self, tx: &mut Tx) -> Result<bool> {
        let now = tx.now();
        let moved = change!(tx, c => sqlx::query(
            "update webhook_deliveries set state = 'dropped', next_at = null, updated_at = $2 where id = $1 and state = 'pending'")
            .bind(self.id.uuid()).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
        if moved == 0 {
            return Ok(false);
        }
        tx.audit(Audit::WebhookDropped { case: self.case, webhook: self.webhook, delivery: self.id }).await?;
        Ok(true)
    }

    async fn forget_failures(&self, tx: &mut Tx) -> Result<()> {
        Ok(change!(tx, c => sqlx::query("update webhooks set failures = 0 where id = $1 and failures <> 0")
            .bind(self.webhook.uuid()).execute(c).await.map(drop))?)
    }

    async fn count_failure(&self, tx: &mut Tx) -> Result<i64> {
        let failures: Option<i64> = change!(tx, c => sqlx::query_scalar(
            "update webhooks set failures = failures + 1 where id = $1 returning failures")
            .bind(self.webhook.uuid()).fetch_optional(c).await)?;
        Ok(failures.unwrap_or(0))
    }

    async fn disable(&self, tx: &mut Tx, why: &'static str) -> Result<()> {
        let now = tx.now();
        let disabled = change!(tx, c => sqlx::query(
            "update webhooks set disabled = $2, updated_at = $3 where id = $1 and disabled is null")
            .bind(self.webhook.uuid()).bind(why).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
        if disabled == 0 {
            return Ok(());
        }
        tx.audit(Audit::WebhookDisabled { case: self.case, webhook: self.webhook, why }).await
    }
}

/// Forgets messages older than `kept` that are not on their way; returns how many. For housekeeping.
pub async fn forget_old(tx: &mut Tx, kept: Duration) -> Result<u64> {
    let before = tx.now().minus(kept);
    Ok(change!(tx, c => sqlx::query("delete from webhook_deliveries where created_at < $1 and state <> 'pending'")
        .bind(before.0).execute(c).await.map(|r| r.rows_affected()))?)
}
