//! `dia trail` and `dia export`: take what was done, or a whole case, away as a file that `dia verify` checks.

use std::path::Path;

use anyhow::{Context as _, Result};
use reqwest::Method;
use tokio::io::AsyncWriteExt as _;

use super::session::{Session, answer};
use crate::out;

/// `dia trail`
pub(super) async fn run(server: &str, case: Option<&str>, file: &Path) -> Result<()> {
    let path = case.map_or_else(|| "/audit/bundle".to_owned(), |case| format!("/cases/{case}/audit/bundle"));
    save(server, &path, file, "check it with `dia verify`").await
}

/// `dia export`
pub(super) async fn export(server: &str, case: &str, database: Option<&str>, file: &Path) -> Result<()> {
    let only = database.map_or_else(String::new, |database| format!("?database_id={database}"));
    let next = "unpack it with tar, and check the folder with `dia verify`";
    save(server, &format!("/cases/{case}/export{only}"), file, next).await
}

/// Writes beside `file` and renames, so that there is all of it or nothing.
async fn save(server: &str, path: &str, file: &Path, next: &str) -> Result<()> {
    let session = Session::resume(server)?;
    let mut response = session.send(Method::GET, path, |request| request).await?;
    if !response.status().is_success() {
        return answer(response).await;
    }
    let unfinished = file.with_extension("part");
    let cannot = || format!("cannot write {}", unfinished.display());
    let mut written = tokio::fs::File::create(&unfinished).await.with_context(cannot)?;
    let mut bytes = 0;
    while let Some(piece) = response.chunk().await.context("the server broke off; ask again")? {
        bytes += piece.len();
        written.write_all(&piece).await.with_context(cannot)?;
    }
    written.sync_all().await.with_context(cannot)?;
    tokio::fs::rename(&unfinished, file).await.with_context(|| format!("cannot write {}", file.display()))?;
    out::line(&format!("{}: {bytes} bytes; {next}", file.display()));
    Ok(())
}
