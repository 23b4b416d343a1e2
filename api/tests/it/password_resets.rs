//! Codes with which somebody who forgot their password sets another.

use std::time::Duration;

use api::State;
use domain::access::SystemRole;
use serde_json::json;
use testkit::TestStorage;

use crate::{
    door::{Answer, Door},
    second_factors::{Human, log_in},
};

testkit::in_each_mode!(
    a_forgotten_password_is_set_anew,
    codes_that_set_nothing_look_alike,
    who_may_give_out_codes,
    a_reset_goes_round_no_second_factor,
    a_code_at_once_twice_sets_once,
    who_asks_by_mail_learns_nothing,
);

const PASSWORD: &str = "seven herons cross the canal";
const OTHER: &str = "violet anchors hum at midnight";

async fn issue(door: &Door, of: &Human, by: &Human) -> Answer {
    door.knock("POST", &format!("/api/v1/users/{}/password-reset", of.id)).token(&by.token).send().await
}

async fn reset(door: &Door, code: &str, password: &str) -> Answer {
    let request = "0197a0de-0000-7000-8000-000000000001";
    let fields = json!({ "code": code, "new_password": password });
    door.post("/api/v1/auth/reset-password", &fields).header("x-request-id", request).send().await
}

async fn events(door: &Door, action: &str) -> i64 {
    door.test.number(&format!("select count(*) from audit_events where action = '{action}'")).await
}

async fn a_forgotten_password_is_set_anew(test: TestStorage) {
    let door = Door::new(test.with_manual_clock());
    let root = Human::new(&door, SystemRole::Administrator).await;
    let ann = Human::new(&door, SystemRole::Member).await;
    let code = issue(&door, &ann, &root).await.expect(201).text("/code");
    // A password that cannot be accepted does not use the code up.
    reset(&door, &code, "short").await.refused(422, "weak_password");
    reset(&door, &code, "gull ro7 kelp").await.refused(422, "weak_password");
    // Until it is used nothing has changed.
    door.get("/api/v1/auth/me").token(&ann.token).send().await.expect(200);
    reset(&door, &code.to_lowercase().replace('-', ""), OTHER).await.expect(204);
    door.get("/api/v1/auth/me").token(&ann.token).send().await.refused(401, "unauthenticated");
    log_in(&door, &ann.email, PASSWORD).await.refused(401, "bad_credentials");
    log_in(&door, &ann.email, OTHER).await.expect(200);
    reset(&door, &code, PASSWORD).await.refused(403, "bad_reset_code");
    assert_eq!((events(&door, "user.password_reset_issued").await, events(&door, "user.password_reset").await), (1, 1));
    let told = format!("select count(*) from audit_events where cast(details as text) like '%{code}%'");
    assert_eq!(door.test.number(&told).await, 0);
}

async fn codes_that_set_nothing_look_alike(test: TestStorage) {
    let door = Door::new(test.with_manual_clock());
    let root = Human::new(&door, SystemRole::Administrator).await;
    let ann = Human::new(&door, SystemRole::Member).await;
    let (bob, carl) = (Human::new(&door, SystemRole::Member).await, Human::new(&door, SystemRole::Member).await);
    let code = async |of: &Human| issue(&door, of, &root).await.expect(201).text("/code");
    let used = code(&bob).await;
    reset(&door, &used, OTHER).await.expect(204);
    let over = code(&ann).await;
    door.test.advance(Duration::from_mins(20));
    let root = Human::new(&door, SystemRole::Administrator).await;
    let code = async |of: &Human| issue(&door, of, &root).await.expect(201).text("/code");
    let voided = code(&ann).await;
    code(&ann).await;
    let changed = code(&bob).await;
    let bob = log_in(&door, &bob.email, OTHER).await.expect(200).text("/access_token");
    let change = json!({ "current_password": OTHER, "new_password": PASSWORD });
    door.post("/api/v1/auth/change-password", &change).token(&bob).send().await.expect(204);
    let suspended = code(&carl).await;
    let out = door.knock("PATCH", &format!("/api/v1/users/{}", carl.id)).json(&json!({ "is_active": false }));
    out.token(&root.token).send().await.expect(200);
    let unknown = reset(&door, "00000-00000-00000-00000-00000", OTHER).await;
    unknown.refused(403, "bad_reset_code");
    for dead in [used, over, voided, changed, suspended, String::new(), "x".repeat(10_000)] {
        let answer = reset(&door, &dead, OTHER).await;
        assert_eq!((answer.status, &answer.raw), (unknown.status, &unknown.raw));
        assert_eq!(format!("{:?}", answer.headers), format!("{:?}", unknown.headers));
    }
    assert_eq!(events(&door, "user.password_reset").await, 1);
}

