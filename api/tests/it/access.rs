//! Who may do what: memberships for a while, ethical walls, breaking the glass, and saying why. Refusals to the byte are the
//! authorisation matrix's.

use std::time::Duration;

use domain::{access::CaseRole, clock::Timestamp, ids::UserId};
use serde_json::{Value, json};
use testkit::TestStorage;
use tokio::time::{sleep, timeout};

use crate::{
    door::{Answer, Door, Person},
    keys,
    papers::Papers,
    sockets::{Server, Socket},
};

testkit::in_each_mode!(
    a_membership_counts_in_its_time,
    a_time_must_make_sense,
    sockets_close_when_a_membership_ends,
    a_wall_keeps_out_whoever_it_is,
    sockets_close_before_a_wall,
    a_search_and_a_wall_at_once,
    breaking_the_glass_takes_two,
    a_grant_ends,
    two_approvals_at_once,
    a_wall_beats_the_glass,
    access_is_explained,
);

const MINUTE: Duration = Duration::from_mins(1);
const REASON: &str = "the manager has left the firm";

fn fresh() -> String {
    domain::ids::fresh().to_string()
}

/// A case of Ann's with one indexed document in it.
struct Scene<'a> {
    door: &'a Door,
    ann: &'a Person,
    papers: Papers<'a>,
    document: String,
}

impl<'a> Scene<'a> {
    async fn open(door: &'a Door, ann: &'a Person) -> Self {
        let papers = Papers::open(door, ann).await;
        let document = papers.paper("a.txt", &["Nobody signed the lease."]).await.to_string();
        papers.publish().await;
        Self { door, ann, papers, document }
    }

    fn path(&self, tail: &str) -> String {
        format!("/api/v1/cases/{}{tail}", self.papers.case)
    }

    async fn join(&self, person: UserId, fields: Value) -> Answer {
        self.door.put(&self.path(&format!("/members/{person}")), &fields).by(self.ann).send().await
    }

    async fn wall(&self, by: &Person, person: UserId) -> Answer {
        let reason = json!({ "reason": "acted for the other side until March" });
        self.door.put(&self.path(&format!("/walls/{person}")), &reason).by(by).send().await
    }

    async fn lift(&self, by: &Person, person: UserId) -> Answer {
        self.door.delete(&self.path(&format!("/walls/{person}"))).by(by).send().await
    }

    async fn ask_to_read(&self, by: &Person, minutes: u32) -> Answer {
        let fields = json!({ "reason": REASON, "minutes": minutes });
        self.door.post(&self.path("/break-glass"), &fields).by(by).key(&fresh()).send().await
    }

    async fn question(&self, person: &Person) -> Answer {
        let asked = json!({ "case_id": self.papers.case, "message": "Who signed the lease?" });
        self.door.post("/api/v1/chat/message", &asked).by(person).key(&fresh()).send().await
    }

    /// The status of everything that reads, in one go: the case, a document, its text, a search, the documents of the case.
    async fn reads(&self, token: &str) -> Vec<u16> {
        let document = format!("/api/v1/documents/{}", self.document);
        let mut statuses = Vec::new();
        for path in [
            self.path(""),
            document.clone(),
            format!("{document}/text"),
            self.papers.path("/search?q=lease"),
            self.path("/files"),
        ] {
            statuses.push(self.door.get(&path).token(token).send().await.status.as_u16());
        }
        statuses
    }

    /// How many cases, databases and conversations are listed.
    async fn listed(&self, token: &str) -> Vec<usize> {
        let mut counts = Vec::new();
        for path in ["/cases", "/databases", "/chat/conversations", "/chat/search?q=lease"] {
            let answer = self.door.get(&format!("/api/v1{path}")).token(token).send().await.expect(200);
            counts.push(answer.json()["items"].as_array().unwrap().len());
        }
        counts
    }

    async fn trail(&self) -> Vec<String> {
        self.door.test.trail(self.papers.case).await.into_iter().map(|entry| entry.action).collect()
    }
}

