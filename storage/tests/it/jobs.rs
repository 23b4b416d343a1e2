//! The queue's truth, on SQLite and on PostgreSQL: who gets a job, how long they keep it, and that nobody else can end it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use domain::{
    actor::Actor,
    ids::{CaseId, DatabaseId, DocumentId, JobId, MessageId},
    jobs::{AnswerChat, CollectGarbage, ExtractText, IndexDatabase, IngestDocument, Job, Queue, SweepJobs},
    page::PageQuery,
};
use serde::{Deserialize, Serialize};
use storage::{
    Error, Storage,
    audit::Audit,
    jobs::{self, Claimer, Held, JobFilter},
    schedules,
};
use testkit::{TestStorage, on_each_database};

on_each_database!(
    a_claim_takes_a_batch_and_nobody_else_gets_it,
    queues_do_not_mix,
    cases_take_turns,
    the_more_urgent_goes_first,
    a_unique_job_waits_once_and_never_runs_twice_at_once,
    a_unique_job_is_not_claimed_before_what_asked_for_it_is_visible,
    an_expired_lease_gives_the_job_to_another,
    a_heartbeat_keeps_the_lease,
    a_zombie_cannot_end_a_job_that_moved_on,
    back_off_is_written_to_the_row,
    a_unique_job_that_fails_yields_to_its_successor,
    a_released_job_is_due_at_once_and_the_attempt_does_not_count,
    a_paused_queue_hands_out_nothing,
    operators_retry_and_cancel,
    only_administrators_see_the_queue,
    a_schedule_fires_once_for_eight_watchers,
    claimers_at_once_never_share_a_job,
);

const LEASE: Duration = Duration::from_secs(30);
const PAST_LEASE: Duration = Duration::from_secs(31);

/// A kind of the tests' own, more urgent than ingest jobs of the same queue.
#[derive(Debug, Serialize, Deserialize)]
struct Urgent {
    case: CaseId,
}

impl Job for Urgent {
    const KIND: &'static str = "test_urgent";
    const QUEUE: Queue = Queue::Ingest;
    const POLICY: domain::jobs::Policy = domain::jobs::Policy { priority: 10, ..<IngestDocument as Job>::POLICY };

    fn case(&self) -> Option<CaseId> {
        Some(self.case)
    }
}

async fn enqueue<J: Job>(storage: &Storage, jobs: &[J]) {
    let mut tx = storage.begin(&Actor::system(domain::ids::fresh())).await.unwrap();
    for job in jobs {
        tx.enqueue(job).await.unwrap();
    }
    tx.audit(Audit::JobsSwept { enqueued: jobs.len() as u64 }).await.unwrap();
    tx.commit().await.unwrap();
}

fn ingest(case: CaseId, count: usize) -> Vec<IngestDocument> {
    (0..count).map(|_| IngestDocument { case, document: DocumentId::new() }).collect()
}

fn claimer(test: &TestStorage, queue: Queue, worker: &str) -> Claimer {
    Claimer::new(test.storage.clone(), queue, worker, LEASE)
}

async fn claim(test: &TestStorage, queue: Queue, most: u32) -> Vec<Held> {
    claimer(test, queue, "worker").claim(most).await.unwrap()
}

async fn state(test: &TestStorage, id: JobId) -> jobs::JobRow {
    let mut tx = test.storage.read(&Actor::system(domain::ids::fresh())).await.unwrap();
    jobs::find(&mut tx, id).await.unwrap()
}

fn cases(held: &[Held]) -> BTreeMap<CaseId, usize> {
    let mut cases = BTreeMap::new();
    for job in held {
        *cases.entry(job.case.unwrap()).or_default() += 1;
    }
    cases
}

async fn a_claim_takes_a_batch_and_nobody_else_gets_it(test: TestStorage) {
    let case = CaseId::new();
    let wanted = ingest(case, 10);
    enqueue(&test.storage, &wanted).await;
    let first = claim(&test, Queue::Ingest, 6).await;
    let second = claim(&test, Queue::Ingest, 6).await;
    assert_eq!((first.len(), second.len()), (6, 4));
    assert!(claim(&test, Queue::Ingest, 6).await.is_empty());
    let documents: HashSet<_> = first.iter().chain(&second).map(|job| job.document.unwrap()).collect();
    assert_eq!(documents, wanted.iter().map(|job| job.document).collect());
    let job = &first[0];
    assert_eq!((job.kind.as_str(), job.attempts, job.max_attempts, job.case), ("ingest_document", 1, 3, Some(case)));
    assert_eq!(job.payload, serde_json::json!({ "case": case, "document": job.document }));
    jobs::done(&test.storage, job).await.unwrap();
    assert_eq!(state(&test, job.id).await.state, "done");
    assert_eq!(state(&test, second[0].id).await.state, "running");
}

