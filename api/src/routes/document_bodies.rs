//! How a document and its text are shown.

use std::collections::BTreeMap;

use domain::{
    ids::{BatchId, CaseId, DatabaseId, DocumentId, ItemId, UserId},
    outcome::{Category, DocumentState, Exception, Exclusion},
    text::{Metadata, PageSource, PageText, Text},
};
use serde::Serialize;
use storage::{
    documents::{Document, NearDuplicate, Reading},
    items::Listed,
};
use utoipa::ToSchema;

use super::versions::ReadingBody;

/// A document: one file, or one item unpacked from a container.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DocumentBody {
    /// Its id.
    #[schema(value_type = Uuid)]
    pub id: DocumentId,
    /// Its case.
    #[schema(value_type = Uuid)]
    pub case_id: CaseId,
    /// Its database.
    #[schema(value_type = Uuid)]
    pub database_id: DatabaseId,
    /// The delivery it came with.
    #[schema(value_type = Uuid)]
    pub batch_id: BatchId,
    /// The container it was unpacked from.
    #[schema(value_type = Option<Uuid>)]
    pub parent_id: Option<DocumentId>,
    /// The document its family begins with: itself, the outermost container, or the message of a mail store.
    #[schema(value_type = Uuid)]
    pub family_id: DocumentId,
    /// Position in its container, from 0.
    pub ordinal: u32,
    /// Containers around it.
    pub depth: u32,
    /// File name as delivered.
    pub name: String,
    /// Path as delivered, containers included.
    pub path: String,
    /// Whose document it is.
    pub custodian: Option<String>,
    /// Labels.
    pub labels: Vec<String>,
    /// What the load file of its delivery says of it.
    pub load_file: Option<ListedBody>,
    /// `received`, `ingested`, `extracted`, `indexed`, `duplicate`, `excluded` or `exception`.
    pub state: &'static str,
    /// Format, once identified.
    pub format: Option<String>,
    /// Media type, once identified.
    pub media_type: Option<String>,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the bytes as received, in hexadecimal.
    pub sha256: String,
    /// Which of its versions this is: 1 for the file as received, more once it was replaced.
    pub version: u32,
    /// Pages, once extracted.
    pub pages: Option<u32>,
    /// Characters of text, once extracted.
    pub characters: Option<u32>,
    /// The document this one is a copy of.
    #[schema(value_type = Option<Uuid>)]
    pub duplicate_of: Option<DocumentId>,
    /// The thread it belongs to, named by its earliest message; of messages that are indexed.
    #[schema(value_type = Option<Uuid>)]
    pub thread_id: Option<DocumentId>,
    /// The message it answers, or the nearest one before that which is here.
    #[schema(value_type = Option<Uuid>)]
    pub answers_id: Option<DocumentId>,
    /// Whether a message says or brings something that no later message of its thread does.
    pub inclusive: Option<bool>,
    /// Its group of near-duplicates.
    pub near_duplicate_group: Option<GroupBody>,
    /// Why it could not be fully processed.
    pub exception: Option<ExceptionBody>,
    /// Why it was left out: `cancelled`, `ignored` or `known_file`.
    pub exclusion: Option<&'static str>,
    /// Who set its exception aside, and why.
    pub ignored: Option<IgnoredExceptionBody>,
    /// When the file was last changed, as delivered (RFC 3339).
    pub file_modified_at: Option<String>,
    /// When it was received or unpacked (RFC 3339).
    pub created_at: String,
    /// When it last moved (RFC 3339).
    pub updated_at: String,
}

/// What a load file says of a document.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ListedBody {
    /// The item it was announced as.
    #[schema(value_type = Uuid)]
    pub item_id: ItemId,
    /// Its number in the production (Bates number, control number).
    pub control_number: Option<String>,
    /// The control number of the item it is attached to.
    pub parent_control_number: Option<String>,
    /// Everything else, by the names of the load file.
    pub fields: BTreeMap<String, String>,
}

impl From<Listed> for ListedBody {
    fn from(listed: Listed) -> Self {
        Self {
            item_id: listed.item,
            control_number: listed.control_number,
            parent_control_number: listed.parent,
            fields: listed.fields,
        }
    }
}

/// A group of near-duplicates, as one of them sees it.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct GroupBody {
    /// Its longest document, which names it.
    #[schema(value_type = Uuid)]
    pub pivot_id: DocumentId,
    /// How alike the document is to that one, in percent.
    pub similarity: u8,
}

