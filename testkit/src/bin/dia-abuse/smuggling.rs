//! Requests that two readers would cut in different places. Each comes with a second one hidden in it, which asks under an id of its
//! own: whatever the server makes of the bytes, the hidden request must never be answered where a reader before it would have seen one.

use std::time::Duration;

use anyhow::Result;
use futures::{StreamExt as _, stream};

use crate::{
    ground::Ground,
    verdict::Class,
    wire::{Heard, exchange, find},
};

/// The id of the hidden request, which its answer would bear.
const HIDDEN: &str = "5ec2e700-0000-4000-8000-00000000beef";
/// How long the server may think.
const SILENCE: Duration = Duration::from_millis(1_500);

/// What bytes mean by the standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    /// One request at most.
    One,
    /// No request: it must be refused, or cut.
    None,
    /// One good request, which must be answered.
    Good,
}

fn judge(heard: &Heard, means: Means) -> Result<(), String> {
    let answers = heard.responses();
    if find(&heard.bytes, HIDDEN.as_bytes()).is_some() {
        return Err(format!("the hidden request was answered ({})", heard.words()));
    }
    let injected = answers.iter().any(|answer| answer.head.lines().any(|line| line.starts_with("x-injected")));
    if injected {
        return Err("a header was injected into the answer".to_owned());
    }
    if answers.len() > 1 {
        return Err(format!("one request got {}", heard.words()));
    }
    if answers.iter().any(|answer| answer.status >= 500) {
        return Err(format!("the server stumbles: {}", heard.words()));
    }
    let good = answers.first().is_some_and(|answer| answer.status < 300);
    match means {
        Means::None if good => Err(format!("it was taken as a request: {}", heard.words())),
        Means::Good if !good => Err(format!("a good request was not answered: {}", heard.words())),
        _ => Ok(()),
    }
}

fn hidden() -> String {
    format!("GET /health/live HTTP/1.1\r\nHost: x\r\nX-Request-Id: {HIDDEN}\r\n\r\n")
}

/// A POST with these lines in its head and this body; the hidden request follows or lies in it as `body` says.
fn post(lines: &str, body: &str) -> Vec<u8> {
    let head = "POST /api/v1/auth/refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    format!("{head}{lines}\r\n{body}").into_bytes()
}

fn get(lines: &str) -> Vec<u8> {
    format!("GET /health/live HTTP/1.1\r\nHost: x\r\n{lines}\r\n").into_bytes()
}

/// A body whose length is told twice: by its chunks and by Content-Length, and each leaves the hidden request elsewhere.
fn lengths() -> Vec<(String, Vec<u8>, Means)> {
    let hidden = hidden();
    let chunked = format!("0\r\n\r\n{hidden}");
    let long = chunked.len();
    let mut made = Vec::new();
    for lines in [
        format!("Content-Length: {long}\r\nTransfer-Encoding: chunked\r\n"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {long}\r\n"),
        format!("Content-Length: 5\r\nTransfer-Encoding: chunked\r\nContent-Length: {long}\r\n"),
    ] {
        made.push((format!("both lengths: {lines:?}"), post(&lines, &chunked), Means::One));
    }
    for encoding in [
        "xchunked",
        " chunked",
        "chunked ",
        "Chunked",
        "\tchunked",
        "chunked, identity",
        "identity, chunked",
        "chunked, chunked",
        "identity",
        "gzip, chunked",
        "chunked;q=1",
        "\"chunked\"",
        "chunked\u{b}",
        "chunk",
        "\u{b}chunked",
        "chunked,",
        ",chunked",
    ] {
        let lines = format!("Content-Length: {long}\r\nTransfer-Encoding: {encoding}\r\n");
        made.push((format!("Transfer-Encoding {encoding:?} beside a length"), post(&lines, &chunked), Means::One));
    }
    for lines in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "X: y\nTransfer-Encoding: chunked\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "Transfer_Encoding: chunked\r\n",
        "Transfer-Encoding\0: chunked\r\n",
        "\u{b}Transfer-Encoding: chunked\r\n",
    ] {
        let lines = format!("Content-Length: {long}\r\n{lines}");
        made.push((format!("disguised: {lines:?}"), post(&lines, &chunked), Means::One));
    }
    for length in [
        "+5",
        "-5",
        " 5 5",
        "5, 5",
        "5,6",
        "0x5",
        "5.0",
        "05e0",
        "5;5",
        "\"5\"",
        "٥",
        "5\u{b}",
        "",
        "18446744073709551621",
        "99999999999999999999",
        "5\r\nContent-Length: 6",
        "6\r\nContent-Length: 5",
        "0\r\nContent-Length: 5",
    ] {
        let lines = format!("Content-Length: {length}\r\n");
        made.push((format!("Content-Length {length:?}"), post(&lines, &format!("12345{hidden}")), Means::None));
    }
    made
}

