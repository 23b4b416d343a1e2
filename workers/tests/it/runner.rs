//! What the runner promises: every job ends, no job harms its neighbours, and time is the database's.

use std::time::Duration;

use domain::{
    ids::{CaseId, JobId},
    jobs::Queue,
    page::PageQuery,
};
use storage::jobs::{self, JobFilter};
use testkit::TestStorage;
use workers::WorkersConfig;

use crate::{
    both,
    probe::{Act, Future, Garbage, Hasty, Probe, Running, Seen, enqueue, probe, quick},
    until,
};

both!(
    every_way_to_end,
    backoff_is_written_and_honoured,
    a_dead_process_costs_an_attempt_and_poison_is_buried_alone,
    a_running_job_learns_that_it_was_cancelled,
    a_paused_queue_waits,
    a_unique_job_never_runs_beside_itself,
    a_small_case_is_not_starved,
    a_graceful_stop_hands_back_what_does_not_end,
    a_process_tells_what_it_works_on_until_it_stops,
);

async fn count(test: &TestStorage, condition: &str) -> i64 {
    test.number(&format!("select count(*) from jobs where {condition}")).await
}

async fn a_process_tells_what_it_works_on_until_it_stops(test: TestStorage) {
    enqueue(&test.storage, &[probe(1, Act::UntilTold)]).await;
    let config = WorkersConfig { ingest: 3, stop_seconds: 2, ..quick() };
    let workers = Running::start(&test.storage, &config);
    let administrator = test.administrator().await;
    let told = async || {
        let mut tx = test.storage.read(&administrator).await.unwrap();
        storage::workers::list(&mut tx).await.unwrap()
    };
    until("it says that it runs a job", async || {
        told().await.iter().any(|worker| (worker.queues[0].slots, worker.queues[0].running) == (3, 1))
    })
    .await;
    let holder = "select count(*) from jobs j join workers w on w.name = j.worker where j.state = 'running'";
    assert_eq!(test.number(holder).await, 1, "the job's row names the process");
    workers.shutdown.cancel();
    until("it says that it stops", async || told().await.iter().any(|worker| worker.is_stopping)).await;
    workers.stop().await;
    assert_eq!(told().await, []);
}

async fn every_way_to_end(test: TestStorage) {
    let test = test.with_manual_clock();
    enqueue(&test.storage, &[Garbage { not: "a probe".into() }]).await;
    enqueue(&test.storage, &[Future {}]).await;
    enqueue(&test.storage, &[Hasty(probe(9, Act::Hang))]).await;
    enqueue(
        &test.storage,
        &[probe(1, Act::Succeed), probe(2, Act::Fail), probe(3, Act::Panic), probe(4, Act::FailUntil(9))],
    )
    .await;
    let workers = Running::start(&test.storage, &quick());
    // One is dead at once because it cannot be read, one by its own word; three wait for their next attempt, and one for a
    // worker that knows its kind.
    let unknown = "state = 'ready' and attempts = 0 and error like '%kind is unknown%'";
    until("first attempts", async || count(&test, "attempts = 1 and state <> 'running'").await == 6).await;
    until("one is left to others", async || count(&test, unknown).await == 1).await;
    assert_eq!(count(&test, "state = 'done'").await, 1);
    assert_eq!(count(&test, "state = 'dead' and attempts = 1").await, 2);
    assert_eq!(count(&test, "state = 'ready' and attempts = 1").await, 3);
    for attempt in [2, 3] {
        test.advance(Duration::from_secs(200));
        until("next attempts", async || {
            count(&test, &format!("attempts = {attempt} and state <> 'running'")).await == 3
        })
        .await;
    }
    assert_eq!(count(&test, "state = 'dead' and attempts = 3").await, 3);
    until("it is left again", async || count(&test, unknown).await == 1).await;
    assert_eq!(count(&test, "error like '%words of a document%'").await, 0, "a panic's message is not kept");
    for (n, buried) in [(1, 0), (2, 1), (3, 1), (4, 1)] {
        assert_eq!(workers.prober.saw(Seen::Buried(n)), buried, "job {n}");
    }
    workers.stop().await;
}

