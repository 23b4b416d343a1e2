//! A clock on the body: a client that falls silent, or drips, is cut. Only time spent waiting for the client counts, so a
//! handler that is slow to read does not blame it.

use std::{
    fmt,
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    middleware::Next,
    response::Response,
};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::State;

/// The client was too slow to send its body.
#[derive(Debug)]
pub(crate) struct SlowBody;

impl fmt::Display for SlowBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body arrived too slowly")
    }
}

impl std::error::Error for SlowBody {}

/// Puts the clock on every request's body.
pub(crate) async fn cut_slow_bodies(state: State, request: Request, next: Next) -> Response {
    let silence = Duration::from_secs(state.config.body_timeout_seconds);
    let bytes_per_second = state.config.body_bytes_per_second;
    next.run(request.map(|body| {
        if body.is_end_stream() { body } else { Body::new(TimedBody::new(body, silence, bytes_per_second)) }
    }))
    .await
}

struct TimedBody {
    inner: Body,
    silence: Duration,
    bytes_per_second: u64,
    received: u64,
    waited: Duration,
    /// Since when the client keeps us waiting, and until when it may.
    wait: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl TimedBody {
    fn new(inner: Body, silence: Duration, bytes_per_second: u64) -> Self {
        Self { inner, silence, bytes_per_second, received: 0, waited: Duration::ZERO, wait: None }
    }

    /// How long the client may keep us waiting now: the allowed silence, and what its average leaves.
    fn patience(&self) -> Duration {
        let earned = Duration::from_secs(self.received / self.bytes_per_second.max(1));
        (self.silence + earned).saturating_sub(self.waited).min(self.silence)
    }
}

impl HttpBody for TimedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
            let patience = this.patience();
            let (_, sleep) = this.wait.get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(patience))));
            ready!(sleep.as_mut().poll(cx));
            return Poll::Ready(Some(Err(axum::Error::new(SlowBody))));
        };
        if let Some((since, _)) = this.wait.take() {
            this.waited += since.elapsed();
        }
        if let Some(Ok(frame)) = &frame {
            this.received += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
