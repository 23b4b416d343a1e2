//! API keys through the door: made, used, rotated, revoked; and every way in which one opens nothing.

use std::time::Duration;

use api::ApiConfig;
use domain::{
    access::CaseRole,
    actor::Actor,
    ids::{ApiKeyId, CaseId},
};
use serde_json::{Value, json};
use testkit::TestStorage;

use crate::{
    door::{Answer, Door, HOME, Person},
    papers::Papers,
    sockets::Server,
};

const DAY: Duration = Duration::from_hours(24);

testkit::in_each_mode!(
    a_key_acts_for_its_person,
    a_key_is_shown_once,
    what_a_key_must_be,
    keys_that_open_nothing,
    a_key_reaches_its_cases_only,
    a_key_never_does_more_than_its_person,
    a_key_comes_from_its_networks,
    a_key_is_rotated_with_an_overlap,
    a_revoked_key_ends_its_sockets,
    administrators_see_and_revoke_every_key,
    a_key_in_a_url_is_refused,
    the_last_use_is_noted,
    a_key_has_answers_of_its_own,
    a_purged_case_leaves_no_key_unbounded,
    old_keys_are_forgotten,
);

/// A key as it was made.
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) text: String,
}

/// Asks for a key.
pub(crate) async fn ask(door: &Door, person: &Person, fields: &Value) -> Answer {
    let key = domain::ids::fresh().to_string();
    door.post("/api/v1/api-keys", fields).by(person).key(&key).send().await
}

/// Makes a key with `scopes` for all cases of `person`.
pub(crate) async fn make(door: &Door, person: &Person, scopes: &[&str]) -> Key {
    made(&ask(door, person, &json!({ "name": "a program", "scopes": scopes, "expires_in_days": 30 })).await.expect(201))
}

fn made(answer: &Answer) -> Key {
    Key { id: answer.text("/id"), text: answer.text("/key") }
}

async fn me(door: &Door, key: &str) -> Answer {
    door.get("/api/v1/auth/me").token(key).send().await
}

/// True when a key opens something now.
async fn opens(door: &Door, key: &str) -> bool {
    let answer = me(door, key).await;
    if answer.status == 200 {
        return true;
    }
    answer.refused(401, "unauthenticated");
    false
}

async fn a_key_acts_for_its_person(test: TestStorage) {
    let door = Door::new(test);
    let (ann, root) = (door.member().await, door.administrator().await);
    let papers = Papers::open(&door, &ann).await;
    let key = make(&door, &ann, &["cases:read", "documents:write"]).await;
    assert_eq!(me(&door, &key.text).await.expect(200).text("/id"), ann.id.to_string());
    let batches = papers.path("/batches");
    let fields = json!({ "name": "VOL001" });
    door.post(&batches, &fields).token(&key.text).key("b").send().await.expect(201);
    let trail = door.get(&format!("/api/v1/cases/{}/audit", papers.case)).by(&ann).send().await.expect(200).json();
    let opened = trail["items"].as_array().unwrap().iter().find(|event| event["action"] == "batch.opened").unwrap();
    assert_eq!(
        (&opened["actor_kind"], &opened["actor_id"], &opened["key_id"]),
        (&json!("key"), &json!(ann.id), &json!(key.id))
    );
    // What belongs to the person alone is not done with a key, and neither is what the scopes leave out.
    for (method, path) in [
        ("GET", "/api/v1/api-keys".to_owned()),
        ("DELETE", format!("/api/v1/api-keys/{}", key.id)),
        ("GET", "/api/v1/auth/sessions".to_owned()),
        ("POST", "/api/v1/auth/logout".to_owned()),
        ("DELETE", format!("/api/v1/cases/{}", papers.case)),
    ] {
        door.knock(method, &path).token(&key.text).send().await.refused(403, "forbidden");
    }
    let all: Vec<&str> = domain::scope::Scope::ALL.iter().map(|scope| scope.name()).collect();
    let strongest = make(&door, &root, &all).await;
    let fields = json!({ "name": "another", "scopes": ["chat"], "expires_in_days": 1 });
    door.post("/api/v1/api-keys", &fields).token(&strongest.text).key("k").send().await.refused(403, "forbidden");
    let role = json!({ "role": "member" });
    door.post("/api/v1/auth/invitations", &role).token(&strongest.text).key("k").send().await.refused(403, "forbidden");
    let number = "select count(*) from audit_events where action = 'api_key.created'";
    assert_eq!(door.test.number(number).await, 2);
}

