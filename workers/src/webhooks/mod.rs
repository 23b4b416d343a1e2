//! Webhooks: how a message goes out. Its URL is the word of whoever manages the case, so it goes only where `[webhooks]` lets it, and
//! what is answered is not read beyond its head.

mod config;

use std::{sync::Arc, time::Duration};

use domain::clock::Timestamp;
use storage::webhooks::Message;

pub use config::WebhooksConfig;

use crate::outbound::{Client, OutboundError};

/// Who may be told, and how.
#[derive(Debug, Clone)]
pub struct Webhooks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: WebhooksConfig,
    client: Client,
}

/// What was answered to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reply {
    /// 200, 503, …
    pub(crate) status: u16,
    /// How long the receiver asks to be left alone.
    pub(crate) retry_after: Option<Duration>,
}

impl Webhooks {
    /// What `config` allows. Fails when a value cannot work, or the certificates cannot be read.
    pub fn new(config: &WebhooksConfig) -> anyhow::Result<Self> {
        config.check().map_err(anyhow::Error::msg)?;
        let reach = config.reach().map_err(anyhow::Error::msg)?;
        let client = Client::new(reach, config.patience(), &config.certificates)?;
        Ok(Self(Arc::new(Inner { config: config.clone(), client })))
    }

    /// Attempts at one message.
    pub(crate) fn attempts(&self) -> u32 {
        self.0.config.attempts
    }

    /// Messages in a row that were not delivered after which a webhook is disabled.
    pub(crate) fn disable_after(&self) -> u32 {
        self.0.config.disable_after
    }

    /// How long messages are kept.
    pub(crate) fn retention(&self) -> Duration {
        Duration::from_secs(self.0.config.retention_days.saturating_mul(86_400))
    }

    /// Sends a message once, signed for `at`.
    pub(crate) async fn send(&self, message: &Message, at: Timestamp) -> Result<Reply, OutboundError> {
        let headers = [
            ("webhook-id", message.id.to_string()),
            ("webhook-timestamp", at.seconds().to_string()),
            ("webhook-signature", message.sign(at)),
        ];
        let answer = self.0.client.post(&message.url, &headers, message.body.clone()).await?;
        let retry_after = answer.header("retry-after").and_then(|value| value.trim().parse().ok());
        Ok(Reply { status: answer.status(), retry_after: retry_after.map(Duration::from_secs) })
    }
}
