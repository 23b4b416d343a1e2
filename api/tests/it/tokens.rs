//! Forged access tokens. Each differs from a good one in a single way, and is signed properly where that is the point.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::ids::{SessionId, UserId};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};
use testkit::TestStorage;

use crate::door::Door;

testkit::in_each_mode!(forged_tokens_open_nothing);

fn ed25519(seed: &[u8; 32]) -> EncodingKey {
    let der = hex::decode(format!("302e020100300506032b657004220420{}", hex::encode(seed))).unwrap();
    EncodingKey::from_ed_der(&der)
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

async fn forged_tokens_open_nothing(test: TestStorage) {
    let door = Door::new(test.with_manual_clock());
    let (ann, bob) = (door.member().await, door.member().await);
    let now = door.test.storage.clock.now().seconds();
    let own = ed25519(door.test.storage.vault.system_key("jwt").seed());
    let stranger = ed25519(&[7; 32]);
    let kid = jsonwebtoken::decode_header(&ann.token).unwrap().kid.unwrap();
    let header = Header { typ: Some("at+jwt".into()), kid: Some(kid.clone()), ..Header::new(Algorithm::EdDSA) };
    let claims = json!({
        "iss": "dia", "aud": "dia-api", "sub": ann.id, "sid": ann.session, "jti": domain::ids::fresh(),
        "iat": now, "exp": now + 60,
    });
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims
    };
    let without = |name: &str| {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    let signed = |claims: &Value| encode(&header, claims, &own).unwrap();
    let good = signed(&claims);
    door.get("/api/v1/auth/me").token(&good).send().await.expect(200);

    let jwk = Jwk::from_encoding_key(&own, Algorithm::EdDSA).unwrap();
    let public = URL_SAFE_NO_PAD.decode(serde_json::to_value(&jwk).unwrap()["x"].as_str().unwrap()).unwrap();
    let hmac = EncodingKey::from_secret(&public);
    let hs256 = Header { kid: Some(kid.clone()), typ: header.typ.clone(), ..Header::new(Algorithm::HS256) };
    let none = |alg: &str| format!("{}.{}.", part(&json!({ "alg": alg, "typ": "at+jwt", "kid": kid })), part(&claims));
    let (message, signature) = good.rsplit_once('.').unwrap();
    let other_claims =
        format!("{}.{}.{signature}", message.split_once('.').unwrap().0, part(&with("sub", json!(bob.id))));
    let own_jwk = Header { jwk: Some(Jwk::from_encoding_key(&stranger, Algorithm::EdDSA).unwrap()), ..header.clone() };
    let asking = Header { jku: Some("https://keys.example".into()), ..header.clone() };
    let reordered = json!({ "alg": "EdDSA", "kid": kid, "typ": "at+jwt" });
    let signed_rest = |header: &Value| {
        let message = format!("{}.{}", part(header), part(&claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &own, Algorithm::EdDSA).unwrap();
        format!("{}.{signature}", part(&claims))
    };

    let forged = [
        ("nothing", String::new()),
        ("noise", "a.b.c".into()),
        ("no signature", format!("{message}.")),
        ("alg none", none("none")),
        ("alg NONE", none("NONE")),
        ("HMAC with the public key", encode(&hs256, &claims, &hmac).unwrap()),
        ("another key", encode(&header, &claims, &stranger).unwrap()),
        ("another key that brings itself along", encode(&own_jwk, &claims, &stranger).unwrap()),
        (
            "another kid",
            encode(&Header { kid: Some("0000000000000000".into()), ..header.clone() }, &claims, &own).unwrap(),
        ),
        ("no kid", encode(&Header { kid: None, ..header.clone() }, &claims, &own).unwrap()),
        ("another type", encode(&Header { typ: Some("JWT".into()), ..header.clone() }, &claims, &own).unwrap()),
        ("claims exchanged", other_claims),
        ("a header that asks for more", encode(&asking, &claims, &own).unwrap()),
        ("a header in another order", format!("{}.{}", part(&reordered), signed_rest(&reordered))),
        ("not yet", signed(&with("nbf", json!(now + 3_600)))),
        ("nbf as text", signed(&with("nbf", json!("soon")))),
        ("issued tomorrow", signed(&with("iat", json!(now + 86_400)))),
        ("over", signed(&with("exp", json!(now)))),
        ("exp as text", signed(&with("exp", json!("never")))),
        ("another audience", signed(&with("aud", json!("dia-web")))),
        ("another issuer", signed(&with("iss", json!("dja")))),
        ("no exp", signed(&without("exp"))),
        ("no aud", signed(&without("aud"))),
        ("no iss", signed(&without("iss"))),
        ("no sub", signed(&without("sub"))),
        ("no jti", signed(&without("jti"))),
        ("a session that is not", signed(&with("sid", json!(SessionId::new())))),
        ("another's session", signed(&with("sid", json!(bob.session)))),
        ("nobody", signed(&with("sub", json!(UserId::new())))),
    ];
    for (what, token) in forged {
        let answer = door.get("/api/v1/auth/me").token(&token).send().await;
        assert_eq!(answer.status, 401, "{what}");
        answer.refused(401, "unauthenticated");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
    for header in ["Basic YTpi", "Bearer", &good] {
        door.get("/api/v1/auth/me").header("authorization", header).send().await.refused(401, "unauthenticated");
    }
    // Of two headers a proxy may have looked at the other one. Clocks of a fleet may be a little apart.
    for (first, second) in [(good.as_str(), "x"), ("x", good.as_str()), (good.as_str(), good.as_str())] {
        let knock = door.get("/api/v1/auth/me").token(first);
        knock.also("authorization", &format!("Bearer {second}")).send().await.refused(401, "unauthenticated");
    }
    let ahead = signed(&with("iat", json!(now + 30)));
    door.get("/api/v1/auth/me").token(&ahead).send().await.expect(200);
    // A token in the URL is no token.
    door.get(&format!("/api/v1/auth/me?access_token={good}")).send().await.refused(401, "unauthenticated");

    door.test.advance(std::time::Duration::from_mins(15));
    door.get("/api/v1/auth/me").by(&ann).send().await.refused(401, "unauthenticated");
}
