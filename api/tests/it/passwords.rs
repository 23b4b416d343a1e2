//! The password bank through the door: added once under a key, listed without the passwords, removed, supplied for one
//! document; to a stranger there is none, and no password stands in an answer or a row.

use domain::{access::CaseRole, ids::PasswordId, outcome::Category};
use serde_json::json;
use storage::cases::Case;
use testkit::TestStorage;

use crate::{door::Door, papers::Papers};

testkit::in_each_mode!(
    passwords_are_kept_and_never_shown,
    what_is_no_password,
    only_editors_of_the_case_may,
    a_password_is_supplied_for_a_document,
);

async fn passwords_are_kept_and_never_shown(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let bank = format!("/api/v1/cases/{}/passwords", papers.case);
    let fields = json!({ "passwords": ["wombat-7741", "second"], "note": "their letter of 3 May" });
    let kept = door.post(&bank, &fields).by(&ann).key("k1").send().await.expect(201);
    assert_eq!(
        (kept.json()["items"][0]["fresh"].clone(), kept.json()["items"][1]["fresh"].clone()),
        (true.into(), true.into())
    );
    let again = door.post(&bank, &fields).by(&ann).key("k1").send().await.expect(201);
    assert_eq!((again.json(), again.headers["idempotency-replayed"].to_str().unwrap()), (kept.json(), "true"));
    let other = json!({ "passwords": ["wombat-7742", "second"], "note": "their letter of 3 May" });
    door.post(&bank, &other).by(&ann).key("k1").send().await.refused(409, "idempotency_mismatch");
    let known = door.post(&bank, &json!({ "passwords": ["second"] })).by(&ann).key("k2").send().await.expect(201);
    assert_eq!(known.json()["items"][0], json!({ "id": kept.json()["items"][1]["id"], "fresh": false }));

    let first = door.get(&format!("{bank}?limit=1")).by(&ann).send().await.expect(200).json();
    let next = first["next_cursor"].as_str().unwrap();
    let second = door.get(&format!("{bank}?limit=1&cursor={next}")).by(&ann).send().await.expect(200).json();
    let row = &first["items"][0];
    assert_eq!((&row["note"], &row["added_by"]), (&json!("their letter of 3 May"), &json!(ann.id)));
    assert_eq!((&row["uses"], &row["used_at"]), (&json!(0), &json!(null)));
    assert_eq!((&second["items"][0]["id"], &second["next_cursor"]), (&kept.json()["items"][1]["id"], &json!(null)));
    assert!(!format!("{first}{second}{}", kept.json()).contains("wombat"));
    door.get(&format!("{bank}?cursor=zz")).by(&ann).send().await.refused(400, "bad_cursor");

    let gone = format!("{bank}/{}", kept.text("/items/0/id"));
    door.knock("DELETE", &gone).by(&ann).send().await.expect(204);
    door.knock("DELETE", &gone).by(&ann).send().await.refused(404, "not_found");
    assert_eq!(papers.trail().await.iter().filter(|action| action.starts_with("password.")).count(), 3);
    // The request is compared by keyed digests: a plain hash of a short password can be turned back.
    let said = r#"{"passwords":["wombat-7741","second"],"note":"their letter of 3 May"}"#;
    let plain = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(said));
    let hashes = format!("select count(*) from idempotency where lower(hex(request_hash)) = '{plain}'");
    let hashes = if door.test.is_postgres() {
        hashes.replace("hex(request_hash)", "encode(request_hash, 'hex')")
    } else {
        hashes
    };
    assert_eq!(door.test.number(&hashes).await, 0);
}

