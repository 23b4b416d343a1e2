//! Batches: one delivery of files, the unit that is reconciled and can be cancelled.

mod settled;

use domain::{
    access::Action,
    clock::Timestamp,
    events::{Counts, Event, Topic},
    ids::{BatchId, CaseId, DatabaseId, UserId},
    page::{Page, PageQuery},
    webhooks::EventType,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::{
    Error, Result, Tx,
    audit::Audit,
    databases::{Database, add, exception_counts},
    db::{change, query},
    documents, items,
    jobs::cancel_for_batch,
    tx::{seal, unseal},
    vault::Place,
    webhooks,
};

pub(crate) use settled::stir;
pub use settled::{at_rest, settle};

/// A delivery as the actor sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Batch {
    /// Its id.
    pub id: BatchId,
    /// Its case.
    pub case_id: CaseId,
    /// Its database.
    pub database_id: DatabaseId,
    /// How it came: `upload` or `import`.
    pub source: String,
    /// `open`, `sealed` or `cancelled`.
    pub state: String,
    /// What the one who delivered it said about it.
    pub details: BatchDetails,
    /// Who delivered it.
    pub created_by: Option<UserId>,
    /// When nothing of it was on its way any more, once it is sealed.
    pub settled_at: Option<Timestamp>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// The sealed part of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BatchDetails {
    /// A name for people.
    pub name: String,
    /// The custodian of everything in it that does not name its own.
    pub custodian: Option<String>,
    /// Labels of everything in it.
    #[serde(default)]
    pub labels: Vec<String>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    case_id: Uuid,
    database_id: Uuid,
    source: String,
    state: String,
    sealed_details: Vec<u8>,
    created_by: Option<Uuid>,
    settled_at: Option<i64>,
    created_at: i64,
    updated_at: i64,
}

/// The columns of a [`Row`], by name: a plan of `select *` breaks when a newer version adds one.
macro_rules! columns {
    () => {
        "id, case_id, database_id, source, state, sealed_details, created_by, settled_at, created_at, updated_at"
    };
}

fn place(id: BatchId) -> Place {
    Place::new("batches", "sealed_details", id)
}

async fn open_row(tx: &mut Tx, row: Row) -> Result<Batch> {
    let key = tx.case_key(CaseId(row.case_id)).await?;
    Ok(Batch {
        id: BatchId(row.id),
        case_id: CaseId(row.case_id),
        database_id: DatabaseId(row.database_id),
        source: row.source,
        state: row.state,
        details: unseal(&key, &place(BatchId(row.id)), &row.sealed_details)?,
        created_by: row.created_by.map(UserId),
        settled_at: row.settled_at.map(Timestamp),
        created_at: Timestamp(row.created_at),
        updated_at: Timestamp(row.updated_at),
    })
}

