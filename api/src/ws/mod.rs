//! What every WebSocket shares: who may open one, how it proves who is behind it, and how it ends. [`Door`] is taken by a
//! handler, [`Door::open`] authenticates and hands a [`Socket`] to the route's own loop. The access token or API key comes in the
//! `Authorization` header or in the first message, never in the URL. The session is checked again every few seconds and
//! whenever it changes; the route checks access to what it shows each time [`Told::Check`] comes.

pub(crate) mod chat;
pub(crate) mod database_status;
pub(crate) mod places;
pub(crate) mod statuses;

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{
        FromRequestParts,
        ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade},
    },
    http::{HeaderMap, header, request::Parts},
    response::Response,
};
use domain::{
    actor::{Actor, Origin},
    error::Code,
    events::Topic,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use storage::pubsub::Subscription;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};

use self::places::Place;
use crate::{
    Error, State,
    extract::{CurrentUser, bearer, origin, refuse_keys_in_urls},
    limits,
};

/// How long a client may take to say who it is.
const AUTHENTICATE: Duration = Duration::from_secs(5);
/// How often the session and access are checked again; revocation is to be felt within five seconds.
const CHECK: Duration = Duration::from_secs(4);
/// How often a client is pinged, and how long it may stay silent.
const PING: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_mins(1);
/// How long a message may wait for a client that does not read.
const SEND: Duration = Duration::from_secs(10);
/// When to try again while every place is taken.
const FULL: Duration = Duration::from_secs(5);
/// Largest message a client may send, in bytes.
const MAX_MESSAGE: usize = 16 * 1024;
/// Bytes a socket reads and writes at once. Kept as long as it is open, which is why the library's 128 KiB are too many.
const BUFFER: usize = 4 * 1024;

/// Why a socket ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The client left, fell silent or does not read.
    Gone,
    /// dia is stopping.
    Stopping,
    /// Nobody is signed in, or no longer.
    Unauthenticated,
    /// The person has as many sockets open as one may.
    TooMany,
    /// What was watched may not be seen any more.
    Forbidden,
    /// The person's role needs a second factor that they have not.
    NoSecondFactor,
    /// The client said something this socket does not understand.
    Malformed,
    /// Something failed inside dia.
    Internal,
}

impl Closed {
    /// Close code and reason (RFC 6455 §7.4; 4400 to 4499 are dia's, after the HTTP status they stand for).
    fn frame(self) -> Option<(u16, &'static str)> {
        match self {
            Self::Gone => None,
            Self::Stopping => Some((1001, "dia is stopping; connect again")),
            Self::Unauthenticated => Some((4401, "sign in again")),
            Self::TooMany => Some((4429, "too many sockets of yours are open; close some")),
            Self::Forbidden => Some((4403, "access ended")),
            Self::NoSecondFactor => Some((4403, "your role needs a second factor; set one up")),
            Self::Malformed => Some((4400, "not a message of this socket")),
            Self::Internal => Some((1011, "something failed inside dia")),
        }
    }
}

impl From<storage::Error> for Closed {
    fn from(error: storage::Error) -> Self {
        match error {
            storage::Error::NotFound | storage::Error::Forbidden => Self::Forbidden,
            error => {
                tracing::error!(%error, "a socket failed");
                Self::Internal
            }
        }
    }
}

/// A WebSocket handshake, checked as far as its headers go.
pub(crate) struct Door {
    upgrade: WebSocketUpgrade,
    origin: Origin,
    proved: Option<(String, CurrentUser)>,
    place: Place,
}

impl FromRequestParts<State> for Door {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Error> {
        if !is_same_origin(&parts.headers) {
            return Err(Error::new(Code::Forbidden, "open this socket from dia's own pages"));
        }
        refuse_keys_in_urls(parts)?;
        let origin = origin(parts, state);
        let proved = if parts.headers.contains_key(header::AUTHORIZATION) {
            // One of another scheme, or of none, holds no token and proves nothing.
            let token = bearer(&parts.headers).unwrap_or_default().to_owned();
            let user = CurrentUser::of_request(parts, state, &token, origin.clone()).await?;
            Some((token, user))
        } else {
            limits::take_of_address(parts, state, &origin).await?;
            None
        };
        let upgrade = WebSocketUpgrade::from_request_parts(parts, state).await;
        let upgrade =
            upgrade.map_err(|_| Error::new(Code::BadRequest, "this route is a WebSocket; ask for an upgrade"))?;
        let mut place = state.places.take().ok_or_else(|| Error::from(Code::Unavailable).retry_after(FULL))?;
        if proved.as_ref().is_some_and(|(_, user)| !place.hold(user.user.id)) {
            return Err(Error::new(Code::TooManyRequests, "too many sockets of yours are open; close some"));
        }
        Ok(Self { upgrade, origin, proved, place })
    }
}