async fn a_key_is_shown_once(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let fields = json!({ "name": "Relay", "scopes": ["documents:read", "chat"], "networks": ["203.0.113.0/24", "::1"],
        "expires_in_days": 2 });
    let first = door.post("/api/v1/api-keys", &fields).by(&ann).key("k").send().await.expect(201);
    let again = door.post("/api/v1/api-keys", &fields).by(&ann).key("k").send().await.expect(201);
    assert_eq!(first.raw, again.raw);
    let text = first.text("/key");
    assert!(text.starts_with(&format!("{}_", first.text("/prefix"))));
    let path = format!("/api/v1/api-keys/{}", first.text("/id"));
    let shown = door.get(&path).by(&ann).send().await.expect(200);
    let mut expected = first.json();
    expected.as_object_mut().unwrap().remove("key");
    assert_eq!(shown.json(), expected);
    assert_eq!(shown.json()["networks"], json!(["203.0.113.0/24", "::1/128"]));
    let list = door.get("/api/v1/api-keys").by(&ann).send().await.expect(200).json();
    assert_eq!(list["items"], json!([expected]));
    // Neither the rows nor what is kept for a repeated request hold the secret.
    let secret = &text[21..85];
    for column in ["secret_hash", "name", "prefix"] {
        let sql = format!("select count(*) from api_keys where cast({column} as text) like '%{secret}%'");
        assert_eq!(door.test.number(&sql).await, 0);
    }
    let sql = format!("select count(*) from audit_events where cast(details as text) like '%{secret}%'");
    assert_eq!(door.test.number(&sql).await, 0);
    for file in walk(door.test.directory()) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{}", file.display());
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

async fn what_a_key_must_be(test: TestStorage) {
    let config = ApiConfig { max_api_keys: 2, max_api_key_days: 10, api_key_overlap_hours: 1, ..ApiConfig::default() };
    let door = Door::with(test, config);
    let (ann, bob) = (door.member().await, door.member().await);
    let theirs = Papers::open(&door, &bob).await.case;
    let good = json!({ "name": "n", "scopes": ["chat"], "expires_in_days": 10 });
    for (field, value) in [
        ("name", json!("")),
        ("name", json!("n".repeat(101))),
        ("name", json!("a\nb")),
        ("scopes", json!([])),
        ("scopes", json!(["everything"])),
        ("case_ids", json!([])),
        ("networks", json!(["10.0.0.0/33"])),
        ("networks", json!(vec!["::1"; 101])),
        ("expires_in_days", json!(0)),
        ("expires_in_days", json!(11)),
        ("expires_in_days", json!(u64::MAX)),
    ] {
        let mut fields = good.clone();
        fields[field] = value;
        ask(&door, &ann, &fields).await.refused(422, "invalid");
    }
    for (field, value) in [("expires_in_days", Value::Null), ("scope", json!("chat"))] {
        let mut fields = good.clone();
        fields[field] = value;
        ask(&door, &ann, &fields).await.refused(400, "malformed_json");
    }
    // A case that is not one's own is a missing one.
    for case in [theirs, CaseId::new()] {
        let mut fields = good.clone();
        fields["case_ids"] = json!([case]);
        ask(&door, &ann, &fields).await.refused(404, "not_found");
    }
    let key = made(&ask(&door, &ann, &good).await.expect(201));
    ask(&door, &ann, &good).await.expect(201);
    ask(&door, &ann, &good).await.refused(409, "conflict");
    door.delete(&format!("/api/v1/api-keys/{}", key.id)).by(&ann).send().await.expect(204);
    let key = made(&ask(&door, &ann, &good).await.expect(201));
    let path = format!("/api/v1/api-keys/{}/rotate", key.id);
    let rotate = |minutes: u64| door.post(&path, &json!({ "overlap_minutes": minutes })).by(&ann).key("r").send();
    rotate(61).await.refused(422, "invalid");
    rotate(60).await.expect(201);
}

async fn keys_that_open_nothing(test: TestStorage) {
    let door = Door::new(test.with_manual_clock());
    let ann = door.member().await;
    let fields = json!({ "name": "n", "scopes": ["chat"], "expires_in_days": 1 });
    let good = made(&ask(&door, &ann, &fields).await.expect(201));
    let other = made(&ask(&door, &ann, &fields).await.expect(201));
    assert!(opens(&door, &good.text).await);
    let signed = |body: &str| format!("{body}{:08x}", crc32(body.as_bytes()));
    let (prefix, secret) = (&good.text[..20], &good.text[21..85]);
    let flipped: String = secret.chars().rev().collect();
    let last = if good.text.ends_with('0') { "1" } else { "0" };
    for (what, text) in [
        ("nothing", "dia_".to_owned()),
        ("a forged checksum", format!("{}{last}", &good.text[..good.text.len() - 1])),
        ("a known prefix with another secret", signed(&format!("{prefix}_{flipped}"))),
        ("another's secret", signed(&format!("{prefix}_{}", &other.text[21..85]))),
        ("a prefix nobody has", signed(&format!("dia_{}_{secret}", "0".repeat(16)))),
        ("cut", good.text[..good.text.len() - 8].to_owned()),
        ("in capitals", good.text.to_uppercase()),
        ("the hash of the secret", signed(&format!("{prefix}_{}", sha256(secret)))),
        ("the id", good.id.clone()),
    ] {
        assert!(!opens(&door, &text).await, "{what}");
    }
    // As good to the last moment, and then no longer.
    door.test.advance(DAY.saturating_sub(Duration::from_micros(1)));
    assert!(opens(&door, &good.text).await);
    door.test.advance(Duration::from_micros(1));
    assert!(!opens(&door, &good.text).await && !opens(&door, &other.text).await);

    let key = made(&ask(&door, &signed_in_again(&door, &ann).await, &fields).await.expect(201));
    let path = format!("/api/v1/api-keys/{}", key.id);
    door.delete(&path).by(&signed_in_again(&door, &ann).await).send().await.expect(204);
    assert!(!opens(&door, &key.text).await);
    door.delete(&path).by(&signed_in_again(&door, &ann).await).send().await.refused(404, "not_found");
    assert!(
        door.get(&path).by(&signed_in_again(&door, &ann).await).send().await.expect(200).json()["revoked_at"]
            .is_string()
    );

    let key = made(&ask(&door, &signed_in_again(&door, &ann).await, &fields).await.expect(201));
    assert!(opens(&door, &key.text).await);
    door.test
        .statement(&format!("update users set is_active = false where email = '{}'", ann_email(&door, &ann).await))
        .await;
    assert!(!opens(&door, &key.text).await, "a suspended person's keys are dead");
}

/// The same person, signed in again now.
async fn signed_in_again(door: &Door, person: &Person) -> Person {
    let mut tx = door.test.storage.begin(&Actor::system(domain::ids::fresh())).await.unwrap();
    let lives = storage::sessions::Lifetimes { idle: DAY, absolute: DAY };
    let (session, _) =
        storage::sessions::open(&mut tx, person.id, &lives, storage::sessions::Proof::Password).await.unwrap();
    tx.commit().await.unwrap();
    let token = door.state.tokens.issue(person.id, session, door.test.storage.clock.now()).unwrap();
    Person { id: person.id, session, token, actor: person.actor.clone() }
}

async fn ann_email(door: &Door, person: &Person) -> String {
    let mut tx = door.test.storage.read(&person.actor).await.unwrap();
    storage::users::find(&mut tx, person.id).await.unwrap().user.email
}

fn sha256(text: &str) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(text.as_bytes()))
}

