//! People as administrators manage them: seen, suspended, restored, given other roles; and what ends with a suspension.

use domain::access::SystemRole;
use serde_json::{Value, json};
use testkit::TestStorage;

use crate::{
    door::{Answer, Door, Person},
    keys,
    papers::Papers,
    sockets::Server,
};

testkit::in_each_mode!(
    administrators_see_everybody,
    nobody_else_manages_people,
    who_is_suspended_is_out_everywhere,
    a_suspended_person_looks_like_a_wrong_password,
    somebody_signed_out_signs_in_again,
    a_role_counts_at_once,
    the_last_administrator_stays,
    two_administrators_cannot_suspend_each_other,
);

const PASSWORD: &str = "seven herons cross the canal";

fn path(person: &Person) -> String {
    format!("/api/v1/users/{}", person.id)
}

async fn update(door: &Door, by: &Person, whom: &Person, fields: Value) -> Answer {
    door.knock("PATCH", &path(whom)).json(&fields).by(by).send().await
}

/// Gives a person a password and returns their address.
async fn with_password(door: &Door, person: &Person) -> String {
    let mut tx = door.test.storage.read(&person.actor).await.unwrap();
    let email = storage::users::find(&mut tx, person.id).await.unwrap().user.email;
    drop(tx);
    let hash = door.state.passwords.hash(PASSWORD.to_owned()).await.unwrap();
    door.test.statement(&format!("update users set password_hash = '{hash}' where email = '{email}'")).await;
    email
}

async fn log_in(door: &Door, email: &str, password: &str) -> Answer {
    door.post("/api/v1/auth/login", &json!({ "email": email, "password": password })).send().await
}

async fn events(door: &Door, action: &str) -> i64 {
    door.test.number(&format!("select count(*) from audit_events where action = '{action}'")).await
}

