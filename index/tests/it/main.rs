//! Behaviour of the index through its public API, over sealed files held in memory.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod files;
mod generations;
mod highlights;
mod paging;
mod query;
mod retrieval;
mod semantics;
mod support;
