//! Open index generations of this process's workers. A reader stands on one immutable generation; when the next is
//! published, the old one is let go with the first question that needs the new.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use domain::ids::DatabaseId;
use index::{BlockCache, Reader};
use storage::{Storage, generations::Generation, objects::IndexFiles, vault::CaseKey};

/// Databases kept open.
const MOST_OPEN: usize = 64;

/// See the module. Cloning shares them.
#[derive(Clone)]
pub(crate) struct Readers {
    cache: BlockCache,
    open: Arc<Mutex<HashMap<DatabaseId, (u64, Reader)>>>,
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Readers")
    }
}

impl Readers {
    /// No generation open yet; decrypted blocks will be kept in `cache`.
    pub(crate) fn new(cache: BlockCache) -> Self {
        Self { cache, open: Arc::default() }
    }

    /// The reader of a generation. Blocks while it is opened.
    pub(crate) fn open(&self, storage: &Storage, key: &CaseKey, generation: Generation) -> index::Result<Reader> {
        let (database, number) = (generation.database, generation.number);
        let known = self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&database).cloned();
        if let Some((_, reader)) = known.filter(|(open, _)| *open == number) {
            return Ok(reader);
        }
        let files =
            IndexFiles::read_only(storage.objects.clone(), key.clone(), generation.case, generation.manifest.files);
        let reader = Reader::open(Arc::new(files), &generation.manifest.meta, &self.cache.of(database))?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MOST_OPEN && !open.contains_key(&database) {
            open.clear();
        }
        open.insert(database, (number, reader.clone()));
        Ok(reader)
    }
}
