//! Who acts: a signed-in person, or a program with a person's API key. The token says who claims to act; the row of the session or
//! of the key decides, on every request.

use axum::{
    extract::{FromRequestParts, OriginalUri},
    http::{HeaderMap, header, request::Parts},
};
use domain::{
    actor::{Actor, Origin, Who},
    clock::Timestamp,
    error::Code,
};
use storage::{api_keys, sessions, users::User};

use super::origin::origin;
use crate::{Error, State, config::Network, limits};

/// Who acts now.
#[derive(Debug, Clone)]
pub struct CurrentUser {
    /// Travels with every call to storage.
    pub actor: Actor,
    /// The person.
    pub user: User,
    /// When the person last proved in this session that it is them; `None` for a key.
    authenticated_at: Option<Timestamp>,
}

/// A person who signed in. What belongs to the person alone (passwords, sessions, invitations, keys) takes no key.
#[derive(Debug, Clone)]
pub struct SignedIn(pub CurrentUser);

/// A person who signed in and proved of late that it is them (`auth.step_up_seconds`): what is sensitive takes this.
#[derive(Debug, Clone)]
pub struct SteppedUp(pub CurrentUser);

/// A person who signed in, though the second factor that their role needs may be missing: what they need to set one up, and no more.
#[derive(Debug, Clone)]
pub struct Enrolling(pub CurrentUser);

/// Whoever is recognised, with a key or without, though a second factor may be missing.
#[derive(Debug, Clone)]
pub struct Recognised(pub CurrentUser);

impl FromRequestParts<State> for Recognised {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Error> {
        refuse_keys_in_urls(parts)?;
        let origin = origin(parts, state);
        CurrentUser::counted(parts, state, bearer(&parts.headers).unwrap_or_default(), origin).await.map(Self)
    }
}

impl FromRequestParts<State> for CurrentUser {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Error> {
        let Recognised(user) = Recognised::from_request_parts(parts, state).await?;
        user.admitted(state)
    }
}

impl FromRequestParts<State> for SignedIn {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Error> {
        CurrentUser::from_request_parts(parts, state).await?.in_person().map(Self)
    }
}

impl FromRequestParts<State> for SteppedUp {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Error> {
        let SignedIn(user) = SignedIn::from_request_parts(parts, state).await?;
        user.expect_fresh(state)?;
        Ok(Self(user))
    }
}

impl FromRequestParts<State> for Enrolling {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Error> {
        let Recognised(user) = Recognised::from_request_parts(parts, state).await?;
        user.in_person().map(Self)
    }
}

impl CurrentUser {
    /// The person behind an access token or an API key, for doors that carry it elsewhere than in the header (`WebSockets`). May be
    /// asked again at any time: it fails once the session or the key ends.
    pub async fn of_token(state: &State, token: &str, origin: Origin) -> Result<Self, Error> {
        Self::recognise(state, token, origin).await?.admitted(state)
    }

    /// The same for a request, which is counted: against who it turns out to be, or against the address it came from.
    pub(crate) async fn of_request(parts: &Parts, state: &State, token: &str, origin: Origin) -> Result<Self, Error> {
        Self::counted(parts, state, token, origin).await?.admitted(state)
    }

    /// Fails unless the person proved of late that it is them. For routes that want it of some requests only; others take [`SteppedUp`].
    pub(crate) fn expect_fresh(&self, state: &State) -> Result<(), Error> {
        let now = state.storage.clock.now();
        match self.authenticated_at {
            Some(at) if now.since(at) < state.auth.freshness() => Ok(()),
            _ => Err(Code::StepUpRequired.into()),
        }
    }

    async fn recognise(state: &State, token: &str, origin: Origin) -> Result<Self, Error> {
        if token.starts_with(api_keys::MARK) {
            return Self::of_key(state, token, origin).await;
        }
        let claims = state.tokens.read(token, state.storage.clock.now()).ok_or(Code::Unauthenticated)?;
        let mut tx = state.storage.read(&Actor { who: Who::Anonymous, origin: origin.clone() }).await?;
        let holder = sessions::holder(&mut tx, claims.sid, claims.sub).await?.ok_or(Code::Unauthenticated)?;
        let who = Who::User { user: holder.user.id, session: claims.sid, role: holder.user.role };
        Ok(Self { actor: Actor { who, origin }, user: holder.user, authenticated_at: Some(holder.authenticated_at) })
    }

    async fn counted(parts: &Parts, state: &State, token: &str, origin: Origin) -> Result<Self, Error> {
        let found = Self::recognise(state, token, origin.clone()).await;
        match &found {
            Ok(user) => limits::take_of_actor(parts, state, &user.actor).await?,
            Err(_) => limits::take_of_address(parts, state, &origin).await?,
        }
        found
    }

    /// Who signed in without the second factor that their role needs gets no further. A key was made by somebody who was further.
    fn admitted(self, state: &State) -> Result<Self, Error> {
        let lacks = !self.user.has_second_factor && state.auth.wants_second_factor(self.user.role);
        match self.actor.who {
            Who::User { .. } if lacks => Err(Code::SecondFactorRequired.into()),
            _ => Ok(self),
        }
    }

    fn in_person(self) -> Result<Self, Error> {
        match self.actor.who {
            Who::User { .. } => Ok(self),
            Who::Key { .. } | Who::Anonymous | Who::System { .. } => {
                Err(Error::new(Code::Forbidden, "no API key does this; sign in with your password"))
            }
        }
    }

    /// The refusal is one and the same, whatever is wrong with the key.
    async fn of_key(state: &State, token: &str, origin: Origin) -> Result<Self, Error> {
        let mut tx = state.storage.read(&Actor { who: Who::Anonymous, origin: origin.clone() }).await?;
        let (key, user) = api_keys::holder(&mut tx, token).await?.ok_or(Code::Unauthenticated)?;
        drop(tx);
        if !is_within(&key.networks, origin.address.as_deref()) {
            tracing::warn!(api_key = %key.id, "an API key came from a network it is not for");
            state.key_uses.note_refusal(&state.storage, Actor { who: Who::Anonymous, origin }, key);
            return Err(Code::Unauthenticated.into());
        }
        state.key_uses.note(&state.storage, key.id, key.last_used_at);
        let who = Who::Key { user: user.id, key: key.id, role: user.role, grant: key.grant };
        Ok(Self { actor: Actor { who, origin }, user, authenticated_at: None })
    }
}

/// True when `address` lies in one of `networks`, or none is named. An address that is not known, or a network that cannot be read, is
/// no way in.
fn is_within(networks: &[String], address: Option<&str>) -> bool {
    let address = address.and_then(|address| address.parse().ok());
    let holds = |network: &String| {
        address.zip(network.parse::<Network>().ok()).is_some_and(|(address, network)| network.contains(address))
    };
    networks.is_empty() || networks.iter().any(holds)
}

/// A key in a URL lies in the logs of every proxy on its way: refused, so that whoever built that hears of it at once.
pub(crate) fn refuse_keys_in_urls(parts: &Parts) -> Result<(), Error> {
    let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |original| &original.0);
    if api_keys::stands_in(uri.path()) || uri.query().is_some_and(api_keys::stands_in) {
        let message = "an API key stands in the URL, where logs keep it: revoke it, and send the next one as Authorization: Bearer";
        return Err(Error::new(Code::BadRequest, message));
    }
    Ok(())
}

/// The token of an `Authorization: Bearer` header (RFC 6750 §2.1). Of two headers a proxy may have looked at the other one: they hold
/// no token.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
