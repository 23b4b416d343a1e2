//! Too much, too deep and too slow. Each is refused or cut in its time, while everybody else is answered and memory stays bounded.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use futures::future::join_all;
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use testkit::machine;
use tokio::{
    io::AsyncWriteExt as _,
    sync::Mutex,
    time::{Instant, sleep, timeout},
};

use crate::{
    caller::{Answer, hear},
    ground::Ground,
    verdict::Class,
    wire::{connect, listen},
};

/// What the server of the ground gives a head and a body, and what it may take to notice.
const TIME: Duration = Duration::from_secs(3);
const SLACK: Duration = Duration::from_secs(4);
/// Connections that dawdle at once.
const DAWDLERS: usize = 200;
/// The longest that anybody else may wait for an answer meanwhile.
const WAIT: Duration = Duration::from_secs(2);
/// More resident memory than this the server must not have, in megabytes.
const MEMORY: u64 = 640;

/// A refusal by name, with a status among those that fit.
fn judge(answer: &Answer, statuses: &[u16]) -> Result<(), String> {
    if !statuses.contains(&answer.status) {
        return Err(format!("{} instead of {statuses:?}", answer.words()));
    }
    Ok(())
}

/// Runs the class.
pub(crate) async fn attack(ground: &Ground) -> Result<Class> {
    let process = ground.server.process().context("the server is gone")?;
    let before = machine::resident(process) >> 20;
    let slowest = Arc::new(Mutex::new(Duration::ZERO));
    let others = async {
        loop {
            let began = Instant::now();
            let answered = timeout(Duration::from_secs(20), ground.bob.get("/auth/me")).await;
            let took =
                if matches!(answered, Ok(Ok(answer)) if answer.status == 200) { began.elapsed() } else { WAIT * 100 };
            let mut slowest = slowest.lock().await;
            *slowest = took.max(*slowest);
            drop(slowest);
            sleep(Duration::from_millis(50)).await;
        }
    };
    let attacks = async {
        let mut class = bodies(ground).await?;
        class.absorb(forms(ground).await?);
        class.absorb(slow(ground).await?);
        Ok::<_, anyhow::Error>(class)
    };
    let mut class = tokio::select! {
        class = attacks => class?,
        () = others => Class::default(),
    };
    let waited = *slowest.lock().await;
    class.judge(waited < WAIT, || format!("somebody else waited {waited:?} for an answer"));
    let most = machine::most_resident(process) >> 20;
    class.judge(most < MEMORY, || format!("the server had {most} MB"));
    class.note(format!("resident {before} MB before, {most} MB at most; others waited {waited:?} at most"));
    Ok(class)
}

fn nested(depth: usize, open: &str, close: &str) -> String {
    format!("{}1{}", open.repeat(depth), close.repeat(depth))
}

/// What is tried, the request, and statuses that are right.
type Attack<'a> = (&'static str, RequestBuilder, &'a [u16]);

