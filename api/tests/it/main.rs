//! The integration tests of the door, in one binary: the real router over real storage, on both databases.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod cases;
mod door;
mod openapi;
mod operators;
mod refusals;
mod sign_in;
mod slow;
mod tokens;
