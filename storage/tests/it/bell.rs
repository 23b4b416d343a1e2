//! The bell, in one process and across processes by a real RabbitMQ: what wakes whom, and that nothing but time is lost when
//! RabbitMQ is away, its queues are gone, or messages are doubled or make no sense.

use std::time::{Duration, Instant};

use domain::{
    actor::Actor,
    ids::{self, CaseId, DocumentId, JobId},
    jobs::{IngestDocument, Queue},
};
use storage::{
    jobs::Claimer,
    queue::{AmqpError, AmqpSettings, Bell, Listener},
};
use testkit::{Broker, Proxy, TestStorage};

/// Longer than anything here takes, and shorter than anybody's patience.
const LONG: Duration = Duration::from_secs(20);
const LEASE: Duration = Duration::from_secs(30);

/// A bell as another process would have it, which reaches RabbitMQ at `server`.
fn bell(broker: &Broker, server: &str) -> Bell {
    let url = format!("amqp://guest:guest@{server}/%2f");
    Bell::amqp(&AmqpSettings { url, prefix: broker.prefix.clone() }).unwrap()
}

/// Waits for a ring and answers it; false when none came in time.
async fn hears(listener: &mut Listener, patience: Duration) -> bool {
    let begun = Instant::now();
    listener.wait(patience).await;
    let heard = begun.elapsed() < patience;
    listener.claiming();
    listener.claimed().await;
    heard
}

/// Rings until it is heard, and leaves that unanswered.
async fn rings_until_heard(bell: &Bell, queue: Queue, listener: &mut Listener) {
    let begun = Instant::now();
    loop {
        bell.ring(queue, &[JobId::new()]);
        let waited = Instant::now();
        listener.wait(Duration::from_millis(500)).await;
        if waited.elapsed() < Duration::from_millis(500) {
            return;
        }
        assert!(begun.elapsed() < LONG, "nobody rang");
    }
}