async fn approve(door: &Door, by: &Person, id: &str) -> Answer {
    door.knock("POST", &format!("/api/v1/break-glass/{id}/approve")).by(by).send().await
}

async fn a_membership_counts_in_its_time(test: TestStorage) {
    let test = test.with_manual_clock();
    let door = Door::new(test);
    let (ann, bob) = (door.member().await, door.member().await);
    let scene = Scene::open(&door, &ann).await;
    let now = door.test.storage.clock.now();
    let (begin, end) = (now.plus(2 * MINUTE), now.plus(6 * MINUTE));
    let fields = json!({ "role": "reviewer", "not_before": begin.rfc3339(), "expires_at": end.rfc3339() });
    scene.join(bob.id, fields).await.expect(204);
    let members = door.get(&scene.path("/members")).by(&ann).send().await.expect(200).json();
    assert_eq!(members["items"][1]["not_before"], json!(begin.rfc3339()), "{members}");
    assert_eq!(members["items"][1]["expires_at"], json!(end.rfc3339()));

    assert_eq!(scene.reads(&bob.token).await, [404; 5], "not yet");
    assert_eq!(scene.listed(&bob.token).await, [0; 4]);
    door.test.advance(2 * MINUTE);
    assert_eq!(scene.reads(&bob.token).await, [200; 5], "from the first moment on");
    let asked = scene.question(&bob).await.expect(202);
    let message = format!("/api/v1/chat/messages/{}", asked.text("/answer_id"));
    assert_eq!(scene.listed(&bob.token).await, [1, 1, 1, 1]);
    let key = keys::make(&door, &bob, &["documents:read"]).await.text;
    assert_eq!(scene.reads(&key).await, [200; 5]);
    door.test.advance(Duration::from_micros(239_999_999));
    assert_eq!(scene.reads(&bob.token).await, [200; 5], "to the last");
    door.test.advance(Duration::from_micros(1));
    assert_eq!(scene.reads(&bob.token).await, [404; 5], "and no longer");
    assert_eq!(scene.reads(&key).await, [404; 5]);
    assert_eq!(scene.listed(&bob.token).await, [0; 4]);
    door.get(&message).by(&bob).send().await.refused(404, "not_found");
    scene.question(&bob).await.refused(404, "not_found");
    let mut tx = door.test.storage.read(&ann.actor).await.unwrap();
    assert!(!storage::conversations::may_ask(&mut tx, scene.papers.case, bob.id).await.unwrap());
    drop(tx);
    // Without a time it counts for ever.
    scene.join(bob.id, json!({ "role": "reviewer" })).await.expect(204);
    assert_eq!(scene.reads(&bob.token).await, [200; 5]);
    assert!(door.test.said(scene.papers.case).await.contains(&end.rfc3339()), "the trail says until when");
}

async fn a_time_must_make_sense(test: TestStorage) {
    let door = Door::new(test);
    let (ann, bob) = (door.member().await, door.member().await);
    let scene = Scene::open(&door, &ann).await;
    let now = door.test.storage.clock.now();
    let at = |time: Timestamp| time.rfc3339();
    for fields in [
        json!({ "role": "reviewer", "expires_at": at(now.minus(MINUTE)) }),
        json!({ "role": "reviewer", "not_before": at(now.plus(2 * MINUTE)), "expires_at": at(now.plus(MINUTE)) }),
    ] {
        scene.join(bob.id, fields).await.refused(422, "invalid");
    }
    scene.join(bob.id, json!({ "role": "reviewer", "expires_at": "tomorrow" })).await.refused(400, "malformed_json");
    // The last manager stays, whichever way they would go.
    let later = at(now.plus(60 * MINUTE));
    for fields in [
        json!({ "role": "manager", "expires_at": later }),
        json!({ "role": "manager", "not_before": later }),
        json!({ "role": "lawyer" }),
    ] {
        scene.join(ann.id, fields).await.refused(409, "conflict");
    }
    // A manager for a while is none to keep the case with.
    scene.join(bob.id, json!({ "role": "manager", "expires_at": later })).await.expect(204);
    scene.join(ann.id, json!({ "role": "lawyer" })).await.refused(409, "conflict");
    scene.join(bob.id, json!({ "role": "manager" })).await.expect(204);
    // Two managers who demote each other at once: one of them stays.
    let demote = |by: &Person, whom: UserId| {
        let knock = door.put(&scene.path(&format!("/members/{whom}")), &json!({ "role": "lawyer" })).by(by);
        knock.send()
    };
    let (one, two) = tokio::join!(demote(&ann, bob.id), demote(&bob, ann.id));
    let statuses = [one.status.as_u16(), two.status.as_u16()];
    assert!(statuses.contains(&204) && statuses != [204, 204], "{statuses:?}");
}

