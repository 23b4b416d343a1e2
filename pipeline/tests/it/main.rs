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

mod archives;
mod around;
mod chunks;
mod containers;
mod documents;
mod formats;
mod hostile;
mod identify;
mod images;
mod iwork;
mod load_files;
mod machine;
mod mail;
mod outlook;
mod rar;
mod sandbox;
mod settings;
mod sheets;
mod survey;