async fn administrators_see_everybody(test: TestStorage) {
    let door = Door::new(test);
    let (root, ann, bob) = (door.administrator().await, door.member().await, door.member().await);
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = door.get(&format!("/api/v1/users?limit=2{cursor}")).by(&root).send().await.expect(200).json();
        seen.extend(page["items"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let ids: Vec<Value> = seen.iter().map(|user| user["id"].clone()).collect();
    assert_eq!(ids, [json!(bob.id), json!(ann.id), json!(root.id)], "newest first");
    assert_eq!((&seen[2]["role"], &seen[2]["is_active"]), (&json!("administrator"), &json!(true)));
    assert!(!seen[0].to_string().contains("password"));
    let one = door.get(&path(&ann)).by(&root).send().await.expect(200).json();
    assert_eq!(one, seen[1]);
    let missing = format!("/api/v1/users/{}", domain::ids::fresh());
    door.get(&missing).by(&root).send().await.refused(404, "not_found");
    door.knock("PATCH", &missing).json(&json!({})).by(&root).send().await.refused(404, "not_found");
    door.delete(&format!("{missing}/sessions")).by(&root).send().await.refused(404, "not_found");
    door.get("/api/v1/users?cursor=zz").by(&root).send().await.refused(400, "bad_cursor");
    update(&door, &root, &ann, json!({ "role": "king" })).await.refused(422, "invalid");
    update(&door, &root, &ann, json!({ "email": "x@example.org" })).await.refused(400, "malformed_json");
    // Nothing changes nothing, and says so to nobody.
    assert_eq!(update(&door, &root, &ann, json!({ "is_active": true })).await.expect(200).json(), seen[1]);
    assert_eq!(events(&door, "user.restored").await, 0);
}

async fn nobody_else_manages_people(test: TestStorage) {
    let door = Door::new(test);
    let (root, ann, bob) = (door.administrator().await, door.member().await, door.member().await);
    let all: Vec<&str> = domain::scope::Scope::ALL.iter().map(|scope| scope.name()).collect();
    let strongest = keys::make(&door, &root, &all).await;
    for (method, path) in [
        ("GET", "/api/v1/users".to_owned()),
        ("GET", path(&bob)),
        ("GET", path(&ann)),
        ("GET", format!("/api/v1/users/{}", domain::ids::fresh())),
        ("PATCH", path(&bob)),
        ("DELETE", format!("{}/sessions", path(&bob))),
    ] {
        let knock = || match method {
            "PATCH" => door.knock(method, &path).json(&json!({ "is_active": false })),
            _ => door.knock(method, &path),
        };
        knock().by(&ann).send().await.refused(403, "forbidden");
        knock().token(&strongest.text).send().await.refused(403, "forbidden");
        knock().send().await.refused(401, "unauthenticated");
    }
    door.get("/api/v1/auth/me").by(&bob).send().await.expect(200);
}

async fn who_is_suspended_is_out_everywhere(test: TestStorage) {
    let door = Door::new(test);
    let (root, ann) = (door.administrator().await, door.member().await);
    let email = with_password(&door, &ann).await;
    let papers = Papers::open(&door, &ann).await;
    let key = keys::make(&door, &ann, &["cases:read"]).await;
    let tokens = log_in(&door, &email, PASSWORD).await.expect(200);
    let server = Server::start(&door, "/api/v1/ws/database-status").await;
    let mut sockets = Vec::new();
    for token in [&ann.token, &key.text] {
        let mut socket = server.connect(&[("authorization", &format!("Bearer {token}"))]).await.unwrap();
        socket.say(json!({ "type": "subscribe", "database_id": papers.database })).await;
        assert_eq!(socket.hear().await.unwrap()["type"], "database_status");
        sockets.push(socket);
    }

    let suspended = update(&door, &root, &ann, json!({ "is_active": false })).await.expect(200).json();
    assert_eq!(suspended["is_active"], false);
    let told = std::time::Instant::now();
    for socket in &mut sockets {
        let closed = loop {
            if let Err(code) = socket.hear().await {
                break code;
            }
        };
        assert_eq!(closed, 4401);
    }
    assert!(told.elapsed() < std::time::Duration::from_secs(5), "{:?}", told.elapsed());
    let dead = [ann.token.clone(), tokens.text("/access_token"), key.text];
    for token in &dead {
        door.get("/api/v1/auth/me").token(token).send().await.refused(401, "unauthenticated");
    }
    let refresh = json!({ "refresh_token": tokens.text("/refresh_token") });
    door.post("/api/v1/auth/refresh", &refresh).send().await.refused(401, "bad_refresh_token");
    log_in(&door, &email, PASSWORD).await.refused(401, "bad_credentials");

    // Restored, the person signs in anew: what ended stays ended.
    assert_eq!(update(&door, &root, &ann, json!({ "is_active": true })).await.expect(200).json()["is_active"], true);
    for token in &dead {
        door.get("/api/v1/auth/me").token(token).send().await.refused(401, "unauthenticated");
    }
    door.post("/api/v1/auth/refresh", &refresh).send().await.refused(401, "bad_refresh_token");
    let token = log_in(&door, &email, PASSWORD).await.expect(200).text("/access_token");
    door.get("/api/v1/auth/me").token(&token).send().await.expect(200);
    for action in ["user.suspended", "user.restored", "session.all_closed", "api_key.revoked"] {
        assert_eq!(events(&door, action).await, 1, "{action}");
    }
}

async fn a_suspended_person_looks_like_a_wrong_password(test: TestStorage) {
    let door = Door::new(test);
    let (root, ann, bob) = (door.administrator().await, door.member().await, door.member().await);
    let (ann_email, bob_email) = (with_password(&door, &ann).await, with_password(&door, &bob).await);
    update(&door, &root, &ann, json!({ "is_active": false })).await.expect(200);
    let request = domain::ids::fresh().to_string();
    let answer = async |email: &str, password: &str| {
        let fields = json!({ "email": email, "password": password });
        let answer = door.post("/api/v1/auth/login", &fields).header("x-request-id", &request).send().await;
        answer.refused(401, "bad_credentials");
        (answer.raw, format!("{:?}", answer.headers))
    };
    let wrong = answer(&bob_email, "violet anchors hum at midnight").await;
    assert_eq!(answer(&ann_email, PASSWORD).await, wrong);
    assert_eq!(answer(&ann_email, "violet anchors hum at midnight").await, wrong);
    assert_eq!(events(&door, "session.login_failed").await, 3);
}

async fn somebody_signed_out_signs_in_again(test: TestStorage) {
    let door = Door::new(test);
    let (root, ann) = (door.administrator().await, door.member().await);
    let email = with_password(&door, &ann).await;
    let key = keys::make(&door, &ann, &["chat"]).await;
    let other = log_in(&door, &email, PASSWORD).await.expect(200).text("/access_token");
    door.delete(&format!("{}/sessions", path(&ann))).by(&root).send().await.expect(204);
    for token in [&ann.token, &other] {
        door.get("/api/v1/auth/me").token(token).send().await.refused(401, "unauthenticated");
    }
    door.get("/api/v1/auth/me").token(&key.text).send().await.expect(200);
    log_in(&door, &email, PASSWORD).await.expect(200);
    assert_eq!(events(&door, "session.all_closed").await, 1);
}

async fn a_role_counts_at_once(test: TestStorage) {
    let door = Door::new(test);
    let (root, ann) = (door.administrator().await, door.member().await);
    door.get("/api/v1/jobs").by(&ann).send().await.refused(403, "forbidden");
    let promoted = update(&door, &root, &ann, json!({ "role": "administrator" })).await.expect(200);
    assert_eq!(promoted.text("/role"), "administrator");
    door.get("/api/v1/jobs").by(&ann).send().await.expect(200);
    update(&door, &ann, &root, json!({ "role": "member" })).await.expect(200);
    door.get("/api/v1/jobs").by(&root).send().await.refused(403, "forbidden");
    assert_eq!(events(&door, "user.role_set").await, 2);
}

async fn the_last_administrator_stays(test: TestStorage) {
    let door = Door::new(test);
    let (root, other, ann) = (door.administrator().await, door.administrator().await, door.member().await);
    update(&door, &root, &other, json!({ "is_active": false })).await.expect(200);
    // Neither the other, who is suspended, nor a member counts.
    for fields in [json!({ "is_active": false }), json!({ "role": "member" })] {
        update(&door, &root, &root, fields).await.refused(409, "conflict");
    }
    update(&door, &root, &ann, json!({ "is_active": false })).await.expect(200);
    update(&door, &root, &other, json!({ "is_active": true })).await.expect(200);
    update(&door, &root, &root, json!({ "role": "member" })).await.expect(200);
    update(&door, &root, &other, json!({ "role": "member" })).await.refused(403, "forbidden");
}

/// Each request by itself would leave one; both together must, too.
async fn two_administrators_cannot_suspend_each_other(test: TestStorage) {
    let door = Door::new(test);
    let left = "select count(*) from users where role = 'administrator' and is_active";
    for round in 0..10 {
        let (ann, bob) = (door.person(SystemRole::Administrator).await, door.person(SystemRole::Administrator).await);
        let fields = if round % 2 == 0 { json!({ "is_active": false }) } else { json!({ "role": "member" }) };
        let (one, two) = tokio::join!(update(&door, &ann, &bob, fields.clone()), update(&door, &bob, &ann, fields));
        let done = [&one, &two].iter().filter(|answer| answer.status == 200).count();
        assert_eq!(done, 1, "{} {}", one.status, two.status);
        for lost in [one, two].iter().filter(|answer| answer.status != 200) {
            assert!([401, 403, 409].contains(&lost.status.as_u16()), "{}", lost.status);
        }
        assert_eq!(door.test.number(left).await, 1, "round {round}");
        door.test.statement("update users set is_active = false").await;
    }
}
