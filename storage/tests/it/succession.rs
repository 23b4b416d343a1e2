//! Following a process that died, on SQLite and on PostgreSQL: its jobs and leases are free at once, and if it is not dead
//! after all it can end and publish nothing.

use std::time::Duration;

use domain::{
    actor::Actor,
    ids::{CaseId, DatabaseId, DocumentId},
    jobs::{IndexDatabase, IngestDocument, Job, Queue},
};
use storage::{
    Error, Storage,
    audit::Audit,
    jobs::{self, Claimer, Held},
    leases, succession,
};
use testkit::{TestStorage, on_each_database};

on_each_database!(
    running_jobs_are_taken_back_and_cost_their_attempt,
    a_unique_job_yields_to_its_successor,
    leases_are_free_and_their_numbers_move_on,
    a_first_start_takes_nothing,
);

/// Nothing of a test lasts so long.
const LEASE: Duration = Duration::from_hours(1);

async fn enqueue<J: Job>(storage: &Storage, job: &J) {
    let mut tx = storage.begin(&Actor::system(domain::ids::fresh())).await.unwrap();
    tx.enqueue(job).await.unwrap();
    tx.audit(Audit::JobsSwept { enqueued: 1 }).await.unwrap();
    tx.commit().await.unwrap();
}

async fn claim(storage: &Storage, queue: Queue) -> Vec<Held> {
    Claimer::new(storage.clone(), queue, "a worker", LEASE).claim(10).await.unwrap()
}

async fn running_jobs_are_taken_back_and_cost_their_attempt(test: TestStorage) {
    let test = test.with_manual_clock();
    for _ in 0..3 {
        enqueue(&test.storage, &IngestDocument { case: CaseId::new(), document: DocumentId::new() }).await;
    }
    let before = claim(&test.storage, Queue::Ingest).await;
    assert_eq!(before.len(), 3);
    jobs::done(&test.storage, &before[2]).await.unwrap();
    assert_eq!(succession::succeed(&test.storage).await.unwrap(), 2);
    let after = claim(&test.storage, Queue::Ingest).await;
    assert_eq!(after.len(), 2, "at once, and what was done stays done");
    for held in &after {
        let old = before.iter().find(|old| old.id == held.id).unwrap();
        assert_eq!((old.attempts, held.attempts), (1, 2));
        assert!(held.fence > old.fence);
        assert!(
            matches!(jobs::done(&test.storage, old).await, Err(Error::LeaseLost)),
            "its old holder ends it no more"
        );
        jobs::done(&test.storage, held).await.unwrap();
    }
}

async fn a_unique_job_yields_to_its_successor(test: TestStorage) {
    let test = test.with_manual_clock();
    let job = IndexDatabase { case: CaseId::new(), database: DatabaseId::new() };
    enqueue(&test.storage, &job).await;
    assert_eq!(claim(&test.storage, Queue::Index).await.len(), 1);
    enqueue(&test.storage, &job).await;
    assert_eq!(succession::succeed(&test.storage).await.unwrap(), 1);
    assert_eq!(test.number("select count(*) from jobs where state = 'done' and error = 'superseded'").await, 1);
    assert_eq!(claim(&test.storage, Queue::Index).await.len(), 1);
    assert_eq!(test.number("select count(*) from jobs where state = 'ready'").await, 0);
}

async fn leases_are_free_and_their_numbers_move_on(test: TestStorage) {
    let test = test.with_manual_clock();
    let old = leases::acquire(&test.storage, "x", "a", LEASE).await.unwrap().unwrap();
    succession::succeed(&test.storage).await.unwrap();
    // Before anybody takes it anew, its old holder is out already.
    assert!(matches!(leases::renew(&test.storage, &old, LEASE).await, Err(Error::LeaseLost)));
    let mut tx = test.storage.begin(&Actor::system(domain::ids::fresh())).await.unwrap();
    assert!(matches!(tx.fence(&old).await, Err(Error::LeaseLost)));
    drop(tx);
    let new = leases::acquire(&test.storage, "x", "b", LEASE).await.unwrap().unwrap();
    assert!(new.fence > old.fence);
}

async fn a_first_start_takes_nothing(test: TestStorage) {
    enqueue(&test.storage, &IngestDocument { case: CaseId::new(), document: DocumentId::new() }).await;
    assert_eq!(succession::succeed(&test.storage).await.unwrap(), 0);
    assert_eq!(claim(&test.storage, Queue::Ingest).await[0].attempts, 1);
}