/// A message of a thread.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MessageOfThreadBody {
    /// The document; `answers_id` is its parent in the thread.
    #[serde(flatten)]
    pub document: DocumentBody,
    /// When it was sent (RFC 3339).
    pub sent_at: Option<String>,
    /// Sender.
    pub from: Option<String>,
    /// Primary recipients.
    pub to: Vec<String>,
    /// Subject line.
    pub subject: Option<String>,
}

impl From<Document> for MessageOfThreadBody {
    fn from(document: Document) -> Self {
        let metadata = document.details.metadata.clone();
        Self {
            sent_at: metadata.sent_at.map(domain::clock::Timestamp::rfc3339),
            from: metadata.from,
            to: metadata.to,
            subject: metadata.subject,
            document: document.into(),
        }
    }
}

/// A near-duplicate of a document.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct NearDuplicateBody {
    /// The other document.
    #[serde(flatten)]
    pub document: DocumentBody,
    /// How alike the two are, in percent: the share of runs of three words that both have. Estimated, with a standard error of
    /// about three.
    pub similarity: Option<u8>,
}

impl From<NearDuplicate> for NearDuplicateBody {
    fn from(other: NearDuplicate) -> Self {
        Self { similarity: other.similarity, document: other.document.into() }
    }
}

/// Why a document could not be fully processed, and what to do about it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ExceptionBody {
    /// The kind of failure.
    pub category: &'static str,
    /// What happened.
    pub detail: String,
    /// What can be done about it.
    pub advice: &'static str,
    /// The page concerned, from 1.
    pub page: Option<u32>,
    /// The member of the container concerned.
    pub member: Option<String>,
}

/// An exception that somebody set aside.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct IgnoredExceptionBody {
    /// The reason, in that person's words.
    pub note: String,
    /// Who.
    #[schema(value_type = Option<Uuid>)]
    pub by: Option<UserId>,
    /// When (RFC 3339).
    pub at: String,
    /// The exception it was.
    pub exception: Option<ExceptionBody>,
}

impl IgnoredExceptionBody {
    fn of(document: &Document) -> Option<Self> {
        if document.exclusion != Some(Exclusion::Ignored) {
            return None;
        }
        let ignored = document.details.ignored.clone()?;
        let exception = ExceptionBody::known(document);
        Some(Self { note: ignored.note, by: ignored.by, at: ignored.at.rfc3339(), exception })
    }
}

impl ExceptionBody {
    /// Why the document stands as an exception, if it does.
    pub(super) fn of(document: &Document) -> Option<Self> {
        if document.state == DocumentState::Exception { Self::known(document) } else { None }
    }

    /// What is known: the sealed exception, or at least its category.
    fn known(document: &Document) -> Option<Self> {
        let category = document.category?;
        let known = document.details.exception.clone().unwrap_or_else(|| Exception::new(category, ""));
        let Exception { category, detail, page, member } = known;
        Some(Self { category: category.name(), detail, advice: category.advice(), page, member })
    }
}

impl From<Document> for DocumentBody {
    fn from(document: Document) -> Self {
        Self {
            exception: ExceptionBody::of(&document),
            exclusion: document.exclusion.map(Exclusion::name),
            ignored: IgnoredExceptionBody::of(&document),
            id: document.id,
            case_id: document.case,
            database_id: document.database,
            batch_id: document.batch,
            parent_id: document.parent,
            family_id: document.family,
            ordinal: document.ordinal,
            depth: document.depth,
            name: document.details.name,
            path: document.details.path,
            custodian: document.details.custodian,
            labels: document.details.labels,
            load_file: document.details.listed.map(ListedBody::from),
            state: document.state.name(),
            format: document.format,
            media_type: document.media_type,
            size: document.size,
            sha256: hex::encode(document.sha256),
            version: document.version,
            pages: document.pages,
            characters: document.characters,
            duplicate_of: document.duplicate_of,
            thread_id: document.relation.thread,
            answers_id: document.relation.answers,
            inclusive: document.relation.inclusive,
            near_duplicate_group: document
                .relation
                .group
                .map(|(pivot_id, similarity)| GroupBody { pivot_id, similarity }),
            file_modified_at: document.details.file_modified_at.map(domain::clock::Timestamp::rfc3339),
            created_at: document.created_at.rfc3339(),
            updated_at: document.updated_at.rfc3339(),
        }
    }
}