/// Chunks that are none, or that end elsewhere than they say.
fn chunks() -> Vec<(String, Vec<u8>, Means)> {
    let hidden = hidden();
    let lines = "Transfer-Encoding: chunked\r\n";
    let mut made = Vec::new();
    for begin in [
        "0x5\r\n12345\r\n",
        "+5\r\n12345\r\n",
        "-5\r\n12345\r\n",
        "5 5\r\n12345\r\n",
        "FFFFFFFFFFFFFFFFF\r\n12345\r\n",
        "g\r\n",
        "10000000000000005\r\n12345\r\n",
        "5\n12345\n0\n\n",
        "5\r12345\r",
        "5\r\n1234567\r\n",
        "\r\n",
        "5\0\r\n12345\r\n",
        "5;\n12345\r\n0\r\n\r\n",
        "5\r\n12345XX0\r\n\r\n",
    ] {
        made.push((format!("chunk {begin:?}"), post(lines, &format!("{begin}0\r\n\r\n{hidden}")), Means::None));
    }
    let extension = format!("1;{}\r\n1\r\n", "x".repeat(100_000));
    made.push(("an extension of 100 kB".to_owned(), post(lines, &format!("{extension}0\r\n\r\n")), Means::None));
    let many = "1;a=b\r\n1\r\n".repeat(20_000);
    made.push(("20,000 extensions".to_owned(), post(lines, &format!("{many}0\r\n\r\n")), Means::None));
    let trailers = format!("0\r\n{}\r\n", "X-T: y\r\n".repeat(5_000));
    made.push(("5,000 trailers".to_owned(), post(lines, &trailers), Means::None));
    let trailer = format!("0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nX-Request-Id: {HIDDEN}\r\n\r\n");
    made.push(("lengths in the trailer".to_owned(), post(lines, &trailer), Means::None));
    made
}

