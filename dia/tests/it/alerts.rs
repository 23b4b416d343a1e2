//! Somebody attacks a real server, and the alert with the attack's name comes within a minute: over the API, by syslog, and by a signed
//! message.

use std::{
    collections::BTreeSet,
    fs,
    net::{TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::server::{PASSWORD, Server};

const SECRET: &str = "whsec_QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";

/// A person before the server.
struct Person<'a> {
    http: reqwest::Client,
    server: &'a Server,
    token: String,
}

impl<'a> Person<'a> {
    async fn sign_in(server: &'a Server, email: &str, password: &str) -> Result<(Self, Value), StatusCode> {
        let nobody = Self { http: reqwest::Client::new(), server, token: String::new() };
        let (status, tokens) =
            nobody.ask(Method::POST, "/auth/login", Some(json!({ "email": email, "password": password }))).await;
        if status != StatusCode::OK {
            return Err(status);
        }
        let token = tokens["access_token"].as_str().unwrap().to_owned();
        Ok((Self { token, ..nobody }, tokens))
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.http.request(method, format!("{}/api/v1{path}", self.server.url));
        request = request.header("idempotency-key", domain::ids::fresh().to_string());
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        (answer.status(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask(Method::POST, path, Some(body)).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask(Method::GET, path, None).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attacks_have_names_within_a_minute() {
    let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
    collector.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let hook = TcpListener::bind("127.0.0.1:0").unwrap();
    let receiver = format!("http://{}/alerts", hook.local_addr().unwrap());
    let messages = listen(hook);
    let syslog = format!("udp://{}", collector.local_addr().unwrap());
    let home = tempfile::tempdir().unwrap();
    let log = home.path().join("log");
    // Rules that people take hours to meet are met sooner; what they count is the same.
    let variables = [
        ("DIA_LOG__FORMAT", "json"),
        ("DIA_AUDIT__CHECKPOINT_SECONDS", "1"),
        ("DIA_ALERTS__EVERY_SECONDS", "1"),
        ("DIA_ALERTS__SYSLOG", syslog.as_str()),
        ("DIA_AUDIT__CHECKPOINT_SYSLOG", syslog.as_str()),
        ("DIA_ALERTS__WEBHOOK_URL", receiver.as_str()),
        ("DIA_ALERTS__WEBHOOK_SECRET", SECRET),
        ("DIA_ALERTS__THRESHOLDS__BRUTE_FORCE", "5"),
        ("DIA_ALERTS__THRESHOLDS__MASS_DOWNLOAD", "5"),
        ("DIA_ALERTS__THRESHOLDS__MASS_VIEW", "5"),
        ("DIA_ALERTS__THRESHOLDS__MASS_SEARCH", "5"),
        ("DIA_ALERTS__THRESHOLDS__MASS_QUESTION", "3"),
        ("DIA_ALERTS__THRESHOLDS__MASS_DELETION", "2"),
        ("DIA_ALERTS__THRESHOLDS__CASE_HOPPING", "2"),
        ("DIA_ALERTS__THRESHOLDS__ACCOUNT_PROBING", "6"),
    ];
    let server = Server::start_saying(home, &variables, Stdio::from(fs::File::create(&log).unwrap()));
    server.sign_up();
    let (ada, _) = Person::sign_in(&server, "ada@example.org", PASSWORD).await.unwrap();
    let mut scene = Scene {
        server: &server,
        ada,
        expected: BTreeSet::from(["administrator_made"]),
        people: Vec::new(),
        documents: Vec::new(),
        database: String::new(),
    };
    scene.guess().await;
    scene.replay().await;
    scene.read_everything().await;
    scene.carry_out().await;
    scene.change_what_is_stored().await;
    assert_eq!(scene.expected.len(), 25);
    let (raised, alerts) = named(&scene.ada, &scene.expected).await;
    assert_eq!(raised, scene.expected.iter().map(|name| (*name).to_owned()).collect());
    told(&alerts, &collector, &messages);
    scene.look(&alerts).await;
    let log = fs::read_to_string(log).unwrap();
    assert!(
        log.contains("\"target\":\"dia::security\"") && !log.contains("asbestos") && !log.contains("hooks.example"),
        "{log}"
    );
    drop(server.stop());
}

/// Who is attacked, with what, and which rules should have noticed.
struct Scene<'a> {
    server: &'a Server,
    ada: Person<'a>,
    expected: BTreeSet<&'static str>,
    people: Vec<String>,
    /// Cases and documents.
    documents: Vec<(String, String)>,
    database: String,
}

impl Scene<'_> {
    /// Guesses: one account, several accounts, accounts that are not there.
    async fn guess(&mut self) {
        for number in 0..5 {
            let code = self.ada.post("/auth/invitations", json!({ "role": "member" })).await["code"].clone();
            let email = format!("person-{number}@example.org");
            let fields = json!({ "code": code, "email": email, "name": "A Person", "password": PASSWORD });
            self.ada.post("/auth/signup", fields).await;
            self.people.push(email);
        }
        for _ in 0..5 {
            assert!(Person::sign_in(self.server, &self.people[0], "a wrong sentence of some length").await.is_err());
        }
        for email in &self.people {
            assert!(Person::sign_in(self.server, email, "a wrong sentence of some length").await.is_err());
        }
        for number in 0..6 {
            let email = format!("nobody-{number}@example.org");
            assert!(Person::sign_in(self.server, &email, "a wrong sentence of some length").await.is_err());
        }
        self.expected.extend(["brute_force", "password_spray", "account_probing"]);
    }

    /// A refresh token that was stolen, used, and used again by its owner after the next one.
    async fn replay(&mut self) {
        let (_, tokens) = Person::sign_in(self.server, &self.people[1], PASSWORD).await.unwrap();
        let refresh = async |token: &Value| {
            self.ada.ask(Method::POST, "/auth/refresh", Some(json!({ "refresh_token": token }))).await
        };
        let second = refresh(&tokens["refresh_token"]).await.1;
        let third = refresh(&second["refresh_token"]).await.1;
        assert!(third["refresh_token"].is_string());
        assert_eq!(refresh(&tokens["refresh_token"]).await.0, StatusCode::UNAUTHORIZED);
        self.expected.insert("token_replay");
    }

    /// A thief with an account: two cases, everything read, searched, asked, taken away and deleted.
    async fn read_everything(&mut self) {
        for title in ["Penrose v. Example", "Escher v. Example"] {
            let case = self.server.ok(&["cases", "--create", title]);
            let database = self.server.ok(&["databases", "--case", &case, "--create", "Production"]);
            let folder = tempfile::tempdir().unwrap();
            for number in 0..3 {
                fs::write(
                    folder.path().join(format!("{number}.txt")),
                    format!("The inspection of {title} found asbestos: {number}.\n"),
                )
                .unwrap();
            }
            self.server.ok(&["import", "--database", &database, folder.path().to_str().unwrap()]);
            for _ in 0..3 {
                self.ada.get(&format!("/databases/{database}/search?q=asbestos")).await;
            }
            for _ in 0..2 {
                self.ada.post("/chat/message", json!({ "case_id": case, "message": "Who found asbestos?" })).await;
            }
            let files = self.ada.get(&format!("/databases/{database}/files")).await;
            for file in files["items"].as_array().unwrap() {
                let document = file["id"].as_str().unwrap().to_owned();
                self.ada.get(&format!("/documents/{document}/text")).await;
                self.ada.get(&format!("/documents/{document}/original")).await;
                self.documents.push((case.clone(), document));
            }
            self.database = database;
        }
        for (_, document) in &self.documents[..2] {
            let (status, _) = self.ada.ask(Method::DELETE, &format!("/documents/{document}"), None).await;
            assert!(status.is_success(), "{status}");
        }
        self.expected.extend([
            "mass_search",
            "mass_question",
            "mass_view",
            "mass_download",
            "case_hopping",
            "mass_deletion",
        ]);
    }

    /// Ways to come back, and to carry things out.
    async fn carry_out(&mut self) {
        let case = &self.documents[0].0;
        self.ada.post(&format!("/cases/{case}/webhooks"), json!({ "url": "https://hooks.example.org/" })).await;
        let key = json!({ "name": "n", "scopes": ["chat"], "expires_in_days": 1, "networks": ["192.0.2.0/24"] });
        let mut stolen = Value::Null;
        for _ in 0..5 {
            stolen = self.ada.post("/api-keys", key.clone()).await;
        }
        let stolen = Person {
            http: reqwest::Client::new(),
            server: self.server,
            token: stolen["key"].as_str().unwrap().to_owned(),
        };
        assert_eq!(stolen.ask(Method::GET, "/auth/me", None).await.0, StatusCode::UNAUTHORIZED);
        let code = self.ada.post("/auth/invitations", json!({ "role": "administrator" })).await["code"].clone();
        let fields = json!({ "code": code, "email": "mallory@example.org", "name": "Mallory", "password": PASSWORD });
        self.ada.post("/auth/signup", fields).await;
        let (mallory, _) = Person::sign_in(self.server, "mallory@example.org", PASSWORD).await.unwrap();
        let asked = json!({ "reason": "curious about what it says", "minutes": 5 });
        mallory.post(&format!("/cases/{case}/break-glass"), asked).await;
        let users = self.ada.get("/users?limit=500").await;
        let find = |email: &str| {
            users["items"].as_array().unwrap().iter().find(|user| user["email"] == email).unwrap()["id"].clone()
        };
        let (walled, suspended) = (find(&self.people[3]), find(&self.people[4]));
        let wall = format!("/cases/{case}/walls/{}", walled.as_str().unwrap());
        let set = self.ada.ask(Method::PUT, &wall, Some(json!({ "reason": "was counsel of the other side" }))).await;
        assert!(set.0.is_success(), "{set:?}");
        assert!(self.ada.ask(Method::DELETE, &wall, None).await.0.is_success());
        let suspended = format!("/users/{}", suspended.as_str().unwrap());
        let told = self.ada.ask(Method::PATCH, &suspended, Some(json!({ "is_active": false }))).await;
        assert!(told.0.is_success(), "{told:?}");
        self.ada.post(&format!("/users/{}/password-reset", walled.as_str().unwrap()), Value::Null).await;
        self.expected.extend(["break_glass", "wall_lifted", "user_suspended", "password_reset_issued"]);
        self.ada.get("/audit/bundle").await;
        self.ada
            .post(
                "/auth/change-password",
                json!({ "current_password": PASSWORD, "new_password": "another lamp burns in the hall" }),
            )
            .await;
        let (status, _) = self.ada.ask(Method::PUT, "/queues/relate", Some(json!({ "paused": true }))).await;
        assert!(status.is_success(), "{status}");
        let (status, _) = self.ada.ask(Method::DELETE, &format!("/cases/{case}"), None).await;
        assert!(status.is_success(), "{status}");
        self.expected.extend([
            "webhook_added",
            "many_keys",
            "key_out_of_network",
            "administrator_invited",
            "trail_exported",
        ]);
        self.expected.extend(["password_changed", "queue_paused", "case_deleted"]);
    }

    /// Somebody with the machine's rights changes what is stored.
    async fn change_what_is_stored(&mut self) {
        let objects = self.server.home.path().join(".local/share/dia/objects");
        for path in files_under(&objects) {
            // What is temporary may go meanwhile.
            let Ok(mut bytes) = fs::read(&path) else { continue };
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
            fs::write(&path, bytes).unwrap();
        }
        let batches = self.ada.get(&format!("/databases/{}/batches", self.database)).await;
        let batch = batches["items"][0]["id"].as_str().unwrap();
        self.ada.post(&format!("/databases/{}/batches/{batch}/reprocess", self.database), json!({ "all": true })).await;
        let forge = "import sqlite3, sys; rows = sqlite3.connect(sys.argv[1], timeout=30); \
                     rows.execute('delete from audit_checkpoints'); rows.commit()";
        let rows = self.server.home.path().join(".local/share/dia/dia.sqlite");
        assert!(rows.is_file());
        assert!(Command::new("python3").args(["-c", forge]).arg(rows).status().unwrap().success());
        self.expected.extend(["integrity_failure", "log_damaged"]);
    }

    /// Looked at once; what goes on after that is another alert.
    async fn look(&self, alerts: &[Value]) {
        let one = alerts.iter().find(|alert| alert["rule"] == "mass_search").unwrap()["id"].as_str().unwrap();
        let acknowledge = format!("/alerts/{one}/acknowledge");
        assert_eq!(self.ada.ask(Method::POST, &acknowledge, None).await.0, StatusCode::NO_CONTENT);
        assert_eq!(self.ada.ask(Method::POST, &acknowledge, None).await.0, StatusCode::CONFLICT);
        let (member, _) = Person::sign_in(self.server, &self.people[2], PASSWORD).await.unwrap();
        assert_eq!(member.ask(Method::GET, "/alerts", None).await.0, StatusCode::FORBIDDEN);
        assert_eq!(member.ask(Method::POST, &acknowledge, None).await.0, StatusCode::FORBIDDEN);
        let case = &self.documents[4].0;
        self.ada.ask(Method::GET, &format!("/cases/{case}/search?q=asbestos"), None).await;
        let again = async || {
            let open = self.ada.get("/alerts?open=true&limit=500").await;
            open["items"].as_array().unwrap().iter().any(|alert| alert["rule"] == "mass_search" && alert["id"] != one)
        };
        let began = Instant::now();
        while !again().await {
            assert!(began.elapsed() < Duration::from_mins(1), "no second alert");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

/// One alert for each rule and subject is told over each way.
fn told(alerts: &[Value], collector: &UdpSocket, messages: &mpsc::Receiver<String>) {
    let ids: BTreeSet<&str> = alerts.iter().map(|alert| alert["id"].as_str().unwrap()).collect();
    let mut by_syslog = BTreeSet::new();
    let mut line = [0; 4096];
    let mut signed = 0;
    while by_syslog.len() < ids.len() || signed == 0 {
        let length = collector.recv(&mut line).unwrap();
        let line = String::from_utf8(line[..length].to_vec()).unwrap();
        let said: Value = serde_json::from_str(line.split_once('\u{feff}').unwrap().1).unwrap();
        assert!(line.contains(" dia "), "{line}");
        if line.contains(" checkpoint ") {
            assert!(line.starts_with("<38>1 ") && said["note"].as_str().unwrap().contains("\n\n\u{2014} "), "{line}");
            signed += 1;
        } else {
            assert!(line.contains(said["rule"].as_str().unwrap()), "{line}");
            by_syslog.insert(said["id"].as_str().unwrap().to_owned());
        }
    }
    let mut by_message = BTreeSet::new();
    while by_message.len() < ids.len() {
        let message = messages.recv_timeout(Duration::from_secs(30)).unwrap();
        assert!(message.contains("webhook-signature: v1,"), "{message}");
        let said: Value = serde_json::from_str(message.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(said["type"], "alert.raised");
        by_message.insert(said["data"]["id"].as_str().unwrap().to_owned());
    }
    assert!(ids.iter().all(|id| by_syslog.contains(*id) && by_message.contains(*id)));
}

/// Waits until all rules of `expected` have raised something, a minute at most; which have, and their alerts.
async fn named(ada: &Person<'_>, expected: &BTreeSet<&str>) -> (BTreeSet<String>, Vec<Value>) {
    let began = Instant::now();
    loop {
        let alerts = ada.get("/alerts?limit=500").await["items"].as_array().unwrap().clone();
        let raised: BTreeSet<String> = alerts.iter().map(|alert| alert["rule"].as_str().unwrap().to_owned()).collect();
        if raised.len() >= expected.len() || began.elapsed() > Duration::from_mins(1) {
            return (raised, alerts);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files_under(&path) } else { vec![path] }).collect()
}

/// Takes messages, answers each with 204, and hands them on whole.
fn listen(listener: TcpListener) -> mpsc::Receiver<String> {
    use std::io::{Read as _, Write as _};
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (mut stream, sender) = (stream, sender.clone());
            std::thread::spawn(move || {
                let (mut said, mut some) = (Vec::new(), [0; 4096]);
                while let Ok(length @ 1..) = stream.read(&mut some) {
                    said.extend_from_slice(&some[..length]);
                    let text = String::from_utf8_lossy(&said).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let length = head
                        .lines()
                        .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
                    if body.len() >= length.unwrap_or(0) {
                        let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
                        let _ = sender.send(text);
                        return;
                    }
                }
            });
        }
    });
    receiver
}
