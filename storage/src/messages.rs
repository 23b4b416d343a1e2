//! Messages of conversations: questions, and the answers that jobs write. An answer moves once from open (pending,
//! answering) to one of three ends; every move is conditional on it being open, so that a job run twice, or one that lost a
//! race with the user's cancel, changes nothing.

use std::collections::HashMap;

use domain::{
    access::{Action, may},
    clock::Timestamp,
    events::{Answer, ChatEvent, ChatStep, Event, Topic},
    ids::{CaseId, ConversationId, DocumentId, MessageId, UserId},
    jobs::{AnswerChat, Job as _},
    page::{Page, PageQuery, encode},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Error, Result, Storage, Tx,
    audit::Audit,
    cases::{permit_somewhere, person},
    conversations::Conversation,
    db::{change, query},
    standing,
    tx::{seal, unseal},
    vault::{CaseKey, Place},
};

/// Longest question, in characters.
pub const LONGEST_QUESTION: usize = 8_000;
/// Answers of one person that may be open at once.
const MOST_OPEN: i64 = 16;
/// Messages opened at most for one page of a search.
const SCANNED: usize = 2_000;
/// Messages read at once by a search.
const BATCH: i64 = 200;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaker {
    /// The person.
    User,
    /// dia.
    Assistant,
}

/// Where a message stands. Questions are complete from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    /// No worker has begun.
    Pending,
    /// A worker writes it.
    Answering,
    /// It stands.
    Complete,
    /// No answer will come.
    Failed,
    /// The user stopped it.
    Cancelled,
}

impl MessageState {
    /// The name in rows and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Answering => "answering",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Pending, Self::Answering, Self::Complete, Self::Failed, Self::Cancelled]
            .into_iter()
            .find(|s| s.name() == name)
    }

    /// True until the message has ended.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Answering)
    }
}

/// The sealed part of a message.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Body {
    /// What was asked, or the answer's text as far as it was written.
    pub text: String,
    /// The question an answer belongs to.
    #[serde(default)]
    pub question: Option<MessageId>,
    /// The verified answer, once complete.
    #[serde(default)]
    pub answer: Option<Answer>,
    /// Why there is none, once failed.
    #[serde(default)]
    pub failure: Option<Failure>,
}

/// Why an answer failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A code of the error table.
    pub code: String,
    /// What happened and what to do next.
    pub message: String,
}

/// A message.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Its conversation.
    pub conversation: ConversationId,
    /// Its case.
    pub case_id: CaseId,
    /// Whose conversation it is.
    pub owner: UserId,
    /// Who speaks.
    pub role: Speaker,
    /// Where it stands.
    pub state: MessageState,
    /// What it says.
    pub body: Body,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last moved.
    pub updated_at: Timestamp,
}

/// A question and the answer that is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The user's message.
    pub question: MessageId,
    /// The assistant's message, open.
    pub answer: MessageId,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    conversation_id: Uuid,
    case_id: Uuid,
    owner_id: Uuid,
    role: String,
    state: String,
    sealed_body: Vec<u8>,
    created_at: i64,
    updated_at: i64,
    #[sqlx(flatten)]
    standing: standing::Row,
}

/// The columns of a [`Row`], by name: a plan of `select *` breaks when a newer version adds one.
macro_rules! columns {
    () => {
        "id, conversation_id, case_id, owner_id, role, state, sealed_body, created_at, updated_at"
    };
}

fn place(id: MessageId) -> Place {
    Place::new("messages", "sealed_body", id)
}

impl Row {
    fn open(self, key: &CaseKey) -> Result<Message> {
        Ok(Message {
            id: MessageId(self.id),
            conversation: ConversationId(self.conversation_id),
            case_id: CaseId(self.case_id),
            owner: UserId(self.owner_id),
            role: if self.role == "user" { Speaker::User } else { Speaker::Assistant },
            state: MessageState::parse(&self.state).ok_or(Error::Invalid("unknown message state in a row"))?,
            body: unseal(key, &place(MessageId(self.id)), &self.sealed_body)?,
            created_at: Timestamp(self.created_at),
            updated_at: Timestamp(self.updated_at),
        })
    }
}

