//! Databases: a set of documents inside a case with its own index. Status is counted from the documents' rows, so the
//! equation cannot drift from the truth.

use std::collections::BTreeMap;

use domain::{
    access::{Action, Standing},
    clock::Timestamp,
    events::{BatchCounts, Counts, DatabaseStatus},
    ids::{BatchId, CaseId, DatabaseId},
    jobs::ReindexDatabase,
    outcome::DocumentState,
    page::{Page, PageQuery},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Error, Result, Tx, api_keys,
    audit::Audit,
    cases::{Case, permit, permit_somewhere, person},
    db::{change, query},
    standing,
};

/// How far the search for copies of a document goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deduplication {
    /// Copies within the database are suppressed.
    #[default]
    Database,
    /// Copies of documents in any database of the case that searches so are suppressed.
    Case,
    /// Every document is indexed, copies too.
    None,
}

impl Deduplication {
    /// The name in rows and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Case => "case",
            Self::None => "none",
        }
    }

    /// The choice of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Database, Self::Case, Self::None].into_iter().find(|choice| choice.name() == name)
    }
}

/// A database as the actor sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Database {
    /// Its id.
    pub id: DatabaseId,
    /// Its case.
    pub case_id: CaseId,
    /// Its name.
    pub name: String,
    /// What it holds.
    pub description: String,
    /// How far copies are looked for.
    pub deduplication: Deduplication,
    /// Number of the published index generation; 0 before the first.
    pub generation: u64,
    /// How the actor stands to its case.
    pub standing: Standing,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What a database holds. Counting reads as many index entries as there are documents, so only who shows it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Holdings {
    /// Documents in it, deleted ones excepted.
    pub file_count: u64,
    /// `empty`, `processing` or `ready`.
    pub status: &'static str,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    case_id: Uuid,
    name: String,
    description: String,
    deduplication: String,
    generation: i64,
    #[sqlx(flatten)]
    standing: standing::Row,
    created_at: i64,
    updated_at: i64,
}

impl From<Row> for Database {
    fn from(row: Row) -> Self {
        Self {
            id: DatabaseId(row.id),
            case_id: CaseId(row.case_id),
            name: row.name,
            description: row.description,
            deduplication: Deduplication::parse(&row.deduplication).unwrap_or_default(),
            generation: unsigned(row.generation),
            standing: row.standing.into(),
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
        }
    }
}

impl Holdings {
    fn new(count: i64, busy: bool) -> Self {
        Self { file_count: unsigned(count), status: status(count > 0, busy) }
    }
}

/// The columns of [`Row`].
macro_rules! select {
    () => {
        concat!(
            "select d.id, d.case_id, d.name, d.description, d.deduplication, d.generation, d.created_at, d.updated_at, ",
            standing::columns!()
        )
    };
}

fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// One word for where a database stands.
fn status(any: bool, busy: bool) -> &'static str {
    match (any, busy) {
        (false, _) => "empty",
        (true, true) => "processing",
        (true, false) => "ready",
    }
}

fn check(name: &str, description: &str) -> Result<()> {
    if name.trim().is_empty() || name.chars().count() > 300 {
        return Err(Error::Invalid("name must have 1 to 300 characters"));
    }
    if description.chars().count() > 20_000 {
        return Err(Error::Invalid("description must have at most 20000 characters"));
    }
    Ok(())
}

impl Database {
    /// Finds a database in a case the actor may see, and permits `action` in it.
    pub async fn find(tx: &mut Tx, id: DatabaseId, action: Action) -> Result<Self> {
        let user = person(tx);
        let row: Option<Row> = query!(tx, c => sqlx::query_as(concat!(
            select!(), " from databases d join cases c on c.id = d.case_id ", standing::joins!("c.id", "$2"),
            "where d.id = $1 and c.deleted_at is null"))
            .bind(id.uuid()).bind(user).fetch_optional(c).await)?;
        let database = Self::from(row.ok_or(Error::NotFound)?);
        permit(tx, database.case_id, &database.standing, action)?;
        Ok(database)
    }

