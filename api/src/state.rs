//! What every handler can reach. Cheap to clone; handlers take it as an argument.

use std::{convert::Infallible, sync::Arc};

use axum::{extract::FromRequestParts, http::request::Parts};
use domain::outbound::Reach;
use index::BlockCache;
use metrics_exporter_prometheus::PrometheusHandle;
use storage::Storage;
use tokio_util::sync::CancellationToken;

use crate::{
    access::AccessConfig,
    auth::{AuthConfig, KeyUses, Passwords, Tokens},
    config::ApiConfig,
    limits::LimitsConfig,
    readers::Readers,
    ws::{places::Places, statuses::Statuses},
};

/// The door's whole state.
#[derive(Debug, Clone)]
pub struct State {
    /// Everything durable.
    pub storage: Storage,
    /// The `[api]` table.
    pub config: Arc<ApiConfig>,
    /// The `[auth]` table.
    pub auth: Arc<AuthConfig>,
    /// The `[limits]` table.
    pub limits: LimitsConfig,
    /// The `[access]` table.
    pub access: AccessConfig,
    /// Whether dia writes to people.
    pub sends_mail: bool,
    /// Which URLs may be told what happens in cases.
    pub webhook_reach: Arc<Reach>,
    /// Signs and reads access tokens.
    pub tokens: Arc<Tokens>,
    /// Hashes and checks passwords.
    pub passwords: Arc<Passwords>,
    /// When API keys were last used.
    pub key_uses: KeyUses,
    /// Open index generations.
    pub readers: Arc<Readers>,
    /// Places of `WebSockets`.
    pub places: Arc<Places>,
    /// How far the databases are that `WebSockets` watch.
    pub statuses: Arc<Statuses>,
    /// Renders what this process measured; `None` leaves `/metrics` out.
    pub metrics: Option<PrometheusHandle>,
    /// Cancelled when dia stops: long-lived handlers (`WebSockets`) end then.
    pub shutdown: CancellationToken,
}

impl State {
    /// Puts the door together; `cache` keeps decrypted blocks of indexes and is shared with whatever else reads them in this
    /// process. Fails only when the vault's signing key cannot be used.
    pub fn new(
        storage: Storage,
        config: ApiConfig,
        cache: BlockCache,
        metrics: Option<PrometheusHandle>,
        shutdown: CancellationToken,
    ) -> Result<Self, jsonwebtoken::errors::Error> {
        Ok(Self {
            tokens: Arc::new(Tokens::new(&storage.vault, config.access_token_minutes)?),
            passwords: Arc::new(Passwords::new(config.max_concurrent_password_hashes)),
            auth: Arc::default(),
            limits: LimitsConfig::default(),
            access: AccessConfig::default(),
            sends_mail: false,
            webhook_reach: Arc::default(),
            key_uses: KeyUses::default(),
            places: Arc::new(Places::new(config.max_websockets, config.max_websockets_per_user)),
            statuses: Arc::default(),
            config: Arc::new(config),
            readers: Arc::new(Readers::new(cache)),
            storage,
            metrics,
            shutdown,
        })
    }
}

impl FromRequestParts<Self> for State {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, state: &Self) -> Result<Self, Infallible> {
        Ok(state.clone())
    }
}
