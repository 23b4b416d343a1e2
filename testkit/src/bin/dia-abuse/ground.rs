//! What is attacked: a server with its owner, one case that holds a thing of every kind, and somebody who is a member of nothing.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use reqwest::{
    Method,
    multipart::{Form, Part},
};
use serde_json::{Value, json};
use testkit::{Home, Server};
use tokio::time::{Instant, sleep};

use crate::{
    caller::{Caller, hear, text},
    document::Document,
};

/// Words of the one document; no payload says any of them.
pub(crate) const LETTER: &str = "Seven herons cross the canal at dusk, and nobody counts them.\n";
/// How long the one document may take to be found.
const INDEXED: Duration = Duration::from_mins(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) home: Home,
    pub(crate) server: Server,
    pub(crate) document: Document,
    /// Administrator, who owns the case.
    pub(crate) ann: Caller,
    /// Member of no case but an own one.
    pub(crate) bob: Caller,
    /// Ann's things, by kind: `case`, `database`, `document`, …
    pub(crate) things: Things,
    /// Bob's.
    pub(crate) others: Things,
}

/// Ids by kind.
pub(crate) type Things = BTreeMap<&'static str, String>;

/// Nobody is slowed down: what is asked is what the answers are.
pub(crate) fn unlimited(home: Home) -> Home {
    let kinds = ["LOGIN", "READ", "WRITE", "UPLOAD", "CHAT", "EXPORT"];
    kinds.iter().fold(home, |home, kind| home.with(&format!("DIA_LIMITS__{kind}__PER_MINUTE"), "0"))
}

impl Ground {
    /// Starts a server of this home and fills it.
    pub(crate) async fn open(home: Home) -> Result<Self> {
        let server = home.start().await?;
        let code = server.setup_code.clone().context("the server printed no setup code")?;
        let ann = Caller::sign_up(&server.address, &code, "ann@example.org").await?;
        let bob = ann.invite("bob@example.org").await?;
        let mut things = fill(&ann).await?;
        // The person that requests name is Bob: Ann must not shut herself out of her own case by what she is made to try.
        things.insert("user", bob.id.clone());
        let others = matter(&bob).await?;
        let document = Document::read(&ann).await?;
        Ok(Self { home, server, document, ann, bob, things, others })
    }

    /// The same with the settings that all classes share.
    pub(crate) fn home(directory: &Path) -> Result<Home> {
        std::fs::create_dir_all(directory)?;
        let home = unlimited(Home::new(directory)?).with("DIA_WORKERS__INDEX_LINGER_MILLISECONDS", "100");
        Ok(home.with("DIA_API__HEADER_TIMEOUT_SECONDS", "3").with("DIA_API__BODY_TIMEOUT_SECONDS", "3"))
    }

    /// A thing of Ann's.
    pub(crate) fn thing(&self, kind: &str) -> &str {
        self.things.get(kind).map_or("", String::as_str)
    }
}

/// A case, its database and a document in it.
async fn matter(owner: &Caller) -> Result<Things> {
    let mut things = Things::new();
    let case = text(&owner.made("/cases", &json!({ "title": "Penrose v. Example" })).await?, "id")?;
    let database = json!({ "case_id": case, "name": "Production" });
    let database = text(&owner.made("/databases", &database).await?, "id")?;
    let part = Part::bytes(LETTER.as_bytes().to_vec()).file_name("letter.txt");
    let upload =
        owner.ask(Method::POST, &format!("/databases/{database}/files")).multipart(Form::new().part("file", part));
    let upload = hear(upload).await?.json();
    things.insert("batch", text(&upload, "batch_id")?);
    things.insert("document", text(&upload["files"][0], "document_id")?);
    let deadline = Instant::now() + INDEXED;
    while owner.read(&format!("/databases/{database}/status")).await?["indexed"] != 1 {
        ensure!(Instant::now() < deadline, "the document was not indexed in time");
        sleep(Duration::from_millis(100)).await;
    }
    things.extend([
        ("case", case),
        ("database", database),
        ("user", owner.id.clone()),
        ("session", owner.session.clone()),
    ]);
    Ok(things)
}

/// A thing of every kind that has an id.
async fn fill(ann: &Caller) -> Result<Things> {
    let mut things = matter(ann).await?;
    let (case, database, document) = (things["case"].clone(), things["database"].clone(), things["document"].clone());
    let hook = json!({ "url": "https://hooks.example.org/dia" });
    let hook = text(&ann.made(&format!("/cases/{case}/webhooks"), &hook).await?, "id")?;
    let sent = ann.made(&format!("/cases/{case}/webhooks/{hook}/test"), &Value::Null).await?;
    let passwords = json!({ "passwords": ["grey canal at dusk"] });
    ann.made(&format!("/cases/{case}/passwords"), &passwords).await?;
    let password = ann.read(&format!("/cases/{case}/passwords")).await?;
    let key = json!({ "name": "relay", "scopes": ["cases:read"], "expires_in_days": 7 });
    let key = ann.made("/api-keys", &key).await?;

    let opened = ann.ask(Method::POST, &format!("/databases/{database}/batches?name=VOL001"));
    let opened = opened.header("content-type", "application/octet-stream").body("{\"path\": \"herons.txt\"}\n");
    let opened = hear(opened).await?.json();
    let announced = text(&opened, "id")?;
    let read = format!("/databases/{database}/batches/{announced}/load-files");
    let deadline = Instant::now() + INDEXED;
    while ann.read(&read).await?["items"][0]["state"] != "read" {
        ensure!(Instant::now() < deadline, "the load file was not read in time");
        sleep(Duration::from_millis(50)).await;
    }
    let upload = ann.ask(Method::POST, &format!("/databases/{database}/batches/{announced}/uploads"));
    let upload = upload.header("Tus-Resumable", "1.0.0").header("Upload-Length", "64");
    let upload = hear(upload.header("Upload-Metadata", "filename aGVyb24udHh0")).await?;
    ensure!(upload.status == 201, "an upload was not begun: {}", upload.words());
    let upload = upload.header("location").rsplit('/').next().unwrap_or("").to_owned();

    let question = json!({ "case_id": case, "database_id": database, "message": "Who crosses the canal?" });
    let asked = ann.made("/chat/message", &question).await?;
    let conversation = text(&asked, "conversation_id")?;
    let context = json!({ "conversation_id": conversation, "document_id": document });
    let context = ann.made("/chat/context", &context).await?;
    let event = ann.read(&format!("/cases/{case}/audit")).await?;
    let jobs = ann.read("/jobs").await?;

    things.extend([
        ("webhook", hook),
        ("delivery", text(&sent, "delivery_id")?),
        ("password", text(&password["items"][0], "id")?),
        ("key", text(&key, "id").or_else(|_| text(&key["key"], "id")).or_else(|_| text(&key["api_key"], "id"))?),
        ("announced", announced),
        ("load_file", text(&opened["load_file"], "id")?),
        ("upload", upload),
        ("conversation", conversation),
        ("message", text(&asked, "message_id")?),
        ("answer", text(&asked, "answer_id")?),
        ("context", text(&context, "id")?),
        ("event", text(&event["items"][0], "id")?),
        ("job", text(&jobs["items"][0], "id")?),
    ]);
    Ok(things)
}
