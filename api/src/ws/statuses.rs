//! How far databases are, read once for all sockets of this process that wait for the same news. Counting reads as many index
//! entries as there are documents; a thousand sockets that each counted would keep the database busy with nothing else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex as Lock, PoisonError, Weak},
    time::Duration,
};

use domain::{access::Action, actor::Actor, events::DatabaseStatus, ids::DatabaseId};
use storage::{Storage, databases::Database};
use tokio::{sync::Mutex, time::Instant};

/// What is being watched in this process. A database is forgotten when nobody watches it.
#[derive(Debug, Default)]
pub struct Statuses {
    watched: Lock<HashMap<DatabaseId, Weak<Shared>>>,
}

/// One database's status, for all who watch it.
#[derive(Debug)]
pub(crate) struct Shared {
    database: DatabaseId,
    last: Mutex<Option<Counted>>,
}

/// A status that was read.
#[derive(Debug, Clone)]
pub(crate) struct Counted {
    pub(crate) status: Arc<DatabaseStatus>,
    /// When the reading began: everything committed before is in it.
    pub(crate) began: Instant,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Statuses {
    /// The status of `database`, shared with whoever watches it already.
    pub(crate) fn watch(&self, database: DatabaseId) -> Arc<Shared> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = watched.get(&database).and_then(Weak::upgrade) {
            return shared;
        }
        watched.retain(|_, shared| shared.strong_count() > 0);
        let shared = Arc::new(Shared { database, last: Mutex::default() });
        watched.insert(database, Arc::downgrade(&shared));
        shared
    }
}

impl Shared {
    /// The status as it was at `since` or later. Who finds none such reads it, as `actor`, while the others wait. It says nothing
    /// about whether `actor` may see it: the socket asks that of its own accord.
    pub(crate) async fn since(&self, since: Instant, storage: &Storage, actor: &Actor) -> storage::Result<Counted> {
        let mut last = self.last.lock().await;
        if let Some(counted) = last.as_ref().filter(|counted| counted.began >= since) {
            return Ok(counted.clone());
        }
        let began = Instant::now();
        let mut tx = storage.read(actor).await?;
        let database = Database::find(&mut tx, self.database, Action::SeeCase).await?;
        let status = Arc::new(database.status(&mut tx).await?);
        let counted = Counted { status, began, took: began.elapsed() };
        *last = Some(counted.clone());
        Ok(counted)
    }
}
