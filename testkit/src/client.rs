//! A client of the real API, for harnesses: what a browser or the command line would say, with every answer looked at.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use domain::events::{Answer, Citation, Counts};
use futures::{SinkExt as _, StreamExt as _};
pub use reqwest::Method;
use reqwest::{
    RequestBuilder, StatusCode,
    multipart::{Form, Part},
};
use serde_json::{Value, json};
use tokio_tungstenite::{connect_async, tungstenite::Message};

const EMAIL: &str = "first@example.org";
const PASSWORD: &str = "a long walk over wet granite, 1907";

/// An answer of the API that is not the one hoped for.
#[derive(Debug)]
pub struct Refused {
    /// HTTP status.
    pub status: StatusCode,
    /// The code of the error table.
    pub code: String,
    /// The server's words.
    pub message: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.code, self.message)
    }
}

impl std::error::Error for Refused {}

/// One received file as an upload's answer names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Its document.
    pub document: String,
    /// Its path as delivered.
    pub path: String,
    /// SHA-256 in hexadecimal, as the server counted it.
    pub sha256: String,
}

type Wire = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// Hears how far a database is.
#[allow(missing_debug_implementations, reason = "a connection says nothing of use")]
pub struct StatusSocket(Wire);

impl StatusSocket {
    /// The next word.
    pub async fn hear(&mut self) -> Result<Counts> {
        while let Some(message) = self.0.next().await {
            let Message::Text(message) = message? else { continue };
            let message: Value = serde_json::from_str(&message)?;
            ensure!(message["type"] == "database_status", "the socket says {message}");
            return Ok(serde_json::from_value(message)?);
        }
        bail!("the socket closed")
    }
}

/// Somebody signed in to a server.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    address: String,
    email: String,
    token: String,
}

impl Client {
    /// Signs the first user up with the setup code, and in.
    pub async fn sign_up(address: &str, code: &str) -> Result<Self> {
        Self::sign_up_as(address, code, EMAIL).await
    }

    /// Invites somebody, who becomes a member of dia and of no case; signs them up and in.
    pub async fn invite(&self, email: &str) -> Result<Self> {
        let invitation = self.post("/auth/invitations", &json!({ "role": "member" })).await?;
        Self::sign_up_as(&self.address, &text(&invitation, "code")?, email).await
    }

    async fn sign_up_as(address: &str, code: &str, email: &str) -> Result<Self> {
        let mut client =
            Self { http: http()?, address: address.to_owned(), email: email.to_owned(), token: String::new() };
        let fields = json!({ "code": code, "email": email, "name": "A User", "password": PASSWORD });
        client.post("/auth/signup", &fields).await?;
        client.sign_in().await?;
        Ok(client)
    }

    /// The same person at the server's new address, after a restart.
    #[must_use]
    pub fn at(&self, address: &str) -> Self {
        Self { address: address.to_owned(), ..self.clone() }
    }

    /// Signs in; tokens last 15 minutes.
    pub async fn sign_in(&mut self) -> Result<()> {
        let tokens = self.post("/auth/login", &json!({ "email": self.email, "password": PASSWORD })).await?;
        self.token = text(&tokens, "access_token")?;
        Ok(())
    }

    /// Signs in again where the token is no longer good.
    pub async fn stay_signed_in(&mut self) -> Result<()> {
        if self.get("/auth/me").await.is_err() {
            self.sign_in().await?;
        }
        Ok(())
    }

