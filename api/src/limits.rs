//! How often somebody may ask. The extractors that find out who acts take each request out of a budget: that of the person or the key,
//! or of the network address while nobody is known. What is left is told in the answer's headers (draft-ietf-httpapi-ratelimit-headers):
//! `RateLimit-Policy: "read";q=2000;w=10`, a quota that comes back whole in `w` seconds, and `RateLimit: "read";r=1999;t=1`, what is
//! left of it and in how many seconds it is whole again. Health and figures are not counted.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue, Method, request::Parts},
    middleware::Next,
    response::Response,
};
use domain::{
    actor::{Actor, Origin, Who},
    error::Code,
    limits::{Class, Rate, Verdict},
};
use serde::{Deserialize, Serialize};
use storage::limits::Subject;

use crate::{Error, State, extract::network};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The `[limits]` table: a rate for each class. Every key has a default; unknown keys are errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Signing up and in, in both steps and again, and setting a password.
    pub login: Rate,
    /// Everything that changes nothing.
    pub read: Rate,
    /// Changes that are none of the others.
    pub write: Rate,
    /// Files, load files and pieces of files on their way in.
    pub upload: Rate,
    /// Questions.
    pub chat: Rate,
    /// Original files and lists for other programs, on their way out.
    pub export: Rate,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        let rate = |per_minute, burst| Rate { per_minute, burst };
        Self {
            login: rate(60, 30),
            read: rate(12_000, 2_000),
            write: rate(6_000, 1_000),
            upload: rate(30_000, 5_000),
            chat: rate(60, 30),
            export: rate(6_000, 1_000),
        }
    }
}

impl LimitsConfig {
    /// The rate of a class.
    pub fn of(&self, class: Class) -> Rate {
        match class {
            Class::Login => self.login,
            Class::Read => self.read,
            Class::Write => self.write,
            Class::Upload => self.upload,
            Class::Chat => self.chat,
            Class::Export => self.export,
        }
    }

    /// Says which key holds a value that cannot work.
    pub fn check(&self) -> Result<(), &'static str> {
        if Class::ALL.iter().any(|class| self.of(*class).burst == 0) {
            return Err("burst must be at least 1; per_minute = 0 is no limit");
        }
        Ok(())
    }
}

/// The class of a route, by its method and template.
fn class_of(method: &Method, route: &str) -> Class {
    match route.trim_start_matches("/api/v1") {
        "/auth/login"
        | "/auth/login/second-factor"
        | "/auth/signup"
        | "/auth/change-password"
        | "/auth/forgot-password"
        | "/auth/reset-password"
        | "/auth/step-up" => Class::Login,
        "/chat/message" => Class::Chat,
        "/documents/{id}/original"
        | "/documents/{id}/versions/{number}/original"
        | "/cases/{id}/export"
        | "/databases/{id}/batches/{batch}/errors" => Class::Export,
        "/databases/{id}/batches/{batch}/uploads" | "/databases/{id}/batches/{batch}/uploads/{upload}" => Class::Upload,
        "/databases/{id}/files"
        | "/cases/{id}/files"
        | "/databases/{id}/batches"
        | "/databases/{id}/batches/{batch}/load-files"
        | "/documents/{id}/replacement"
            if method == Method::POST =>
        {
            Class::Upload
        }
        _ if [Method::GET, Method::HEAD, Method::OPTIONS].contains(method) => Class::Read,
        _ => Class::Write,
    }
}

/// What this request was told, on its way to the answer's headers.
#[derive(Debug, Clone, Default)]
struct Told(Arc<Mutex<Option<(Class, Rate, Verdict)>>>);

/// Takes a request of somebody who proved who they are.
pub(crate) async fn take_of_actor(parts: &Parts, state: &State, actor: &Actor) -> Result<(), Error> {
    match actor.who {
        Who::User { user, .. } => take(parts, state, &Subject::User(user)).await,
        Who::Key { key, .. } => take(parts, state, &Subject::Key(key)).await,
        Who::Anonymous | Who::System { .. } => take_of_address(parts, state, &actor.origin).await,
    }
}