async fn what_is_no_password(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let bank = format!("/api/v1/cases/{}/passwords", papers.case);
    let key = || domain::ids::fresh().to_string();
    for fields in [
        json!({ "passwords": [] }),
        json!({ "passwords": [""] }),
        json!({ "passwords": ["x".repeat(513)] }),
        json!({ "passwords": vec!["x"; 1_001] }),
        json!({ "passwords": ["x"], "note": "n".repeat(2_001) }),
    ] {
        door.post(&bank, &fields).by(&ann).key(&key()).send().await.refused(422, "invalid");
    }
    for fields in [json!({}), json!({ "password": "x" }), json!({ "passwords": ["x"], "case": 1 })] {
        door.post(&bank, &fields).by(&ann).key(&key()).send().await.refused(400, "malformed_json");
    }
    door.post(&bank, &json!({ "passwords": ["x"] })).by(&ann).send().await.refused(400, "missing_idempotency_key");
    assert_eq!(door.test.number("select count(*) from passwords").await, 0);
}

async fn only_editors_of_the_case_may(test: TestStorage) {
    let door = Door::new(test);
    let (ann, eve, bob) = (door.member().await, door.member().await, door.member().await);
    let papers = Papers::open(&door, &ann).await;
    let id = papers.deliver("locked.pdf", b"locked").await;
    papers.fail(id, Category::Encrypted, "it is protected").await;
    let mut tx = door.test.storage.begin(&ann.actor).await.unwrap();
    let case = Case::find(&mut tx, papers.case, domain::access::Action::ManageMembers).await.unwrap();
    case.set_member(&mut tx, bob.id, CaseRole::Reviewer).await.unwrap();
    tx.commit().await.unwrap();
    let bank = format!("/api/v1/cases/{}/passwords", papers.case);
    let one = format!("/api/v1/documents/{id}/password");
    let fields = json!({ "passwords": ["x"] });
    let password = door.post(&bank, &fields).by(&ann).key("k").send().await.expect(201).text("/items/0/id");
    for (person, status, code) in [(&eve, 404, "not_found"), (&bob, 403, "forbidden")] {
        door.post(&bank, &fields).by(person).key("k").send().await.refused(status, code);
        door.get(&bank).by(person).send().await.refused(status, code);
        door.knock("DELETE", &format!("{bank}/{password}")).by(person).send().await.refused(status, code);
        door.post(&one, &json!({ "password": "x" })).by(person).key("k").send().await.refused(status, code);
    }
    // Missing and foreign are the same.
    let nothing = format!("/api/v1/documents/{}/password", domain::ids::fresh());
    door.post(&nothing, &json!({ "password": "x" })).by(&ann).key("k").send().await.refused(404, "not_found");
    let nothing = format!("{bank}/{}", PasswordId::new());
    door.knock("DELETE", &nothing).by(&ann).send().await.refused(404, "not_found");
}

async fn a_password_is_supplied_for_a_document(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let (locked, plain) = (papers.deliver("locked.pdf", b"locked").await, papers.deliver("plain.txt", b"plain").await);
    papers.fail(locked, Category::Encrypted, "it is protected").await;
    let path = |id| format!("/api/v1/documents/{id}/password");
    let fields = json!({ "password": "wombat-7741", "note": "her birthday" });
    door.post(&path(plain), &fields).by(&ann).key("k1").send().await.refused(409, "conflict");
    let kept = door.post(&path(locked), &fields).by(&ann).key("k2").send().await.expect(202);
    let again = door.post(&path(locked), &fields).by(&ann).key("k2").send().await.expect(202);
    assert_eq!((kept.json(), &kept.json()["fresh"]), (again.json(), &json!(true)));
    let shown = papers.get(&format!("/api/v1/documents/{locked}")).await.expect(200).json();
    assert_eq!((&shown["state"], &shown["exception"]), (&json!("received"), &json!(null)));
    let bank = format!("/api/v1/cases/{}/passwords", papers.case);
    let listed = door.get(&bank).by(&ann).send().await.expect(200).json();
    assert_eq!((listed["items"].as_array().unwrap().len(), &listed["items"][0]["note"]), (1, &json!("her birthday")));
    for action in ["password.added", "password.supplied"] {
        assert!(papers.trail().await.contains(&action.to_owned()), "{action}");
    }
}
