//! Live events, in one process and between processes through a real Redis: order, replay, what Redis gets to see, and that its
//! loss costs live updates only.

use std::{sync::Arc, time::Duration};

use domain::{
    events::{Answer, ChatEvent, ChatStep, Event, Topic},
    ids::{self, CaseId, ConversationId, DatabaseId, MessageId},
};
use storage::{
    pubsub::{Heard, PubSub, RedisError, RedisSettings, Subscription},
    vault::Vault,
};
use tempfile::TempDir;
use testkit::Proxy;

/// The Redis of the test machine, a numbered database of these tests' own.
const SERVER: &str = "127.0.0.1:6379";
/// One that is flushed.
const FLUSHED: u8 = 14;
const KEPT: u8 = 13;
const LONG: Duration = Duration::from_secs(20);

/// A Redis, and keys that processes share.
struct Fleet {
    vault: Arc<Vault>,
    prefix: String,
    number: u8,
    _keys: TempDir,
}

impl Fleet {
    fn new(number: u8) -> Self {
        let keys = TempDir::new().unwrap();
        let vault = Arc::new(Vault::open(keys.path()).unwrap());
        Self { vault, prefix: format!("dia-test-{}", ids::fresh().simple()), number, _keys: keys }
    }

    /// Another process.
    fn process(&self, server: &str) -> PubSub {
        let url = format!("redis://{server}/{}", self.number);
        PubSub::redis(&RedisSettings { url, prefix: self.prefix.clone() }, &self.vault).unwrap()
    }

    async fn redis(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(format!("redis://{SERVER}/{}", self.number)).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    async fn keys(&self) -> Vec<String> {
        let mut redis = self.redis().await;
        redis::cmd("KEYS").arg(format!("{}*", self.prefix)).query_async(&mut redis).await.unwrap()
    }
}

/// An answer being written.
#[derive(Clone, Copy)]
struct Written {
    conversation: ConversationId,
    message: MessageId,
}

impl Written {
    fn new() -> Self {
        Self { conversation: ConversationId::new(), message: MessageId::new() }
    }

    fn topic(self) -> Topic {
        Topic::Conversation(self.conversation)
    }

