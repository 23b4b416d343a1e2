//! Which texts are nearly the same.

use domain::{ids::CaseId, similarity::groups};
use storage::documents::relations::{Change, Signed};

use super::{super::flag, walk, write};
use crate::runner::{JobError, Run};

/// Groups a case's texts and writes what changed.
pub(super) async fn find(run: &Run, case: CaseId, threshold: u8) -> Result<(), JobError> {
    let (texts, stale) = walk::<Signed>(run, case).await?;
    let stop = flag(&run.cancel);
    let (texts, places) = tokio::task::spawn_blocking(move || {
        let places = groups(&texts, threshold, &stop);
        (texts, places)
    })
    .await?;
    let places = places.ok_or(JobError::Cancelled)?;
    let mut changes: Vec<_> = stale.into_iter().map(|document| (document, Change::Grouped(None))).collect();
    for (text, place) in texts.iter().zip(places) {
        let group = place.map(|place| (texts[place.pivot as usize].document, place.similarity));
        if group != text.group {
            changes.push((text.document, Change::Grouped(group)));
        }
    }
    write(run, case, &changes).await
}