/// Lines that are cut, folded, or hold what no line may hold.
fn lines() -> Vec<(String, Vec<u8>, Means)> {
    let hidden = hidden();
    let mut made = Vec::new();
    for lines in [
        "X: a\r\n folded\r\n",
        "X: a\r\n\tfolded\r\n",
        "X : a\r\n",
        "X\0: a\r\n",
        "X: a\0b\r\n",
        ": a\r\n",
        "X\r\n",
        "X Y: a\r\n",
        "X: a\rX-Injected: b\r\n",
        "(X): a\r\n",
        "X\u{7f}: a\r\n",
        "X: \u{7f}\r\n",
        " X: a\r\n",
        "\r X: a\r\n",
    ] {
        made.push((format!("line {lines:?}"), get(lines), Means::None));
    }
    for (what, bytes, means) in [
        ("HTTP/0.9", "GET /health/live\r\n\r\n".to_owned(), Means::None),
        ("HTTP/0.9 with a hidden request", format!("GET /health/live\r\n{hidden}"), Means::None),
        ("HTTP/1.2", "GET /health/live HTTP/1.2\r\nHost: x\r\n\r\n".to_owned(), Means::None),
        ("HTTP/2.0 by name", "GET /health/live HTTP/2.0\r\nHost: x\r\n\r\n".to_owned(), Means::None),
        ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), Means::None),
        ("lower case http", "GET /health/live http/1.1\r\nHost: x\r\n\r\n".to_owned(), Means::None),
        (
            "HTTP/1.0 in chunks",
            format!("POST /api/v1/auth/refresh HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
            Means::None,
        ),
        ("two blanks", "GET  /health/live HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), Means::None),
        ("a blank in the path", "GET /health/live HTTP/1.1 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), Means::None),
        ("a tab for a blank", "GET\t/health/live\tHTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), Means::None),
        ("NUL in the path", "GET /health/live\0 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), Means::None),
        ("CR in the path", "GET /health/live\rX-Injected: y HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), Means::None),
        ("bytes of Unicode in the path", "GET /health/live\u{131} HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), Means::None),
        ("no path", "GET HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), Means::None),
        ("no method", " /health/live HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), Means::None),
        ("a method with a colon", "G:T /health/live HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), Means::None),
        ("TRACE", "TRACE /health/live HTTP/1.1\r\nHost: x\r\nX-Injected: y\r\n\r\n".to_owned(), Means::None),
        ("CONNECT", format!("CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n{hidden}"), Means::None),
        ("two hosts", "GET /health/live HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n".to_owned(), Means::None),
        ("no host", "GET /health/live HTTP/1.1\r\n\r\n".to_owned(), Means::None),
        ("hosts in a list", "GET /health/live HTTP/1.1\r\nHost: x, y\r\n\r\n".to_owned(), Means::None),
        ("a host with a path", "GET /health/live HTTP/1.1\r\nHost: x/y\r\n\r\n".to_owned(), Means::None),
        ("a host with a name", "GET /health/live HTTP/1.1\r\nHost: a@x\r\n\r\n".to_owned(), Means::None),
        ("an absolute form", "GET http://x/health/live HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), Means::One),
        (
            "an absolute form of another host",
            "GET http://y/health/live HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            Means::One,
        ),
        ("an absolute form of a scheme", "GET file:///etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), Means::None),
        ("bare line feeds", "GET /health/live HTTP/1.1\nHost: x\n\n".to_owned(), Means::One),
        ("a good request", "GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(), Means::Good),
    ] {
        made.push((what.to_owned(), bytes.into_bytes(), means));
    }
    // A body that a GET does not announce is the next request to one reader and nothing to another; with a length it is a body.
    let body = format!("Content-Length: {}\r\n", hidden.len());
    made.push(("a GET with a body".to_owned(), [get(&body), hidden.clone().into_bytes()].concat(), Means::One));
    let upgrade = format!(
        "GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\nContent-Length: {}\r\n\r\n{hidden}",
        hidden.len()
    );
    made.push(("an upgrade to h2c".to_owned(), upgrade.into_bytes(), Means::One));
    let hop = format!(
        "GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close, Content-Length\r\nContent-Length: {}\r\n\r\n{hidden}",
        hidden.len()
    );
    made.push(("a length named in Connection".to_owned(), hop.into_bytes(), Means::One));
    made
}

/// Heads beyond every measure, and values that come back in answers.
fn heads() -> Vec<(String, Vec<u8>, Means)> {
    let mut made = vec![
        ("a header of 2 MB".to_owned(), get(&format!("X: {}\r\n", "a".repeat(2_000_000))), Means::None),
        ("a name of 100 kB".to_owned(), get(&format!("{}: a\r\n", "X".repeat(100_000))), Means::None),
        ("65 headers".to_owned(), get(&(0..65).map(|n| format!("X-{n}: a\r\n")).collect::<String>()), Means::None),
        ("10,000 headers".to_owned(), get(&"X: a\r\n".repeat(10_000)), Means::None),
        (
            "a path of 100 kB".to_owned(),
            format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(100_000)).into_bytes(),
            Means::None,
        ),
        ("noise".to_owned(), (0..=255).cycle().take(10_000).collect(), Means::None),
        ("a greeting of TLS".to_owned(), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(40), Means::None),
    ];
    for value in [
        "a\r\nX-Injected: b",
        "a%0d%0aX-Injected:%20b",
        "a\u{560a}X-Injected: b",
        "a\nX-Injected: b",
        "a\u{85}X-Injected: b",
    ] {
        let lines = format!("X-Request-Id: {value}\r\nIdempotency-Key: {value}\r\nOrigin: {value}\r\n");
        made.push((format!("echoed {value:?}"), get(&lines), Means::One));
    }
    made
}

/// Runs the class.
pub(crate) async fn attack(ground: &Ground) -> Result<Class> {
    let mut class = Class::default();
    let address = &ground.server.address;
    let all = [lengths(), chunks(), lines(), heads()].concat();
    let mut heard = stream::iter(all)
        .map(|(what, bytes, means)| async move { (what, exchange(address, &bytes, SILENCE).await, means) })
        .buffer_unordered(16);
    while let Some((what, heard, means)) = heard.next().await {
        class.hear(&what, judge(&heard?, means));
    }
    // Two requests that are two get two answers: the judge would hear a second one.
    let twice = [get(""), hidden().into_bytes()].concat();
    let heard = exchange(address, &twice, SILENCE).await?;
    class.judge(judge(&heard, Means::One).is_err(), || {
        "a second request is not heard: the attacks prove nothing".to_owned()
    });
    Ok(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_answer_an_injected_header_and_a_taken_request_are_counted() {
        let heard = |text: &str| Heard { bytes: text.as_bytes().to_vec(), ..Heard::default() };
        let (one, no) =
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        assert!(judge(&heard(one), Means::Good).is_ok() && judge(&heard(no), Means::None).is_ok());
        assert!(judge(&heard(""), Means::None).is_ok() && judge(&heard(""), Means::Good).is_err());
        assert!(judge(&heard(&one.repeat(2)), Means::One).is_err());
        assert!(judge(&heard(one), Means::None).is_err());
        assert!(judge(&heard(&format!("HTTP/1.1 200 OK\r\nx-request-id: {HIDDEN}\r\n\r\n")), Means::One).is_err());
        assert!(judge(&heard("HTTP/1.1 200 OK\r\nX-Injected: b\r\n\r\n"), Means::One).is_err());
        assert!(judge(&heard("HTTP/1.1 500 No\r\n\r\n"), Means::One).is_err());
    }
}