async fn who_may_give_out_codes(test: TestStorage) {
    let door = Door::new(test.with_manual_clock());
    let root = Human::new(&door, SystemRole::Administrator).await;
    let (ann, bob) = (Human::new(&door, SystemRole::Member).await, Human::new(&door, SystemRole::Member).await);
    issue(&door, &ann, &bob).await.refused(403, "forbidden");
    issue(&door, &ann, &ann).await.refused(403, "forbidden");
    issue(&door, &root, &root).await.refused(409, "conflict");
    let missing = format!("/api/v1/users/{}/password-reset", domain::ids::fresh());
    door.knock("POST", &missing).token(&root.token).send().await.refused(404, "not_found");
    door.test.statement(&format!("update users set is_active = false where email = '{}'", ann.email)).await;
    issue(&door, &ann, &root).await.refused(409, "conflict");
}

async fn a_reset_goes_round_no_second_factor(test: TestStorage) {
    let door = Door::new(test.with_manual_clock());
    let root = Human::new(&door, SystemRole::Administrator).await;
    let ann = Human::enrolled(&door, SystemRole::Member).await;
    let half = log_in(&door, &ann.email, PASSWORD).await.expect(200).text("/second_factor_token");
    let code = issue(&door, &ann, &root).await.expect(201).text("/code");
    reset(&door, &code, "kV7qz4mW").await.expect(204);
    let by_code = json!({ "second_factor_token": half, "recovery_code": ann.recovery_codes[0] });
    door.post("/api/v1/auth/login/second-factor", &by_code).send().await.refused(401, "bad_second_factor");
    let half = log_in(&door, &ann.email, "kV7qz4mW").await.expect(200).json();
    assert_eq!(half["second_factor_required"], true);
    let by_code = json!({ "second_factor_token": half["second_factor_token"], "recovery_code": ann.recovery_codes[0] });
    door.post("/api/v1/auth/login/second-factor", &by_code).send().await.expect(200);
    // The short password holds the factor in place, for administrators too.
    let taken = door.delete(&format!("/api/v1/users/{}/mfa", ann.id)).token(&root.token).send().await;
    taken.refused(409, "conflict");
    let code = issue(&door, &ann, &root).await.expect(201).text("/code");
    reset(&door, &code, OTHER).await.expect(204);
    let taken = door.delete(&format!("/api/v1/users/{}/mfa", ann.id)).token(&root.token).send().await;
    taken.expect(204);
}

async fn a_code_at_once_twice_sets_once(test: TestStorage) {
    let door = Door::new(test.with_manual_clock());
    let root = Human::new(&door, SystemRole::Administrator).await;
    let ann = Human::new(&door, SystemRole::Member).await;
    let code = issue(&door, &ann, &root).await.expect(201).text("/code");
    let answers = futures::future::join_all((0..8).map(|_| reset(&door, &code, OTHER))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 204).count(), 1);
    for answer in answers.iter().filter(|answer| answer.status != 204) {
        answer.refused(403, "bad_reset_code");
    }
    assert_eq!(events(&door, "user.password_reset").await, 1);
}

/// Whoever asks for a letter gets the same answer, and the same rows are written, whether anybody has the address or not.
async fn who_asks_by_mail_learns_nothing(test: TestStorage) {
    let mut door = Door::new(test);
    let ann = Human::new(&door, SystemRole::Member).await;
    let ask = async |door: &Door, email: &str| {
        let request = "0197a0de-0000-7000-8000-000000000002";
        let fields = json!({ "email": email });
        door.post("/api/v1/auth/forgot-password", &fields).header("x-request-id", request).send().await
    };
    ask(&door, &ann.email).await.refused(409, "mail_off");
    door.reopen(|state| State { sends_mail: true, ..state });
    ask(&door, "no address").await.refused(422, "invalid");
    let waiting = "select count(*) from jobs where kind = 'send_password_reset'";
    for (email, jobs) in [(ann.email.as_str(), 1), ("nobody@example.org", 2), (ann.email.as_str(), 2)] {
        let answer = ask(&door, email).await.expect(202);
        assert_eq!((answer.raw.len(), door.test.number(waiting).await), (0, jobs), "{email}");
    }
    assert_eq!(events(&door, "user.password_reset_asked").await, 3);
    let named = format!("select count(*) from audit_events where cast(details as text) like '%{}%'", ann.email);
    assert_eq!(door.test.number(&named).await, 0);
}