async fn backoff_is_written_and_honoured(test: TestStorage) {
    let test = test.with_manual_clock();
    enqueue(&test.storage, &[probe(1, Act::FailUntil(3)), probe(2, Act::RetryAfter)]).await;
    let workers = Running::start(&test.storage, &quick());
    let now = test.storage.clock.now().micros();
    until("first attempts", async || count(&test, "attempts = 1 and state = 'ready'").await == 2).await;
    let due = |low: i64, high: i64| format!("run_at - {now} between {low}000000 and {high}000000 and state = 'ready'");
    assert_eq!(count(&test, &due(75, 125)).await, 1, "100 s, a quarter more or less");
    assert_eq!(count(&test, &due(5_000, 5_000)).await, 1, "as asked");
    workers.stop().await;
    // Another process honours what this one wrote.
    let workers = Running::start(&test.storage, &quick());
    test.advance(Duration::from_secs(74));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(workers.prober.seen(), []);
    test.advance(Duration::from_secs(52));
    until("second attempt", async || count(&test, "attempts = 2 and state = 'ready'").await == 1).await;
    test.advance(Duration::from_secs(200));
    until("success", async || count(&test, "attempts = 3 and state = 'done'").await == 1).await;
    workers.stop().await;
}

async fn a_dead_process_costs_an_attempt_and_poison_is_buried_alone(test: TestStorage) {
    let test = test.with_manual_clock();
    let config = WorkersConfig { ingest: 4, ..quick() };
    // The poison kills each process it runs in; its neighbours would need a longer life than it grants.
    enqueue(&test.storage, &[probe(1, Act::Poison), probe(2, Act::Outlived), probe(3, Act::Outlived)]).await;
    for death in 1..=3 {
        let workers = Running::start(&test.storage, &config);
        until("the poison runs", async || workers.prober.saw(Seen::Began(1)) == 1).await;
        if death < 3 {
            until("all run", async || workers.prober.seen().len() == 3).await;
        } else {
            let seen = workers.prober.seen();
            let beside = [2, 3].map(|n| workers.prober.saw(Seen::Began(n)) - workers.prober.saw(Seen::Ended(n)));
            assert_eq!(beside, [0, 0], "on its last attempt a suspect runs alone: {seen:?}");
        }
        workers.die().await;
        test.advance(Duration::from_secs(31));
    }
    let workers = Running::start(&test.storage, &config);
    until("all have ended", async || count(&test, "state in ('ready', 'running')").await == 0).await;
    assert_eq!(workers.prober.saw(Seen::Began(1)), 0, "buried without running");
    assert_eq!(workers.prober.saw(Seen::Buried(1)), 1);
    assert_eq!(count(&test, "state = 'dead'").await, 1);
    assert_eq!(count(&test, "state = 'done'").await, 2, "its neighbours are untouched");
    workers.stop().await;
}

async fn a_running_job_learns_that_it_was_cancelled(test: TestStorage) {
    let config = WorkersConfig { lease_seconds: 1, ..quick() };
    enqueue(&test.storage, &[probe(1, Act::UntilTold)]).await;
    let workers = Running::start(&test.storage, &config);
    until("it runs", async || workers.prober.saw(Seen::Began(1)) == 1).await;
    let administrator = test.administrator().await;
    let mut tx = test.storage.begin(&administrator).await.unwrap();
    let job: JobId = jobs::list(&mut tx, &JobFilter::default(), &PageQuery::default()).await.unwrap().items[0].id;
    jobs::cancel(&mut tx, job).await.unwrap();
    tx.commit().await.unwrap();
    until("it stops", async || workers.prober.saw(Seen::Ended(1)) == 1).await;
    workers.stop().await;
    assert_eq!(count(&test, "state = 'cancelled'").await, 1);
}

