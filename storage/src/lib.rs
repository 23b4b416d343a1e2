//! All durable state and every wire to it: rows in SQLite or PostgreSQL, encrypted objects, keys, the queue's truth and its
//! bell, live events. API and workers speak to storage only through the types here.

pub mod access;
pub mod alerts;
pub mod api_keys;
pub mod attempts;
pub mod audit;
pub mod batches;
pub mod blobs;
pub mod break_glass;
pub mod cases;
mod codes;
pub mod contexts;
pub mod conversations;
pub mod databases;
mod db;
pub mod documents;
mod error;
pub mod failpoint;
pub mod generations;
pub mod idempotency;
pub mod items;
pub mod jobs;
pub mod known_files;
pub mod leases;
pub mod limits;
pub mod load_files;
pub mod members;
pub mod messages;
pub mod objects;
pub mod password_resets;
pub mod passwords;
pub mod pubsub;
pub mod queue;
pub mod schedules;
pub mod second_factors;
pub mod sessions;
pub mod sign_in_steps;
pub mod signup;
mod standing;
pub mod succession;
pub mod system;
mod tx;
pub mod uploads;
pub mod users;
pub mod vault;
pub mod walls;
pub mod webhooks;
pub mod workers;

use std::sync::Arc;

use domain::clock::Clock;

pub use crate::{
    db::{Db, PostgresSettings},
    error::{Error, Result},
    tx::Tx,
};

/// True for what names in RabbitMQ and Redis may begin with: nothing in it means anything to either.
fn is_plain_prefix(prefix: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    (1..=64).contains(&prefix.len()) && prefix.chars().all(plain)
}

/// Everything durable, chosen once at start and cloned cheaply.
#[derive(Debug, Clone)]
pub struct Storage {
    /// Rows.
    pub db: Db,
    /// Encrypted bytes.
    pub objects: objects::Objects,
    /// Keys.
    pub vault: Arc<vault::Vault>,
    /// Wakes workers.
    pub bell: queue::Bell,
    /// Carries live events.
    pub pubsub: pubsub::PubSub,
    /// Counts requests.
    pub limits: limits::Limits,
    /// The process's time.
    pub clock: Clock,
}
