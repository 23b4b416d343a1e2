//! Cases and members through the door, and the promises every resource keeps: one effect per key, and no word about what
//! is somebody else's.

use axum::http::StatusCode;
use domain::ids::CaseId;
use serde_json::json;
use testkit::TestStorage;

use crate::door::{Door, Person};

testkit::in_each_mode!(
    the_life_of_a_case,
    members_and_their_roles,
    a_foreign_case_is_a_missing_one,
    one_key_one_effect,
    twenty_at_once_make_one_case,
    lists_are_paged_and_filtered,
);

async fn new_case(door: &Door, person: &Person, title: &str) -> String {
    let key = domain::ids::fresh().to_string();
    door.post("/api/v1/cases", &json!({ "title": title })).by(person).key(&key).send().await.expect(201).text("/id")
}

async fn the_life_of_a_case(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let fields = json!({ "title": "Ardmore v. Pell", "type": "litigation", "priority": "high" });
    let made = door.post("/api/v1/cases", &fields).by(&ann).key("k1").send().await.expect(201);
    assert_eq!(made.json()["status"], "open");
    assert_eq!(made.json()["role"], "manager");
    assert_eq!(made.text("/owner_id"), ann.id.to_string());
    let path = format!("/api/v1/cases/{}", made.text("/id"));
    assert_eq!(door.get(&path).by(&ann).send().await.expect(200).json(), made.json());

    let fields = json!({ "title": "Ardmore v. Pell", "status": "closed" });
    assert_eq!(door.put(&path, &fields).by(&ann).send().await.expect(200).json()["status"], "closed");
    for (fields, message) in [
        (json!({ "title": " " }), "title"),
        (json!({ "title": "x", "status": "ajar" }), "status"),
        (json!({ "title": "x", "priority": "most" }), "priority"),
        (json!({ "title": "x".repeat(301) }), "title"),
    ] {
        let answer = door.put(&path, &fields).by(&ann).send().await;
        answer.refused(422, "invalid");
        assert!(answer.text("/message").contains(message));
    }

    let trail = door.get(&format!("{path}/audit")).by(&ann).send().await.expect(200).json();
    let actions: Vec<_> = trail["items"].as_array().unwrap().iter().map(|e| e["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["case.created", "case.updated"]);

    door.delete(&path).by(&ann).send().await.expect(204);
    door.get(&path).by(&ann).send().await.refused(404, "not_found");
    door.delete(&path).by(&ann).send().await.refused(404, "not_found");
}

async fn members_and_their_roles(test: TestStorage) {
    let door = Door::new(test);
    let (ann, bob) = (door.member().await, door.member().await);
    let case = new_case(&door, &ann, "Shared").await;
    let path = format!("/api/v1/cases/{case}");
    let bobs = format!("{path}/members/{}", bob.id);

    door.put(&bobs, &json!({ "role": "king" })).by(&ann).send().await.refused(422, "invalid");
    door.put(&bobs, &json!({ "role": "reviewer" })).by(&ann).send().await.expect(204);
    let members = door.get(&format!("{path}/members")).by(&bob).send().await.expect(200).json();
    let roles: Vec<_> = members["items"].as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["manager", "reviewer"]);

    // A reviewer sees the case and may change nothing in it.
    assert_eq!(door.get(&path).by(&bob).send().await.expect(200).json()["role"], "reviewer");
    door.put(&path, &json!({ "title": "Mine" })).by(&bob).send().await.refused(403, "forbidden");
    door.put(&bobs, &json!({ "role": "manager" })).by(&bob).send().await.refused(403, "forbidden");
    door.delete(&path).by(&bob).send().await.refused(403, "forbidden");
    door.get(&format!("{path}/audit")).by(&bob).send().await.refused(403, "forbidden");

    // The last manager stays; a member who is removed sees nothing any more.
    let anns = format!("{path}/members/{}", ann.id);
    door.delete(&anns).by(&ann).send().await.refused(409, "conflict");
    door.delete(&bobs).by(&ann).send().await.expect(204);
    door.delete(&bobs).by(&ann).send().await.refused(404, "not_found");
    door.get(&path).by(&bob).send().await.refused(404, "not_found");
}

async fn a_foreign_case_is_a_missing_one(test: TestStorage) {
    let door = Door::new(test);
    let (ann, eve) = (door.member().await, door.administrator().await);
    let foreign = new_case(&door, &ann, "Not yours").await;
    let missing = CaseId::new().to_string();
    let request = domain::ids::fresh().to_string();
    for (method, tail, body) in [
        ("GET", "", None),
        ("PUT", "", Some(json!({ "title": "x" }))),
        ("DELETE", "", None),
        ("GET", "/audit", None),
        ("GET", "/members", None),
        ("PUT", &*format!("/members/{}", eve.id), Some(json!({ "role": "manager" }))),
        ("DELETE", &*format!("/members/{}", ann.id), None),
    ] {
        let mut answers = Vec::new();
        for id in [foreign.as_str(), missing.as_str(), "no-id-at-all"] {
            let knock =
                door.knock(method, &format!("/api/v1/cases/{id}{tail}")).by(&eve).header("x-request-id", &request);
            let knock = if let Some(body) = &body { knock.json(body) } else { knock };
            let answer = knock.send().await;
            answer.refused(404, "not_found");
            answers.push((answer.raw, format!("{:?}", answer.headers)));
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{method} {tail}");
    }
    assert_eq!(door.get("/api/v1/cases").by(&eve).send().await.expect(200).json()["items"], json!([]));
}

async fn one_key_one_effect(test: TestStorage) {
    let door = Door::new(test);
    let (ann, bob) = (door.member().await, door.member().await);
    let fields = json!({ "title": "Once" });
    let first = door.post("/api/v1/cases", &fields).by(&ann).key("k").send().await.expect(201);
    let again = door.post("/api/v1/cases", &fields).by(&ann).key("k").send().await.expect(201);
    assert_eq!(first.raw, again.raw);
    assert_eq!(again.headers["idempotency-replayed"], "true");
    let other = door.post("/api/v1/cases", &json!({ "title": "Twice" })).by(&ann).key("k").send().await;
    other.refused(409, "idempotency_mismatch");
    // The same key of somebody else is another key.
    let bobs = door.post("/api/v1/cases", &fields).by(&bob).key("k").send().await.expect(201);
    assert_ne!(bobs.text("/id"), first.text("/id"));
    // What was refused left nothing behind: the key is still free.
    door.post("/api/v1/cases", &json!({ "title": "" })).by(&ann).key("later").send().await.refused(422, "invalid");
    door.post("/api/v1/cases", &fields).by(&ann).key("later").send().await.expect(201);
    for bad in ["", "two words", &"k".repeat(129)] {
        let answer = door.post("/api/v1/cases", &fields).by(&ann).key(bad).send().await;
        answer.refused(400, "missing_idempotency_key");
    }
    door.post("/api/v1/cases", &fields).by(&ann).send().await.refused(400, "missing_idempotency_key");
    assert_eq!(door.test.number("select count(*) from cases").await, 3);
}

async fn twenty_at_once_make_one_case(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let fields = json!({ "title": "Race" });
    let knocks = (0..20).map(|_| door.post("/api/v1/cases", &fields).by(&ann).key("same").send());
    let answers = futures::future::join_all(knocks).await;
    for answer in &answers {
        assert_eq!(answer.status, StatusCode::CREATED);
        assert_eq!(answer.raw, answers[0].raw);
    }
    assert_eq!(door.test.number("select count(*) from cases").await, 1);
}

async fn lists_are_paged_and_filtered(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    for n in 0..5 {
        new_case(&door, &ann, &format!("Case {n} 100%")).await;
    }
    let mut titles = Vec::new();
    let mut path = "/api/v1/cases?limit=2".to_owned();
    loop {
        let page = door.get(&path).by(&ann).send().await.expect(200).json();
        titles.extend(page["items"].as_array().unwrap().iter().map(|c| c["title"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/v1/cases?limit=2&cursor={cursor}");
    }
    assert_eq!(titles, ["Case 4 100%", "Case 3 100%", "Case 2 100%", "Case 1 100%", "Case 0 100%"]);
    for (query, hits) in [("q=case%203", 1), ("q=0%25", 5), ("q=%25%25", 0), ("status=closed", 0), ("status=open", 5)] {
        let found = door.get(&format!("/api/v1/cases?{query}")).by(&ann).send().await.expect(200).json();
        assert_eq!(found["items"].as_array().unwrap().len(), hits, "{query}");
    }
    for (query, code) in [
        ("cursor=zz", "bad_cursor"),
        ("limit=0", "bad_request"),
        ("limit=x", "bad_request"),
        ("staus=open", "bad_request"),
    ] {
        door.get(&format!("/api/v1/cases?{query}")).by(&ann).send().await.refused(400, code);
    }
}
