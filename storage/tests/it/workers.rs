//! The rows of the processes that work the queues, how long jobs take, and that many processes may start at once.

use std::time::Duration;

use domain::{
    clock::Timestamp,
    ids::{CaseId, DocumentId},
    jobs::{IngestDocument, Queue},
};
use storage::{
    Db, Error, PostgresSettings,
    audit::Audit,
    jobs::{self, Claimer},
    workers::{self, QueueLoad, Worker},
};
use testkit::{Database, TestStorage, on_each_database};

on_each_database!(
    a_process_is_listed_while_it_is_heard_of,
    only_administrators_see_the_processes,
    service_times_are_measured_from_what_was_done,
);

fn worker(name: &str, running: usize) -> Worker {
    Worker {
        name: name.to_owned(),
        host: "host".to_owned(),
        version: "0.1.0".to_owned(),
        queues: vec![QueueLoad::new(Queue::Ingest, 4, running), QueueLoad::new(Queue::Chat, 2, 0)],
        is_stopping: false,
        started_at: Timestamp::parse("2026-01-01T00:00:00Z").unwrap(),
        seen_at: Timestamp(0),
    }
}

async fn names(test: &TestStorage) -> Vec<String> {
    let mut tx = test.storage.read(&test.administrator().await).await.unwrap();
    workers::list(&mut tx).await.unwrap().into_iter().map(|worker| worker.name).collect()
}

async fn a_process_is_listed_while_it_is_heard_of(test: TestStorage) {
    let test = test.with_manual_clock();
    workers::beat(&test.storage, &worker("b", 0)).await.unwrap();
    workers::beat(&test.storage, &worker("a", 1)).await.unwrap();
    test.advance(Duration::from_secs(30));
    let busy = Worker { is_stopping: true, ..worker("a", 3) };
    workers::beat(&test.storage, &busy).await.unwrap();
    let mut tx = test.storage.read(&test.administrator().await).await.unwrap();
    let found = workers::list(&mut tx).await.unwrap();
    let seen_at = Timestamp::parse("2026-01-01T00:00:30Z").unwrap();
    assert_eq!(found[0], Worker { seen_at, ..busy });
    assert_eq!(found[1].name, "b");
    drop(tx);
    // b falls silent: it is not shown any more, and its row goes with the next beat of anybody.
    test.advance(Duration::from_secs(31));
    assert_eq!(names(&test).await, ["a"]);
    assert_eq!(test.number("select count(*) from workers").await, 2);
    workers::beat(&test.storage, &worker("c", 0)).await.unwrap();
    assert_eq!(test.number("select count(*) from workers").await, 2);
    assert_eq!(names(&test).await, ["a", "c"]);
    workers::leave(&test.storage, "a").await.unwrap();
    workers::leave(&test.storage, "nobody").await.unwrap();
    assert_eq!(names(&test).await, ["c"]);
}

async fn only_administrators_see_the_processes(test: TestStorage) {
    let mut tx = test.storage.read(&test.member().await).await.unwrap();
    assert!(matches!(workers::list(&mut tx).await, Err(Error::Forbidden)));
    assert!(matches!(jobs::service_times(&mut tx, Duration::from_mins(1)).await, Err(Error::Forbidden)));
}

async fn service_times_are_measured_from_what_was_done(test: TestStorage) {
    let test = test.with_manual_clock();
    let mut tx = test.storage.begin(&test.administrator().await).await.unwrap();
    for _ in 0..3 {
        tx.enqueue(&IngestDocument { case: CaseId::new(), document: DocumentId::new() }).await.unwrap();
    }
    tx.audit(Audit::JobsSwept { enqueued: 3 }).await.unwrap();
    tx.commit().await.unwrap();
    let mut claimer = Claimer::new(test.storage.clone(), Queue::Ingest, "w", Duration::from_hours(1));
    let held = claimer.claim(3).await.unwrap();
    // One takes two seconds, one four; the third does not end.
    for job in &held[..2] {
        test.advance(Duration::from_secs(2));
        jobs::done(&test.storage, job).await.unwrap();
    }
    let within = async |span: u64| {
        let mut tx = test.storage.read(&test.administrator().await).await.unwrap();
        let times = jobs::service_times(&mut tx, Duration::from_secs(span)).await.unwrap();
        times.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(within(60).await, [(Queue::Ingest, Duration::from_secs(3))]);
    assert_eq!(within(1).await, [(Queue::Ingest, Duration::from_secs(4))], "only the last was done within a second");
    test.advance(Duration::from_secs(61));
    assert_eq!(within(60).await, []);
}

const SMALL: PostgresSettings = PostgresSettings {
    migrate: true,
    connections: 2,
    statement_timeout: Duration::from_millis(300),
    idle_in_transaction_timeout: Duration::from_millis(300),
};

/// A fleet is rolled out onto an empty database: whoever comes first makes the schema, the others wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_processes_start_at_once_on_an_empty_database() {
    let database = Database::new().await;
    let starts = (0..8).map(|_| {
        let url = database.url();
        tokio::spawn(async move { Db::postgres(&url, &SMALL).await })
    });
    for started in futures::future::join_all(starts).await {
        let db = started.unwrap().unwrap();
        db.close().await;
    }
    let again = Db::postgres(&database.url(), &SMALL).await.unwrap();
    again.close().await;
}

/// What takes for ever is ended by the server, and neither harms the connections that follow.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn statements_and_frozen_transactions_are_ended() {
    let database = Database::new().await;
    let db = Db::postgres(&database.url(), &SMALL).await.unwrap();
    let Db::Postgres(pool) = &db else { panic!("this is PostgreSQL") };
    let slept = sqlx::query("select pg_sleep(20)").execute(pool).await;
    let code = slept.unwrap_err().into_database_error().unwrap().code().unwrap().into_owned();
    assert_eq!(code, "57014", "query_canceled");
    let mut frozen = pool.begin().await.unwrap();
    sqlx::query("insert into queues (name, paused) values ('frozen', true)").execute(&mut *frozen).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(frozen.commit().await.is_err(), "a transaction that was idle for so long was committed");
    for _ in 0..4 {
        let paused: i64 = sqlx::query_scalar("select count(*) from queues").fetch_one(pool).await.unwrap();
        assert_eq!(paused, 0);
    }
    db.close().await;
}
