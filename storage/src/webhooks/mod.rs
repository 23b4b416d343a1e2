//! Webhooks: where programs are told what happens in a case. A webhook belongs to the case, not to whoever made it. Its URL, which may
//! hold a token, and its secret stand sealed; messages hold ids and counts only.

mod deliveries;
mod secret;

use std::time::Duration;

use domain::{
    access::Action,
    clock::Timestamp,
    ids::{CaseId, UserId, WebhookId},
    page::{Page, PageQuery},
    webhooks::{EVERYTHING, EventType},
};
use sqlx::types::Json;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    Error, Result, Tx,
    audit::Audit,
    cases::{Case, permit},
    db::{change, query},
    tx::{seal, unseal},
    vault::{CaseKey, Place},
};

pub(crate) use deliveries::announce;
pub use deliveries::{Attempt, Delivery, Ending, Message, forget_old};

pub use secret::Secret;

/// Most webhooks of one case.
const MOST: i64 = 20;
/// How long the former secret signs beside the new one after a rotation.
pub const OVERLAP: Duration = Duration::from_hours(24);

/// A webhook without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Its case.
    pub case: CaseId,
    /// Where messages are sent.
    pub url: String,
    /// Names of the events it is told of; `*` for all.
    pub events: Vec<String>,
    /// Why it is told nothing: `person`, `gone` or `failing`.
    pub disabled: Option<String>,
    /// Messages in a row that could not be delivered.
    pub failures: u64,
    /// Until when the former secret signs too.
    pub former_until: Option<Timestamp>,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// When.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What to change of a webhook.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookChange {
    /// Another URL, which the caller found to be one that may be named.
    pub url: Option<String>,
    /// Other events.
    pub events: Option<Vec<String>>,
    /// Whether it is told anything; true also forgets its failures.
    pub is_enabled: Option<bool>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    case_id: Uuid,
    sealed_url: Vec<u8>,
    events: Json<Vec<String>>,
    former_until: Option<i64>,
    disabled: Option<String>,
    failures: i64,
    created_by: Option<Uuid>,
    created_at: i64,
    updated_at: i64,
}

/// Selects webhooks in the order of [`Row`], from the `where` on.
macro_rules! select {
    ($tail:literal) => {
        concat!(
            "select id, case_id, sealed_url, events, former_until, disabled, failures, created_by, created_at, updated_at from webhooks ",
            $tail
        )
    };
}

fn place_of_url(id: WebhookId) -> Place {
    Place::new("webhooks", "sealed_url", id)
}

fn place_of_secret(id: WebhookId) -> Place {
    Place::new("webhooks", "sealed_secret", id)
}

fn place_of_former(id: WebhookId) -> Place {
    Place::new("webhooks", "sealed_former_secret", id)
}

impl Row {
    fn open(self, key: &CaseKey) -> Result<Webhook> {
        let id = WebhookId(self.id);
        Ok(Webhook {
            id,
            case: CaseId(self.case_id),
            url: unseal(key, &place_of_url(id), &self.sealed_url)?,
            events: self.events.0,
            disabled: self.disabled,
            failures: u64::try_from(self.failures).unwrap_or(0),
            former_until: self.former_until.map(Timestamp),
            created_by: self.created_by.map(UserId),
            created_at: Timestamp(self.created_at),
            updated_at: Timestamp(self.updated_at),
        })
    }
}

fn check(events: &[String]) -> Result<()> {
    let known = |name: &String| name == EVERYTHING || EventType::ALL.iter().any(|event| event.name() == name);
    if (1..=EventType::ALL.len()).contains(&events.len()) && events.iter().all(known) {
        return Ok(());
    }
    Err(Error::Invalid(
        "events must be some of batch.sealed, batch.settled, batch.cancelled, load_file.read, load_file.failed, case.break_glass, or * for all",
    ))
}

