//! The integration tests of `testkit`, in one binary: the checks on the house itself.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod crates;
mod licences;
mod migrations;
mod sources;
mod tree;
