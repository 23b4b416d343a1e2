//! URLs that lead where nobody but the operator may send dia: into this machine, its networks, the services that tell clouds' secrets.
//! They are given as webhooks and in a load file; none may be taken or connected to, which listeners count.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::{Instant, sleep},
};

use crate::{
    caller::{Answer, Caller, hear, text},
    ground::{Ground, unlimited},
    verdict::Class,
};

/// How long jobs may take to give up on what may not be connected to.
const PATIENCE: Duration = Duration::from_mins(1);

/// Listens on this machine and counts who comes; what it says leads to `location`, if anywhere.
#[derive(Debug)]
pub(crate) struct Trap {
    pub(crate) port: u16,
    came: Arc<AtomicUsize>,
}

impl Trap {
    pub(crate) async fn set(location: Option<String>) -> Result<Self> {
        let came = Arc::new(AtomicUsize::new(0));
        let first = TcpListener::bind("0.0.0.0:0").await?;
        let port = first.local_addr()?.port();
        // Machines without IPv6 have nothing to be led to.
        let second = TcpListener::bind(format!("[::1]:{port}")).await.ok();
        let answer = match location {
            Some(location) => {
                format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            }
            None => "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_owned(),
        };
        for listener in [Some(first), second].into_iter().flatten() {
            let (came, answer) = (Arc::clone(&came), answer.clone());
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    came.fetch_add(1, Ordering::SeqCst);
                    let mut request = [0; 4_096];
                    let _ = stream.read(&mut request).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
        }
        Ok(Self { port, came })
    }

    fn came(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }
}

/// Hosts that are this machine, its networks or a cloud's metadata, however they are written.
const HOSTS: [&str; 62] = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0x7f.1",
    "0X7F.0x0.0x0.0x1",
    "017700000001",
    "0177.0.0.1",
    "0177.0x0.1",
    "00000177.0.0.1",
    "0",
    "0.0.0.0",
    "0x0",
    "00",
    "%31%32%37.0.0.1",
    "127%2e0%2e0%2e1",
    "１２７.０.０.１",
    "127。0。0。1",
    "127．0．0．1",
    "127｡0｡0｡1",
    "①②⑦.⓪.⓪.①",
    "𝟏𝟐𝟕.𝟎.𝟎.𝟏",
    "127.0.0\u{ad}.1",
    "127.0.0.\u{200b}1",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[0000::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:0:53aa:64c::80ff:fffe]",
    "[fe80::1]",
    "[fe80::1%25lo]",
    "[fe80::1%lo]",
    "[::1%25lo]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "[::ffff:169.254.169.254]",
    "[2002:a9fe:a9fe::]",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "10.0.0.1",
    "192.168.0.1",
    "172.16.0.1",
    "255.255.255.255",
];

/// Names for this machine and for metadata; taken, perhaps, but what they stand for may not be connected to.
const NAMES: [&str; 14] = [
    "localhost",
    "localhost.",
    "LOCALHOST",
    "ip6-localhost",
    "ip6-loopback",
    "ⓛocalhost",
    "localhost.localdomain",
    "a.localhost",
    "localtest.me",
    "127.0.0.1.nip.io",
    "7f000001.c0a80001.rbndr.us",
    "metadata.google.internal",
    "metadata",
    "instance-data",
];

