//! Clients that dawdle, over real connections. Each wait below ends because the server acts; none is measured.

use std::{net::SocketAddr, time::Duration};

use api::{ApiConfig, State};
use axum::{Router, extract::WebSocketUpgrade, routing::get};
use testkit::TestStorage;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::door::cache;

struct Server {
    _test: TestStorage,
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start() -> Self {
        let test = TestStorage::sqlite().await;
        let config = ApiConfig { header_timeout_seconds: 1, body_timeout_seconds: 1, ..ApiConfig::default() };
        let shutdown = CancellationToken::new();
        let state = State::new(test.storage.clone(), config.clone(), cache(), None, shutdown.clone()).unwrap();
        let upgrade = get(async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(async |_| {}));
        let slow = get(async || {
            tokio::time::sleep(Duration::from_millis(300)).await;
            "done"
        });
        let router = api::router(state).merge(Router::new().route("/upgrade", upgrade).route("/slow", slow));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = shutdown.clone();
        let task = tokio::spawn(async move { api::serve(listener, router, &config, stop).await });
        Self { _test: test, address, shutdown, task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// What the server says until it closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    // A reset is a close too.
    let closed = tokio::time::timeout(Duration::from_mins(1), stream.read_to_end(&mut said)).await;
    let _ = closed.expect("the server never closed the connection");
    String::from_utf8(said).unwrap()
}

const HEAD: &str = "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";

#[tokio::test]
async fn silence_and_slow_heads_are_cut() {
    let server = Server::start().await;
    for sent in ["", "GET", "GET /health/live HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
        let mut stream = server.connect().await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        let said = rest(&mut stream).await;
        assert!(!said.contains(" 200 "), "{sent:?}: {said}");
    }
    // One who answers each second but never ends the head is cut as well.
    let mut stream = server.connect().await;
    stream.write_all(b"GET /health/live HTTP/1.1\r\n").await.unwrap();
    let mut sent = 0;
    while stream.write_all(b"X-More: 1\r\n").await.is_ok() && sent < 200 {
        sent += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(sent < 200, "the dripping head was never cut");
    // And a connection that idles after a good request is not kept for ever.
    let mut stream = server.connect().await;
    stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn slow_bodies_are_cut() {
    let server = Server::start().await;
    for start in ["Content-Length: 100\r\n\r\n{\"email\": ", "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"ema\r\n"] {
        let mut stream = server.connect().await;
        stream.write_all(format!("{HEAD}{start}").as_bytes()).await.unwrap();
        let said = rest(&mut stream).await;
        assert!(said.starts_with("HTTP/1.1 408 ") && said.contains("\"code\":\"request_timeout\""), "{said}");
    }
    // A byte now and then stays below the least rate.
    let mut stream = server.connect().await;
    stream.write_all(format!("{HEAD}Content-Length: 100000\r\n\r\n").as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.split();
    let drip = async {
        while writing.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let mut said = [0; 12];
    tokio::select! {
        () = drip => panic!("closed without a word"),
        read = tokio::time::timeout(Duration::from_mins(1), reading.read_exact(&mut said)) => { read.unwrap().unwrap(); }
    }
    assert_eq!(&said, b"HTTP/1.1 408");
    // A body announced as too large is refused before it comes.
    let mut stream = server.connect().await;
    stream.write_all(format!("{HEAD}Content-Length: 9000000\r\n\r\n").as_bytes()).await.unwrap();
    let said = rest(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 413 "), "{said}");
    // A client that leaves in the middle harms nobody.
    let mut stream = server.connect().await;
    stream.write_all(format!("{HEAD}Content-Length: 100\r\n\r\n{{").as_bytes()).await.unwrap();
    drop(stream);
    let mut stream = server.connect().await;
    stream.write_all(b"GET /health/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn upgrades_work_and_stopping_lets_requests_end() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    let upgrade = "GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    let mut said = [0; 12];
    stream.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"HTTP/1.1 101");
    drop(stream);

    let mut stream = server.connect().await;
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.shutdown.cancel();
    let said = rest(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 200 OK") && said.ends_with("done"), "{said}");
    server.task.await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err(), "the door is closed");
}

#[tokio::test]
async fn what_a_proxy_could_read_otherwise_is_refused_and_cut() {
    let server = Server::start().await;
    let then = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";
    for sent in [
        "GET /health/live HTTP/1.1\r\n\r\n",
        "GET /health/live HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "GET /health/live HTTP/1.1\r\nHost: x, y\r\n\r\n",
        "CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let mut stream = server.connect().await;
        stream.write_all(format!("{sent}{then}").as_bytes()).await.unwrap();
        let said = rest(&mut stream).await;
        assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("\"bad_request\""), "{sent:?}: {said}");
        assert_eq!(said.matches("HTTP/1.1").count(), 1, "{sent:?}: {said}");
    }
}
