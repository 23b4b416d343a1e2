//! The decrypted blocks that searches touch, kept in memory within a byte budget and shared by all readers. Two maps, young
//! and old: a hit in the old one moves to the young, and when the young one is full it becomes the old and the old is
//! forgotten. That is nearly least-recently-used, without a list to keep in order.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// Bytes of plaintext in one cached block; the same as a sealed block of storage, so that a miss decrypts exactly one.
pub(super) const BLOCK: usize = 16 * 1024;

/// A bounded cache of decrypted blocks; clones share it.
#[derive(Clone)]
pub struct BlockCache {
    state: Arc<Mutex<State>>,
    budget: usize,
}

#[derive(Default)]
struct State {
    young: HashMap<Key, Arc<[u8]>>,
    old: HashMap<Key, Arc<[u8]>>,
    young_bytes: usize,
}

/// A file, by its name (names of segments are random and never reused), and the number of a block in it.
pub(super) type Key = (Arc<str>, usize);

impl BlockCache {
    /// A cache that holds at most `bytes` of plaintext.
    pub fn new(bytes: usize) -> Self {
        Self { state: Arc::default(), budget: bytes }
    }

    /// The most bytes it holds.
    pub fn budget(&self) -> usize {
        self.budget
    }

    /// Forgets everything.
    pub fn clear(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<[u8]>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = state.young.get(key) {
            return Some(block.clone());
        }
        let block = state.old.remove(key)?;
        self.insert(&mut state, key.clone(), block.clone());
        Some(block)
    }

    pub(super) fn put(&self, key: Key, block: Arc<[u8]>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.insert(&mut state, key, block);
    }

    fn insert(&self, state: &mut State, key: Key, block: Arc<[u8]>) {
        let half = self.budget / 2;
        if block.len() > half {
            return;
        }
        if state.young_bytes + block.len() > half {
            state.old = std::mem::take(&mut state.young);
            state.young_bytes = 0;
        }
        state.young_bytes += block.len();
        if let Some(before) = state.young.insert(key, block) {
            state.young_bytes -= before.len();
        }
    }
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockCache({} bytes)", self.budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(cache: &BlockCache) -> usize {
        let state = cache.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.young.values().chain(state.old.values()).map(|block| block.len()).sum()
    }

    #[test]
    fn it_stays_within_its_budget_and_keeps_what_is_used() {
        let cache = BlockCache::new(100);
        let name: Arc<str> = "segment".into();
        cache.put((name.clone(), 0), vec![7; 10].into());
        for block in 1..1_000 {
            cache.put((name.clone(), block), vec![0; 10].into());
            assert_eq!(cache.get(&(name.clone(), 0)).as_deref(), Some(&[7; 10][..]), "after {block}");
            assert!(held(&cache) <= 100);
        }
        assert!(cache.get(&(name.clone(), 500)).is_none());
        cache.put((name, 5_000), vec![0; 90].into());
        assert!(held(&cache) <= 100);
    }
}