/// Rings until it is heard: what was rung while a connection was being made may have been dropped, as it may.
async fn rings_through(bell: &Bell, queue: Queue, listener: &mut Listener) {
    let begun = Instant::now();
    loop {
        bell.ring(queue, &[JobId::new()]);
        if hears(listener, Duration::from_millis(500)).await {
            return;
        }
        assert!(begun.elapsed() < LONG, "the bell is not heard");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_local_ring_before_the_wait_still_counts() {
    let bell = Bell::local();
    let mut listener = bell.listen(Queue::Chat, 1);
    bell.ring(Queue::Chat, &[JobId::new()]);
    bell.ring(Queue::Ingest, &[]);
    assert!(hears(&mut listener, LONG).await);
    assert!(!hears(&mut listener, Duration::from_millis(50)).await, "one ring was heard twice, or another queue's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_in_one_process_wakes_a_worker_in_another() {
    let broker = Broker::new().await;
    let mut test = TestStorage::postgres().await;
    test.storage.bell = bell(&broker, Broker::SERVER);
    let other = bell(&broker, Broker::SERVER);
    let mut listener = other.listen(Queue::Ingest, 2);
    let mut tx = test.storage.begin(&Actor::system(ids::fresh())).await.unwrap();
    let job = IngestDocument { case: CaseId::new(), document: DocumentId::new() };
    tx.enqueue(&job).await.unwrap();
    tx.audit(storage::audit::Audit::JobsSwept { enqueued: 1 }).await.unwrap();
    tx.commit().await.unwrap();

    let begun = Instant::now();
    listener.wait(LONG).await;
    assert!(begun.elapsed() < LONG, "nobody rang");
    listener.claiming();
    let mut claimer = Claimer::new(test.storage.clone(), Queue::Ingest, "other", LEASE);
    assert_eq!(claimer.claim(2).await.unwrap().len(), 1);
    listener.claimed().await;
    broker.until_depth("ingest", 0).await;
    // Nothing was said in chat: its bell makes its queue first.
    let mut chat = other.listen(Queue::Chat, 1);
    rings_through(&other, Queue::Chat, &mut chat).await;
    drop((listener, chat));
    broker.until_depth("ingest", 0).await;
    broker.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_message_is_a_job_id_and_nothing_else() {
    let broker = Broker::new().await;
    let bell = bell(&broker, Broker::SERVER);
    let job = JobId::new();
    bell.ring(Queue::Ingest, &[job]);
    bell.ring(Queue::Chat, &[job]);
    let begun = Instant::now();
    while broker.depth("ingest").await != Some(1) || broker.depth("chat").await != Some(1) {
        assert!(begun.elapsed() < LONG, "nothing was published");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (body, headers, properties) = broker.get("ingest").await.unwrap();
    assert_eq!(body, job.uuid().to_string().as_bytes());
    // RabbitMQ counts deliveries in a header; it tells nothing else, and neither do we.
    assert!(headers.iter().all(|name| name == "x-delivery-count"), "{headers:?}");
    assert_eq!(properties, "persistent");
    broker.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_dying_worker_heard_is_heard_by_another() {
    let broker = Broker::new().await;
    let (dying, other) = (bell(&broker, Broker::SERVER), bell(&broker, Broker::SERVER));
    let mut chat = other.listen(Queue::Chat, 1);
    rings_through(&other, Queue::Chat, &mut chat).await;
    let mut first = dying.listen(Queue::Ingest, 1);
    rings_through(&dying, Queue::Ingest, &mut first).await;
    broker.until_depth("ingest", 0).await;

    rings_until_heard(&other, Queue::Ingest, &mut first).await;
    first.claiming();
    // It dies in the midst of its claim.
    drop(first);
    let mut second = other.listen(Queue::Ingest, 1);
    assert!(hears(&mut second, LONG).await, "the ring died with who had heard it");
    drop((second, chat));
    broker.until_depth("ingest", 0).await;
    broker.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn doubled_and_senseless_messages_do_no_harm() {
    let broker = Broker::new().await;
    let mut test = TestStorage::postgres().await;
    test.storage.bell = bell(&broker, Broker::SERVER);
    let mut listener = test.storage.bell.listen(Queue::Ingest, 1);
    let mut chat = test.storage.bell.listen(Queue::Chat, 1);
    rings_through(&test.storage.bell, Queue::Ingest, &mut listener).await;
    rings_through(&test.storage.bell, Queue::Chat, &mut chat).await;
    let mut tx = test.storage.begin(&Actor::system(ids::fresh())).await.unwrap();
    tx.enqueue(&IngestDocument { case: CaseId::new(), document: DocumentId::new() }).await.unwrap();
    tx.audit(storage::audit::Audit::JobsSwept { enqueued: 1 }).await.unwrap();
    tx.commit().await.unwrap();
    let id = JobId::new().uuid().to_string();
    for _ in 0..2 {
        broker.publish("ingest", id.as_bytes()).await;
    }
    for body in [&b"not a job"[..], b"\xff\xfe", b""] {
        broker.publish("ingest", body).await;
    }
    // As a worker does it: however often the bell rings, the job is claimed once.
    let mut claimer = Claimer::new(test.storage.clone(), Queue::Ingest, "worker", LEASE);
    let (mut claimed, begun) = (0, Instant::now());
    while broker.depth("dead").await != Some(3) || claimed == 0 {
        assert!(begun.elapsed() < LONG, "claimed {claimed}, set aside {:?}", broker.depth("dead").await);
        listener.wait(Duration::from_millis(100)).await;
        listener.claiming();
        claimed += claimer.claim(1).await.unwrap().len();
        listener.claimed().await;
    }
    assert_eq!(claimed, 1);
    drop((listener, chat));
    broker.until_depth("ingest", 0).await;
    broker.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_rabbitmq_the_bell_rings_at_home_and_recovers_by_itself() {
    let broker = Broker::new().await;
    let proxy = Proxy::before(Broker::SERVER).await.unwrap();
    let near = bell(&broker, &proxy.address.to_string());
    let far = bell(&broker, Broker::SERVER);
    let (mut at_home, mut away) = (near.listen(Queue::Ingest, 1), far.listen(Queue::Ingest, 1));
    rings_through(&far, Queue::Ingest, &mut away).await;
    drop(away);
    rings_through(&near, Queue::Ingest, &mut at_home).await;
    let mut chat = far.listen(Queue::Chat, 1);
    rings_through(&far, Queue::Chat, &mut chat).await;

    proxy.cut();
    // Ringing takes no time, and is heard in the same process.
    for _ in 0..20 {
        let begun = Instant::now();
        near.ring(Queue::Ingest, &[JobId::new()]);
        assert!(begun.elapsed() < Duration::from_millis(100), "ringing waited for RabbitMQ");
    }
    assert!(hears(&mut at_home, LONG).await, "nobody heard it at home");
    proxy.restore();
    // Both directions come back: what is rung here is heard there, and what is rung there is heard here.
    let mut away = far.listen(Queue::Ingest, 1);
    drop(at_home);
    rings_through(&near, Queue::Ingest, &mut away).await;
    let mut at_home = near.listen(Queue::Ingest, 1);
    drop(away);
    rings_through(&far, Queue::Ingest, &mut at_home).await;
    drop((at_home, chat));
    broker.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn deleted_queues_are_made_again() {
    let broker = Broker::new().await;
    let bell = bell(&broker, Broker::SERVER);
    let (mut listener, mut chat) = (bell.listen(Queue::Ingest, 1), bell.listen(Queue::Chat, 1));
    rings_through(&bell, Queue::Ingest, &mut listener).await;
    rings_through(&bell, Queue::Chat, &mut chat).await;
    broker.delete("ingest").await;
    rings_through(&bell, Queue::Ingest, &mut listener).await;
    let begun = Instant::now();
    while broker.depth("ingest").await.is_none() {
        assert!(begun.elapsed() < LONG, "the queue was not made again");
        bell.ring(Queue::Ingest, &[JobId::new()]);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop((listener, chat));
    broker.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_burst_wakes_everybody() {
    let broker = Broker::new().await;
    let ringing = bell(&broker, Broker::SERVER);
    let others: Vec<Bell> = (0..3).map(|_| bell(&broker, Broker::SERVER)).collect();
    let mut listeners: Vec<Listener> = others.iter().map(|bell| bell.listen(Queue::Ingest, 2)).collect();
    let begun = Instant::now();
    for (at, listener) in listeners.iter_mut().enumerate() {
        // Until each is known to listen.
        while !hears(listener, Duration::from_millis(200)).await {
            assert!(begun.elapsed() < LONG, "listener {at} is not heard of");
            ringing.ring(Queue::Ingest, &[JobId::new(), JobId::new(), JobId::new()]);
        }
    }
    broker.until_depth("ingest", 0).await;
    for listener in &mut listeners {
        while hears(listener, Duration::from_millis(300)).await {}
    }
    let jobs: Vec<JobId> = (0..30).map(|_| JobId::new()).collect();
    ringing.ring(Queue::Ingest, &jobs);
    for listener in &mut listeners {
        assert!(hears(listener, LONG).await, "somebody slept through a burst");
    }
    let mut chat = ringing.listen(Queue::Chat, 1);
    rings_through(&ringing, Queue::Chat, &mut chat).await;
    drop((listeners, chat));
    broker.end().await;
}

#[tokio::test]
async fn settings_that_cannot_work_are_named_without_the_password() {
    let settings =
        |url: &str, prefix: &str| Bell::amqp(&AmqpSettings { url: url.to_owned(), prefix: prefix.to_owned() });
    let wrong = settings("http://user:secret@host", "dia").unwrap_err();
    assert_eq!(wrong, AmqpError::Url);
    assert!(!wrong.to_string().contains("secret"));
    for prefix in ["", "a b", "a*", "ü", &"x".repeat(65)] {
        assert_eq!(settings("amqp://host", prefix).unwrap_err(), AmqpError::Prefix, "{prefix}");
    }
    let settings = AmqpSettings { url: "amqp://user:secret@host".to_owned(), prefix: "dia".to_owned() };
    assert!(!format!("{settings:?}").contains("secret"));
}