/// CRC-32 as its standard defines it, bit by bit: what a scanner elsewhere would compute.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

async fn a_key_reaches_its_cases_only(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let (one, two) = (Papers::open(&door, &ann).await, Papers::open(&door, &ann).await);
    let document = two.deliver("a.txt", b"two").await;
    let all: Vec<&str> = domain::scope::Scope::ALL.iter().map(|scope| scope.name()).collect();
    let fields = json!({ "name": "n", "scopes": all, "case_ids": [one.case], "expires_in_days": 1 });
    let key = made(&ask(&door, &ann, &fields).await.expect(201));
    for conversation in [&one, &two] {
        let question = json!({ "case_id": conversation.case, "message": "Who signed?" });
        let id = domain::ids::fresh().to_string();
        door.post("/api/v1/chat/message", &question).by(&ann).key(&id).send().await.expect(202);
    }
    // Whatever lies in another case is missing, byte for byte.
    let request = domain::ids::fresh().to_string();
    for (method, foreign, missing) in [
        ("GET", format!("/api/v1/cases/{}", two.case), format!("/api/v1/cases/{}", CaseId::new())),
        ("GET", two.path("/status"), format!("/api/v1/databases/{}/status", domain::ids::fresh())),
        ("GET", format!("/api/v1/documents/{document}"), format!("/api/v1/documents/{}", domain::ids::fresh())),
        ("DELETE", format!("/api/v1/documents/{document}"), format!("/api/v1/documents/{}", domain::ids::fresh())),
        (
            "GET",
            format!("/api/v1/chat/history?case_id={}", two.case),
            format!("/api/v1/chat/history?case_id={}", CaseId::new()),
        ),
    ] {
        let mut answers = Vec::new();
        for path in [&foreign, &missing] {
            let answer = door.knock(method, path).token(&key.text).header("x-request-id", &request).send().await;
            answer.refused(404, "not_found");
            answers.push((answer.raw, format!("{:?}", answer.headers)));
        }
        assert_eq!(answers[0], answers[1], "{method} {foreign}");
    }
    door.get(&format!("/api/v1/cases/{}", one.case)).token(&key.text).send().await.expect(200);
    // Lists hold nothing of it, with pages or without.
    for (path, own) in [("/api/v1/cases?limit=1", json!(one.case)), ("/api/v1/databases?limit=1", json!(one.database))]
    {
        let list = door.get(path).token(&key.text).send().await.expect(200).json();
        let ids: Vec<&Value> = list["items"].as_array().unwrap().iter().map(|row| &row["id"]).collect();
        assert_eq!((ids, list.get("next_cursor")), (vec![&own], None), "{path}");
    }
    for path in ["/api/v1/chat/conversations", "/api/v1/chat/search?q=signed"] {
        let list = door.get(path).token(&key.text).send().await.expect(200).json();
        let cases: Vec<&Value> = list["items"].as_array().unwrap().iter().map(|row| &row["case_id"]).collect();
        assert_eq!(cases, [&json!(one.case)], "{path}");
    }
    // And it opens no further case.
    let title = json!({ "title": "Another" });
    door.post("/api/v1/cases", &title).token(&key.text).key("k").send().await.refused(403, "forbidden");
}

