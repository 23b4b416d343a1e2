//! The binary through its own front door: a real server process, the command line as its client.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests; they start the program in an environment of their own"
)]

mod alerts;
mod exports;
mod fleet;
mod limits;
mod mail;
mod passwords;
mod server;
mod tus;
mod users;
mod walk;
mod webhooks;
