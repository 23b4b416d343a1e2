//! `multipart/form-data` (RFC 7578) read as a stream, in bounded memory whatever a client sends. Two things the parser
//! beneath leaves to us: it takes all the body has ready into memory, so it is fed one piece at a time and only when it can
//! do nothing with what it has; and it waits for the end of a part's head for ever, so heads are bounded here.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use axum::{
    body::{Body, BodyDataStream, Bytes},
    extract::{FromRequest, Multipart, multipart::Field},
    http::{Request, header},
};
use domain::error::Code;
use futures::Stream;

use crate::{Error, Result, State};

/// Most bytes between the parts of a body: heads, boundaries, a preamble.
const MOST_BETWEEN: usize = 256 * 1024;
/// Times the parser is told to wait before it gets more: it asks twice before it looks for the first boundary, and after
/// that looks at what it has each time.
const LOOKS: usize = 2;
/// Most bytes of a field that is not a file.
const MOST_TEXT: usize = 64 * 1024;

/// The parts of a request's body, one after another.
#[derive(Debug)]
pub(crate) struct Parts {
    multipart: Multipart,
    pace: Arc<Pace>,
}

/// One part. Read it to its end before the next.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    field: Field<'a>,
    pace: Arc<Pace>,
    /// The field's name.
    pub(crate) name: String,
    /// The file's name as sent, exactly; `None` for a field that is no file.
    pub(crate) file_name: Option<String>,
}

impl FromRequest<State> for Parts {
    type Rejection = Error;

    async fn from_request(request: Request<Body>, state: &State) -> Result<Self, Error> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
        if !kind.trim_start().to_ascii_lowercase().starts_with("multipart/form-data") {
            return Err(Error::new(Code::UnsupportedMediaType, "send files as Content-Type: multipart/form-data"));
        }
        let pace = Arc::new(Pace::default());
        let (head, body) = request.into_parts();
        let pieces = Pieces { body: body.into_data_stream(), pace: Arc::clone(&pace) };
        let request = Request::from_parts(head, Body::from_stream(pieces));
        let multipart = Multipart::from_request(request, state).await.map_err(|_| malformed())?;
        Ok(Self { multipart, pace })
    }
}

impl Parts {
    /// The next part; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Part<'_>>> {
        self.pace.step();
        let Some(field) = self.multipart.next_field().await.map_err(|error| broken(&error))? else { return Ok(None) };
        let disposition =
            field.headers().get(header::CONTENT_DISPOSITION).map(axum::http::HeaderValue::as_bytes).unwrap_or_default();
        let Disposition { name, file_name } = Disposition::parse(disposition);
        Ok(Some(Part { field, pace: Arc::clone(&self.pace), name, file_name }))
    }
}

impl Part<'_> {
    /// More of the part's content; `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        self.pace.step();
        self.field.chunk().await.map_err(|error| broken(&error))
    }

    /// The content of a short field.
    pub(crate) async fn text(mut self) -> Result<String> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MOST_TEXT {
                return Err(Error::new(Code::TooLarge, format!("the field {:?} is too long", self.name)));
            }
        }
        String::from_utf8(bytes)
            .map_err(|_| Error::new(Code::BadRequest, format!("the field {:?} is not UTF-8", self.name)))
    }

    /// Reads past the rest of the part; an error once it is longer than `most` bytes.
    pub(crate) async fn skip(&mut self, most: u64) -> Result<()> {
        let mut skipped = 0;
        while let Some(chunk) = self.chunk().await? {
            skipped += chunk.len() as u64;
            if skipped > most {
                return Err(Code::TooLarge.into());
            }
        }
        Ok(())
    }
}

/// A body that cannot be read on: too slow, cut off, or not multipart.
fn broken(error: &(dyn std::error::Error + 'static)) -> Error {
    let refused = Error::body(error);
    if refused.code() == Code::BadRequest { malformed() } else { refused }
}

fn malformed() -> Error {
    Error::new(Code::BadRequest, "the body is not whole multipart/form-data; send it again")
}

/// What the parser's steps and the body's pieces know of each other.
#[derive(Debug, Default)]
struct Pace {
    /// Bytes given since the parser last produced something.
    between: AtomicUsize,
    /// Times the parser asked since then, or since the last piece.
    asked: AtomicUsize,
}

impl Pace {
    /// The parser begins a step: first with what it has.
    fn step(&self) {
        self.between.store(0, Ordering::Relaxed);
        self.asked.store(0, Ordering::Relaxed);
    }
}

/// A body in pieces, each given when the parser is stuck without it.
struct Pieces {
    body: BodyDataStream,
    pace: Arc<Pace>,
}

#[derive(Debug)]
struct EndlessHead;

impl fmt::Display for EndlessHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the head of a part is too long")
    }
}

impl std::error::Error for EndlessHead {}