async fn queues_do_not_mix(test: TestStorage) {
    let case = CaseId::new();
    enqueue(&test.storage, &ingest(case, 1)).await;
    enqueue(&test.storage, &[ExtractText { case, document: DocumentId::new() }]).await;
    enqueue(&test.storage, &[AnswerChat { case, message: MessageId::new() }]).await;
    for (queue, kind) in
        [(Queue::Extract, "extract_text"), (Queue::Chat, "answer_chat"), (Queue::Ingest, "ingest_document")]
    {
        let held = claim(&test, queue, 10).await;
        assert_eq!(held.iter().map(|job| job.kind.as_str()).collect::<Vec<_>>(), [kind]);
    }
    assert!(claim(&test, Queue::Index, 10).await.is_empty());
}

async fn cases_take_turns(test: TestStorage) {
    let (large, small) = (CaseId::new(), CaseId::new());
    enqueue(&test.storage, &ingest(large, 200)).await;
    enqueue(&test.storage, &ingest(small, 10)).await;
    let first = cases(&claim(&test, Queue::Ingest, 8).await);
    assert_eq!((first[&large], first[&small]), (4, 4), "a case that came later shares from its first claim on");
    // One at a time, the cases alternate.
    let mut claimer = claimer(&test, Queue::Ingest, "w");
    let mut order = Vec::new();
    for _ in 0..6 {
        order.push(claimer.claim(1).await.unwrap()[0].case.unwrap());
    }
    assert!(order.windows(2).all(|pair| pair[0] != pair[1]), "{order:?}");
    // What the small case leaves unused the large one gets.
    let mut rest = 0;
    while rest < 300 {
        let held = claimer.claim(50).await.unwrap();
        if held.is_empty() {
            break;
        }
        rest += held.len();
    }
    assert_eq!(rest, 210 - 8 - 6);
}

async fn the_more_urgent_goes_first(test: TestStorage) {
    let test = test.with_manual_clock();
    let case = CaseId::new();
    enqueue(&test.storage, &ingest(case, 2)).await;
    test.advance(Duration::from_secs(1));
    enqueue(&test.storage, &ingest(case, 1)).await;
    enqueue(&test.storage, &[Urgent { case }]).await;
    let kinds: Vec<String> = claim(&test, Queue::Ingest, 3).await.into_iter().map(|job| job.kind).collect();
    // The claim returns its jobs in no order; which it took is what counts.
    assert_eq!(kinds.iter().filter(|kind| *kind == "test_urgent").count(), 1);
    let last = claim(&test, Queue::Ingest, 3).await;
    assert_eq!(last.len(), 1);
    assert_eq!(state(&test, last[0].id).await.created_at, test.storage.clock.now(), "the oldest went first");

    // A job for later is not due before its time.
    let mut tx = test.storage.begin(&Actor::system(domain::ids::fresh())).await.unwrap();
    let later = test.storage.clock.now().plus(Duration::from_mins(1));
    tx.enqueue_at(&ingest(case, 1)[0], Some(later)).await.unwrap();
    tx.audit(Audit::JobsSwept { enqueued: 1 }).await.unwrap();
    tx.commit().await.unwrap();
    assert!(claim(&test, Queue::Ingest, 3).await.is_empty());
    test.advance(Duration::from_mins(1));
    let due = claim(&test, Queue::Ingest, 10).await;
    assert_eq!(due.iter().filter(|job| job.attempts == 1).count(), 1, "beside those whose leases ended meanwhile");
}

async fn a_unique_job_waits_once_and_never_runs_twice_at_once(test: TestStorage) {
    let job = IndexDatabase { case: CaseId::new(), database: DatabaseId::new() };
    let other = IndexDatabase { database: DatabaseId::new(), ..job };
    enqueue(&test.storage, &[job, job, other]).await;
    enqueue(&test.storage, &[job]).await;
    assert_eq!(test.number("select count(*) from jobs").await, 2);
    let running = claim(&test, Queue::Index, 10).await;
    assert_eq!(running.len(), 2);
    // While it runs, one more waits; it is claimed when the first has ended.
    enqueue(&test.storage, &[job]).await;
    enqueue(&test.storage, &[job]).await;
    assert_eq!(test.number("select count(*) from jobs").await, 3);
    assert!(claim(&test, Queue::Index, 10).await.is_empty());
    let key = job.unique_key();
    let first = running.iter().find(|held| held.payload["database"] == serde_json::json!(job.database)).unwrap();
    jobs::done(&test.storage, first).await.unwrap();
    let next = claim(&test, Queue::Index, 10).await;
    assert_eq!(next.len(), 1);
    assert_eq!(next[0].payload["database"], serde_json::json!(job.database), "{key:?}");
}

