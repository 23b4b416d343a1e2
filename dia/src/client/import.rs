//! `dia import`: walks a folder, uploads every file in bounded requests, resumes after an interruption, waits for the work
//! and ends with the reconciliation.

use std::{
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use domain::{clock::Timestamp, events::Counts, ids};
use futures::{StreamExt as _, TryStreamExt as _};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Method, multipart};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::io::ReaderStream;

use super::{
    journal::{self, Journal},
    read::reconciliation,
    session::{Session, WAITS, answer, too_many},
};
use crate::out;

/// Files in one request.
const FILES: usize = 64;
/// Bytes in one request, unless a single file is larger.
const BYTES: u64 = 32 << 20;
/// Requests in flight.
const PARALLEL: usize = 4;
/// Attempts at one request before the import stops (and can be resumed).
const ATTEMPTS: u32 = 5;

struct Found {
    path: PathBuf,
    name: String,
    size: u64,
    modified: u128,
    key: String,
}

#[derive(Deserialize)]
struct Uploaded {
    #[serde(default)]
    rejected: Vec<Value>,
}

/// Runs the import.
pub(super) async fn run(
    server: &str,
    path: &Path,
    database: &str,
    custodian: Option<&str>,
    no_wait: bool,
) -> Result<()> {
    let session = Session::resume(server)?;
    let root = path.canonicalize().with_context(|| format!("cannot find {}", path.display()))?;
    let (files, unreadable) = walk(&root)?;
    let mut journal = Journal::open(session.server(), database, &root)?;
    let batch = match unfinished(&session, &mut journal, database, &files).await? {
        Some(batch) => batch,
        None => open_batch(&session, &mut journal, database, &root, custodian).await?,
    };
    let rejected = upload(&session, &mut journal, database, &batch, &files).await?;
    let base = format!("/databases/{database}/batches/{batch}");
    let _: Value = session.post(&format!("{base}/seal"), &format!("{batch}-seal"), &json!({})).await?;
    for row in &rejected {
        out::line(&format!("rejected {}: {}", row["name"], row["message"].as_str().unwrap_or("")));
    }
    for path in &unreadable {
        out::line(&format!("could not be read here: {path}"));
    }
    if no_wait {
        journal.finish()?;
        out::line(&format!("uploaded {} files into batch {batch}", files.len() - rejected.len()));
        return Ok(());
    }
    let counts = wait(&session, &base).await?;
    journal.finish()?;
    out::line(&reconciliation(&counts));
    if !counts.balances() {
        bail!("the equation does not close; please report this");
    }
    if rejected.is_empty() && unreadable.is_empty() {
        return Ok(());
    }
    bail!("{} files were rejected and {} could not be read; they are listed above", rejected.len(), unreadable.len())
}

/// The batch an interrupted import left, unless it was closed and the folder has files it has not seen: those are a delivery
/// of their own.
async fn unfinished(
    session: &Session,
    journal: &mut Journal,
    database: &str,
    files: &[Found],
) -> Result<Option<String>> {
    let Some(batch) = journal.batch.clone() else { return Ok(None) };
    let row: Value = session.get(&format!("/databases/{database}/batches/{batch}"), &[]).await?;
    if row["state"] != "open" && files.iter().any(|file| !journal.has(&file.key)) {
        journal.restart()?;
        return Ok(None);
    }
    out::line(&format!("resuming batch {batch}"));
    Ok(Some(batch))
}

async fn open_batch(
    session: &Session,
    journal: &mut Journal,
    database: &str,
    root: &Path,
    custodian: Option<&str>,
) -> Result<String> {
    let name = root.file_name().map_or_else(|| "import".to_owned(), |name| name.to_string_lossy().into_owned());
    let body = json!({ "name": name, "custodian": custodian, "source": "import" });
    let opened: Value =
        session.post(&format!("/databases/{database}/batches"), &ids::fresh().to_string(), &body).await?;
    let batch = opened["id"].as_str().context("the server gave no batch id")?.to_owned();
    journal.begin(&batch)?;
    Ok(batch)
}

/// Every regular file under `root`, in a stable order, named relative to it; links are not followed. Second: what could
/// not be read.
fn walk(root: &Path) -> Result<(Vec<Found>, Vec<String>)> {
    let base = if root.is_file() { root.parent().unwrap_or(root) } else { root };
    let (mut files, mut unreadable) = (Vec::new(), Vec::new());
    for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(e) => {
                unreadable.push(e.to_string());
                continue;
            }
        };
        if !entry.file_type().is_file() {
            continue;
        }
        let metadata = entry.metadata()?;
        let name = entry.path().strip_prefix(base)?.to_string_lossy().into_owned();
        let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let key = journal::key(&name, metadata.len(), modified);
        files.push(Found { path: entry.into_path(), name, size: metadata.len(), modified, key });
    }
    if files.is_empty() && unreadable.is_empty() {
        bail!("{} holds no files", root.display());
    }
    Ok((files, unreadable))
}

