//! How often somebody may ask, through the door: what the headers tell, who shares a budget, and that nothing that acts for somebody
//! goes uncounted.

use std::time::Duration;

use api::{LimitsConfig, State};
use domain::limits::Rate;
use serde_json::json;
use testkit::TestStorage;

use crate::{
    door::{Answer, Door},
    keys,
    papers::Papers,
};

testkit::in_each_mode!(
    budgets_are_told,
    who_shares_a_budget,
    signing_in_is_counted_by_account_too,
    guessing_is_counted,
    nothing_is_uncounted,
    zero_is_no_limit,
);

const FEW: Rate = Rate { per_minute: 60, burst: 3 };

/// A door with few requests of every class.
fn few(test: TestStorage) -> Door {
    with(test, LimitsConfig { login: FEW, read: FEW, write: FEW, upload: FEW, chat: FEW, export: FEW })
}

fn with(test: TestStorage, limits: LimitsConfig) -> Door {
    let mut door = Door::new(test.with_manual_clock());
    door.reopen(|state| State { limits, ..state });
    door
}

fn header(answer: &Answer, name: &str) -> String {
    answer.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

async fn budgets_are_told(test: TestStorage) {
    let door = few(test);
    let ann = door.member().await;
    for (left, whole) in [(2, 1), (1, 2), (0, 3)] {
        let answer = door.get("/api/v1/auth/me").by(&ann).send().await.expect(200);
        assert_eq!(header(&answer, "ratelimit-policy"), "\"read\";q=3;w=3");
        assert_eq!(header(&answer, "ratelimit"), format!("\"read\";r={left};t={whole}"));
    }
    let refused = door.get("/api/v1/auth/me").by(&ann).send().await;
    refused.refused(429, "too_many_requests");
    assert_eq!(header(&refused, "retry-after"), "1");
    assert_eq!(header(&refused, "ratelimit"), "\"read\";r=0;t=3");
    // Another class has a budget of its own.
    let made = door.post("/api/v1/cases", &json!({ "title": "x" })).by(&ann).key("k").send().await.expect(201);
    assert_eq!(header(&made, "ratelimit"), "\"write\";r=2;t=1");
    // Who waits as told is let in. Redis counts by its own clock.
    door.test.advance(Duration::from_secs(1));
    if door.test.is_postgres() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    door.get("/api/v1/auth/me").by(&ann).send().await.expect(200);
    door.get("/api/v1/auth/me").by(&ann).send().await.refused(429, "too_many_requests");
    // What watches over dia is never refused.
    for _ in 0..5 {
        let live = door.get("/health/live").send().await.expect(200);
        assert_eq!(header(&live, "ratelimit"), "");
    }
}

async fn who_shares_a_budget(test: TestStorage) {
    let door = few(test);
    let (ann, bob) = (door.member().await, door.member().await);
    let key = keys::make(&door, &ann, &["chat"]).await;
    let me = |token: &str, address: &'static str| door.get("/api/v1/auth/me").token(token).from(address).send();
    for address in ["203.0.113.1", "203.0.113.2", "203.0.113.3"] {
        me(&ann.token, address).await.expect(200);
    }
    // A person is one, wherever they are; others at the same address, and the person's programs, are not them.
    me(&ann.token, "203.0.113.4").await.refused(429, "too_many_requests");
    me(&bob.token, "203.0.113.1").await.expect(200);
    for _ in 0..3 {
        me(&key.text, "203.0.113.1").await.expect(200);
    }
    me(&key.text, "203.0.113.1").await.refused(429, "too_many_requests");
    me(&bob.token, "203.0.113.1").await.expect(200);
    // Nobody in particular is known by their network: an address, or the /64 of IPv6.
    let refresh = |address: &'static str| {
        door.post("/api/v1/auth/refresh", &json!({ "refresh_token": "x" })).from(address).send()
    };
    for address in ["2001:db8::1", "2001:db8::2", "2001:db8::ffff"] {
        refresh(address).await.refused(401, "bad_refresh_token");
    }
    refresh("2001:db8::3").await.refused(429, "too_many_requests");
    refresh("2001:db8:0:1::3").await.refused(401, "bad_refresh_token");
    refresh("203.0.113.1").await.refused(401, "bad_refresh_token");
}

