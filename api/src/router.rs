//! All routes under their layers.

use axum::{Router, extract::DefaultBodyLimit, middleware};
use domain::error::Code;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    Error, State,
    limits::tell_budgets,
    middleware::{around, careful_headers, cut_slow_bodies, panicked},
    openapi, routes,
};

/// The whole door.
pub fn router(state: State) -> Router {
    let (routes, document) = routes::all().split_for_parts();
    layered(routes.merge(openapi::reference(document)), state)
}

/// What a process that only works queues answers: whether it lives, whether it is ready, and its figures.
pub fn process_router(state: State) -> Router {
    layered(routes::of_process().split_for_parts().0, state)
}

fn layered(routes: Router<State>, state: State) -> Router {
    routes
        .fallback(async || Error::not_found())
        .method_not_allowed_fallback(async || Error::from(Code::MethodNotAllowed))
        .layer(DefaultBodyLimit::max(state.config.max_body_bytes))
        .layer(middleware::from_fn_with_state(state.clone(), cut_slow_bodies))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(tell_budgets))
        .layer(middleware::from_fn(careful_headers))
        .layer(middleware::from_fn(around))
        .with_state(state)
}
