//! Signing up, in and out; refresh tokens; delays.

use std::time::Duration;

use api::ApiConfig;
use serde_json::{Value, json};
use storage::signup;
use testkit::TestStorage;

use crate::door::{Door, Person};

testkit::in_each_mode!(
    the_first_user_and_the_invited,
    open_signup_makes_members,
    a_wrong_password_and_an_unknown_person_look_the_same,
    refresh_tokens_rotate_and_end,
    racing_tabs_both_stay_and_a_thief_is_caught,
    sessions_end_when_told,
    a_suspended_person_is_out_at_once,
);

const PASSWORD: &str = "seven herons cross the canal";
const OTHER: &str = "violet anchors hum at midnight";

async fn sign_up(door: &Door, code: Option<&str>, email: &str, password: &str) -> crate::door::Answer {
    let fields = json!({ "code": code, "email": email, "name": "Ann Lee", "password": password });
    door.post("/api/v1/auth/signup", &fields).send().await
}

fn log_in<'a>(door: &'a Door, email: &str, password: &str) -> crate::door::Knock<'a> {
    door.post("/api/v1/auth/login", &json!({ "email": email, "password": password }))
}

async fn refresh(door: &Door, token: &str) -> crate::door::Answer {
    door.post("/api/v1/auth/refresh", &json!({ "refresh_token": token })).send().await
}

/// A door with one administrator who can log in as `ann@example.org`.
async fn with_ann(test: TestStorage) -> Door {
    let door = Door::new(test.with_manual_clock());
    let code = signup::ensure_setup_code(&door.test.storage).await.unwrap().unwrap();
    sign_up(&door, Some(&code), "ann@example.org", PASSWORD).await.expect(201);
    door
}

async fn the_first_user_and_the_invited(test: TestStorage) {
    let door = Door::new(test.with_manual_clock());
    let storage = &door.test.storage;
    sign_up(&door, None, "ann@example.org", PASSWORD).await.refused(403, "bad_setup_code");
    let void = signup::ensure_setup_code(storage).await.unwrap().unwrap();
    assert_eq!(signup::ensure_setup_code(storage).await.unwrap().as_ref(), Some(&void), "the next door of a fleet");
    door.test.advance(Duration::from_mins(6));
    let code = signup::ensure_setup_code(storage).await.unwrap().unwrap();
    sign_up(&door, Some(&void), "ann@example.org", PASSWORD).await.refused(403, "bad_setup_code");
    sign_up(&door, Some(&code), "ann@example.org", "password123").await.refused(422, "weak_password");
    sign_up(&door, Some(&code), "ann@example.org", "annleeannleeannlee").await.refused(422, "weak_password");
    sign_up(&door, Some(&code), "not an address", PASSWORD).await.refused(422, "invalid");
    let ann = sign_up(&door, Some(&code.to_lowercase()), " Ann@Example.org", PASSWORD).await.expect(201);
    assert_eq!((ann.text("/email"), ann.text("/role")), ("ann@example.org".to_owned(), "administrator".to_owned()));
    assert!(!String::from_utf8_lossy(&ann.raw).contains("argon2"));
    sign_up(&door, Some(&code), "eve@example.org", PASSWORD).await.refused(403, "signup_closed");
    assert_eq!(signup::ensure_setup_code(storage).await.unwrap(), None);

    let signed_in = log_in(&door, "ANN@example.org", PASSWORD).send().await.expect(200);
    let token = signed_in.text("/access_token");
    assert_eq!(door.get("/api/v1/auth/me").token(&token).send().await.expect(200).text("/id"), ann.text("/id"));

    let invite = |token: String, key: &'static str, role: &'static str| {
        let knock = door.post("/api/v1/auth/invitations", &json!({ "role": role }));
        async move { knock.token(&token).key(key).send().await }
    };
    let bobs = invite(token.clone(), "k1", "member").await.expect(201).text("/code");
    invite(token.clone(), "k2", "king").await.refused(422, "invalid");
    sign_up(&door, Some(&bobs), "ann@example.org", PASSWORD).await.refused(409, "email_taken");
    let bob = sign_up(&door, Some(&bobs), "bob@example.org", PASSWORD).await.expect(201);
    assert_eq!(bob.text("/role"), "member");
    sign_up(&door, Some(&bobs), "eve@example.org", PASSWORD).await.refused(403, "signup_closed");
    let bob = log_in(&door, "bob@example.org", PASSWORD).send().await.expect(200).text("/access_token");
    invite(bob, "k3", "member").await.refused(403, "forbidden");

    let late = invite(token, "k4", "member").await.expect(201).text("/code");
    door.test.advance(Duration::from_hours(7 * 24));
    sign_up(&door, Some(&late), "eve@example.org", PASSWORD).await.refused(403, "signup_closed");
}

