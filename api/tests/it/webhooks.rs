//! Webhooks through the door: made once under a key, shown without their secret, changed, rotated, tried, removed; to a stranger there
//! is none.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::{
    access::{Action, CaseRole},
    ids::{DeliveryId, WebhookId},
};
use serde_json::{Value, json};
use storage::cases::Case;
use testkit::TestStorage;

use crate::{
    door::{Door, Person},
    papers::Papers,
};

testkit::in_each_mode!(
    a_webhook_is_kept_and_its_secret_shown_once,
    what_is_no_webhook,
    only_managers_of_the_case_may,
    a_message_is_logged_and_sent_again,
);

fn key() -> String {
    domain::ids::fresh().to_string()
}

async fn make(door: &Door, person: &Person, all: &str, url: &str) -> Value {
    door.post(all, &json!({ "url": url })).by(person).key(&key()).send().await.expect(201).json()
}

async fn a_webhook_is_kept_and_its_secret_shown_once(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let all = format!("/api/v1/cases/{}/webhooks", papers.case);
    let fields = json!({ "url": "https://hooks.example.org/x?token=canary", "events": ["batch.settled"] });
    let made = door.post(&all, &fields).by(&ann).key("k1").send().await.expect(201);
    let again = door.post(&all, &fields).by(&ann).key("k1").send().await.expect(201);
    assert_eq!((made.json(), again.headers["idempotency-replayed"].to_str().unwrap()), (again.json(), "true"));
    let secret = made.text("/secret");
    assert_eq!(STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap().len(), 32);
    let one = format!("{all}/{}", made.text("/id"));
    let mut shown = made.json();
    shown.as_object_mut().unwrap().remove("secret");
    assert_eq!(door.get(&one).by(&ann).send().await.expect(200).json(), shown);
    assert_eq!((&shown["enabled"], &shown["events"]), (&json!(true), &json!(["batch.settled"])));

    let more = make(&door, &ann, &all, "https://hooks.example.org/y").await;
    assert_eq!(more["events"], json!(["*"]));
    let first = door.get(&format!("{all}?limit=1")).by(&ann).send().await.expect(200).json();
    let next = first["next_cursor"].as_str().unwrap();
    let second = door.get(&format!("{all}?limit=1&cursor={next}")).by(&ann).send().await.expect(200).json();
    assert_eq!((&first["items"][0], &second["items"][0]["id"]), (&shown, &more["id"]));
    assert!(!format!("{first}{second}").contains("whsec_"));

    let patch = |body: Value| door.knock("PATCH", &one).by(&ann).json(&body);
    let off = patch(json!({ "enabled": false })).send().await.expect(200).json();
    assert_eq!(
        (&off["enabled"], &off["disabled_reason"], &off["url"]),
        (&json!(false), &json!("person"), &shown["url"])
    );
    door.post(&format!("{one}/test"), &json!(null)).by(&ann).key(&key()).send().await.refused(409, "conflict");
    let on = patch(json!({ "enabled": true, "events": ["*"], "url": "https://other.example.org/" }))
        .send()
        .await
        .expect(200);
    assert_eq!((on.text("/url"), on.json()["enabled"].clone()), ("https://other.example.org/".to_owned(), json!(true)));

    let rotate = || door.knock("POST", &format!("{one}/rotate")).by(&ann).key("r1");
    let rotated = rotate().send().await.expect(201);
    assert_ne!(rotated.text("/secret"), secret);
    assert_eq!(rotate().send().await.expect(201).json(), rotated.json(), "a repeated rotation is the same one");
    assert!(rotated.json()["former_secret_until"].is_string());

    door.delete(&one).by(&ann).send().await.expect(204);
    door.delete(&one).by(&ann).send().await.refused(404, "not_found");
    let trail = papers.trail().await;
    for action in ["webhook.created", "webhook.updated", "webhook.rotated", "webhook.removed"] {
        assert!(trail.contains(&action.to_owned()), "{action}");
    }
    for entry in door.test.trail(papers.case).await {
        let said = entry.details.to_string();
        assert!(!said.contains("canary") && !said.contains("whsec"), "{said}");
    }
}

async fn what_is_no_webhook(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let all = format!("/api/v1/cases/{}/webhooks", papers.case);
    for url in [
        "",
        "hooks.example.org",
        "http://hooks.example.org/",
        "https://ann:secret@hooks.example.org/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://2130706433/",
        "https://169.254.169.254/latest",
        "https://10.0.0.7:8443/",
        "ftp://hooks.example.org/",
        &format!("https://hooks.example.org/{}", "x".repeat(2_048)),
    ] {
        door.post(&all, &json!({ "url": url })).by(&ann).key(&key()).send().await.refused(422, "invalid");
    }
    for events in [json!([]), json!(["batch.opened"]), json!(["webhook.test"]), json!(vec!["*"; 7])] {
        let fields = json!({ "url": "https://hooks.example.org/", "events": events });
        door.post(&all, &fields).by(&ann).key(&key()).send().await.refused(422, "invalid");
    }
    for fields in [json!({}), json!({ "url": 1 }), json!({ "url": "https://a.example/", "secret": "mine" })] {
        door.post(&all, &fields).by(&ann).key(&key()).send().await.refused(400, "malformed_json");
    }
    let fields = json!({ "url": "https://hooks.example.org/" });
    door.post(&all, &fields).by(&ann).send().await.refused(400, "missing_idempotency_key");
    assert_eq!(door.test.number("select count(*) from webhooks").await, 0);
    let one = format!("{all}/{}", make(&door, &ann, &all, "https://hooks.example.org/").await["id"].as_str().unwrap());
    for patch in [json!({ "url": "http://hooks.example.org/" }), json!({ "events": ["x"] })] {
        door.knock("PATCH", &one).by(&ann).json(&patch).send().await.refused(422, "invalid");
    }
    for _ in 1..20 {
        make(&door, &ann, &all, "https://hooks.example.org/").await;
    }
    door.post(&all, &fields).by(&ann).key(&key()).send().await.refused(409, "conflict");
}

