//! The bell: tells workers that a queue has work. It carries no work itself; a ring that is lost, doubled or late costs latency
//! only, since workers claim from the rows and also look at them by themselves.

mod amqp;
mod local;

use std::time::Duration;

use domain::{ids::JobId, jobs::Queue};

pub use self::{
    amqp::{AmqpBell, AmqpError, AmqpListener, AmqpSettings},
    local::LocalBell,
};

/// How workers are woken.
#[derive(Debug, Clone)]
pub enum Bell {
    /// Inside one process.
    Local(LocalBell),
    /// Across processes, by RabbitMQ.
    Amqp(AmqpBell),
}

impl Bell {
    /// A bell inside this process.
    pub fn local() -> Self {
        Self::Local(LocalBell::default())
    }

    /// A bell that RabbitMQ carries to every process. It connects when it is first rung or listened to; while RabbitMQ is away,
    /// it rings inside this process and connects again by itself. Must be called within a tokio runtime.
    pub fn amqp(settings: &AmqpSettings) -> Result<Self, AmqpError> {
        Ok(Self::Amqp(AmqpBell::new(settings)?))
    }

    /// Says that `queue` has work: these jobs, as far as the caller knows them. Neither waits nor fails.
    pub fn ring(&self, queue: Queue, jobs: &[JobId]) {
        match self {
            Self::Local(bell) => bell.ring(queue),
            Self::Amqp(bell) => bell.ring(queue, jobs),
        }
    }

    /// Listens to the bell of `queue` for a worker with so many `slots`.
    pub fn listen(&self, queue: Queue, slots: usize) -> Listener {
        match self {
            Self::Local(bell) => Listener::Local { bell: bell.clone(), queue },
            Self::Amqp(bell) => Listener::Amqp(bell.listen(queue, slots)),
        }
    }
}

/// A worker's ear for one queue.
#[derive(Debug)]
pub enum Listener {
    /// Inside one process.
    Local {
        /// The bell.
        bell: LocalBell,
        /// What is listened for.
        queue: Queue,
    },
    /// To RabbitMQ.
    Amqp(AmqpListener),
}

impl Listener {
    /// Waits until the bell rings, or `patience` has passed. A ring before the call still counts.
    pub async fn wait(&mut self, patience: Duration) {
        match self {
            Self::Local { bell, queue } => bell.wait(*queue, patience).await,
            Self::Amqp(listener) => listener.wait(patience).await,
        }
    }

    /// Says that a claim begins: what has rung by now is answered by it.
    pub fn claiming(&mut self) {
        match self {
            Self::Local { .. } => {}
            Self::Amqp(listener) => listener.claiming(),
        }
    }

    /// Says that the claim was made. Until then, the rings it answers go to another worker should this process die.
    pub async fn claimed(&mut self) {
        match self {
            Self::Local { .. } => {}
            Self::Amqp(listener) => listener.claimed().await,
        }
    }
}