/// Takes a request of somebody at an address. All whose address is not known share one budget.
pub(crate) async fn take_of_address(parts: &Parts, state: &State, origin: &Origin) -> Result<(), Error> {
    let network = network(origin.address.as_deref().unwrap_or("unknown"));
    take(parts, state, &Subject::Address(&network)).await
}

/// Takes an attempt to sign in to an account, from wherever.
pub(crate) async fn take_of_account(state: &State, email: &str) -> Result<(), Error> {
    let Some(rate) = state.limits.of(Class::Login).limit() else { return Ok(()) };
    let verdict = count(state, Class::Login, &Subject::Account(email), rate).await;
    if verdict.is_allowed { Ok(()) } else { Err(refusal(verdict.wait)) }
}

async fn take(parts: &Parts, state: &State, subject: &Subject<'_>) -> Result<(), Error> {
    let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let class = class_of(&parts.method, route);
    let Some(rate) = state.limits.of(class).limit() else { return Ok(()) };
    let verdict = count(state, class, subject, rate).await;
    if let Some(told) = parts.extensions.get::<Told>() {
        *told.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((class, rate, verdict));
    }
    if verdict.is_allowed { Ok(()) } else { Err(refusal(verdict.wait)) }
}

async fn count(state: &State, class: Class, subject: &Subject<'_>, rate: Rate) -> Verdict {
    let storage = &state.storage;
    let verdict = storage.limits.take(&storage.vault, &storage.clock, class, subject, rate).await;
    if !verdict.is_allowed {
        metrics::counter!("dia_requests_limited_total", "class" => class.name()).increment(1);
    }
    verdict
}

fn refusal(wait: Duration) -> Error {
    Error::from(Code::TooManyRequests).retry_after(wait)
}

/// Tells what is left in the headers of the answer.
pub(crate) async fn tell_budgets(mut request: Request, next: Next) -> Response {
    let told = Told::default();
    request.extensions_mut().insert(told.clone());
    let mut response = next.run(request).await;
    let told = *told.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((class, rate, verdict)) = told {
        let window = Duration::from_micros(u64::try_from(rate.window()).unwrap_or(u64::MAX));
        let policy = format!("\"{}\";q={};w={}", class.name(), rate.burst, seconds(window).max(1));
        let limit = format!("\"{}\";r={};t={}", class.name(), verdict.remaining, seconds(verdict.whole_in));
        for (name, value) in [(POLICY, policy), (LIMIT, limit)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
    }
    response
}

/// Whole seconds, rounded up: who waits them has waited long enough.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_sound_and_unknown_keys_are_errors() {
        assert_eq!(LimitsConfig::default().check(), Ok(()));
        for bad in [r#"{"logins": {"per_minute": 1, "burst": 1}}"#, r#"{"login": {"per_minute": 1}}"#] {
            assert!(serde_json::from_str::<LimitsConfig>(bad).is_err(), "{bad}");
        }
        let config: LimitsConfig = serde_json::from_str(r#"{"login": {"per_minute": 0, "burst": 0}}"#).unwrap();
        assert!(config.check().is_err() && config.login.limit().is_none());
    }

    #[test]
    fn routes_have_classes() {
        for (method, route, class) in [
            (Method::POST, "/api/v1/auth/login", Class::Login),
            (Method::POST, "/api/v1/auth/login/second-factor", Class::Login),
            (Method::POST, "/api/v1/auth/refresh", Class::Write),
            (Method::GET, "/api/v1/databases/{id}/files", Class::Read),
            (Method::POST, "/api/v1/databases/{id}/files", Class::Upload),
            (Method::PATCH, "/api/v1/databases/{id}/batches/{batch}/uploads/{upload}", Class::Upload),
            (Method::HEAD, "/api/v1/databases/{id}/batches/{batch}/uploads/{upload}", Class::Upload),
            (Method::GET, "/api/v1/documents/{id}/original", Class::Export),
            (Method::POST, "/api/v1/chat/message", Class::Chat),
            (Method::GET, "/api/v1/chat/history", Class::Read),
            (Method::DELETE, "/api/v1/cases/{id}", Class::Write),
        ] {
            assert_eq!(class_of(&method, route), class, "{method} {route}");
        }
    }
}
