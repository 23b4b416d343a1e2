//! What went wrong with a delivery: of its items and of its documents, in one list.

use std::collections::BTreeMap;

use domain::{
    ids::{DocumentId, ItemId},
    page::{Page, PageQuery},
};
use uuid::Uuid;

use super::{Item, ItemError, troubled};
use crate::{Result, Tx, batches::Batch, documents};

/// One line of the list of what went wrong with a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The place in the list.
    pub id: Uuid,
    /// What is wrong.
    pub error: ItemError,
    /// In words.
    pub message: String,
    /// Path as announced, or as delivered.
    pub path: String,
    /// The item, when a load file announces it.
    pub item: Option<ItemId>,
    /// The line of its record.
    pub line: Option<u64>,
    /// Its number in the production.
    pub control_number: Option<String>,
    /// The document, when there is one.
    pub document: Option<DocumentId>,
    /// What else the load file says.
    pub fields: BTreeMap<String, String>,
}

/// What went wrong with a batch: records that cannot be used, files that came otherwise than announced or not at all, and
/// documents that ended as exceptions, whether announced, delivered without, or unpacked.
pub async fn problems(tx: &mut Tx, batch: &Batch, page: &PageQuery) -> Result<Page<Problem>> {
    let limit = page.limit()?;
    let after: Uuid = page.key()?.unwrap_or(Uuid::nil());
    let most = i64::from(limit) + 1;
    let mut problems: Vec<Problem> = troubled(tx, batch, after, most).await?.into_iter().map(of_item).collect();
    problems.extend(documents::exceptions_of(tx, batch, after, most).await?.into_iter().filter_map(of_document));
    problems.sort_unstable_by_key(|problem| problem.id);
    problems.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    Ok(Page::of(problems, limit, |problem| problem.id))
}

fn of_item(item: Item) -> Problem {
    let error = item.error.unwrap_or(ItemError::Refused);
    let message = item.details.message.unwrap_or_else(|| match error {
        ItemError::HashMismatch => {
            "the file that came does not have the announced SHA-256; deliver it again".to_owned()
        }
        _ => "the batch was sealed before the file came; deliver it in another batch".to_owned(),
    });
    Problem {
        id: item.id.uuid(),
        error,
        message,
        path: item.details.path,
        item: Some(item.id),
        line: Some(item.line),
        control_number: item.details.control_number,
        document: item.document,
        fields: item.details.fields,
    }
}

fn of_document(document: documents::Document) -> Option<Problem> {
    let exception = document.details.exception?;
    let listed = document.details.listed;
    Some(Problem {
        id: document.id.uuid(),
        error: ItemError::Exception(exception.category),
        message: exception.detail,
        path: document.details.path,
        item: listed.as_ref().map(|listed| listed.item),
        line: None,
        control_number: listed.as_ref().and_then(|listed| listed.control_number.clone()),
        document: Some(document.id),
        fields: listed.map(|listed| listed.fields).unwrap_or_default(),
    })
}
