//! Chat through the door: what is asked, pinned, searched and cancelled, by whom; and answers as they are written, over
//! real connections. The worker's part is played by the tests.

use domain::{
    access::{Action, CaseRole},
    events::{Answer, ChatEvent, ChatStep, Event, Topic},
    ids::{ConversationId, MessageId},
};
use serde_json::{Value, json};
use storage::{
    cases::Case,
    messages::{self, Message},
};
use testkit::TestStorage;
use tokio_tungstenite::tungstenite;

use crate::{
    door::{Door, Person},
    papers::Papers,
    sockets::{Server, Socket},
};

/// Where answers are heard.
const CHAT: &str = "/api/v1/ws/chat";

testkit::in_each_mode!(
    a_question_is_kept_and_waits_for_its_answer,
    a_foreign_conversation_is_a_missing_one,
    what_a_question_must_be,
    history_and_search_are_paged_and_ones_own,
    what_is_pinned_is_of_the_case,
    an_answer_is_cancelled_once,
    a_stream_is_resumed_where_it_broke,
    words_that_follow_on_lost_ones_are_not_shown,
    who_may_not_listen,
    a_socket_ends_with_the_access_it_stands_on,
);

async fn ask(door: &Door, person: &Person, body: Value) -> Value {
    let key = domain::ids::fresh().to_string();
    door.post("/api/v1/chat/message", &body).by(person).key(&key).send().await.expect(202).json()
}

async fn begin(door: &Door, papers: &Papers<'_>, message: &str) -> (ConversationId, MessageId) {
    let asked = ask(door, papers.person, json!({ "case_id": papers.case, "message": message })).await;
    let id = |name: &str| asked[name].as_str().unwrap().to_owned();
    (id("conversation_id").parse().unwrap(), id("answer_id").parse().unwrap())
}

async fn load(door: &Door, papers: &Papers<'_>, id: MessageId) -> Message {
    let mut tx = door.test.storage.read(&papers.person.actor).await.unwrap();
    Message::load(&mut tx, papers.case, id).await.unwrap()
}

fn answer(text: &str) -> Answer {
    Answer { text: text.into(), sentences: Vec::new(), method: "extractive".into() }
}

async fn finish(door: &Door, papers: &Papers<'_>, id: MessageId, text: &str) {
    let message = load(door, papers, id).await;
    let mut tx = door.test.storage.begin(&papers.person.actor).await.unwrap();
    assert!(message.answer(&mut tx, &answer(text), Vec::new()).await.unwrap());
    tx.commit().await.unwrap();
}

async fn a_question_is_kept_and_waits_for_its_answer(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let body =
        json!({ "case_id": papers.case, "database_id": papers.database, "message": "Who signed\n the quetzal lease?" });
    let asked = door.post("/api/v1/chat/message", &body).by(&ann).key("k").send().await.expect(202);
    let again = door.post("/api/v1/chat/message", &body).by(&ann).key("k").send().await.expect(202);
    assert_eq!(asked.json(), again.json());
    let path = format!("/api/v1/chat/messages/{}", asked.text("/answer_id"));
    let open = door.get(&path).by(&ann).send().await.expect(200).json();
    assert_eq!((&open["state"], &open["role"]), (&json!("pending"), &json!("assistant")));
    assert_eq!(open["question_id"], asked.json()["message_id"]);

    let conversation = asked.text("/conversation_id");
    let follow = ask(&door, &ann, json!({ "conversation_id": conversation, "message": "And when?" })).await;
    assert_eq!(follow["conversation_id"], json!(conversation));
    let list = door.get("/api/v1/chat/conversations").by(&ann).send().await.expect(200).json();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(list["items"][0]["title"], "Who signed the quetzal lease?");
    let pinned = door.get(&format!("/api/v1/chat/context?conversation_id={conversation}")).by(&ann).send().await;
    assert_eq!(pinned.expect(200).json()[0]["database_id"], json!(papers.database));
    let document = papers.deliver("note.txt", b"The quetzal lease is signed by nobody.").await;
    let named = json!({ "case_id": papers.case, "document_ids": [document], "message": "Who signed it?" });
    let named = ask(&door, &ann, named).await["conversation_id"].as_str().unwrap().to_owned();
    let pinned = door.get(&format!("/api/v1/chat/context?conversation_id={named}")).by(&ann).send().await;
    assert_eq!(pinned.expect(200).json()[0]["document_id"], json!(document));

    finish(&door, &papers, asked.text("/answer_id").parse().unwrap(), "Nobody did.").await;
    let done = door.get(&path).by(&ann).send().await.expect(200).json();
    assert_eq!((&done["state"], &done["message"]), (&json!("complete"), &json!("Nobody did.")));
    assert_eq!(done["answer"]["method"], "extractive");
    // The words of a question stay in its sealed row.
    assert_eq!(door.test.number("select count(*) from jobs where cast(payload as text) like '%quetzal%'").await, 0);
    assert!(!door.test.said(papers.case).await.contains("quetzal"));
    assert_eq!(door.test.number("select count(*) from jobs where kind = 'answer_chat'").await, 3);
    assert_eq!(door.test.number("select count(*) from audit_events where action = 'message.asked'").await, 3);
}