impl Case {
    /// Gives a case found with [`Action::ManageWebhooks`] a webhook. `url` is one that the caller found may be named. The secret's text is
    /// shown this once.
    pub async fn create_webhook(
        &self,
        tx: &mut Tx,
        url: &str,
        events: &[String],
    ) -> Result<(Webhook, Zeroizing<String>)> {
        permit(tx, self.id, &self.standing, Action::ManageWebhooks)?;
        check(events)?;
        let there: i64 = query!(tx, c => sqlx::query_scalar("select count(*) from webhooks where case_id = $1")
            .bind(self.id.uuid()).fetch_one(c).await)?;
        if there >= MOST {
            return Err(Error::Conflict("the case has 20 webhooks already; remove one"));
        }
        let (id, now, by, secret) = (WebhookId::new(), tx.now(), tx.actor().user(), Secret::fresh()?);
        let key = tx.case_key(self.id).await?;
        let sealed_url = seal(&key, &place_of_url(id), &url)?;
        let sealed_secret = secret.seal(&key, &place_of_secret(id))?;
        change!(tx, c => sqlx::query(
            "insert into webhooks (id, case_id, sealed_url, events, sealed_secret, created_by, created_at, updated_at)
             values ($1,$2,$3,$4,$5,$6,$7,$7)")
            .bind(id.uuid()).bind(self.id.uuid()).bind(sealed_url).bind(Json(events)).bind(sealed_secret)
            .bind(by.map(UserId::uuid)).bind(now.0).execute(c).await.map(drop))?;
        tx.audit(Audit::WebhookCreated { case: self.id, webhook: id, events: events.to_vec() }).await?;
        Ok((self.webhook(tx, id).await?, secret.text()))
    }

    /// One webhook of a case found with [`Action::ManageWebhooks`].
    pub async fn webhook(&self, tx: &mut Tx, id: WebhookId) -> Result<Webhook> {
        permit(tx, self.id, &self.standing, Action::ManageWebhooks)?;
        let row: Option<Row> = query!(tx, c => sqlx::query_as(select!("where id = $1 and case_id = $2"))
            .bind(id.uuid()).bind(self.id.uuid()).fetch_optional(c).await)?;
        let row = row.ok_or(Error::NotFound)?;
        row.open(&tx.case_key(self.id).await?)
    }

    /// The webhooks of a case found with [`Action::ManageWebhooks`], oldest first.
    pub async fn webhooks(&self, tx: &mut Tx, page: &PageQuery) -> Result<Page<Webhook>> {
        permit(tx, self.id, &self.standing, Action::ManageWebhooks)?;
        let limit = page.limit()?;
        let after: Uuid = page.key()?.unwrap_or(Uuid::nil());
        let rows: Vec<Row> = query!(tx, c => sqlx::query_as(select!("where case_id = $1 and id > $2 order by id limit $3"))
            .bind(self.id.uuid()).bind(after).bind(i64::from(limit) + 1).fetch_all(c).await)?;
        let key = tx.case_key(self.id).await?;
        let webhooks: Result<Vec<Webhook>> = rows.into_iter().map(|row| row.open(&key)).collect();
        Ok(Page::of(webhooks?, limit, |webhook| webhook.id))
    }
}

impl Webhook {
    /// Changes it. What was not delivered yet goes to the new URL.
    pub async fn update(&self, tx: &mut Tx, change: &WebhookChange) -> Result<()> {
        let url = change.url.as_ref().unwrap_or(&self.url);
        let events = change.events.as_ref().unwrap_or(&self.events);
        check(events)?;
        let disabled = (change.is_enabled == Some(false)).then_some("person");
        let (key, now) = (tx.case_key(self.case).await?, tx.now());
        let sealed_url = seal(&key, &place_of_url(self.id), url)?;
        let updated = change!(tx, c => sqlx::query(
            "update webhooks set sealed_url = $2, events = $3, disabled = case when $4 then $5 else disabled end,
             failures = case when $6 then 0 else failures end, updated_at = $7 where id = $1")
            .bind(self.id.uuid()).bind(sealed_url).bind(Json(events)).bind(change.is_enabled.is_some()).bind(disabled)
            .bind(change.is_enabled == Some(true)).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
        if updated == 0 {
            return Err(Error::NotFound);
        }
        let fields = [
            ("url", *url != self.url),
            ("events", *events != self.events),
            ("enabled", change.is_enabled.is_some_and(|enabled| enabled != self.disabled.is_none())),
        ];
        let fields = fields.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect();
        tx.audit(Audit::WebhookUpdated { case: self.case, webhook: self.id, fields }).await
    }

    /// Gives it a new secret, whose text is shown this once; the former one signs too for [`OVERLAP`], and the one before that no more.
    pub async fn rotate(&self, tx: &mut Tx) -> Result<Zeroizing<String>> {
        let (key, now, secret) = (tx.case_key(self.case).await?, tx.now(), Secret::fresh()?);
        let sealed: Option<Vec<u8>> = query!(tx, c => sqlx::query_scalar("select sealed_secret from webhooks where id = $1")
            .bind(self.id.uuid()).fetch_optional(c).await)?;
        let former = Secret::open(&key, &place_of_secret(self.id), &sealed.ok_or(Error::NotFound)?)?;
        let (sealed, sealed_former) =
            (secret.seal(&key, &place_of_secret(self.id))?, former.seal(&key, &place_of_former(self.id))?);
        change!(tx, c => sqlx::query(
            "update webhooks set sealed_secret = $2, sealed_former_secret = $3, former_until = $4, updated_at = $5 where id = $1")
            .bind(self.id.uuid()).bind(sealed).bind(sealed_former).bind(now.plus(OVERLAP).0).bind(now.0)
            .execute(c).await.map(drop))?;
        tx.audit(Audit::WebhookRotated { case: self.case, webhook: self.id }).await?;
        Ok(secret.text())
    }

    /// Removes it with its log; what was not delivered never is.
    pub async fn remove(&self, tx: &mut Tx) -> Result<()> {
        if tx.is_postgres() {
            // Whoever writes a message to it is waited for.
            let _: Option<Uuid> = query!(tx, c => sqlx::query_scalar("select id from webhooks where id = $1 for update")
                .bind(self.id.uuid()).fetch_optional(c).await)?;
        }
        for statement in ["delete from webhook_deliveries where webhook_id = $1", "delete from webhooks where id = $1"]
        {
            change!(tx, c => sqlx::query(statement).bind(self.id.uuid()).execute(c).await.map(drop))?;
        }
        tx.audit(Audit::WebhookRemoved { case: self.case, webhook: self.id }).await
    }

    /// Refuses what a webhook that is told nothing is asked for.
    fn must_be_enabled(&self) -> Result<()> {
        if self.disabled.is_none() { Ok(()) } else { Err(Error::Conflict("the webhook is disabled; enable it first")) }
    }
}
