//! What is said of an answer while it is written. Numbers rise over all runs of a job, so that a client that saw the first
//! run, cut by a crash, hears all of the second.

use domain::{
    events::{ChatEvent, ChatStep, Event, Topic},
    ids::{ConversationId, MessageId},
};
use storage::{Tx, messages::Message, pubsub::PubSub};

use crate::runner::Run;

/// Numbers one run may use.
const RUN: u64 = 1 << 20;

/// Numbers and sends the steps of one run.
pub(crate) struct Voice {
    pubsub: PubSub,
    conversation: ConversationId,
    message: MessageId,
    seq: u64,
}

impl Voice {
    pub(crate) fn new(run: &Run, message: &Message) -> Self {
        let before = u64::try_from(run.held.fence.max(1) - 1).unwrap_or(0);
        Self {
            pubsub: run.storage.pubsub.clone(),
            conversation: message.conversation,
            message: message.id,
            seq: before.saturating_mul(RUN),
        }
    }

    /// Sends a step now.
    pub(crate) fn say(&mut self, step: ChatStep) {
        let event = self.event(step);
        self.pubsub.publish(Topic::Conversation(self.conversation), Event::Chat(event));
    }

    /// Sends a step when `tx` has committed.
    pub(crate) fn say_after(&mut self, tx: &mut Tx, step: ChatStep) {
        let event = self.event(step);
        tx.publish(Topic::Conversation(self.conversation), Event::Chat(event));
    }

    fn event(&mut self, step: ChatStep) -> ChatEvent {
        self.seq += 1;
        ChatEvent { conversation: self.conversation, message: self.message, seq: self.seq, step }
    }
}
