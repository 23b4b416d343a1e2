//! Second factors through the door: set up, asked for, lost, used up, guessed at.

use std::time::Duration;

use api::{AuthConfig, State};
use data_encoding::BASE32_NOPAD;
use domain::access::SystemRole;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use testkit::TestStorage;

use crate::{
    door::{Answer, Door},
    keys,
    sockets::Server,
};

testkit::in_each_mode!(
    a_second_factor_is_set_up_and_asked_for,
    a_code_counts_once,
    twenty_sign_ins_with_one_code_open_one_session,
    clocks_may_differ_by_a_step,
    recovery_codes_count_once_each,
    the_token_between_the_steps_opens_nothing_else,
    guesses_run_out,
    a_new_password_ends_what_the_old_one_began,
    what_is_sensitive_wants_a_fresh_proof,
    a_factor_goes_only_when_the_password_stands_alone,
    an_administrator_takes_away_what_somebody_lost,
    a_role_may_need_a_second_factor,
    nothing_secret_is_written_down,
);

const PASSWORD: &str = "seven herons cross the canal";

/// Somebody who signs in with a password, and the session they are in.
pub(crate) struct Human {
    pub(crate) email: String,
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) secret: String,
    pub(crate) recovery_codes: Vec<String>,
}

/// What an authenticator shows, worked out apart from dia (RFC 4226 §5.3, RFC 6238).
fn shows(secret: &str, at: i64) -> String {
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(&BASE32_NOPAD.decode(secret.as_bytes()).unwrap()).unwrap();
    mac.update(&(at / 30).to_be_bytes());
    let tag = mac.finalize().into_bytes();
    let at = usize::from(tag[19] & 15);
    let number = u32::from_be_bytes(tag[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

fn code(door: &Door, secret: &str) -> String {
    shows(secret, door.test.storage.clock.now().seconds())
}

pub(crate) async fn log_in(door: &Door, email: &str, password: &str) -> Answer {
    door.post("/api/v1/auth/login", &json!({ "email": email, "password": password })).send().await
}

async fn second(door: &Door, token: &str, proof: Value) -> Answer {
    let mut fields = proof;
    fields["second_factor_token"] = json!(token);
    door.post("/api/v1/auth/login/second-factor", &fields).send().await
}

async fn step_up(door: &Door, token: &str, fields: Value) -> Answer {
    door.post("/api/v1/auth/step-up", &fields).token(token).send().await
}

impl Human {
    /// Somebody with a password, signed in.
    pub(crate) async fn new(door: &Door, role: SystemRole) -> Self {
        let person = door.person(role).await;
        let mut tx = door.test.storage.read(&person.actor).await.unwrap();
        let email = storage::users::find(&mut tx, person.id).await.unwrap().user.email;
        drop(tx);
        let hash = door.state.passwords.hash(PASSWORD.to_owned()).await.unwrap();
        door.test.statement(&format!("update users set password_hash = '{hash}' where email = '{email}'")).await;
        let token = log_in(door, &email, PASSWORD).await.expect(200).text("/access_token");
        Self { email, id: person.id.to_string(), token, secret: String::new(), recovery_codes: Vec::new() }
    }

    /// The same with a second factor.
    pub(crate) async fn enrolled(door: &Door, role: SystemRole) -> Self {
        let mut human = Self::new(door, role).await;
        human.enrol(door).await;
        human
    }

    async fn enrol(&mut self, door: &Door) {
        let begun = door.knock("POST", "/api/v1/auth/mfa/totp").token(&self.token).send().await.expect(201);
        self.secret = begun.text("/secret");
        let confirm = json!({ "code": code(door, &self.secret) });
        let confirmed =
            door.post("/api/v1/auth/mfa/totp/confirm", &confirm).token(&self.token).send().await.expect(200);
        let codes = confirmed.json()["recovery_codes"].as_array().unwrap().clone();
        self.recovery_codes = codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
        // The code that confirmed it counts no more; the next one does.
        door.test.advance(Duration::from_secs(30));
    }

    async fn awaited(&self, door: &Door) -> String {
        log_in(door, &self.email, PASSWORD).await.expect(200).text("/second_factor_token")
    }
}

async fn events(door: &Door, action: &str) -> i64 {
    door.test.number(&format!("select count(*) from audit_events where action = '{action}'")).await
}

async fn a_second_factor_is_set_up_and_asked_for(test: TestStorage) {
    let door = Door::new(test.with_manual_clock());
    let mut ann = Human::new(&door, SystemRole::Member).await;
    let other = log_in(&door, &ann.email, PASSWORD).await.expect(200).text("/access_token");
    let mfa = |token: String| door.get("/api/v1/auth/mfa").token(&token).send();
    let none = json!({ "totp_since": null, "totp_pending": false, "recovery_codes": 0, "required": false });
    assert_eq!(mfa(ann.token.clone()).await.expect(200).json(), none);

    let begin = || door.knock("POST", "/api/v1/auth/mfa/totp").token(&ann.token).send();
    let void = begin().await.expect(201).text("/secret");
    let begun = begin().await.expect(201);
    let secret = begun.text("/secret");
    assert_eq!(BASE32_NOPAD.decode(secret.as_bytes()).unwrap().len(), 20);
    assert!(begun.text("/uri").starts_with(&format!("otpauth://totp/dia:{}", &ann.email[..32])));
    assert!(begun.text("/uri").contains(&format!("?secret={secret}&issuer=dia&")));
    // Begun is not on: the password alone still signs in.
    assert_eq!(mfa(ann.token.clone()).await.expect(200).json()["totp_pending"], true);
    log_in(&door, &ann.email, PASSWORD).await.expect(200).text("/access_token");
    let confirm = async |code: &str| {
        door.post("/api/v1/auth/mfa/totp/confirm", &json!({ "code": code })).token(&ann.token).send().await
    };
    for wrong in [code(&door, &void).as_str(), "", "000", &"1".repeat(1_000)] {
        confirm(wrong).await.refused(422, "invalid");
    }
    let confirmed = confirm(&code(&door, &secret)).await.expect(200).json();
    assert_eq!(confirmed["recovery_codes"].as_array().unwrap().len(), 10);
    confirm(&code(&door, &secret)).await.refused(409, "conflict");
    begin().await.refused(409, "conflict");
    let standing = mfa(ann.token.clone()).await.expect(200).json();
    assert_eq!((&standing["recovery_codes"], &standing["totp_pending"]), (&json!(10), &json!(false)));
    assert!(standing["totp_since"].is_string());
    // The session that set it up was proved by both; the others ended.
    mfa(other).await.refused(401, "unauthenticated");
    let sessions = door.get("/api/v1/auth/sessions").token(&ann.token).send().await.expect(200).json();
    assert_eq!(sessions["items"][0]["methods"], json!(["pwd", "otp"]));

    ann.secret = secret;
    door.test.advance(Duration::from_secs(30));
    let half = log_in(&door, &ann.email, PASSWORD).await.expect(200).json();
    assert_eq!((&half["second_factor_required"], &half["expires_in"]), (&json!(true), &json!(300)));
    assert_eq!(half["methods"], json!(["totp", "recovery_code"]));
    assert!(half.get("access_token").is_none() && half.get("refresh_token").is_none());
    let token = half["second_factor_token"].as_str().unwrap();
    second(&door, token, json!({})).await.refused(422, "invalid");
    let both = json!({ "code": "123456", "recovery_code": "x" });
    second(&door, token, both).await.refused(422, "invalid");
    let spaced = code(&door, &ann.secret);
    let spaced = format!(" {} {}", &spaced[..3], &spaced[3..]);
    let tokens = second(&door, token, json!({ "code": spaced })).await.expect(200);
    door.get("/api/v1/auth/me").token(&tokens.text("/access_token")).send().await.expect(200);
    let refresh = json!({ "refresh_token": tokens.text("/refresh_token") });
    door.post("/api/v1/auth/refresh", &refresh).send().await.expect(200);
    for action in ["second_factor.confirmed", "session.second_factor_awaited", "second_factor.recovery_codes_made"] {
        assert_eq!(events(&door, action).await, 1, "{action}");
    }
}

async fn a_code_counts_once(test: TestStorage) {
    let door = Door::new(test.with_manual_clock());
    let ann = Human::enrolled(&door, SystemRole::Member).await;
    let (one, two) = (ann.awaited(&door).await, ann.awaited(&door).await);
    let shown = json!({ "code": code(&door, &ann.secret) });
    second(&door, &one, shown.clone()).await.expect(200);
    // Neither the code nor the token comes back.
    second(&door, &two, shown.clone()).await.refused(401, "bad_second_factor");
    let step = json!({ "password": PASSWORD, "code": shown["code"] });
    step_up(&door, &ann.token, step).await.refused(401, "bad_second_factor");
    door.test.advance(Duration::from_secs(30));
    let next = json!({ "code": code(&door, &ann.secret) });
    second(&door, &one, next.clone()).await.refused(401, "bad_second_factor");
    // Not even the step before, which was never used, once a later one was.
    second(&door, &two, next).await.expect(200);
    let three = ann.awaited(&door).await;
    second(&door, &three, shown).await.refused(401, "bad_second_factor");
    assert_eq!(events(&door, "session.second_factor_failed").await, 3);
}

async fn twenty_sign_ins_with_one_code_open_one_session(test: TestStorage) {
    let door = Door::new(test.with_manual_clock());
    let ann = Human::enrolled(&door, SystemRole::Member).await;
    let shown = code(&door, &ann.secret);
    let address = |n: usize| format!("198.51.100.{n}");
    let mut tokens = Vec::new();
    for n in 0..20 {
        let fields = json!({ "email": ann.email, "password": PASSWORD });
        let half = door.post("/api/v1/auth/login", &fields).from(&address(n)).send().await.expect(200);
        tokens.push(half.text("/second_factor_token"));
    }
    let tries = tokens.iter().enumerate().map(|(n, token)| {
        let fields = json!({ "second_factor_token": token, "code": shown });
        door.post("/api/v1/auth/login/second-factor", &fields).from(&address(n)).send()
    });
    let answers = futures::future::join_all(tries).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.refused(401, "bad_second_factor");
    }
    let otp = "select count(*) from sessions where methods = 'pwd otp' and address like '198.51.100.%'";
    assert_eq!(door.test.number(otp).await, 1);

    // And one token with a good code, twenty times at once.
    door.test.advance(Duration::from_secs(30));
    let token = ann.awaited(&door).await;
    let fields = json!({ "second_factor_token": token, "code": code(&door, &ann.secret) });
    let tries =
        (0..20).map(|n| door.post("/api/v1/auth/login/second-factor", &fields).from(&format!("192.0.2.{n}")).send());
    let answers = futures::future::join_all(tries).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
}

async fn clocks_may_differ_by_a_step(test: TestStorage) {
    let door = Door::new(test.with_manual_clock());
    for (skew, is_right) in [(-60, false), (-30, true), (0, true), (30, true), (60, false)] {
        let ann = Human::enrolled(&door, SystemRole::Member).await;
        door.test.advance(Duration::from_secs(90));
        let shown = shows(&ann.secret, door.test.storage.clock.now().seconds() + skew);
        let answer = second(&door, &ann.awaited(&door).await, json!({ "code": shown })).await;
        assert_eq!(answer.status == 200, is_right, "{skew}");
    }
}

async fn recovery_codes_count_once_each(test: TestStorage) {
    let door = Door::new(test.with_manual_clock());
    let ann = Human::enrolled(&door, SystemRole::Member).await;
    let bob = Human::enrolled(&door, SystemRole::Member).await;
    let by = |code: &str| json!({ "recovery_code": code });
    for (n, recovery) in ann.recovery_codes.iter().take(3).enumerate() {
        // As people type them.
        let typed = format!(" {} ", recovery.to_lowercase().replace('-', " "));
        second(&door, &ann.awaited(&door).await, by(&typed)).await.expect(200);
        second(&door, &ann.awaited(&door).await, by(recovery)).await.refused(401, "bad_second_factor");
        let left = door.get("/api/v1/auth/mfa").token(&ann.token).send().await.expect(200).json();
        assert_eq!(left["recovery_codes"], 9 - n);
    }
    // Another's is nobody's here, and one that comes twice at once comes once.
    let pause = || door.test.advance(Duration::from_secs(10));
    pause();
    second(&door, &ann.awaited(&door).await, by(&bob.recovery_codes[0])).await.refused(401, "bad_second_factor");
    pause();
    let one = ann.awaited(&door).await;
    pause();
    let two = ann.awaited(&door).await;
    pause();
    let fourth = by(&ann.recovery_codes[3]);
    let (one, two) = tokio::join!(second(&door, &one, fourth.clone()), second(&door, &two, fourth));
    assert_eq!([one, two].iter().filter(|answer| answer.status == 200).count(), 1);
    assert_eq!(events(&door, "second_factor.recovery_code_used").await, 4);
    // New ones void the old.
    let made = door.knock("POST", "/api/v1/auth/mfa/recovery-codes").token(&ann.token).send().await.expect(200).json();
    second(&door, &ann.awaited(&door).await, by(&ann.recovery_codes[5])).await.refused(401, "bad_second_factor");
    let fresh = made["recovery_codes"][5].as_str().unwrap();
    second(&door, &ann.awaited(&door).await, by(fresh)).await.expect(200);
    let carl = Human::new(&door, SystemRole::Member).await;
    let refused = door.knock("POST", "/api/v1/auth/mfa/recovery-codes").token(&carl.token).send().await;
    refused.refused(409, "conflict");
}

async fn the_token_between_the_steps_opens_nothing_else(test: TestStorage) {
    let door = Door::new(test.with_manual_clock());
    let ann = Human::enrolled(&door, SystemRole::Member).await;
    let token = ann.awaited(&door).await;
    for path in ["/api/v1/auth/me", "/api/v1/auth/mfa", "/api/v1/cases", "/api/v1/auth/sessions", "/api/v1/ws/chat"] {
        door.get(path).token(&token).send().await.refused(401, "unauthenticated");
    }
    door.post("/api/v1/auth/refresh", &json!({ "refresh_token": token }))
        .send()
        .await
        .refused(401, "bad_refresh_token");
    let step = json!({ "password": PASSWORD, "code": code(&door, &ann.secret) });
    step_up(&door, &token, step).await.refused(401, "unauthenticated");
    let server = Server::start(&door, "/api/v1/ws/chat").await;
    let mut socket = server.connect(&[]).await.unwrap();
    socket.say(json!({ "type": "authenticate", "token": token })).await;
    assert_eq!(socket.hear().await, Err(4401));
    // Neither does anything else pass for it.
    for other in ["", "zz", ann.token.as_str(), &"0".repeat(64)] {
        let answer = second(&door, other, json!({ "code": code(&door, &ann.secret) })).await;
        answer.refused(401, "bad_second_factor");
    }
    // It is good for five minutes.
    door.test.advance(Duration::from_secs(299));
    let late = ann.awaited(&door).await;
    door.test.advance(Duration::from_secs(1));
    let shown = json!({ "code": code(&door, &ann.secret) });
    second(&door, &token, shown.clone()).await.refused(401, "bad_second_factor");
    second(&door, &late, shown).await.expect(200);
}

async fn guesses_run_out(test: TestStorage) {
    let door = Door::new(test.with_manual_clock());
    let ann = Human::enrolled(&door, SystemRole::Member).await;
    let token = ann.awaited(&door).await;
    let wrong = |n: u32| json!({ "second_factor_token": token, "code": format!("{n:06}") });
    let from = |fields: Value, address: String| {
        let knock = door.post("/api/v1/auth/login/second-factor", &fields).from(&address);
        async move { knock.send().await }
    };
    // The token takes five, wherever they come from; then the right code comes too late.
    for n in 0..5 {
        from(wrong(n), format!("198.51.100.{n}")).await.refused(401, "bad_second_factor");
    }
    let right = json!({ "second_factor_token": token, "code": code(&door, &ann.secret) });
    from(right, "198.51.100.9".to_owned()).await.refused(401, "bad_second_factor");
    assert_eq!(events(&door, "session.second_factor_failed").await, 5);

    // A password that is known buys no more guesses: both steps count against the account and the network.
    let address = "192.0.2.7";
    let login = json!({ "email": ann.email, "password": PASSWORD });
    let mut delayed = 0;
    for n in 0..6 {
        let half = door.post("/api/v1/auth/login", &login).from(address).send().await;
        if half.status == 429 {
            delayed += 1;
            continue;
        }
        let fields = json!({ "second_factor_token": half.text("/second_factor_token"), "code": format!("{n:06}") });
        if from(fields, address.to_owned()).await.status == 429 {
            delayed += 1;
        }
    }
    assert!(delayed >= 3, "{delayed}");
    // Who is right in the end starts anew.
    door.test.advance(Duration::from_mins(1));
    let half = door.post("/api/v1/auth/login", &login).from(address).send().await.expect(200);
    door.test.advance(Duration::from_secs(30));
    let token = half.text("/second_factor_token");
    let right = json!({ "second_factor_token": token, "code": code(&door, &ann.secret) });
    from(right, address.to_owned()).await.expect(200);
    door.post("/api/v1/auth/login", &login).from(address).send().await.expect(200);
}

async fn a_new_password_ends_what_the_old_one_began(test: TestStorage) {
    let door = Door::new(test.with_manual_clock());
    let ann = Human::enrolled(&door, SystemRole::Member).await;
    let half = ann.awaited(&door).await;
    let change = json!({ "current_password": PASSWORD, "new_password": "violet anchors hum at midnight" });
    door.post("/api/v1/auth/change-password", &change).token(&ann.token).send().await.expect(204);
    let shown = json!({ "code": code(&door, &ann.secret) });
    second(&door, &half, shown).await.refused(401, "bad_second_factor");
    // A suspension does, too.
    let root = door.administrator().await;
    let half = log_in(&door, &ann.email, "violet anchors hum at midnight").await.expect(200);
    let half = half.text("/second_factor_token");
    for is_active in [false, true] {
        let suspend =
            door.knock("PATCH", &format!("/api/v1/users/{}", ann.id)).json(&json!({ "is_active": is_active }));
        suspend.by(&root).send().await.expect(200);
    }
    let shown = json!({ "code": code(&door, &ann.secret) });
    second(&door, &half, shown).await.refused(401, "bad_second_factor");
}

async fn what_is_sensitive_wants_a_fresh_proof(test: TestStorage) {
    let mut door = Door::new(test.with_manual_clock());
    door.reopen(|state| {
        let auth = AuthConfig { step_up_seconds: 300, ..AuthConfig::default() };
        State { auth: std::sync::Arc::new(auth), ..state }
    });
    let root = Human::new(&door, SystemRole::Administrator).await;
    let ann = Human::new(&door, SystemRole::Member).await;
    let created =
        door.post("/api/v1/cases", &json!({ "title": "x" })).token(&root.token).key("c").send().await.expect(201);
    let case = format!("/api/v1/cases/{}", created.text("/id"));
    let user = format!("/api/v1/users/{}", ann.id);
    let key_fields = json!({ "name": "n", "scopes": ["chat"], "expires_in_days": 1 });
    let key =
        door.post("/api/v1/api-keys", &key_fields).token(&root.token).key("k").send().await.expect(201).text("/id");
    let rotate = format!("/api/v1/api-keys/{key}/rotate");
    let sensitive: Vec<(&str, String, Value)> = vec![
        ("POST", "/api/v1/api-keys".to_owned(), key_fields),
        ("POST", rotate, json!({ "overlap_minutes": 0 })),
        ("PATCH", user.clone(), json!({ "role": "administrator" })),
        ("DELETE", format!("{user}/mfa"), Value::Null),
        ("POST", format!("{user}/password-reset"), Value::Null),
        ("POST", "/api/v1/auth/invitations".to_owned(), json!({ "role": "administrator" })),
        ("POST", "/api/v1/auth/mfa/totp".to_owned(), Value::Null),
        ("POST", "/api/v1/auth/mfa/totp/confirm".to_owned(), json!({ "code": "000000" })),
        ("DELETE", "/api/v1/auth/mfa/totp".to_owned(), Value::Null),
        ("POST", "/api/v1/auth/mfa/recovery-codes".to_owned(), Value::Null),
        ("DELETE", case.clone(), Value::Null),
    ];
    let ask = async |method: &str, path: &str, body: &Value| {
        let knock = door.knock(method, path).token(&root.token).key(&domain::ids::fresh().to_string());
        if body.is_null() { knock.send().await } else { knock.json(body).send().await }
    };
    door.test.advance(Duration::from_secs(299));
    let fresh = door.post("/api/v1/auth/invitations", &json!({ "role": "administrator" })).token(&root.token).key("i");
    fresh.send().await.expect(201);
    door.test.advance(Duration::from_secs(1));
    for (method, path, body) in &sensitive {
        let refused = ask(method, path, body).await;
        refused.refused(403, "step_up_required");
        assert!(refused.text("/message").contains("POST /auth/step-up"));
    }
    // What is not goes on, and refreshing tokens proves nothing.
    door.get(&case).token(&root.token).send().await.expect(200);
    let member = door.post("/api/v1/auth/invitations", &json!({ "role": "member" })).token(&root.token).key("m");
    member.send().await.expect(201);
    step_up(&door, &root.token, json!({ "password": "violet anchors hum" })).await.refused(401, "bad_credentials");
    ask("DELETE", &case, &Value::Null).await.refused(403, "step_up_required");
    step_up(&door, &root.token, json!({ "password": PASSWORD })).await.expect(204);
    for (method, path, body) in &sensitive {
        let answer = ask(method, path, body).await;
        assert!(
            answer.status.is_success() || [404, 409, 422].contains(&answer.status.as_u16()),
            "{path} {}",
            answer.status
        );
    }
    assert_eq!(events(&door, "session.proved").await, 1);
    // With a second factor the password is half of it.
    let bob = Human::enrolled(&door, SystemRole::Member).await;
    let with = async |fields: Value| step_up(&door, &bob.token, fields).await;
    with(json!({ "password": PASSWORD })).await.refused(401, "bad_second_factor");
    with(json!({ "password": PASSWORD, "code": "000000" })).await.refused(401, "bad_second_factor");
    with(json!({ "password": "wrong", "code": code(&door, &bob.secret) })).await.refused(401, "bad_credentials");
    with(json!({ "password": PASSWORD, "code": code(&door, &bob.secret) })).await.expect(204);
    // Guessing here is slowed down as signing in is.
    let mut last = 0;
    for _ in 0..7 {
        last = with(json!({ "password": "wrong" })).await.status.as_u16();
    }
    assert_eq!(last, 429);
}

async fn a_factor_goes_only_when_the_password_stands_alone(test: TestStorage) {
    let door = Door::new(test.with_manual_clock());
    let mut ann = Human::new(&door, SystemRole::Member).await;
    let change = async |current: &str, new: &str| {
        let fields = json!({ "current_password": current, "new_password": new });
        door.post("/api/v1/auth/change-password", &fields).token(&ann.token.clone()).send().await
    };
    let refused = change(PASSWORD, "gull ro7 kelp").await;
    refused.refused(422, "weak_password");
    assert!(refused.text("/message").contains("at least 15 characters"));
    let told = change(PASSWORD, "passwordpassword").await;
    told.refused(422, "weak_password");
    assert!(told.text("/message").contains("Add another word or two."), "{}", told.text("/message"));
    ann.enrol(&door).await;
    let change = async |current: &str, new: &str| {
        let fields = json!({ "current_password": current, "new_password": new });
        door.post("/api/v1/auth/change-password", &fields).token(&ann.token).send().await
    };
    change(PASSWORD, "gull 7!").await.refused(422, "weak_password");
    change(PASSWORD, "kV7qz4mW").await.expect(204);
    let remove = || door.delete("/api/v1/auth/mfa/totp").token(&ann.token).send();
    let refused = remove().await;
    refused.refused(409, "conflict");
    assert!(refused.text("/message").contains("15 characters"));
    let root = door.administrator().await;
    let taken = door.delete(&format!("/api/v1/users/{}/mfa", ann.id)).by(&root).send().await;
    taken.refused(409, "conflict");
    change("kV7qz4mW", PASSWORD).await.expect(204);
    remove().await.expect(204);
    remove().await.refused(409, "conflict");
    assert_eq!(door.test.number("select count(*) from recovery_codes").await, 0);
    log_in(&door, &ann.email, PASSWORD).await.expect(200).text("/access_token");
    assert_eq!(events(&door, "second_factor.removed").await, 1);
}

async fn an_administrator_takes_away_what_somebody_lost(test: TestStorage) {
    let door = Door::new(test.with_manual_clock());
    let ann = Human::enrolled(&door, SystemRole::Member).await;
    let root = Human::enrolled(&door, SystemRole::Administrator).await;
    let eve = Human::new(&door, SystemRole::Member).await;
    let half = ann.awaited(&door).await;
    let take = |of: &Human, by: &Human| door.delete(&format!("/api/v1/users/{}/mfa", of.id)).token(&by.token).send();
    take(&ann, &eve).await.refused(403, "forbidden");
    take(&root, &root).await.refused(409, "conflict");
    take(&eve, &root).await.refused(409, "conflict");
    let seen = async || {
        let path = format!("/api/v1/users/{}", ann.id);
        door.get(&path).token(&root.token).send().await.expect(200).json()["has_second_factor"].clone()
    };
    assert_eq!(seen().await, true);
    take(&ann, &root).await.expect(204);
    assert_eq!(seen().await, false);
    // Nothing of it is left, and the password alone signs in.
    second(&door, &half, json!({ "code": code(&door, &ann.secret) })).await.refused(401, "bad_second_factor");
    log_in(&door, &ann.email, PASSWORD).await.expect(200).text("/access_token");
    let by_root = "select count(*) from audit_events where action = 'second_factor.removed'";
    assert_eq!(door.test.number(by_root).await, 1);
}

async fn a_role_may_need_a_second_factor(test: TestStorage) {
    let mut door = Door::new(test.with_manual_clock());
    let (mut root, ann) =
        (Human::new(&door, SystemRole::Administrator).await, Human::new(&door, SystemRole::Member).await);
    let person = door.administrator().await;
    let key = keys::make(&door, &person, &["cases:read"]).await;
    let server = Server::start(&door, "/api/v1/ws/chat").await;
    let mut open = server.connect(&[("authorization", &format!("Bearer {}", root.token))]).await.unwrap();
    open.say(json!({ "type": "ping" })).await;
    assert_eq!(open.hear().await.unwrap()["type"], "pong");
    door.reopen(|state| {
        let auth = AuthConfig { second_factor_roles: vec![SystemRole::Administrator], ..AuthConfig::default() };
        State { auth: std::sync::Arc::new(auth), ..state }
    });
    let strict = Server::of(door.state.clone(), "/api/v1/ws/chat").await;

    // Members work as before, and so do keys that were made before.
    door.get("/api/v1/cases").token(&ann.token).send().await.expect(200);
    door.get("/api/v1/cases").token(&key.text).send().await.expect(200);
    // Who lacks it signs in, sees who they are, sets it up or leaves.
    root.token = log_in(&door, &root.email, PASSWORD).await.expect(200).text("/access_token");
    door.get("/api/v1/auth/me").token(&root.token).send().await.expect(200);
    let standing = door.get("/api/v1/auth/mfa").token(&root.token).send().await.expect(200).json();
    assert_eq!((&standing["required"], &standing["totp_since"]), (&json!(true), &Value::Null));
    for (method, path) in [
        ("GET", "/api/v1/cases"),
        ("GET", "/api/v1/users"),
        ("GET", "/api/v1/auth/sessions"),
        ("POST", "/api/v1/api-keys"),
        ("POST", "/api/v1/auth/invitations"),
        ("POST", "/api/v1/auth/change-password"),
        ("DELETE", "/api/v1/auth/mfa/totp"),
        ("GET", "/api/v1/ws/chat"),
        ("GET", "/api/v1/ws/database-status"),
    ] {
        door.knock(method, path)
            .token(&root.token)
            .key("k")
            .json(&json!({}))
            .send()
            .await
            .refused(403, "second_factor_required");
    }
    assert!(strict.connect(&[("authorization", &format!("Bearer {}", root.token))]).await.is_err());
    let mut socket = strict.connect(&[]).await.unwrap();
    socket.say(json!({ "type": "authenticate", "token": root.token })).await;
    assert_eq!(socket.hear().await, Err(4403));

    step_up(&door, &root.token, json!({ "password": PASSWORD })).await.expect(204);
    root.enrol(&door).await;
    door.get("/api/v1/users").token(&root.token).send().await.expect(200);
    let mut socket = strict.connect(&[("authorization", &format!("Bearer {}", root.token))]).await.unwrap();
    socket.say(json!({ "type": "ping" })).await;
    assert_eq!(socket.hear().await.unwrap()["type"], "pong");
    // Taken away again, it is missing again, and open sockets end.
    door.delete("/api/v1/auth/mfa/totp").token(&root.token).send().await.expect(204);
    door.get("/api/v1/users").token(&root.token).send().await.refused(403, "second_factor_required");
    assert_eq!(socket.hear().await, Err(4403));
    door.knock("POST", "/api/v1/auth/logout").token(&root.token).send().await.expect(204);
    // Who becomes an administrator needs one from then on.
    door.test.statement(&format!("update users set role = 'administrator' where email = '{}'", ann.email)).await;
    door.get("/api/v1/cases").token(&ann.token).send().await.refused(403, "second_factor_required");
}

/// Secrets, codes and tokens are in no audit event and in no row as they are.
async fn nothing_secret_is_written_down(test: TestStorage) {
    let door = Door::new(test.with_manual_clock());
    let ann = Human::enrolled(&door, SystemRole::Member).await;
    let half = ann.awaited(&door).await;
    let shown = code(&door, &ann.secret);
    second(&door, &half, json!({ "code": shown })).await.expect(200);
    second(&door, &ann.awaited(&door).await, json!({ "recovery_code": ann.recovery_codes[0] })).await.expect(200);
    let rows = "select count(*) from audit_events";
    assert!(door.test.number(rows).await > 8);
    let mut secrets = vec![ann.secret.clone(), half, PASSWORD.to_owned(), shown];
    secrets.extend(ann.recovery_codes.clone());
    for secret in secrets {
        let said = format!("select count(*) from audit_events where cast(details as text) like '%{secret}%'");
        assert_eq!(door.test.number(&said).await, 0, "{secret}");
    }
    let raw = hex::encode(BASE32_NOPAD.decode(ann.secret.as_bytes()).unwrap());
    let held = if door.test.is_postgres() {
        format!("select count(*) from second_factors where encode(sealed_secret, 'hex') like '%{raw}%'")
    } else {
        format!("select count(*) from second_factors where lower(hex(sealed_secret)) like '%{raw}%'")
    };
    assert_eq!(door.test.number(&held).await, 0);
    for value in [format!("{:?}", door.state.auth), format!("{:?}", door.state.passwords)] {
        assert!(!value.contains(&ann.secret));
    }
}
