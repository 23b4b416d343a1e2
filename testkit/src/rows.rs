//! Storage for a test: a fresh SQLite file or a fresh PostgreSQL database, gone when the test ends, and what else a mode of dia
//! stands on.

use std::{
    fs,
    path::Path,
    str::FromStr as _,
    sync::{Arc, LazyLock},
    time::Duration,
};

use domain::{
    access::SystemRole,
    actor::{Actor, Origin, Who},
    clock::{Clock, Timestamp},
    ids::{CaseId, SessionId, UserId},
    page::{MAX_LIMIT, PageQuery},
};
use futures::TryStreamExt as _;
use sqlx::{Connection as _, PgConnection, SqliteConnection, postgres::PgConnectOptions, sqlite::SqliteConnectOptions};
use storage::{
    Db, PostgresSettings, Storage, audit,
    limits::Limits,
    objects::{Objects, S3Settings},
    pubsub::{PubSub, RedisSettings},
    queue::{AmqpSettings, Bell},
    users,
    vault::Vault,
};
use tempfile::TempDir;

use crate::Broker;

/// The PostgreSQL of the test machine.
const SERVER: &str = "127.0.0.1:5432";

/// A role that may do what the processes of a fleet may, and no more.
const ROLE: &str = "dia_test";

/// The Redis of the test machine, and its database of the tests.
const REDIS: &str = "redis://127.0.0.1:6379/12";

/// What the names of the queues begin with that all tests of a program ring: making queues takes RabbitMQ longer than most tests
/// take, and an id of another test's job wakes nobody.
static RUNG: LazyLock<String> = LazyLock::new(|| format!("dia-test-{}", domain::ids::fresh().simple()));

/// Storage of one test, with its own empty database, object directory and keys.
#[derive(Debug)]
pub struct TestStorage {
    /// The storage.
    pub storage: Storage,
    directory: TempDir,
    /// The database on the server, when rows live there.
    postgres: Option<Database>,
    /// Where objects lie, when they lie in a bucket.
    bucket: Option<S3Settings>,
}

/// An empty database on the test machine's PostgreSQL, gone when this is dropped.
#[derive(Debug)]
pub struct Database {
    name: String,
}

impl Database {
    /// Makes one.
    pub async fn new() -> Self {
        let name = format!("dia_test_{}", domain::ids::fresh().simple());
        let mut server = PgConnection::connect(&format!("postgres://postgres@{SERVER}/postgres")).await.unwrap();
        statement(&mut server, &format!("create database {name}")).await;
        // Tests ask whether commits are right, not whether this server's disk keeps them.
        statement(&mut server, &format!("alter database {name} set synchronous_commit = off")).await;
        Self { name }
    }

    /// How it is reached by its owner, who may do everything.
    pub fn url(&self) -> String {
        format!("postgres://postgres@{SERVER}/{}", self.name)
    }

    /// Brings its schema up to date and says how it is reached by a role that may do what the processes of a fleet may.
    pub async fn restricted(&self) -> String {
        let mut server = PgConnection::connect(&self.url()).await.unwrap();
        let role = format!(
            "do $$ begin create role {ROLE} login; exception when duplicate_object or unique_violation then null; end $$"
        );
        statement(&mut server, &role).await;
        Db::migrate_postgres(&self.url(), Some(ROLE)).await.unwrap();
        format!("postgres://{ROLE}@{SERVER}/{}", self.name)
    }
}

impl TestStorage {
    /// Rows in a SQLite file.
    pub async fn sqlite() -> Self {
        let directory = TempDir::new().unwrap();
        let db = Db::sqlite(&directory.path().join("dia.sqlite")).await.unwrap();
        Self::with(db, directory, None)
    }

    /// Rows in a database of its own on the test machine's PostgreSQL, with no more rights than a fleet has.
    pub async fn postgres() -> Self {
        let database = Database::new().await;
        let settings = PostgresSettings { migrate: false, ..PostgresSettings::default() };
        let db = Db::postgres(&database.restricted().await, &settings).await.unwrap();
        Self::with(db, TempDir::new().unwrap(), Some(database))
    }

