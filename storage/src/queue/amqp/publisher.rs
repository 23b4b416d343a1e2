//! Publishes rings. It runs in a task of its own: no commit waits for RabbitMQ. What cannot be published at once is dropped and
//! counted, and rings inside this process instead.

use std::collections::HashSet;

use domain::jobs::Queue;
use lapin::{
    BasicProperties, Channel, Confirmation, Error,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use tokio::sync::mpsc;

use super::{
    LocalBell, Ring, count,
    line::{Line, within},
};

/// Messages published before their confirmations are waited for.
const WINDOW: usize = 256;
/// "Persistent", in the words of AMQP.
const DURABLE: u8 = 2;

pub(super) struct Publisher {
    line: Line,
    local: LocalBell,
    channel: Option<Channel>,
    declared: HashSet<Queue>,
}

impl Publisher {
    pub(super) fn new(line: Line, local: LocalBell) -> Self {
        Self { line, local, channel: None, declared: HashSet::new() }
    }

    /// Publishes until nobody can ring any more.
    pub(super) async fn run(mut self, mut rings: mpsc::Receiver<Ring>) {
        let mut waiting = Vec::with_capacity(WINDOW);
        while rings.recv_many(&mut waiting, WINDOW).await > 0 {
            if !self.line.pause().is_zero() {
                self.drop_rings(&waiting);
            } else if let Err(error) = self.publish(&waiting).await {
                self.line.failed(&error);
                self.channel = None;
                self.declared.clear();
                self.drop_rings(&waiting);
            } else {
                self.line.works();
            }
            waiting.clear();
        }
    }

    async fn publish(&mut self, rings: &[Ring]) -> Result<(), Error> {
        let channel = self.open().await?;
        for ring in rings {
            if !self.declared.contains(&ring.queue) {
                self.line.declare(&channel, ring.queue).await?;
                self.declared.insert(ring.queue);
            }
        }
        let confirmed = within(send(&self.line, &channel, rings)).await?;
        for (ring, confirmation) in rings.iter().zip(confirmed) {
            match confirmation {
                Confirmation::Ack(None) | Confirmation::NotRequested => count(ring.queue, "sent", 1),
                Confirmation::Ack(Some(_)) => {
                    // Somebody deleted the queue: the next ring makes it again.
                    self.declared.remove(&ring.queue);
                    self.local.ring(ring.queue);
                    count(ring.queue, "returned", 1);
                }
                Confirmation::Nack(_) => {
                    self.local.ring(ring.queue);
                    count(ring.queue, "refused", 1);
                }
            }
        }
        Ok(())
    }

    async fn open(&mut self) -> Result<Channel, Error> {
        if let Some(channel) = self.channel.as_ref().filter(|channel| channel.status().connected()) {
            return Ok(channel.clone());
        }
        self.declared.clear();
        let channel = self.line.channel().await?;
        within(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(self.channel.insert(channel).clone())
    }

    fn drop_rings(&self, rings: &[Ring]) {
        for ring in rings {
            count(ring.queue, "dropped", 1);
            self.local.ring(ring.queue);
        }
    }
}

/// Publishes all of them, then waits for all confirmations.
async fn send(line: &Line, channel: &Channel, rings: &[Ring]) -> Result<Vec<Confirmation>, Error> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let mut sent = Vec::with_capacity(rings.len());
    for ring in rings {
        let (name, id) = (line.name(ring.queue), ring.job.uuid().to_string());
        let properties = BasicProperties::default().with_delivery_mode(DURABLE);
        sent.push(channel.basic_publish("".into(), name.into(), options, id.as_bytes(), properties).await?);
    }
    futures::future::try_join_all(sent).await
}
