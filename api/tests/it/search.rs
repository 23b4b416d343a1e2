//! Search through the door: hits with their places, filters, pages, bad queries, and rows that overrule the index.

use domain::{clock::Timestamp, ids::DatabaseId};
use serde_json::{Value, json};
use testkit::TestStorage;

use crate::{
    door::Door,
    papers::{Form, Papers, text},
};

testkit::in_each_mode!(
    hits_have_places,
    filters_sorts_and_facets,
    bad_queries_point_at_the_character,
    rows_overrule_the_index,
    pages_are_stable_and_readers_follow_generations,
    a_case_is_searched_as_one,
);

fn names(found: &Value) -> Vec<&str> {
    found["items"].as_array().unwrap().iter().map(|hit| hit["name"].as_str().unwrap()).collect()
}

fn encoded(query: &str) -> String {
    query
        .bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

async fn search(papers: &Papers<'_>, query: &str) -> Value {
    papers.get(&papers.path(&format!("/search?q={}", encoded(query)))).await.expect(200).json()
}

async fn hits_have_places(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    assert_eq!(
        search(&papers, "anything").await,
        json!({ "total": 0, "items": [], "facets": { "types": [], "custodians": [], "labels": [], "years": [] } })
    );
    let id = papers
        .paper("box/lease.txt", &["The na\u{ef}ve tenant \u{2603} signed.", "The landlord breached the warranty."])
        .await;
    papers.paper("other.txt", &["Nothing of the kind."]).await;
    assert_eq!(search(&papers, "warranty").await["total"], 0, "not yet published");
    papers.publish().await;
    let found = search(&papers, "breached warrant*").await;
    assert_eq!((&found["total"], names(&found)), (&json!(1), vec!["lease.txt"]));
    let hit = &found["items"][0];
    assert_eq!((&hit["document_id"], &hit["path"]), (&json!(id), &json!("box/lease.txt")));
    assert_eq!(hit["database_id"], json!(papers.database));
    let highlight = &hit["highlights"][0];
    assert_eq!((&highlight["first_page"], &highlight["last_page"]), (&json!(2), &json!(2)));
    // The places are those of the document's text.
    let text = papers.get(&format!("/api/v1/documents/{id}/text")).await.expect(200).text("/text");
    let slice = |span: &Value| {
        let (start, end) = (span["start"].as_u64().unwrap() as usize, span["end"].as_u64().unwrap() as usize);
        text.chars().skip(start).take(end - start).collect::<String>()
    };
    assert_eq!(slice(highlight), highlight["text"].as_str().unwrap());
    let matches: Vec<String> = highlight["matches"].as_array().unwrap().iter().map(slice).collect();
    assert_eq!(matches, ["breached", "warranty"]);
}

async fn filters_sorts_and_facets(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    for (n, (custodian, label, kind, date)) in [
        ("Lee, Ann", "hot", "text/plain", "2023-05-01T00:00:00Z"),
        ("Lee, Ann", "cold", "application/pdf", "2024-01-31T23:59:59Z"),
        ("Pell", "hot", "text/plain", "2024-02-01T00:00:00Z"),
    ]
    .into_iter()
    .enumerate()
    {
        let form = Form::new()
            .field("custodian", custodian)
            .field("labels", label)
            .file(&format!("{n}.txt"), n.to_string().as_bytes());
        let id = papers.upload(&format!("k{n}"), form).await.expect(201).text("/files/0/document_id").parse().unwrap();
        let mut text = text(&["shared words"]);
        text.metadata.sent_at = Timestamp::parse(date);
        papers.extract(id, kind, &text).await;
    }
    papers.publish().await;
    for (query, want) in [
        ("q=shared&sort=oldest", vec!["0.txt", "1.txt", "2.txt"]),
        ("sort=newest", vec!["2.txt", "1.txt", "0.txt"]),
        ("q=&sort=newest&limit=1", vec!["2.txt"]),
        ("sort=oldest&custodian=Lee%2C%20Ann", vec!["0.txt", "1.txt"]),
        ("sort=oldest&custodian=Pell&custodian=Lee,+Ann", vec!["0.txt", "1.txt", "2.txt"]),
        ("sort=oldest&label=hot&type=text/plain", vec!["0.txt", "2.txt"]),
        ("sort=oldest&date_from=2024-01-31&date_to=2024-01-31", vec!["1.txt"]),
        ("sort=oldest&date_to=2024-01-31T23:59:59Z", vec!["0.txt"]),
        ("q=custodian:pell", vec!["2.txt"]),
        ("q=NOT%20label:hot", vec!["1.txt"]),
    ] {
        let found = papers.get(&papers.path(&format!("/search?{query}"))).await.expect(200).json();
        assert_eq!(names(&found), want, "{query}");
    }
    // Every parameter stands in the document under its own name.
    let document = door.get("/api/v1/openapi.json").send().await.expect(200).json();
    let parameters =
        document["paths"]["/api/v1/databases/{id}/search"]["get"]["parameters"].as_array().unwrap().clone();
    for name in ["q", "type", "custodian", "label", "batch", "date_from", "date_to", "sort", "cursor", "limit"] {
        assert!(parameters.iter().any(|parameter| parameter["name"] == name), "{name}");
    }
    let facets = &papers.get(&papers.path("/search?label=hot")).await.expect(200).json()["facets"];
    assert_eq!(facets["custodians"], json!([{ "value": "Lee, Ann", "count": 1 }, { "value": "Pell", "count": 1 }]));
    assert_eq!(facets["types"], json!([{ "value": "text/plain", "count": 2 }]));
    assert_eq!(facets["years"], json!([{ "value": "2023", "count": 1 }, { "value": "2024", "count": 1 }]));
}

async fn bad_queries_point_at_the_character(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    for (query, at) in
        [("breach AND", 10), ("(breach", 7), ("\u{2603} colour:red", 2), ("  \"open", 2), ("date:soon", 5)]
    {
        let answer = papers.get(&papers.path(&format!("/search?q={}", encoded(query)))).await;
        answer.refused(400, "bad_query");
        let want = index::query::parse(query).unwrap_err();
        assert_eq!(answer.json()["at"], want.at, "{query}");
        assert!(answer.json()["at"].as_u64().unwrap() <= query.chars().count() as u64, "{query} {at}");
    }
    for (query, code) in [
        ("q=a&cursor=zz", "bad_cursor"),
        ("q=a&limit=0", "bad_request"),
        ("q=a&limit=501", "bad_request"),
        ("q=a&kustodian=x", "bad_request"),
        ("q=a&sort=best", "bad_request"),
        ("q=a&date_from=soon", "bad_request"),
    ] {
        papers.get(&papers.path(&format!("/search?{query}"))).await.refused(400, code);
    }
    papers.get(&format!("/api/v1/databases/{}/search?q=a", DatabaseId::new())).await.refused(404, "not_found");
}

async fn rows_overrule_the_index(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let gone = papers.paper("gone.txt", &["shared words"]).await;
    papers.paper("stays.txt", &["shared words too"]).await;
    papers.publish().await;
    assert_eq!(search(&papers, "shared").await["total"], 2);
    door.delete(&format!("/api/v1/documents/{gone}")).by(&ann).send().await.expect(204);
    // The generation still holds it; the row does not.
    let found = search(&papers, "shared").await;
    assert_eq!((names(&found), &found["total"]), (vec!["stays.txt"], &json!(1)));
}

async fn pages_are_stable_and_readers_follow_generations(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let mut want = Vec::new();
    for round in 0..3 {
        for n in 0..4 {
            want.push(format!("{round}-{n}.txt"));
            papers.paper(&format!("{round}-{n}.txt"), &[&format!("shared words {round} {n}")]).await;
        }
        papers.publish().await;
        assert_eq!(search(&papers, "shared").await["total"], (round + 1) * 4);
    }
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = papers.get(&papers.path(&format!("/search?q=shared&limit=5{cursor}"))).await.expect(200).json();
        assert_eq!(page["total"], 12);
        assert_eq!(page.get("facets").is_some(), cursor.is_empty());
        found.extend(names(&page).into_iter().map(str::to_owned));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
        // A cursor belongs to its order.
        papers.get(&papers.path(&format!("/search?q=shared&sort=newest{cursor}"))).await.refused(400, "bad_cursor");
    }
    found.sort();
    assert_eq!(found, want);
}

