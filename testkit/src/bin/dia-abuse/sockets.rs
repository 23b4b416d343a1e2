//! `WebSockets`: foreign pages, no proof or a wrong one, frames that no client sends, floods, and ids of what is another's.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::future::join_all;
use serde_json::{Value, json};
use testkit::machine;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    ground::Ground,
    verdict::Class,
    wire::{connect, exchange, find, listen},
};

const PATHS: [&str; 2] = ["/api/v1/ws/chat", "/api/v1/ws/database-status"];
/// Pages that are not dia's own, to which it is `dia.example`.
const ORIGINS: [&str; 15] = [
    "https://evil.example",
    "null",
    "",
    "https://dia.example.evil",
    "https://evil.dia.example",
    "https://dia.example:444",
    "file://",
    "https://dia.example@evil.example",
    "https://evil.example/dia.example",
    "dia.example",
    "https://dia.example https://evil.example",
    "https://dia.example\r\nOrigin: https://evil.example",
    "chrome-extension://dia.example.evil",
    "https://dia%2eexample",
    "https://*",
];
/// Sockets that never say who they are.
const SILENT: usize = 300;
/// The server gives them five seconds.
const AUTHENTICATE: Duration = Duration::from_secs(9);
const SILENCE: Duration = Duration::from_secs(8);
/// Between two looks whether a socket has ended.
const PAUSE: Duration = Duration::from_millis(30);
/// Kinds of frames (RFC 6455 §5.2).
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;

/// A handshake with further lines in its head.
fn handshake(path: &str, lines: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: dia.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
    )
    .into_bytes()
}

/// A frame of a client: its first byte, and a payload under a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | u8::try_from(length).unwrap_or(0)),
        length @ 126..65_536 => {
            frame.push(0x80 | 0x7e);
            frame.extend(u16::try_from(length).unwrap_or(0).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 0x7f);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

fn text(message: &Value) -> Vec<u8> {
    frame(0x80 | TEXT, message.to_string().as_bytes())
}

/// What a server said on a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    /// Its messages.
    texts: Vec<String>,
    /// The code it closed with.
    close: Option<u16>,
    /// The connection ended.
    ended: bool,
}

/// Reads frames of a server, which are never masked.
fn parse(mut bytes: &[u8], ended: bool) -> Said {
    let mut said = Said { texts: Vec::new(), close: None, ended };
    while let [first, second, rest @ ..] = bytes {
        let (length, rest) = match (second & 0x7f, rest) {
            (126, [a, b, rest @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), rest),
            (127, _) => break,
            (length, rest) => (usize::from(length), rest),
        };
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        match first & 0x0f {
            TEXT => said.texts.push(String::from_utf8_lossy(payload).into_owned()),
            CLOSE => said.close = payload.first_chunk().map(|code| u16::from_be_bytes(*code)),
            _ => {}
        }
        bytes = rest;
    }
    said
}

/// Opens a socket; fails when the server does not upgrade.
async fn open(ground: &Ground, path: &str, lines: &str) -> Result<TcpStream> {
    let mut stream = connect(&ground.server.address).await?;
    stream.write_all(&handshake(path, lines)).await?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while find(&head, b"\r\n\r\n").is_none() {
        if timeout(Duration::from_secs(10), stream.read(&mut byte)).await?? == 0 {
            bail!("no upgrade: {}", String::from_utf8_lossy(&head));
        }
        head.push(byte[0]);
    }
    if !head.starts_with(b"HTTP/1.1 101") {
        bail!("no upgrade: {}", String::from_utf8_lossy(&head));
    }
    Ok(stream)
}

/// Sends on an open socket and hears what follows.
async fn speak(stream: &mut TcpStream, frames: &[u8], silence: Duration) -> Said {
    let _ = timeout(Duration::from_secs(20), stream.write_all(frames)).await;
    let (began, mut bytes) = (Instant::now(), Vec::new());
    loop {
        let heard = listen(stream, PAUSE).await;
        bytes.extend(heard.bytes);
        let said = parse(&bytes, heard.closed);
        if said.ended || said.close.is_some() || began.elapsed() > silence {
            return said;
        }
    }
}