/// Whole URLs that are no https, or that say their host in a place where a careless reader would not look.
fn tricks(port: u16) -> Vec<String> {
    let own = format!("127.0.0.1:{port}");
    let mut made: Vec<String> =
        ["http", "HTTP", "ftp", "gopher", "ws", "wss", "file", "ldap", "dict", "tftp", "jar", "unix", "s3", "ssh"]
            .iter()
            .map(|scheme| format!("{scheme}://{own}/"))
            .collect();
    made.extend([
        format!("https://hooks.example.org@{own}/"),
        format!("https://hooks.example.org:443@{own}/"),
        format!("https://hooks.example.org%40{own}/"),
        format!("https://hooks.example.org%2f@{own}/"),
        format!("https://{own}#@hooks.example.org/"),
        format!("https://{own}?@hooks.example.org/"),
        format!("https://{own}\\@hooks.example.org/"),
        format!("https://{own}%23@hooks.example.org/"),
        format!("https://ann:secret@{own}/"),
        format!("https://@{own}/"),
        format!("https:\\\\{own}\\"),
        format!("https:/\\{own}/"),
        format!("https:{own}"),
        format!("https:///{own}/"),
        format!("///{own}/"),
        format!("//{own}/"),
        own.clone(),
        format!(" https://{own}/"),
        format!("https://12\t7.0.0.1:{port}/"),
        format!("https://127.0.\n0.1:{port}/"),
        format!("\u{1}https://{own}/"),
        format!("https://127.0.0.1 :{port}/"),
        format!("https://127.0.0.1:{port}:443/"),
        format!("https://127.0.0.1:0{port}/"),
        "https://127.0.0.1:22/".to_owned(),
        "https://127.0.0.1:6379/".to_owned(),
        "https://127.0.0.1:99999/".to_owned(),
        "https://127.0.0.1:0/".to_owned(),
        "https://127.0.0.1:-1/".to_owned(),
        "https://[::1/".to_owned(),
        "https://[::1]x/".to_owned(),
        "https://".to_owned(),
        String::new(),
        "file:///etc/passwd".to_owned(),
        "file://localhost/etc/passwd".to_owned(),
        "data:text/plain,x".to_owned(),
        "javascript:alert(1)".to_owned(),
        "mailto:ann@example.org".to_owned(),
    ]);
    made
}

fn urls(port: u16) -> Vec<String> {
    let hosts = HOSTS.iter().map(|host| format!("https://{host}:{port}/hook"));
    hosts.chain(HOSTS.iter().take(6).map(|host| format!("http://{host}:{port}/"))).chain(tricks(port)).collect()
}

/// A URL that says itself that it leads there is refused when it is named.
fn judge(answer: &Answer) -> Result<(), String> {
    match answer.status {
        400 | 422 => Ok(()),
        _ => Err(format!("it was taken: {}", answer.words())),
    }
}

/// Runs the class: what is refused when it is named, then what is when the connection is made, then redirects.
pub(crate) async fn attack(ground: &Ground, directory: &Path) -> Result<Class> {
    let mut class = Class::default();
    let trap = Trap::set(None).await?;
    let hooks = format!("/cases/{}/webhooks", ground.thing("case"));
    for url in urls(trap.port) {
        let answer = ground.ann.post(&hooks, &json!({ "url": url })).await?;
        class.hear(&format!("webhook {url:?}"), judge(&answer));
    }
    let patched = format!("{hooks}/{}", ground.thing("webhook"));
    for url in urls(trap.port).iter().step_by(5) {
        let answer = hear(ground.ann.ask(Method::PATCH, &patched).json(&json!({ "url": url }))).await?;
        class.hear(&format!("webhook changed to {url:?}"), judge(&answer));
    }
    class.absorb(by_name(ground, &trap).await?);
    class.absorb(elsewhere(directory, &trap).await?);
    let came = trap.came();
    class.judge(came == 0, || format!("{came} connections were made to where nobody may be sent"));
    // The trap works: a visitor is counted.
    tokio::net::TcpStream::connect(("127.0.0.1", trap.port)).await?;
    sleep(Duration::from_millis(200)).await;
    class.judge(trap.came() > came, || "the listener does not count: the attacks prove nothing".to_owned());
    Ok(class)
}

/// Names are judged by what they stand for, when the connection is made: the message is not delivered.
async fn by_name(ground: &Ground, trap: &Trap) -> Result<Class> {
    let mut class = Class::default();
    let hooks = format!("/cases/{}/webhooks", ground.thing("case"));
    let mut named = Vec::new();
    for name in NAMES {
        let url = format!("https://{name}:{}/hook", trap.port);
        let answer = ground.ann.post(&hooks, &json!({ "url": url })).await?;
        if answer.status != 201 {
            class.hear(name, judge(&answer));
            continue;
        }
        let hook = text(&answer.json(), "id")?;
        ground.ann.made(&format!("{hooks}/{hook}/test"), &Value::Null).await?;
        named.push((name, hook));
    }
    for (name, hook) in named {
        let attempt = first_attempt(&ground.ann, &format!("{hooks}/{hook}/deliveries")).await?;
        class.judge(attempt["status"].is_null() && attempt["error"].is_string(), || {
            format!("{name} was asked: {attempt}")
        });
        hear(ground.ann.ask(Method::DELETE, &format!("{hooks}/{hook}"))).await?;
    }
    Ok(class)
}

