//! What a job costs: enqueued in the transaction of its cause, claimed, run (doing nothing) and completed by dia's runner,
//! against a plain loop over a plain table on the same database in the same run. Prints one JSON object.
//!
//! `cargo run --release --example bench_queue -- 5000`

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot run has failed, and its output is JSON"
)]

use std::{sync::Arc, time::Instant};

use domain::{
    actor::Actor,
    ids::CaseId,
    jobs::{Job, Queue},
};
use serde::{Deserialize, Serialize};
use sqlx::Executor as _;
use storage::{Db, Storage, audit::Audit};
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

struct Idle(tokio::sync::mpsc::UnboundedSender<()>);

impl Handler<Nothing> for Idle {
    async fn run(&self, _: &Nothing, _: &Run) -> Result<(), JobError> {
        self.0.send(()).map_err(JobError::retry)
    }
}

/// Processor and wall time per job, in microseconds.
#[derive(Serialize)]
struct Cost {
    cpu_us: f64,
    wall_us: f64,
}

/// User and system time of all threads so far, in seconds (`/proc/self/stat`, in hundredths).
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

async fn measured(jobs: u32, work: impl Future<Output = ()>) -> Cost {
    let (before, begun) = (cpu(), Instant::now());
    work.await;
    let per_job = 1e6 / f64::from(jobs);
    Cost { cpu_us: (cpu() - before) * per_job, wall_us: begun.elapsed().as_secs_f64() * per_job }
}

async fn dia(storage: &Storage, jobs: u32) {
    for n in 0..jobs {
        let mut tx = storage.begin(&Actor::system(domain::ids::fresh())).await.unwrap();
        tx.audit(Audit::JobsSwept { enqueued: 1 }).await.unwrap();
        tx.enqueue(&Nothing { n }).await.unwrap();
        tx.commit().await.unwrap();
    }
    let (done, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let registry = Registry::default().on::<Nothing>(&Arc::new(Idle(done)));
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
    ($pool:expr, $begin:literal, $jobs:expr, $claim:literal) => {{
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
            sqlx::query(DONE).bind(id).execute(&mut *tx).await.unwrap();
            tx.commit().await.unwrap();
        }
    }};
}

async fn plain_loop(storage: &Storage, jobs: u32) {
    match &storage.db {
        Db::Sqlite { writer, .. } => plain!(
            writer,
            "BEGIN IMMEDIATE",
            jobs,
            "select id, payload from plain_jobs where state = 'ready' order by id limit 1"
        ),
        Db::Postgres(pool) => plain!(
            pool,
            "BEGIN",
            jobs,
            "select id, payload from plain_jobs where state = 'ready' order by id limit 1 for update skip locked"
        ),
    }
}

#[tokio::main]
async fn main() {
    let jobs = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(5_000);
    let mut report = serde_json::Map::new();
    for (name, test) in [("sqlite", TestStorage::sqlite().await), ("postgres", TestStorage::postgres().await)] {
        let dia = measured(jobs, dia(&test.storage, jobs)).await;
        let plain = measured(jobs, plain_loop(&test.storage, jobs)).await;
        report.insert(
            name.to_owned(),
            serde_json::json!({ "ratio": dia.cpu_us / plain.cpu_us, "dia": dia, "plain_loop": plain }),
        );
    }
    let of = |database: &str, what: &str| report[database][what]["cpu_us"].clone();
    println!(
        "{}",
        serde_json::json!({
            "jobs": jobs,
            "dia_cpu_us_per_job": of("postgres", "dia"),
            "plain_loop_cpu_us_per_job": of("postgres", "plain_loop"),
            "ratio": report["postgres"]["ratio"],
            "databases": report,
        })
    );
}
