//! The audit trail: one entry for every change of state, written in the transaction that makes it. Entries hold ids and
//! fields from an allow list, never the text of a document. Each becomes a leaf of a signed log ([`log`]), which can be checked
//! ([`check`]) and handed out ([`bundle`]), with the documents it tells of too ([`custody`]).

pub mod bundle;
mod check;
pub mod custody;
mod leaf;
pub mod log;
pub mod merkle;
mod note;

use domain::{
    actor::Who,
    clock::Timestamp,
    ids::{
        AlertId, ApiKeyId, AuditId, BatchId, BreakGlassId, CaseId, ConversationId, DatabaseId, DeliveryId, DocumentId,
        ItemId, JobId, LoadFileId, MessageId, PasswordId, SessionId, UploadId, UserId, WebhookId,
    },
    jobs::Queue,
    outcome::Category,
    page::{Page, PageQuery},
};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

pub use self::{
    check::{Findings, check},
    leaf::Disclosure,
    note::{Checkpoint, Verifier},
};

use self::{leaf::event_columns, log::Positioned};
use crate::{
    Error, Result, Tx,
    db::{change, query},
    vault::CaseKey,
};

/// An entry as stored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// Dotted name, `thing.verb`.
    pub action: &'static str,
    /// The case concerned.
    pub case: Option<CaseId>,
    /// What kind of thing was acted on.
    pub resource_type: &'static str,
    /// Which.
    pub resource: Option<Uuid>,
    /// Fields from the event's own list.
    pub details: Value,
}

macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident { $($field:ident : $type:ty),* } = $action:literal, $resource_type:literal, $resource:expr, $case:expr;)+) => {
        /// Everything that leaves a trace.
        #[derive(Debug, Clone)]
        #[allow(missing_docs, reason = "the fields are the ids and values their names say")]
        pub enum Audit {
            $($(#[$doc])* $variant { $($field: $type),* },)+
        }

        impl Audit {
            /// The name of every action.
            pub const ACTIONS: &'static [&'static str] = &[$($action),+];

            /// The entry to store.
            pub fn record(self) -> Record {
                match self {
                    $(Self::$variant { $($field),* } => Record {
                        action: $action,
                        case: $case,
                        resource_type: $resource_type,
                        resource: $resource,
                        details: json!({ $(stringify!($field): $field),* }),
                    },)+
                }
            }
        }
    };
}