/// Bodies of JSON.
fn documents(ground: &Ground) -> Vec<Attack<'static>> {
    let ann = &ground.ann;
    let post =
        |path: &str, body: String| ann.ask(Method::POST, path).header("content-type", "application/json").body(body);
    let case = ground.thing("case");
    let large = format!("{{\"title\": \"{}\"}}", "a".repeat(2 << 20));
    let list = |item: &str| {
        format!("{{\"url\": \"https://hooks.example.org/\", \"events\": [{}]}}", vec![item; 100_000].join(","))
    };
    let deep = |text: String| format!("{{\"title\": {text}}}");
    let chunks = |size: usize, count: usize| {
        let piece = vec![b'a'; size];
        reqwest::Body::wrap_stream(futures::stream::iter(
            (0..count).map(move |_| Ok::<_, std::io::Error>(piece.clone())),
        ))
    };
    let hooks = format!("/cases/{case}/webhooks");
    vec![
        ("2 MB of JSON", post("/cases", large.clone()), &[413]),
        (
            "2 MB of JSON in chunks",
            ann.ask(Method::POST, "/cases").header("content-type", "application/json").body(chunks(1 << 16, 32)),
            &[413],
        ),
        (
            "100 MB in chunks",
            ann.ask(Method::POST, "/cases").header("content-type", "application/json").body(chunks(1 << 20, 100)),
            &[413],
        ),
        (
            "2 MB for a sign-in",
            ann.with_token("").ask(Method::POST, "/auth/login").header("content-type", "application/json").body(large),
            &[413],
        ),
        ("500,000 lists", post("/cases", deep(nested(250_000, "[", "]"))), &[400]),
        ("100,000 objects", post("/cases", deep(nested(100_000, "{\"a\":", "}"))), &[400]),
        ("lists that never end", post("/cases", "[".repeat(900_000)), &[400]),
        ("128 lists", post("/cases", deep(nested(127, "[", "]"))), &[400]),
        ("100,000 events", post(&hooks, list("\"*\"")), &[422]),
        ("100,000 unknown events", post(&hooks, list("\"x\"")), &[422]),
        (
            "100,000 documents",
            post(
                "/chat/message",
                json!({ "case_id": case, "message": "?", "document_ids": vec![domain::ids::fresh(); 20_000] })
                    .to_string(),
            ),
            &[404, 413, 422],
        ),
        (
            "20,000 passwords",
            post(&format!("/cases/{case}/passwords"), json!({ "passwords": vec!["x"; 20_000] }).to_string()),
            &[413, 422],
        ),
        (
            "a question of 900 kB",
            post("/chat/message", json!({ "case_id": case, "message": "a".repeat(900_000) }).to_string()),
            &[413, 422],
        ),
        ("a name of 900 kB", post("/cases", json!({ "title": "a".repeat(900_000) }).to_string()), &[422]),
        (
            "100,000 fields",
            post("/cases", format!("{{{}}}", (0..50_000).map(|n| format!("\"f{n}\":1")).collect::<Vec<_>>().join(","))),
            &[400],
        ),
        ("a number of 900,000 digits", post("/cases", deep("9".repeat(900_000))), &[400]),
        ("JSON under gzip", post("/cases", "\u{1f}".to_owned()).header("content-encoding", "gzip"), &[400, 415]),
        (
            "JSON as a form",
            ann.ask(Method::POST, "/cases").header("content-type", "application/x-www-form-urlencoded").body("title=x"),
            &[415],
        ),
        (
            "JSON in UTF-16",
            ann.ask(Method::POST, "/cases")
                .header("content-type", "application/json; charset=utf-16")
                .body("\u{feff}{}"),
            &[400, 415],
        ),
    ]
}

/// URLs, heads and what they ask for.
fn asked(ground: &Ground) -> Vec<Attack<'static>> {
    let ann = &ground.ann;
    let case = ground.thing("case");
    let keyed = ann.ask(Method::POST, "/cases").header("content-type", "application/json").body("{}");
    vec![
        ("a URL of 60 kB", ann.ask(Method::GET, &format!("/cases?cursor={}", "a".repeat(60_000))), &[400, 414, 431]),
        (
            "a URL of 5,000 parameters",
            ann.ask(Method::GET, &format!("/cases?{}", "limit=1&".repeat(5_000))),
            &[400, 414],
        ),
        (
            "a search of 30 kB",
            ann.ask(Method::GET, &format!("/cases/{case}/search?q={}", "heron%20OR%20".repeat(2_500))),
            &[400, 413, 414, 422],
        ),
        (
            "a search of 5,000 brackets",
            ann.ask(Method::GET, &format!("/cases/{case}/search?q={}heron{}", "(".repeat(5_000), ")".repeat(5_000))),
            &[400, 414, 422],
        ),
        ("1,000 ranges", ranged(ground, 1_000), &[200, 206, 400, 416, 431]),
        (
            "a range of everything twice",
            ann.ask(Method::GET, &original(ground)).header("range", "bytes=0-,0-,0-"),
            &[200, 206, 400, 416],
        ),
        (
            "a range beyond the end",
            ann.ask(Method::GET, &original(ground)).header("range", "bytes=99999999999-"),
            &[416],
        ),
        (
            "a range that overflows",
            ann.ask(Method::GET, &original(ground)).header("range", "bytes=0-99999999999999999999999"),
            &[200, 206, 400, 416],
        ),
        ("an Idempotency-Key of 20 kB", keyed.header("Idempotency-Key", "a".repeat(20_000)), &[400, 431]),
        ("an upload longer than any", announced(ground, "9223372036854775807"), &[413]),
        ("an upload of a negative length", announced(ground, "-1"), &[400]),
        ("an upload of an endless length", announced(ground, "99999999999999999999999999"), &[400, 413]),
    ]
}

