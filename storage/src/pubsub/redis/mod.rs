//! Live events between processes. What is published here is heard here at once, and elsewhere through Redis: every event goes out
//! on its topic's channel, and each process hears all channels on one connection and passes on what somebody there listens to.
//!
//! ```text
//! PREFIX:live:conversation:ID   a channel for each topic; also database, access, user
//! PREFIX:live:gap               somebody could not send everything: all listeners read the rows again
//! PREFIX:said:MESSAGE           a stream of what was said of an answer, for sockets that connect again; bounded, expiring
//! ```
//!
//! Names hold ids only and everything else is sealed ([`seal`]), because answers quote documents. Redis may lose all of it at any
//! time: listeners are told that they missed something once it is back, and nothing else notices.

mod publisher;
mod seal;
mod subscriber;

use std::{
    fmt,
    sync::{Arc, Once, atomic::AtomicBool},
    time::Duration,
};

use ::redis::{
    AsyncConnectionConfig, Client,
    aio::MultiplexedConnection,
    streams::{StreamId, StreamRangeReply},
};
use domain::{
    events::{ChatEvent, ChatStep, Event, Topic},
    ids::MessageId,
};
use tokio::sync::mpsc;

use self::seal::Seal;
use super::{LocalPubSub, Subscription};
use crate::vault::Vault;

/// Events that wait to be published; more are dropped, and listeners elsewhere told so.
const BUFFER: usize = 8_192;
/// How long Redis may take to connect or to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// The pauses after failures: the first, doubling to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Where Redis is, and what names there begin with.
#[derive(Clone)]
pub struct RedisSettings {
    /// `redis://user:password@host:port/number`, or `rediss://` for TLS.
    pub url: String,
    /// What the names of channels and keys begin with; deployments that share a Redis differ in it.
    pub prefix: String,
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("RedisSettings").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Settings that cannot be worked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RedisError {
    /// The reason is not told, since it might quote the URL's password.
    #[error("this is no URL of Redis; it looks like rediss://user:password@host:port/number")]
    Url,
    /// Names are kept plain, because one of them is a pattern.
    #[error("a prefix has 1 to 64 letters, digits, dots, hyphens and underscores")]
    Prefix,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct RedisPubSub {
    local: LocalPubSub,
    outbox: mpsc::Sender<(Topic, Event)>,
    wire: Arc<Wire>,
    /// The connection that replays are read with.
    reading: Arc<tokio::sync::Mutex<Option<MultiplexedConnection>>>,
    /// Begins to hear when somebody first listens.
    hearing: Arc<Once>,
}

/// What publisher and subscriber share.
struct Wire {
    client: Client,
    prefix: String,
    seal: Seal,
    /// Events were dropped since the last that was sent.
    gap: AtomicBool,
}

impl fmt::Debug for RedisPubSub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisPubSub")
    }
}

impl RedisPubSub {
    pub(super) fn new(settings: &RedisSettings, vault: &Vault) -> Result<Self, RedisError> {
        if !crate::is_plain_prefix(&settings.prefix) {
            return Err(RedisError::Prefix);
        }
        let client = Client::open(settings.url.as_str()).map_err(|_| RedisError::Url)?;
        let (prefix, seal) = (settings.prefix.clone(), Seal::new(vault));
        let wire = Arc::new(Wire { client, prefix, seal, gap: AtomicBool::new(false) });
        let (outbox, waiting) = mpsc::channel(BUFFER);
        tokio::spawn(publisher::run(Arc::clone(&wire), waiting));
        Ok(Self {
            local: LocalPubSub::default(),
            outbox,
            wire,
            reading: Arc::default(),
            hearing: Arc::new(Once::new()),
        })
    }

    pub(super) fn local(&self) -> &LocalPubSub {
        &self.local
    }

    pub(super) fn publish(&self, topic: Topic, event: Event) {
        self.local.publish(topic, event.clone());
        if self.outbox.try_send((topic, event)).is_err() {
            self.wire.lost(1);
        }
    }

    pub(super) fn subscribe(&self, topic: Topic) -> Subscription {
        let subscription = self.local.subscribe(topic);
        // Once the channels are heard, whoever has listened until then is told to look again.
        self.hearing.call_once(|| {
            tokio::spawn(subscriber::run(Arc::clone(&self.wire), self.local.clone()));
        });
        subscription
    }

    /// What Redis keeps and what this process has sent, which may not have arrived there yet.
    pub(super) async fn replay(&self, message: MessageId, after: u64) -> Vec<ChatEvent> {
        let mut said = match tokio::time::timeout(PATIENCE, self.kept(message)).await {
            Ok(Ok(kept)) => kept,
            failed => {
                *self.reading.lock().await = None;
                let error = failed.map_or_else(|_| "it did not answer in time".to_owned(), |e| why(e.err().as_ref()));
                tracing::debug!(error, "what was said cannot be read from Redis");
                Vec::new()
            }
        };
        said.extend(self.local.replay(message, 0));
        said.sort_by_key(|event| event.seq);
        said.dedup_by_key(|event| event.seq);
        // A new run forgets the one before.
        let run = said.iter().rposition(|event| matches!(event.step, ChatStep::Started)).unwrap_or(0);
        said.into_iter().skip(run).filter(|event| event.seq > after).collect()
    }

    async fn kept(&self, message: MessageId) -> ::redis::RedisResult<Vec<ChatEvent>> {
        let mut connection = {
            let mut reading = self.reading.lock().await;
            match reading.as_ref() {
                Some(connection) => connection.clone(),
                None => reading.insert(self.wire.connect().await?).clone(),
            }
        };
        let key = self.wire.stream(message);
        let range: StreamRangeReply =
            ::redis::cmd("XRANGE").arg(key).arg("-").arg("+").query_async(&mut connection).await?;
        let open = |entry: &StreamId| self.wire.seal.open_said(message, &entry.get::<Vec<u8>>(publisher::FIELD)?);
        Ok(range.ids.iter().filter_map(open).collect())
    }
}

fn why(error: Option<&::redis::RedisError>) -> String {
    error.map_or_else(String::new, ToString::to_string)
}

impl Wire {
    async fn connect(&self) -> ::redis::RedisResult<MultiplexedConnection> {
        let patience =
            AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
        self.client.get_multiplexed_async_connection_with_config(&patience).await
    }

    /// The name of a topic's channel.
    fn channel(&self, topic: Topic) -> String {
        let (kind, id) = seal::place(topic);
        format!("{}:live:{kind}:{id}", self.prefix)
    }

    /// The name of a message's stream.
    fn stream(&self, message: MessageId) -> String {
        format!("{}:said:{message}", self.prefix)
    }

    /// The name of the channel that tells of gaps.
    fn gaps(&self) -> String {
        format!("{}:live:gap", self.prefix)
    }

    /// Events could not be sent.
    fn lost(&self, events: usize) {
        self.gap.store(true, std::sync::atomic::Ordering::SeqCst);
        count("dropped", events);
    }
}

/// Counts events by what became of them on their way out: `sent` or `dropped`.
fn count(outcome: &'static str, events: usize) {
    metrics::counter!("dia_live_events_total", "outcome" => outcome).increment(events as u64);
}

/// The pause after so many failures in a row.
fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE)
}
