//! Bytes on a connection, for what no client would send.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// What came back on a connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard {
    /// All of it.
    pub(crate) bytes: Vec<u8>,
    /// Whether the server closed the connection.
    pub(crate) closed: bool,
}

/// One answer among the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Lower case, with the status line.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// A connection to `http://HOST:PORT`.
pub(crate) async fn connect(address: &str) -> Result<TcpStream> {
    let host = address.strip_prefix("http://").unwrap_or(address);
    timeout(Duration::from_secs(10), TcpStream::connect(host)).await?.with_context(|| format!("cannot reach {host}"))
}

/// Sends bytes and listens until the server closes or says nothing for `silence`.
pub(crate) async fn exchange(address: &str, bytes: &[u8], silence: Duration) -> Result<Heard> {
    let mut stream = connect(address).await?;
    // A server that has heard enough closes before it has read everything.
    let _ = timeout(Duration::from_secs(10), stream.write_all(bytes)).await;
    Ok(listen(&mut stream, silence).await)
}

/// Listens until the server closes or says nothing for `silence`.
pub(crate) async fn listen(stream: &mut TcpStream, silence: Duration) -> Heard {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 16 * 1024]);
    loop {
        match timeout(silence, stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return Heard { bytes, closed: true },
            Ok(Ok(read)) => bytes.extend_from_slice(&buffer[..read]),
            Err(_) => return Heard { bytes, closed: false },
        }
    }
}

impl Heard {
    /// The answers, one after another, as their heads say how long they are.
    pub(crate) fn responses(&self) -> Vec<Response> {
        let (mut rest, mut found) = (&self.bytes[..], Vec::new());
        while let Some(end) = find(rest, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&rest[..end]).to_lowercase();
            let Some(status) = head.strip_prefix("http/1.").and_then(|line| line.get(2..5)?.parse().ok()) else {
                break;
            };
            let field = |name: &str| {
                let line = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                line.map(str::trim).map(ToOwned::to_owned)
            };
            let body = &rest[end + 4..];
            let length = match field("content-length").and_then(|length| length.parse::<usize>().ok()) {
                Some(length) => length.min(body.len()),
                None if field("transfer-encoding").is_some() => {
                    find(body, b"0\r\n\r\n").map_or(body.len(), |end| end + 5)
                }
                None => 0,
            };
            found.push(Response { status, head, body: body[..length].to_vec() });
            rest = &body[length..];
        }
        found
    }

    /// What it was, for people.
    pub(crate) fn words(&self) -> String {
        let all: Vec<u16> = self.responses().iter().map(|response| response.status).collect();
        format!("{} bytes, answers {all:?}, closed {}", self.bytes.len(), self.closed)
    }
}

/// Where `part` begins in `whole`.
pub(crate) fn find(whole: &[u8], part: &[u8]) -> Option<usize> {
    whole.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let bytes = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nnayHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
            1\r\nx\r\n0\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
        let heard = Heard { bytes: bytes.to_vec(), ..Heard::default() };
        let statuses: Vec<u16> = heard.responses().iter().map(|response| response.status).collect();
        assert_eq!(statuses, [400, 200, 204]);
        assert_eq!(heard.responses()[0].body, b"nay");
    }
}