async fn upload(
    session: &Session,
    journal: &mut Journal,
    database: &str,
    batch: &str,
    files: &[Found],
) -> Result<Vec<Value>> {
    let total: u64 = files.iter().map(|file| file.size).sum();
    let bar = ProgressBar::new(total);
    bar.set_style(ProgressStyle::with_template("uploading  {bar:40} {bytes}/{total_bytes}  {msg}")?);
    let delivered: u64 = files.iter().filter(|file| journal.has(&file.key)).map(|file| file.size).sum();
    bar.set_position(delivered);
    let groups = groups(files.iter().filter(|file| !journal.has(&file.key)));
    let mut rejected = Vec::new();
    let mut done = futures::stream::iter(groups.into_iter().map(|group| async move {
        let uploaded = send(session, database, batch, &group).await?;
        anyhow::Ok((group, uploaded))
    }))
    .buffer_unordered(PARALLEL);
    while let Some((group, uploaded)) = done.try_next().await? {
        journal.add(&group.iter().map(|file| file.key.clone()).collect::<Vec<_>>())?;
        rejected.extend(uploaded.rejected);
        bar.inc(group.iter().map(|file| file.size).sum());
    }
    bar.finish();
    Ok(rejected)
}

fn groups<'a>(files: impl Iterator<Item = &'a Found>) -> Vec<Vec<&'a Found>> {
    let mut groups: Vec<Vec<&Found>> = Vec::new();
    let mut bytes = 0;
    for file in files {
        let full = groups.last().is_none_or(|group| group.len() >= FILES || bytes + file.size > BYTES);
        if full {
            groups.push(Vec::new());
            bytes = 0;
        }
        bytes += file.size;
        if let Some(group) = groups.last_mut() {
            group.push(file);
        }
    }
    groups
}

async fn send(session: &Session, database: &str, batch: &str, group: &[&Found]) -> Result<Uploaded> {
    let key = ids::fresh().to_string();
    let mut attempt = 0;
    let mut waits = 0;
    loop {
        attempt += 1;
        let problem = match try_send(session, database, batch, &key, group).await {
            Ok(response) if waits < WAITS && too_many(&response).is_some() => {
                // That is no failure: the server says how long.
                tokio::time::sleep(too_many(&response).unwrap_or_default()).await;
                (waits, attempt) = (waits + 1, attempt - 1);
                continue;
            }
            Ok(response) if response.status().is_server_error() && attempt < ATTEMPTS => {
                format!("HTTP {}", response.status().as_u16())
            }
            Ok(response) => return answer(response).await,
            Err(e) if attempt < ATTEMPTS => format!("{e:#}"),
            Err(e) => return Err(e.context("the upload failed; run the same command again to resume")),
        };
        let pause = Duration::from_millis(500 << attempt);
        out::error(&format!("{problem}; trying again in {} ms", pause.as_millis()));
        tokio::time::sleep(pause).await;
    }
}

async fn try_send(
    session: &Session,
    database: &str,
    batch: &str,
    key: &str,
    group: &[&Found],
) -> Result<reqwest::Response> {
    // A refused token costs a second pass over the files, so a fresh one is asked for with a small request first.
    let _: Value = session.get("/auth/me", &[]).await?;
    let mut form = multipart::Form::new().text("batch_id", batch.to_owned());
    for file in group {
        let body =
            tokio::fs::File::open(&file.path).await.with_context(|| format!("cannot open {}", file.path.display()))?;
        let modified = Timestamp(i64::try_from(file.modified).unwrap_or(0));
        form = form.text("modified_at", modified.rfc3339());
        let body = reqwest::Body::wrap_stream(ReaderStream::new(body));
        form = form.part("file", multipart::Part::stream_with_length(body, file.size).file_name(file.name.clone()));
    }
    let url = format!("/databases/{database}/files");
    let form = std::sync::Mutex::new(Some(form));
    session
        .send_once(Method::POST, &url, &|request: reqwest::RequestBuilder| {
            let form = form.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take().unwrap_or_default();
            request.header("Idempotency-Key", key).multipart(form)
        })
        .await
}

/// Watches the batch until nothing of it moves.
async fn wait(session: &Session, base: &str) -> Result<Counts> {
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template("processing {bar:40} {pos}/{len} documents")?);
    loop {
        let batch: Value = session.get(base, &[]).await?;
        let counts: Counts = serde_json::from_value(batch["counts"].clone()).context("the server gave no counts")?;
        let total = counts.received + counts.unpacked;
        bar.set_length(total);
        bar.set_position(total - counts.in_flight);
        if counts.in_flight == 0 {
            bar.finish();
            return Ok(counts);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