async fn a_foreign_conversation_is_a_missing_one(test: TestStorage) {
    let door = Door::new(test);
    let (ann, bob) = (door.member().await, door.member().await);
    let papers = Papers::open(&door, &ann).await;
    let (conversation, message) = begin(&door, &papers, "Who signed?").await;
    let pin = json!({ "conversation_id": conversation, "database_id": papers.database });
    let pinned = door.post("/api/v1/chat/context", &pin).by(&ann).key("k").send().await.expect(201).text("/id");
    // A stranger to the case, and a colleague in it: neither sees another's conversation.
    for colleague in [false, true] {
        if colleague {
            let mut tx = door.test.storage.begin(&ann.actor).await.unwrap();
            let case = Case::find(&mut tx, papers.case, Action::ManageMembers).await.unwrap();
            case.set_member(&mut tx, bob.id, CaseRole::Manager).await.unwrap();
            tx.commit().await.unwrap();
        }
        let foreign = [conversation.to_string(), message.to_string(), pinned.clone()];
        let missing = [(); 3].map(|()| domain::ids::fresh().to_string());
        let mut answers = Vec::new();
        for [conversation, message, item] in [&foreign, &missing] {
            let question = json!({ "conversation_id": conversation, "message": "x" });
            let pin = json!({ "conversation_id": conversation, "database_id": papers.database });
            let request = domain::ids::fresh().to_string();
            let mut same = Vec::new();
            for knock in [
                door.get(&format!("/api/v1/chat/messages/{message}")),
                door.knock("POST", &format!("/api/v1/chat/messages/{message}/cancel")),
                door.get(&format!("/api/v1/chat/history?conversation_id={conversation}")),
                door.get(&format!("/api/v1/chat/context?conversation_id={conversation}")),
                door.delete(&format!("/api/v1/chat/context/{item}")),
                door.post("/api/v1/chat/message", &question).key(&request),
                door.post("/api/v1/chat/context", &pin).key(&request),
            ] {
                let answer = knock.by(&bob).header("x-request-id", "01234567-89ab-7def-8123-456789abcdef").send().await;
                answer.refused(404, "not_found");
                same.push(answer.raw);
            }
            answers.push(same);
        }
        assert_eq!(answers[0], answers[1]);
    }
    assert!(
        door.get("/api/v1/chat/conversations").by(&bob).send().await.json()["items"].as_array().unwrap().is_empty()
    );
    assert!(
        door.get("/api/v1/chat/search?q=signed").by(&bob).send().await.json()["items"].as_array().unwrap().is_empty()
    );
}