async fn signing_in_is_counted_by_account_too(test: TestStorage) {
    let door = few(test);
    let ann = door.member().await;
    let email = {
        let mut tx = door.test.storage.read(&ann.actor).await.unwrap();
        storage::users::find(&mut tx, ann.id).await.unwrap().user.email
    };
    let hash = door.state.passwords.hash("a lamp burns in the reading room".to_owned()).await.unwrap();
    door.test.statement(&format!("update users set password_hash = '{hash}' where email = '{email}'")).await;
    let log_in = |email: &str, address: &'static str| {
        let fields = json!({ "email": email, "password": "wrong" });
        door.post("/api/v1/auth/login", &fields).from(address).send()
    };
    for address in ["198.51.100.1", "198.51.100.2", "198.51.100.3"] {
        log_in(&email, address).await.refused(401, "bad_credentials");
    }
    // From everywhere together, and the same for an address that nobody has.
    let refused = log_in(&email, "198.51.100.4").await;
    refused.refused(429, "too_many_requests");
    assert_eq!(header(&refused, "retry-after"), "1");
    for address in ["198.51.100.11", "198.51.100.12", "198.51.100.13"] {
        log_in("nobody@example.org", address).await.refused(401, "bad_credentials");
    }
    log_in("nobody@example.org", "198.51.100.14").await.refused(429, "too_many_requests");
    // And by address, whatever the account.
    for name in ["a", "b", "c"] {
        log_in(&format!("{name}@example.org"), "198.51.100.20").await.refused(401, "bad_credentials");
    }
    log_in("d@example.org", "198.51.100.20").await.refused(429, "too_many_requests");
    // Where somebody signed in before, outsiders who use the account's budget up shut nothing.
    door.test.statement("update sessions set address = '198.51.100.30'").await;
    log_in(&email, "198.51.100.30").await.refused(401, "bad_credentials");
    log_in(&email, "198.51.100.31").await.refused(429, "too_many_requests");
}

async fn guessing_is_counted(test: TestStorage) {
    let door = few(test);
    let ann = door.member().await;
    let key = keys::make(&door, &ann, &["chat"]).await;
    let wrong = format!("{}x", &key.text[..key.text.len() - 1]);
    let guess = |token: &str| door.get("/api/v1/auth/me").token(token).from("198.51.100.1").send();
    for token in ["x", "a.b.c", &wrong] {
        guess(token).await.refused(401, "unauthenticated");
    }
    for token in ["x", &wrong] {
        guess(token).await.refused(429, "too_many_requests");
    }
    door.get("/api/v1/auth/me").from("198.51.100.1").send().await.refused(429, "too_many_requests");
    // Sockets are doors too.
    door.get("/api/v1/ws/chat").from("198.51.100.1").send().await.refused(429, "too_many_requests");
    door.get("/api/v1/ws/chat").token("x").from("198.51.100.1").send().await.refused(429, "too_many_requests");
    // Who proves who they are is not held up by that.
    guess(&ann.token).await.expect(200);
    // A header that proves nothing is no way round the budget of signing in.
    let log_in = || {
        let fields = json!({ "email": "not an address", "password": "x" });
        door.post("/api/v1/auth/login", &fields).token("x").from("198.51.100.9").send()
    };
    for _ in 0..3 {
        log_in().await.refused(401, "bad_credentials");
    }
    log_in().await.refused(429, "too_many_requests");
}

/// Every operation of the document takes from a budget before it does anything, but for those that watch over dia.
async fn nothing_is_uncounted(test: TestStorage) {
    let mut door = Door::new(test);
    door.reopen(|state| State { limits: LimitsConfig::default(), ..state });
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let document = door.get("/api/v1/openapi.json").send().await.expect(200).json();
    let mut seen = std::collections::BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = papers.database.to_string();
            let filled: Vec<&str> =
                path.split('/').map(|part| if part.starts_with('{') { &id } else { part }).collect();
            let knock = door.knock(&method.to_uppercase(), &filled.join("/")).by(&ann);
            // The session must outlive the test; the rest is refused before it does anything.
            let name = operation["operationId"].as_str().unwrap().to_owned();
            let answer = if name == "log_out" { knock.token("x").send().await } else { knock.send().await };
            let policy = header(&answer, "ratelimit-policy");
            seen.insert(name, policy.split(';').next().unwrap().trim_matches('"').to_owned());
        }
    }
    for (operation, class) in &seen {
        let watches = ["read_live", "read_ready", "read_metrics"].contains(&operation.as_str());
        assert_eq!(class.is_empty(), watches, "{operation}");
    }
    let of = |class: &str| -> Vec<&str> {
        seen.iter().filter(|(_, other)| *other == class).map(|(name, _)| name.as_str()).collect()
    };
    assert_eq!(
        of("login"),
        ["change_password", "forgot_password", "log_in", "prove_second_factor", "reset_password", "sign_up", "step_up"]
    );
    assert_eq!(of("chat"), ["ask"]);
    assert_eq!(of("export"), ["export_case", "list_errors", "read_original", "read_version"]);
    let uploads = [
        "continue_upload",
        "create_upload",
        "deliver_load_file",
        "describe_uploads",
        "end_upload",
        "open_batch",
        "read_upload",
        "replace_file",
        "upload_to_case",
        "upload_to_database",
    ];
    assert_eq!(of("upload"), uploads);
}

async fn zero_is_no_limit(test: TestStorage) {
    let none = Rate { per_minute: 0, burst: 1 };
    let door = with(test, LimitsConfig { read: none, ..LimitsConfig::default() });
    let ann = door.member().await;
    for _ in 0..20 {
        let answer = door.get("/api/v1/auth/me").by(&ann).send().await.expect(200);
        assert_eq!(header(&answer, "ratelimit"), "");
    }
}
