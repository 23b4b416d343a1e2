//! Live events inside one process: a broadcast channel per topic that somebody listens to, and a bounded replay buffer per
//! message being written.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use domain::{
    events::{ChatEvent, ChatStep, Event, Topic},
    ids::MessageId,
};
use tokio::sync::broadcast;

/// Events a slow listener may lag behind before it misses some and must read the rows again.
const LAG: usize = 1_024;
/// Events kept per message for replay.
const REPLAY: usize = 4_096;
/// Messages kept for replay; the oldest goes first.
const MESSAGES: usize = 512;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct LocalPubSub {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    topics: HashMap<Topic, broadcast::Sender<Heard>>,
    replays: VecDeque<(MessageId, VecDeque<ChatEvent>)>,
}

/// A listener on one topic.
#[derive(Debug)]
pub struct Subscription {
    receiver: broadcast::Receiver<Heard>,
}

/// What a listener hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// An event.
    Event(Event),
    /// Some events were missed: read the rows again.
    Missed,
}

impl Subscription {
    /// The next event; `None` when the process is stopping.
    pub async fn next(&mut self) -> Option<Heard> {
        match self.receiver.recv().await {
            Ok(heard) => Some(heard),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Heard::Missed),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl LocalPubSub {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn publish(&self, topic: Topic, event: Event) {
        let mut state = self.state();
        if let Event::Chat(chat) = &event {
            state.keep(chat);
        }
        state.send(topic, Heard::Event(event));
    }

    /// Passes on what another process published: to listeners only, since replays of it are kept elsewhere.
    pub(super) fn deliver(&self, topic: Topic, event: Event) {
        self.state().send(topic, Heard::Event(event));
    }

    /// True when somebody listens on `topic`.
    pub(super) fn has_listeners(&self, topic: Topic) -> bool {
        self.state().topics.get(&topic).is_some_and(|sender| sender.receiver_count() > 0)
    }

    /// Tells every listener that events may have been missed.
    pub(super) fn miss(&self) {
        let mut state = self.state();
        state.topics.retain(|_, sender| sender.send(Heard::Missed).is_ok());
    }

    pub(super) fn subscribe(&self, topic: Topic) -> Subscription {
        let mut state = self.state();
        state.topics.retain(|_, sender| sender.receiver_count() > 0);
        let sender = state.topics.entry(topic).or_insert_with(|| broadcast::channel(LAG).0);
        Subscription { receiver: sender.subscribe() }
    }

    pub(super) fn replay(&self, message: MessageId, after: u64) -> Vec<ChatEvent> {
        let state = self.state();
        let kept = state.replays.iter().find(|(id, _)| *id == message);
        kept.map_or_else(Vec::new, |(_, events)| events.iter().filter(|e| e.seq > after).cloned().collect())
    }
}

impl State {
    fn send(&mut self, topic: Topic, heard: Heard) {
        let Some(sender) = self.topics.get(&topic) else { return };
        if sender.send(heard).is_err() {
            self.topics.remove(&topic);
        }
    }

    fn keep(&mut self, event: &ChatEvent) {
        if !self.replays.iter().any(|(id, _)| *id == event.message) {
            if self.replays.len() >= MESSAGES {
                self.replays.pop_front();
            }
            self.replays.push_back((event.message, VecDeque::new()));
        }
        let Some((_, events)) = self.replays.iter_mut().find(|(id, _)| *id == event.message) else { return };
        if matches!(event.step, ChatStep::Started) {
            events.clear();
        }
        if events.len() >= REPLAY {
            events.pop_front();
        }
        events.push_back(event.clone());
    }
}

#[cfg(test)]
mod tests {
    use domain::ids::ConversationId;

    use super::*;

    #[tokio::test]
    async fn a_late_listener_replays_what_it_missed_and_a_new_run_forgets_the_old() {
        let pubsub = LocalPubSub::default();
        let (conversation, message) = (ConversationId::new(), MessageId::new());
        let say = |seq, step| {
            pubsub.publish(
                Topic::Conversation(conversation),
                Event::Chat(ChatEvent { conversation, message, seq, step }),
            );
        };
        say(1, ChatStep::Started);
        say(2, ChatStep::Delta { text: "a".into() });
        let mut listener = pubsub.subscribe(Topic::Conversation(conversation));
        say(3, ChatStep::Delta { text: "b".into() });
        let seqs: Vec<u64> = pubsub.replay(message, 1).iter().map(|e| e.seq).collect();
        assert_eq!(seqs, [2, 3]);
        assert!(matches!(listener.next().await, Some(Heard::Event(Event::Chat(e))) if e.seq == 3));
        say(4, ChatStep::Started);
        assert_eq!(pubsub.replay(message, 0).len(), 1);
    }
}
