//! What Prometheus reads. Open to configured networks, or with a token; nothing in it is about a document.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
    response::IntoResponse,
};
use domain::{actor::Actor, error::Code, ids};
use sha2::{Digest, Sha256};
use storage::jobs;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{Error, Result, State, extract::client_address};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(read_metrics))
}

/// Somebody who may read figures.
struct Scraper;

impl FromRequestParts<State> for Scraper {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self> {
        let config = &state.config;
        let address = client_address(parts, &config.trusted_proxies);
        let near = address.is_some_and(|a| config.metrics_networks.iter().any(|network| network.contains(a)));
        // Behind a proxy nobody configured, everybody seems to come from the proxy.
        let hidden = forwarded(&parts.headers) && address == client_address(parts, &[]);
        if (near && !hidden) || has_token(&parts.headers, &config.metrics_token) {
            Ok(Self)
        } else {
            Err(Error::not_found())
        }
    }
}

fn forwarded(headers: &HeaderMap) -> bool {
    ["x-forwarded-for", "forwarded", "x-real-ip"].iter().any(|name| headers.contains_key(*name))
}

fn has_token(headers: &HeaderMap, token: &str) -> bool {
    let sent = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer "));
    // Hashes compare in a time that tells nothing about the token.
    !token.is_empty() && sent.is_some_and(|sent| Sha256::digest(sent) == Sha256::digest(token))
}

/// Figures in the Prometheus text format.
#[utoipa::path(
    get, path = "/metrics", tag = "health", security(()), responses((status = 200, content_type = "text/plain", body = String))
)]
#[allow(clippy::cast_precision_loss, reason = "gauges are floating point")]
async fn read_metrics(state: State, _: Scraper) -> Result<impl IntoResponse> {
    let handle = state.metrics.as_ref().ok_or(Code::NotFound)?;
    let mut tx = state.storage.read(&Actor::system(ids::fresh())).await?;
    for (queue, stats) in jobs::counts(&mut tx).await? {
        let jobs =
            [("ready", stats.ready), ("delayed", stats.delayed), ("running", stats.running), ("dead", stats.dead)];
        for (kind, count) in jobs {
            metrics::gauge!("dia_queue_jobs", "queue" => queue.name(), "state" => kind).set(count as f64);
        }
        let oldest = stats.oldest_micros as f64 / 1e6;
        metrics::gauge!("dia_queue_oldest_seconds", "queue" => queue.name()).set(oldest);
        metrics::gauge!("dia_queue_paused", "queue" => queue.name()).set(f64::from(u8::from(stats.paused)));
    }
    handle.run_upkeep();
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], handle.render()))
}