async fn what_a_question_must_be(test: TestStorage) {
    let door = Door::new(test);
    let (ann, eve) = (door.member().await, door.member().await);
    let papers = Papers::open(&door, &ann).await;
    let other = Papers::open(&door, &eve).await;
    let post = async |body: Value| door.post("/api/v1/chat/message", &body).by(&ann).key("k").send().await;
    let case = papers.case;
    post(json!({ "message": "x" })).await.refused(422, "invalid");
    post(json!({ "case_id": case, "conversation_id": case, "message": "x" })).await.refused(422, "invalid");
    post(json!({ "case_id": case, "message": " \n " })).await.refused(422, "invalid");
    post(json!({ "case_id": case, "message": "é".repeat(8_001) })).await.refused(422, "invalid");
    post(json!({ "case_id": case, "message": 1 })).await.refused(400, "malformed_json");
    post(json!({ "case_id": other.case, "message": "x" })).await.refused(404, "not_found");
    post(json!({ "case_id": case, "database_id": other.database, "message": "x" })).await.refused(404, "not_found");
    let foreign = other.deliver("note.txt", b"Somebody else's note.").await;
    post(json!({ "case_id": case, "document_ids": [foreign], "message": "x" })).await.refused(404, "not_found");
    let own = papers.deliver("note.txt", b"A note of ours.").await;
    let begun = json!({ "conversation_id": case, "document_ids": [own], "message": "x" });
    post(begun).await.refused(422, "invalid");
    let missing = door.post("/api/v1/chat/message", &json!({ "case_id": case, "message": "x" })).by(&ann).send().await;
    missing.refused(400, "missing_idempotency_key");
    assert_eq!(door.test.number("select count(*) from conversations").await, 0);
    for n in 0..16 {
        begin(&door, &papers, &format!("question {n}")).await;
    }
    post(json!({ "case_id": case, "message": "one too many" })).await.refused(409, "conflict");
}

async fn history_and_search_are_paged_and_ones_own(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let (conversation, first) = begin(&door, &papers, "Where is the Heron contract?").await;
    finish(&door, &papers, first, "The HERON contract is in box 7.").await;
    for n in 0..4 {
        let body = json!({ "conversation_id": conversation, "message": format!("Heron number {n}") });
        ask(&door, &ann, body).await;
    }
    let read = async |path: String| {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = door.get(&format!("{path}&limit=3{cursor}")).by(&ann).send().await.expect(200).json();
            for item in page["items"].as_array().unwrap() {
                seen.push(item["message"].as_str().unwrap().to_owned());
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return seen,
            }
        }
    };
    for scope in [format!("conversation_id={conversation}"), format!("case_id={}", papers.case)] {
        let history = read(format!("/api/v1/chat/history?{scope}")).await;
        assert_eq!(history.len(), 10, "{history:?}");
        assert_eq!((history[9].as_str(), history[1].as_str()), ("Where is the Heron contract?", "Heron number 3"));
    }
    assert_eq!(read("/api/v1/chat/search?q=heron".into()).await.len(), 6);
    assert_eq!(read("/api/v1/chat/search?q=BOX%20heron".into()).await, ["The HERON contract is in box 7."]);
    assert_eq!(read(format!("/api/v1/chat/search?q=contract&case_id={}", papers.case)).await.len(), 2);
    assert!(read("/api/v1/chat/search?q=stork".into()).await.is_empty());
    door.get("/api/v1/chat/search?q=%20").by(&ann).send().await.refused(422, "invalid");
    door.get("/api/v1/chat/search?q=x&cursor=zz").by(&ann).send().await.refused(400, "bad_cursor");
    door.get("/api/v1/chat/history").by(&ann).send().await.refused(422, "invalid");
}

