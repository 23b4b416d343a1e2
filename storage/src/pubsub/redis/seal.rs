//! What stands in Redis: `sender (16) ‖ envelope`, the envelope sealed under a key that is made of the root key for this alone and
//! bound to the topic or message it belongs to. So Redis learns who speaks when and how much, and can neither read nor move it.

use std::fmt;

use domain::{
    events::{ChatEvent, Event, Topic},
    ids::{self, MessageId},
};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::vault::{Place, SystemKey, Vault};

/// Bytes of the sender's id.
const SENDER: usize = 16;
/// What a gap is announced with.
const GAP: &str = "gap";

/// Seals and opens. Every process has an id of its own, by which it knows its own events again.
pub(super) struct Seal {
    key: SystemKey,
    sender: Uuid,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal")
    }
}

/// The kind and id of a topic.
pub(super) fn place(topic: Topic) -> (&'static str, Uuid) {
    match topic {
        Topic::Database(id) => ("database", id.uuid()),
        Topic::Conversation(id) => ("conversation", id.uuid()),
        Topic::Access(id) => ("access", id.uuid()),
        Topic::User(id) => ("user", id.uuid()),
    }
}

/// The topic of a kind and id.
pub(super) fn topic(kind: &str, id: &str) -> Option<Topic> {
    Some(match kind {
        "database" => Topic::Database(id.parse().ok()?),
        "conversation" => Topic::Conversation(id.parse().ok()?),
        "access" => Topic::Access(id.parse().ok()?),
        "user" => Topic::User(id.parse().ok()?),
        _ => return None,
    })
}

impl Seal {
    pub(super) fn new(vault: &Vault) -> Self {
        Self { key: vault.system_key("live"), sender: ids::fresh() }
    }

    /// True for what this process sent itself.
    pub(super) fn is_own(&self, sealed: &[u8]) -> bool {
        sealed.starts_with(self.sender.as_bytes())
    }

    /// An event for the channel of `topic`; `None` when it cannot be sealed.
    pub(super) fn event(&self, topic: Topic, event: &Event) -> Option<Vec<u8>> {
        let (kind, id) = place(topic);
        self.seal(&Place::new("live", kind, id), event)
    }

    pub(super) fn open_event(&self, topic: Topic, sealed: &[u8]) -> Option<Event> {
        let (kind, id) = place(topic);
        self.open(&Place::new("live", kind, id), sealed)
    }

    /// A step for the stream of its message.
    pub(super) fn said(&self, event: &ChatEvent) -> Option<Vec<u8>> {
        self.seal(&Place::new("live", "said", event.message), event)
    }

    pub(super) fn open_said(&self, message: MessageId, sealed: &[u8]) -> Option<ChatEvent> {
        self.open(&Place::new("live", "said", message), sealed)
    }

    /// Word of a gap.
    pub(super) fn gap(&self) -> Option<Vec<u8>> {
        self.seal(&Place::new("live", GAP, Uuid::nil()), &GAP)
    }

    pub(super) fn is_gap(&self, sealed: &[u8]) -> bool {
        self.open::<String>(&Place::new("live", GAP, Uuid::nil()), sealed).is_some_and(|said| said == GAP)
    }

    fn seal(&self, place: &Place, value: &impl Serialize) -> Option<Vec<u8>> {
        let plain = serde_json::to_vec(value).ok()?;
        let sealed = self.key.seal(place, &plain).ok()?;
        Some([self.sender.as_bytes().as_slice(), &sealed].concat())
    }

    /// `None` for what was sealed under another key, for another place, or by a version that says what this one cannot read.
    fn open<T: DeserializeOwned>(&self, place: &Place, sealed: &[u8]) -> Option<T> {
        let plain = self.key.open(place, sealed.get(SENDER..)?).ok()?;
        serde_json::from_slice(&plain).ok()
    }
}
