//! The unit of work: rows, the audit event and the jobs they cause are one transaction, begun by an actor. After the
//! commit the bells ring and the events go out; a lost ring is a late job, never a lost one.

use std::collections::BTreeMap;

use domain::{
    actor::Actor,
    clock::{Clock, Timestamp},
    events::{Event, Topic},
    ids::{CaseId, JobId},
    jobs::Queue,
};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{Postgres, Sqlite, Transaction};
use uuid::Uuid;

use crate::{
    Storage,
    audit::{self, Audit},
    db::{Db, query},
    error::{Error, Result},
    failpoint,
    vault::{CaseKey, Place},
};

/// Rings of one queue after one commit; more wake nobody any sooner, since whoever is woken claims until nothing is left.
const MOST_RINGS: usize = 1_024;

/// An open transaction of either driver.
#[derive(Debug)]
pub(crate) enum Connection {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

/// A transaction in the name of an actor. Dropped uncommitted, it never happened.
#[derive(Debug)]
pub struct Tx {
    pub(crate) connection: Connection,
    pub(crate) changed: bool,
    storage: Storage,
    actor: Actor,
    now: Timestamp,
    audited: bool,
    rings: BTreeMap<Queue, Vec<JobId>>,
    events: Vec<(Topic, Event)>,
    /// Asked for many times in a transaction, of one case as a rule.
    case_key: Option<(CaseId, CaseKey)>,
}

impl Storage {
    /// Begins a transaction that may change rows.
    pub async fn begin(&self, actor: &Actor) -> Result<Tx> {
        let connection = match &self.db {
            Db::Sqlite { writer, .. } => Connection::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
            Db::Postgres(pool) => Connection::Postgres(pool.begin().await?),
        };
        Ok(self.unit(connection, actor))
    }

    /// Begins a transaction that only reads: a consistent picture that never waits for a writer.
    pub async fn read(&self, actor: &Actor) -> Result<Tx> {
        let connection = match &self.db {
            Db::Sqlite { readers, .. } => Connection::Sqlite(readers.begin().await?),
            Db::Postgres(pool) => {
                Connection::Postgres(pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?)
            }
        };
        Ok(self.unit(connection, actor))
    }

    /// Begins a transaction of the queue's own machinery (claims, heartbeats, settlements), which leaves no audit event:
    /// what the jobs do is audited where they do it.
    pub(crate) async fn begin_machinery(&self) -> Result<Tx> {
        self.begin_machinery_for(&Actor::system(Uuid::nil())).await
    }

    /// The same in the name of whoever is behind a job.
    pub(crate) async fn begin_machinery_for(&self, actor: &Actor) -> Result<Tx> {
        let mut tx = self.begin(actor).await?;
        tx.audited = true;
        Ok(tx)
    }

    fn unit(&self, connection: Connection, actor: &Actor) -> Tx {
        Tx {
            connection,
            changed: false,
            storage: self.clone(),
            actor: actor.clone(),
            now: self.clock.now(),
            audited: false,
            rings: BTreeMap::new(),
            events: Vec::new(),
            case_key: None,
        }
    }
}

impl Tx {
    /// Who acts.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The moment the transaction began, by the process's clock.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The storage this transaction runs on.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.connection, Connection::Postgres(_))
    }

    /// The moment by the clock all processes share: the database server's, or the machine's when the database is a file.
    /// Leases are measured with it.
    pub(crate) async fn shared_now(&mut self) -> Result<Timestamp> {
        match (&mut self.connection, &self.storage.clock) {
            (Connection::Postgres(t), Clock::System) => {
                let micros: i64 =
                    sqlx::query_scalar("select cast(extract(epoch from clock_timestamp()) * 1000000 as bigint)")
                        .fetch_one(&mut **t)
                        .await?;
                Ok(Timestamp(micros))
            }
            (_, clock) => Ok(clock.now()),
        }
    }

    /// Writes an audit event in this transaction.
    pub async fn audit(&mut self, event: Audit) -> Result<()> {
        audit::write(self, event).await?;
        self.audited = true;
        Ok(())
    }

    /// Sends an event after the commit.
    pub fn publish(&mut self, topic: Topic, event: Event) {
        let entry = (topic, event);
        if !self.events.contains(&entry) {
            self.events.push(entry);
        }
    }

    /// Rings a queue's bell after the commit, for a job that is due if one is known.
    pub(crate) fn ring(&mut self, queue: Queue, job: Option<JobId>) {
        let jobs = self.rings.entry(queue).or_default();
        if jobs.len() < MOST_RINGS {
            jobs.extend(job);
        }
    }

    /// Makes it all happen, durably; then rings the bells and sends the events.
    pub async fn commit(self) -> Result<()> {
        if self.changed && !self.audited {
            return Err(Error::Unaudited);
        }
        failpoint::hit("tx.before_commit");
        match self.connection {
            Connection::Sqlite(t) => t.commit().await?,
            Connection::Postgres(t) => t.commit().await?,
        }
        failpoint::hit("tx.after_commit");
        for (queue, jobs) in self.rings {
            self.storage.bell.ring(queue, &jobs);
        }
        for (topic, event) in self.events {
            self.storage.pubsub.publish(topic, event);
        }
        Ok(())
    }

    /// The key of a case, from its row; [`Error::NotFound`] once it was destroyed.
    pub async fn case_key(&mut self, case: CaseId) -> Result<CaseKey> {
        if let Some((_, key)) = self.case_key.as_ref().filter(|(of, _)| *of == case) {
            return Ok(key.clone());
        }
        let row: Option<(i64, Vec<u8>)> = query!(self, c => sqlx::query_as(
            "select version, wrapped from case_keys where case_id = $1 order by version desc limit 1")
            .bind(case.uuid()).fetch_optional(c).await)?;
        let (version, wrapped) = row.ok_or(Error::NotFound)?;
        let version = u32::try_from(version).map_err(|_| Error::Invalid("key version out of range"))?;
        let key = self.storage.vault.unwrap_case_key(case, version, &wrapped)?;
        self.case_key = Some((case, key.clone()));
        Ok(key)
    }

    /// The same; `None` once it was destroyed.
    pub(crate) async fn case_key_if_any(&mut self, case: CaseId) -> Result<Option<CaseKey>> {
        match self.case_key(case).await {
            Ok(key) => Ok(Some(key)),
            Err(Error::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Forgets the key that was asked for last, because it was destroyed.
    pub(crate) fn forget_case_key(&mut self) {
        self.case_key = None;
    }
}

/// Seals a value as JSON for a column of a case's row.
pub(crate) fn seal<T: Serialize>(key: &CaseKey, place: &Place, value: &T) -> Result<Vec<u8>> {
    Ok(key.seal(place, &serde_json::to_vec(value)?)?)
}

/// Opens a value sealed by [`seal`].
pub(crate) fn unseal<T: DeserializeOwned>(key: &CaseKey, place: &Place, sealed: &[u8]) -> Result<T> {
    Ok(serde_json::from_slice(&key.open(place, sealed)?)?)
}
