//! Cases: a legal matter, its key and its life. Finding a case is scoped and authorised in one query; a case of somebody
//! else is not found.

use domain::{
    access::{Action, CaseRole, Standing, SystemAction, may, may_somewhere, may_system},
    clock::Timestamp,
    events::{Event, Topic},
    ids::{CaseId, DatabaseId, UserId},
    jobs::PurgeCase,
    page::{Page, PageQuery},
};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    Error, Result, Tx, api_keys,
    audit::Audit,
    db::{change, query},
    leases, standing,
};

/// The statuses a case can have.
pub const STATUSES: [&str; 4] = ["open", "pending", "closed", "archived"];
/// The priorities a case can have.
pub const PRIORITIES: [&str; 4] = ["low", "normal", "high", "urgent"];

/// A legal matter as the actor sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Case {
    /// Its id.
    pub id: CaseId,
    /// Its title.
    pub title: String,
    /// What it is about.
    pub description: String,
    /// One of [`STATUSES`].
    pub status: String,
    /// One of [`PRIORITIES`].
    pub priority: String,
    /// The kind of matter, free text ("litigation", "merger", …).
    pub kind: String,
    /// Who opened it.
    pub owner: UserId,
    /// The actor's role in it as it counts now; `None` for the system, and for who reads it without being a member.
    pub role: Option<CaseRole>,
    /// How the actor stands to it.
    pub standing: Standing,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What a new case is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCase {
    /// 1 to 300 characters.
    pub title: String,
    /// Up to 20,000 characters.
    pub description: String,
    /// One of [`STATUSES`].
    pub status: String,
    /// One of [`PRIORITIES`].
    pub priority: String,
    /// Up to 100 characters.
    pub kind: String,
}

/// Which cases to list.
#[derive(Debug, Clone, Default)]
pub struct CaseFilter {
    /// Only with this status.
    pub status: Option<String>,
    /// Only with this priority.
    pub priority: Option<String>,
    /// Only with this in the title, whatever the case of its letters (ASCII).
    pub title: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    title: String,
    description: String,
    status: String,
    priority: String,
    kind: String,
    owner_id: Uuid,
    #[sqlx(flatten)]
    standing: standing::Row,
    created_at: i64,
    updated_at: i64,
}

impl Row {
    fn open(self, now: Timestamp) -> Case {
        let row = self;
        let standing = Standing::from(row.standing);
        Case {
            id: CaseId(row.id),
            title: row.title,
            description: row.description,
            status: row.status,
            priority: row.priority,
            kind: row.kind,
            owner: UserId(row.owner_id),
            role: standing.role(now),
            standing,
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
        }
    }
}

/// Refuses, with the right face: what the actor may not even see is not found.
pub(crate) fn permit(tx: &Tx, case: CaseId, standing: &Standing, action: Action) -> Result<()> {
    let may = |action| may(tx.actor(), case, standing, tx.now(), action);
    if !may(Action::SeeCase) {
        return Err(Error::NotFound);
    }
    if may(action) { Ok(()) } else { Err(Error::Forbidden) }
}

/// The same for what is decided over access to the case, which administrators do without seeing it.
pub(crate) fn permit_over_access(tx: &Tx, case: CaseId, standing: &Standing, action: Action) -> Result<()> {
    if may(tx.actor(), case, standing, tx.now(), action) { Ok(()) } else { permit(tx, case, standing, action) }
}

/// Refuses a list over cases to a key that may do `action` in none.
pub(crate) fn permit_somewhere(tx: &Tx, action: Action) -> Result<()> {
    if may_somewhere(tx.actor(), action) { Ok(()) } else { Err(Error::Forbidden) }
}

/// The nil UUID when nobody is behind the actor: a member of no case.
pub(crate) fn person(tx: &Tx) -> Uuid {
    tx.actor().user().map_or(Uuid::nil(), UserId::uuid)
}

fn check(case: &NewCase) -> Result<()> {
    if case.title.trim().is_empty() || case.title.chars().count() > 300 {
        return Err(Error::Invalid("title must have 1 to 300 characters"));
    }
    if case.description.chars().count() > 20_000 {
        return Err(Error::Invalid("description must have at most 20000 characters"));
    }
    if case.kind.chars().count() > 100 {
        return Err(Error::Invalid("type must have at most 100 characters"));
    }
    if !STATUSES.contains(&case.status.as_str()) {
        return Err(Error::Invalid("status must be open, pending, closed or archived"));
    }
    if !PRIORITIES.contains(&case.priority.as_str()) {
        return Err(Error::Invalid("priority must be low, normal, high or urgent"));
    }
    Ok(())
}