async fn a_key_never_does_more_than_its_person(test: TestStorage) {
    let door = Door::new(test);
    let (ann, bob) = (door.member().await, door.member().await);
    let papers = Papers::open(&door, &ann).await;
    let member = format!("/api/v1/cases/{}/members/{}", papers.case, bob.id);
    let admit = |role: CaseRole| door.put(&member, &json!({ "role": role.name() })).by(&ann).send();
    admit(CaseRole::Paralegal).await.expect(204);
    let key = make(&door, &bob, &["cases:write", "documents:write", "databases:write", "jobs:write"]).await;
    let open = |n: &'static str| door.post(&papers.path("/batches"), &json!({})).token(&key.text).key(n).send();
    let edit = || door.put(&format!("/api/v1/cases/{}", papers.case), &json!({ "title": "x" })).token(&key.text).send();
    open("1").await.expect(201);
    edit().await.refused(403, "forbidden");
    door.get("/api/v1/jobs").token(&key.text).send().await.refused(403, "forbidden");
    admit(CaseRole::Reviewer).await.expect(204);
    open("2").await.refused(403, "forbidden");
    admit(CaseRole::Lawyer).await.expect(204);
    edit().await.expect(200);
    door.delete(&member).by(&ann).send().await.expect(204);
    open("3").await.refused(404, "not_found");
    edit().await.refused(404, "not_found");
    assert!(opens(&door, &key.text).await);
}

