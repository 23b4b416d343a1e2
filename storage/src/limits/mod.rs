//! Budgets of requests: who may ask how often. Counted in this process, or between all processes that share a Redis. Budgets are known
//! by keyed digests, so that neither addresses nor names can be read out of Redis.

mod local;
mod redis;

use domain::{
    clock::Clock,
    ids::{ApiKeyId, UserId},
    limits::{Class, Rate, Verdict},
};

pub use self::{
    local::{LocalLimits, MOST},
    redis::RedisLimits,
};
use crate::{
    pubsub::{RedisError, RedisSettings},
    vault::Vault,
};

/// Whose budget it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A signed-in person's.
    User(UserId),
    /// An API key's.
    Key(ApiKeyId),
    /// That of everybody at a network address, before it is known who they are.
    Address(&'a str),
    /// That of an e-mail address somebody wants to sign in with, whether anybody has it or not.
    Account(&'a str),
}

/// A budget's name: a digest of its class and subject.
pub type Name = [u8; 16];

/// Where requests are counted.
#[derive(Debug, Clone)]
pub enum Limits {
    /// Inside one process.
    Local(LocalLimits),
    /// Between processes, in Redis, and inside each all the same: what is lost there is still known here.
    Redis(RedisLimits),
}

impl Limits {
    /// Budgets of this process.
    pub fn local() -> Self {
        Self::Local(LocalLimits::default())
    }

    /// Budgets of all processes that share a Redis and the root key. It connects when it is first used; while Redis is away each process
    /// counts for itself. Must be called within a tokio runtime.
    pub fn redis(settings: &RedisSettings) -> Result<Self, RedisError> {
        Ok(Self::Redis(RedisLimits::new(settings)?))
    }

    /// Takes one request of `class` out of the subject's budget. Never fails and never waits long: what cannot be counted together is
    /// counted here.
    pub async fn take(&self, vault: &Vault, clock: &Clock, class: Class, subject: &Subject<'_>, rate: Rate) -> Verdict {
        let name = name(vault, class, subject);
        match self {
            Self::Local(limits) => limits.take(&name, rate, clock.now()),
            Self::Redis(limits) => limits.take(class, &name, rate, clock).await,
        }
    }
}

fn name(vault: &Vault, class: Class, subject: &Subject<'_>) -> Name {
    let whose = match subject {
        Subject::User(id) => format!("{} user {id}", class.name()),
        Subject::Key(id) => format!("{} key {id}", class.name()),
        Subject::Address(address) => format!("{} address {address}", class.name()),
        Subject::Account(email) => format!("{} account {email}", class.name()),
    };
    let digest = vault.blind_index("limits", &whose);
    let mut name = [0; 16];
    name.copy_from_slice(&digest[..16]);
    name
}
