//! The integration tests of the door, in one binary: the real router over real storage, every test in both modes: over SQLite, a
//! directory and this process alone, and over PostgreSQL, a bucket, RabbitMQ and Redis as a fleet is.

#![allow(clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation, reason = "tests")]

mod access;
mod audit;
mod authz;
mod cases;
mod chat;
mod databases;
mod deliveries;
mod documents;
mod door;
mod exports;
mod keys;
mod limits;
mod openapi;
mod operators;
mod papers;
mod password_resets;
mod passwords;
mod refusals;
mod relations;
mod scopes;
mod search;
mod second_factors;
mod sign_in;
mod slow;
mod sockets;
mod tokens;
mod uploads;
mod users;
mod versions;
mod webhooks;
mod ws_status;
