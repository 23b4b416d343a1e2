//! `/ws/database-status`: how far databases are, as it changes. The client subscribes, hears at once how things stand, and
//! then at most four times a second that they moved. What is said is always read from the rows, after what moved, so the last
//! word is right whatever events were lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use axum::response::Response;
use domain::{
    access::Action,
    error::Code,
    events::{DatabaseStatus, Topic},
    ids::{CaseId, DatabaseId},
};
use futures::{
    StreamExt as _,
    stream::{self, SelectAll, Stream},
};
use serde::{Deserialize, Serialize};
use storage::{databases::Database, pubsub::Subscription};
use tokio::time::{Instant, sleep_until};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Closed, Door, Socket, Told,
    statuses::{Counted, Shared},
};
use crate::State;

/// Databases one socket may watch.
const MOST_DATABASES: usize = 64;
/// Least time between two words about one database.
const PACE: Duration = Duration::from_millis(250);
/// A database that takes long to count is counted less often: at most this part of the time.
const SHARE: u32 = 10;

pub(crate) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(watch_databases))
}

/// A WebSocket that says how far databases are.
///
/// Prove who you are with an `Authorization` header or the first message `{"type":"authenticate","token":…}` within 5
/// seconds. Then `{"type":"subscribe","database_id":…}` for each database, and `{"type":"unsubscribe","database_id":…}`. What
/// comes is `{"type":"database_status",…}` with the fields of `GET /databases/{id}/status`: at once, and at most four times a
/// second while it changes; the last one always comes. Close codes: 4401 sign in again, 4403 access ended, 4400 malformed,
/// 1001 dia is stopping.
#[utoipa::path(
    get, path = "/ws/database-status", tag = "databases", security(()),
    responses((status = 101, description = "the socket is open"))
)]
async fn watch_databases(state: State, door: Door) -> Response {
    door.open(state, async |socket| {
        let watcher = Watcher { socket, watched: BTreeMap::new(), heard: BTreeSet::new(), signals: SelectAll::new() };
        watcher.run().await
    })
}

/// What a client says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type", deny_unknown_fields)]
enum Command {
    /// Watch a database, too.
    Subscribe { database_id: DatabaseId },
    /// Do not watch it any more.
    Unsubscribe { database_id: DatabaseId },
}

/// What the client gets.
#[derive(Serialize)]
#[serde(rename_all = "snake_case", tag = "type")]
enum Said<'a> {
    DatabaseStatus(&'a DatabaseStatus),
}

/// A database that is watched.
struct Watched {
    shared: Arc<Shared>,
    /// What was said last.
    said: Arc<DatabaseStatus>,
    /// When the next word may come.
    next_at: Instant,
    /// When something first moved that is not said yet, and last.
    moved: Option<(Instant, Instant)>,
}

impl Watched {
    fn new(shared: Arc<Shared>, counted: Counted) -> Self {
        let next_at = Instant::now() + pace(&counted);
        Self { shared, said: counted.status, next_at, moved: None }
    }

    /// Something moved at `at`, or may have.
    fn note(&mut self, at: Instant) {
        self.moved = Some(self.moved.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
    }
}

fn pace(counted: &Counted) -> Duration {
    PACE.max(counted.took * SHARE)
}

/// What events mean here.
#[derive(Clone, Copy)]
enum Signal {
    Moved(DatabaseId),
    Access,
}

struct Watcher {
    socket: Socket,
    watched: BTreeMap<DatabaseId, Watched>,
    /// Databases whose events arrive, those unsubscribed since among them.
    heard: BTreeSet<DatabaseId>,
    signals: SelectAll<Pin<Box<dyn Stream<Item = Signal> + Send>>>,
}

impl Watcher {
    async fn run(mut self) -> (Socket, Closed) {
        let closed = match self.watch().await {
            Ok(never) => match never {},
            Err(closed) => closed,
        };
        (self.socket, closed)
    }

