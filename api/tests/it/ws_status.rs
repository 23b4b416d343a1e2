//! `/ws/database-status` over real connections. Every wait ends because something comes; none is measured.

use domain::{ids::DatabaseId, outcome::Category};
use serde_json::{Value, json};
use testkit::TestStorage;
use tokio_tungstenite::tungstenite::Error;

use crate::{
    door::{Door, Person},
    papers::Papers,
    sockets::{Server, Socket},
};

/// Where progress is heard.
const STATUS: &str = "/api/v1/ws/database-status";

testkit::in_each_mode!(
    progress_is_told_to_the_last_document,
    several_databases_on_one_socket,
    who_may_not_watch,
    access_that_ends_ends_the_socket,
    sockets_have_their_places,
    many_who_watch_hear_the_same,
);

/// What is said and heard on `/ws/database-status`.
impl Socket {
    async fn watch(&mut self, id: DatabaseId) {
        self.say(json!({ "type": "subscribe", "database_id": id })).await;
    }

    /// Listens until what is said satisfies `enough`, and gives that.
    async fn until(&mut self, enough: impl Fn(&Value) -> bool) -> Value {
        loop {
            let said = self.hear().await.unwrap();
            if enough(&said) {
                return said;
            }
        }
    }
}

async fn progress_is_told_to_the_last_document(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let server = Server::start(&door, STATUS).await;
    let mut client = server.open(&ann).await;
    client.watch(papers.database).await;
    let first = client.hear().await.unwrap();
    assert_eq!(
        (&first["type"], &first["status"], &first["received"]),
        (&json!("database_status"), &json!("empty"), &json!(0))
    );

    for n in 0..20 {
        papers.paper(&format!("{n}.txt"), &["words"]).await;
    }
    let failed = papers.deliver("bad.pdf", b"%PDF").await;
    papers.fail(failed, Category::Corrupt, "cut off").await;
    papers.publish().await;
    let last = client.until(|said| said["received"] == 21 && said["in_flight"] == 0).await;
    assert_eq!((&last["indexed"], &last["exception"], &last["status"]), (&json!(20), &json!(1), &json!("ready")));
    assert_eq!(last["exceptions"], json!({ "corrupt": 1 }));
    let mut rows = papers.get(&papers.path("/status")).await.expect(200).json();
    rows["type"] = "database_status".into();
    let mut last = last;
    // The batches close and the generation shows a moment later than the last document moves.
    while last != rows {
        last = client.hear().await.unwrap();
    }

    server.shutdown.cancel();
    assert_eq!(client.hear().await, Err(1001));
}

async fn several_databases_on_one_socket(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let (one, two) = (Papers::open(&door, &ann).await, Papers::open(&door, &ann).await);
    let server = Server::start(&door, STATUS).await;
    let mut client = server.connect(&[]).await.unwrap();
    client.say(json!({ "type": "authenticate", "token": ann.token })).await;
    for papers in [&one, &two] {
        client.watch(papers.database).await;
        assert_eq!(client.hear().await.unwrap()["database"], json!(papers.database));
    }
    // One that is not there is refused, and the socket goes on.
    client.watch(DatabaseId::new()).await;
    let refused = client.hear().await.unwrap();
    assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("not_found")));

    two.deliver("a.txt", b"a").await;
    let said = client.until(|said| said["received"] == 1).await;
    assert_eq!(said["database"], json!(two.database));
    client.say(json!({ "type": "unsubscribe", "database_id": two.database })).await;
    one.deliver("b.txt", b"b").await;
    client.until(|said| said["database"] == json!(one.database) && said["received"] == 1).await;
    // Subscribed again, it is told at once how things stand.
    two.deliver("c.txt", b"c").await;
    client.watch(two.database).await;
    let said = client.until(|said| said["database"] == json!(two.database)).await;
    assert_eq!(said["received"], 2);
    client.say(json!({ "type": "dance" })).await;
    loop {
        match client.hear().await {
            Ok(_) => {}
            Err(code) => {
                assert_eq!(code, 4400);
                break;
            }
        }
    }
}