/// What must not pass ends the socket, and nothing is said before.
fn judge(said: &Said, codes: &[u16]) -> Result<(), String> {
    if !said.ended && said.close.is_none() {
        return Err("the socket stays open".to_owned());
    }
    if !said.texts.is_empty() {
        return Err(format!("something was said: {:?}", said.texts));
    }
    // A connection that simply ends is an end as well.
    match said.close {
        Some(code) if !codes.contains(&code) => Err(format!("it closed with {code}, not with {codes:?}")),
        _ => Ok(()),
    }
}

/// Runs the class.
pub(crate) async fn attack(ground: &Ground) -> Result<Class> {
    let mut class = handshakes(ground).await?;
    class.absorb(proofs(ground).await?);
    class.absorb(frames(ground).await?);
    class.absorb(ids(ground).await?);
    class.absorb(floods(ground).await?);
    Ok(class)
}

/// The status and head of the answer to a handshake.
async fn knock(ground: &Ground, path: &str, lines: &str) -> Result<(u16, String)> {
    let heard = exchange(&ground.server.address, &handshake(path, lines), Duration::from_millis(700)).await?;
    Ok(heard.responses().first().map(|answer| (answer.status, answer.head.clone())).unwrap_or_default())
}

/// Pages of others, their tricks to look like dia's own, and compression, under which frames could be bombs.
async fn handshakes(ground: &Ground) -> Result<Class> {
    let mut class = Class::default();
    let bearer = format!("Authorization: Bearer {}\r\n", ground.ann.token);
    for path in PATHS {
        let lines = ORIGINS.iter().flat_map(|origin| {
            let line = format!("Origin: {origin}\r\n");
            [line.clone(), line + &bearer]
        });
        let knocks = lines.map(|lines| async move { (knock(ground, path, &lines).await, lines) });
        for (answer, lines) in join_all(knocks).await {
            let (status, _) = answer?;
            let page = lines.lines().next().unwrap_or("").to_owned();
            class.judge((400..500).contains(&status), || format!("a page of {page:?} opened {path}: {status}"));
        }
        let (status, _) = knock(ground, path, "Origin: https://dia.example\r\n").await?;
        class.judge(status == 101, || format!("dia's own page cannot open {path}: {status}"));
        for extension in ["permessage-deflate", "permessage-deflate; client_max_window_bits", "x-webkit-deflate-frame"]
        {
            let (status, head) = knock(ground, path, &format!("Sec-WebSocket-Extensions: {extension}\r\n")).await?;
            let agreed = status != 101 || head.contains("sec-websocket-extensions");
            class.judge(!agreed, || format!("{extension} was agreed on: {head}"));
        }
        let old = String::from_utf8_lossy(&handshake(path, "")).replace("Version: 13", "Version: 12");
        let old = exchange(&ground.server.address, old.as_bytes(), Duration::from_millis(700)).await?;
        let status = old.responses().first().map_or(0, |answer| answer.status);
        class.judge((400..500).contains(&status), || format!("version 12 gave {status}"));
    }
    Ok(class)
}

/// Tokens in the wrong place, wrong tokens, and none.
async fn proofs(ground: &Ground) -> Result<Class> {
    let mut class = Class::default();
    let good = &ground.ann.token;
    let subscribe = json!({ "type": "subscribe", "database_id": ground.thing("database") });
    for path in PATHS {
        for (what, place) in [("access_token", "access_token="), ("token", "token=")] {
            let mut stream = open(ground, &format!("{path}?{place}{good}"), "").await?;
            let said = speak(&mut stream, &text(&subscribe), SILENCE).await;
            class.hear(&format!("{path}: the token as {what} in the URL"), judge(&said, &[4401]));
        }
        for lines in [format!("Cookie: access_token={good}\r\n"), format!("Sec-WebSocket-Protocol: bearer, {good}\r\n")]
        {
            let Ok(mut stream) = open(ground, path, &lines).await else {
                class.judge(true, String::new);
                continue;
            };
            let said = speak(&mut stream, &text(&subscribe), SILENCE).await;
            class.hear(&format!("{path}: the token in {}", &lines[..20]), judge(&said, &[4401]));
        }
        let wrong = [
            json!({ "type": "authenticate", "token": "" }),
            json!({ "type": "authenticate", "token": format!("{good}x") }),
            json!({ "type": "authenticate", "token": ground.ann.refresh }),
            json!({ "type": "authenticate", "token": [good] }),
            json!({ "type": "authenticate", "token": good, "admin": true }),
            json!({ "type": "Authenticate", "token": good }),
            json!({ "type": "authenticate" }),
            json!({ "type": "ping" }),
            json!([good]),
            json!(good),
            Value::Null,
            subscribe.clone(),
        ];
        for message in wrong {
            let mut stream = open(ground, path, "").await?;
            let said = speak(&mut stream, &[text(&message), text(&subscribe)].concat(), SILENCE).await;
            let name: String = message.to_string().chars().take(60).collect();
            class.hear(&format!("{path}: first {name}"), judge(&said, &[4401]));
        }
    }
    Ok(class)
}

