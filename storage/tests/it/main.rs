//! The integration tests of `storage`, in one binary.

#![allow(clippy::unwrap_used, clippy::panic, clippy::cast_possible_wrap, reason = "tests")]

mod alerts;
mod audit;
mod auth;
mod bell;
mod chat;
mod documents;
mod hot;
mod jobs;
mod leases;
mod limits;
mod live;
mod objects;
mod passwords;
mod rows;
mod schema;
mod succession;
mod vault;
mod versions;
mod workers;