async fn what_is_pinned_is_of_the_case(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let (papers, other) = (Papers::open(&door, &ann).await, Papers::open(&door, &ann).await);
    let document = papers.paper("a.txt", &["twelve words"]).await;
    let foreign = other.paper("b.txt", &["other words"]).await;
    let (conversation, _) = begin(&door, &papers, "x").await;
    let pin = async |mut body: Value| {
        body["conversation_id"] = json!(conversation);
        let key = domain::ids::fresh().to_string();
        door.post("/api/v1/chat/context", &body).by(&ann).key(&key).send().await
    };
    let whole = pin(json!({ "document_id": document })).await.expect(201);
    assert_eq!(pin(json!({ "document_id": document })).await.expect(201).json(), whole.json());
    let part = pin(json!({ "document_id": document, "start": 0, "end": 6 })).await.expect(201);
    assert_eq!((&part.json()["start"], &part.json()["end"]), (&json!(0), &json!(6)));
    pin(json!({ "document_id": foreign })).await.refused(404, "not_found");
    pin(json!({ "database_id": other.database })).await.refused(404, "not_found");
    for wrong in [
        json!({}),
        json!({ "document_id": document, "start": 0 }),
        json!({ "document_id": document, "start": 6, "end": 6 }),
        json!({ "document_id": document, "start": 0, "end": 6_000 }),
        json!({ "document_id": document, "database_id": papers.database }),
        json!({ "database_id": papers.database, "start": 0, "end": 1 }),
    ] {
        pin(wrong).await.refused(422, "invalid");
    }
    let list = format!("/api/v1/chat/context?conversation_id={conversation}");
    assert_eq!(door.get(&list).by(&ann).send().await.json().as_array().unwrap().len(), 2);
    let item = format!("/api/v1/chat/context/{}", whole.text("/id"));
    door.delete(&item).by(&ann).send().await.expect(204);
    door.delete(&item).by(&ann).send().await.refused(404, "not_found");
    assert_eq!(door.get(&list).by(&ann).send().await.json().as_array().unwrap().len(), 1);
}

async fn an_answer_is_cancelled_once(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let (_, message) = begin(&door, &papers, "x").await;
    let cancel = format!("/api/v1/chat/messages/{message}/cancel");
    let cancelled = door.knock("POST", &cancel).by(&ann).send().await.expect(200).json();
    assert_eq!(cancelled["state"], "cancelled");
    door.knock("POST", &cancel).by(&ann).send().await.refused(409, "conflict");
    assert_eq!(
        door.test.number("select count(*) from jobs where kind = 'answer_chat' and state = 'cancelled'").await,
        1
    );
    // A worker that had begun changes nothing any more.
    let row = load(&door, &papers, message).await;
    let mut tx = door.test.storage.begin(&ann.actor).await.unwrap();
    assert!(!row.answer(&mut tx, &answer("late"), Vec::new()).await.unwrap());
    drop(tx);
    assert!(!messages::begin(&door.test.storage, papers.case, message).await.unwrap());
}

/// What is said and heard on `/ws/chat`.
impl Socket {
    async fn follow(&mut self, conversation: ConversationId, message: Option<MessageId>, after: Option<u64>) {
        let mut body = json!({ "type": "subscribe", "conversation_id": conversation });
        if let Some(message) = message {
            body["message_id"] = json!(message);
        }
        if let Some(after) = after {
            body["after"] = json!(after);
        }
        self.say(body).await;
        assert_eq!(self.hear().await.unwrap(), json!({ "type": "subscribed", "conversation": conversation }));
    }

    async fn steps(&mut self, count: usize) -> Vec<(u64, String)> {
        let mut steps = Vec::new();
        for _ in 0..count {
            let said = self.hear().await.unwrap();
            assert_eq!(said["type"], "chat", "{said}");
            let text = said["text"].as_str().or(said["answer"]["text"].as_str()).or(said["step"].as_str()).unwrap();
            steps.push((said["seq"].as_u64().unwrap(), text.to_owned()));
        }
        steps
    }
}

fn publish(door: &Door, conversation: ConversationId, message: MessageId, seq: u64, step: ChatStep) {
    let event = Event::Chat(ChatEvent { conversation, message, seq, step });
    door.test.storage.pubsub.publish(Topic::Conversation(conversation), event);
}

