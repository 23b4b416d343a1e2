//! The integration tests of `storage`, in one binary.

mod auth;
mod chat;
mod documents;
mod jobs;
mod leases;
mod objects;
mod rows;
mod vault;
