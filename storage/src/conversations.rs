//! Conversations: a person's questions inside one case. A conversation belongs to who began it, and to nobody else; it is
//! found only while that person may chat in its case.

use domain::{
    access::{Action, Standing, SystemRole, may},
    actor::{Actor, Origin, Who},
    clock::Timestamp,
    ids::{CaseId, ConversationId, DatabaseId, SessionId, UserId},
    page::{Page, PageQuery},
};
use uuid::Uuid;

use crate::{
    Error, Result, Tx, access, api_keys,
    audit::Audit,
    cases::{Case, permit, permit_somewhere, person},
    db::{change, query},
    standing,
    tx::{seal, unseal},
    vault::Place,
};

/// Longest title, in characters; longer ones are cut.
const TITLE: usize = 120;

/// A conversation as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// Its case.
    pub case_id: CaseId,
    /// Who began it.
    pub owner: UserId,
    /// What it began with.
    pub title: String,
    /// How the owner stands to the case.
    pub standing: Standing,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When something was last asked.
    pub updated_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    case_id: Uuid,
    owner_id: Uuid,
    sealed_title: Vec<u8>,
    #[sqlx(flatten)]
    standing: standing::Row,
    created_at: i64,
    updated_at: i64,
}

/// Selects conversations in the order of [`Row`], up to the `where`.
macro_rules! select {
    () => {
        concat!(
            "select v.id, v.case_id, v.owner_id, v.sealed_title, v.created_at, v.updated_at, ",
            standing::columns!(),
            " from conversations v join cases c on c.id = v.case_id ",
            standing::joins!("v.case_id", "v.owner_id")
        )
    };
}

fn place(id: ConversationId) -> Place {
    Place::new("conversations", "sealed_title", id)
}

async fn open_row(tx: &mut Tx, row: Row) -> Result<Conversation> {
    let key = tx.case_key(CaseId(row.case_id)).await?;
    Ok(Conversation {
        id: ConversationId(row.id),
        case_id: CaseId(row.case_id),
        owner: UserId(row.owner_id),
        title: unseal(&key, &place(ConversationId(row.id)), &row.sealed_title)?,
        standing: row.standing.into(),
        created_at: Timestamp(row.created_at),
        updated_at: Timestamp(row.updated_at),
    })
}

impl Conversation {
    /// Finds one of the actor's conversations; anybody else's is not found.
    pub async fn find(tx: &mut Tx, id: ConversationId) -> Result<Self> {
        let user = person(tx);
        let row: Option<Row> = query!(tx, c => sqlx::query_as(concat!(
            select!(), "where v.id = $1 and v.owner_id = $2 and c.deleted_at is null"))
            .bind(id.uuid()).bind(user).fetch_optional(c).await)?;
        let row = row.ok_or(Error::NotFound)?;
        permit(tx, CaseId(row.case_id), &row.standing.clone().into(), Action::Chat)?;
        open_row(tx, row).await
    }

    /// The actor's conversations, newest first; of one case when `case` is given.
    pub async fn list(tx: &mut Tx, case: Option<CaseId>, page: &PageQuery) -> Result<Page<Self>> {
        permit_somewhere(tx, Action::Chat)?;
        let limit = page.limit()?;
        let before: Uuid = page.key()?.unwrap_or(Uuid::max());
        let user = person(tx);
        let (all, key) = api_keys::reach(tx);
        let now = tx.now();
        let rows: Vec<Row> = query!(tx, c => sqlx::query_as(concat!(
            select!(), "where v.owner_id = $1 and v.id < $2 and ($3 or v.case_id = $4) and c.deleted_at is null
             and m.role <> 'auditor' and ", standing::current!("$8"),
            "and ($5 or v.case_id in (select case_id from api_key_cases where key_id = $6)) order by v.id desc limit $7"))
            .bind(user).bind(before).bind(case.is_none()).bind(case.map_or(Uuid::nil(), CaseId::uuid))
            .bind(all).bind(key).bind(i64::from(limit) + 1).bind(now.0).fetch_all(c).await)?;
        let mut conversations = Vec::with_capacity(rows.len());
        for row in rows {
            conversations.push(open_row(tx, row).await?);
        }
        Ok(Page::of(conversations, limit, |conversation| conversation.id))
    }

    /// Begins a conversation in `case`, titled with the beginning of `title`.
    pub async fn start(tx: &mut Tx, case: &Case, title: &str) -> Result<Self> {
        permit(tx, case.id, &case.standing, Action::Chat)?;
        let owner = tx.actor().user().ok_or(Error::Forbidden)?;
        let (id, now) = (ConversationId::new(), tx.now());
        let title: String = title.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(TITLE).collect();
        let key = tx.case_key(case.id).await?;
        let sealed = seal(&key, &place(id), &title)?;
        change!(tx, c => sqlx::query(
            "insert into conversations (id, case_id, owner_id, sealed_title, created_at, updated_at) values ($1,$2,$3,$4,$5,$5)")
            .bind(id.uuid()).bind(case.id.uuid()).bind(owner.uuid()).bind(sealed).bind(now.0).execute(c).await.map(drop))?;
        tx.audit(Audit::ConversationStarted { case: case.id, conversation: id }).await?;
        Self::find(tx, id).await
    }
}

/// True when `user` may, at this moment, ask about the documents of `case` and read them. Jobs ask this when they retrieve:
/// what was allowed when the question was asked does not count.
pub async fn may_ask(tx: &mut Tx, case: CaseId, user: UserId) -> Result<bool> {
    // Who stands there as a member; a break-glass grant is for reading, not for asking.
    let Some(standing) = access::standing(tx, case, user).await? else { return Ok(false) };
    let now = tx.now();
    let who = Who::User { user, session: SessionId(Uuid::nil()), role: SystemRole::Member };
    let asker = Actor { who, origin: Origin::default() };
    Ok(may(&asker, case, &standing, now, Action::Chat) && may(&asker, case, &standing, now, Action::ReadDocuments))
}

/// The databases of `case` whose documents `user` may read at this moment; none for somebody who [may not ask](may_ask).
pub async fn readable_databases(tx: &mut Tx, case: CaseId, user: UserId) -> Result<Vec<DatabaseId>> {
    if !may_ask(tx, case, user).await? {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = query!(tx, c => sqlx::query_scalar("select id from databases where case_id = $1 order by id")
        .bind(case.uuid()).fetch_all(c).await)?;
    Ok(ids.into_iter().map(DatabaseId).collect())
}