async fn only_managers_of_the_case_may(test: TestStorage) {
    let door = Door::new(test);
    let (ann, eve, bob) = (door.member().await, door.member().await, door.member().await);
    let papers = Papers::open(&door, &ann).await;
    let mut tx = door.test.storage.begin(&ann.actor).await.unwrap();
    let case = Case::find(&mut tx, papers.case, Action::ManageMembers).await.unwrap();
    case.set_member(&mut tx, bob.id, CaseRole::Lawyer).await.unwrap();
    tx.commit().await.unwrap();
    let all = format!("/api/v1/cases/{}/webhooks", papers.case);
    let made = make(&door, &ann, &all, "https://hooks.example.org/").await;
    let one = format!("{all}/{}", made["id"].as_str().unwrap());
    let sent = door.knock("POST", &format!("{one}/test")).by(&ann).key(&key()).send().await.expect(202);
    let log = format!("{one}/deliveries");
    let again = format!("{log}/{}/redeliver", sent.text("/delivery_id"));
    for (person, status, code) in [(&eve, 404, "not_found"), (&bob, 403, "forbidden")] {
        for path in [&all, &one, &log] {
            door.get(path).by(person).send().await.refused(status, code);
        }
        let fields = json!({ "url": "https://hooks.example.org/" });
        door.post(&all, &fields).by(person).key(&key()).send().await.refused(status, code);
        door.knock("PATCH", &one).by(person).json(&json!({ "enabled": false })).send().await.refused(status, code);
        for path in [format!("{one}/rotate"), format!("{one}/test"), again.clone()] {
            door.knock("POST", &path).by(person).key(&key()).send().await.refused(status, code);
        }
        door.delete(&one).by(person).send().await.refused(status, code);
    }
    // Another case's webhook, another webhook's message and a missing one are the same.
    let others = Papers::open(&door, &ann).await;
    let elsewhere = format!("/api/v1/cases/{}/webhooks", others.case);
    let beside = make(&door, &ann, &elsewhere, "https://hooks.example.org/").await;
    let beside = format!("{elsewhere}/{}", beside["id"].as_str().unwrap());
    let missing = door.get(&format!("{all}/{}", WebhookId::new())).by(&ann).send().await;
    let foreign = door.get(&format!("{elsewhere}/{}", made["id"].as_str().unwrap())).by(&ann).send().await;
    let said =
        |answer: &crate::door::Answer| (answer.status, answer.json()["code"].clone(), answer.json()["message"].clone());
    assert_eq!(said(&missing), said(&foreign));
    missing.refused(404, "not_found");
    let redeliver = |id: String| door.knock("POST", &format!("{beside}/deliveries/{id}/redeliver")).by(&ann);
    redeliver(sent.text("/delivery_id")).send().await.refused(404, "not_found");
    redeliver(DeliveryId::new().to_string()).send().await.refused(404, "not_found");
}

async fn a_message_is_logged_and_sent_again(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let all = format!("/api/v1/cases/{}/webhooks", papers.case);
    let one = format!("{all}/{}", make(&door, &ann, &all, "https://hooks.example.org/").await["id"].as_str().unwrap());
    let test = || door.knock("POST", &format!("{one}/test")).by(&ann);
    let first = test().key("t1").send().await.expect(202);
    assert_eq!(test().key("t1").send().await.expect(202).json(), first.json());
    let second = test().key("t2").send().await.expect(202);
    assert_ne!(second.json(), first.json());
    let log = door.get(&format!("{one}/deliveries?limit=1")).by(&ann).send().await.expect(200).json();
    let next = log["next_cursor"].as_str().unwrap();
    let older = door.get(&format!("{one}/deliveries?limit=1&cursor={next}")).by(&ann).send().await.expect(200).json();
    assert_eq!(
        (&log["items"][0]["id"], &older["items"][0]["id"]),
        (&second.json()["delivery_id"], &first.json()["delivery_id"])
    );
    let row = &log["items"][0];
    assert_eq!(
        (&row["event"], &row["state"], &row["attempts"]),
        (&json!("webhook.test"), &json!("pending"), &json!([]))
    );
    let again = format!("{one}/deliveries/{}/redeliver", first.text("/delivery_id"));
    door.knock("POST", &again).by(&ann).send().await.refused(409, "conflict");
    door.test.statement("update webhook_deliveries set state = 'failed', tries = 10").await;
    door.knock("POST", &again).by(&ann).send().await.expect(202);
    let left = "select count(*) from webhook_deliveries where state = 'pending' and tries = 0";
    assert_eq!(door.test.number(left).await, 1);
    assert_eq!(papers.trail().await.iter().filter(|action| *action == "webhook.sent").count(), 3);
}
