//! A case is taken away through the door: all of it, by who may, and it verifies.

use std::{fs, time::Duration};

use serde_json::{Value, json};
use storage::audit::{custody, log};
use testkit::TestStorage;

use crate::{
    door::Door,
    papers::{Form, Papers},
};

testkit::in_each_mode!(a_case_is_taken_away_whole, only_managers_take_cases_away);

async fn seal(door: &Door) {
    while log::sequence(&door.test.storage).await.unwrap().is_some() {}
}

async fn a_case_is_taken_away_whole(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let large = vec![b'x'; 300_000];
    let form =
        Form::new().file("lease.TXT", b"Rent is due.").file("../../etc/passwd", b"root").file("block", &[7; 512]);
    papers.upload("one", form.file("large.bin", &large).file("empty.txt", b"")).await.expect(201);
    let export = format!("/api/v1/cases/{}/export", papers.case);
    door.get(&export).by(&ann).send().await.refused(409, "conflict");
    seal(&door).await;
    let answer = door.get(&export).by(&ann).send().await.expect(200);
    assert_eq!(answer.headers["content-type"], "application/x-tar");
    let folder = tempfile::tempdir().unwrap();
    tar::Archive::new(answer.raw.as_slice()).unpack(folder.path()).unwrap();
    let bag = folder.path().join(format!("case-{}", papers.case));
    let key = log::verifier(&door.test.storage).unwrap();
    let (found, verified) = custody::verify(&bag, &key, &[]).unwrap();
    let verified = verified.unwrap();
    assert_eq!((found.told, verified.case, verified.documents), (Vec::<String>::new(), papers.case, 5));
    assert!(found.events >= 5, "{}", found.events);
    let told = fs::read_to_string(bag.join("data/custody-00001.jsonl")).unwrap();
    let lines: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of =
        |name: &str| lines.iter().find(|line| line["name"] == name).unwrap_or_else(|| panic!("no {name} in {told}"));
    assert_eq!(fs::read(bag.join(of("large.bin")["file"].as_str().unwrap())).unwrap(), large);
    assert_eq!(of("lease.TXT")["file"].as_str().unwrap().rsplit('.').next(), Some("txt"));
    // A name is told, and is no path.
    let passwd =
        lines.iter().find(|line| line["sha256"] == "4813494d137e1631bba301d5acab6e7bb7aa74ce1185d456565ef51d737677b2");
    assert!(passwd.unwrap()["file"].as_str().unwrap().starts_with("data/originals/00000/"), "{told}");
    let actions = "select count(*) from audit_events where action = 'case.exported'";
    assert_eq!(door.test.number(actions).await, 1);

    // Of one database only; of another case's, nothing.
    let other = Papers::open(&door, &ann).await;
    let query = |database| format!("{export}?database_id={database}");
    let one = door.get(&query(papers.database)).by(&ann).send().await.expect(200);
    assert!(one.raw.len() > 300_000);
    door.get(&query(other.database)).by(&ann).send().await.refused(404, "not_found");
}

async fn only_managers_take_cases_away(test: TestStorage) {
    let door = Door::new(test.with_manual_clock());
    let (ann, bob) = (door.member().await, door.member().await);
    let papers = Papers::open(&door, &ann).await;
    let member = format!("/api/v1/cases/{}/members/{}", papers.case, bob.id);
    door.put(&member, &json!({ "role": "lawyer" })).by(&ann).send().await.expect(204);
    seal(&door).await;
    let export = format!("/api/v1/cases/{}/export", papers.case);
    door.get(&export).by(&bob).send().await.refused(403, "forbidden");
    door.get(&export).by(&ann).send().await.expect(200);
    door.test.advance(Duration::from_mins(16));
    let token = door.state.tokens.issue(ann.id, ann.session, door.test.storage.clock.now()).unwrap();
    door.get(&export).token(&token).send().await.refused(403, "step_up_required");
}
