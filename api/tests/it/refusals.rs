//! Whatever goes wrong, the answer has the one shape and the right code.

use api::ApiConfig;
use serde_json::json;
use testkit::TestStorage;

use crate::door::Door;

testkit::in_each_mode!(every_refusal_has_the_one_shape, bodies_that_are_not_json, careful_headers_and_request_ids);

async fn every_refusal_has_the_one_shape(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    door.get("/").send().await.refused(404, "not_found");
    door.get("/api/v1/nothing").by(&ann).send().await.refused(404, "not_found");
    door.get("/api/v1/cases/%ff").by(&ann).send().await.refused(404, "not_found");
    door.get("/api/v1/cases/..%2f..%2fetc%2fpasswd").by(&ann).send().await.refused(404, "not_found");
    let wrong = door.knock("PATCH", "/api/v1/cases").by(&ann).send().await;
    wrong.refused(405, "method_not_allowed");
    let allowed = wrong.headers["allow"].to_str().unwrap();
    assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");
    door.knock("BREW", "/api/v1/cases").send().await.refused(405, "method_not_allowed");
    door.get("/api/v1/cases").send().await.refused(401, "unauthenticated");
    // What PostgreSQL cannot keep is refused at the door, over either database.
    for query in ["q=%00", "q=a%00b", "status=%00"] {
        door.get(&format!("/api/v1/cases?{query}")).by(&ann).send().await.refused(400, "bad_request");
    }
    door.get("/api/v1/cases?q=%2500").by(&ann).send().await.expect(200);
}

async fn bodies_that_are_not_json(test: TestStorage) {
    let door = Door::with(test, ApiConfig { max_body_bytes: 1_000, ..ApiConfig::default() });
    let ann = door.member().await;
    let post = |kind: &str, body: String| {
        door.knock("POST", "/api/v1/cases").by(&ann).key("k").header("content-type", kind).body(body).send()
    };
    let json = "application/json";
    for body in [
        "",
        "{",
        "null",
        "[]",
        "\"title\"",
        "{\"title\": 1}",
        "{\"titel\": \"x\"}",
        "{\"title\": \"x\", \"owner_id\": \"me\"}",
        "{\"title\": \"x\"} trailing",
        "{\"title\": \"\\ud800\"}",
        "{\"title\": \"a\\u0000b\"}",
        &"[".repeat(900),
    ] {
        let answer = post(json, body.to_owned()).await;
        answer.refused(400, "malformed_json");
    }
    assert!(post(json, "{\"titel\": 1}".to_owned()).await.text("/message").contains("titel"));
    door.knock("POST", "/api/v1/cases")
        .by(&ann)
        .key("k")
        .header("content-type", json)
        .body(vec![0xff, 0xfe])
        .send()
        .await
        .refused(400, "malformed_json");
    post("text/plain", json!({ "title": "x" }).to_string()).await.refused(415, "unsupported_media_type");
    post("", json!({ "title": "x" }).to_string()).await.refused(415, "unsupported_media_type");
    post(json, json!({ "title": "x".repeat(1_000) }).to_string()).await.refused(413, "too_large");
    post("Application/JSON; charset=utf-8", json!({ "title": "x" }).to_string()).await.expect(201);
}

async fn careful_headers_and_request_ids(test: TestStorage) {
    let door = Door::new(test);
    let id = domain::ids::fresh().to_string();
    for path in ["/health/live", "/nothing", "/api/v1/auth/me", "/api/v1/reference"] {
        let answer = door.get(path).header("x-request-id", &id).send().await;
        for (name, value) in [
            ("x-request-id", id.as_str()),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-xss-protection", "0"),
        ] {
            assert_eq!(answer.headers[name], value, "{path}");
        }
        assert!(answer.headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
        let keep = if path == "/api/v1/reference" { "no-cache" } else { "no-store" };
        assert_eq!(answer.headers["cache-control"], keep);
    }
    for bad in ["1", "'; drop table cases; --", &"a".repeat(2_000)] {
        let answer = door.get("/nothing").header("x-request-id", bad).send().await;
        answer.refused(404, "not_found");
        assert_ne!(answer.headers["x-request-id"], bad);
    }
}
