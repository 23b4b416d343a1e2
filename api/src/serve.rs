//! Connections. Built on hyper with a timer, because `axum::serve` installs none and its header timeout is inert.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{HeaderValue, Method, Version, header, uri::Authority},
    response::{IntoResponse as _, Response},
};
use domain::error::Code;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::{Error, config::ApiConfig, error::render};

/// Serves HTTP/1.1 and its upgrades on `listener` until `shutdown`; then takes no new connections and gives the open ones
/// the configured time to end.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    config: &ApiConfig,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(config.header_timeout_seconds))
        .max_headers(64);
    let slots = Arc::new(Semaphore::new(config.max_connections));
    let mut connections = JoinSet::new();
    loop {
        let slot = tokio::select! {
            () = shutdown.cancelled() => break,
            slot = Arc::clone(&slots).acquire_owned() => slot.map_err(io::Error::other)?,
        };
        let (stream, peer) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, or a client that left already: neither ends the server.
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let connection = connection(http.clone(), stream, peer, router.clone(), shutdown.clone());
        connections.spawn(async move {
            connection.await;
            drop(slot);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let patience = Duration::from_secs(config.shutdown_timeout_seconds);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(patience, all_ended).await.is_err() {
        tracing::warn!(open = connections.len(), "connections were cut at shutdown");
        connections.shutdown().await;
    }
    Ok(())
}

async fn connection(
    http: http1::Builder,
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    shutdown: CancellationToken,
) {
    // Streams of small answers should not wait for each other's acknowledgements.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        async move {
            if let Some(wrong) = ambiguous(&request) {
                return Ok(refused(wrong));
            }
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            let answered: Result<_, Infallible> = router.oneshot(request).await;
            answered
        }
    });
    let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // Clients that leave or dawdle are everyday life.
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Why a request could mean one thing to a proxy and another here (RFC 9112 §3.2, RFC 9110 §9.3.6).
fn ambiguous<B>(request: &Request<B>) -> Option<&'static str> {
    if request.method() == Method::CONNECT {
        return Some("dia is no proxy");
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let one = match (hosts.next(), hosts.next()) {
        (None, None) => return (request.version() > Version::HTTP_10).then_some("send the header Host"),
        (host, None) => host.and_then(|host| host.to_str().ok()?.parse::<Authority>().ok()),
        _ => None,
    };
    let is_plain = one.is_some_and(|host| !host.as_str().contains('@'));
    (!is_plain).then_some("send one header Host, which holds a host and perhaps a port")
}

/// What follows on such a connection could be anybody's: it is closed.
fn refused(wrong: &'static str) -> Response {
    let mut response = render(Error::new(Code::BadRequest, wrong).into_response(), domain::ids::fresh());
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_one_host() {
        let wrong = |method: &str, version, hosts: &[&str]| {
            let mut request = Request::builder().method(method).uri("/x").version(version);
            for host in hosts {
                request = request.header(header::HOST, *host);
            }
            ambiguous(&request.body(()).unwrap()).is_some()
        };
        for host in ["x", "dia.example", "dia.example:8443", "127.0.0.1:8080", "[::1]:8080", "dia_api:80"] {
            assert!(!wrong("GET", Version::HTTP_11, &[host]), "{host}");
        }
        assert!(!wrong("GET", Version::HTTP_10, &[]));
        for hosts in [&[][..], &["x", "x"], &["x", "y"], &["x, y"], &["x/y"], &["a@x"], &["x y"], &[""]] {
            assert!(wrong("GET", Version::HTTP_11, hosts), "{hosts:?}");
        }
        assert!(wrong("CONNECT", Version::HTTP_11, &["x"]));
    }
}