async fn a_paused_queue_waits(test: TestStorage) {
    let administrator = test.administrator().await;
    let pause = async |paused| {
        let mut tx = test.storage.begin(&administrator).await.unwrap();
        jobs::set_paused(&mut tx, Queue::Ingest, paused).await.unwrap();
        tx.commit().await.unwrap();
    };
    pause(true).await;
    let workers = Running::start(&test.storage, &quick());
    enqueue(&test.storage, &[probe(1, Act::Succeed)]).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(workers.prober.seen(), []);
    pause(false).await;
    until("it runs", async || count(&test, "state = 'done'").await == 1).await;
    workers.stop().await;
}

async fn a_unique_job_never_runs_beside_itself(test: TestStorage) {
    let unique = |n, act| Probe { key: Some("one".into()), ..probe(n, act) };
    enqueue(&test.storage, &[unique(1, Act::UntilTold), unique(2, Act::Succeed)]).await;
    assert_eq!(count(&test, "state = 'ready'").await, 1, "one waits");
    let config = WorkersConfig { ingest: 4, lease_seconds: 1, ..quick() };
    let workers = Running::start(&test.storage, &config);
    until("it runs", async || workers.prober.saw(Seen::Began(1)) == 1).await;
    enqueue(&test.storage, &[unique(3, Act::Succeed), unique(4, Act::Succeed)]).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(workers.prober.seen(), [Seen::Began(1)], "its successor waits");
    let administrator = test.administrator().await;
    let mut tx = test.storage.begin(&administrator).await.unwrap();
    let filter = JobFilter { state: Some("running".into()), ..JobFilter::default() };
    let job = jobs::list(&mut tx, &filter, &PageQuery::default()).await.unwrap().items[0].id;
    jobs::cancel(&mut tx, job).await.unwrap();
    tx.commit().await.unwrap();
    until("the successor runs", async || count(&test, "state = 'done'").await == 1).await;
    assert_eq!(workers.prober.saw(Seen::Ended(3)), 1);
    assert_eq!(workers.prober.saw(Seen::Began(4)), 0, "superseded while it waited");
    workers.stop().await;
}

async fn a_small_case_is_not_starved(test: TestStorage) {
    let (large, small) = (CaseId::new(), CaseId::new());
    let of = |case, n| Probe { case: Some(case), ..probe(n, Act::Succeed) };
    let many: Vec<Probe> = (0..2_000).map(|n| of(large, n)).collect();
    let few: Vec<Probe> = (10_000..10_010).map(|n| of(small, n)).collect();
    enqueue(&test.storage, &many).await;
    enqueue(&test.storage, &few).await;
    let workers = Running::start(&test.storage, &quick());
    let served = |seen: &[Seen]| seen.iter().filter(|s| matches!(s, Seen::Ended(n) if *n >= 10_000)).count();
    until("the small case is served", async || served(&workers.prober.seen()) == 10).await;
    let seen = workers.prober.seen();
    workers.stop().await;
    let last = seen.iter().rposition(|s| matches!(s, Seen::Ended(n) if *n >= 10_000)).unwrap();
    let before = seen[..last].iter().filter(|s| matches!(s, Seen::Ended(n) if *n < 10_000)).count();
    assert!(before < 40, "{before} jobs of the large case ran before the small one was done");
}

async fn a_graceful_stop_hands_back_what_does_not_end(test: TestStorage) {
    let config = WorkersConfig { ingest: 2, stop_seconds: 0, ..quick() };
    enqueue(&test.storage, &[probe(1, Act::UntilTold), probe(2, Act::UntilTold), probe(3, Act::Succeed)]).await;
    let workers = Running::start(&test.storage, &config);
    until("both run", async || workers.prober.seen().len() == 2).await;
    workers.stop().await;
    assert_eq!(count(&test, "state = 'ready' and attempts = 0").await, 3, "nothing is lost and no attempt counted");
}
