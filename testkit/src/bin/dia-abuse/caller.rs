//! Somebody who asks, with every part of an answer kept: status, headers, body and how long it took.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use reqwest::{Method, RequestBuilder, header::HeaderMap, redirect::Policy};
use serde_json::{Value, json};

pub(crate) const PASSWORD: &str = "a long walk over wet granite, 1907";

/// What the server said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) took: Duration,
}

impl Answer {
    /// The body as JSON; null when it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// Status and body without the id of the request, which is fresh each time.
    pub(crate) fn blank(&self) -> (u16, String) {
        let mut json = self.json();
        match json.get_mut("request_id") {
            Some(id) => *id = Value::Null,
            None => return (self.status, String::from_utf8_lossy(&self.body).into_owned()),
        }
        (self.status, json.to_string())
    }

    /// Its first words, for people.
    pub(crate) fn words(&self) -> String {
        let body: String = String::from_utf8_lossy(&self.body).chars().take(160).collect();
        format!("{} {body}", self.status)
    }
}

/// Somebody, signed in or not, at one address of this machine.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    http: reqwest::Client,
    pub(crate) address: String,
    pub(crate) email: String,
    pub(crate) token: String,
    pub(crate) refresh: String,
    pub(crate) session: String,
    pub(crate) id: String,
}

impl Caller {
    /// Nobody, who comes from 127.0.0.`last`: every machine has them all.
    pub(crate) fn stranger(address: &str, last: u8) -> Result<Self> {
        let http = reqwest::Client::builder().timeout(Duration::from_mins(1)).redirect(Policy::none()).no_proxy();
        let http = http.local_address(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))).build()?;
        let none = String::new;
        let address = address.to_owned();
        Ok(Self { http, address, email: none(), token: none(), refresh: none(), session: none(), id: none() })
    }

    /// Signs up with a code, and in.
    pub(crate) async fn sign_up(address: &str, code: &str, email: &str) -> Result<Self> {
        let mut caller = Self::stranger(address, 1)?;
        email.clone_into(&mut caller.email);
        let fields = json!({ "code": code, "email": email, "name": "A User", "password": PASSWORD });
        caller.made("/auth/signup", &fields).await?;
        caller.sign_in().await?;
        Ok(caller)
    }

    /// Invites somebody who becomes a member of no case.
    pub(crate) async fn invite(&self, email: &str) -> Result<Self> {
        let invitation = self.made("/auth/invitations", &json!({ "role": "member" })).await?;
        Self::sign_up(&self.address, &text(&invitation, "code")?, email).await
    }

    /// Opens a session and acts in it from now on.
    pub(crate) async fn sign_in(&mut self) -> Result<()> {
        let tokens = self.made("/auth/login", &json!({ "email": self.email, "password": PASSWORD })).await?;
        self.token = text(&tokens, "access_token")?;
        self.refresh = text(&tokens, "refresh_token")?;
        self.session = text(&tokens, "session_id")?;
        self.id = text(&tokens["user"], "id")?;
        Ok(())
    }

    /// The same person with other words to prove it.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// A request to a path below `/api/v1`, with the token if there is one.
    pub(crate) fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}/api/v1{path}", self.address));
        let request = request.header("Idempotency-Key", domain::ids::fresh().to_string());
        if self.token.is_empty() { request } else { request.bearer_auth(&self.token) }
    }

    /// What sends its requests.
    pub(crate) fn http(&self) -> reqwest::Client {
        self.http.clone()
    }

    /// GET.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer> {
        hear(self.ask(Method::GET, path)).await
    }

    /// POST of JSON.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        hear(self.ask(Method::POST, path).json(body)).await
    }

    /// POST of JSON that must succeed.
    pub(crate) async fn made(&self, path: &str, body: &Value) -> Result<Value> {
        let answer = self.post(path, body).await?;
        if !(200..300).contains(&answer.status) {
            bail!("POST {path}: {}", answer.words());
        }
        Ok(answer.json())
    }

    /// GET that must succeed.
    pub(crate) async fn read(&self, path: &str) -> Result<Value> {
        let answer = self.get(path).await?;
        if answer.status != 200 {
            bail!("GET {path}: {}", answer.words());
        }
        Ok(answer.json())
    }
}

/// Sends a request and keeps the whole answer.
pub(crate) async fn hear(request: RequestBuilder) -> Result<Answer> {
    let began = Instant::now();
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.bytes().await?.to_vec();
    Ok(Answer { status, headers, body, took: began.elapsed() })
}

/// A field of an answer.
pub(crate) fn text(body: &Value, name: &str) -> Result<String> {
    body[name].as_str().map(ToOwned::to_owned).with_context(|| format!("no {name} in {body}"))
}
