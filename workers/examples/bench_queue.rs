//! Jobs for `bench/queue/run`, which measures this process from outside: so many are enqueued, one after another, each in the
//! transaction of its cause with an audit event, then claimed, run and completed by dia's runner; each sleeps for so many
//! milliseconds. `plain` does the same work in a plain loop over a plain table.
//!
//! `bench_queue dia|plain JOBS MILLISECONDS [POSTGRES-URL [AMQP-URL]]`; without a URL the rows lie in SQLite, and bells ring at home.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot run has failed")]

use std::{sync::Arc, time::Duration};

use domain::{
    actor::Actor,
    ids::CaseId,
    jobs::{Job, Queue},
};
use serde::{Deserialize, Serialize};
use sqlx::Executor as _;
use storage::{
    Db, PostgresSettings, Storage,
    audit::Audit,
    queue::{AmqpSettings, Bell},
};
use testkit::TestStorage;
use tokio_util::sync::CancellationToken;
use workers::{
    WorkersConfig,
    runner::{self, Handler, JobError, Registry, Run},
};

#[derive(Serialize, Deserialize)]
struct Nothing {
    n: u32,
}

impl Job for Nothing {
    const KIND: &'static str = "nothing";
    const QUEUE: Queue = Queue::Ingest;

    fn case(&self) -> Option<CaseId> {
        None
    }
}

struct Sleeper {
    time: Duration,
    done: tokio::sync::mpsc::UnboundedSender<()>,
}

impl Handler<Nothing> for Sleeper {
    async fn run(&self, _: &Nothing, _: &Run) -> Result<(), JobError> {
        if !self.time.is_zero() {
            tokio::time::sleep(self.time).await;
        }
        self.done.send(()).map_err(JobError::retry)
    }
}

async fn dia(storage: &Storage, jobs: u32, time: Duration) {
    for n in 0..jobs {
        let mut tx = storage.begin(&Actor::system(domain::ids::fresh())).await.unwrap();
        tx.audit(Audit::JobsSwept { enqueued: 1 }).await.unwrap();
        tx.enqueue(&Nothing { n }).await.unwrap();
        tx.commit().await.unwrap();
    }
    let (done, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let registry = Registry::default().on::<Nothing>(&Arc::new(Sleeper { time, done }));
    let shutdown = CancellationToken::new();
    let config = WorkersConfig { queues: vec![Queue::Ingest], ingest: 32, ..WorkersConfig::default() };
    let workers = runner::start(storage.clone(), registry, &config, shutdown.clone());
    for _ in 0..jobs {
        seen.recv().await.unwrap();
    }
    shutdown.cancel();
    workers.await.unwrap();
}

const TABLES: &str = "create table plain_events (id integer, note text); create table plain_jobs (id integer primary key, payload text, state text)";
const EVENT: &str = "insert into plain_events (id, note) values ($1, 'enqueued')";
const ENQUEUE: &str = "insert into plain_jobs (id, payload, state) values ($1, '{\"n\":1}', 'ready')";
const DONE: &str = "update plain_jobs set state = 'done' where id = $1";

macro_rules! plain {
    ($pool:expr, $begin:literal, $jobs:expr, $time:expr, $claim:literal) => {{
        let pool = $pool;
        pool.execute(TABLES).await.unwrap();
        pool.execute("create index plain_due on plain_jobs (id) where state = 'ready'").await.unwrap();
        for n in 0..i64::from($jobs) {
            let mut tx = pool.begin_with($begin).await.unwrap();
            sqlx::query(EVENT).bind(n).execute(&mut *tx).await.unwrap();
            sqlx::query(ENQUEUE).bind(n).execute(&mut *tx).await.unwrap();
            tx.commit().await.unwrap();
        }
        loop {
            let mut tx = pool.begin_with($begin).await.unwrap();
            let job: Option<(i32, String)> = sqlx::query_as($claim).fetch_optional(&mut *tx).await.unwrap();
            let Some((id, payload)) = job else { break };
            let _: Nothing = serde_json::from_str(&payload).unwrap();
            if !$time.is_zero() {
                tokio::time::sleep($time).await;
            }
            sqlx::query(DONE).bind(id).execute(&mut *tx).await.unwrap();
            tx.commit().await.unwrap();
        }
    }};
}

async fn plain_loop(storage: &Storage, jobs: u32, time: Duration) {
    match &storage.db {
        Db::Sqlite { writer, .. } => plain!(
            writer,
            "BEGIN IMMEDIATE",
            jobs,
            time,
            "select id, payload from plain_jobs where state = 'ready' order by id limit 1"
        ),
        Db::Postgres(pool) => plain!(
            pool,
            "BEGIN",
            jobs,
            time,
            "select id, payload from plain_jobs where state = 'ready' order by id limit 1 for update skip locked"
        ),
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [system, jobs, milliseconds, urls @ ..] = &arguments[..] else { panic!("see the head of this example") };
    let (jobs, time) = (jobs.parse().unwrap(), Duration::from_millis(milliseconds.parse().unwrap()));
    let test = TestStorage::sqlite().await;
    let mut storage = test.storage.clone();
    if let Some(url) = urls.first() {
        storage.db = Db::postgres(url, &PostgresSettings::default()).await.unwrap();
    }
    if let Some(url) = urls.get(1) {
        let settings = AmqpSettings { url: url.clone(), prefix: format!("bench-{}", domain::ids::fresh().simple()) };
        storage.bell = Bell::amqp(&settings).unwrap();
    }
    match system.as_str() {
        "dia" => dia(&storage, jobs, time).await,
        "plain" => plain_loop(&storage, jobs, time).await,
        other => panic!("{other} is not measured here"),
    }
}