async fn a_case_is_searched_as_one(test: TestStorage) {
    let door = Door::new(test);
    let (ann, bob) = (door.member().await, door.member().await);
    let first = Papers::open(&door, &ann).await;
    let fields = json!({ "case_id": first.case, "name": "Second" });
    let second = door.post("/api/v1/databases", &fields).by(&ann).key("k").send().await.expect(201).text("/id");
    let second = Papers { door: &door, person: &ann, case: first.case, database: second.parse().unwrap() };
    let foreign = Papers::open(&door, &bob).await;
    for (papers, name) in [(&first, "one.txt"), (&second, "two.txt"), (&foreign, "foreign.txt")] {
        papers.paper(name, &["shared words"]).await;
        papers.publish().await;
    }
    let found = first.get(&format!("/api/v1/cases/{}/search?q=shared", first.case)).await.expect(200).json();
    let mut both = names(&found);
    both.sort_unstable();
    assert_eq!((both, &found["total"]), (vec!["one.txt", "two.txt"], &json!(2)));
    for hit in found["items"].as_array().unwrap() {
        let database = if hit["name"] == "one.txt" { first.database } else { second.database };
        assert_eq!(hit["database_id"], json!(database));
    }
    door.get(&format!("/api/v1/cases/{}/search?q=shared", first.case)).by(&bob).send().await.refused(404, "not_found");

    // Many at once, over generations that open meanwhile.
    let path = first.path("/search?q=shared");
    let searches = (0..20).map(|_| first.get(&path));
    for answer in futures::future::join_all(searches).await {
        assert_eq!(answer.expect(200).json()["total"], 1);
    }
}