    fn say(self, process: &PubSub, seq: u64, step: ChatStep) {
        let event = ChatEvent { conversation: self.conversation, message: self.message, seq, step };
        process.publish(self.topic(), Event::Chat(event));
    }
}

fn delta(text: &str) -> ChatStep {
    ChatStep::Delta { text: text.to_owned() }
}

/// The number of the next chat event, whatever was missed before.
async fn next(listener: &mut Subscription) -> u64 {
    let heard = async {
        loop {
            if let Some(Heard::Event(Event::Chat(event))) = listener.next().await {
                return event.seq;
            }
        }
    };
    tokio::time::timeout(LONG, heard).await.expect("nothing was heard")
}

/// Waits until the listener is told that it missed something.
async fn misses(listener: &mut Subscription) {
    let missed = async { while listener.next().await != Some(Heard::Missed) {} };
    tokio::time::timeout(LONG, missed).await.expect("nobody said that something was missed");
}

async fn replayed(process: &PubSub, message: MessageId, after: u64) -> Vec<u64> {
    process.replay(message, after).await.iter().map(|event| event.seq).collect()
}

async fn until_replayed(process: &PubSub, message: MessageId, wanted: &[u64]) {
    let arrived = async {
        while replayed(process, message, 0).await != wanted {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LONG, arrived).await.expect("the replay did not arrive");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_one_process_says_the_others_hear_in_order_and_once() {
    let fleet = Fleet::new(KEPT);
    let (worker, door) = (fleet.process(SERVER), fleet.process(SERVER));
    let answer = Written::new();
    let (mut here, mut there) = (worker.subscribe(answer.topic()), door.subscribe(answer.topic()));
    misses(&mut there).await;
    misses(&mut here).await;
    for seq in 1..=300 {
        answer.say(&worker, seq, delta("x"));
    }
    for seq in 1..=300 {
        assert_eq!((next(&mut here).await, next(&mut there).await), (seq, seq));
    }
    // Other topics are not heard.
    Written::new().say(&worker, 1, delta("y"));
    worker.publish(Topic::Database(DatabaseId::new()), Event::AccessChanged);
    answer.say(&worker, 301, delta("z"));
    assert_eq!((next(&mut here).await, next(&mut there).await), (301, 301));
    // The other kinds of topics find their way too.
    let (database, case, user) = (DatabaseId::new(), CaseId::new(), ids::UserId::new());
    for topic in [Topic::Database(database), Topic::Access(case), Topic::User(user)] {
        let mut listener = door.subscribe(topic);
        worker.publish(topic, Event::AccessChanged);
        let heard = tokio::time::timeout(LONG, listener.next()).await.unwrap();
        assert_eq!(heard, Some(Heard::Event(Event::AccessChanged)), "{topic:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_socket_that_comes_back_to_another_process_replays_what_it_missed() {
    let fleet = Fleet::new(KEPT);
    let (worker, door) = (fleet.process(SERVER), fleet.process(SERVER));
    let answer = Written::new();
    answer.say(&worker, 1, ChatStep::Started);
    answer.say(&worker, 2, delta("a "));
    answer.say(&worker, 3, delta("b "));
    // Who sent it can replay it at once, arrived or not.
    assert_eq!(replayed(&worker, answer.message, 1).await, [2, 3]);
    until_replayed(&door, answer.message, &[1, 2, 3]).await;
    assert_eq!(replayed(&door, answer.message, 2).await, [3]);
    // A new run, as after a crash: the old one is forgotten everywhere.
    let successor = fleet.process(SERVER);
    answer.say(&successor, 1_048_577, ChatStep::Started);
    answer.say(&successor, 1_048_578, ChatStep::Finished { answer: Answer::default() });
    until_replayed(&door, answer.message, &[1_048_577, 1_048_578]).await;
    assert_eq!(replayed(&worker, answer.message, 0).await, [1_048_577, 1_048_578]);
    assert_eq!((worker.last_sent(answer.message), successor.last_sent(answer.message)), (3, 1_048_578));
    assert_eq!(door.last_sent(answer.message), 0);
    // And Redis forgets it all before long.
    let mut redis = fleet.redis().await;
    for key in fleet.keys().await {
        let seconds: i64 = redis::cmd("TTL").arg(&key).query_async(&mut redis).await.unwrap();
        assert!((1..=900).contains(&seconds), "{key} is kept for {seconds} s");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redis_sees_ids_and_nothing_else() {
    let fleet = Fleet::new(KEPT);
    let (worker, door) = (fleet.process(SERVER), fleet.process(SERVER));
    let (answer, other) = (Written::new(), Written::new());
    let client = redis::Client::open(format!("redis://{SERVER}/{KEPT}")).unwrap();
    let mut spy = client.get_async_pubsub().await.unwrap();
    spy.psubscribe(format!("{}*", fleet.prefix)).await.unwrap();
    answer.say(&worker, 1, ChatStep::Started);
    answer.say(&worker, 2, delta("the privileged words"));
    until_replayed(&door, answer.message, &[1, 2]).await;

    let mut redis = fleet.redis().await;
    let key = format!("{}:said:{}", fleet.prefix, answer.message);
    assert_eq!(fleet.keys().await, std::slice::from_ref(&key));
    let dump: Vec<u8> = redis::cmd("DUMP").arg(&key).query_async(&mut redis).await.unwrap();
    let mut seen = vec![dump];
    let mut messages = spy.into_on_message();
    for _ in 0..2 {
        let message = tokio::time::timeout(LONG, futures::StreamExt::next(&mut messages)).await.unwrap().unwrap();
        assert_eq!(message.get_channel_name(), format!("{}:live:conversation:{}", fleet.prefix, answer.conversation));
        seen.push(message.get_payload_bytes().to_vec());
    }
    for bytes in &seen {
        for words in [&b"privileged"[..], b"delta", b"started", b"step", b"chat"] {
            assert!(!bytes.windows(words.len()).any(|window| window == words), "{bytes:?}");
        }
    }
    // What was sealed for one conversation says nothing in another, nor under another name.
    let mut listener = door.subscribe(other.topic());
    misses(&mut listener).await;
    let foreign = format!("{}:live:conversation:{}", fleet.prefix, other.conversation);
    let _: i64 = redis::cmd("PUBLISH").arg(&foreign).arg(&seen[2]).query_async(&mut redis).await.unwrap();
    let gap = format!("{}:live:gap", fleet.prefix);
    let _: i64 = redis::cmd("PUBLISH").arg(&gap).arg(&seen[2]).query_async(&mut redis).await.unwrap();
    other.say(&worker, 7, delta("own"));
    let heard = tokio::time::timeout(LONG, listener.next()).await.unwrap();
    assert!(matches!(heard, Some(Heard::Event(Event::Chat(event))) if event.seq == 7));
    let stolen = format!("{}:said:{}", fleet.prefix, other.message);
    let _: () = redis::cmd("COPY").arg(&key).arg(&stolen).arg("REPLACE").query_async(&mut redis).await.unwrap();
    assert_eq!(replayed(&fleet.process(SERVER), other.message, 0).await, [0_u64; 0]);
    // Nor does it open under another root key.
    let stranger = Fleet { prefix: fleet.prefix.clone(), ..Fleet::new(KEPT) };
    assert_eq!(replayed(&stranger.process(SERVER), answer.message, 0).await, [0_u64; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_redis_updates_pause_and_recover() {
    let fleet = Fleet::new(KEPT);
    let (near_worker, near_door) = (Proxy::before(SERVER).await.unwrap(), Proxy::before(SERVER).await.unwrap());
    let worker = fleet.process(&near_worker.address.to_string());
    let door = fleet.process(&near_door.address.to_string());
    let answer = Written::new();
    let (mut here, mut there) = (worker.subscribe(answer.topic()), door.subscribe(answer.topic()));
    misses(&mut there).await;
    answer.say(&worker, 1, ChatStep::Started);
    assert_eq!((next(&mut here).await, next(&mut there).await), (1, 1));

    near_worker.cut();
    near_door.cut();
    for seq in 2..=50 {
        let begun = std::time::Instant::now();
        answer.say(&worker, seq, delta("x"));
        assert!(begun.elapsed() < Duration::from_millis(100), "publishing waited for Redis");
        // Inside the process it goes on.
        assert_eq!(next(&mut here).await, seq);
    }
    assert_eq!(replayed(&worker, answer.message, 48).await, [49, 50], "what this process said, it can replay");
    near_worker.restore();
    near_door.restore();
    // Whoever listened elsewhere learns that there is something to read, and finds it all.
    misses(&mut there).await;
    let all: Vec<u64> = (1..=50).collect();
    until_replayed(&door, answer.message, &all).await;
    answer.say(&worker, 51, delta("y"));
    while next(&mut there).await != 51 {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn more_than_can_wait_is_dropped_and_listeners_elsewhere_are_told() {
    let fleet = Fleet::new(KEPT);
    let proxy = Proxy::before(SERVER).await.unwrap();
    let (worker, door) = (fleet.process(&proxy.address.to_string()), fleet.process(SERVER));
    let answer = Written::new();
    let mut there = door.subscribe(answer.topic());
    misses(&mut there).await;
    proxy.cut();
    for seq in 1..=10_000 {
        answer.say(&worker, seq, delta("x"));
    }
    proxy.restore();
    // The door's own connection was never lost: only the worker knows that there was more.
    misses(&mut there).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flush_forgets_replays_and_nothing_else() {
    let fleet = Fleet::new(FLUSHED);
    let (worker, door) = (fleet.process(SERVER), fleet.process(SERVER));
    let answer = Written::new();
    let mut there = door.subscribe(answer.topic());
    misses(&mut there).await;
    answer.say(&worker, 1, ChatStep::Started);
    assert_eq!(next(&mut there).await, 1);
    until_replayed(&door, answer.message, &[1]).await;
    let () = redis::cmd("FLUSHDB").query_async(&mut fleet.redis().await).await.unwrap();
    assert_eq!(replayed(&door, answer.message, 0).await, [0_u64; 0]);
    answer.say(&worker, 2, delta("x"));
    assert_eq!(next(&mut there).await, 2);
    until_replayed(&door, answer.message, &[2]).await;
    assert_eq!(replayed(&worker, answer.message, 0).await, [1, 2]);
}

#[tokio::test]
async fn settings_that_cannot_work_are_named_without_the_password() {
    let fleet = Fleet::new(KEPT);
    let live = |url: &str, prefix: &str| {
        PubSub::redis(&RedisSettings { url: url.to_owned(), prefix: prefix.to_owned() }, &fleet.vault)
    };
    let wrong = live("amqp://user:secret@host", "dia").unwrap_err();
    assert_eq!(wrong, RedisError::Url);
    assert!(!wrong.to_string().contains("secret"));
    for prefix in ["", "a b", "a*", "[x]"] {
        assert_eq!(live("redis://host", prefix).unwrap_err(), RedisError::Prefix, "{prefix}");
    }
    let settings = RedisSettings { url: "redis://user:secret@host".to_owned(), prefix: "dia".to_owned() };
    assert!(!format!("{settings:?}").contains("secret"));
}
