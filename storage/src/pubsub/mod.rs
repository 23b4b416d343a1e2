//! Live events: progress and chat deltas on their way to WebSockets. Nothing here is durable; rows are the truth.

mod local;

use domain::{
    events::{ChatEvent, Event, Topic},
    ids::MessageId,
};

pub use local::{Heard, LocalPubSub, Subscription};

/// How live events travel.
#[derive(Debug, Clone)]
pub enum PubSub {
    /// Inside one process.
    Local(LocalPubSub),
}

impl PubSub {
    /// Live events inside this process.
    pub fn local() -> Self {
        Self::Local(LocalPubSub::default())
    }

    /// Sends `event` to whoever listens on `topic` now. Chat events are also kept for replay until the message ends.
    pub fn publish(&self, topic: Topic, event: Event) {
        match self {
            Self::Local(pubsub) => pubsub.publish(topic, event),
        }
    }

    /// Listens on `topic` from now on.
    pub fn subscribe(&self, topic: Topic) -> Subscription {
        match self {
            Self::Local(pubsub) => pubsub.subscribe(topic),
        }
    }

    /// The chat events of a message still being written, numbered after `after`; empty once the message has ended long
    /// ago (its row then holds the answer). Subscribe first, then replay, and drop what comes twice by its number.
    pub fn replay(&self, message: MessageId, after: u64) -> Vec<ChatEvent> {
        match self {
            Self::Local(pubsub) => pubsub.replay(message, after),
        }
    }
}