impl Stream for Pieces {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.pace.asked.fetch_add(1, Ordering::Relaxed) < LOOKS {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if this.pace.between.load(Ordering::Relaxed) > MOST_BETWEEN {
            return Poll::Ready(Some(Err(axum::Error::new(EndlessHead))));
        }
        let piece = ready!(Pin::new(&mut this.body).poll_next(cx));
        if let Some(Ok(bytes)) = &piece {
            this.pace.asked.store(0, Ordering::Relaxed);
            this.pace.between.fetch_add(bytes.len(), Ordering::Relaxed);
        }
        Poll::Ready(piece)
    }
}

/// What a `Content-Disposition` header says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Disposition {
    name: String,
    file_name: Option<String>,
}

impl Disposition {
    /// Reads `form-data; name="…"; filename="…"`. Clients disagree on escapes: `\"` and `\\` are read as RFC 7578 and
    /// curl write them, everything else is kept as sent. `filename*` (RFC 8187) is not of this header but is sent, and
    /// wins. Bytes that are not UTF-8 are read as Latin-1, so no name is refused for its encoding.
    fn parse(header: &[u8]) -> Self {
        let mut found = Self::default();
        let mut extended = None;
        let mut rest = after(header, b';');
        while let Some(equals) = rest.iter().position(|byte| *byte == b'=') {
            let key = rest[..equals].trim_ascii().to_ascii_lowercase();
            let (value, next) = value(&rest[equals + 1..]);
            match key.as_slice() {
                b"name" => found.name = decode(value),
                b"filename" => found.file_name = Some(decode(value)),
                b"filename*" => extended = extended_value(&value),
                _ => {}
            }
            rest = next;
        }
        found.file_name = extended.or(found.file_name);
        found
    }
}

/// What follows the first `byte`; nothing when there is none.
fn after(text: &[u8], byte: u8) -> &[u8] {
    text.iter().position(|b| *b == byte).map_or(&[], |at| &text[at + 1..])
}

/// A parameter's value, and what follows its semicolon.
fn value(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let text = text.trim_ascii_start();
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|byte| *byte == b';').unwrap_or(text.len());
        return (text[..end].trim_ascii().to_vec(), after(text, b';'));
    };
    let mut out = Vec::new();
    let mut bytes = quoted.iter().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        match (byte, bytes.peek()) {
            (b'"', _) => return (out, after(&quoted[at + 1..], b';')),
            (b'\\', Some((_, next @ (b'"' | b'\\')))) => {
                out.push(**next);
                bytes.next();
            }
            _ => out.push(*byte),
        }
    }
    // A browser's name that ends in a backslash looks like an escaped quote.
    if out.pop_if(|last| *last == b'"').is_some() {
        out.push(b'\\');
    }
    (out, &[])
}

fn decode(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|not| not.into_bytes().into_iter().map(char::from).collect())
}

/// `utf-8'en'na%C3%AFve.txt` (RFC 8187 §3.2).
fn extended_value(value: &[u8]) -> Option<String> {
    let mut out = Vec::new();
    let mut rest = after(after(value, b'\''), b'\'');
    while let Some((byte, next)) = rest.split_first() {
        let escaped = if *byte == b'%' { next.get(..2).and_then(|hex| std::str::from_utf8(hex).ok()) } else { None };
        let escaped = escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(escaped.unwrap_or(*byte));
        rest = if escaped.is_some() { &next[2..] } else { next };
    }
    (!out.is_empty()).then(|| decode(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_clients_write_them() {
        for (header, name, file_name) in [
            (&br#"form-data; name="file"; filename="a b.txt""#[..], "file", Some("a b.txt")),
            (br"form-data; filename=plain.txt; name=file", "file", Some("plain.txt")),
            (br#"form-data; name="file"; filename="a;b=\"c\" \\d.txt""#, "file", Some("a;b=\"c\" \\d.txt")),
            (br#"form-data; name="file"; filename="C:\new\text.txt""#, "file", Some("C:\\new\\text.txt")),
            (br#"form-data; name="file"; filename="dir\""#, "file", Some("dir\\")),
            (br#"form-data; name="file"; filename="../../etc/passwd""#, "file", Some("../../etc/passwd")),
            (
                br#"form-data; name="file"; filename="x"; filename*=UTF-8''na%C3%AFve%2.txt"#,
                "file",
                Some("naïve%2.txt"),
            ),
            ("form-data; name=\"файл\"; filename=\"你好.txt\"".as_bytes(), "файл", Some("你好.txt")),
            (b"form-data; name=\"file\"; filename=\"M\xfcller.pdf\"", "file", Some("Müller.pdf")),
            (br#"form-data; name="custodian""#, "custodian", None),
            (br#"form-data; name="file"; filename="""#, "file", Some("")),
            (b"form-data", "", None),
            (b"", "", None),
            (b";;=;=\"", "", None),
        ] {
            let want = Disposition { name: name.to_owned(), file_name: file_name.map(str::to_owned) };
            assert_eq!(Disposition::parse(header), want, "{}", String::from_utf8_lossy(header));
        }
    }
}