impl Case {
    /// Finds a case the actor may see, and permits `action` in it; for what is decided over access, administrators find it unseen.
    pub async fn find(tx: &mut Tx, id: CaseId, action: Action) -> Result<Self> {
        let user = person(tx);
        let row: Option<Row> = query!(tx, c => sqlx::query_as(concat!(
            "select c.id, c.title, c.description, c.status, c.priority, c.kind, c.owner_id, c.created_at, c.updated_at, ",
            standing::columns!(), " from cases c ", standing::joins!("c.id", "$2"), "where c.id = $1 and c.deleted_at is null"))
            .bind(id.uuid()).bind(user).fetch_optional(c).await)?;
        let case = row.ok_or(Error::NotFound)?.open(tx.now());
        permit_over_access(tx, case.id, &case.standing, action)?;
        Ok(case)
    }

    /// The actor's cases, newest first.
    pub async fn list(tx: &mut Tx, filter: &CaseFilter, page: &PageQuery) -> Result<Page<Self>> {
        permit_somewhere(tx, Action::SeeCase)?;
        let limit = page.limit()?;
        let before: Uuid = page.key()?.unwrap_or(Uuid::max());
        let user = person(tx);
        let (all, key) = api_keys::reach(tx);
        let title = filter.title.as_deref().unwrap_or("").to_lowercase();
        let pattern = format!("%{}%", title.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"));
        let (now, glass) = (tx.now(), standing::may_break_glass(tx));
        let rows: Vec<Row> = query!(tx, c => sqlx::query_as(concat!(
            "select c.id, c.title, c.description, c.status, c.priority, c.kind, c.owner_id, c.created_at, c.updated_at, ",
            standing::columns!(), " from ", standing::cases_of!("$1"), standing::joins!("c.id", "$1"),
            "where c.deleted_at is null and c.id < $2 and ($3 or c.status = $4) and ($5 or c.priority = $6)
             and lower(c.title) like $7 escape '\\' and ", standing::visible!("$11", "$12"),
            "and ($8 or c.id in (select case_id from api_key_cases where key_id = $9)) order by c.id desc limit $10"))
            .bind(user).bind(before).bind(filter.status.is_none()).bind(filter.status.as_deref().unwrap_or(""))
            .bind(filter.priority.is_none()).bind(filter.priority.as_deref().unwrap_or("")).bind(pattern)
            .bind(all).bind(key).bind(i64::from(limit) + 1).bind(now.0).bind(glass).fetch_all(c).await)?;
        Ok(Page::of(rows.into_iter().map(|row| row.open(now)).collect(), limit, |case| case.id))
    }

    /// Opens a case with its own key; the actor becomes its owner and manager.
    pub async fn create(tx: &mut Tx, new: &NewCase) -> Result<Self> {
        if !may_system(tx.actor(), SystemAction::CreateCase) {
            return Err(Error::Forbidden);
        }
        check(new)?;
        let owner = tx.actor().user().ok_or(Error::Forbidden)?;
        let (id, now) = (CaseId::new(), tx.now());
        let (_, wrapped) = tx.storage().vault.new_case_key(id)?;
        change!(tx, c => sqlx::query(
            "insert into cases (id, title, description, status, priority, kind, owner_id, created_at, updated_at)
             values ($1,$2,$3,$4,$5,$6,$7,$8,$8)")
            .bind(id.uuid()).bind(&new.title).bind(&new.description).bind(&new.status).bind(&new.priority).bind(&new.kind)
            .bind(owner.uuid()).bind(now.0).execute(c).await.map(drop))?;
        change!(tx, c => sqlx::query("insert into case_keys (case_id, version, wrapped, created_at) values ($1, $2, $3, $4)")
            .bind(id.uuid()).bind(1_i64).bind(wrapped).bind(now.0).execute(c).await.map(drop))?;
        change!(tx, c => sqlx::query("insert into case_members (case_id, user_id, role, created_at) values ($1, $2, $3, $4)")
            .bind(id.uuid()).bind(owner.uuid()).bind(CaseRole::Manager.name()).bind(now.0).execute(c).await.map(drop))?;
        tx.audit(Audit::CaseCreated { case: id }).await?;
        Self::find(tx, id, Action::SeeCase).await
    }

    /// Replaces the fields of a case found with [`Action::EditCase`].
    pub async fn update(&self, tx: &mut Tx, new: &NewCase) -> Result<Self> {
        permit(tx, self.id, &self.standing, Action::EditCase)?;
        check(new)?;
        let now = tx.now();
        change!(tx, c => sqlx::query(
            "update cases set title = $2, description = $3, status = $4, priority = $5, kind = $6, updated_at = $7 where id = $1")
            .bind(self.id.uuid()).bind(&new.title).bind(&new.description).bind(&new.status).bind(&new.priority).bind(&new.kind)
            .bind(now.0).execute(c).await.map(drop))?;
        let fields = [
            ("title", self.title != new.title),
            ("description", self.description != new.description),
            ("status", self.status != new.status),
            ("priority", self.priority != new.priority),
            ("type", self.kind != new.kind),
        ];
        let fields = fields.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect();
        tx.audit(Audit::CaseUpdated { case: self.id, fields }).await?;
        Self::find(tx, self.id, Action::SeeCase).await
    }

    /// Deletes a case: it is gone for everybody with this commit; its key, bytes and rows go with the purge job.
    pub async fn delete(&self, tx: &mut Tx) -> Result<()> {
        permit(tx, self.id, &self.standing, Action::DeleteCase)?;
        let now = tx.now();
        change!(tx, c => sqlx::query("update cases set deleted_at = $2, updated_at = $2 where id = $1")
            .bind(self.id.uuid()).bind(now.0).execute(c).await.map(drop))?;
        change!(tx, c => sqlx::query(
            "update jobs set state = 'cancelled', finished_at = $2, lease_until = null where lane = $1 and state in ('ready', 'running')")
            .bind(self.id.uuid()).bind(now.0).execute(c).await.map(drop))?;
        tx.audit(Audit::CaseDeleted { case: self.id }).await?;
        tx.publish(Topic::Access(self.id), Event::AccessChanged);
        tx.enqueue(&PurgeCase { case: self.id }).await
    }
}

/// True once the case was deleted: only then may anything of it be purged.
pub async fn is_deleted(tx: &mut Tx, case: CaseId) -> Result<bool> {
    Ok(query!(tx, c => sqlx::query_scalar(
        "select exists (select 1 from cases where id = $1 and deleted_at is not null)")
        .bind(case.uuid()).fetch_one(c).await)?)
}

/// Destroys the key of a deleted case: nothing sealed under it opens ever again. `false` when it was gone already.
pub async fn destroy_key(tx: &mut Tx, case: CaseId) -> Result<bool> {
    let destroyed = change!(tx, c => sqlx::query(
        "delete from case_keys where case_id = $1 and exists (select 1 from cases where id = $1 and deleted_at is not null)")
        .bind(case.uuid()).execute(c).await.map(|r| r.rows_affected()))?;
    tx.forget_case_key();
    Ok(destroyed > 0)
}

/// Removes the rows of a deleted case, children first; the case's own row stays as the record that it existed, without
/// its title and description. `false` when there was nothing left to remove.
pub async fn purge_rows(tx: &mut Tx, case: CaseId) -> Result<bool> {
    let mut removed = forget_leases(tx, case).await?;
    for statement in [
        "delete from context_items where case_id = $1",
        "delete from messages where case_id = $1",
        "delete from conversations where case_id = $1",
        "delete from items where case_id = $1",
        "delete from load_files where case_id = $1",
        "delete from upload_parts where case_id = $1",
        "delete from uploads where case_id = $1",
        "delete from contents where document_id in (select id from documents where case_id = $1)",
        "delete from threads where case_id = $1",
        "delete from relations where case_id = $1",
        "delete from readings where case_id = $1",
        "delete from versions where case_id = $1",
        "update documents set parent_id = null where case_id = $1",
        "delete from documents where case_id = $1",
        "delete from passwords where case_id = $1",
        "delete from webhook_deliveries where case_id = $1",
        "delete from webhooks where case_id = $1",
        "delete from batches where case_id = $1",
        "delete from generations where case_id = $1",
        "delete from databases where case_id = $1",
        "delete from blobs where case_id = $1",
        "delete from case_members where case_id = $1",
        "delete from case_walls where case_id = $1",
        "delete from break_glass where case_id = $1",
        "delete from api_key_cases where case_id = $1",
        "delete from jobs where lane = $1 and state = 'dead'",
        "update cases set title = '', description = '' where id = $1 and deleted_at is not null and title <> ''",
    ] {
        removed +=
            change!(tx, c => sqlx::query(statement).bind(case.uuid()).execute(c).await.map(|r| r.rows_affected()))?;
    }
    if removed == 0 {
        return Ok(false);
    }
    tx.audit(Audit::CasePurged { case }).await?;
    Ok(true)
}

/// Forgets who wrote the indexes of a deleted case. Whoever still believes to be writing one can publish nothing without
/// the row.
async fn forget_leases(tx: &mut Tx, case: CaseId) -> Result<u64> {
    let databases: Vec<Uuid> = query!(tx, c => sqlx::query_scalar("select id from databases where case_id = $1")
        .bind(case.uuid()).fetch_all(c).await)?;
    let mut forgotten = 0;
    for database in databases {
        let name = leases::of_index(DatabaseId(database));
        forgotten += change!(tx, c => sqlx::query("delete from leases where name = $1").bind(name).execute(c).await
            .map(|r| r.rows_affected()))?;
    }
    Ok(forgotten)
}
