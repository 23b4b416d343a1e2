//! Open index generations, kept between searches, and the few threads that search them. A reader stands on one immutable
//! generation; when the next is published the old one is forgotten with the first search that asks for the new.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use domain::{error::Code, ids::DatabaseId};
use index::{BlockCache, Reader, SearchRequest, SearchResults};
use storage::{
    Tx,
    databases::Database,
    generations::{self, Generation},
    objects::{IndexFiles, Objects},
    vault::CaseKey,
};
use tokio::sync::Semaphore;

use crate::{Error, Result};

/// Generations kept open; the one not asked for the longest goes first.
const MOST_OPEN: usize = 64;
/// How long a search waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// Open readers, and who may search at once.
pub struct Readers {
    cache: BlockCache,
    /// The one used last stands last.
    open: Mutex<VecDeque<Opened>>,
    turns: Arc<Semaphore>,
}

struct Opened {
    database: DatabaseId,
    number: u64,
    reader: Reader,
}

/// A generation to search: open already, or what it takes to open it.
pub struct Source {
    database: DatabaseId,
    state: SourceState,
}

enum SourceState {
    Open(Reader),
    Closed { generation: Box<Generation>, key: CaseKey, objects: Objects },
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers").field("open", &self.open().len()).finish_non_exhaustive()
    }
}

impl Readers {
    /// No generation open yet; decrypted blocks will be kept in `cache`.
    pub fn new(cache: BlockCache) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self { cache, open: Mutex::default(), turns: Arc::new(Semaphore::new(cores.max(2))) }
    }

    /// The live generation of a database found with [`domain::access::Action::ReadDocuments`]; `None` before the first.
    pub async fn source(&self, tx: &mut Tx, database: &Database) -> Result<Option<Source>> {
        if database.generation == 0 {
            return Ok(None);
        }
        if let Some(reader) = self.known(database.id, database.generation) {
            return Ok(Some(Source { database: database.id, state: SourceState::Open(reader) }));
        }
        let Some(generation) = generations::live(tx, database.case_id, database.id).await? else { return Ok(None) };
        let key = tx.case_key(database.case_id).await?;
        let objects = tx.storage().objects.clone();
        let state = SourceState::Closed { generation: Box::new(generation), key, objects };
        Ok(Some(Source { database: database.id, state }))
    }

    /// Searches `sources` as one collection, off the async threads. A hit's `source` is its place in `sources`.
    pub async fn search(self: &Arc<Self>, sources: Vec<Source>, request: SearchRequest) -> Result<SearchResults> {
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(Code::Unavailable.into()) };
        let readers = Arc::clone(self);
        let found = tokio::task::spawn_blocking(move || {
            // Held until the work is done, even when the client has gone meanwhile.
            let _turn = turn;
            let opened: Vec<Reader> =
                sources.into_iter().map(|source| readers.reader(source)).collect::<index::Result<_>>()?;
            index::search(&opened, &request)
        });
        found.await.map_err(Error::internal)?.map_err(|error| match error {
            index::Error::Cursor(_) => Code::BadCursor.into(),
            error => Error::internal(error),
        })
    }

    /// Opens a source. Blocks.
    fn reader(&self, source: Source) -> index::Result<Reader> {
        let (generation, key, objects) = match source.state {
            SourceState::Open(reader) => return Ok(reader),
            SourceState::Closed { generation, key, objects } => (generation, key, objects),
        };
        let files = IndexFiles::read_only(objects, key, generation.case, generation.manifest.files);
        let reader = Reader::open(Arc::new(files), &generation.manifest.meta, &self.cache.of(source.database))?;
        self.keep(source.database, generation.number, reader.clone());
        Ok(reader)
    }

    fn known(&self, database: DatabaseId, number: u64) -> Option<Reader> {
        let mut open = self.open();
        let at = open.iter().position(|opened| opened.database == database && opened.number == number)?;
        let opened = open.remove(at)?;
        let reader = opened.reader.clone();
        open.push_back(opened);
        Some(reader)
    }

    fn keep(&self, database: DatabaseId, number: u64, reader: Reader) {
        let mut open = self.open();
        if open.iter().any(|opened| opened.database == database && opened.number >= number) {
            return;
        }
        open.retain(|opened| opened.database != database);
        open.push_back(Opened { database, number, reader });
        if open.len() > MOST_OPEN {
            open.pop_front();
        }
    }

    fn open(&self) -> MutexGuard<'_, VecDeque<Opened>> {
        // Each change under the lock is complete in itself.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