impl Batch {
    /// Opens a batch in a database found with [`Action::Upload`].
    pub async fn open(tx: &mut Tx, database: &Database, source: &str, details: &BatchDetails) -> Result<Self> {
        crate::cases::permit(tx, database.case_id, &database.standing, Action::Upload)?;
        if details.name.chars().count() > 300 || details.labels.len() > 50 {
            return Err(Error::Invalid("a batch name has at most 300 characters and a batch at most 50 labels"));
        }
        let (id, now, by) = (BatchId::new(), tx.now(), tx.actor().user());
        let key = tx.case_key(database.case_id).await?;
        let sealed = seal(&key, &place(id), details)?;
        change!(tx, c => sqlx::query(
            "insert into batches (id, case_id, database_id, source, state, sealed_details, created_by, created_at, updated_at)
             values ($1,$2,$3,$4,'open',$5,$6,$7,$7)")
            .bind(id.uuid()).bind(database.case_id.uuid()).bind(database.id.uuid()).bind(source).bind(sealed)
            .bind(by.map(UserId::uuid)).bind(now.0).execute(c).await.map(drop))?;
        tx.audit(Audit::BatchOpened { case: database.case_id, batch: id }).await?;
        Self::find(tx, database, id).await
    }

    /// Finds a batch under its database.
    pub async fn find(tx: &mut Tx, database: &Database, id: BatchId) -> Result<Self> {
        let row: Option<Row> = query!(tx, c =>
            sqlx::query_as(concat!("select ", columns!(), " from batches where id = $1 and database_id = $2"))
            .bind(id.uuid()).bind(database.id.uuid()).fetch_optional(c).await)?;
        open_row(tx, row.ok_or(Error::NotFound)?).await
    }

    /// Loads a batch for a job of its case.
    pub async fn load(tx: &mut Tx, case: CaseId, id: BatchId) -> Result<Self> {
        let row: Option<Row> = query!(tx, c =>
            sqlx::query_as(concat!("select ", columns!(), " from batches where id = $1 and case_id = $2"))
            .bind(id.uuid()).bind(case.uuid()).fetch_optional(c).await)?;
        open_row(tx, row.ok_or(Error::NotFound)?).await
    }

    /// A database's batches, newest first.
    pub async fn list(tx: &mut Tx, database: &Database, page: &PageQuery) -> Result<Page<Self>> {
        let limit = page.limit()?;
        let before: Uuid = page.key()?.unwrap_or(Uuid::max());
        let rows: Vec<Row> = query!(tx, c => sqlx::query_as(
            concat!("select ", columns!(), " from batches where database_id = $1 and id < $2 \
                order by id desc limit $3"))
            .bind(database.id.uuid()).bind(before).bind(i64::from(limit) + 1).fetch_all(c).await)?;
        let mut batches = Vec::with_capacity(rows.len());
        for row in rows {
            batches.push(open_row(tx, row).await?);
        }
        Ok(Page::of(batches, limit, |batch| batch.id))
    }

    /// The batch's equation.
    pub async fn counts(&self, tx: &mut Tx) -> Result<Counts> {
        let rows: Vec<(String, i64, i64)> = query!(tx, c => sqlx::query_as(
            "select state, count(*), cast(sum(case when parent_id is null then 1 else 0 end) as bigint) from documents
             where batch_id = $1 and deleted_at is null group by state")
            .bind(self.id.uuid()).fetch_all(c).await)?;
        let mut counts = Counts::default();
        for (state, count, top) in rows {
            add(&mut counts, &state, u64::try_from(count).unwrap_or(0), u64::try_from(top).unwrap_or(0));
        }
        counts.exceptions = exception_counts(tx, self.database_id, Some(self.id)).await?;
        Ok(counts)
    }

    /// Declares the delivery complete: no more files are taken, and what was announced and has not come is missing.
    pub async fn seal(&self, tx: &mut Tx) -> Result<()> {
        if self.state == "sealed" {
            return Ok(());
        }
        if self.state != "open" {
            return Err(Error::Conflict("the batch was cancelled"));
        }
        if !self.set_state(tx, "sealed").await? {
            return Ok(());
        }
        webhooks::announce(tx, self.case_id, EventType::BatchSealed, &self.ids()).await?;
        tx.audit(Audit::BatchSealed { case: self.case_id, batch: self.id }).await
    }

    /// Stops a batch: waiting and running jobs are cancelled, what was not finished ends as excluded. What is indexed
    /// stays.
    pub async fn cancel(&self, tx: &mut Tx) -> Result<u64> {
        let is_news = self.set_state(tx, "cancelled").await?;
        cancel_for_batch(tx, self.id).await?;
        items::forget(tx, self.id).await?;
        let excluded = documents::exclude_unfinished(tx, self).await?;
        if is_news {
            let mut data = self.ids();
            data["excluded"] = excluded.into();
            webhooks::announce(tx, self.case_id, EventType::BatchCancelled, &data).await?;
        }
        tx.audit(Audit::BatchCancelled { case: self.case_id, batch: self.id, excluded }).await?;
        tx.publish(Topic::Database(self.database_id), Event::DatabaseChanged { database: self.database_id });
        Ok(excluded)
    }

    /// Whether the batch takes files now, and so until this transaction ends: a cancellation waits for it.
    pub(crate) async fn takes_files(&self, tx: &mut Tx) -> Result<bool> {
        let sql = if tx.is_postgres() {
            "select state from batches where id = $1 for no key update"
        } else {
            "select state from batches where id = $1"
        };
        let state: Option<String> =
            query!(tx, c => sqlx::query_scalar(sql).bind(self.id.uuid()).fetch_optional(c).await)?;
        Ok(state.as_deref() == Some("open"))
    }

    /// False when it has that state already.
    async fn set_state(&self, tx: &mut Tx, state: &str) -> Result<bool> {
        let now = tx.now();
        let moved = change!(tx, c => sqlx::query(
            "update batches set state = $2, settled_at = null, updated_at = $3 where id = $1 and state <> $2")
            .bind(self.id.uuid()).bind(state).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
        Ok(moved == 1)
    }

    /// What names it to a webhook.
    fn ids(&self) -> serde_json::Value {
        json!({ "case_id": self.case_id, "database_id": self.database_id, "batch_id": self.id })
    }
}
