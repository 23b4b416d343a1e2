//! Live events: progress and chat deltas on their way to WebSockets. Nothing here is durable; rows are the truth.

mod local;
mod redis;

use domain::{
    events::{ChatEvent, Event, Topic},
    ids::MessageId,
};

pub use self::{
    local::{Heard, LocalPubSub, Subscription},
    redis::{RedisError, RedisPubSub, RedisSettings},
};
use crate::vault::Vault;

/// How live events travel.
#[derive(Debug, Clone)]
pub enum PubSub {
    /// Inside one process.
    Local(LocalPubSub),
    /// Between processes, through Redis.
    Redis(RedisPubSub),
}

impl PubSub {
    /// Live events inside this process.
    pub fn local() -> Self {
        Self::Local(LocalPubSub::default())
    }

    /// Live events between all processes that share a Redis and the root key of `vault`. It connects when it is first used;
    /// while Redis is away, events pause between processes and go on within each. Must be called within a tokio runtime.
    pub fn redis(settings: &RedisSettings, vault: &Vault) -> Result<Self, RedisError> {
        Ok(Self::Redis(RedisPubSub::new(settings, vault)?))
    }

    /// Sends `event` to whoever listens on `topic` now. Chat events are also kept for replay until the message ends. Neither
    /// waits nor fails.
    pub fn publish(&self, topic: Topic, event: Event) {
        match self {
            Self::Local(pubsub) => pubsub.publish(topic, event),
            Self::Redis(pubsub) => pubsub.publish(topic, event),
        }
    }

    /// Listens on `topic` from now on.
    pub fn subscribe(&self, topic: Topic) -> Subscription {
        match self {
            Self::Local(pubsub) => pubsub.subscribe(topic),
            Self::Redis(pubsub) => pubsub.subscribe(topic),
        }
    }

    /// The chat events of a message still being written, numbered after `after`; empty once the message has ended long
    /// ago (its row then holds the answer). Subscribe first, then replay, and drop what comes twice by its number.
    pub async fn replay(&self, message: MessageId, after: u64) -> Vec<ChatEvent> {
        match self {
            Self::Local(pubsub) => pubsub.replay(message, after),
            Self::Redis(pubsub) => pubsub.replay(message, after).await,
        }
    }

    /// The number of the last event of a message that this process sent; 0 when it sent none.
    pub fn last_sent(&self, message: MessageId) -> u64 {
        let local = match self {
            Self::Local(pubsub) => pubsub,
            Self::Redis(pubsub) => pubsub.local(),
        };
        local.replay(message, 0).last().map_or(0, |event| event.seq)
    }
}
