//! Hears what RabbitMQ delivers for one queue.

use std::{io, sync::Arc, time::Duration};

use domain::{ids::JobId, jobs::Queue};
use futures::StreamExt as _;
use lapin::{
    Acker, Error,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions},
    types::FieldTable,
};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{
    LocalBell,
    line::{Line, within},
};

/// Unanswered messages a worker holds for each of its slots. A busy worker keeps these few from others, which is harmless:
/// whoever is idle claims until nothing is left. Messages whose jobs are long done are answered so many with one claim.
const FOR_EACH_SLOT: usize = 4;
const FEWEST: usize = 8;
const MOST: usize = 256;

/// Longest wait for room to write an acknowledgement.
const ACKNOWLEDGE: Duration = Duration::from_secs(1);

/// A worker's ear for one queue. Dropped, it stops consuming, and what it has not answered is delivered to others.
#[derive(Debug)]
pub struct AmqpListener {
    local: LocalBell,
    queue: Queue,
    heard: mpsc::Receiver<Acker>,
    /// The last message that the claim under way answers, and with it all before.
    answering: Option<Acker>,
    _consuming: AbortOnDropHandle<()>,
}

impl AmqpListener {
    pub(super) fn new(line: Arc<Line>, local: LocalBell, queue: Queue, slots: usize) -> Self {
        let prefetch = slots.saturating_mul(FOR_EACH_SLOT).clamp(FEWEST, MOST);
        let (hear, heard) = mpsc::channel(prefetch);
        let consuming = tokio::spawn(async move {
            loop {
                tokio::time::sleep(line.pause()).await;
                match consume(&line, queue, prefetch, &hear).await {
                    Ok(()) => return,
                    Err(error) => line.failed(&error),
                }
            }
        });
        Self { local, queue, heard, answering: None, _consuming: AbortOnDropHandle::new(consuming) }
    }

    pub(in crate::queue) async fn wait(&mut self, patience: Duration) {
        if self.answering.is_some() {
            return;
        }
        tokio::select! {
            biased;
            Some(heard) = self.heard.recv() => self.answering = Some(heard),
            () = self.local.rung(self.queue) => {}
            () = tokio::time::sleep(patience) => {}
        }
    }

    pub(in crate::queue) fn claiming(&mut self) {
        while let Ok(heard) = self.heard.try_recv() {
            self.answering = Some(heard);
        }
    }

    pub(in crate::queue) async fn claimed(&mut self) {
        let Some(last) = self.answering.take() else { return };
        // Should this fail, they come again and cost a look; jobs wait for nothing here.
        let _ = tokio::time::timeout(ACKNOWLEDGE, last.ack(BasicAckOptions { multiple: true })).await;
    }
}

/// Consumes until the connection fails, or (then well) until nobody listens any more.
async fn consume(line: &Line, queue: Queue, prefetch: usize, hear: &mpsc::Sender<Acker>) -> Result<(), Error> {
    let channel = line.channel().await?;
    line.declare(&channel, queue).await?;
    let prefetch = u16::try_from(prefetch).unwrap_or(u16::MAX);
    let (qos, options) = (BasicQosOptions::default(), BasicConsumeOptions::default());
    let mut consumer = within(async {
        channel.basic_qos(prefetch, qos).await?;
        channel.basic_consume(line.name(queue).into(), "".into(), options, FieldTable::default()).await
    })
    .await?;
    line.works();
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery?;
        let is_job = std::str::from_utf8(&delivery.data).is_ok_and(|text| text.parse::<JobId>().is_ok());
        if !is_job {
            tracing::warn!(queue = queue.name(), "a message that is no job id was set aside");
            within(delivery.acker.reject(BasicRejectOptions { requeue: false })).await?;
        } else if hear.send(delivery.acker).await.is_err() {
            return Ok(());
        }
    }
    // RabbitMQ ended it: the queue was deleted, or moves to another node.
    Err(io::Error::other("the subscription was ended").into())
}