/// All of them.
async fn bodies(ground: &Ground) -> Result<Class> {
    let mut class = Class::default();
    for (what, request, statuses) in documents(ground).into_iter().chain(asked(ground)) {
        match hear(request).await {
            Ok(answer) => class.hear(what, judge(&answer, statuses)),
            // The server said no and closed before it had read all; that is an answer as well.
            Err(error) => class.judge(is_cut(&error), || format!("{what}: {error:#}")),
        }
    }
    Ok(class)
}

fn is_cut(error: &anyhow::Error) -> bool {
    let words = format!("{error:?}");
    ["reset", "closed", "Broken pipe", "BrokenPipe", "Canceled", "IncompleteMessage"]
        .iter()
        .any(|word| words.contains(word))
}

fn original(ground: &Ground) -> String {
    format!("/documents/{}/original", ground.thing("document"))
}

fn ranged(ground: &Ground, count: usize) -> RequestBuilder {
    let ranges: Vec<String> = (0..count).map(|n| format!("{n}-{n}")).collect();
    ground.ann.ask(Method::GET, &original(ground)).header("range", format!("bytes={}", ranges.join(",")))
}

fn announced(ground: &Ground, length: &str) -> RequestBuilder {
    let path = format!("/databases/{}/batches/{}/uploads", ground.thing("database"), ground.thing("announced"));
    ground
        .ann
        .ask(Method::POST, &path)
        .header("Tus-Resumable", "1.0.0")
        .header("Upload-Length", length)
        .header("Upload-Metadata", "filename aGVyb24udHh0")
}

/// Forms that do not end, or have more parts and longer heads than anybody sends.
async fn forms(ground: &Ground) -> Result<Class> {
    let mut class = Class::default();
    let path = format!("/databases/{}/files", ground.thing("database"));
    let part = |head: &str, body: &str| format!("--b\r\n{head}\r\n\r\n{body}\r\n");
    let file = "Content-Disposition: form-data; name=\"file\"; filename=\"a.txt\"";
    let mut fields = String::new();
    for number in 0..20_000 {
        write!(fields, "{}", part(&format!("Content-Disposition: form-data; name=\"f{number}\""), "x"))?;
    }
    let attacks = [
        ("a form without an end", part(file, "herons"), &[400_u16][..]),
        ("a form without a beginning", "herons".repeat(1_000), &[400]),
        ("an empty form", String::new(), &[400, 422]),
        ("20,000 fields", format!("{fields}--b--\r\n"), &[400, 413, 422]),
        (
            "a part's head of 4 MB",
            part(&format!("{file}\r\nX-A: {}", "a".repeat(4 << 20)), "x") + "--b--\r\n",
            &[400, 413],
        ),
        (
            "a part with 5,000 headers",
            part(&format!("{file}\r\n{}X: y", "X-A: a\r\n".repeat(5_000)), "x") + "--b--\r\n",
            &[400, 413],
        ),
        ("a part's head that never ends", format!("--b\r\nX-A: {}", "a".repeat(4 << 20)), &[400, 413]),
        (
            "a name of 1 MB",
            part(&format!("Content-Disposition: form-data; name=\"{}\"", "n".repeat(1 << 20)), "x") + "--b--\r\n",
            &[400, 413],
        ),
        (
            "a file name of 100 kB",
            part(&format!("Content-Disposition: form-data; name=\"file\"; filename=\"{}\"", "n".repeat(100_000)), "x")
                + "--b--\r\n",
            &[400, 413, 422],
        ),
        (
            "a field of 1 MB",
            part("Content-Disposition: form-data; name=\"custodian\"", &"x".repeat(1 << 20)) + "--b--\r\n",
            &[400, 413, 422],
        ),
        ("boundaries within boundaries", "--b\r\n".repeat(200_000), &[400, 413]),
    ];
    for (what, body, statuses) in attacks {
        let request =
            ground.ann.ask(Method::POST, &path).header("content-type", "multipart/form-data; boundary=b").body(body);
        match hear(request).await {
            Ok(answer) => class.hear(what, judge(&answer, statuses)),
            Err(error) => class.judge(is_cut(&error), || format!("{what}: {error:#}")),
        }
    }
    for boundary in ["", "a\u{e9}", &"b".repeat(10_000)] {
        let kind = format!("multipart/form-data; boundary={boundary}");
        let request = ground.ann.ask(Method::POST, &path).header("content-type", kind.into_bytes()).body("--b\r\n");
        class.hear(&format!("a boundary of {} bytes", boundary.len()), judge(&hear(request).await?, &[400, 415]));
    }
    Ok(class)
}

