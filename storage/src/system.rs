//! Facts about the whole system that outlive a process.

use crate::{
    Error, Result, Storage,
    db::{change, query},
};

/// Ties the rows to the root key they are sealed under: written at the first start, compared at every later one. A lost or
/// exchanged key file is noticed before anything is written under the wrong key.
pub async fn pin_root_key(storage: &Storage) -> Result<()> {
    let fingerprint = storage.vault.blind_index("root-key", "");
    let mut tx = storage.begin_machinery().await?;
    change!(tx, c => sqlx::query("insert into system (name, value) values ('root_key', $1) on conflict do nothing")
        .bind(&fingerprint[..]).execute(c).await.map(drop))?;
    let pinned: Vec<u8> =
        query!(tx, c => sqlx::query_scalar("select value from system where name = 'root_key'").fetch_one(c).await)?;
    tx.commit().await?;
    if pinned == fingerprint {
        Ok(())
    } else {
        Err(Error::Invalid(
            "keys/root.key is not the key these rows were written under; restore the right one from backup",
        ))
    }
}
