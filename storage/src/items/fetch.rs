//! Items whose file is fetched from where the load file says: taken once, by the file that came or by what went wrong.

use domain::ids::{BatchId, CaseId};

use super::{Item, ItemError, ItemState, place};
use crate::{Result, Tx, audit::Audit, db::change, tx::seal};

impl Item {
    /// Takes it for this transaction alone; false when its file came meanwhile, or nobody wants it any more.
    pub async fn take(&self, tx: &mut Tx) -> Result<bool> {
        let now = tx.now();
        let taken = change!(tx, c => sqlx::query("update items set updated_at = $2 where id = $1 and state = 'fetching'")
            .bind(self.id.uuid()).bind(now.0).execute(c).await.map(|r| r.rows_affected()))?;
        Ok(taken == 1)
    }

    /// Notes that its file cannot be fetched, and why; a file that is delivered still mends it. Nothing happens when somebody was
    /// faster.
    pub async fn fail(&self, tx: &mut Tx, case: CaseId, error: ItemError, message: &str) -> Result<()> {
        if !self.take(tx).await? {
            return Ok(());
        }
        let key = tx.case_key(case).await?;
        let mut details = self.details.clone();
        details.message = Some(message.to_owned());
        let (sealed, now) = (seal(&key, &place(self.id), &details)?, tx.now());
        change!(tx, c => sqlx::query("update items set state = $2, error = $3, sealed_details = $4, updated_at = $5 where id = $1")
            .bind(self.id.uuid()).bind(ItemState::Failed.name()).bind(error.name()).bind(sealed).bind(now.0)
            .execute(c).await.map(drop))?;
        tx.audit(Audit::ItemFailed { case, item: self.id, error: error.name() }).await
    }
}

/// Lets nothing more be fetched for a batch that was cancelled.
pub(crate) async fn forget(tx: &mut Tx, batch: BatchId) -> Result<()> {
    let now = tx.now();
    Ok(change!(tx, c => sqlx::query(
        "update items set state = 'awaited', updated_at = $2 where batch_id = $1 and state = 'fetching'")
        .bind(batch.uuid()).bind(now.0).execute(c).await.map(drop))?)
}