/// The job that waits must not start before the transaction that relied on it is committed, or it would not see its rows.
async fn a_unique_job_is_not_claimed_before_what_asked_for_it_is_visible(test: TestStorage) {
    let job = IndexDatabase { case: CaseId::new(), database: DatabaseId::new() };
    enqueue(&test.storage, &[job]).await;
    let mut asking = test.storage.begin(&Actor::system(domain::ids::fresh())).await.unwrap();
    asking.enqueue(&job).await.unwrap();
    asking.audit(Audit::JobsSwept { enqueued: 1 }).await.unwrap();
    if test.is_postgres() {
        // On SQLite a claim waits for the writer by itself.
        assert!(claim(&test, Queue::Index, 10).await.is_empty());
    }
    asking.commit().await.unwrap();
    assert_eq!(claim(&test, Queue::Index, 10).await.len(), 1);
    assert!(claim(&test, Queue::Index, 10).await.is_empty());
}

async fn an_expired_lease_gives_the_job_to_another(test: TestStorage) {
    let test = test.with_manual_clock();
    enqueue(&test.storage, &ingest(CaseId::new(), 1)).await;
    let mut fences = Vec::new();
    for attempt in 1..=4 {
        let held = claim(&test, Queue::Ingest, 1).await;
        assert_eq!(held[0].attempts, attempt, "a claim that ended in a dead process counts");
        fences.push(held[0].fence);
        assert!(claim(&test, Queue::Ingest, 1).await.is_empty());
        test.advance(PAST_LEASE);
    }
    assert!(fences.windows(2).all(|pair| pair[0] < pair[1]), "{fences:?}");
}

async fn a_heartbeat_keeps_the_lease(test: TestStorage) {
    let test = test.with_manual_clock();
    enqueue(&test.storage, &ingest(CaseId::new(), 2)).await;
    let held = claim(&test, Queue::Ingest, 2).await;
    for _ in 0..5 {
        test.advance(LEASE / 2);
        let beat = jobs::extend(&test.storage, &[(held[0].id, held[0].fence)], LEASE).await.unwrap();
        assert!(beat.lost.is_empty());
    }
    let taken = claim(&test, Queue::Ingest, 2).await;
    assert_eq!(taken.iter().map(|job| job.id).collect::<Vec<_>>(), [held[1].id], "only the silent one is taken");
    let pairs: Vec<_> = held.iter().map(|job| (job.id, job.fence)).collect();
    assert_eq!(jobs::extend(&test.storage, &pairs, LEASE).await.unwrap().lost, [held[1].id]);
    jobs::done(&test.storage, &held[0]).await.unwrap();
}

async fn a_zombie_cannot_end_a_job_that_moved_on(test: TestStorage) {
    let test = test.with_manual_clock();
    enqueue(&test.storage, &ingest(CaseId::new(), 1)).await;
    let zombie = claim(&test, Queue::Ingest, 1).await.remove(0);
    test.advance(PAST_LEASE);
    let living = claim(&test, Queue::Ingest, 1).await.remove(0);
    assert_eq!(zombie.id, living.id);
    assert!(matches!(jobs::done(&test.storage, &zombie).await, Err(Error::LeaseLost)));
    assert!(matches!(jobs::again(&test.storage, &zombie, LEASE, "late").await, Err(Error::LeaseLost)));
    let mut tx = test.storage.begin(&Actor::system(domain::ids::fresh())).await.unwrap();
    assert!(matches!(tx.bury(&zombie, "late").await, Err(Error::LeaseLost)));
    drop(tx);
    jobs::release(&test.storage, std::slice::from_ref(&zombie)).await.unwrap();
    let row = state(&test, living.id).await;
    assert_eq!((row.state.as_str(), row.attempts), ("running", 2), "nothing the zombie did counts");
    jobs::done(&test.storage, &living).await.unwrap();
    assert!(matches!(jobs::done(&test.storage, &living).await, Err(Error::LeaseLost)), "a job ends once");
}