/// Browsers say which page opens a socket and send no custom header with it, so a foreign page is told by its origin.
/// Clients that are no browsers send none.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return true };
    if origins.next().is_some() {
        return false;
    }
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let page = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    page.is_some() && page.zip(host).is_some_and(|(page, host)| page.eq_ignore_ascii_case(host))
}

impl Door {
    /// Answers the handshake; then authenticates and runs `handler`, which gives the socket back with why it ends.
    pub(crate) fn open<F>(self, state: State, handler: impl FnOnce(Socket) -> F + Send + 'static) -> Response
    where
        F: Future<Output = (Socket, Closed)> + Send + 'static,
    {
        let Self { upgrade, origin, proved, mut place } = self;
        let upgrade = upgrade.max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE);
        let upgrade = upgrade.read_buffer_size(BUFFER).write_buffer_size(BUFFER);
        upgrade.on_upgrade(async move |wire| {
            let mut bare = Bare { wire, state, origin };
            let proved = match proved {
                Some(proved) => Ok(proved),
                None => bare.authenticate().await.and_then(|(token, user)| {
                    if place.hold(user.user.id) { Ok((token, user)) } else { Err(Closed::TooMany) }
                }),
            };
            let closed = match proved {
                Ok((token, user)) => {
                    let (socket, closed) = handler(Socket::new(bare, token, user)).await;
                    bare = socket.bare;
                    closed
                }
                Err(closed) => closed,
            };
            bare.close(closed).await;
            drop(place);
        })
    }
}

/// A socket before anybody proved anything.
struct Bare {
    wire: WebSocket,
    state: State,
    origin: Origin,
}

impl Bare {
    async fn authenticate(&mut self) -> Result<(String, CurrentUser), Closed> {
        let first = async {
            loop {
                match self.wire.recv().await {
                    Some(Ok(Message::Text(text))) => return serde_json::from_str::<Value>(&text).ok(),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    _ => return None,
                }
            }
        };
        let first = timeout(AUTHENTICATE, first).await.ok().flatten().ok_or(Closed::Unauthenticated)?;
        let token = token_in(&first).ok_or(Closed::Unauthenticated)?;
        let user = self.user_of(&token).await?;
        Ok((token, user))
    }

    async fn user_of(&mut self, token: &str) -> Result<CurrentUser, Closed> {
        match CurrentUser::of_token(&self.state, token, self.origin.clone()).await {
            Ok(user) => Ok(user),
            Err(error) => Err(match error.code() {
                Code::Unauthenticated => Closed::Unauthenticated,
                Code::SecondFactorRequired => Closed::NoSecondFactor,
                _ => Closed::Internal,
            }),
        }
    }

    async fn close(&mut self, closed: Closed) {
        let Some((code, reason)) = closed.frame() else { return };
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
        // A client that is gone already needs no farewell.
        let _ = timeout(SEND, self.wire.send(Message::Close(Some(frame)))).await;
    }
}

/// The token of `{"type":"authenticate","token":…}`: the first message when there was no header, later a renewal.
fn token_in(message: &Value) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
    enum First {
        Authenticate { token: String },
    }
    let First::Authenticate { token } = First::deserialize(message).ok()?;
    Some(token)
}

/// What [`Socket::next`] brings.
#[derive(Debug)]
pub(crate) enum Told<T> {
    /// The client said this.
    Said(T),
    /// Time to check again: call [`Socket::check`], then whether what is shown may still be seen.
    Check,
}

/// An open socket with somebody signed in behind it.
pub(crate) struct Socket {
    bare: Bare,
    token: String,
    user: CurrentUser,
    /// Hears when sessions of the user change.
    sessions: Subscription,
    checks: Interval,
    pings: Interval,
    heard_at: Instant,
}