/// Opens both sockets of a person who watches the case: their conversation, and its database.
async fn watch(door: &Door, scene: &Scene<'_>, person: &Person) -> (Vec<Server>, Vec<Socket>) {
    let conversation = scene.question(person).await.expect(202).text("/conversation_id");
    let (mut servers, mut sockets) = (Vec::new(), Vec::new());
    for (path, subscribe) in [
        ("/api/v1/ws/chat", json!({ "type": "subscribe", "conversation_id": conversation })),
        ("/api/v1/ws/database-status", json!({ "type": "subscribe", "database_id": scene.papers.database })),
    ] {
        let server = Server::start(door, path).await;
        let mut socket = server.open(person).await;
        socket.say(subscribe).await;
        assert_ne!(socket.hear().await.unwrap()["type"], "error");
        servers.push(server);
        sockets.push(socket);
    }
    (servers, sockets)
}

/// Asserts that each socket ends for want of access within five seconds.
async fn all_close(sockets: Vec<Socket>) {
    for mut socket in sockets {
        let ends = async {
            loop {
                if let Err(code) = socket.hear().await {
                    return code;
                }
            }
        };
        assert_eq!(timeout(Duration::from_secs(5), ends).await.expect("the socket stays open"), 4403);
    }
}

async fn sockets_close_when_a_membership_ends(test: TestStorage) {
    let test = test.with_manual_clock();
    let door = Door::new(test);
    let (ann, bob) = (door.member().await, door.member().await);
    let scene = Scene::open(&door, &ann).await;
    let end = door.test.storage.clock.now().plus(3 * MINUTE);
    scene.join(bob.id, json!({ "role": "reviewer", "expires_at": end.rfc3339() })).await.expect(204);
    let (_servers, sockets) = watch(&door, &scene, &bob).await;
    door.test.advance(3 * MINUTE);
    all_close(sockets).await;
}

