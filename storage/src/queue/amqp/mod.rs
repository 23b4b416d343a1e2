//! The bell across processes: one durable quorum queue of RabbitMQ for each queue of jobs, and a message for each job, which
//! holds the job's id and nothing else. One message wakes one worker, which claims from the rows as many jobs as it has slots;
//! it acknowledges when the claim is made, so what a dying process had heard is heard by another.
//!
//! ```text
//! ring ─> bounded buffer ─> publisher ─confirmed, mandatory─> PREFIX.ingest, PREFIX.extract … ─> listeners of all processes
//!         (full: dropped)   (away: dropped)                    └─not a job id, or delivered too often─> PREFIX.dead
//! ```
//!
//! Whatever is dropped on that way is counted, rings inside this process, and is found by the workers' own looking.

mod line;
mod listener;
mod publisher;

use std::{fmt, str::FromStr as _, sync::Arc};

use domain::{ids::JobId, jobs::Queue};
use lapin::uri::AMQPUri;
use tokio::sync::mpsc;

use self::{line::Line, publisher::Publisher};
use super::LocalBell;

pub use self::listener::AmqpListener;

/// Rings that wait to be published; more are dropped.
const BUFFER: usize = 4_096;
/// Seconds of silence after which a connection counts as lost, unless the URL says otherwise.
const HEARTBEAT: u16 = 15;
/// Milliseconds that connecting may take, unless the URL says otherwise.
const CONNECT: u64 = 5_000;

/// Where RabbitMQ is, and what the queues there are called.
#[derive(Clone)]
pub struct AmqpSettings {
    /// `amqp://user:password@host/vhost`, or `amqps://` for TLS.
    pub url: String,
    /// What the names of queues begin with; deployments that share a virtual host differ in it.
    pub prefix: String,
}

impl fmt::Debug for AmqpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("AmqpSettings").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Settings that cannot be worked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmqpError {
    /// The reason is not told, since it might quote the URL's password.
    #[error("this is no URL of RabbitMQ; it looks like amqps://user:password@host/vhost")]
    Url,
    /// Names are kept plain, because they are also patterns and labels.
    #[error("a prefix has 1 to 64 letters, digits, dots, hyphens and underscores")]
    Prefix,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct AmqpBell {
    local: LocalBell,
    rings: mpsc::Sender<Ring>,
    /// The connection that all listeners of this process share.
    line: Arc<Line>,
}

impl fmt::Debug for AmqpBell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AmqpBell")
    }
}

/// One message.
#[derive(Debug, Clone, Copy)]
struct Ring {
    queue: Queue,
    job: JobId,
}

impl AmqpBell {
    pub(super) fn new(settings: &AmqpSettings) -> Result<Self, AmqpError> {
        if !crate::is_plain_prefix(&settings.prefix) {
            return Err(AmqpError::Prefix);
        }
        let mut uri = AMQPUri::from_str(&settings.url).map_err(|_| AmqpError::Url)?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        uri.query.connection_timeout.get_or_insert(CONNECT);
        let local = LocalBell::default();
        let (rings, waiting) = mpsc::channel(BUFFER);
        // RabbitMQ holds back a connection that publishes when it is short of memory; listeners have one of their own.
        let publishing = Line::new(uri.clone(), settings.prefix.clone(), "publisher");
        tokio::spawn(Publisher::new(publishing, local.clone()).run(waiting));
        Ok(Self { local, rings, line: Arc::new(Line::new(uri, settings.prefix.clone(), "workers")) })
    }

    pub(super) fn ring(&self, queue: Queue, jobs: &[JobId]) {
        if jobs.is_empty() {
            self.local.ring(queue);
        }
        for (sent, job) in jobs.iter().enumerate() {
            if self.rings.try_send(Ring { queue, job: *job }).is_err() {
                count(queue, "dropped", jobs.len() - sent);
                self.local.ring(queue);
                return;
            }
        }
    }

    pub(super) fn listen(&self, queue: Queue, slots: usize) -> AmqpListener {
        AmqpListener::new(Arc::clone(&self.line), self.local.clone(), queue, slots)
    }
}

/// Counts rings by what became of them: `sent`, `refused` (the queue was full), `returned` (it had no queue) or `dropped`.
fn count(queue: Queue, outcome: &'static str, rings: usize) {
    metrics::counter!("dia_bell_rings_total", "queue" => queue.name(), "outcome" => outcome).increment(rings as u64);
}