    /// POST of JSON under a fresh Idempotency-Key.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.post_once(path, &domain::ids::fresh().to_string(), body).await
    }

    /// POST of JSON under `key`: repeated with the same key it is the same request.
    pub async fn post_once(&self, path: &str, key: &str, body: &Value) -> Result<Value> {
        answer(self.request(Method::POST, path).header("Idempotency-Key", key).json(body).send().await?).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Result<()> {
        answer(self.request(Method::DELETE, path).send().await?).await.map(drop)
    }

    /// Whatever the server says to a request: its status and body, refusals included.
    pub async fn knock(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Vec<u8>)> {
        let mut request = self.request(method, path).header("Idempotency-Key", domain::ids::fresh().to_string());
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        Ok((response.status(), response.bytes().await?.to_vec()))
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Result<Value> {
        answer(self.request(Method::GET, path).send().await?).await
    }

    /// The items of every page of a list.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        let joint = if path.contains('?') { '&' } else { '?' };
        loop {
            let page = self.get(&format!("{path}{joint}limit=500{cursor}")).await?;
            items.extend(page["items"].as_array().cloned().context("a list answers with items")?);
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(items),
            }
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path)).bearer_auth(&self.token)
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.address)
    }

    /// Opens a case and a database in it; returns their ids.
    pub async fn open_database(&self) -> Result<(String, String)> {
        self.open_database_once(&domain::ids::fresh().to_string()).await
    }

    /// The same under `key`: repeated with the same key they are the same case and database.
    pub async fn open_database_once(&self, key: &str) -> Result<(String, String)> {
        let case = json!({ "title": "Harness v. Binary" });
        let case = text(&self.post_once("/cases", &format!("{key}-case"), &case).await?, "id")?;
        let database = json!({ "case_id": case, "name": "Production 1" });
        let database = self.post_once("/databases", &format!("{key}-database"), &database).await?;
        Ok((case, text(&database, "id")?))
    }

    /// Uploads files (path, bytes) as one delivery named by `key`; repeated with the same key it is the same delivery.
    pub async fn upload(&self, database: &str, key: &str, files: &[(String, Vec<u8>)]) -> Result<Vec<Received>> {
        let mut form = Form::new();
        for (path, bytes) in files {
            form = form.part("file", Part::bytes(bytes.clone()).file_name(path.clone()));
        }
        let request = self.http.post(self.url(&format!("/databases/{database}/files"))).bearer_auth(&self.token);
        let response = request.header("Idempotency-Key", key).multipart(form).send().await?;
        let created = response.status() == StatusCode::CREATED;
        let body = answer(response).await?;
        ensure!(created, "the upload took nothing: {body}");
        let mut received = Vec::new();
        for file in body["files"].as_array().context("an upload's answer names files")? {
            received.push(Received {
                document: text(file, "document_id")?,
                path: text(file, "path")?,
                sha256: text(file, "sha256")?,
            });
        }
        Ok(received)
    }

    /// The equation of a database.
    pub async fn counts(&self, database: &str) -> Result<Counts> {
        let status = self.get(&format!("/databases/{database}/status")).await?;
        let counts: Counts = serde_json::from_value(status).context("the status cannot be read")?;
        ensure!(counts.balances(), "the equation does not hold: {counts:?}");
        Ok(counts)
    }

    /// Watches `/ws/database-status` until nothing moves any more; `said` hears every word.
    pub async fn watch(&self, database: &str, mut said: impl FnMut(&Counts)) -> Result<Counts> {
        let mut socket = StatusSocket(self.socket("/ws/database-status").await?);
        let subscribe = json!({ "type": "subscribe", "database_id": database });
        socket.0.send(Message::text(subscribe.to_string())).await?;
        loop {
            let counts = socket.hear().await.context("before the work was done")?;
            ensure!(counts.balances(), "the equation does not hold: {counts:?}");
            said(&counts);
            if counts.received > 0 && counts.in_flight == 0 {
                return Ok(counts);
            }
        }
    }

    /// Hits of a search: the documents of the first page.
    pub async fn search(&self, database: &str, query: &str) -> Result<Vec<Value>> {
        let found = self.get(&format!("/databases/{database}/search?q={}", encode(query))).await?;
        found["items"].as_array().cloned().context("a search answers with items")
    }

    /// All documents of a database.
    pub async fn documents(&self, database: &str) -> Result<Vec<Value>> {
        self.list(&format!("/databases/{database}/files")).await
    }

    /// A document's bytes as received.
    pub async fn original(&self, document: &str) -> Result<Vec<u8>> {
        let url = self.url(&format!("/documents/{document}/original"));
        let response = self.http.get(url).bearer_auth(&self.token).send().await?;
        ensure!(response.status() == StatusCode::OK, "original of {document}: HTTP {}", response.status());
        Ok(response.bytes().await?.to_vec())
    }

    /// A document's whole text.
    pub async fn text(&self, document: &str) -> Result<String> {
        text(&self.get(&format!("/documents/{document}/text")).await?, "text")
    }

    /// Asks about a database and listens on `/ws/chat` until the answer stands; returns it and what was streamed.
    pub async fn ask(&self, case: &str, database: &str, question: &str) -> Result<(Answer, String)> {
        let asked = json!({ "case_id": case, "database_id": database, "message": question });
        let asked = self.post("/chat/message", &asked).await?;
        let mut socket = self.socket("/ws/chat").await?;
        let subscribe = json!({ "type": "subscribe", "conversation_id": asked["conversation_id"],
            "message_id": asked["answer_id"], "after": 0 });
        socket.send(Message::text(subscribe.to_string())).await?;
        let mut streamed = String::new();
        while let Some(message) = socket.next().await {
            let Message::Text(message) = message? else { continue };
            let event: Value = serde_json::from_str(&message)?;
            match event["step"].as_str() {
                Some("started") => streamed.clear(),
                Some("delta") => streamed.push_str(event["text"].as_str().unwrap_or("")),
                Some("finished") => return Ok((serde_json::from_value(event["answer"].clone())?, streamed)),
                Some(other) => bail!("the answer {other}: {event}"),
                None if event["type"] == "subscribed" => {}
                None => bail!("the socket says {event}"),
            }
        }
        bail!("the socket closed before the answer was complete")
    }

    /// A socket that has been told how far `database` is, and goes on listening.
    pub async fn watch_status(&self, database: &str) -> Result<StatusSocket> {
        let mut socket = StatusSocket(self.socket("/ws/database-status").await?);
        let subscribe = json!({ "type": "subscribe", "database_id": database });
        socket.0.send(Message::text(subscribe.to_string())).await?;
        socket.hear().await?;
        Ok(socket)
    }

    async fn socket(&self, path: &str) -> Result<Wire> {
        let (mut socket, _) = connect_async(self.url(path).replacen("http", "ws", 1)).await?;
        let hello = json!({ "type": "authenticate", "token": self.token });
        socket.send(Message::text(hello.to_string())).await?;
        Ok(socket)
    }

    /// How many of `citations` are exactly what their documents say between the offsets they name.
    pub async fn verified(&self, citations: &[&Citation]) -> Result<usize> {
        let mut texts: BTreeMap<String, Vec<char>> = BTreeMap::new();
        let mut verified = 0;
        for citation in citations {
            let document = citation.document.to_string();
            if !texts.contains_key(&document) {
                texts.insert(document.clone(), self.text(&document).await?.chars().collect());
            }
            let span = texts[&document].get(citation.start as usize..citation.end as usize);
            let stands = span.is_some_and(|span| !span.is_empty() && span.iter().copied().eq(citation.quote.chars()));
            verified += usize::from(stands);
        }
        Ok(verified)
    }
}

fn http() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().connect_timeout(Duration::from_secs(5)).timeout(Duration::from_mins(5)).build()?)
}

pub(crate) async fn answer(response: reqwest::Response) -> Result<Value> {
    let status = response.status();
    let bytes = response.bytes().await?;
    let body: Value = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes)? };
    if status.is_success() {
        return Ok(body);
    }
    let field = |name: &str| body[name].as_str().unwrap_or("").to_owned();
    Err(Refused { status, code: field("code"), message: field("message") }.into())
}

pub(crate) fn text(body: &Value, name: &str) -> Result<String> {
    body[name].as_str().map(ToOwned::to_owned).with_context(|| format!("no {name} in {body}"))
}

/// Percent-encodes a query value (RFC 3986 §2.1).
fn encode(value: &str) -> String {
    let kept = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    value.bytes().map(|byte| if kept(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
