//! The pipeline through its public API, with the real child program.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    unreachable_pub,
    missing_docs,
    reason = "tests"
)]

mod chunks;
mod containers;
mod formats;
mod hostile;
mod identify;
mod machine;
mod sandbox;
mod settings;
mod survey;