async fn a_key_comes_from_its_networks(test: TestStorage) {
    let config = ApiConfig { trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()], ..ApiConfig::default() };
    let door = Door::with(test, config);
    let ann = door.member().await;
    let fields = json!({ "name": "n", "scopes": ["chat"], "networks": ["198.51.100.0/24", "2001:db8::/32"],
        "expires_in_days": 1 });
    let key = made(&ask(&door, &ann, &fields).await.expect(201));
    for (peer, forwarded, good) in [
        ("198.51.100.7", None, true),
        ("::ffff:198.51.100.7", None, true),
        ("2001:db8::7", None, true),
        (HOME, None, false),
        (HOME, Some("198.51.100.7"), false),
        ("10.0.0.1", Some("198.51.100.7"), true),
        ("10.0.0.1", Some("198.51.100.7, 203.0.113.9"), false),
        ("10.0.0.1", None, false),
    ] {
        let knock = door.get("/api/v1/auth/me").token(&key.text).from(peer);
        let knock = if let Some(hops) = forwarded { knock.header("x-forwarded-for", hops) } else { knock };
        let answer = knock.send().await;
        assert_eq!(answer.status.as_u16(), if good { 200 } else { 401 }, "{peer} {forwarded:?}");
    }
}

async fn a_key_is_rotated_with_an_overlap(test: TestStorage) {
    let door = Door::new(test.with_manual_clock());
    let (ann, root) = (door.member().await, door.administrator().await);
    let case = Papers::open(&door, &ann).await.case;
    let fields = json!({ "name": "Relay", "scopes": ["chat"], "case_ids": [case], "networks": ["203.0.113.0/24"],
        "expires_in_days": 5 });
    let old = made(&ask(&door, &ann, &fields).await.expect(201));
    let path = format!("/api/v1/api-keys/{}/rotate", old.id);
    let body = json!({ "overlap_minutes": 10 });
    door.post(&path, &body).by(&root).key("r").send().await.refused(403, "forbidden");
    let answer = door.post(&path, &body).by(&ann).key("r").send().await.expect(201);
    let again = door.post(&path, &body).by(&ann).key("r").send().await.expect(201);
    assert_eq!(answer.raw, again.raw);
    let new = made(&answer);
    assert_ne!((&new.id, &new.text), (&old.id, &old.text));
    let (next, before) = (answer.json(), door.get(&path.replace("/rotate", "")).by(&ann).send().await.json());
    for same in ["name", "scopes", "case_ids", "networks"] {
        assert_eq!(next[same], before[same], "{same}");
    }
    assert_eq!(before["successor_id"], json!(new.id));
    assert_eq!(next["expires_at"], "2026-01-06T00:00:00Z");
    assert_eq!(before["expires_at"], "2026-01-01T00:10:00Z");
    door.post(&path, &body).by(&ann).key("other").send().await.refused(409, "conflict");
    assert!(opens(&door, &old.text).await && opens(&door, &new.text).await);
    door.test.advance(Duration::from_mins(10));
    assert!(!opens(&door, &old.text).await && opens(&door, &new.text).await);
    // Without an overlap it ends at once; a key that ended has no successor.
    let path = format!("/api/v1/api-keys/{}/rotate", new.id);
    let last = door
        .post(&path, &json!({ "overlap_minutes": 0 }))
        .by(&signed_in_again(&door, &ann).await)
        .key("l")
        .send()
        .await;
    let last = made(&last.expect(201));
    assert!(!opens(&door, &new.text).await && opens(&door, &last.text).await);
    door.test.advance(DAY * 5);
    let path = format!("/api/v1/api-keys/{}/rotate", last.id);
    door.post(&path, &body).by(&signed_in_again(&door, &ann).await).key("e").send().await.refused(409, "conflict");
    assert_eq!(door.test.number("select count(*) from api_keys").await, 3);
}