/// Connections that fall silent in a head or a body, and some that drip, all at once.
async fn slow(ground: &Ground) -> Result<Class> {
    let mut class = Class::default();
    let authorized = format!("Authorization: Bearer {}\r\n", ground.ann.token);
    let body = format!(
        "POST /api/v1/cases HTTP/1.1\r\nHost: x\r\n{authorized}Idempotency-Key: a\r\nContent-Type: application/json\r\n"
    );
    let upload = format!(
        "POST /api/v1/databases/{}/files HTTP/1.1\r\nHost: x\r\n{authorized}Idempotency-Key: b\r\nContent-Type: multipart/form-data; boundary=b\r\n",
        ground.thing("database")
    );
    let starts = [
        String::new(),
        "G".to_owned(),
        "GET /health/live HTTP/1.1\r\nHost: x\r\nX-Slow: ".to_owned(),
        format!("{body}Content-Length: 100\r\n\r\n{{"),
        format!("{body}Transfer-Encoding: chunked\r\n\r\n5\r\n"),
        format!(
            "{upload}Content-Length: 1000000\r\n\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nherons"
        ),
        "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
    ];
    let dawdle = |number: usize| {
        let start = &starts[number % starts.len()];
        async move {
            let mut stream = connect(&ground.server.address).await?;
            stream.write_all(start.as_bytes()).await?;
            let drips = number.is_multiple_of(3) && !start.ends_with("\r\n\r\n");
            let began = Instant::now();
            // Whoever sends a byte now and then is no better than who sends none.
            while drips && began.elapsed() < TIME * 4 {
                if stream.write_all(b"a").await.is_err() || began.elapsed() > TIME {
                    break;
                }
                sleep(Duration::from_millis(300)).await;
            }
            let heard = listen(&mut stream, TIME + SLACK).await;
            Ok::<_, anyhow::Error>((start, heard.closed, began.elapsed()))
        }
    };
    for dawdled in join_all((0..DAWDLERS).map(dawdle)).await {
        let (start, closed, took) = dawdled?;
        let start: String = start.chars().take(30).collect();
        class.judge(closed && took < TIME * 2 + SLACK, || format!("{start:?} was still open after {took:?}"));
    }
    Ok(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_or_breaks_something_is_counted() {
        let says = |status| Answer { status, ..Answer::default() };
        assert!(judge(&says(413), &[413]).is_ok());
        assert!(judge(&says(201), &[413]).is_err() && judge(&says(500), &[413, 400]).is_err());
    }
}