impl Message {
    /// Finds a message of one of the actor's conversations; anybody else's is not found.
    pub async fn find(tx: &mut Tx, id: MessageId) -> Result<Self> {
        let user = person(tx);
        let row: Option<Row> = query!(tx, c =>
            sqlx::query_as(concat!("select ", columns!(), " from messages where id = $1 and owner_id = $2"))
            .bind(id.uuid()).bind(user).fetch_optional(c).await)?;
        let row = row.ok_or(Error::NotFound)?;
        let conversation = Conversation::find(tx, ConversationId(row.conversation_id)).await?;
        let key = tx.case_key(conversation.case_id).await?;
        row.open(&key)
    }

    /// Loads a message for the job that answers it.
    pub async fn load(tx: &mut Tx, case: CaseId, id: MessageId) -> Result<Self> {
        let row: Option<Row> = query!(tx, c =>
            sqlx::query_as(concat!("select ", columns!(), " from messages where id = $1 and case_id = $2"))
            .bind(id.uuid()).bind(case.uuid()).fetch_optional(c).await)?;
        let key = tx.case_key(case).await?;
        row.ok_or(Error::NotFound)?.open(&key)
    }

    /// The messages of one of the actor's conversations, newest first.
    pub async fn list(tx: &mut Tx, conversation: &Conversation, page: &PageQuery) -> Result<Page<Self>> {
        let limit = page.limit()?;
        let before: Uuid = page.key()?.unwrap_or(Uuid::max());
        let rows: Vec<Row> = query!(tx, c => sqlx::query_as(
            concat!("select ", columns!(), " from messages where conversation_id = $1 and id < $2 \
                order by id desc limit $3"))
            .bind(conversation.id.uuid()).bind(before).bind(i64::from(limit) + 1).fetch_all(c).await)?;
        let key = tx.case_key(conversation.case_id).await?;
        let messages = rows.into_iter().map(|row| row.open(&key)).collect::<Result<Vec<_>>>()?;
        Ok(Page::of(messages, limit, |message| message.id))
    }

    /// The actor's messages in all their conversations of a case found with [`Action::Chat`], newest first.
    pub async fn list_case(tx: &mut Tx, case: CaseId, page: &PageQuery) -> Result<Page<Self>> {
        let limit = page.limit()?;
        let before: Uuid = page.key()?.unwrap_or(Uuid::max());
        let user = person(tx);
        let rows: Vec<Row> = query!(tx, c => sqlx::query_as(
            concat!("select ", columns!(), " from messages where owner_id = $1 and case_id = $2 and id < $3 \
                order by id desc limit $4"))
            .bind(user).bind(case.uuid()).bind(before).bind(i64::from(limit) + 1).fetch_all(c).await)?;
        let key = tx.case_key(case).await?;
        let messages = rows.into_iter().map(|row| row.open(&key)).collect::<Result<Vec<_>>>()?;
        Ok(Page::of(messages, limit, |message| message.id))
    }

    /// The last `most` questions and complete answers before `self` in its conversation, oldest first.
    pub async fn before(&self, tx: &mut Tx, most: u32) -> Result<Vec<Self>> {
        let rows: Vec<Row> = query!(tx, c => sqlx::query_as(
            concat!("select ", columns!(), " from messages where conversation_id = $1 and id < $2 and state = 'complete' \
                order by id desc limit $3"))
            .bind(self.conversation.uuid()).bind(self.id.uuid()).bind(i64::from(most)).fetch_all(c).await)?;
        let key = tx.case_key(self.case_id).await?;
        rows.into_iter().rev().map(|row| row.open(&key)).collect()
    }