async fn a_stream_is_resumed_where_it_broke(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let server = Server::start(&door, CHAT).await;
    let (conversation, message) = begin(&door, &papers, "x").await;
    let say = |seq, text: &str| publish(&door, conversation, message, seq, ChatStep::Delta { text: text.into() });
    let words = |steps: &[(u64, &str)]| steps.iter().map(|(n, t)| (*n, (*t).to_owned())).collect::<Vec<_>>();

    let mut first = server.open(&ann).await;
    first.follow(conversation, None, None).await;
    publish(&door, conversation, message, 1, ChatStep::Started);
    say(2, "a ");
    assert_eq!(first.steps(2).await, words(&[(1, "started"), (2, "a ")]));
    drop(first);
    say(3, "b ");
    // It comes back with the last number it saw, and hears the rest once.
    let mut second = server.connect(&[]).await.unwrap();
    second.say(json!({ "type": "authenticate", "token": ann.token })).await;
    second.follow(conversation, Some(message), Some(2)).await;
    say(3, "b ");
    say(4, "c ");
    assert_eq!(second.steps(2).await, words(&[(3, "b "), (4, "c ")]));
    second.say(json!({ "type": "ping" })).await;
    assert_eq!(second.hear().await.unwrap()["type"], "pong");
    finish(&door, &papers, message, "a b c").await;
    publish(&door, conversation, message, 5, ChatStep::Finished { answer: answer("a b c") });
    assert_eq!(second.steps(1).await, words(&[(5, "a b c")]));
    // Whoever comes later gets the end, whether the events are still kept or not.
    let mut late = server.open(&ann).await;
    late.follow(conversation, Some(message), Some(5)).await;
    assert_eq!(late.steps(1).await, words(&[(6, "a b c")]));
    // A cancelled answer ends for everybody who listens.
    let asked = ask(&door, &ann, json!({ "conversation_id": conversation, "message": "y" })).await;
    let next: MessageId = asked["answer_id"].as_str().unwrap().parse().unwrap();
    publish(&door, conversation, next, 1, ChatStep::Started);
    assert_eq!(late.steps(1).await, words(&[(1, "started")]));
    door.knock("POST", &format!("/api/v1/chat/messages/{next}/cancel")).by(&ann).send().await;
    // This server's events are the door's own: both share the storage.
    assert_eq!(late.steps(1).await, words(&[(2, "cancelled")]));
    server.shutdown.cancel();
    assert_eq!(late.hear().await, Err(1001));
}

/// Events between processes may be lost: what is shown is late then, never wrong.
async fn words_that_follow_on_lost_ones_are_not_shown(test: TestStorage) {
    let door = Door::new(test);
    let ann = door.member().await;
    let papers = Papers::open(&door, &ann).await;
    let server = Server::start(&door, CHAT).await;
    let (conversation, message) = begin(&door, &papers, "x").await;
    let say = |seq, text: &str| publish(&door, conversation, message, seq, ChatStep::Delta { text: text.into() });
    let mut socket = server.open(&ann).await;
    socket.follow(conversation, None, None).await;
    publish(&door, conversation, message, 1, ChatStep::Started);
    say(2, "not ");
    let words = |steps: &[(u64, &str)]| steps.iter().map(|(n, t)| (*n, (*t).to_owned())).collect::<Vec<_>>();
    assert_eq!(socket.steps(2).await, words(&[(1, "started"), (2, "not ")]));
    say(4, "guilty ");
    say(5, "of it ");
    // Another run begins, after a crash: it is whole again.
    publish(&door, conversation, message, 1_048_577, ChatStep::Started);
    say(1_048_578, "not ");
    say(1_048_580, "guilty ");
    publish(&door, conversation, message, 1_048_581, ChatStep::Finished { answer: answer("not proven guilty") });
    let shown = words(&[(1_048_577, "started"), (1_048_578, "not "), (1_048_581, "not proven guilty")]);
    assert_eq!(socket.steps(3).await, shown);
    server.shutdown.cancel();
}

