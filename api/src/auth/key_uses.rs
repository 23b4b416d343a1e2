//! When API keys were last used, and when they last came from where they may not: written down beside the requests, at most once a
//! minute for each key.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use domain::{actor::Actor, clock::Timestamp, ids::ApiKeyId};
use storage::{
    Storage,
    api_keys::{self, ApiKey, NOTED},
};

/// Keys remembered at once; when there are more, all are forgotten, which costs each one more write.
const MOST: usize = 10_000;

/// What this process wrote down of late. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct KeyUses {
    used: Notes,
    refused: Notes,
}

#[derive(Debug, Clone, Default)]
struct Notes(Arc<Mutex<HashMap<ApiKeyId, Timestamp>>>);

impl KeyUses {
    /// A key was used now; its row says `last`. The request does not wait for the note.
    pub(crate) fn note(&self, storage: &Storage, key: ApiKeyId, last: Option<Timestamp>) {
        if !self.used.is_due(storage.clock.now(), key, last) {
            return;
        }
        let storage = storage.clone();
        tokio::spawn(async move {
            if let Err(error) = api_keys::note_use(&storage, key).await {
                tracing::warn!(%error, api_key = %key, "the last use of an API key could not be written down");
            }
        });
    }

    /// A key came from a network it is not for. The request does not wait for the note.
    pub(crate) fn note_refusal(&self, storage: &Storage, actor: Actor, key: ApiKey) {
        if !self.refused.is_due(storage.clock.now(), key.id, None) {
            return;
        }
        let storage = storage.clone();
        tokio::spawn(async move {
            if let Err(error) = api_keys::note_refusal(&storage, &actor, &key).await {
                tracing::warn!(%error, api_key = %key.id, "that an API key was refused could not be written down");
            }
        });
    }
}

impl Notes {
    fn is_due(&self, now: Timestamp, key: ApiKeyId, last: Option<Timestamp>) -> bool {
        let is_old = |at: Timestamp| now.since(at) >= NOTED;
        if !last.is_none_or(is_old) {
            return false;
        }
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() >= MOST {
            noted.clear();
        }
        // Requests at once find the row as it was; one of them writes.
        let is_due = noted.get(&key).copied().is_none_or(is_old);
        if is_due {
            noted.insert(key, now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_note_a_minute() {
        let (uses, key, start) = (Notes::default(), ApiKeyId::new(), Timestamp(1_000_000_000));
        assert!(uses.is_due(start, key, None) && !uses.is_due(start, key, None));
        assert!(uses.is_due(start, ApiKeyId::new(), None));
        let later = start.plus(NOTED);
        assert!(!uses.is_due(later, key, Some(start.plus(Duration::from_secs(1)))), "another process wrote");
        assert!(uses.is_due(later, key, Some(start)) && !uses.is_due(later, key, Some(start)));
    }

    #[test]
    fn memory_is_bounded() {
        let uses = Notes::default();
        for _ in 0..=MOST * 2 {
            uses.is_due(Timestamp(1), ApiKeyId::new(), None);
        }
        assert!(uses.0.lock().unwrap_or_else(PoisonError::into_inner).len() <= MOST);
    }
}
