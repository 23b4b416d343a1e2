//! Which messages belong together, and which answer which.

use domain::{
    ids::{BlobId, CaseId, DocumentId},
    threads,
};
use storage::documents::relations::{Change, Message, Threaded};

use super::{walk, write};
use crate::runner::{JobError, Run};

/// A message in its thread, without what threading needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    /// The message that stands for its thread.
    pub(super) thread: DocumentId,
    pub(super) document: DocumentId,
    pub(super) text: BlobId,
    pub(super) characters: u32,
    /// What its row says.
    pub(super) inclusive: Option<bool>,
}

/// Threads a case's messages and writes what changed. Returns them thread by thread, each in the order of time.
pub(super) async fn find(run: &Run, case: CaseId) -> Result<Vec<Placed>, JobError> {
    let (messages, stale) = walk(run, case).await?;
    let (placed, changes) = tokio::task::spawn_blocking(move || place(messages)).await?;
    write(run, case, &stale.into_iter().map(|document| (document, Change::Unthreaded)).collect::<Vec<_>>()).await?;
    write(run, case, &changes).await?;
    Ok(placed)
}

fn place(mut messages: Vec<Message>) -> (Vec<Placed>, Vec<(DocumentId, Change)>) {
    // Of messages that look the same the one with the lower id comes first: that order alone comes from when they came.
    messages.sort_unstable_by_key(|message| {
        let letter = &message.letter;
        (letter.sent_at.is_none(), letter.sent_at, letter.message, message.document)
    });
    let places = threads::threads(&messages);
    let mut sizes = vec![0_u32; messages.len()];
    for place in &places {
        sizes[place.thread] += 1;
    }
    let mut next = vec![0_u32; messages.len()];
    let mut changes = Vec::new();
    for (message, place) in messages.iter().zip(&places) {
        let position = next[place.thread];
        next[place.thread] += 1;
        let threaded = Threaded {
            thread: messages[place.thread].document,
            answers: place.parent.map(|parent| messages[parent].document),
            position,
        };
        let alone = sizes[place.thread] == 1;
        if threaded.mark() != message.mark || (alone && message.inclusive != Some(true)) {
            changes.push((message.document, Change::Threaded { place: threaded, alone }));
        }
    }
    let names: Vec<DocumentId> = places.iter().map(|place| messages[place.thread].document).collect();
    let placed = messages.into_iter().zip(names).map(|(message, thread)| {
        let Message { document, text, characters, inclusive, .. } = message;
        Placed { thread, document, text, characters, inclusive }
    });
    let mut placed: Vec<Placed> = placed.collect();
    // Stable: within a thread the order of time stays.
    placed.sort_by_key(|message| message.thread);
    (placed, changes)
}
