//! The binary through its own front door: a real server process, the command line as its client.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod server;
mod walk;
