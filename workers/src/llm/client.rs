//! Asking the model: limits on time and bytes, and repetition only while nothing was said yet.

use std::time::Duration;

use eventsource_stream::Eventsource as _;
use futures::{StreamExt as _, TryStreamExt as _};
use rand::RngExt as _;
use reqwest::{Client, RequestBuilder, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::json;

use super::{LlmConfig, Prompt};
use crate::outbound;

/// Bytes on the wire for one byte of text: every few characters come in a JSON object of their own.
const WIRE_PER_BYTE: usize = 64;
/// First wait before a repetition; doubles from there.
const BACKOFF: Duration = Duration::from_millis(250);
/// Longest wait before a repetition, whatever the endpoint asks for.
const LONGEST_BACKOFF: Duration = Duration::from_secs(8);

/// Why there is no answer of the model. Never holds what was asked or said.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The configuration cannot be used.
    #[error("the model's configuration: {0}")]
    Config(&'static str),
    /// No connection, or it broke.
    #[error("the model's endpoint could not be read: {0}")]
    Connection(&'static str),
    /// The endpoint refused.
    #[error("the model's endpoint answered {0}")]
    Status(u16),
    /// What came is not the protocol.
    #[error("the model's endpoint does not speak the protocol: {0}")]
    Protocol(&'static str),
    /// It went on for too long.
    #[error("the model's answer exceeded its limit of {0}")]
    Limit(&'static str),
}

/// A model behind an endpoint. Cloning shares its connections.
#[derive(Debug, Clone)]
pub struct Model {
    client: Client,
    config: LlmConfig,
}

/// A failure and whether, and when, it is worth a repetition.
struct Attempt {
    error: ModelError,
    again: bool,
    after: Option<Duration>,
}

impl From<ModelError> for Attempt {
    fn from(error: ModelError) -> Self {
        Self { error, again: false, after: None }
    }
}

#[derive(Deserialize)]
struct Piece {
    #[serde(default)]
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Delta,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize, Default)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
}

impl Model {
    /// The configured model; `None` when there is none.
    pub fn new(config: &LlmConfig) -> Result<Option<Self>, ModelError> {
        if !config.is_on() {
            return Ok(None);
        }
        config.check().map_err(ModelError::Config)?;
        let client = outbound::operators(config.connect_timeout(), config.read_timeout())
            .ok_or(ModelError::Config("the client could not be made"))?;
        Ok(Some(Self { client, config: config.clone() }))
    }

    /// The name answers carry.
    pub fn name(&self) -> &str {
        &self.config.model
    }

    /// Most characters of passages in one prompt.
    pub fn max_context_characters(&self) -> usize {
        self.config.max_context_characters
    }

    /// Asks, and gives each piece of the answer to `hear` as it comes. Returns once the model has said that it ended.
    pub async fn answer(&self, prompt: &Prompt, mut hear: impl FnMut(&str) + Send) -> Result<(), ModelError> {
        let whole = async {
            let mut tried = 0;
            loop {
                let failed = match self.attempt(prompt, &mut hear).await {
                    Ok(()) => return Ok(()),
                    Err(failed) => failed,
                };
                if !failed.again || tried >= self.config.retries {
                    return Err(failed.error);
                }
                let wait = failed.after.unwrap_or(BACKOFF * 2_u32.saturating_pow(tried.min(10))).min(LONGEST_BACKOFF);
                tried += 1;
                tracing::info!(error = %failed.error, tried, "the model is asked again");
                let wait = wait.mul_f64(rand::rng().random_range(0.75..1.25));
                tokio::time::sleep(wait).await;
            }
        };
        tokio::time::timeout(self.config.total_timeout(), whole).await.unwrap_or(Err(ModelError::Limit("time")))
    }

    async fn attempt(&self, prompt: &Prompt, hear: &mut (impl FnMut(&str) + Send)) -> Result<(), Attempt> {
        // Connecting has a limit of its own; this one is for an endpoint that takes the question and says nothing.
        let sent = tokio::time::timeout(self.config.read_timeout(), self.request(prompt).send()).await;
        let response = match sent {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => return Err(again(ModelError::Connection("no connection"))),
            Err(_) => return Err(again(ModelError::Limit("time to the first byte"))),
        };
        let status = response.status();
        if !status.is_success() {
            let temporary = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
            let after = response.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok());
            let after = after.and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
            return Err(Attempt { error: ModelError::Status(status.as_u16()), again: temporary, after });
        }
        let mut said = 0;
        self.read(response, &mut said, hear).await.map_err(|error| match error {
            // Nothing was said: asking again cannot say it twice.
            error @ ModelError::Connection(_) if said == 0 => again(error),
            error => error.into(),
        })
    }

    fn request(&self, prompt: &Prompt) -> RequestBuilder {
        let url = format!("{}/chat/completions", self.config.base_url.trim_end_matches('/'));
        let request = self.client.post(url).header(header::ACCEPT, "text/event-stream").json(&json!({
            "model": self.config.model,
            "temperature": self.config.temperature,
            "stream": true,
            "messages": prompt.messages(),
        }));
        if self.config.api_key.is_empty() { request } else { request.bearer_auth(&self.config.api_key) }
    }

    async fn read(&self, response: Response, said: &mut usize, hear: &mut impl FnMut(&str)) -> Result<(), ModelError> {
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
        if !kind.starts_with("text/event-stream") {
            return Err(ModelError::Protocol("not an event stream"));
        }
        let (most, mut wire) = (self.config.max_answer_bytes.saturating_mul(WIRE_PER_BYTE), 0_usize);
        let bytes = response.bytes_stream().map_err(|_| ModelError::Connection("the stream broke"));
        let counted = bytes.map(move |piece| {
            let piece = piece?;
            wire = wire.saturating_add(piece.len());
            if wire > most { Err(ModelError::Limit("bytes")) } else { Ok(piece) }
        });
        let mut events = std::pin::pin!(counted.eventsource());
        let mut ended = false;
        while let Some(event) = events.next().await {
            let event = event.map_err(|error| match error {
                eventsource_stream::EventStreamError::Transport(error) => error,
                _ => ModelError::Protocol("not UTF-8 or not an event"),
            })?;
            if event.data.trim() == "[DONE]" {
                return Ok(());
            }
            let piece: Piece = serde_json::from_str(&event.data)
                .map_err(|_| ModelError::Protocol("an event is not what it should be"))?;
            for choice in piece.choices.into_iter().take(1) {
                let text = choice.delta.content.unwrap_or_default();
                *said += text.len();
                if *said > self.config.max_answer_bytes {
                    return Err(ModelError::Limit("bytes"));
                }
                if !text.is_empty() {
                    hear(&text);
                }
                ended |= choice.finish_reason.is_some();
            }
        }
        if ended { Ok(()) } else { Err(ModelError::Connection("the stream was cut")) }
    }
}

fn again(error: ModelError) -> Attempt {
    Attempt { error, again: true, after: None }
}