async fn a_revoked_key_ends_its_sockets(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let key = make(&door, &ann, &["cases:read"]).await;
    let server = Server::start(&door, "/api/v1/ws/database-status").await;
    let subscribe = json!({ "type": "subscribe", "database_id": papers.database });
    let mut by_header = server.connect(&[("authorization", &format!("Bearer {}", key.text))]).await.unwrap();
    let mut by_message = server.connect(&[]).await.unwrap();
    by_message.say(json!({ "type": "authenticate", "token": key.text })).await;
    for socket in [&mut by_header, &mut by_message] {
        socket.say(subscribe.clone()).await;
        assert_eq!(socket.hear().await.unwrap()["type"], "database_status");
    }
    door.delete(&format!("/api/v1/api-keys/{}", key.id)).by(&ann).send().await.expect(204);
    for socket in [&mut by_header, &mut by_message] {
        let closed = loop {
            match socket.hear().await {
                Ok(_) => {}
                Err(code) => break code,
            }
        };
        assert_eq!(closed, 4401);
    }
    assert!(server.connect(&[("authorization", &format!("Bearer {}", key.text))]).await.is_err());
}

async fn administrators_see_and_revoke_every_key(test: TestStorage) {
    let door = Door::new(test);
    let (ann, bob, root) = (door.member().await, door.member().await, door.administrator().await);
    let key = make(&door, &ann, &["chat"]).await;
    let path = format!("/api/v1/api-keys/{}", key.id);
    let missing = format!("/api/v1/api-keys/{}", ApiKeyId::new());
    let request = domain::ids::fresh().to_string();
    for method in ["GET", "DELETE"] {
        let mut answers = Vec::new();
        for path in [&path, &missing] {
            let answer = door.knock(method, path).by(&bob).header("x-request-id", &request).send().await;
            answer.refused(404, "not_found");
            answers.push(answer.raw);
        }
        assert_eq!(answers[0], answers[1]);
    }
    let everybody = "/api/v1/api-keys?everybody=true";
    door.get(everybody).by(&bob).send().await.refused(403, "forbidden");
    assert_eq!(door.get("/api/v1/api-keys").by(&root).send().await.expect(200).json()["items"], json!([]));
    let list = door.get(everybody).by(&root).send().await.expect(200).json();
    assert_eq!(list["items"][0]["user_id"], json!(ann.id));
    door.get(&path).by(&root).send().await.expect(200);
    door.delete(&path).by(&root).send().await.expect(204);
    assert!(!opens(&door, &key.text).await);
    let number = "select count(*) from audit_events where action = 'api_key.revoked'";
    assert_eq!(door.test.number(number).await, 1);
}