async fn back_off_is_written_to_the_row(test: TestStorage) {
    let test = test.with_manual_clock();
    enqueue(&test.storage, &ingest(CaseId::new(), 1)).await;
    for attempt in 1..=3_u32 {
        let held = claim(&test, Queue::Ingest, 1).await.remove(0);
        assert_eq!(held.attempts, attempt);
        let delay = <IngestDocument as Job>::POLICY.delay(attempt);
        jobs::again(&test.storage, &held, delay, "the disk is full").await.unwrap();
        let row = state(&test, held.id).await;
        assert_eq!(row.run_at, test.storage.clock.now().plus(delay));
        assert_eq!((row.state.as_str(), row.error.as_deref()), ("ready", Some("the disk is full")));
        assert!(claim(&test, Queue::Ingest, 1).await.is_empty(), "not before its time");
        test.advance(delay);
    }
    let held = claim(&test, Queue::Ingest, 1).await.remove(0);
    let mut tx = test.storage.begin(&Actor::system(domain::ids::fresh())).await.unwrap();
    tx.bury(&held, &"long ".repeat(200)).await.unwrap();
    tx.commit().await.unwrap();
    let row = state(&test, held.id).await;
    assert_eq!((row.state.as_str(), row.error.map(|e| e.chars().count())), ("dead", Some(500)));
    test.advance(Duration::from_hours(24));
    assert!(claim(&test, Queue::Ingest, 1).await.is_empty());
}

async fn a_unique_job_that_fails_yields_to_its_successor(test: TestStorage) {
    let test = test.with_manual_clock();
    let job = IndexDatabase { case: CaseId::new(), database: DatabaseId::new() };
    for end in ["again", "release", "die"] {
        enqueue(&test.storage, &[job]).await;
        let held = claim(&test, Queue::Index, 1).await.remove(0);
        enqueue(&test.storage, &[job]).await;
        match end {
            "again" => jobs::again(&test.storage, &held, LEASE, "x").await.unwrap(),
            "release" => jobs::release(&test.storage, std::slice::from_ref(&held)).await.unwrap(),
            _ => test.advance(PAST_LEASE),
        }
        let next = claim(&test, Queue::Index, 5).await;
        assert_eq!(next.len(), 1, "{end}");
        assert_ne!(next[0].id, held.id, "{end}");
        assert_eq!(next[0].attempts, 1, "{end}");
        assert_eq!(state(&test, held.id).await.state, "done", "{end}");
        jobs::done(&test.storage, &next[0]).await.unwrap();
    }
}

async fn a_released_job_is_due_at_once_and_the_attempt_does_not_count(test: TestStorage) {
    enqueue(&test.storage, &ingest(CaseId::new(), 3)).await;
    for _ in 0..5 {
        let held = claim(&test, Queue::Ingest, 3).await;
        assert_eq!(held.iter().map(|job| job.attempts).collect::<Vec<_>>(), [1, 1, 1]);
        jobs::release(&test.storage, &held).await.unwrap();
    }
}

async fn a_paused_queue_hands_out_nothing(test: TestStorage) {
    let administrator = test.administrator().await;
    enqueue(&test.storage, &ingest(CaseId::new(), 1)).await;
    let pause = async |paused| {
        let mut tx = test.storage.begin(&administrator).await.unwrap();
        jobs::set_paused(&mut tx, Queue::Ingest, paused).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = test.storage.read(&administrator).await.unwrap();
        let stats = jobs::counts(&mut tx).await.unwrap();
        assert_eq!((stats[&Queue::Ingest].paused, stats[&Queue::Ingest].ready), (paused, 1));
        assert!(!stats[&Queue::Extract].paused);
    };
    pause(true).await;
    assert!(claim(&test, Queue::Ingest, 1).await.is_empty());
    pause(false).await;
    assert_eq!(claim(&test, Queue::Ingest, 1).await.len(), 1);
}

async fn operators_retry_and_cancel(test: TestStorage) {
    let administrator = test.administrator().await;
    let case = CaseId::new();
    enqueue(&test.storage, &ingest(case, 1)).await;
    let held = claim(&test, Queue::Ingest, 1).await.remove(0);
    let mut tx = test.storage.begin(&administrator).await.unwrap();
    assert!(matches!(jobs::retry(&mut tx, held.id).await, Err(Error::Conflict(_))));
    assert!(matches!(jobs::retry(&mut tx, JobId::new()).await, Err(Error::NotFound)));
    assert_eq!(jobs::cancel(&mut tx, held.id).await.unwrap().state, "cancelled");
    tx.commit().await.unwrap();
    assert!(matches!(jobs::done(&test.storage, &held).await, Err(Error::LeaseLost)));
    let mut tx = test.storage.begin(&administrator).await.unwrap();
    let row = jobs::retry(&mut tx, held.id).await.unwrap();
    assert_eq!((row.state.as_str(), row.attempts, row.error), ("ready", 0, None));
    tx.commit().await.unwrap();
    assert_eq!(claim(&test, Queue::Ingest, 1).await[0].attempts, 1);

    // A unique job that already waits again is not made to wait twice.
    let job = IndexDatabase { case, database: DatabaseId::new() };
    enqueue(&test.storage, &[job]).await;
    let dead = claim(&test, Queue::Index, 1).await.remove(0);
    let mut tx = test.storage.begin(&administrator).await.unwrap();
    tx.bury(&dead, "x").await.unwrap();
    tx.commit().await.unwrap();
    enqueue(&test.storage, &[job]).await;
    let mut tx = test.storage.begin(&administrator).await.unwrap();
    assert!(matches!(jobs::retry(&mut tx, dead.id).await, Err(Error::Conflict(_))));
}

