//! What tests share: fresh storage on either database, and the machinery that runs the real binary and kills it. A
//! development dependency only; nothing here reaches a user.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod broker;
mod client;
pub mod delivery;
mod faulty_http;
pub mod fleet;
pub mod machine;
mod matter;
mod pieces;
pub mod plaintext;
mod proxy;
mod rows;
pub mod s3;
mod server;
pub mod tamper;

pub use broker::Broker;
pub use client::{Client, Method, Received, Refused, StatusSocket};
pub use faulty_http::{Fault, FaultyHttp};
pub use matter::{Matter, new_case};
pub use pieces::Places;
pub use proxy::Proxy;
pub use rows::{Database, TestStorage, actor};
pub use server::{Home, Server};