    /// What a fleet stands on: rows in PostgreSQL, objects in a bucket, a bell that RabbitMQ carries, live events and budgets in Redis.
    pub async fn fleet() -> Self {
        let mut test = Self::postgres().await.in_a_bucket().await;
        let redis =
            RedisSettings { url: REDIS.to_owned(), prefix: format!("dia-test-{}", domain::ids::fresh().simple()) };
        test.storage.bell = Bell::amqp(&AmqpSettings { url: Broker::URL.to_owned(), prefix: RUNG.clone() }).unwrap();
        test.storage.pubsub = PubSub::redis(&redis, &test.storage.vault).unwrap();
        test.storage.limits = Limits::redis(&redis).unwrap();
        test
    }

    /// The same with a clock that stands at 2026-01-01 until the test moves it. PostgreSQL then uses it too.
    #[must_use]
    pub fn with_manual_clock(mut self) -> Self {
        self.storage.clock = Clock::manual(Timestamp::parse("2026-01-01T00:00:00Z").unwrap());
        self
    }

    fn with(db: Db, directory: TempDir, postgres: Option<Database>) -> Self {
        let storage = Storage {
            db,
            objects: Objects::disk(directory.path()).unwrap(),
            vault: Arc::new(Vault::open(directory.path()).unwrap()),
            bell: Bell::local(),
            pubsub: PubSub::local(),
            limits: Limits::local(),
            clock: Clock::System,
        };
        Self { storage, directory, postgres, bucket: None }
    }

    /// The same with objects in a bucket.
    #[must_use]
    pub async fn in_a_bucket(mut self) -> Self {
        let settings = crate::s3::settings();
        self.storage.objects = Objects::s3(&settings, &self.directory.path().join("cache")).await.unwrap();
        self.bucket = Some(settings);
        self
    }

    /// The storage as another machine sees it: the same rows, keys and bucket, and an empty cache of its own.
    pub async fn elsewhere(&self) -> Storage {
        let cache = self.directory.path().join(domain::ids::fresh().to_string());
        let objects = Objects::s3(self.bucket.as_ref().unwrap(), &cache).await.unwrap();
        Storage { objects, ..self.storage.clone() }
    }

    /// How many objects are kept, and how many were begun and neither finished nor given up. Nothing may be being written.
    pub async fn objects(&self) -> (usize, usize) {
        if self.bucket.is_none() {
            return (files_under(&self.directory().join("blobs")), files_under(&self.directory().join("temporary")));
        }
        let (objects, all) = (self.storage.objects.clone(), Timestamp(i64::MAX));
        let kept: Vec<_> = objects.list(all).try_concat().await.unwrap();
        // What it removes was left unfinished.
        let unfinished = tokio::task::spawn_blocking(move || objects.clean_temporary(all)).await.unwrap().unwrap();
        (kept.len(), usize::try_from(unfinished).unwrap())
    }

    /// Where keys, a SQLite file and objects that are in no bucket lie.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// How the database is reached by its owner, when rows live in PostgreSQL.
    pub fn postgres_url(&self) -> Option<String> {
        self.postgres.as_ref().map(Database::url)
    }

    /// True when rows live in PostgreSQL.
    pub fn is_postgres(&self) -> bool {
        self.postgres.is_some()
    }

    /// Moves a manual clock forward.
    pub fn advance(&self, by: Duration) {
        self.storage.clock.advance(by);
    }

    /// Signs a member up and returns them as an actor.
    pub async fn member(&self) -> Actor {
        self.user(SystemRole::Member).await
    }

    /// Signs an administrator up and returns them as an actor.
    pub async fn administrator(&self) -> Actor {
        self.user(SystemRole::Administrator).await
    }