async fn first_attempt(caller: &Caller, path: &str) -> Result<Value> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let attempt = caller.read(path).await?["items"][0]["attempts"][0].clone();
        if !attempt.is_null() {
            return Ok(attempt);
        }
        sleep(Duration::from_millis(100)).await;
    }
    bail!("{path}: nothing was attempted")
}

/// Another server, whose operator allows some hosts: a load file names all that they do not, and an allowed webhook redirects.
async fn elsewhere(directory: &Path, trap: &Trap) -> Result<Class> {
    let mut class = Class::default();
    let redirecting = Trap::set(Some(format!("http://127.0.0.1:{}/landed", trap.port))).await?;
    let allowed = format!("127.0.0.1:{}", redirecting.port);
    let home = unlimited(Ground::home(&directory.join("elsewhere"))?)
        .with("DIA_WEBHOOKS__PLAIN_HOSTS", &format!("[\"{allowed}\"]"))
        .with("DIA_WEBHOOKS__NETWORKS", "[\"127.0.0.1/32\"]")
        .with("DIA_REFERENCES__HOSTS", &format!("[\"localhost:{}\", \"files.example.org\"]", trap.port));
    let server = home.start().await?;
    let code = server.setup_code.clone().context("the server printed no setup code")?;
    let ann = Caller::sign_up(&server.address, &code, "ann@example.org").await?;
    let case = text(&ann.made("/cases", &json!({ "title": "Penrose v. Example" })).await?, "id")?;
    let database = json!({ "case_id": case, "name": "Production" });
    let database = text(&ann.made("/databases", &database).await?, "id")?;

    let mut sources = urls(trap.port);
    sources.retain(|url| url.contains("://"));
    sources.push(format!("https://localhost:{}/a.txt", trap.port));
    sources.push(format!("https://files.example.org@localhost:{}/a.txt", trap.port));
    sources.push("https://files.example.org.evil.example/a.txt".to_owned());
    sources.push("https://files.example.org:8443/a.txt".to_owned());
    let line =
        |(number, url): (usize, &String)| format!("{}\n", json!({ "path": format!("{number}.txt"), "source": url }));
    let load_file: String = sources.iter().enumerate().map(line).collect();
    let opened = ann.ask(Method::POST, &format!("/databases/{database}/batches?name=VOL001")).body(load_file);
    let opened = hear(opened.header("content-type", "application/octet-stream")).await?.json();
    let batch = format!("/databases/{database}/batches/{}", text(&opened, "id")?);

    let hooks = format!("/cases/{case}/webhooks");
    let hook = text(&ann.made(&hooks, &json!({ "url": format!("http://{allowed}/hook") })).await?, "id")?;
    ann.made(&format!("{hooks}/{hook}/test"), &Value::Null).await?;
    let attempt = first_attempt(&ann, &format!("{hooks}/{hook}/deliveries")).await?;
    class.judge(attempt["status"] == 302 && redirecting.came() > 0, || {
        format!("the allowed host was not asked: {attempt}")
    });

    let deadline = Instant::now() + PATIENCE;
    let mut items = ann.read(&batch).await?["items"].clone();
    while items["failed"].as_u64().unwrap_or(0) < sources.len() as u64 && Instant::now() < deadline {
        sleep(Duration::from_millis(200)).await;
        items = ann.read(&batch).await?["items"].clone();
    }
    let delivered = items["delivered"].as_u64().unwrap_or(1);
    class.tried += sources.len() as u64;
    class.judge(delivered == 0, || format!("{delivered} references were fetched"));
    let failed = items["failed"].as_u64().unwrap_or(0);
    class.judge(failed == sources.len() as u64, || format!("{failed} of {} references failed: {items}", sources.len()));
    server.stop().await?;
    Ok(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_is_taken_is_counted() {
        let says = |status| Answer { status, ..Answer::default() };
        assert!(judge(&says(422)).is_ok() && judge(&says(201)).is_err() && judge(&says(500)).is_err());
        assert!(urls(1).len() >= 80, "{}", urls(1).len());
    }
}