async fn who_may_not_watch(test: TestStorage) {
    let door = Door::new(test);
    let (ann, eve) = (door.member().await, door.administrator().await);
    let papers = Papers::open(&door, &ann).await;
    let server = Server::start(&door, STATUS).await;
    let status = |error: Error| match error {
        Error::Http(response) => response.status().as_u16(),
        error => panic!("{error}"),
    };
    let bad = server.connect(&[("authorization", "Bearer nonsense")]).await.err().unwrap();
    assert_eq!(status(bad), 401);
    let foreign = format!("Bearer {}", ann.token);
    let foreign =
        server.connect(&[("authorization", &foreign), ("origin", "https://evil.example")]).await.err().unwrap();
    assert_eq!(status(foreign), 403);
    for first in [
        json!({ "type": "authenticate", "token": "nonsense" }),
        json!({ "type": "subscribe", "database_id": papers.database }),
    ] {
        let mut client = server.connect(&[]).await.unwrap();
        client.say(first).await;
        assert_eq!(client.hear().await, Err(4401));
    }
    // One who says nothing is shown out.
    let mut silent = server.connect(&[]).await.unwrap();
    assert_eq!(silent.hear().await, Err(4401));
    // A foreign database is a missing one.
    let mut client = server.open(&eve).await;
    client.watch(papers.database).await;
    assert_eq!(client.hear().await.unwrap()["code"], "not_found");
    // A message above the limit ends the socket.
    client.say(json!({ "type": "subscribe", "database_id": "x".repeat(70_000) })).await;
    assert!(client.hear().await.is_err());
}

async fn access_that_ends_ends_the_socket(test: TestStorage) {
    let door = Door::new(test);
    let (ann, bob) = (door.member().await, door.member().await);
    let papers = Papers::open(&door, &ann).await;
    let server = Server::start(&door, STATUS).await;
    let member = format!("/api/v1/cases/{}/members/{}", papers.case, bob.id);
    door.put(&member, &json!({ "role": "reviewer" })).by(&ann).send().await.expect(204);
    let mut bobs = server.open(&bob).await;
    bobs.watch(papers.database).await;
    bobs.hear().await.unwrap();
    door.delete(&member).by(&ann).send().await.expect(204);
    assert_eq!(bobs.hear().await, Err(4403));

    let mut anns = server.open(&ann).await;
    anns.watch(papers.database).await;
    anns.hear().await.unwrap();
    door.post("/api/v1/auth/logout", &json!({})).by(&ann).send().await.expect(204);
    assert_eq!(anns.hear().await, Err(4401));
}

async fn sockets_have_their_places(test: TestStorage) {
    let door = Door::new(test);
    let (ann, bob) = (door.member().await, door.member().await);
    let config = api::ApiConfig { max_websockets: 3, max_websockets_per_user: 2, ..api::ApiConfig::default() };
    let server = Server::start_with(&door, STATUS, config).await;
    let status =
        async |person: &Person| match server.connect(&[("authorization", &format!("Bearer {}", person.token))]).await {
            Err(Error::Http(response)) => (response.status().as_u16(), response.headers().contains_key("retry-after")),
            other => panic!("{:?}", other.map(|_| ())),
        };
    let (mut one, two) = (server.open(&ann).await, server.open(&ann).await);
    assert_eq!(status(&ann).await, (429, false));
    // Who proves it later is told then, and the place is free again.
    let mut late = server.connect(&[]).await.unwrap();
    late.say(json!({ "type": "authenticate", "token": ann.token })).await;
    assert_eq!(late.hear().await, Err(4429));
    let three = loop {
        match server.connect(&[("authorization", &format!("Bearer {}", bob.token))]).await {
            Ok(socket) => break socket,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(status(&bob).await, (503, true));
    // Whoever leaves makes room.
    one.say(json!({ "type": "dance" })).await;
    assert_eq!(one.hear().await, Err(4400));
    drop((one, two, three));
    loop {
        if server.connect(&[("authorization", &format!("Bearer {}", ann.token))]).await.is_ok() {
            break;
        }
        tokio::task::yield_now().await;
    }
}

async fn many_who_watch_hear_the_same(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let server = Server::start(&door, STATUS).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = server.open(&ann).await;
        client.watch(papers.database).await;
        assert_eq!(client.hear().await.unwrap()["received"], 0);
        clients.push(client);
    }
    for n in 0..10 {
        papers.paper(&format!("{n}.txt"), &["words"]).await;
    }
    papers.publish().await;
    for client in &mut clients {
        let last =
            client.until(|said| said["received"] == 10 && said["in_flight"] == 0 && said["status"] == "ready").await;
        assert_eq!(last["indexed"], 10);
    }
}