async fn open_signup_makes_members(test: TestStorage) {
    let door = Door::with(test, ApiConfig { open_signup: true, ..ApiConfig::default() });
    // Not even open sign-up makes the first user: that is the operator.
    sign_up(&door, None, "ann@example.org", PASSWORD).await.refused(403, "bad_setup_code");
    let code = signup::ensure_setup_code(&door.test.storage).await.unwrap().unwrap();
    sign_up(&door, Some(&code), "ann@example.org", PASSWORD).await.expect(201);
    let bob = sign_up(&door, None, "bob@example.org", PASSWORD).await.expect(201);
    assert_eq!(bob.text("/role"), "member");
    sign_up(&door, Some("WRONG"), "eve@example.org", PASSWORD).await.refused(403, "signup_closed");
}

async fn a_wrong_password_and_an_unknown_person_look_the_same(test: TestStorage) {
    let door = with_ann(test).await;
    let request = domain::ids::fresh().to_string();
    for round in 1..=6 {
        let mut answers = Vec::new();
        for email in ["ann@example.org", "nobody@example.org"] {
            let answer = log_in(&door, email, OTHER).from("198.51.100.1").header("x-request-id", &request).send().await;
            match round {
                6 => answer.refused(429, "too_many_requests"),
                _ => answer.refused(401, "bad_credentials"),
            }
            answers.push((answer.raw, format!("{:?}", answer.headers)));
        }
        assert_eq!(answers[0], answers[1], "round {round}");
    }
    // The delay is that network's alone; even the right password waits there, and the count starts anew after it.
    log_in(&door, "ann@example.org", PASSWORD).send().await.expect(200);
    let early = log_in(&door, "ann@example.org", PASSWORD).from("198.51.100.1").send().await;
    early.refused(429, "too_many_requests");
    assert_eq!(early.headers["retry-after"], "1");
    door.test.advance(Duration::from_secs(1));
    log_in(&door, "ann@example.org", PASSWORD).from("198.51.100.1").send().await.expect(200);
    for _ in 0..4 {
        log_in(&door, "ann@example.org", OTHER).from("198.51.100.1").send().await.refused(401, "bad_credentials");
    }
    // Neighbours in one IPv6 network are one network.
    for n in 1..=5 {
        let address = format!("2001:db8::{n}");
        log_in(&door, "ann@example.org", OTHER).from(&address).send().await.refused(401, "bad_credentials");
    }
    log_in(&door, "ann@example.org", OTHER).from("2001:db8::99").send().await.refused(429, "too_many_requests");
}

async fn refresh_tokens_rotate_and_end(test: TestStorage) {
    let door = with_ann(test).await;
    let first = log_in(&door, "ann@example.org", PASSWORD).send().await.expect(200).text("/refresh_token");
    let day = Duration::from_hours(24);
    // Used every day, the session still ends after thirty.
    let mut newest = first.clone();
    for _ in 1..30 {
        door.test.advance(day);
        let next = refresh(&door, &newest).await.expect(200);
        assert_ne!(next.text("/refresh_token"), newest);
        door.get("/api/v1/auth/me").token(&next.text("/access_token")).send().await.expect(200);
        newest = next.text("/refresh_token");
    }
    door.test.advance(day);
    refresh(&door, &newest).await.refused(401, "bad_refresh_token");
    // Unused, it ends after fourteen.
    let idle = log_in(&door, "ann@example.org", PASSWORD).send().await.expect(200).text("/refresh_token");
    door.test.advance(day * 14);
    refresh(&door, &idle).await.refused(401, "bad_refresh_token");
    // No forgery ends anybody's session: neither noise nor a changed tag is a replay.
    let good = log_in(&door, "ann@example.org", PASSWORD).send().await.expect(200);
    let mut forged = good.text("/refresh_token");
    forged.replace_range(40..41, if &forged[40..41] == "0" { "1" } else { "0" });
    for token in [forged.as_str(), "", "zz", &"0".repeat(128), &"é".repeat(64)] {
        refresh(&door, token).await.refused(401, "bad_refresh_token");
    }
    refresh(&door, &good.text("/refresh_token")).await.expect(200);
    assert_eq!(door.test.number("select count(*) from sessions where revoked_at is not null").await, 0);
}

