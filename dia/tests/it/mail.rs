//! Letters go to an SMTP server that is not ours: codes for a forgotten password, to whom they are for and to nobody else, and alerts.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    time::Duration,
};

use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::{PASSWORD, Server};

const NEW: &str = "another lamp burns in the cellar";
/// Long enough for what comes.
const SOON: Duration = Duration::from_mins(1);

fn python() -> PathBuf {
    let cache = std::env::var("DIA_CACHE").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|_| PathBuf::from(std::env::var("HOME").unwrap()).join(".cache/dia"));
    let python = cache.join("mail/bin/python");
    assert!(python.is_file(), "`scripts/setup test` installs the SMTP server");
    python
}

/// An SMTP server and what it takes.
struct Post {
    child: Child,
    letters: Receiver<Value>,
    folder: TempDir,
    port: u16,
}

impl Drop for Post {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder with a certificate for localhost that only who is told of it trusts.
fn certified() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(folder.path().join("key"))
        .arg("-out")
        .arg(folder.path().join("certificate"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    folder
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Post {
    fn open(mode: &str, port: u16, folder: TempDir) -> Self {
        let mut server = Command::new(python());
        server.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/mail.py")).arg(port.to_string());
        server.arg(folder.path().join("certificate")).arg(folder.path().join("key")).arg(mode);
        let mut child = server.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        let (tell, letters) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = tell.send(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, letters, folder, port }
    }

    fn next(&self) -> Value {
        self.letters.recv_timeout(SOON).unwrap()
    }
}

/// What dia is told of such a server.
fn settings(scheme: &str, port: u16, folder: &Path) -> Vec<(&'static str, String)> {
    vec![
        ("DIA_MAIL__SERVER", format!("{scheme}://localhost:{port}")),
        ("DIA_MAIL__USER", "dia".to_owned()),
        ("DIA_MAIL__PASSWORD", "a password of its own".to_owned()),
        ("DIA_MAIL__FROM", "dia <dia@example.org>".to_owned()),
        ("DIA_MAIL__CERTIFICATES", folder.join("certificate").to_str().unwrap().to_owned()),
    ]
}

fn start(home: TempDir, settings: &[(&'static str, String)]) -> Server {
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Server::start_with(home, &settings)
}

async fn ask(server: &Server, path: &str, body: Value) -> (StatusCode, String) {
    let answer = reqwest::Client::new().post(format!("{}/api/v1{path}", server.url)).json(&body).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

async fn forget(server: &Server, email: &str) {
    let answer = ask(server, "/auth/forgot-password", json!({ "email": email })).await;
    assert_eq!(answer, (StatusCode::ACCEPTED, String::new()), "{email}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_forgot_their_password_is_written_to() {
    let post = Post::open("tls", free_port(), certified());
    let mut wanted = settings("smtps", post.port, post.folder.path());
    wanted.push(("DIA_MAIL__RESET_PAGE", "https://dia.example/reset".to_owned()));
    wanted.push(("DIA_ALERTS__MAIL_TO", "[\"guard@example.org\", \"watch@example.org\"]".to_owned()));
    wanted.push(("DIA_ALERTS__EVERY_SECONDS", "1".to_owned()));
    let server = start(tempfile::tempdir().unwrap(), &wanted);
    server.sign_up();
    // The first administrator is an alert by itself.
    let alert = post.next();
    assert_eq!(alert["to"], json!(["guard@example.org", "watch@example.org"]));
    assert!(alert["subject"].as_str().unwrap().starts_with("dia: administrator_made"), "{alert}");
    assert!(!alert["text"].as_str().unwrap().contains("ada@"), "{alert}");

    // Nobody, somebody, and somebody again: the answers are the same, and one letter goes out.
    forget(&server, "nobody@example.org").await;
    forget(&server, " Ada@Example.org").await;
    let letter = post.next();
    forget(&server, "ada@example.org").await;
    assert_eq!(letter["to"], json!(["ada@example.org"]));
    assert_eq!((&letter["automatic"], &letter["private"]), (&json!("auto-generated"), &json!(true)));
    let text = letter["text"].as_str().unwrap();
    let code = text.split("https://dia.example/reset#").nth(1).unwrap().lines().next().unwrap().trim();

    let fields = |code: &str| json!({ "code": code, "new_password": NEW });
    assert_eq!(ask(&server, "/auth/reset-password", fields("wrong")).await.0, StatusCode::FORBIDDEN);
    assert_eq!(ask(&server, "/auth/reset-password", fields(code)).await.0, StatusCode::NO_CONTENT);
    assert_eq!(ask(&server, "/auth/reset-password", fields(code)).await.0, StatusCode::FORBIDDEN);
    let sign_in = |password| json!({ "email": "ada@example.org", "password": password });
    assert_eq!(ask(&server, "/auth/login", sign_in(PASSWORD)).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(&server, "/auth/login", sign_in(NEW)).await.0, StatusCode::OK);
    let home = server.stop();
    assert!(post.letters.try_recv().is_err(), "only she was written to, and once");
    // Neither the code nor the letter is kept anywhere.
    for entry in fs::read_dir(home.path().join(".local/share/dia")).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            let bytes = fs::read(entry.path()).unwrap();
            assert!(!bytes.windows(code.len()).any(|window| window == code.as_bytes()), "{:?}", entry.path());
        }
    }
}

/// A server that is away is asked again; the letter that comes then holds the code that counts. Its certificate is not taken on trust.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_wait_for_the_server() {
    let (port, folder) = (free_port(), certified());
    let server = start(tempfile::tempdir().unwrap(), &settings("smtp", port, folder.path()));
    server.sign_up();
    forget(&server, "ada@example.org").await;
    let stranger = Post::open("starttls", port, certified());
    assert!(stranger.letters.recv_timeout(Duration::from_secs(4)).is_err(), "somebody else's certificate");
    drop(stranger);
    let post = Post::open("starttls", port, folder);
    let letter = post.next();
    assert_eq!(letter["private"], true);
    let text = letter["text"].as_str().unwrap();
    let code = text.lines().find(|line| line.starts_with("    ")).unwrap().trim();
    let answer = ask(&server, "/auth/reset-password", json!({ "code": code, "new_password": NEW })).await;
    assert_eq!(answer.0, StatusCode::NO_CONTENT, "{}", answer.1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_people_are_told_whom_to_ask() {
    let server = Server::start();
    let (status, body) = ask(&server, "/auth/forgot-password", json!({ "email": "ada@example.org" })).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(body.contains("\"mail_off\""), "{body}");
}
