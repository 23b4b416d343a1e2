//! A client that delivers as e-discovery platforms do: a load file, then each file in pieces (tus 1.0.0), going on where it stopped; but for
//! the first, which the server fetches from a mounted folder where there is one.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    Client, Received, Refused,
    client::{answer, text},
};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// Looks before the server is given up.
const PATIENCE: usize = 500;

/// Where uploads that were begun lie: what a client keeps through every restart.
#[derive(Debug, Default)]
pub struct Places {
    known: Mutex<BTreeMap<String, String>>,
    /// A folder that the server may fetch references from.
    folder: Option<PathBuf>,
}

impl Places {
    /// Places of a client that shares `folder` with the server.
    pub fn sharing(folder: PathBuf) -> Self {
        Self { known: Mutex::default(), folder: Some(folder) }
    }

    /// Puts the first file into the folder; the reference to it.
    fn refer(&self, key: &str, files: &[(String, Vec<u8>)]) -> Result<Option<String>> {
        let (Some(folder), Some((_, bytes))) = (&self.folder, files.first()) else { return Ok(None) };
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join(key), bytes)?;
        Ok(Some(key.to_owned()))
    }

    fn get(&self, key: &str) -> Option<String> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn put(&self, key: &str, place: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), place.to_owned());
    }
}

impl Client {
    /// Delivers files (path, bytes) as one batch named by `key`; called again with the same key and places it goes on, and in the end is
    /// the same delivery. Ends when every file is a document and the batch is sealed.
    pub async fn deliver_in_pieces(
        &self,
        database: &str,
        key: &str,
        files: &[(String, Vec<u8>)],
        places: &Places,
    ) -> Result<Vec<Received>> {
        let mut referred = places.refer(key, files)?;
        let is_referred = referred.is_some();
        let line = |(path, bytes): &(String, Vec<u8>)| {
            json!({ "path": path, "bytes": bytes.len(), "source": referred.take() }).to_string() + "\n"
        };
        let manifest: String = files.iter().map(line).collect();
        let (batch, file) = self.announce(database, key, manifest).await?;
        let base = format!("/databases/{database}/batches/{batch}");
        self.until(async || Ok(self.get(&format!("{base}/load-files/{file}")).await?["state"] == "read")).await?;
        let mut received = Vec::new();
        for (number, (path, bytes)) in files.iter().enumerate() {
            let document = if is_referred && number == 0 {
                self.fetched(&base).await?
            } else {
                let place = self.send(&base, &format!("{key} {number}"), path, bytes, places).await?;
                self.document_of(&place).await?
            };
            let shown = self.get(&format!("/documents/{document}")).await?;
            ensure!(shown["load_file"]["item_id"].is_string(), "{path} lost what its load file says");
            received.push(Received { document, path: path.clone(), sha256: text(&shown, "sha256")? });
        }
        self.post(&format!("{base}/seal"), &Value::Null).await?;
        Ok(received)
    }

    /// Opens a batch with a load file of JSON lines; the ids of both. Repeated with the same key it is the same batch.
    pub async fn announce(&self, database: &str, key: &str, manifest: String) -> Result<(String, String)> {
        let request = self.request(Method::POST, &format!("/databases/{database}/batches"));
        let request = request.header("Idempotency-Key", key).header("Content-Type", "application/x-ndjson");
        let opened = answer(request.body(manifest).send().await?).await?;
        Ok((text(&opened, "id")?, text(&opened["load_file"], "id")?))
    }

    /// The document that the server made of what it fetched: the first item.
    async fn fetched(&self, base: &str) -> Result<String> {
        let mut document = None;
        self.until(async || {
            let items = self.get(&format!("{base}/items?limit=1")).await?;
            let item = &items["items"][0];
            ensure!(item["state"] != "failed", "a reference was not fetched: {}", item["error"]);
            document = item["document_id"].as_str().map(str::to_owned);
            Ok(document.is_some())
        })
        .await?;
        document.context("the reference became a document")
    }

    async fn until(&self, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
        for _ in 0..PATIENCE {
            if holds().await? {
                return Ok(());
            }
            sleep(LOOK).await;
        }
        bail!("the server took too long")
    }

    /// Sends what is missing of a file, in two requests at least.
    async fn send(&self, base: &str, key: &str, path: &str, bytes: &[u8], places: &Places) -> Result<String> {
        let place = if let Some(place) = places.get(key) {
            place
        } else {
            let request = self.tus(Method::POST, &format!("{base}/uploads"));
            let named = format!("filename {}", BASE64_STANDARD.encode(path));
            let request = request.header("Upload-Length", bytes.len()).header("Upload-Metadata", named);
            let created = fine(request.send().await?)?;
            let place = header(&created, "location").context("a created upload has a place")?;
            let place = place.strip_prefix("/api/v1").context("the place is in the API")?.to_owned();
            places.put(key, &place);
            place
        };
        let mut offset = self.offset(&place).await?;
        while offset < bytes.len() {
            let end = if offset < bytes.len() / 2 { bytes.len() / 2 } else { bytes.len() };
            let request = self.tus(Method::PATCH, &place).header("Upload-Offset", offset);
            let request = request.header("Content-Type", "application/offset+octet-stream");
            fine(request.body(bytes[offset..end].to_vec()).send().await?)?;
            offset = self.offset(&place).await?;
        }
        Ok(place)
    }

    async fn offset(&self, place: &str) -> Result<usize> {
        let head = fine(self.tus(Method::HEAD, place).send().await?)?;
        header(&head, "upload-offset").context("an upload has an offset")?.parse().context("an offset is a number")
    }

    async fn document_of(&self, place: &str) -> Result<String> {
        let mut document = None;
        self.until(async || {
            let head = fine(self.tus(Method::HEAD, place).send().await?)?;
            document = header(&head, "dia-document").map(str::to_owned);
            Ok(document.is_some())
        })
        .await?;
        document.context("the upload became a document")
    }

    fn tus(&self, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path).header("Tus-Resumable", "1.0.0")
    }
}

fn fine(response: Response) -> Result<Response> {
    let status: StatusCode = response.status();
    if status.is_success() {
        return Ok(response);
    }
    Err(Refused {
        status,
        code: String::new(),
        message: format!("an upload in pieces was refused at {}", response.url().path()),
    }
    .into())
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}
