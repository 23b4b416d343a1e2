//! What tests share: fresh storage on either database, and the machinery that runs the real binary and kills it. A
//! development dependency only; nothing here reaches a user.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod rows;

pub use rows::{TestStorage, actor};