async fn racing_tabs_both_stay_and_a_thief_is_caught(test: TestStorage) {
    let door = with_ann(test).await;
    let first = log_in(&door, "ann@example.org", PASSWORD).send().await.expect(200).text("/refresh_token");
    let race = futures::future::join_all((0..8).map(|_| refresh(&door, &first))).await;
    let next = race[0].text("/refresh_token");
    for answer in &race {
        assert_eq!(answer.status, 200);
        // All tabs hold the same next token, so it does not matter which answer came last.
        assert_eq!(answer.text("/refresh_token"), next);
        door.get("/api/v1/auth/me").token(&answer.text("/access_token")).send().await.expect(200);
    }
    door.test.advance(Duration::from_secs(15));
    refresh(&door, &first).await.expect(200);
    let newest = refresh(&door, &next).await.expect(200);

    // The thief comes with a token used before: outside the grace the whole family ends, the newest token with it.
    door.test.advance(Duration::from_secs(16));
    refresh(&door, &next).await.refused(401, "bad_refresh_token");
    refresh(&door, &newest.text("/refresh_token")).await.refused(401, "bad_refresh_token");
    door.get("/api/v1/auth/me").token(&newest.text("/access_token")).send().await.refused(401, "unauthenticated");
    let replays = "select count(*) from audit_events where action = 'session.replayed'";
    assert_eq!(door.test.number(replays).await, 1);

    // A token two rotations old is a replay even within the grace.
    let t0 = log_in(&door, "ann@example.org", PASSWORD).send().await.expect(200).text("/refresh_token");
    let t1 = refresh(&door, &t0).await.expect(200).text("/refresh_token");
    let t2 = refresh(&door, &t1).await.expect(200).text("/refresh_token");
    refresh(&door, &t0).await.refused(401, "bad_refresh_token");
    refresh(&door, &t2).await.refused(401, "bad_refresh_token");
}

fn ids(sessions: &Value) -> Vec<String> {
    sessions["items"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect()
}

async fn sessions_end_when_told(test: TestStorage) {
    let door = with_ann(test).await;
    let bob: Person = door.member().await;
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(log_in(&door, "ann@example.org", PASSWORD).send().await.expect(200).text("/access_token"));
    }
    let me = |token: &str| door.get("/api/v1/auth/me").token(token).send();
    let listed = door.get("/api/v1/auth/sessions").token(&tokens[0]).send().await.expect(200).json();
    let open = ids(&listed);
    assert_eq!(open.len(), 3);
    let current: Vec<bool> =
        listed["items"].as_array().unwrap().iter().map(|s| s["current"].as_bool().unwrap()).collect();
    assert_eq!(current, [false, false, true], "newest first, and the first asks");
    assert_eq!(listed["items"][0]["address"], crate::door::HOME);

    // Another's session is not found; one's own ends at once, and once.
    door.delete(&format!("/api/v1/auth/sessions/{}", bob.session))
        .token(&tokens[0])
        .send()
        .await
        .refused(404, "not_found");
    door.get("/api/v1/auth/me").by(&bob).send().await.expect(200);
    door.delete(&format!("/api/v1/auth/sessions/{}", open[0])).token(&tokens[0]).send().await.expect(204);
    me(&tokens[2]).await.refused(401, "unauthenticated");
    door.delete(&format!("/api/v1/auth/sessions/{}", open[0])).token(&tokens[0]).send().await.refused(404, "not_found");

    let change = |current: &str, new: &str| {
        let fields = json!({ "current_password": current, "new_password": new });
        door.post("/api/v1/auth/change-password", &fields).token(&tokens[0]).send()
    };
    change(OTHER, OTHER).await.refused(401, "bad_credentials");
    change(PASSWORD, "short").await.refused(422, "weak_password");
    change(PASSWORD, OTHER).await.expect(204);
    me(&tokens[1]).await.refused(401, "unauthenticated");
    me(&tokens[0]).await.expect(200);
    log_in(&door, "ann@example.org", PASSWORD).send().await.refused(401, "bad_credentials");
    log_in(&door, "ann@example.org", OTHER).send().await.expect(200);

    door.knock("POST", "/api/v1/auth/logout").token(&tokens[0]).send().await.expect(204);
    me(&tokens[0]).await.refused(401, "unauthenticated");
}

async fn a_suspended_person_is_out_at_once(test: TestStorage) {
    let door = with_ann(test).await;
    let signed_in = log_in(&door, "ann@example.org", PASSWORD).send().await.expect(200);
    let suspended = "update users set is_active = false returning cast(1 as bigint)";
    assert_eq!(door.test.number(suspended).await, 1);
    let me = door.get("/api/v1/auth/me").token(&signed_in.text("/access_token")).send().await;
    me.refused(401, "unauthenticated");
    refresh(&door, &signed_in.text("/refresh_token")).await.refused(401, "bad_refresh_token");
    log_in(&door, "ann@example.org", PASSWORD).send().await.refused(401, "bad_credentials");
}
