//! Publishes events, many at a time, in the order they came. It runs in a task of its own: nobody waits for Redis. While Redis is
//! away what waits is kept, as far as it fits, and goes out when it is back.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use domain::events::{ChatStep, Event, Topic};
use redis::{Pipeline, RedisResult, aio::MultiplexedConnection};
use tokio::sync::mpsc;

use super::{Wire, count, pause};

/// Events sent at once.
const WINDOW: usize = 256;
/// Steps kept of one answer.
const REPLAY: usize = 4_096;
/// How long the steps of an answer are kept after the last of them; by then its row holds the answer.
const KEPT: Duration = Duration::from_mins(15);
/// How often events that Redis refuses (it is out of memory, say) are tried before they are given up.
const TRIES: u32 = 3;
/// The field of a stream's entries.
pub(super) const FIELD: &str = "e";

/// Publishes until nobody can publish any more.
pub(super) async fn run(wire: Arc<Wire>, mut events: mpsc::Receiver<(Topic, Event)>) {
    let mut publisher = Publisher { wire, connection: None, failures: 0 };
    let mut waiting = Vec::with_capacity(WINDOW);
    while events.recv_many(&mut waiting, WINDOW).await > 0 {
        publisher.publish(&waiting).await;
        waiting.clear();
    }
}

struct Publisher {
    wire: Arc<Wire>,
    connection: Option<MultiplexedConnection>,
    /// In a row.
    failures: u32,
}

impl Publisher {
    async fn publish(&mut self, events: &[(Topic, Event)]) {
        let mut refusals = 0;
        loop {
            let gap = self.wire.gap.swap(false, Ordering::SeqCst);
            let error = match self.send(&self.pipeline(events, gap)).await {
                Ok(()) => {
                    if self.failures > 0 {
                        tracing::info!("Redis takes live events again");
                    }
                    self.failures = 0;
                    count("sent", events.len());
                    return;
                }
                Err(error) => error,
            };
            self.wire.gap.fetch_or(gap, Ordering::SeqCst);
            if self.failures == 0 {
                tracing::warn!(%error, "Redis takes no live events; between processes they pause");
            }
            let is_refused = error.code().is_some() && !error.is_unrecoverable_error();
            refusals += u32::from(is_refused);
            if refusals >= TRIES {
                self.failures += 1;
                return self.wire.lost(events.len());
            }
            self.connection = None;
            tokio::time::sleep(pause(self.failures)).await;
            self.failures += 1;
        }
    }

    async fn send(&mut self, pipeline: &Pipeline) -> RedisResult<()> {
        let mut connection = match &self.connection {
            Some(connection) => connection.clone(),
            None => self.connection.insert(self.wire.connect().await?).clone(),
        };
        pipeline.query_async(&mut connection).await
    }

    /// What is kept is written before it is heard of, so whoever hears of it can also read it.
    fn pipeline(&self, events: &[(Topic, Event)], gap: bool) -> Pipeline {
        let (wire, mut pipeline) = (&self.wire, redis::pipe());
        for (topic, event) in events {
            if let Event::Chat(chat) = event
                && let Some(sealed) = wire.seal.said(chat)
            {
                let key = wire.stream(chat.message);
                if matches!(chat.step, ChatStep::Started) {
                    pipeline.cmd("DEL").arg(&key).ignore();
                }
                pipeline
                    .cmd("XADD")
                    .arg(&key)
                    .arg("MAXLEN")
                    .arg("~")
                    .arg(REPLAY)
                    .arg("*")
                    .arg(FIELD)
                    .arg(sealed)
                    .ignore();
                pipeline.cmd("EXPIRE").arg(&key).arg(KEPT.as_secs()).ignore();
            }
            if let Some(sealed) = wire.seal.event(*topic, event) {
                pipeline.cmd("PUBLISH").arg(wire.channel(*topic)).arg(sealed).ignore();
            }
        }
        if gap && let Some(sealed) = wire.seal.gap() {
            pipeline.cmd("PUBLISH").arg(wire.gaps()).arg(sealed).ignore();
        }
        pipeline
    }
}