impl Socket {
    fn new(bare: Bare, token: String, user: CurrentUser) -> Self {
        let sessions = bare.state.storage.pubsub.subscribe(Topic::User(user.user.id));
        let every = |period| {
            let mut interval = interval(period);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        };
        Self { bare, token, user, sessions, checks: every(CHECK), pings: every(PING), heard_at: Instant::now() }
    }

    /// Who is behind it.
    pub(crate) fn actor(&self) -> &Actor {
        &self.user.actor
    }

    /// The door's state.
    pub(crate) fn state(&self) -> &State {
        &self.bare.state
    }

    /// Sends one message as JSON. A client that does not read is given up after a while.
    pub(crate) async fn send(&mut self, message: &(impl Serialize + Sync)) -> Result<(), Closed> {
        let text = serde_json::to_string(message).map_err(|_| Closed::Internal)?;
        self.put(Message::Text(text.into())).await
    }

    /// Says that a request of the client's was refused; the socket stays open.
    pub(crate) async fn refuse(&mut self, code: Code) -> Result<(), Closed> {
        self.send(&json!({ "type": "error", "code": code.name(), "message": code.meaning() })).await
    }

    async fn put(&mut self, message: Message) -> Result<(), Closed> {
        match timeout(SEND, self.bare.wire.send(message)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Closed::Gone),
        }
    }

    /// The next message of the client, or the word to check again. Dropping the future loses nothing.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Told<T>, Closed> {
        loop {
            let message = tokio::select! {
                () = self.bare.state.shutdown.cancelled() => return Err(Closed::Stopping),
                _ = self.checks.tick() => return Ok(Told::Check),
                changed = self.sessions.next() => return changed.map(|_| Told::Check).ok_or(Closed::Stopping),
                _ = self.pings.tick() => None,
                message = self.bare.wire.recv() => Some(message),
            };
            let Some(message) = message else {
                if self.heard_at.elapsed() > SILENCE {
                    return Err(Closed::Gone);
                }
                self.put(Message::Ping(Bytes::new())).await?;
                continue;
            };
            self.heard_at = Instant::now();
            let text = match message {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Binary(_))) => return Err(Closed::Malformed),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Closed::Gone),
            };
            let value: Value = serde_json::from_str(&text).map_err(|_| Closed::Malformed)?;
            match value.get("type").and_then(Value::as_str) {
                Some("authenticate") => {
                    self.token = token_in(&value).ok_or(Closed::Malformed)?;
                    return Ok(Told::Check);
                }
                Some("ping") => self.send(&json!({ "type": "pong" })).await?,
                _ => return T::deserialize(value).map(Told::Said).map_err(|_| Closed::Malformed),
            }
        }
    }

    /// Fails once the session does not count any more. A token renewed for somebody else ends the socket too.
    pub(crate) async fn check(&mut self) -> Result<(), Closed> {
        let user = self.bare.user_of(&self.token).await?;
        if user.user.id != self.user.user.id {
            return Err(Closed::Unauthenticated);
        }
        self.user = user;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_the_same_host_open_sockets() {
        for (origin, host, same) in [
            (None, Some("dia.example"), true),
            (Some("https://dia.example"), Some("dia.example"), true),
            (Some("http://127.0.0.1:8080"), Some("127.0.0.1:8080"), true),
            (Some("https://DIA.example"), Some("dia.example"), true),
            (Some("https://evil.example"), Some("dia.example"), false),
            (Some("https://dia.example.evil"), Some("dia.example"), false),
            (Some("https://dia.example:444"), Some("dia.example"), false),
            (Some("null"), Some("dia.example"), false),
            (Some("https://dia.example"), None, false),
            (Some(""), Some(""), false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(header::ORIGIN, origin), (header::HOST, host)] {
                if let Some(value) = value {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            assert_eq!(is_same_origin(&headers), same, "{origin:?} {host:?}");
            if let Some(origin) = origin {
                headers.append(header::ORIGIN, origin.parse().unwrap());
                assert!(!is_same_origin(&headers), "{origin:?} twice");
            }
        }
    }
}
