//! The thin axum door: requests in, answers out. It decides who acts, checks what was sent, calls storage and makes the
//! one error body. What may be done is decided in `domain::access`, through storage.
//!
//! A resource is one file in [`routes`] and one line in its `all`. A handler takes [`State`], [`extract::CurrentUser`],
//! [`extract::Path`], [`extract::Query`], [`extract::Json`], opens a transaction in the actor's name, and returns
//! `Result<_, Error>`. `routes/cases.rs` is the model.

pub mod access;
pub mod auth;
pub mod config;
mod download;
pub mod error;
pub mod extract;
pub mod limits;
mod middleware;
mod multipart;
pub mod openapi;
pub mod readers;
mod router;
pub mod routes;
mod serve;
mod state;
mod ws;

pub use crate::{
    access::AccessConfig,
    auth::AuthConfig,
    config::ApiConfig,
    error::Error,
    limits::LimitsConfig,
    router::{process_router, router},
    serve::serve,
    state::State,
};

/// Result of a handler.
pub type Result<T, E = Error> = std::result::Result<T, E>;