    async fn watch(&mut self) -> Result<Infallible, Closed> {
        loop {
            let due =
                self.watched.values().filter(|watched| watched.moved.is_some()).map(|watched| watched.next_at).min();
            tokio::select! {
                told = self.socket.next::<Command>() => match told? {
                    Told::Said(Command::Subscribe { database_id }) => self.subscribe(database_id).await?,
                    Told::Said(Command::Unsubscribe { database_id }) => drop(self.watched.remove(&database_id)),
                    Told::Check => self.check().await?,
                },
                Some(signal) = self.signals.next(), if !self.signals.is_empty() => match signal {
                    Signal::Access => self.check().await?,
                    Signal::Moved(database) => {
                        if let Some(watched) = self.watched.get_mut(&database) {
                            watched.note(Instant::now());
                        }
                    }
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.say_what_moved().await?,
            }
        }
    }

    async fn subscribe(&mut self, id: DatabaseId) -> Result<(), Closed> {
        if self.heard.len() >= MOST_DATABASES && !self.heard.contains(&id) {
            return self.socket.refuse(Code::TooManyRequests).await;
        }
        // Listen first, then look: what moves in between is heard.
        let pubsub = self.socket.state().storage.pubsub.clone();
        let moves = pubsub.subscribe(Topic::Database(id));
        let shared = self.socket.state().statuses.watch(id);
        let (case, counted) = match self.look(id, &shared).await {
            Ok(seen) => seen,
            Err(storage::Error::NotFound | storage::Error::Forbidden) => {
                return self.socket.refuse(Code::NotFound).await;
            }
            Err(error) => return Err(error.into()),
        };
        self.socket.send(&Said::DatabaseStatus(&counted.status)).await?;
        self.watched.insert(id, Watched::new(shared, counted));
        if self.heard.insert(id) {
            self.signals.push(signals(moves, Signal::Moved(id)));
            self.signals.push(signals(pubsub.subscribe(Topic::Access(case)), Signal::Access));
        }
        Ok(())
    }

    /// Asks again whether everything watched may be seen, and looks at what was still moving: an event may be lost.
    async fn check(&mut self) -> Result<(), Closed> {
        self.socket.check().await?;
        let mut tx = self.socket.state().storage.read(self.socket.actor()).await?;
        // What another socket read a moment ago will do; a thousand that each wanted their own would count all the time.
        let lately = Instant::now().checked_sub(PACE).unwrap_or_else(Instant::now);
        for (id, watched) in &mut self.watched {
            Database::find(&mut tx, *id, Action::SeeCase).await?;
            if watched.said.counts.in_flight > 0 {
                watched.note(lately);
            }
        }
        Ok(())
    }

    async fn say_what_moved(&mut self) -> Result<(), Closed> {
        let now = Instant::now();
        let (storage, actor) = (self.socket.state().storage.clone(), self.socket.actor().clone());
        for watched in self.watched.values_mut().filter(|watched| watched.next_at <= now) {
            let Some((first, last)) = watched.moved else { continue };
            let counted = watched.shared.since(first, &storage, &actor).await?;
            // What moved after the reading began is said next time.
            watched.moved = (counted.began < last).then_some((last, last));
            watched.next_at = Instant::now() + pace(&counted);
            if watched.said != counted.status {
                self.socket.send(&Said::DatabaseStatus(&counted.status)).await?;
                watched.said = counted.status;
            }
        }
        Ok(())
    }

    /// How things stand now, if the actor may know.
    async fn look(&mut self, id: DatabaseId, shared: &Shared) -> storage::Result<(CaseId, Counted)> {
        let (storage, actor) = (self.socket.state().storage.clone(), self.socket.actor().clone());
        let mut tx = storage.read(&actor).await?;
        let database = Database::find(&mut tx, id, Action::SeeCase).await?;
        drop(tx);
        Ok((database.case_id, shared.since(Instant::now(), &storage, &actor).await?))
    }
}

/// A signal for every event of a topic, missed ones included.
fn signals(topic: Subscription, signal: Signal) -> Pin<Box<dyn Stream<Item = Signal> + Send>> {
    stream::unfold(topic, move |mut topic| async move { topic.next().await.map(|_| (signal, topic)) }).boxed()
}