async fn a_wall_keeps_out_whoever_it_is(test: TestStorage) {
    let door = Door::new(test);
    let (ann, bob, eve) = (door.member().await, door.member().await, door.member().await);
    let (chief, other_chief) = (door.administrator().await, door.administrator().await);
    let scene = Scene::open(&door, &ann).await;
    scene.join(bob.id, json!({ "role": "manager" })).await.expect(204);
    let message = format!("/api/v1/chat/messages/{}", scene.question(&bob).await.expect(202).text("/answer_id"));
    let key = keys::make(&door, &bob, &["documents:read", "cases:write"]).await.text;
    assert_eq!(scene.reads(&key).await, [200; 5]);

    let short = door.put(&scene.path(&format!("/walls/{}", bob.id)), &json!({ "reason": "because" })).by(&ann);
    short.send().await.refused(422, "invalid");
    scene.wall(&eve, bob.id).await.refused(404, "not_found");
    scene.wall(&ann, UserId::new()).await.refused(404, "not_found");
    // An administrator, who sees nothing else of the case.
    scene.wall(&chief, bob.id).await.expect(204);
    assert_eq!(scene.reads(&chief.token).await, [404; 5]);
    let walls = door.get(&scene.path("/walls")).by(&chief).send().await.expect(200).json();
    assert_eq!(walls["items"].as_array().unwrap().len(), 1);
    assert_eq!(walls["items"][0]["user_id"], json!(bob.id));
    assert_eq!(walls["items"][0]["reason"], "acted for the other side until March");
    assert_eq!(walls["items"][0]["created_by"], json!(chief.id));

    for token in [&bob.token, &key] {
        assert_eq!(scene.reads(token).await, [404; 5]);
    }
    assert_eq!(scene.listed(&bob.token).await, [0; 4]);
    door.get(&message).by(&bob).send().await.refused(404, "not_found");
    scene.question(&bob).await.refused(404, "not_found");
    // Nobody takes a wall away from before themselves, or sees it.
    scene.lift(&bob, bob.id).await.refused(404, "not_found");
    door.get(&scene.path("/walls")).by(&bob).send().await.refused(404, "not_found");
    scene.wall(&bob, ann.id).await.refused(404, "not_found");
    scene.wall(&chief, other_chief.id).await.expect(204);
    scene.lift(&other_chief, other_chief.id).await.refused(404, "not_found");
    scene.ask_to_read(&other_chief, 5).await.refused(404, "not_found");
    // Membership is no way round.
    scene.join(bob.id, json!({ "role": "reviewer" })).await.refused(409, "conflict");
    scene.wall(&ann, eve.id).await.expect(204);
    scene.join(eve.id, json!({ "role": "reviewer" })).await.refused(409, "conflict");
    // The one manager outside the walls is the last.
    scene.join(ann.id, json!({ "role": "lawyer" })).await.refused(409, "conflict");

    scene.lift(&ann, bob.id).await.expect(204);
    scene.lift(&ann, bob.id).await.refused(404, "not_found");
    assert_eq!(scene.reads(&bob.token).await, [200; 5]);
    door.get(&message).by(&bob).send().await.expect(200);
    let trail = scene.trail().await;
    for (action, times) in [("case.wall_set", 3), ("case.wall_lifted", 1)] {
        assert_eq!(trail.iter().filter(|entry| *entry == action).count(), times, "{action}: {trail:?}");
    }
    let said = door.test.said(scene.papers.case).await;
    assert!(said.contains(&eve.id.to_string()) && !said.contains("until March"), "who, and not why");
}

async fn sockets_close_before_a_wall(test: TestStorage) {
    let door = Door::new(test);
    let (ann, bob) = (door.member().await, door.member().await);
    let scene = Scene::open(&door, &ann).await;
    scene.join(bob.id, json!({ "role": "lawyer" })).await.expect(204);
    let (_servers, sockets) = watch(&door, &scene, &bob).await;
    scene.wall(&ann, bob.id).await.expect(204);
    all_close(sockets).await;
}

/// Searches that are under way when the wall comes are answered as before it or as after it; those that begin after it, as after it.
async fn a_search_and_a_wall_at_once(test: TestStorage) {
    let door = Door::new(test);
    let (ann, bob) = (door.member().await, door.member().await);
    let scene = Scene::open(&door, &ann).await;
    scene.join(bob.id, json!({ "role": "lawyer" })).await.expect(204);
    let path = scene.papers.path("/search?q=lease");
    let search = || async { door.get(&path).by(&bob).send().await.status.as_u16() };
    let searches = futures::future::join_all((0..24).map(|n| {
        let search = search();
        async move {
            sleep(Duration::from_millis(n * 3)).await;
            search.await
        }
    }));
    let wall = async {
        sleep(Duration::from_millis(30)).await;
        scene.wall(&ann, bob.id).await.expect(204);
        let after = search().await;
        assert_eq!(after, 404);
    };
    let (statuses, ()) = tokio::join!(searches, wall);
    assert!(statuses.iter().all(|status| [200, 404].contains(status)), "{statuses:?}");
    assert_eq!(search().await, 404);
}

