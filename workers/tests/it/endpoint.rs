//! A real HTTP server that speaks the protocol of `/chat/completions`, or fails to, as the test says.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use workers::LlmConfig;

/// What a connection gets.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// An event stream, whole.
    Stream(String),
    /// Bytes as an event stream.
    Bytes(Vec<u8>),
    /// The beginning of a stream with this text, then the connection breaks.
    Cut(String),
    /// This status and nothing else.
    Status(u16),
    /// A page instead of a stream.
    Page(String),
    /// Somewhere else.
    Redirect(String),
    /// Nothing, for ever.
    Silence,
    /// Words, for ever.
    Endless,
    /// One line, for ever.
    EndlessLine,
}

pub(crate) struct Endpoint {
    address: SocketAddr,
    bodies: Arc<Mutex<Vec<String>>>,
}

/// One event with a piece of text.
fn event(text: &str) -> String {
    format!("data: {}\n\n", serde_json::json!({ "choices": [{ "index": 0, "delta": { "content": text } }] }))
}

/// A good stream that says `text` in small pieces.
pub(crate) fn said(text: &str) -> Reply {
    let letters: Vec<char> = text.chars().collect();
    let mut stream = String::from(": hello\n\n");
    for piece in letters.chunks(7) {
        stream.push_str(&event(&piece.iter().collect::<String>()));
    }
    stream.push_str("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
    Reply::Stream(stream)
}

impl Endpoint {
    /// Serves `replies` in order, the last for ever.
    pub(crate) async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bodies: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&bodies);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (replies, seen) = (replies.clone(), Arc::clone(&seen));
                tokio::spawn(async move {
                    // A client that hangs up is part of the test.
                    let _ = serve(stream, &replies, &seen).await;
                });
            }
        });
        Self { address, bodies }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub(crate) fn config(&self) -> LlmConfig {
        LlmConfig { base_url: self.url(), model: "test-model".into(), api_key: "key".into(), ..LlmConfig::default() }
    }

    pub(crate) fn requests(&self) -> usize {
        self.bodies.lock().unwrap().len()
    }

    pub(crate) fn last_request(&self) -> String {
        self.bodies.lock().unwrap().last().cloned().unwrap()
    }
}

async fn serve(mut stream: TcpStream, replies: &[Reply], seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let body = request(&mut stream).await?;
    let at = {
        let mut seen = seen.lock().unwrap();
        seen.push(body);
        seen.len() - 1
    };
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    match &replies[at.min(replies.len() - 1)] {
        Reply::Stream(text) => stream.write_all(format!("{head}{text}").as_bytes()).await?,
        Reply::Bytes(bytes) => {
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(b"data: ").await?;
            stream.write_all(bytes).await?;
            stream.write_all(b"\n\n").await?;
        }
        Reply::Cut(text) => {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 100000\r\n\r\n";
            stream.write_all(format!("{head}{}", event(text)).as_bytes()).await?;
        }
        Reply::Status(status) => {
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
        }
        Reply::Page(page) => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n", page.len());
            stream.write_all(format!("{head}{page}").as_bytes()).await?;
        }
        Reply::Redirect(url) => {
            let head = format!("HTTP/1.1 307 X\r\nlocation: {url}/chat/completions\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
        }
        Reply::Silence => std::future::pending::<()>().await,
        Reply::Endless => {
            stream.write_all(head.as_bytes()).await?;
            loop {
                stream.write_all(event("and so on ").as_bytes()).await?;
            }
        }
        Reply::EndlessLine => {
            stream.write_all(head.as_bytes()).await?;
            loop {
                stream.write_all(&[b'x'; 4_096]).await?;
            }
        }
    }
    stream.shutdown().await
}

/// The body of one request.
async fn request(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4_096];
        let read = stream.read(&mut piece).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0_usize) {
            return Ok(body.to_owned());
        }
    }
}