async fn a_key_in_a_url_is_refused(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let key = make(&door, &ann, &["chat"]).await;
    for path in [
        format!("/api/v1/auth/me?access_token={}", key.text),
        format!("/api/v1/cases?q={}", key.text),
        format!("/api/v1/cases/{}", key.text),
        format!("/api/v1/ws/chat?token={}", key.text),
    ] {
        for knock in [door.get(&path), door.get(&path).by(&ann), door.get(&path).token(&key.text)] {
            let answer = knock.send().await;
            answer.refused(400, "bad_request");
            assert!(answer.text("/message").contains("revoke it") && !answer.text("/message").contains(&key.text));
        }
    }
    door.get("/api/v1/cases?q=dia_").by(&ann).send().await.expect(200);
}

async fn the_last_use_is_noted(test: TestStorage) {
    let door = Door::new(test.with_manual_clock());
    let ann = door.member().await;
    let key = make(&door, &ann, &["chat"]).await;
    let path = format!("/api/v1/api-keys/{}", key.id);
    let last_used = async || door.get(&path).by(&ann).send().await.expect(200).json()["last_used_at"].clone();
    assert_eq!(last_used().await, Value::Null);
    let noted = async |want: &str| {
        // The note is written beside the request.
        while last_used().await != want {
            tokio::task::yield_now().await;
        }
    };
    assert!(opens(&door, &key.text).await);
    noted("2026-01-01T00:00:00Z").await;
    door.test.advance(Duration::from_secs(59));
    assert!(opens(&door, &key.text).await);
    door.test.advance(Duration::from_secs(1));
    assert!(opens(&door, &key.text).await);
    noted("2026-01-01T00:01:00Z").await;
}

async fn a_key_has_answers_of_its_own(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let (writer, other) = (make(&door, &ann, &["cases:write"]).await, make(&door, &ann, &["chat"]).await);
    let fields = json!({ "title": "Once" });
    let open = |token: &str| door.post("/api/v1/cases", &fields).token(token).key("same").send();
    let persons = open(&ann.token).await.expect(201).text("/id");
    // The person's answer is not the key's: a key gets nothing by guessing what was asked before.
    open(&other.text).await.refused(403, "forbidden");
    let keys = open(&writer.text).await.expect(201).text("/id");
    assert_ne!(persons, keys);
    assert_eq!(open(&writer.text).await.expect(201).text("/id"), keys);
}

async fn a_purged_case_leaves_no_key_unbounded(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let (gone, left) = (Papers::open(&door, &ann).await.case, Papers::open(&door, &ann).await.case);
    let fields = json!({ "name": "n", "scopes": ["cases:read"], "case_ids": [gone], "expires_in_days": 1 });
    let key = made(&ask(&door, &ann, &fields).await.expect(201));
    door.delete(&format!("/api/v1/cases/{gone}")).by(&ann).send().await.expect(204);
    let mut tx = door.test.storage.begin(&Actor::system(domain::ids::fresh())).await.unwrap();
    storage::cases::purge_rows(&mut tx, gone).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(door.test.number("select count(*) from api_key_cases").await, 0);
    door.get(&format!("/api/v1/cases/{left}")).token(&key.text).send().await.refused(404, "not_found");
    assert_eq!(door.get("/api/v1/cases").token(&key.text).send().await.expect(200).json()["items"], json!([]));
}

async fn old_keys_are_forgotten(test: TestStorage) {
    let door = Door::new(test.with_manual_clock());
    let ann = door.member().await;
    let case = Papers::open(&door, &ann).await.case;
    let fields = json!({ "name": "n", "scopes": ["chat"], "case_ids": [case], "expires_in_days": 1 });
    ask(&door, &ann, &fields).await.expect(201);
    let mut left = Vec::new();
    for days in [90, 2] {
        door.test.advance(DAY * days);
        let mut tx = door.test.storage.begin(&Actor::system(domain::ids::fresh())).await.unwrap();
        let rows = storage::api_keys::forget_old(&mut tx).await.unwrap();
        tx.audit(storage::audit::Audit::GarbageCollected { objects: 0, rows }).await.unwrap();
        tx.commit().await.unwrap();
        left.push((rows, door.test.number("select count(*) from api_key_cases").await));
    }
    assert_eq!(left, [(0, 1), (1, 0)]);
}
