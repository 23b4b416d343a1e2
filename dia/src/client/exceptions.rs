//! What a paralegal does about exceptions from a terminal: list them, try them again, set them aside, replace the file; and
//! have a batch read again.

use std::path::Path;

use anyhow::{Context as _, Result};
use domain::ids;
use reqwest::{Method, multipart};
use serde_json::{Value, json};
use tokio_util::io::ReaderStream;

use super::{
    read::{all, text},
    session::{Session, answer},
};
use crate::{
    cli::{Chosen, ExceptionsCommand},
    out,
};

/// `dia exceptions …`
pub(super) async fn run(server: &str, database: Option<&str>, command: Option<ExceptionsCommand>) -> Result<()> {
    match command {
        None => list(server, database.context("say which database")?).await,
        Some(ExceptionsCommand::Retry { database, chosen }) => retry(server, &database, &chosen).await,
        Some(ExceptionsCommand::Ignore { database, note, chosen }) => ignore(server, &database, &note, &chosen).await,
        Some(ExceptionsCommand::Replace { document, file, note }) => {
            replace(server, &document, &file, note.as_deref()).await
        }
    }
}

async fn list(server: &str, database: &str) -> Result<()> {
    let session = Session::resume(server)?;
    for row in all::<Value>(&session, &format!("/databases/{database}/exceptions"), &[]).await? {
        out::line(&format!(
            "{:<16}  {}  {}\n                  {} — {}",
            text(&row, "category"),
            text(&row, "document_id"),
            text(&row, "path"),
            text(&row, "detail"),
            text(&row, "advice")
        ));
    }
    Ok(())
}

fn fields(chosen: &Chosen) -> Value {
    json!({ "category": chosen.category, "document_id": chosen.document, "batch_id": chosen.batch })
}

async fn retry(server: &str, database: &str, chosen: &Chosen) -> Result<()> {
    let session = Session::resume(server)?;
    let path = format!("/databases/{database}/exceptions/retry");
    let body: Value = session.post(&path, &ids::fresh().to_string(), &fields(chosen)).await?;
    out::line(&format!("{} documents are tried again; see `dia status {database}`", body["retried"]));
    Ok(())
}

async fn ignore(server: &str, database: &str, note: &str, chosen: &Chosen) -> Result<()> {
    let session = Session::resume(server)?;
    let mut fields = fields(chosen);
    fields["note"] = note.into();
    let path = format!("/databases/{database}/exceptions/ignore");
    let body: Value = session.post(&path, &ids::fresh().to_string(), &fields).await?;
    out::line(&format!("{} exceptions are set aside", body["ignored"]));
    Ok(())
}

async fn replace(server: &str, document: &str, file: &Path, note: Option<&str>) -> Result<()> {
    let session = Session::resume(server)?;
    // A refused token costs a second pass over the file, so a fresh one is asked for with a small request first.
    let _: Value = session.get("/auth/me", &[]).await?;
    let body = tokio::fs::File::open(file).await.with_context(|| format!("cannot open {}", file.display()))?;
    let size = body.metadata().await?.len();
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).context("that is not a file")?;
    let body = reqwest::Body::wrap_stream(ReaderStream::new(body));
    let mut form = multipart::Form::new();
    if let Some(note) = note {
        form = form.text("note", note.to_owned());
    }
    let form = form.part("file", multipart::Part::stream_with_length(body, size).file_name(name));
    let form = std::sync::Mutex::new(Some(form));
    let key = ids::fresh().to_string();
    let sent = session
        .send(Method::POST, &format!("/documents/{document}/replacement"), |request| {
            let form = form.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take().unwrap_or_default();
            request.header("Idempotency-Key", &key).multipart(form)
        })
        .await?;
    let replaced: Value = answer(sent).await?;
    out::line(&format!("{document} is version {} now, {} bytes", replaced["version"], replaced["size"]));
    Ok(())
}

/// `dia reprocess`
pub(super) async fn reprocess(server: &str, database: &str, batch: &str, everything: bool) -> Result<()> {
    let session = Session::resume(server)?;
    let path = format!("/databases/{database}/batches/{batch}/reprocess");
    let _: Value = session.post(&path, &ids::fresh().to_string(), &json!({ "all": everything })).await?;
    out::line(&format!("the batch is read again where needed; see `dia status {database}`"));
    Ok(())
}
