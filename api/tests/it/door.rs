//! The router in this process, and somebody to knock.

use std::net::SocketAddr;

use api::{ApiConfig, LimitsConfig, State};
use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{HeaderMap, Method, Request, StatusCode},
};
use domain::{
    access::SystemRole,
    actor::{Actor, Who},
    ids::{SessionId, UserId},
    limits::Rate,
};
use index::BlockCache;
use serde_json::Value;
use storage::{sessions, users};
use testkit::TestStorage;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// The address requests come from unless they say otherwise.
pub(crate) const HOME: &str = "203.0.113.7";

/// A hash that no password has: of all zeros.
const NO_PASSWORD: &str = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A small cache of index blocks.
pub(crate) fn cache() -> BlockCache {
    BlockCache::new(1 << 20)
}

pub(crate) struct Door {
    pub(crate) test: TestStorage,
    pub(crate) state: State,
    router: Router,
}

/// A signed-in person.
pub(crate) struct Person {
    pub(crate) id: UserId,
    pub(crate) session: SessionId,
    pub(crate) token: String,
    pub(crate) actor: Actor,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) raw: Vec<u8>,
}

impl Answer {
    /// The body as JSON; null when it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.raw).unwrap_or_default()
    }

    pub(crate) fn text(&self, pointer: &str) -> String {
        let json = self.json();
        json.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer} in {json}")).to_owned()
    }

    /// Asserts the status and gives the answer on.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.raw));
        self
    }

    /// Asserts a refusal in the one shape.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) {
        let json = self.json();
        assert_eq!((self.status.as_u16(), json["code"].as_str()), (status, Some(code)), "{json}");
        assert_eq!(self.headers["content-type"], "application/json");
        assert_eq!(json["request_id"].as_str(), self.headers["x-request-id"].to_str().ok());
        assert!(!json["message"].as_str().unwrap().is_empty());
    }
}

/// A request being put together.
pub(crate) struct Knock<'a> {
    door: &'a Door,
    request: Request<Body>,
}

impl Knock<'_> {
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.request.headers_mut().insert(name, value.parse().unwrap());
        self
    }

    /// One more header of a name that is there already.
    pub(crate) fn also(mut self, name: &'static str, value: &str) -> Self {
        self.request.headers_mut().append(name, value.parse().unwrap());
        self
    }

    pub(crate) fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn by(self, person: &Person) -> Self {
        self.token(&person.token)
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    pub(crate) fn from(mut self, address: &str) -> Self {
        self.request.extensions_mut().insert(ConnectInfo(SocketAddr::new(address.parse().unwrap(), 40_000)));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Body>) -> Self {
        *self.request.body_mut() = body.into();
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub(crate) async fn send(self) -> Answer {
        let response = self.door.router.clone().oneshot(self.request).await.unwrap();
        let (parts, body) = response.into_parts();
        let raw = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer { status: parts.status, headers: parts.headers, raw }
    }
}

impl Door {
    pub(crate) fn new(test: TestStorage) -> Self {
        Self::with(test, ApiConfig::default())
    }

    pub(crate) fn with(test: TestStorage, config: ApiConfig) -> Self {
        let state = State::new(test.storage.clone(), config, cache(), None, CancellationToken::new()).unwrap();
        // What is left of a budget would tell answers apart that must be the same; limits have tests of their own.
        let none = Rate { per_minute: 0, burst: 1 };
        let limits = LimitsConfig { login: none, read: none, write: none, upload: none, chat: none, export: none };
        let state = State { limits, ..state };
        Self { router: api::router(state.clone()), state, test }
    }

    pub(crate) fn knock(&self, method: &str, path: &str) -> Knock<'_> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        Knock { door: self, request }.from(HOME)
    }

    pub(crate) fn get(&self, path: &str) -> Knock<'_> {
        self.knock("GET", path)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Knock<'_> {
        self.knock("POST", path).json(body)
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> Knock<'_> {
        self.knock("PUT", path).json(body)
    }

    pub(crate) fn delete(&self, path: &str) -> Knock<'_> {
        self.knock("DELETE", path)
    }

    /// Somebody with a session, put straight into storage: hashing passwords is tested elsewhere.
    pub(crate) async fn person(&self, role: SystemRole) -> Person {
        let storage = &self.test.storage;
        let mut tx = storage.begin(&Actor::system(domain::ids::fresh())).await.unwrap();
        let email = format!("{}@example.org", domain::ids::fresh().simple());
        let user = users::create(&mut tx, &email, "Test Person", NO_PASSWORD, role).await.unwrap();
        let lives = sessions::Lifetimes {
            idle: std::time::Duration::from_hours(24),
            absolute: std::time::Duration::from_hours(24 * 30),
        };
        let (session, _) = sessions::open(&mut tx, user.id, &lives, sessions::Proof::Password).await.unwrap();
        tx.commit().await.unwrap();
        let token = self.state.tokens.issue(user.id, session, storage.clock.now()).unwrap();
        let origin = domain::actor::Origin { request: domain::ids::fresh(), ..Default::default() };
        Person { id: user.id, session, token, actor: Actor { who: Who::User { user: user.id, session, role }, origin } }
    }

    pub(crate) async fn member(&self) -> Person {
        self.person(SystemRole::Member).await
    }

    pub(crate) async fn administrator(&self) -> Person {
        self.person(SystemRole::Administrator).await
    }
}

impl Door {
    /// The same door with its state changed.
    pub(crate) fn reopen(&mut self, change: impl FnOnce(State) -> State) {
        self.state = change(self.state.clone());
        self.router = api::router(self.state.clone());
    }
}