/// Something of a document that could not be read while the rest could.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WarningBody {
    /// The kind of failure.
    #[schema(value_type = String)]
    pub category: Category,
    /// The page concerned, from 1.
    pub page: Option<u32>,
    /// What happened.
    pub detail: String,
}

/// Everything known of one document.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DocumentDetail {
    /// The document.
    #[serde(flatten)]
    pub document: DocumentBody,
    /// What it says about itself: title, author, subject, sender, recipients, dates.
    #[schema(value_type = Object)]
    pub metadata: Metadata,
    /// What could not be read of it.
    pub warnings: Vec<WarningBody>,
    /// True when the extension promised another format.
    pub extension_mismatch: bool,
    /// An inline part of a message, not an attachment.
    pub inline: bool,
    /// What read it last: tool, version, parameters, and the hashes of the bytes and the text.
    pub reading: Option<ReadingBody>,
    /// The first 200 documents unpacked from it, in order; the list of its family has all.
    pub children: Vec<DocumentBody>,
}

impl DocumentDetail {
    pub(super) fn new(document: Document, children: Vec<Document>, reading: Option<Reading>) -> Self {
        let warnings = document.details.warnings.iter();
        Self {
            metadata: document.details.metadata.clone(),
            warnings: warnings
                .map(|w| WarningBody { category: w.category, page: w.page, detail: w.detail.clone() })
                .collect(),
            extension_mismatch: document.details.extension_mismatch,
            inline: document.details.inline,
            reading: reading.map(ReadingBody::from),
            children: children.into_iter().map(DocumentBody::from).collect(),
            document: document.into(),
        }
    }
}

/// The text of a document, or of one page of it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TextBody {
    /// The document.
    #[schema(value_type = Uuid)]
    pub document_id: DocumentId,
    /// Pages of the document.
    pub page_count: u32,
    /// Characters of the whole text.
    pub characters: u32,
    /// The text asked for: of the page, or of the whole document.
    pub text: String,
    /// The pages it covers.
    pub pages: Vec<TextPage>,
}

/// One page of a document's text.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TextPage {
    /// Number from 1.
    pub number: u32,
    /// First character, in the whole text.
    pub start: u32,
    /// One past the last.
    pub end: u32,
    /// `native`, `ocr` or `empty`.
    #[schema(value_type = String)]
    pub source: PageSource,
    /// Sheet name, slide title or printed page label.
    pub label: Option<String>,
    /// Width in points, where the format has a page size.
    pub width: Option<f32>,
    /// Height in points.
    pub height: Option<f32>,
    /// The words of the page, when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub words: Option<Vec<WordBody>>,
}

/// A word and where it stands.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct WordBody {
    /// First character, in the whole text.
    pub start: u32,
    /// One past the last.
    pub end: u32,
    /// Left, top, right, bottom in points from the top left corner of the page.
    #[schema(value_type = Vec<f32>)]
    pub bbox: [f32; 4],
    /// How sure recognition is of the word, from 0 to 100; absent where the file itself holds the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<u8>,
}

impl TextBody {
    /// `None` when there is no such page.
    pub(super) fn new(document_id: DocumentId, text: &Text, page: Option<u32>, boxes: bool) -> Option<Self> {
        let characters = domain::text::scalars(&text.text);
        let page_count = u32::try_from(text.pages.len()).unwrap_or(u32::MAX);
        let (shown, pages) = match page {
            None => (text.text.clone(), text.pages.iter().map(|page| TextPage::new(page, false)).collect()),
            Some(number) => {
                let page = text.pages.iter().find(|page| page.number == number)?;
                (text.slice(page.start..page.end)?.to_owned(), vec![TextPage::new(page, boxes)])
            }
        };
        Some(Self { document_id, page_count, characters, text: shown, pages })
    }
}

impl TextPage {
    fn new(page: &PageText, boxes: bool) -> Self {
        let words = page.words.iter().map(|word| WordBody {
            start: word.start,
            end: word.end,
            bbox: word.bbox,
            confidence: word.confidence,
        });
        Self {
            number: page.number,
            start: page.start,
            end: page.end,
            source: page.source,
            label: page.label.clone(),
            width: page.size.map(|size| size.0),
            height: page.size.map(|size| size.1),
            words: boxes.then(|| words.collect()),
        }
    }
}