    async fn user(&self, role: SystemRole) -> Actor {
        let email = format!("{}@example.org", domain::ids::fresh().simple());
        let mut tx = self.storage.begin(&Actor::system(domain::ids::fresh())).await.unwrap();
        let user = users::create(&mut tx, &email, "Test Person", "no password", role).await.unwrap();
        tx.commit().await.unwrap();
        actor(user.id, role)
    }

    /// One number asked of the rows behind storage's back, to prove what it claims: `select count(*) from …`.
    pub async fn number(&self, sql: &str) -> i64 {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        if let Some(database) = &self.postgres {
            let mut c = PgConnection::connect(&database.url()).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut c).await.unwrap()
        } else {
            let path = self.directory.path().join("dia.sqlite");
            let options = SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(30));
            let mut c = SqliteConnection::connect_with(&options).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut c).await.unwrap()
        }
    }
}

impl TestStorage {
    /// The audit trail of a case with what its events say, opened.
    pub async fn trail(&self, case: CaseId) -> Vec<audit::Entry> {
        let mut tx = self.storage.read(&Actor::system(domain::ids::fresh())).await.unwrap();
        let (mut entries, mut page) = (Vec::new(), PageQuery { cursor: None, limit: Some(MAX_LIMIT) });
        loop {
            let found = audit::list(&mut tx, case, &audit::Filter::default(), &page).await.unwrap();
            entries.extend(found.items);
            match found.next_cursor {
                Some(cursor) => page.cursor = Some(cursor),
                None => return entries,
            }
        }
    }

    /// What the events of a case say, as one text to look for words in.
    pub async fn said(&self, case: CaseId) -> String {
        self.trail(case).await.iter().map(|entry| entry.details.to_string()).collect()
    }

    /// Changes rows behind storage's back, where nothing in dia does it (yet).
    pub async fn statement(&self, sql: &str) {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        if let Some(database) = &self.postgres {
            let mut c = PgConnection::connect(&database.url()).await.unwrap();
            sqlx::query(sql).execute(&mut c).await.unwrap();
        } else {
            let path = self.directory.path().join("dia.sqlite");
            let options = SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(30));
            let mut c = SqliteConnection::connect_with(&options).await.unwrap();
            sqlx::query(sql).execute(&mut c).await.unwrap();
        }
    }
}

fn files_under(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files_under(&path) } else { 1 }).sum()
}

/// A signed-in person, as the door would build them.
pub fn actor(user: UserId, role: SystemRole) -> Actor {
    let origin = Origin { request: domain::ids::fresh(), ..Origin::default() };
    Actor { who: Who::User { user, session: SessionId::new(), role }, origin }
}

async fn statement(connection: &mut PgConnection, sql: &str) {
    sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).execute(connection).await.unwrap();
}

impl Drop for Database {
    /// Drops it, whoever is still connected.
    fn drop(&mut self) {
        let name = std::mem::take(&mut self.name);
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let options = PgConnectOptions::from_str(&format!("postgres://postgres@{SERVER}/postgres")).unwrap();
                let mut server = PgConnection::connect_with(&options).await.unwrap();
                statement(&mut server, &format!("drop database if exists {name} with (force)")).await;
            });
        });
        // A database left behind does no harm; the test's own verdict matters more.
        let _ = dropped.join();
    }
}

/// Makes two tests of each named `async fn(TestStorage)`: one on SQLite, one on PostgreSQL.
#[macro_export]
macro_rules! on_each_database {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $test() {
                    super::$test($crate::TestStorage::sqlite().await).await;
                }
            )+
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $test() {
                    super::$test($crate::TestStorage::postgres().await).await;
                }
            )+
        }
    };
}

/// Makes two tests of each named `async fn(TestStorage)`, one for each mode: on what `dia serve` stands on by itself, and on what a
/// fleet stands on.
#[macro_export]
macro_rules! in_each_mode {
    ($($test:ident),+ $(,)?) => {
        mod embedded {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $test() {
                    super::$test($crate::TestStorage::sqlite().await).await;
                }
            )+
        }
        mod fleet {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $test() {
                    super::$test($crate::TestStorage::fleet().await).await;
                }
            )+
        }
    };
}