async fn breaking_the_glass_takes_two(test: TestStorage) {
    let door = Door::new(test);
    let (ann, eve) = (door.member().await, door.member().await);
    let (chief, second) = (door.administrator().await, door.administrator().await);
    let scene = Scene::open(&door, &ann).await;
    let hook = json!({ "url": "https://hooks.example.org/", "events": ["case.break_glass"] });
    let hook = door.post(&scene.path("/webhooks"), &hook).by(&ann).key(&fresh()).send().await.expect(201).text("/id");

    let ask = |by: &Person, path: String, fields: Value| door.post(&path, &fields).by(by).key(&fresh()).send();
    let good = json!({ "reason": REASON, "minutes": 60 });
    ask(&eve, scene.path("/break-glass"), good.clone()).await.refused(404, "not_found");
    ask(&ann, scene.path("/break-glass"), good.clone()).await.refused(403, "forbidden");
    let nowhere = format!("/api/v1/cases/{}/break-glass", domain::ids::fresh());
    ask(&chief, nowhere, good.clone()).await.refused(404, "not_found");
    for fields in [json!({ "reason": "why not", "minutes": 5 }), json!({ "reason": REASON, "minutes": 61 })] {
        ask(&chief, scene.path("/break-glass"), fields).await.refused(422, "invalid");
    }
    let asked = ask(&chief, scene.path("/break-glass"), good.clone()).await.expect(201);
    let id = asked.text("/id");
    assert_eq!(asked.text("/state"), "pending");
    ask(&chief, scene.path("/break-glass"), good).await.refused(409, "conflict");
    assert_eq!(scene.reads(&chief.token).await, [404; 5], "asking opens nothing");

    approve(&door, &chief, &id).await.refused(403, "forbidden");
    approve(&door, &ann, &id).await.refused(403, "forbidden");
    approve(&door, &eve, &id).await.refused(404, "not_found");
    let approved = approve(&door, &second, &id).await.expect(200);
    assert_eq!((approved.text("/state"), approved.text("/reason")), ("approved".to_owned(), REASON.to_owned()));
    assert_eq!(approved.text("/decided_by"), second.id.to_string());
    approve(&door, &second, &id).await.refused(409, "conflict");

    assert_eq!(scene.reads(&chief.token).await, [200; 5]);
    assert_eq!(scene.listed(&chief.token).await[..2], [1, 1]);
    let found = door.get(&scene.path("/search?q=lease")).by(&chief).send().await.expect(200).json();
    assert_eq!(found["total"], 1, "in every database of the case: {found}");
    assert_eq!(scene.reads(&second.token).await, [404; 5], "who approves reads nothing");
    scene.question(&chief).await.refused(403, "forbidden");
    door.put(&scene.path(""), &json!({ "title": "Mine" })).by(&chief).send().await.refused(403, "forbidden");
    door.get(&scene.path("/audit")).by(&chief).send().await.refused(403, "forbidden");
    let key = keys::make(&door, &chief, &["documents:read", "cases:read"]).await.text;
    assert_eq!(scene.reads(&key).await, [404; 5], "a key is no administrator");
    assert_eq!(door.get("/api/v1/cases").token(&key).send().await.json()["items"], json!([]));

    let listed = |by: &Person| door.get("/api/v1/break-glass").by(by).send();
    for (person, count) in [(&chief, 1), (&second, 1), (&ann, 1), (&eve, 0)] {
        let items = listed(person).await.expect(200).json()["items"].as_array().unwrap().len();
        assert_eq!(items, count);
    }
    let end = |by: &Person| door.delete(&format!("/api/v1/break-glass/{id}")).by(by).send();
    end(&eve).await.refused(404, "not_found");
    end(&ann).await.expect(204);
    end(&ann).await.refused(409, "conflict");
    assert_eq!(scene.reads(&chief.token).await, [404; 5]);
    let trail = scene.trail().await;
    for action in ["break_glass.asked", "break_glass.approved", "document.viewed", "break_glass.ended"] {
        assert!(trail.iter().any(|entry| entry == action), "{action}: {trail:?}");
    }
    let told = door.get(&scene.path(&format!("/webhooks/{hook}/deliveries"))).by(&ann).send().await.expect(200).json();
    let events: Vec<&str> =
        told["items"].as_array().unwrap().iter().map(|told| told["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["case.break_glass"; 3], "asked, approved, ended");
}

async fn a_grant_ends(test: TestStorage) {
    let test = test.with_manual_clock();
    let door = Door::new(test);
    let ann = door.member().await;
    let (chief, second) = (door.administrator().await, door.administrator().await);
    let scene = Scene::open(&door, &ann).await;
    let id = scene.ask_to_read(&chief, 5).await.expect(201).text("/id");
    door.test.advance(MINUTE);
    approve(&door, &second, &id).await.expect(200);
    let server = Server::start(&door, "/api/v1/ws/database-status").await;
    let mut socket = server.open(&chief).await;
    socket.say(json!({ "type": "subscribe", "database_id": scene.papers.database })).await;
    assert_eq!(socket.hear().await.unwrap()["type"], "database_status");
    door.test.advance(Duration::from_micros(299_999_999));
    assert_eq!(scene.reads(&chief.token).await, [200; 5]);
    door.test.advance(Duration::from_micros(1));
    assert_eq!(scene.reads(&chief.token).await, [404; 5]);
    all_close(vec![socket]).await;
    let state = |items: &Value| items["items"][0]["state"].clone();
    let listed = door.get("/api/v1/break-glass").by(&second).send().await.expect(200).json();
    assert_eq!(state(&listed), "expired");
    // It can be asked for again; who is refused does not read; nor who is no administrator any more.
    let id = scene.ask_to_read(&chief, 5).await.expect(201).text("/id");
    let refuse = |by: &Person, id: &str| door.knock("POST", &format!("/api/v1/break-glass/{id}/refuse")).by(by).send();
    refuse(&chief, &id).await.refused(403, "forbidden");
    assert_eq!(refuse(&second, &id).await.expect(200).text("/state"), "refused");
    approve(&door, &second, &id).await.refused(409, "conflict");
    assert_eq!(scene.reads(&chief.token).await, [404; 5]);
    let id = scene.ask_to_read(&chief, 5).await.expect(201).text("/id");
    approve(&door, &second, &id).await.expect(200);
    assert_eq!(scene.reads(&chief.token).await, [200; 5]);
    door.test.statement("update users set role = 'member'").await;
    assert_eq!(scene.reads(&chief.token).await, [404; 5]);
}

async fn two_approvals_at_once(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let chiefs = [door.administrator().await, door.administrator().await, door.administrator().await];
    let scene = Scene::open(&door, &ann).await;
    for _ in 0..5 {
        let id = scene.ask_to_read(&chiefs[0], 5).await.expect(201).text("/id");
        let (one, two) = tokio::join!(approve(&door, &chiefs[1], &id), approve(&door, &chiefs[2], &id));
        let mut statuses = [one.status.as_u16(), two.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409]);
        door.delete(&format!("/api/v1/break-glass/{id}")).by(&chiefs[0]).send().await.expect(204);
    }
    // Asked twice at once, one request waits.
    let (one, two) = tokio::join!(scene.ask_to_read(&chiefs[0], 5), scene.ask_to_read(&chiefs[0], 5));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
    let approvals = scene.trail().await.iter().filter(|action| *action == "break_glass.approved").count();
    assert_eq!(approvals, 5);
}

async fn a_wall_beats_the_glass(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let (chief, second) = (door.administrator().await, door.administrator().await);
    let scene = Scene::open(&door, &ann).await;
    let id = scene.ask_to_read(&chief, 5).await.expect(201).text("/id");
    approve(&door, &second, &id).await.expect(200);
    assert_eq!(scene.reads(&chief.token).await, [200; 5]);
    scene.wall(&ann, chief.id).await.expect(204);
    assert_eq!(scene.reads(&chief.token).await, [404; 5]);
    assert_eq!(scene.listed(&chief.token).await, [0; 4]);
    let listed = door.get("/api/v1/break-glass").by(&chief).send().await.expect(200).json();
    assert_eq!(listed["items"], json!([]), "not even that there was one");
    approve(&door, &chief, &id).await.refused(404, "not_found");
    door.delete(&format!("/api/v1/break-glass/{id}")).by(&chief).send().await.refused(404, "not_found");
    // A member has no glass to break.
    scene.join(second.id, json!({ "role": "auditor" })).await.expect(204);
    scene.ask_to_read(&second, 5).await.refused(409, "conflict");
}

async fn access_is_explained(test: TestStorage) {
    let door = Door::new(test);
    let (ann, bob, eve) = (door.member().await, door.member().await, door.member().await);
    let chief = door.administrator().await;
    let scene = Scene::open(&door, &ann).await;
    scene.join(bob.id, json!({ "role": "reviewer" })).await.expect(204);
    let explain = |by: &Person, whom: &str| door.get(&scene.path(&format!("/access/{whom}"))).by(by).send();
    let why = |answer: &Answer, action: &str| {
        let json = answer.json();
        let decided = json["actions"].as_array().unwrap().iter().find(|it| it["action"] == action).unwrap().clone();
        let codes = decided["reasons"].as_array().unwrap().iter().map(|it| it["code"].as_str().unwrap().to_owned());
        (decided["allowed"].as_bool().unwrap(), codes.collect::<Vec<_>>().join(" "))
    };
    let bob_id = bob.id.to_string();
    for by in [&ann, &chief] {
        let answer = explain(by, &bob_id).await.expect(200);
        assert_eq!(why(&answer, "read_documents"), (true, "role".to_owned()));
        assert_eq!(why(&answer, "upload"), (false, "role_too_low".to_owned()));
        assert_eq!(answer.text("/role"), "reviewer");
        let words = answer.json()["actions"][0]["reasons"][0]["words"].as_str().unwrap().to_owned();
        assert!(words.contains("role in the case"), "{words}");
    }
    explain(&bob, &ann.id.to_string()).await.refused(403, "forbidden");
    explain(&eve, &bob_id).await.refused(404, "not_found");
    explain(&ann, &fresh()).await.refused(404, "not_found");
    scene.join(bob.id, json!({ "role": "auditor" })).await.expect(204);
    explain(&bob, &ann.id.to_string()).await.expect(200);
    let stranger = explain(&ann, &eve.id.to_string()).await.expect(200);
    assert_eq!(why(&stranger, "see_case"), (false, "not_a_member".to_owned()));

    // Of oneself anybody who sees the case may ask, and a key hears what it lacks.
    let own = explain(&bob, "me").await.expect(200);
    assert_eq!(own.text("/user_id"), bob_id);
    assert_eq!(why(&own, "read_documents"), (false, "role_too_low".to_owned()));
    let key = keys::make(&door, &ann, &["cases:read"]).await.text;
    let own = door.get(&scene.path("/access/me")).token(&key).send().await.expect(200);
    assert_eq!(why(&own, "upload"), (false, "scope_missing".to_owned()));
    explain(&eve, "me").await.refused(404, "not_found");

    scene.wall(&ann, bob.id).await.expect(204);
    let walled = explain(&ann, &bob_id).await.expect(200);
    assert_eq!(why(&walled, "see_case"), (false, "walled".to_owned()));
    assert_eq!(
        (walled.json()["walled"].clone(), walled.text("/role")),
        (json!(true), CaseRole::Auditor.name().to_owned())
    );
    explain(&bob, "me").await.refused(404, "not_found");
    assert!(scene.trail().await.iter().any(|action| action == "case.access_explained"));
}