/// A socket that has proved who is behind it.
async fn signed_in(ground: &Ground, path: &str) -> Result<TcpStream> {
    open(ground, path, &format!("Authorization: Bearer {}\r\n", ground.ann.token)).await
}

/// Frames that break the protocol, or the measure; the first byte holds FIN, three reserved bits and the kind.
async fn frames(ground: &Ground) -> Result<Class> {
    let mut class = Class::default();
    let long = vec![b'a'; 40_000];
    let unmasked = [&[0x80 | TEXT, 2][..], b"{}"].concat();
    let huge = [&[0x80 | TEXT, 0xff][..], &u64::MAX.to_be_bytes(), &[0; 4]].concat();
    let promised = [&[0x80 | TEXT, 0xff][..], &(1_u64 << 40).to_be_bytes(), &[0; 4], b"abc"].concat();
    let pieces =
        |first: u8, count: usize| [frame(first, &long[..1_000]), frame(0, &long[..1_000]).repeat(count)].concat();
    let attacks = [
        ("a text of 40 kB", frame(0x80 | TEXT, &long)),
        ("a text of 40 kB in pieces", pieces(TEXT, 40)),
        ("pieces that never end", pieces(TEXT, 2_000)),
        ("empty pieces that never end", [frame(TEXT, b""), frame(0, b"").repeat(50_000), frame(0x80, b"x")].concat()),
        ("a length of 2^64", huge),
        ("a length of 2^40", promised),
        ("binary", frame(0x80 | BINARY, b"{}")),
        ("no UTF-8", frame(0x80 | TEXT, b"{\"type\": \"\xff\xfe\"}")),
        ("half a letter", frame(0x80 | TEXT, b"\xe2\x82")),
        ("a surrogate", frame(0x80 | TEXT, b"\xed\xa0\x80")),
        ("no mask", unmasked),
        ("a reserved bit, as of compression", frame(0xc0 | TEXT, b"\xaa\x56\x2a\x05\x00")),
        ("all reserved bits", frame(0xf0 | TEXT, b"{}")),
        ("an unknown kind", frame(0x80 | 3, b"{}")),
        ("an unknown control frame", frame(0x80 | 0xb, b"")),
        ("a continuation of nothing", frame(0x80, b"{}")),
        ("a text within a text", [frame(TEXT, b"{"), frame(0x80 | TEXT, b"{}")].concat()),
        ("a long ping", frame(0x80 | PING, &long[..200])),
        ("a ping in pieces", frame(PING, b"a")),
        ("a farewell of one byte", frame(0x80 | CLOSE, b"a")),
        ("a farewell of a reserved code", frame(0x80 | CLOSE, &1005_u16.to_be_bytes())),
        ("no JSON", frame(0x80 | TEXT, b"subscribe")),
        ("lists in lists", frame(0x80 | TEXT, "[".repeat(10_000).as_bytes())),
        ("an unknown command", text(&json!({ "type": "shutdown" }))),
        (
            "an unknown field",
            text(
                &json!({ "type": "subscribe", "database_id": domain::ids::fresh(), "conversation_id": domain::ids::fresh(), "x": 1 }),
            ),
        ),
        ("no id", text(&json!({ "type": "subscribe", "database_id": "' or 1=1 --", "conversation_id": "../.." }))),
    ];
    for path in PATHS {
        let tries = attacks.iter().map(|(what, bytes)| async move {
            let mut stream = signed_in(ground, path).await?;
            Ok::<_, anyhow::Error>((what, speak(&mut stream, bytes, SILENCE).await))
        });
        for tried in join_all(tries).await {
            let (what, said) = tried?;
            class.hear(&format!("{path}: {what}"), judge(&said, &[1000, 1002, 1003, 1007, 1009, 4400]));
        }
    }
    Ok(class)
}

