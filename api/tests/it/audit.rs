//! The trail through the door: who may read it, what a filter finds, and proofs that verify.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use storage::audit::{
    Verifier, bundle, log,
    merkle::{self, Hash},
};
use testkit::TestStorage;

use crate::{door::Door, papers::Papers};

testkit::in_each_mode!(
    the_trail_is_filtered_and_taken_away,
    the_log_proves_itself_through_the_door,
    only_who_may_read_the_trail_reads_it,
);

async fn seal(door: &Door) {
    while log::sequence(&door.test.storage).await.unwrap().is_some() {}
}

fn hashes(body: &Value) -> Vec<Hash> {
    let decode = |hash: &Value| Hash(STANDARD.decode(hash.as_str().unwrap()).unwrap().try_into().unwrap());
    body["hashes"].as_array().unwrap().iter().map(decode).collect()
}

async fn the_trail_is_filtered_and_taken_away(test: TestStorage) {
    let door = Door::new(test);
    let (ann, root) = (door.member().await, door.administrator().await);
    let papers = Papers::open(&door, &ann).await;
    let document = papers.paper("lease.txt", &["Rent is due."]).await;
    papers.get(&format!("/api/v1/documents/{document}/text")).await.expect(200);
    let trail = format!("/api/v1/cases/{}/audit", papers.case);
    let found = async |query: &str| {
        let page = door.get(&format!("{trail}?{query}")).by(&ann).send().await.expect(200).json();
        page["items"].as_array().unwrap().iter().map(|e| e["action"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found("action=document.viewed").await, ["document.viewed"]);
    assert_eq!(found("action=case.").await, ["case.created"]);
    assert!(found("action=document.").await.len() > 2);
    assert_eq!(found(&format!("resource_id={document}&action=document.viewed")).await.len(), 1);
    assert_eq!(found(&format!("actor_id={}", root.id)).await, Vec::<String>::new());
    assert_eq!(found("to=2001-01-01T00:00:00Z").await, Vec::<String>::new());
    assert!(!found("from=2001-01-01T00:00:00Z&limit=3").await.is_empty());
    for bad in ["from=yesterday", "format=xml", "colour=blue", "actor_id=ann"] {
        door.get(&format!("{trail}?{bad}")).by(&ann).send().await.refused(400, "bad_request");
    }
    let file = door.get(&format!("{trail}?format=csv&action=case.created")).by(&ann).send().await.expect(200);
    assert_eq!(file.headers["content-type"], "text/csv; charset=utf-8");
    let text = String::from_utf8(file.raw).unwrap();
    assert!(text.starts_with("log_index,id,at,") && text.contains("\"case.created\""), "{text}");
    assert_eq!(text.lines().count(), 2);
    assert_eq!(found("action=audit.").await, ["audit.exported"]);
    // The administrator sees that it happened, and not what it says.
    let all = door.get("/api/v1/audit?action=document.viewed").by(&root).send().await.expect(200).json();
    assert_eq!(
        (&all["items"][0]["resource_id"], &all["items"][0]["details"]),
        (&document.to_string().into(), &Value::Null)
    );
    let all = door.get("/api/v1/audit?action=user.&format=csv").by(&root).send().await.expect(200);
    assert!(String::from_utf8_lossy(&all.raw).contains("user."));
    assert_eq!(door.test.number("select count(*) from audit_events where action = 'audit.exported'").await, 2);
}

async fn the_log_proves_itself_through_the_door(test: TestStorage) {
    let door = Door::new(test);
    let (ann, root) = (door.member().await, door.administrator().await);
    let papers = Papers::open(&door, &ann).await;
    let get = async |path: &str| door.get(&format!("/api/v1{path}")).by(&ann).send().await;
    let case = format!("/cases/{}/audit", papers.case);
    for path in ["/audit/checkpoint".to_owned(), format!("{case}/bundle")] {
        get(&path).await.refused(409, "conflict");
    }
    seal(&door).await;
    let old = get("/audit/checkpoint").await.expect(200).json();
    papers.deliver("a.txt", b"a").await;
    let waiting = door.test.trail(papers.case).await.last().unwrap().id;
    get(&format!("{case}/{waiting}/proof")).await.refused(409, "conflict");
    seal(&door).await;
    let new = get("/audit/checkpoint").await.expect(200).json();
    let key = Verifier::parse(new["key"].as_str().unwrap()).unwrap();
    let (old, new) =
        (key.open(old["note"].as_str().unwrap()).unwrap(), key.open(new["note"].as_str().unwrap()).unwrap());
    let growth = get(&format!("/audit/consistency?from={}&to={}", old.size, new.size)).await.expect(200).json();
    assert!(merkle::is_consistent(old.size, new.size, old.root, new.root, &hashes(&growth)));
    get(&format!("/audit/consistency?from={}&to={}", new.size, old.size)).await.refused(422, "invalid");
    get(&format!("/audit/consistency?from=0&to={}", new.size + 1)).await.refused(422, "invalid");
    let proof = get(&format!("{case}/{waiting}/proof")).await.expect(200).json();
    let leaf = merkle::leaf(proof["leaf"].as_str().unwrap().as_bytes());
    let index = proof["index"].as_u64().unwrap();
    assert!(merkle::is_included(leaf, index, new.size, &hashes(&proof), new.root));
    let bundle_of_case = get(&format!("{case}/bundle")).await.expect(200);
    let bundle_of_all = door.get("/api/v1/audit/bundle").by(&root).send().await.expect(200);
    for answer in [&bundle_of_case, &bundle_of_all] {
        assert_eq!(answer.headers["content-type"], "application/x-ndjson");
        let (found, checkpoint) = bundle::verify(&answer.raw[..], &key, &[]).unwrap();
        assert_eq!((found.problems, checkpoint.as_ref()), (0, Some(&new)), "{found:?}");
    }
    assert_eq!(String::from_utf8_lossy(&bundle_of_all.raw).lines().count() as u64, new.size + 1);
}

async fn only_who_may_read_the_trail_reads_it(test: TestStorage) {
    let door = Door::new(test);
    let (ann, bob, root) = (door.member().await, door.member().await, door.administrator().await);
    let papers = Papers::open(&door, &ann).await;
    papers.deliver("a.txt", b"a").await;
    seal(&door).await;
    let event = door.test.trail(papers.case).await[0].id;
    let other = Papers::open(&door, &bob).await;
    for path in ["", "/bundle", "?format=csv", &format!("/{event}/proof")] {
        let request = domain::ids::fresh().to_string();
        let get = async |case: String, who| {
            let knock = door.get(&format!("/api/v1/cases/{case}/audit{path}")).by(who);
            knock.header("x-request-id", &request).send().await
        };
        let missing = get(domain::ids::fresh().to_string(), &bob).await;
        for who in [&bob, &root] {
            let foreign = get(papers.case.to_string(), who).await;
            assert_eq!((foreign.status, &foreign.raw), (missing.status, &missing.raw), "{path}");
        }
        missing.refused(404, "not_found");
    }
    // An event of one case is not found through another.
    let path = format!("/api/v1/cases/{}/audit/{event}/proof", other.case);
    door.get(&path).by(&bob).send().await.refused(404, "not_found");
    for path in ["/audit", "/audit/bundle", "/audit?format=csv"] {
        door.get(&format!("/api/v1{path}")).by(&ann).send().await.refused(403, "forbidden");
        door.get(&format!("/api/v1{path}")).send().await.refused(401, "unauthenticated");
    }
    door.get("/api/v1/audit/checkpoint").send().await.refused(401, "unauthenticated");
    assert_eq!(door.test.number("select count(*) from audit_events where action = 'audit.exported'").await, 0);
}