async fn only_administrators_see_the_queue(test: TestStorage) {
    let member = test.member().await;
    enqueue(&test.storage, &ingest(CaseId::new(), 1)).await;
    let job = claim(&test, Queue::Ingest, 1).await.remove(0).id;
    let mut tx = test.storage.begin(&member).await.unwrap();
    assert!(matches!(jobs::list(&mut tx, &JobFilter::default(), &PageQuery::default()).await, Err(Error::Forbidden)));
    assert!(matches!(jobs::find(&mut tx, job).await, Err(Error::Forbidden)));
    assert!(matches!(jobs::retry(&mut tx, job).await, Err(Error::Forbidden)));
    assert!(matches!(jobs::cancel(&mut tx, job).await, Err(Error::Forbidden)));
    assert!(matches!(jobs::set_paused(&mut tx, Queue::Ingest, true).await, Err(Error::Forbidden)));
    drop(tx);
    let administrator = test.administrator().await;
    let mut tx = test.storage.read(&administrator).await.unwrap();
    let running = JobFilter { state: Some("running".to_owned()), kind: None };
    assert_eq!(jobs::list(&mut tx, &running, &PageQuery::default()).await.unwrap().items.len(), 1);
    let dead = JobFilter { state: Some("dead".to_owned()), kind: None };
    assert!(jobs::list(&mut tx, &dead, &PageQuery::default()).await.unwrap().items.is_empty());
}

async fn a_schedule_fires_once_for_eight_watchers(test: TestStorage) {
    let test = test.with_manual_clock();
    let hour = Duration::from_hours(1);
    for round in 1..=3 {
        let mut watchers = Vec::new();
        for _ in 0..8 {
            let storage = test.storage.clone();
            watchers.push(tokio::spawn(async move { schedules::fire(&storage, &SweepJobs {}, hour).await.unwrap() }));
        }
        let mut fired = 0;
        for watcher in watchers {
            fired += u32::from(watcher.await.unwrap());
        }
        assert_eq!(fired, 1, "round {round}");
        let held = claim(&test, Queue::Maintenance, 10).await;
        assert_eq!(held.len(), 1, "round {round}");
        jobs::done(&test.storage, &held[0]).await.unwrap();
        assert!(schedules::fire(&test.storage, &CollectGarbage {}, hour).await.unwrap(), "schedules are independent");
        assert!(!schedules::fire(&test.storage, &SweepJobs {}, hour).await.unwrap(), "not due yet");
        jobs::done(&test.storage, &claim(&test, Queue::Maintenance, 10).await[0]).await.unwrap();
        test.advance(hour);
    }
}

async fn claimers_at_once_never_share_a_job(test: TestStorage) {
    const CLAIMERS: usize = 8;
    let each = if test.is_postgres() { 2_000 } else { 100 };
    let lanes: Vec<CaseId> = (0..4).map(|_| CaseId::new()).collect();
    for lane in &lanes {
        enqueue(&test.storage, &ingest(*lane, CLAIMERS * each / lanes.len())).await;
    }
    let seen = Arc::new(Mutex::new(HashSet::new()));
    let mut claimers = Vec::new();
    for n in 0..CLAIMERS {
        let (mut claimer, seen) = (claimer(&test, Queue::Ingest, &format!("w{n}")), seen.clone());
        claimers.push(tokio::spawn(async move {
            loop {
                let held = claimer.claim(64).await.unwrap();
                let mut seen = seen.lock().unwrap();
                for job in &held {
                    assert!(seen.insert(job.id), "{} was handed out twice", job.id);
                }
                // Others may hold locks on what is left: only the full count is the end.
                if held.is_empty() && seen.len() == CLAIMERS * each {
                    return;
                }
            }
        }));
    }
    for claimer in claimers {
        claimer.await.unwrap();
    }
    assert_eq!(
        test.number("select count(*) from jobs where state = 'running' and attempts = 1").await,
        (CLAIMERS * each) as i64
    );
}