    /// What it holds now.
    pub async fn holdings(&self, tx: &mut Tx) -> Result<Holdings> {
        permit(tx, self.case_id, &self.standing, Action::SeeCase)?;
        let (count, busy): (i64, bool) = query!(tx, c => sqlx::query_as(
            "select (select count(*) from documents where database_id = $1 and deleted_at is null),
             exists (select 1 from documents where database_id = $1 and deleted_at is null
               and state in ('received', 'ingested', 'extracted'))")
            .bind(self.id.uuid()).fetch_one(c).await)?;
        Ok(Holdings::new(count, busy))
    }

    /// The databases of the actor's cases, newest first; of one case when `case` is given.
    pub async fn list(tx: &mut Tx, case: Option<CaseId>, page: &PageQuery) -> Result<Page<Self>> {
        permit_somewhere(tx, Action::SeeCase)?;
        let limit = page.limit()?;
        let before: Uuid = page.key()?.unwrap_or(Uuid::max());
        let user = person(tx);
        let (all, key) = api_keys::reach(tx);
        let (now, glass) = (tx.now(), standing::may_break_glass(tx));
        let rows: Vec<Row> = query!(tx, c => sqlx::query_as(concat!(
            select!(), " from ", standing::cases_of!("$1"), " join databases d on d.case_id = c.id ",
            standing::joins!("c.id", "$1"), "where c.deleted_at is null and d.id < $2 and ($3 or d.case_id = $4) and ",
            standing::visible!("$8", "$9"),
            "and ($5 or d.case_id in (select case_id from api_key_cases where key_id = $6)) order by d.id desc limit $7"))
            .bind(user).bind(before).bind(case.is_none()).bind(case.map_or(Uuid::nil(), CaseId::uuid))
            .bind(all).bind(key).bind(i64::from(limit) + 1).bind(now.0).bind(glass).fetch_all(c).await)?;
        Ok(Page::of(rows.into_iter().map(Self::from).collect(), limit, |database| database.id))
    }

    /// Creates a database in `case`. How it deduplicates is chosen once: documents that came before would not follow.
    pub async fn create(
        tx: &mut Tx,
        case: &Case,
        name: &str,
        description: &str,
        deduplication: Deduplication,
    ) -> Result<Self> {
        permit(tx, case.id, &case.standing, Action::ManageDatabase)?;
        check(name, description)?;
        let (id, now) = (DatabaseId::new(), tx.now());
        change!(tx, c => sqlx::query(
            "insert into databases (id, case_id, name, description, deduplication, created_at, updated_at)
             values ($1,$2,$3,$4,$5,$6,$6)")
            .bind(id.uuid()).bind(case.id.uuid()).bind(name).bind(description).bind(deduplication.name()).bind(now.0).execute(c).await.map(drop))?;
        tx.audit(Audit::DatabaseCreated { case: case.id, database: id }).await?;
        Self::find(tx, id, Action::SeeCase).await
    }

    /// Renames a database.
    pub async fn update(&self, tx: &mut Tx, name: &str, description: &str) -> Result<Self> {
        permit(tx, self.case_id, &self.standing, Action::ManageDatabase)?;
        check(name, description)?;
        let now = tx.now();
        change!(tx, c => sqlx::query("update databases set name = $2, description = $3, updated_at = $4 where id = $1")
            .bind(self.id.uuid()).bind(name).bind(description).bind(now.0).execute(c).await.map(drop))?;
        let fields = [("name", self.name != name), ("description", self.description != description)];
        let fields = fields.into_iter().filter(|(_, changed)| *changed).map(|(field, _)| field).collect();
        tx.audit(Audit::DatabaseUpdated { case: self.case_id, database: self.id, fields }).await?;
        Self::find(tx, self.id, Action::SeeCase).await
    }

    /// Asks for a rebuild of the index beside the live one.
    pub async fn reindex(&self, tx: &mut Tx) -> Result<()> {
        permit(tx, self.case_id, &self.standing, Action::ManageDatabase)?;
        tx.audit(Audit::ReindexRequested { case: self.case_id, database: self.id }).await?;
        tx.enqueue(&ReindexDatabase { case: self.case_id, database: self.id }).await
    }

    /// The equation of the whole database and of each open batch.
    pub async fn status(&self, tx: &mut Tx) -> Result<DatabaseStatus> {
        let rows: Vec<(Uuid, String, String, i64, i64)> = query!(tx, c => sqlx::query_as(
            "select d.batch_id, d.state, b.state, count(*), cast(sum(case when d.parent_id is null then 1 else 0 end) as bigint)
             from documents d join batches b on b.id = d.batch_id where d.database_id = $1 and d.deleted_at is null
             group by d.batch_id, d.state, b.state")
            .bind(self.id.uuid()).fetch_all(c).await)?;
        let mut total = Counts::default();
        let mut batches: BTreeMap<Uuid, (Counts, bool)> = BTreeMap::new();
        for (batch, state, batch_state, count, top) in rows {
            let (counts, open) = batches.entry(batch).or_default();
            *open = batch_state == "open";
            for counts in [counts, &mut total] {
                add(counts, &state, unsigned(count), unsigned(top));
            }
        }
        total.exceptions = exception_counts(tx, self.id, None).await?;
        let published: Option<i64> = query!(tx, c => sqlx::query_scalar(
            "select created_at from generations where database_id = $1 and number = $2")
            .bind(self.id.uuid()).bind(i64::try_from(self.generation).unwrap_or(0)).fetch_optional(c).await)?;
        Ok(DatabaseStatus {
            database: self.id,
            status: status(total.received + total.unpacked > 0, total.in_flight > 0).to_owned(),
            counts: total,
            generation: self.generation,
            published_at: published.map(Timestamp),
            batches: batches
                .into_iter()
                .filter(|(_, (counts, open))| *open || counts.in_flight > 0)
                .map(|(batch, (counts, _))| BatchCounts { batch: BatchId(batch), counts })
                .collect(),
        })
    }
}

/// Adds `count` documents in `state`, `top` of which were delivered and the rest unpacked.
pub(crate) fn add(counts: &mut Counts, state: &str, count: u64, top: u64) {
    counts.received += top;
    counts.unpacked += count - top;
    match DocumentState::parse(state) {
        Some(DocumentState::Indexed) => counts.indexed += count,
        Some(DocumentState::Duplicate) => counts.duplicate += count,
        Some(DocumentState::Excluded) => counts.excluded += count,
        Some(DocumentState::Exception) => counts.exception += count,
        _ => counts.in_flight += count,
    }
}

/// Exceptions by category, of a database or of one of its batches.
pub(crate) async fn exception_counts(
    tx: &mut Tx,
    database: DatabaseId,
    batch: Option<BatchId>,
) -> Result<BTreeMap<String, u64>> {
    let rows: Vec<(Option<String>, i64)> = query!(tx, c => sqlx::query_as(
        "select exception, count(*) from documents where database_id = $1 and state = 'exception' and deleted_at is null
         and ($2 or batch_id = $3) group by exception")
        .bind(database.uuid()).bind(batch.is_none()).bind(batch.map_or(Uuid::nil(), BatchId::uuid)).fetch_all(c).await)?;
    Ok(rows.into_iter().map(|(category, n)| (category.unwrap_or_default(), unsigned(n))).collect())
}
