//! The test machine's RabbitMQ, looked at from outside.

use std::time::{Duration, Instant};

use domain::ids;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{BasicGetOptions, BasicPublishOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};
use tokio::sync::{Mutex, MutexGuard};

/// How long something may take.
const LONG: Duration = Duration::from_secs(20);

/// Of the tests of a program one has queues at a time: RabbitMQ makes and elects them one after another.
static ONE: Mutex<()> = Mutex::const_new(());

/// The queues of one test, by a prefix of its own.
#[allow(missing_debug_implementations, reason = "a channel says nothing of use")]
pub struct Broker {
    /// What the names of the queues begin with.
    pub prefix: String,
    connection: Connection,
    channel: Channel,
    _alone: MutexGuard<'static, ()>,
}

impl Broker {
    /// Where it listens.
    pub const SERVER: &str = "127.0.0.1:5672";
    /// How it is reached.
    pub const URL: &str = "amqp://guest:guest@127.0.0.1:5672/%2f";

    /// Connects, with a fresh prefix.
    pub async fn new() -> Self {
        let alone = ONE.lock().await;
        let connection = Connection::connect(Self::URL, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        Self { prefix: format!("dia-test-{}", ids::fresh().simple()), connection, channel, _alone: alone }
    }

    fn name(&self, queue: &str) -> String {
        format!("{}.{queue}", self.prefix)
    }

    /// Messages that wait to be delivered; `None` when there is no such queue.
    pub async fn depth(&self, queue: &str) -> Option<u32> {
        // What is missing closes the channel.
        let channel = self.connection.create_channel().await.unwrap();
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(self.name(queue).into(), passive, FieldTable::default()).await;
        declared.ok().map(|queue| queue.message_count())
    }

    /// Waits until a queue holds that many messages.
    pub async fn until_depth(&self, queue: &str, depth: u32) {
        let begun = Instant::now();
        while self.depth(queue).await != Some(depth) {
            assert!(begun.elapsed() < LONG, "{queue} holds {:?} messages, not {depth}", self.depth(queue).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Publishes anything.
    pub async fn publish(&self, queue: &str, body: &[u8]) {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        self.channel.basic_publish("".into(), self.name(queue).into(), options, body, properties).await.unwrap();
    }

    /// Takes a message: its body, the names of its headers, and what else it says of itself (`persistent` is all it should).
    pub async fn get(&self, queue: &str) -> Option<(Vec<u8>, Vec<String>, String)> {
        let got = self.channel.basic_get(self.name(queue).into(), BasicGetOptions { no_ack: true }).await.unwrap();
        let message = got?.delivery;
        let headers = message.properties.headers().clone().unwrap_or_default();
        let names = headers.inner().keys().map(|name| name.as_str().to_owned()).collect();
        let bare = message.properties.with_headers(FieldTable::default());
        let persistent = BasicProperties::default().with_delivery_mode(2).with_headers(FieldTable::default());
        let said = if bare == persistent { "persistent".to_owned() } else { format!("{bare:?}") };
        Some((message.data, names, said))
    }

    /// Deletes a queue, if it is there.
    pub async fn delete(&self, queue: &str) {
        self.channel.queue_delete(self.name(queue).into(), QueueDeleteOptions::default()).await.unwrap();
    }

    /// Leaves what the test made: its queues go two minutes after the last use, by the policy that `scripts/setup` sets. RabbitMQ 3.10 may
    /// lose its at-least-once dead-lettering for good when such queues are deleted while others declare them.
    pub async fn end(self) {
        self.channel.exchange_delete(self.name("dead").into(), ExchangeDeleteOptions::default()).await.unwrap();
    }
}
