//! What documents have to do with each other, through the door: conversations, near-duplicates, and the filters by them.

use domain::ids::DocumentId;
use serde_json::{Value, json};
use storage::documents::relations::{Change, Threaded, apply};
use testkit::TestStorage;

use crate::{door::Door, papers::Papers};

testkit::in_each_mode!(
    a_conversation_is_listed_in_its_order,
    near_duplicates_are_listed_with_how_alike_they_are,
    strangers_learn_nothing_of_relations,
);

fn path(id: DocumentId, tail: &str) -> String {
    format!("/api/v1/documents/{id}{tail}")
}

async fn relate(papers: &Papers<'_>, changes: &[(DocumentId, Change)]) {
    let mut tx = papers.door.test.storage.begin(&papers.person.actor).await.unwrap();
    assert_eq!(apply(&mut tx, papers.case, changes).await.unwrap(), changes.len() as u64);
    assert_eq!(apply(&mut tx, papers.case, changes).await.unwrap(), 0, "what is written is not written again");
    tx.commit().await.unwrap();
}

fn threaded(thread: DocumentId, answers: Option<DocumentId>, position: u32) -> Change {
    Change::Threaded { place: Threaded { thread, answers, position }, alone: false }
}

fn ids(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

async fn a_conversation_is_listed_in_its_order(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let answer = papers.paper("answer.eml", &["No: shall we sign?"]).await;
    let question = papers.paper("question.eml", &["Shall we sign?"]).await;
    let other = papers.paper("other.eml", &["Shall we sign otherwise?"]).await;
    relate(
        &papers,
        &[
            (answer, threaded(question, Some(question), 1)),
            (question, threaded(question, None, 0)),
            (other, Change::Threaded { place: Threaded { thread: other, answers: None, position: 0 }, alone: true }),
        ],
    )
    .await;
    relate(&papers, &[(answer, Change::Inclusive(true)), (question, Change::Inclusive(false))]).await;
    papers.publish().await;

    let thread = papers.get(&path(answer, "/thread")).await.expect(200).json();
    assert_eq!(ids(&thread), [question.to_string(), answer.to_string()]);
    let (first, second) = (&thread["items"][0], &thread["items"][1]);
    assert_eq!((&first["answers_id"], &first["inclusive"]), (&json!(null), &json!(false)));
    assert_eq!((&second["answers_id"], &second["inclusive"]), (&json!(question), &json!(true)));
    assert!(second.get("sent_at").is_some() && second.get("from").is_some());
    let page = papers.get(&path(answer, "/thread?limit=1")).await.expect(200).json();
    let next = format!("/thread?limit=1&cursor={}", page["next_cursor"].as_str().unwrap());
    assert_eq!(ids(&papers.get(&path(answer, &next)).await.expect(200).json()), [answer.to_string()]);

    let shown = papers.get(&path(answer, "")).await.expect(200).json();
    assert_eq!((&shown["thread_id"], &shown["inclusive"]), (&json!(question), &json!(true)));
    for (filter, expected) in [
        (format!("thread={question}"), vec![answer, question]),
        ("inclusive=true".to_owned(), vec![answer, other]),
        ("inclusive=false".to_owned(), vec![question]),
        (format!("thread={}", DocumentId::new()), vec![]),
    ] {
        let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
        for list in [papers.path("/files"), format!("/api/v1/cases/{}/files", papers.case)] {
            assert_eq!(ids(&papers.get(&format!("{list}?{filter}")).await.expect(200).json()), expected, "{filter}");
        }
    }
    papers.get(&papers.path("/files?inclusive=perhaps")).await.refused(400, "bad_request");

    // The index does not know of threads; a search within one asks the rows.
    let found = async |thread: DocumentId| {
        let found = papers.get(&papers.path(&format!("/search?q=sign&thread={thread}"))).await.expect(200).json();
        let whole = format!("/api/v1/cases/{}/search?q=sign&thread={thread}", papers.case);
        assert_eq!(papers.get(&whole).await.expect(200).json()["total"], found["total"]);
        found["total"].as_u64().unwrap()
    };
    assert_eq!((found(question).await, found(other).await, found(DocumentId::new()).await), (2, 1, 0));
}

async fn near_duplicates_are_listed_with_how_alike_they_are(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let words: Vec<String> = (0..400).map(|at| format!("wo{at}")).collect();
    let whole = papers.paper("whole.txt", &[&words.join(" ")]).await;
    let copy = papers.paper("copy.html", &[&words.join("\t")]).await;
    let part = papers.paper("part.txt", &[&words[..370].join(" ")]).await;
    let alone = papers.paper("alone.txt", &["Nothing of the kind is said here."]).await;
    relate(
        &papers,
        &[
            (whole, Change::Grouped(Some((whole, 100)))),
            (copy, Change::Grouped(Some((whole, 100)))),
            (part, Change::Grouped(Some((whole, 92)))),
        ],
    )
    .await;
    let near = papers.get(&path(part, "/near-duplicates")).await.expect(200).json();
    assert_eq!(ids(&near), [whole.to_string(), copy.to_string()]);
    let alike = |at: usize| near["items"][at]["similarity"].as_u64().unwrap();
    assert!((80..100).contains(&alike(0)) && alike(0) == alike(1), "{near}");
    let near = papers.get(&path(copy, "/near-duplicates?limit=1")).await.expect(200).json();
    assert_eq!((ids(&near), &near["items"][0]["similarity"]), (vec![whole.to_string()], &json!(100)));
    let next = format!("/near-duplicates?limit=1&cursor={}", near["next_cursor"].as_str().unwrap());
    assert_eq!(ids(&papers.get(&path(copy, &next)).await.expect(200).json()), [part.to_string()]);
    assert_eq!(ids(&papers.get(&path(alone, "/near-duplicates")).await.expect(200).json()), Vec::<String>::new());
    let shown = papers.get(&path(part, "")).await.expect(200).json();
    assert_eq!(shown["near_duplicate_group"], json!({ "pivot_id": whole, "similarity": 92 }));
    let group = papers.get(&papers.path(&format!("/files?near_duplicate_group={whole}"))).await.expect(200).json();
    assert_eq!(ids(&group).len(), 3);

    door.delete(&path(whole, "")).by(&ann).send().await.expect(204);
    assert_eq!(ids(&papers.get(&path(part, "/near-duplicates")).await.expect(200).json()), [copy.to_string()]);
}

async fn strangers_learn_nothing_of_relations(test: TestStorage) {
    let door = Door::new(test);
    let (ann, eve) = (door.member().await, door.member().await);
    let papers = Papers::open(&door, &ann).await;
    let one = papers.paper("one.eml", &["Shall we sign?"]).await;
    relate(&papers, &[(one, threaded(one, None, 0)), (one, Change::Grouped(Some((one, 100))))]).await;
    let hers = Papers::open(&door, &eve).await;
    let own = hers.paper("own.eml", &["Shall we sign?"]).await;
    hers.publish().await;
    for tail in ["/thread", "/near-duplicates"] {
        hers.get(&path(one, tail)).await.refused(404, "not_found");
        door.get(&path(one, tail)).send().await.refused(401, "unauthenticated");
    }
    // Another case's names of threads and groups are nothing in hers.
    for tail in [format!("/files?thread={one}"), format!("/files?near_duplicate_group={one}")] {
        assert_eq!(ids(&hers.get(&hers.path(&tail)).await.expect(200).json()), Vec::<String>::new());
    }
    let within = hers.get(&hers.path(&format!("/search?thread={one}"))).await.expect(200).json();
    assert_eq!(within["total"], 0);
    assert_eq!(hers.load(own).await.relation.thread, None);
}
