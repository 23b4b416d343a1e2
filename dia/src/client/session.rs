//! A signed-in session with a server: tokens kept in a file only its owner reads, refreshed when they run out, or an API key from the
//! environment (`DIA_API_KEY`), which is kept nowhere; and the server's errors told as it tells them.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, header};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::config::{home_folder, variable};

/// Tokens as the server gives them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Tokens {
    /// Good for minutes.
    pub(super) access_token: String,
    /// Good once.
    pub(super) refresh_token: String,
}

/// How often a request that was one too many is sent again.
pub(super) const WAITS: u32 = 30;
/// Longest wait before that.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// How long the server says to wait, when it says that there were too many requests (RFC 6585 §4).
pub(super) fn too_many(response: &Response) -> Option<Duration> {
    if response.status() != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let told = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Some(Duration::from_secs(told.unwrap_or(1)).min(LONGEST_WAIT))
}

/// What proves who the client is.
enum Proof {
    /// A sign-in of a person.
    Tokens(Mutex<Tokens>),
    /// A key of a program.
    Key(String),
}

/// A session with one server.
pub(super) struct Session {
    server: String,
    http: Client,
    proof: Proof,
}

fn credentials(server: &str) -> Result<PathBuf> {
    if let Some(path) = variable("DIA_CREDENTIALS") {
        return Ok(PathBuf::from(path));
    }
    let name: String = server.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' }).collect();
    Ok(home_folder("XDG_CONFIG_HOME", ".config")?.join("dia").join(format!("{name}.json")))
}

/// Keeps the tokens for the next command.
pub(super) fn keep(server: &str, tokens: &Tokens) -> Result<()> {
    let path = credentials(server)?;
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let fresh = path.with_extension("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(&serde_json::to_vec(tokens)?)?;
    fs::rename(&fresh, &path).with_context(|| format!("cannot write {}", path.display()))
}

/// Forgets the tokens.
pub(super) fn forget(server: &str) -> Result<()> {
    match fs::remove_file(credentials(server)?) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.into()),
        _ => Ok(()),
    }
}

/// The client all requests go through.
pub(super) fn http() -> Result<Client> {
    Ok(Client::builder().user_agent(concat!("dia/", env!("CARGO_PKG_VERSION"))).build()?)
}

/// The body of a successful answer, or the server's own words about what is wrong.
pub(super) async fn answer<T: DeserializeOwned>(response: Response) -> Result<T> {
    let status = response.status();
    let bytes = response.bytes().await?;
    if !status.is_success() {
        let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let code = body["code"].as_str().unwrap_or("no code");
        let message = body["message"].as_str().unwrap_or("the server gave no reason");
        bail!("{message} ({code}, HTTP {})", status.as_u16());
    }
    if bytes.is_empty() {
        return serde_json::from_value(Value::Null).context("the server's answer is empty");
    }
    serde_json::from_slice(&bytes).context("the server's answer cannot be read")
}

impl Session {
    /// Takes the key of the environment, or takes up the session kept for `server`.
    pub(super) fn resume(server: &str) -> Result<Self> {
        let (address, http) = (server.trim_end_matches('/').to_owned(), http()?);
        if let Some(key) = variable("DIA_API_KEY").filter(|key| !key.is_empty()) {
            return Ok(Self { server: address, http, proof: Proof::Key(key) });
        }
        let path = credentials(server)?;
        let bytes = fs::read(&path).with_context(|| format!("not signed in to {server}; run `dia login` first"))?;
        let tokens = serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))?;
        Ok(Self { server: address, http, proof: Proof::Tokens(Mutex::new(tokens)) })
    }

    /// Sends the request that `build` makes; when there were too many, waits as long as the server says and sends again.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        build: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response> {
        let mut response = self.send_once(method.clone(), path, &build).await?;
        for _ in 0..WAITS {
            let Some(pause) = too_many(&response) else { break };
            tokio::time::sleep(pause).await;
            response = self.send_once(method.clone(), path, &build).await?;
        }
        Ok(response)
    }

    /// Sends the request that `build` makes; when the access token has run out, refreshes it and sends again.
    pub(super) async fn send_once(
        &self,
        method: Method,
        path: &str,
        build: &impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response> {
        let token = self.token().await;
        let url = format!("{}/api/v1{path}", self.server);
        let request = |token: &str| build(self.http.request(method.clone(), &url)).bearer_auth(token);
        let response = request(&token).send().await.with_context(|| format!("cannot reach {}", self.server))?;
        let Proof::Tokens(tokens) = &self.proof else { return Ok(response) };
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let token = self.refresh(tokens, &token).await?;
        Ok(request(&token).send().await?)
    }

    /// GET, read as `T`.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T> {
        let mut path = path.to_owned();
        if !query.is_empty() {
            // Only the query of this address is used.
            let url = reqwest::Url::parse_with_params("http://dia.invalid", query)?;
            path = format!("{path}?{}", url.query().unwrap_or_default());
        }
        answer(self.send(Method::GET, &path, |r| r).await?).await
    }

    /// POST of JSON under `key`, read as `T`.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, key: &str, body: &Value) -> Result<T> {
        answer(self.send(Method::POST, path, |r| r.header("Idempotency-Key", key).json(body)).await?).await
    }

    /// A fresh access token; `stale` is the one that was refused, so that parallel requests refresh once.
    async fn refresh(&self, tokens: &Mutex<Tokens>, stale: &str) -> Result<String> {
        let mut tokens = tokens.lock().await;
        if tokens.access_token != stale {
            return Ok(tokens.access_token.clone());
        }
        let body = serde_json::json!({ "refresh_token": tokens.refresh_token });
        let response = self.http.post(format!("{}/api/v1/auth/refresh", self.server)).json(&body).send().await?;
        *tokens = answer(response).await.context("the session has ended; run `dia login`")?;
        keep(&self.server, &tokens)?;
        Ok(tokens.access_token.clone())
    }

    /// The server's address.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// The present access token, or the key.
    pub(super) async fn token(&self) -> String {
        match &self.proof {
            Proof::Tokens(tokens) => tokens.lock().await.access_token.clone(),
            Proof::Key(key) => key.clone(),
        }
    }
}
