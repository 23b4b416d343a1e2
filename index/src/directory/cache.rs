//! The decrypted blocks that searches touch, kept in memory within a byte budget and shared by all readers. Two maps, young
//! and old: a hit in the old one moves to the young, and when the young one is full it becomes the old and the old is
//! forgotten. That is nearly least-recently-used, without a list to keep in order.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use domain::ids::DatabaseId;

/// Bytes of plaintext in one cached block; the same as a sealed block of storage, so that a miss decrypts exactly one.
pub(super) const BLOCK: usize = 16 * 1024;

/// A bounded cache of decrypted blocks, one for a whole process; clones share it.
#[derive(Clone)]
pub struct BlockCache {
    state: Arc<Mutex<State>>,
    budget: usize,
}

/// The blocks of one database in the cache.
#[derive(Debug, Clone)]
pub struct Blocks {
    cache: BlockCache,
    database: DatabaseId,
}

#[derive(Default)]
struct State {
    young: HashMap<Key, Arc<[u8]>>,
    old: HashMap<Key, Arc<[u8]>>,
    young_bytes: usize,
}

/// The database, the file by its name (names of segments are random and never reused), and the number of a block in it.
type Key = (DatabaseId, Arc<str>, usize);

impl BlockCache {
    /// A cache that holds at most `bytes` of plaintext.
    pub fn new(bytes: usize) -> Self {
        Self { state: Arc::default(), budget: bytes }
    }

    /// The part of it that `database` uses.
    pub fn of(&self, database: DatabaseId) -> Blocks {
        Blocks { cache: self.clone(), database }
    }

    /// The most bytes it holds.
    pub fn budget(&self) -> usize {
        self.budget
    }

    /// Forgets everything.
    pub fn clear(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }

    fn get(&self, key: &Key) -> Option<Arc<[u8]>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = state.young.get(key) {
            return Some(block.clone());
        }
        let block = state.old.remove(key)?;
        self.insert(&mut state, key.clone(), block.clone());
        Some(block)
    }

    fn put(&self, key: Key, block: Arc<[u8]>) {
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

impl Blocks {
    /// Block `number` of `file`, if it is kept.
    pub(super) fn get(&self, file: &Arc<str>, number: usize) -> Option<Arc<[u8]>> {
        self.cache.get(&(self.database, file.clone(), number))
    }

    /// Keeps a block.
    pub(super) fn put(&self, file: &Arc<str>, number: usize, block: Arc<[u8]>) {
        self.cache.put((self.database, file.clone(), number), block);
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
        let blocks = cache.of(DatabaseId::new());
        let name: Arc<str> = "segment".into();
        blocks.put(&name, 0, vec![7; 10].into());
        for block in 1..1_000 {
            blocks.put(&name, block, vec![0; 10].into());
            assert_eq!(blocks.get(&name, 0).as_deref(), Some(&[7; 10][..]), "after {block}");
            assert!(held(&cache) <= 100);
        }
        assert!(blocks.get(&name, 500).is_none());
        blocks.put(&name, 5_000, vec![0; 90].into());
        assert!(held(&cache) <= 100);
    }

    #[test]
    fn databases_share_the_budget_and_nothing_else() {
        let cache = BlockCache::new(100);
        let (one, other) = (cache.of(DatabaseId::new()), cache.of(DatabaseId::new()));
        let name: Arc<str> = "segment".into();
        one.put(&name, 0, vec![1; 40].into());
        assert!(other.get(&name, 0).is_none(), "a file of that name in another database");
        other.put(&name, 0, vec![2; 40].into());
        assert_eq!(one.get(&name, 0).as_deref(), Some(&[1; 40][..]));
        assert_eq!(other.get(&name, 0).as_deref(), Some(&[2; 40][..]));
        assert!(held(&cache) <= 100);
    }
}
