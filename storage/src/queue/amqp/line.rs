//! A connection to RabbitMQ that is made again when it is lost, and the queues there.

use std::{
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use domain::jobs::Queue;
use lapin::{
    Channel, Connection, ConnectionProperties, Error, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
    uri::AMQPUri,
};
use rand::RngExt as _;

/// The first pause after a failure; doubles with every further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How long connecting or declaring may take in all.
const PATIENCE: Duration = Duration::from_secs(10);
/// Deliveries without an answer after which a message is set aside: it has been there when so many processes died.
const DELIVERIES: i32 = 20;
/// Messages a queue holds; more rings than that wake nobody any sooner, and are refused.
const LONGEST_QUEUE: i32 = 10_000;
/// Messages kept of those that were set aside, and for how long.
const MOST_DEAD: i32 = 1_000;
const DEAD_MILLISECONDS: i32 = 7 * 24 * 3_600 * 1_000;

/// See the module.
pub(super) struct Line {
    uri: AMQPUri,
    prefix: String,
    role: &'static str,
    connection: tokio::sync::Mutex<Option<Connection>>,
    trouble: Mutex<Trouble>,
    is_away: AtomicBool,
}

#[derive(Default)]
struct Trouble {
    failures: u32,
    until: Option<Instant>,
}

impl Line {
    pub(super) fn new(uri: AMQPUri, prefix: String, role: &'static str) -> Self {
        let (connection, trouble) = (tokio::sync::Mutex::default(), Mutex::default());
        Self { uri, prefix, role, connection, trouble, is_away: AtomicBool::new(false) }
    }

    /// The queue's name there.
    pub(super) fn name(&self, queue: Queue) -> String {
        format!("{}.{}", self.prefix, queue.name())
    }

    /// A fresh channel, on a fresh connection if the one before was lost.
    pub(super) async fn channel(&self) -> Result<Channel, Error> {
        within(async {
            let mut kept = self.connection.lock().await;
            if let Some(connection) = kept.as_ref().filter(|connection| connection.status().connected()) {
                return connection.create_channel().await;
            }
            let name = format!("dia {} {}", self.role, std::process::id());
            let properties = ConnectionProperties::default().with_connection_name(name.into());
            let connection = Connection::connect_uri(self.uri.clone(), properties).await?;
            kept.insert(connection).create_channel().await
        })
        .await
    }

    /// Makes the queue and what it needs, if they are not there; the same however often it is done.
    pub(super) async fn declare(&self, channel: &Channel, queue: Queue) -> Result<(), Error> {
        let dead = format!("{}.dead", self.prefix);
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        within(async {
            let exchange = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
            channel
                .exchange_declare(dead.as_str().into(), ExchangeKind::Fanout, exchange, FieldTable::default())
                .await?;
            let bounds = table([
                ("x-queue-type", word("quorum")),
                ("x-max-length", AMQPValue::LongInt(MOST_DEAD)),
                ("x-message-ttl", AMQPValue::LongInt(DEAD_MILLISECONDS)),
            ]);
            channel.queue_declare(dead.as_str().into(), durable, bounds).await?;
            let (bind, nothing) = (QueueBindOptions::default(), FieldTable::default());
            channel.queue_bind(dead.as_str().into(), dead.as_str().into(), "".into(), bind, nothing).await?;
            let manners = table([
                ("x-queue-type", word("quorum")),
                ("x-delivery-limit", AMQPValue::LongInt(DELIVERIES)),
                ("x-max-length", AMQPValue::LongInt(LONGEST_QUEUE)),
                ("x-overflow", word("reject-publish")),
                ("x-dead-letter-exchange", word(&dead)),
                ("x-dead-letter-strategy", word("at-least-once")),
            ]);
            channel.queue_declare(self.name(queue).into(), durable, manners).await
        })
        .await
        .map(drop)
    }

    /// How long to leave RabbitMQ alone, after it failed; zero when it may be tried.
    pub(super) fn pause(&self) -> Duration {
        let until = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).until;
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    /// It works.
    pub(super) fn works(&self) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Trouble::default();
        if self.is_away.swap(false, Ordering::Relaxed) {
            tracing::info!(role = self.role, "RabbitMQ is back");
        }
    }

    /// It failed: the next try waits longer than the last, some more or less so that processes do not come back together. Said
    /// once, until it works again.
    pub(super) fn failed(&self, error: &Error) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if trouble.until.is_some_and(|until| until > now) {
            return; // another who shares the connection has said so
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << trouble.failures.min(10)).min(LONGEST_PAUSE);
        trouble.failures += 1;
        trouble.until = Some(now + pause.mul_f64(rand::rng().random_range(0.75..1.25)));
        if !self.is_away.swap(true, Ordering::Relaxed) {
            tracing::warn!(role = self.role, %error, "RabbitMQ cannot be used; workers look for jobs by themselves");
        }
    }
}

/// Waits for RabbitMQ, but not for ever.
pub(super) async fn within<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let patience = tokio::time::timeout(PATIENCE, asked).await;
    patience.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "it did not answer in time").into()))
}

fn table<const N: usize>(entries: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        table.insert(key.into(), value);
    }
    table
}

fn word(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}
