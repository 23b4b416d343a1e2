//! One resource, one file. A new one is a module here and a line in [`all`].

#![allow(unused_qualifications, reason = "the expansion of utoipa::path writes them")]

pub mod access;
pub mod alerts;
pub mod api_keys;
pub mod audit;
pub mod auth;
pub mod batch_errors;
pub mod batches;
pub mod break_glass;
pub mod cases;
pub mod chat;
pub mod context;
pub mod databases;
pub mod document_bodies;
pub mod documents;
pub mod exception_moves;
pub mod exceptions;
pub mod exports;
pub mod health;
pub mod invitations;
pub mod jobs;
pub mod load_files;
pub mod members;
pub mod metrics;
pub mod password_resets;
pub mod passwords;
pub mod queues;
pub mod search;
pub mod second_factors;
pub mod sessions;
pub mod step_up;
pub mod tus;
pub mod upload_bodies;
pub mod uploads;
pub mod users;
pub mod versions;
pub mod walls;
pub mod webhooks;
pub mod workers;

use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;

use crate::{State, openapi::Frame};

/// What a process without a door still answers.
pub(crate) fn of_process() -> OpenApiRouter<State> {
    OpenApiRouter::new().merge(health::routes()).merge(metrics::routes())
}

/// Every route and its description.
pub fn all() -> OpenApiRouter<State> {
    let resources = OpenApiRouter::new()
        .merge(access::routes())
        .merge(alerts::routes())
        .merge(api_keys::routes())
        .merge(audit::routes())
        .merge(auth::routes())
        .merge(batch_errors::routes())
        .merge(batches::routes())
        .merge(break_glass::routes())
        .merge(cases::routes())
        .merge(chat::routes())
        .merge(context::routes())
        .merge(databases::routes())
        .merge(documents::routes())
        .merge(exception_moves::routes())
        .merge(exceptions::routes())
        .merge(exports::routes())
        .merge(invitations::routes())
        .merge(jobs::routes())
        .merge(load_files::routes())
        .merge(members::routes())
        .merge(password_resets::routes())
        .merge(passwords::routes())
        .merge(queues::routes())
        .merge(search::routes())
        .merge(second_factors::routes())
        .merge(sessions::routes())
        .merge(step_up::routes())
        .merge(tus::routes())
        .merge(uploads::routes())
        .merge(users::routes())
        .merge(versions::routes())
        .merge(walls::routes())
        .merge(webhooks::routes())
        .merge(workers::routes())
        .merge(crate::ws::chat::routes())
        .merge(crate::ws::database_status::routes());
    OpenApiRouter::with_openapi(Frame::openapi()).merge(of_process()).nest("/api/v1", resources)
}