    /// Stops an open answer of the actor's: its job is cancelled with it, and whoever watches hears of it. What was said so
    /// far is gone. [`Error::Conflict`] once it has ended.
    pub async fn cancel(&self, tx: &mut Tx) -> Result<()> {
        if self.role != Speaker::Assistant {
            return Err(Error::Conflict("only answers can be cancelled"));
        }
        let body = Body { question: self.body.question, ..Body::default() };
        if !settle(tx, self.case_id, self.id, MessageState::Cancelled, &body).await? {
            return Err(Error::Conflict("the answer has already ended"));
        }
        let (now, job) = (tx.now(), AnswerChat { case: self.case_id, message: self.id });
        change!(tx, c => sqlx::query(
            "update jobs set state = 'cancelled', finished_at = $2, lease_until = null
             where unique_key = $1 and state in ('ready', 'running')")
            .bind(job.unique_key()).bind(now.0).execute(c).await.map(drop))?;
        tx.audit(Audit::AnswerCancelled { case: self.case_id, message: self.id }).await?;
        self.publish(tx, ChatStep::Cancelled);
        Ok(())
    }

    /// Sends a step after the commit, numbered after what was said of this message in this process.
    fn publish(&self, tx: &mut Tx, step: ChatStep) {
        let seq = tx.storage().pubsub.last_sent(self.id) + 1;
        let event = ChatEvent { conversation: self.conversation, message: self.id, seq, step };
        tx.publish(Topic::Conversation(self.conversation), Event::Chat(event));
    }

    /// The job's answer: complete, in the transaction that completes the job. `false` when the message has ended already.
    pub async fn answer(&self, tx: &mut Tx, answer: &Answer, retrieved: Vec<DocumentId>) -> Result<bool> {
        let body = Body { text: answer.text.clone(), answer: Some(answer.clone()), ..self.body.clone() };
        if !settle(tx, self.case_id, self.id, MessageState::Complete, &body).await? {
            return Ok(false);
        }
        let mut cited: Vec<DocumentId> =
            answer.sentences.iter().flat_map(|s| s.citations.iter().map(|citation| citation.document)).collect();
        cited.sort_unstable();
        cited.dedup();
        tx.audit(Audit::QuestionAnswered { case: self.case_id, message: self.id, retrieved, cited }).await?;
        Ok(true)
    }

    /// No answer will come; `false` when the message has ended already.
    pub async fn fail(&self, tx: &mut Tx, failure: &Failure) -> Result<bool> {
        let body = Body { text: String::new(), failure: Some(failure.clone()), ..self.body.clone() };
        if !settle(tx, self.case_id, self.id, MessageState::Failed, &body).await? {
            return Ok(false);
        }
        tx.audit(Audit::AnswerFailed { case: self.case_id, message: self.id }).await?;
        self.publish(tx, ChatStep::Failed { code: failure.code.clone(), message: failure.message.clone() });
        Ok(true)
    }
}

/// Asks in a conversation of the actor's: the question, the open answer and the job that writes it.
pub async fn ask(tx: &mut Tx, conversation: &Conversation, text: &str) -> Result<Asked> {
    if text.trim().is_empty() || text.chars().count() > LONGEST_QUESTION {
        return Err(Error::Invalid("message must have 1 to 8000 characters"));
    }
    let open: i64 = query!(tx, c => sqlx::query_scalar(
        "select count(*) from messages where owner_id = $1 and case_id = $2 and state in ('pending', 'answering')")
        .bind(conversation.owner.uuid()).bind(conversation.case_id.uuid()).fetch_one(c).await)?;
    if open >= MOST_OPEN {
        return Err(Error::Conflict("too many answers are being written; wait for one or cancel it"));
    }
    let (question, answer) = (MessageId::new(), MessageId::new());
    let body = Body { text: text.to_owned(), ..Body::default() };
    insert(tx, conversation, question, Speaker::User, MessageState::Complete, &body).await?;
    let body = Body { question: Some(question), ..Body::default() };
    insert(tx, conversation, answer, Speaker::Assistant, MessageState::Pending, &body).await?;
    let now = tx.now();
    change!(tx, c => sqlx::query("update conversations set updated_at = $2 where id = $1")
        .bind(conversation.id.uuid()).bind(now.0).execute(c).await.map(drop))?;
    tx.audit(Audit::QuestionAsked { case: conversation.case_id, message: question }).await?;
    tx.enqueue(&AnswerChat { case: conversation.case_id, message: answer }).await?;
    Ok(Asked { question, answer })
}

async fn insert(
    tx: &mut Tx,
    conversation: &Conversation,
    id: MessageId,
    role: Speaker,
    state: MessageState,
    body: &Body,
) -> Result<()> {
    let key = tx.case_key(conversation.case_id).await?;
    let sealed = seal(&key, &place(id), body)?;
    let (now, role) = (tx.now(), if role == Speaker::User { "user" } else { "assistant" });
    change!(tx, c => sqlx::query(
        "insert into messages (id, conversation_id, case_id, owner_id, role, state, sealed_body, created_at, updated_at)
         values ($1,$2,$3,$4,$5,$6,$7,$8,$8)")
        .bind(id.uuid()).bind(conversation.id.uuid()).bind(conversation.case_id.uuid()).bind(conversation.owner.uuid())
        .bind(role).bind(state.name()).bind(sealed).bind(now.0).execute(c).await.map(drop))?;
    Ok(())
}

/// Ends an open message; `false` when it has ended already.
async fn settle(tx: &mut Tx, case: CaseId, id: MessageId, state: MessageState, body: &Body) -> Result<bool> {
    let key = tx.case_key(case).await?;
    let (now, sealed) = (tx.now(), seal(&key, &place(id), body)?);
    let moved = change!(tx, c => sqlx::query(
        "update messages set state = $3, sealed_body = $4, updated_at = $5
         where id = $1 and case_id = $2 and state in ('pending', 'answering')")
        .bind(id.uuid()).bind(case.uuid()).bind(state.name()).bind(sealed).bind(now.0).execute(c).await
        .map(|r| r.rows_affected()))?;
    Ok(moved == 1)
}

/// Pending → answering: a worker has begun. Says nothing of the matter itself, so it leaves no audit event. `false` when
/// the message has ended.
pub async fn begin(storage: &Storage, case: CaseId, id: MessageId) -> Result<bool> {
    let mut tx = storage.begin_machinery().await?;
    let now = tx.now();
    let moved = change!(tx, c => sqlx::query(
        "update messages set state = 'answering', updated_at = $3 where id = $1 and case_id = $2 and state in ('pending', 'answering')")
        .bind(id.uuid()).bind(case.uuid()).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
    tx.commit().await?;
    Ok(moved == 1)
}

/// True while the message is open.
pub async fn is_open(tx: &mut Tx, case: CaseId, id: MessageId) -> Result<bool> {
    Ok(query!(tx, c => sqlx::query_scalar(
        "select exists (select 1 from messages where id = $1 and case_id = $2 and state in ('pending', 'answering'))")
        .bind(id.uuid()).bind(case.uuid()).fetch_one(c).await)?)
}

/// The actor's messages that hold every word of `words`, whatever the case of its letters, newest first; of one case when
/// `case` is given. Messages are sealed, so they are opened one after the other: one page looks at a bounded number of
/// them, and may be short, or empty, while `next_cursor` says that there are more to look at.
pub async fn search(tx: &mut Tx, case: Option<CaseId>, words: &str, page: &PageQuery) -> Result<Page<Message>> {
    permit_somewhere(tx, Action::Chat)?;
    let limit = page.limit()? as usize;
    let mut before: Uuid = page.key()?.unwrap_or(Uuid::max());
    let words: Vec<String> = words.split_whitespace().map(str::to_lowercase).collect();
    if words.is_empty() || words.len() > 32 {
        return Err(Error::Invalid("q must have 1 to 32 words"));
    }
    let mut keys: HashMap<Uuid, CaseKey> = HashMap::new();
    let mut found = Vec::new();
    let mut scanned = 0;
    loop {
        let rows = own_rows(tx, case, before).await?;
        let last = rows.len() < usize::try_from(BATCH).unwrap_or(0);
        for row in rows {
            if found.len() >= limit || scanned >= SCANNED {
                return Ok(Page { items: found, next_cursor: Some(encode(&before)) });
            }
            before = row.id;
            scanned += 1;
            let standing = row.standing.clone().into();
            if !may(tx.actor(), CaseId(row.case_id), &standing, tx.now(), Action::Chat) {
                continue;
            }
            let key = match keys.get(&row.case_id) {
                Some(key) => key.clone(),
                None => keys.entry(row.case_id).or_insert(tx.case_key(CaseId(row.case_id)).await?).clone(),
            };
            let message = row.open(&key)?;
            let text = message.body.text.to_lowercase();
            if words.iter().all(|word| text.contains(word.as_str())) {
                found.push(message);
            }
        }
        if last {
            return Ok(Page { items: found, next_cursor: None });
        }
    }
}

async fn own_rows(tx: &mut Tx, case: Option<CaseId>, before: Uuid) -> Result<Vec<Row>> {
    let user = person(tx);
    let now = tx.now();
    Ok(query!(tx, c => sqlx::query_as(concat!(
        "select s.id, s.conversation_id, s.case_id, s.owner_id, s.role, s.state, s.sealed_body, s.created_at, s.updated_at, ",
        standing::columns!(), " from messages s join cases c on c.id = s.case_id ",
        standing::joins!("s.case_id", "s.owner_id"),
        "where s.owner_id = $1 and s.id < $2 and ($3 or s.case_id = $4) and c.deleted_at is null and ",
        standing::current!("$6"), "order by s.id desc limit $5"))
        .bind(user).bind(before).bind(case.is_none()).bind(case.map_or(Uuid::nil(), CaseId::uuid)).bind(BATCH).bind(now.0)
        .fetch_all(c).await)?)
}