/// What is said of another's thing is what is said of nothing.
async fn ids(ground: &Ground) -> Result<Class> {
    let mut class = Class::default();
    let bearer = format!("Authorization: Bearer {}\r\n", ground.bob.token);
    let ask = async |path: &str, message: Value| -> Result<Said> {
        let mut stream = open(ground, path, &bearer).await?;
        Ok(speak(&mut stream, &text(&message), Duration::from_millis(800)).await)
    };
    let fresh = || domain::ids::fresh().to_string();
    let subscribe = |name: &str, id: &str| json!({ "type": "subscribe", name: id });
    for kind in ["database", "case", "batch", "document"] {
        let foreign = ask(PATHS[1], subscribe("database_id", ground.thing(kind))).await?;
        let missing = ask(PATHS[1], subscribe("database_id", &fresh())).await?;
        class.judge(foreign == missing, || format!("a {kind} of another's: {foreign:?}, of nobody's: {missing:?}"));
    }
    for kind in ["conversation", "answer", "case"] {
        let foreign = ask(PATHS[0], subscribe("conversation_id", ground.thing(kind))).await?;
        let missing = ask(PATHS[0], subscribe("conversation_id", &fresh())).await?;
        class.judge(foreign == missing, || format!("a {kind} of another's: {foreign:?}, of nobody's: {missing:?}"));
    }
    let own = ask(PATHS[1], subscribe("database_id", &ground.others["database"])).await?;
    class.judge(!own.texts.is_empty() && own.close.is_none(), || format!("an own database is not shown: {own:?}"));
    Ok(class)
}

/// Sockets that say nothing, and one that says too much.
async fn floods(ground: &Ground) -> Result<Class> {
    let mut class = Class::default();
    let process = ground.server.process().unwrap_or(0);
    let silent = async |number: usize| -> Result<Said> {
        let mut stream = open(ground, PATHS[number % 2], "").await?;
        Ok(speak(&mut stream, &[], AUTHENTICATE).await)
    };
    for said in join_all((0..SILENT).map(silent)).await {
        class.hear("a socket that never says who it is", judge(&said?, &[4401]));
    }
    let still = ground.ann.get("/auth/me").await?;
    class.judge(still.status == 200, || "nobody else is answered".to_owned());
    for message in [json!({ "type": "ping" }), json!({ "type": "subscribe", "database_id": domain::ids::fresh() })] {
        let before = machine::resident(process);
        let mut stream = signed_in(ground, PATHS[1]).await?;
        // Nobody reads what it says: it must not pile up.
        let flood = text(&message).repeat(20_000);
        let _ = timeout(Duration::from_secs(3), stream.write_all(&flood)).await;
        let began = Instant::now();
        let answer = ground.ann.get("/auth/me").await?;
        class.judge(answer.status == 200 && began.elapsed() < Duration::from_secs(5), || {
            format!("a flood of {message} shuts others out")
        });
        let grown = machine::resident(process).saturating_sub(before) >> 20;
        class.judge(grown < 100, || format!("a flood of {message} took {grown} MB"));
    }
    Ok(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_stays_speaks_or_ends_wrongly_is_counted() {
        let hello = parse(b"\x81\x02hi\x88\x02\x11\x31", true);
        assert_eq!((hello.texts.clone(), hello.close), (vec!["hi".to_owned()], Some(4401)));
        assert!(judge(&hello, &[4401]).is_err());
        assert!(judge(&parse(b"\x88\x02\x11\x31", true), &[4401]).is_ok() && judge(&parse(b"", true), &[4401]).is_ok());
        assert!(
            judge(&parse(b"\x88\x02\x03\xf3", true), &[4401]).is_err() && judge(&parse(b"", false), &[4401]).is_err()
        );
    }
}