async fn who_may_not_listen(test: TestStorage) {
    let door = Door::new(test);
    let (ann, bob) = (door.member().await, door.member().await);
    let papers = Papers::open(&door, &ann).await;
    let server = Server::start(&door, CHAT).await;
    let (conversation, message) = begin(&door, &papers, "x").await;
    let bearer = format!("Bearer {}", ann.token);
    for headers in [
        vec![("authorization", "Bearer nonsense")],
        vec![("authorization", "Basic YTpi")],
        vec![("authorization", bearer.as_str()), ("origin", "https://evil.example")],
        vec![("origin", "null")],
    ] {
        let refused = server.connect(&headers).await.err().unwrap();
        assert!(
            matches!(&refused, tungstenite::Error::Http(response) if [401, 403].contains(&response.status().as_u16())),
            "{refused:?}"
        );
    }
    let home = format!("http://{}", server.address);
    server.connect(&[("authorization", &bearer), ("origin", &home)]).await.unwrap();
    for (first, code) in [
        (json!({ "type": "authenticate", "token": "nonsense" }), 4401),
        (json!({ "type": "subscribe", "conversation_id": conversation }), 4401),
        (json!("hello"), 4401),
    ] {
        let mut client = server.connect(&[]).await.unwrap();
        client.say(first).await;
        assert_eq!(client.hear().await, Err(code));
    }
    let mut stranger = server.open(&bob).await;
    for id in [conversation, ConversationId::new()] {
        stranger.say(json!({ "type": "subscribe", "conversation_id": id, "message_id": message })).await;
        let said = stranger.hear().await.unwrap();
        assert_eq!((&said["type"], &said["code"]), (&json!("error"), &json!("not_found")));
    }
    publish(&door, conversation, message, 1, ChatStep::Delta { text: "secret".into() });
    stranger.say(json!({ "type": "ping" })).await;
    assert_eq!(stranger.hear().await.unwrap()["type"], "pong");
    stranger.say(json!({ "type": "dance" })).await;
    assert_eq!(stranger.hear().await, Err(4400));
    let mut large = server.open(&ann).await;
    large.say(json!({ "type": "subscribe", "conversation_id": "x".repeat(20_000) })).await;
    assert!(large.hear().await.is_err());
}

async fn a_socket_ends_with_the_access_it_stands_on(test: TestStorage) {
    let door = Door::new(test);
    let (ann, bob) = (door.member().await, door.member().await);
    let papers = Papers::open(&door, &ann).await;
    let server = Server::start(&door, CHAT).await;
    let mut tx = door.test.storage.begin(&ann.actor).await.unwrap();
    let case = Case::find(&mut tx, papers.case, Action::ManageMembers).await.unwrap();
    case.set_member(&mut tx, bob.id, CaseRole::Reviewer).await.unwrap();
    tx.commit().await.unwrap();
    let asked = ask(&door, &bob, json!({ "case_id": papers.case, "message": "x" })).await;
    let conversation: ConversationId = asked["conversation_id"].as_str().unwrap().parse().unwrap();
    let mut client = server.open(&bob).await;
    client.follow(conversation, None, None).await;
    // Words are heard in order: the answer to this one says that the subscription stands.
    client.say(json!({ "type": "ping" })).await;
    while client.hear().await.unwrap()["type"] != "pong" {}
    let mut tx = door.test.storage.begin(&ann.actor).await.unwrap();
    case.remove_member(&mut tx, bob.id).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(client.hear().await, Err(4403));

    let mut client = server.open(&ann).await;
    client.say(json!({ "type": "ping" })).await;
    client.hear().await.unwrap();
    let mut tx = door.test.storage.begin(&ann.actor).await.unwrap();
    storage::sessions::revoke(&mut tx, ann.session).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(client.hear().await, Err(4401));
}