events! {
    /// dia made itself a setup code on an empty system.
    SetupCodeIssued {} = "system.setup_code_issued", "system", None, None;
    /// An administrator invited somebody.
    InvitationIssued { role: &'static str } = "user.invited", "user", None, None;
    /// Somebody signed up.
    UserSignedUp { user: UserId, role: &'static str } = "user.signed_up", "user", Some(user.uuid()), None;
    /// Somebody signed in.
    SessionOpened { user: UserId, session: SessionId } = "session.opened", "session", Some(session.uuid()), None;
    /// A sign-in failed.
    LoginFailed { user: Option<UserId> } = "session.login_failed", "user", user.map(UserId::uuid), None;
    /// A refresh token was rotated.
    SessionRefreshed { session: SessionId } = "session.refreshed", "session", Some(session.uuid()), None;
    /// A used refresh token came back: the whole family was revoked.
    SessionReplayed { session: SessionId } = "session.replayed", "session", Some(session.uuid()), None;
    /// Somebody signed out, or was signed out.
    SessionClosed { session: SessionId } = "session.closed", "session", Some(session.uuid()), None;
    /// All sessions of a person were ended at once.
    SessionsClosed { user: UserId, sessions: u64 } = "session.all_closed", "user", Some(user.uuid()), None;
    /// Somebody was suspended.
    UserSuspended { user: UserId } = "user.suspended", "user", Some(user.uuid()), None;
    /// Somebody who was suspended was let in again.
    UserRestored { user: UserId } = "user.restored", "user", Some(user.uuid()), None;
    /// Somebody was given another role in the whole system.
    UserRoleSet { user: UserId, role: &'static str } = "user.role_set", "user", Some(user.uuid()), None;
    /// A password was changed.
    PasswordChanged { user: UserId } = "user.password_changed", "user", Some(user.uuid()), None;
    /// Somebody proved again that it is them.
    SessionProved { session: SessionId, methods: &'static str } = "session.proved", "session", Some(session.uuid()), None;
    /// A password was right, and a second factor is awaited.
    SecondFactorAwaited { user: UserId } = "session.second_factor_awaited", "user", Some(user.uuid()), None;
    /// A code was wrong, or was used before.
    SecondFactorFailed { user: UserId } = "session.second_factor_failed", "user", Some(user.uuid()), None;
    /// Somebody began to set up a second factor.
    SecondFactorBegun { user: UserId } = "second_factor.begun", "user", Some(user.uuid()), None;
    /// A second factor was confirmed and counts.
    SecondFactorConfirmed { user: UserId } = "second_factor.confirmed", "user", Some(user.uuid()), None;
    /// A second factor was removed.
    SecondFactorRemoved { user: UserId } = "second_factor.removed", "user", Some(user.uuid()), None;
    /// Somebody got recovery codes; those before count no more.
    RecoveryCodesMade { user: UserId } = "second_factor.recovery_codes_made", "user", Some(user.uuid()), None;
    /// A recovery code was used.
    RecoveryCodeUsed { user: UserId } = "second_factor.recovery_code_used", "user", Some(user.uuid()), None;
    /// A code was given out with which somebody sets a new password.
    PasswordResetIssued { user: UserId } = "user.password_reset_issued", "user", Some(user.uuid()), None;
    /// Somebody who has not signed in asked for such a code by mail, in whoever's name.
    PasswordResetAsked {} = "user.password_reset_asked", "user", None, None;
    /// Such a code was written to somebody.
    PasswordResetMailed { user: UserId } = "user.password_reset_mailed", "user", Some(user.uuid()), None;
    /// The letter with such a code could not be handed over; the code is void.
    PasswordResetUnsent { user: UserId } = "user.password_reset_unsent", "user", Some(user.uuid()), None;
    /// A password was set with such a code.
    PasswordReset { user: UserId } = "user.password_reset", "user", Some(user.uuid()), None;
    /// Somebody made an API key.
    ApiKeyCreated { key: ApiKeyId, user: UserId, prefix: String, scopes: Vec<&'static str>, cases: Option<Vec<CaseId>>, networks: Vec<String> } = "api_key.created", "api_key", Some(key.uuid()), None;
    /// An API key was given a successor and ends.
    ApiKeyRotated { key: ApiKeyId, successor: ApiKeyId } = "api_key.rotated", "api_key", Some(key.uuid()), None;
    /// An API key came from a network it is not for; noted at most once a minute.
    ApiKeyRefused { key: ApiKeyId, user: UserId } = "api_key.refused", "api_key", Some(key.uuid()), None;
    /// An API key was revoked.
    ApiKeyRevoked { key: ApiKeyId, user: UserId } = "api_key.revoked", "api_key", Some(key.uuid()), None;
    /// A case was opened.
    CaseCreated { case: CaseId } = "case.created", "case", Some(case.uuid()), Some(case);
    /// A case's fields changed.
    CaseUpdated { case: CaseId, fields: Vec<&'static str> } = "case.updated", "case", Some(case.uuid()), Some(case);
    /// A case was deleted.
    CaseDeleted { case: CaseId } = "case.deleted", "case", Some(case.uuid()), Some(case);
    /// A deleted case's key was destroyed: nothing sealed under it opens ever again.
    CaseKeyDestroyed { case: CaseId } = "case.key_destroyed", "case", Some(case.uuid()), Some(case);
    /// A deleted case's rows and bytes were removed.
    CasePurged { case: CaseId } = "case.purged", "case", Some(case.uuid()), Some(case);
    /// A member was added, or given another role or time.
    MemberSet { case: CaseId, user: UserId, role: &'static str, not_before: Option<Timestamp>, expires_at: Option<Timestamp> } = "case.member_set", "case", Some(case.uuid()), Some(case);
    /// A member was removed.
    MemberRemoved { case: CaseId, user: UserId } = "case.member_removed", "case", Some(case.uuid()), Some(case);
    /// An ethical wall was put between a person and a case; why stands sealed with it.
    WallSet { case: CaseId, user: UserId } = "case.wall_set", "case", Some(case.uuid()), Some(case);
    /// An ethical wall was taken away.
    WallLifted { case: CaseId, user: UserId } = "case.wall_lifted", "case", Some(case.uuid()), Some(case);
    /// An administrator asked to read a case without being a member; why stands sealed with the request.
    BreakGlassAsked { case: CaseId, request: BreakGlassId, minutes: u32 } = "break_glass.asked", "break_glass", Some(request.uuid()), Some(case);
    /// Another administrator let them, until then.
    BreakGlassApproved { case: CaseId, request: BreakGlassId, user: UserId, until: Timestamp } = "break_glass.approved", "break_glass", Some(request.uuid()), Some(case);
    /// Another administrator did not let them.
    BreakGlassRefused { case: CaseId, request: BreakGlassId, user: UserId } = "break_glass.refused", "break_glass", Some(request.uuid()), Some(case);
    /// The request or the grant was ended early.
    BreakGlassEnded { case: CaseId, request: BreakGlassId, user: UserId } = "break_glass.ended", "break_glass", Some(request.uuid()), Some(case);
    /// Somebody looked at what a person may do in a case, and why.
    AccessExplained { case: CaseId, user: UserId } = "case.access_explained", "case", Some(case.uuid()), Some(case);
    /// A database was created.
    DatabaseCreated { case: CaseId, database: DatabaseId } = "database.created", "database", Some(database.uuid()), Some(case);
    /// A database's fields changed.
    DatabaseUpdated { case: CaseId, database: DatabaseId, fields: Vec<&'static str> } = "database.updated", "database", Some(database.uuid()), Some(case);
    /// A rebuild of the index was asked for.
    ReindexRequested { case: CaseId, database: DatabaseId } = "database.reindex_requested", "database", Some(database.uuid()), Some(case);
    /// An index generation was published.
    GenerationPublished { case: CaseId, database: DatabaseId, number: u64, added: u64, removed: u64 } = "database.generation_published", "database", Some(database.uuid()), Some(case);
    /// A batch was opened.
    BatchOpened { case: CaseId, batch: BatchId } = "batch.opened", "batch", Some(batch.uuid()), Some(case);
    /// Nothing of a sealed batch was on its way any more.
    BatchSettled { case: CaseId, batch: BatchId } = "batch.settled", "batch", Some(batch.uuid()), Some(case);
    /// A batch was sealed: nothing more will be delivered.
    BatchSealed { case: CaseId, batch: BatchId } = "batch.sealed", "batch", Some(batch.uuid()), Some(case);
    /// A batch was cancelled.
    BatchCancelled { case: CaseId, batch: BatchId, excluded: u64 } = "batch.cancelled", "batch", Some(batch.uuid()), Some(case);
    /// A load file was delivered.
    LoadFileReceived { case: CaseId, batch: BatchId, load_file: LoadFileId, sha256: String } = "load_file.received", "load_file", Some(load_file.uuid()), Some(case);
    /// Items of a load file were noted.
    ItemsAnnounced { case: CaseId, load_file: LoadFileId, items: u64 } = "load_file.items_announced", "load_file", Some(load_file.uuid()), Some(case);
    /// A load file was read to its end.
    LoadFileRead { case: CaseId, load_file: LoadFileId, items: u64, refused: u64 } = "load_file.read", "load_file", Some(load_file.uuid()), Some(case);
    /// A load file could not be read.
    LoadFileFailed { case: CaseId, load_file: LoadFileId } = "load_file.failed", "load_file", Some(load_file.uuid()), Some(case);
    /// The file of an item was fetched from where its load file says: from a mounted folder, a bucket or a host.
    ItemFetched { case: CaseId, item: ItemId, document: DocumentId, from: &'static str } = "item.fetched", "item", Some(item.uuid()), Some(case);
    /// The file of an item cannot be fetched.
    ItemFailed { case: CaseId, item: ItemId, error: &'static str } = "item.failed", "item", Some(item.uuid()), Some(case);
    /// An upload in pieces was begun.
    UploadCreated { case: CaseId, batch: BatchId, upload: UploadId } = "upload.created", "upload", Some(upload.uuid()), Some(case);
    /// A piece of an upload was stored.
    UploadContinued { case: CaseId, upload: UploadId, received: u64 } = "upload.continued", "upload", Some(upload.uuid()), Some(case);
    /// An upload ended without becoming a document: it was given up, or expired.
    UploadEnded { case: CaseId, upload: UploadId } = "upload.ended", "upload", Some(upload.uuid()), Some(case);
    /// Files were received; each with its SHA-256.
    DocumentsReceived { case: CaseId, batch: BatchId, documents: Vec<(DocumentId, String)> } = "document.received", "batch", Some(batch.uuid()), Some(case);
    /// A document was identified and its members became documents.
    DocumentIngested { case: CaseId, document: DocumentId, members: Vec<(DocumentId, String)> } = "document.ingested", "document", Some(document.uuid()), Some(case);
    /// A document was found to be a copy.
    DocumentDuplicate { case: CaseId, document: DocumentId, duplicate_of: DocumentId } = "document.duplicate", "document", Some(document.uuid()), Some(case);
    /// A document was left out because the operator's list of known files names its bytes.
    DocumentKnownFile { case: CaseId, document: DocumentId } = "document.known_file", "document", Some(document.uuid()), Some(case);
    /// A document's text was extracted.
    DocumentExtracted { case: CaseId, document: DocumentId, reader: String, text_sha256: String } = "document.extracted", "document", Some(document.uuid()), Some(case);
    /// A document ended as an exception.
    DocumentException { case: CaseId, document: DocumentId, category: Category } = "document.exception", "document", Some(document.uuid()), Some(case);
    /// Exceptions were sent through the pipeline again.
    DocumentsRetried { case: CaseId, database: DatabaseId, documents: u64 } = "document.retried", "database", Some(database.uuid()), Some(case);
    /// Exceptions were set aside with a note, which is sealed with each document.
    DocumentsIgnored { case: CaseId, database: DatabaseId, documents: Vec<DocumentId> } = "document.ignored", "database", Some(database.uuid()), Some(case);
    /// A password was added to the bank of its case.
    PasswordAdded { case: CaseId, password: PasswordId } = "password.added", "password", Some(password.uuid()), Some(case);
    /// A password that may have been in the bank before was supplied for one document.
    PasswordSupplied { case: CaseId, document: DocumentId, password: PasswordId } = "password.supplied", "document", Some(document.uuid()), Some(case);
    /// A password opened a document, or members of it.
    PasswordUsed { case: CaseId, document: DocumentId, password: PasswordId } = "password.used", "document", Some(document.uuid()), Some(case);
    /// A password was removed from the bank; what it opened stays open.
    PasswordRemoved { case: CaseId, password: PasswordId } = "password.removed", "password", Some(password.uuid()), Some(case);
    /// Protected documents of a case were sent through the pipeline again with the passwords there are now.
    ProtectedRetried { case: CaseId, documents: u64 } = "document.protected_retried", "case", Some(case.uuid()), Some(case);
    /// A container was opened again for members it had not given up; those that got their bytes now, each with its SHA-256.
    MembersOpened { case: CaseId, document: DocumentId, members: Vec<(DocumentId, String)> } = "document.members_opened", "document", Some(document.uuid()), Some(case);
    /// A case was given a webhook.
    WebhookCreated { case: CaseId, webhook: WebhookId, events: Vec<String> } = "webhook.created", "webhook", Some(webhook.uuid()), Some(case);
    /// A webhook's fields changed.
    WebhookUpdated { case: CaseId, webhook: WebhookId, fields: Vec<&'static str> } = "webhook.updated", "webhook", Some(webhook.uuid()), Some(case);
    /// A webhook got a new secret; the former one signs too for a while.
    WebhookRotated { case: CaseId, webhook: WebhookId } = "webhook.rotated", "webhook", Some(webhook.uuid()), Some(case);
    /// A webhook and its log were removed.
    WebhookRemoved { case: CaseId, webhook: WebhookId } = "webhook.removed", "webhook", Some(webhook.uuid()), Some(case);
    /// A message was sent to a webhook to try it, or was set going again.
    WebhookSent { case: CaseId, webhook: WebhookId, delivery: DeliveryId } = "webhook.sent", "webhook", Some(webhook.uuid()), Some(case);
    /// A message was sent once; the status that was answered, if one was.
    WebhookAttempted { case: CaseId, webhook: WebhookId, delivery: DeliveryId, status: Option<u16> } = "webhook.attempted", "webhook", Some(webhook.uuid()), Some(case);
    /// A message is not sent (any more): its webhook is disabled, its case closed, or its job was given up.
    WebhookDropped { case: CaseId, webhook: WebhookId, delivery: DeliveryId } = "webhook.dropped", "webhook", Some(webhook.uuid()), Some(case);
    /// A webhook is told nothing more, because its receiver is gone or fails.
    WebhookDisabled { case: CaseId, webhook: WebhookId, why: &'static str } = "webhook.disabled", "webhook", Some(webhook.uuid()), Some(case);
    /// A document could not be read again; the text it had stands.
    TextKept { case: CaseId, document: DocumentId, category: Category } = "document.text_kept", "document", Some(document.uuid()), Some(case);
    /// A document's file was replaced; the former one is kept as a version.
    DocumentReplaced { case: CaseId, document: DocumentId, version: u32, sha256: String } = "document.replaced", "document", Some(document.uuid()), Some(case);
    /// The original bytes of one version of a document were downloaded.
    VersionDownloaded { case: CaseId, document: DocumentId, version: u32 } = "document.version_downloaded", "document", Some(document.uuid()), Some(case);
    /// Somebody asked for a batch to be read again.
    ReprocessRequested { case: CaseId, batch: BatchId, all: bool } = "batch.reprocess_requested", "batch", Some(batch.uuid()), Some(case);
    /// Documents of a batch were sent through the pipeline again.
    BatchReprocessed { case: CaseId, batch: BatchId, documents: u64 } = "batch.reprocessed", "batch", Some(batch.uuid()), Some(case);
    /// What documents of a case have to do with each other was found anew: threads, inclusive messages, near-duplicates.
    DocumentsRelated { case: CaseId, changes: u64 } = "case.related", "case", Some(case.uuid()), Some(case);
    /// A document was deleted.
    DocumentDeleted { case: CaseId, document: DocumentId } = "document.deleted", "document", Some(document.uuid()), Some(case);
    /// Stored bytes of a document are missing, or are not those that were written.
    DocumentDamaged { case: CaseId, document: DocumentId } = "document.damaged", "document", Some(document.uuid()), Some(case);
    /// A document's text was read.
    DocumentViewed { case: CaseId, document: DocumentId } = "document.viewed", "document", Some(document.uuid()), Some(case);
    /// A document's original bytes were downloaded.
    DocumentDownloaded { case: CaseId, document: DocumentId } = "document.downloaded", "document", Some(document.uuid()), Some(case);
    /// A search was run.
    Searched { case: CaseId, database: Option<DatabaseId>, hits: u64 } = "case.searched", "case", Some(case.uuid()), Some(case);
    /// A conversation was begun.
    ConversationStarted { case: CaseId, conversation: ConversationId } = "conversation.started", "conversation", Some(conversation.uuid()), Some(case);
    /// Something was pinned to a conversation, or unpinned.
    ContextChanged { case: CaseId, conversation: ConversationId } = "conversation.context_changed", "conversation", Some(conversation.uuid()), Some(case);
    /// A question was asked.
    QuestionAsked { case: CaseId, message: MessageId } = "message.asked", "message", Some(message.uuid()), Some(case);
    /// A question was answered from these documents.
    QuestionAnswered { case: CaseId, message: MessageId, retrieved: Vec<DocumentId>, cited: Vec<DocumentId> } = "message.answered", "message", Some(message.uuid()), Some(case);
    /// An answer failed.
    AnswerFailed { case: CaseId, message: MessageId } = "message.failed", "message", Some(message.uuid()), Some(case);
    /// An answer was cancelled.
    AnswerCancelled { case: CaseId, message: MessageId } = "message.cancelled", "message", Some(message.uuid()), Some(case);
    /// A job was retried by hand.
    JobRetried { job: JobId } = "job.retried", "job", Some(job.uuid()), None;
    /// A job was cancelled by hand.
    JobCancelled { job: JobId } = "job.cancelled", "job", Some(job.uuid()), None;
    /// A job failed for good.
    JobBuried { job: JobId } = "job.buried", "job", Some(job.uuid()), None;
    /// A case was taken away with its files and their custody, or those of one database were.
    CaseExported { case: CaseId, database: Option<DatabaseId> } = "case.exported", "case", Some(case.uuid()), Some(case);
    /// Somebody took the trail of a case, or of all, away as a file.
    TrailExported { case: Option<CaseId> } = "audit.exported", "audit", case.map(CaseId::uuid), case;
    /// The rows of the audit log are not those that were signed; noted at most once an hour.
    LogDamaged {} = "audit.damaged", "audit", None, None;
    /// The audit trail holds something that somebody should look at.
    AlertRaised { alert: AlertId, rule: &'static str } = "alert.raised", "alert", Some(alert.uuid()), None;
    /// Somebody looked at an alert.
    AlertAcknowledged { alert: AlertId } = "alert.acknowledged", "alert", Some(alert.uuid()), None;
    /// A queue was paused or resumed.
    QueuePaused { queue: Queue, paused: bool } = "queue.paused", "queue", None, None;
    /// Housekeeping removed what nothing refers to.
    GarbageCollected { objects: u64, rows: u64 } = "system.garbage_collected", "system", None, None;
    /// Housekeeping enqueued what was missing.
    JobsSwept { enqueued: u64 } = "system.jobs_swept", "system", None, None;
}

/// An entry as read back.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Its id, in order of writing.
    pub id: AuditId,
    /// When.
    pub at: Timestamp,
    /// `user`, `key`, `system` or `anonymous`.
    pub actor_kind: String,
    /// The person, if any.
    pub actor: Option<UserId>,
    /// The API key they acted with, if any.
    pub key: Option<ApiKeyId>,
    /// The request.
    pub request: Uuid,
    /// Dotted name.
    pub action: String,
    /// What kind of thing.
    pub resource_type: String,
    /// Which.
    pub resource: Option<Uuid>,
    /// The session it was done in, if any.
    pub session: Option<Uuid>,
    /// The address it was asked from.
    pub address: Option<String>,
    /// The program it was asked with.
    pub agent: Option<String>,
    /// The case, if any.
    pub case: Option<CaseId>,
    /// Fields of the event; `null` where the key of its case is not at hand.
    pub details: Value,
    /// Its position in the log; none for about a minute.
    pub position: Option<u64>,
}

impl Entry {
    fn of(row: Positioned, key: Option<&CaseKey>) -> Result<Self> {
        let position = row.position();
        let event = row.event;
        let details = match (&event.sealed_details, event.disclosed(key)?) {
            (None, _) => event.details.0,
            (Some(_), Some(disclosed)) => serde_json::from_str(&disclosed.details)?,
            (Some(_), None) => Value::Null,
        };
        Ok(Self {
            id: AuditId(event.id),
            at: Timestamp(event.at),
            actor_kind: event.actor_kind,
            actor: event.actor_id.map(UserId),
            key: event.key_id.map(ApiKeyId),
            request: event.request_id,
            action: event.action,
            resource_type: event.resource_type,
            resource: event.resource_id,
            session: event.session_id,
            address: event.address,
            agent: event.agent,
            case: event.case_id.map(CaseId),
            details,
            position,
        })
    }
}

/// Which entries a list holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this action (`case.created`), or of all of one thing (`case.`).
    pub action: Option<String>,
    /// By this person.
    pub actor: Option<UserId>,
    /// Of this resource.
    pub resource: Option<Uuid>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
}

/// The trail of a case, oldest first. The caller has checked [`domain::access::Action::ReadAudit`].
pub async fn list(tx: &mut Tx, case: CaseId, filter: &Filter, page: &PageQuery) -> Result<Page<Entry>> {
    let key = tx.case_key_if_any(case).await?;
    select(tx, Some(case), key.as_ref(), filter, page).await
}

/// The trail of the whole system, oldest first, for who may manage it: what events of cases say stays sealed.
pub async fn list_all(tx: &mut Tx, filter: &Filter, page: &PageQuery) -> Result<Page<Entry>> {
    select(tx, None, None, filter, page).await
}

async fn select(
    tx: &mut Tx,
    case: Option<CaseId>,
    key: Option<&CaseKey>,
    filter: &Filter,
    page: &PageQuery,
) -> Result<Page<Entry>> {
    let limit = page.limit()?;
    let after: Uuid = page.key()?.unwrap_or(Uuid::nil());
    let rows: Vec<Positioned> = query!(tx, c => {
        let mut sql = sqlx::QueryBuilder::<Driver>::new(concat!("select ", event_columns!(), ", l.position
            from audit_events e left join audit_leaves l on l.event_id = e.id where e.id > "));
        sql.push_bind(after);
        if let Some(case) = case {
            sql.push(" and e.case_id = ").push_bind(case.uuid());
        }
        if let Some(action) = &filter.action {
            if action.ends_with('.') {
                // Every name that begins so stands between it and itself with the last character moved on.
                sql.push(" and e.action >= ").push_bind(action).push(" and e.action < ").push_bind(action.replace('.', "/"));
            } else {
                sql.push(" and e.action = ").push_bind(action);
            }
        }
        if let Some(actor) = filter.actor {
            sql.push(" and e.actor_id = ").push_bind(actor.uuid());
        }
        if let Some(resource) = filter.resource {
            sql.push(" and e.resource_id = ").push_bind(resource);
        }
        if let Some(from) = filter.from {
            sql.push(" and e.at >= ").push_bind(from.micros());
        }
        if let Some(to) = filter.to {
            sql.push(" and e.at < ").push_bind(to.micros());
        }
        sql.push(" order by e.id limit ").push_bind(i64::from(limit) + 1);
        sql.build_query_as().fetch_all(c).await.map_err(Error::from)
    })?;
    let entries = rows.into_iter().map(|row| Entry::of(row, key)).collect::<Result<_>>()?;
    Ok(Page::of(entries, limit, |entry: &Entry| entry.id))
}

/// Writes an event, to be called by [`Tx::audit`].
pub(crate) async fn write(tx: &mut Tx, event: Audit) -> Result<()> {
    let (kind, session) = match tx.actor().who {
        Who::User { session, .. } => ("user", Some(session.uuid())),
        Who::Key { .. } => ("key", None),
        Who::Anonymous => ("anonymous", None),
        Who::System { .. } => ("system", None),
    };
    let (actor, key) = (tx.actor().user().map(UserId::uuid), tx.actor().key().map(ApiKeyId::uuid));
    let (id, now, origin) = (AuditId::new().uuid(), tx.now(), tx.actor().origin.clone());
    let record = event.record();
    let case_key = match record.case {
        Some(case) => tx.case_key_if_any(case).await?,
        None => None,
    };
    // What is said of a case whose key is gone is that it went, in ids.
    let (details, sealed, commitment) = match case_key {
        None => (record.details, None, None),
        Some(key) => {
            let disclosure = Disclosure::new(&record.details)?;
            let sealed = disclosure.seal(&key, id)?;
            (json!({}), Some(sealed), Some(disclosure.commitment().to_vec()))
        }
    };
    change!(tx, c => sqlx::query(
        "insert into audit_events (id, at, actor_kind, actor_id, session_id, request_id, address, agent, action, case_id,
         resource_type, resource_id, details, key_id, sealed_details, commitment)
         values ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16)")
        .bind(id).bind(now.0).bind(kind).bind(actor).bind(session).bind(origin.request)
        .bind(&origin.address).bind(&origin.agent).bind(record.action).bind(record.case.map(CaseId::uuid))
        .bind(record.resource_type).bind(record.resource).bind(sqlx::types::Json(&details)).bind(key)
        .bind(sealed).bind(commitment).execute(c).await.map(drop))?;
    change!(tx, c => sqlx::query("insert into audit_pending (event_id) values ($1)").bind(id)
        .execute(c).await.map(drop))?;
    Ok(())
}
