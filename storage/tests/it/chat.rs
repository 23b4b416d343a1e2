//! Conversations, messages and pinned context on both databases: whose they are, how they end, and that their words are
//! nowhere but in sealed columns.

use domain::{
    access::{Action, CaseRole},
    actor::Actor,
    events::{Answer, Citation, Sentence},
    ids::{ContextId, ConversationId, DocumentId, MessageId},
    page::PageQuery,
};
use storage::{
    Error,
    cases::{self, Case},
    contexts::{ContextItem, Pin},
    conversations::{Conversation, may_ask, readable_databases},
    messages::{self, Asked, Failure, Message, MessageState, Speaker},
};
use testkit::{Matter, TestStorage, on_each_database};

on_each_database!(
    a_conversation_belongs_to_one_person,
    an_answer_ends_once,
    what_is_said_is_sealed,
    a_search_goes_on_where_it_stopped,
    who_may_read_is_asked_anew,
    a_purged_case_keeps_no_conversation,
);

async fn begin(matter: &Matter, actor: &Actor, text: &str) -> (Conversation, Asked) {
    let mut tx = matter.storage.begin(actor).await.unwrap();
    let case = Case::find(&mut tx, matter.case, Action::Chat).await.unwrap();
    let conversation = Conversation::start(&mut tx, &case, text).await.unwrap();
    let asked = messages::ask(&mut tx, &conversation, text).await.unwrap();
    tx.commit().await.unwrap();
    (conversation, asked)
}

fn answer(text: &str, matter: &Matter, document: DocumentId) -> Answer {
    let citation = Citation {
        document,
        database: matter.database,
        name: "a.txt".into(),
        page: 1,
        start: 0,
        end: 1,
        quote: text[..1].into(),
    };
    let sentence = Sentence { text: text.into(), supported: true, citations: vec![citation] };
    Answer { text: text.into(), sentences: vec![sentence], method: "extractive".into() }
}

async fn a_conversation_belongs_to_one_person(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let (conversation, asked) = begin(&matter, &matter.owner, "Who signed?").await;
    let colleague = test.member().await;
    matter.admit(&colleague, CaseRole::Manager).await;
    for stranger in [colleague, test.member().await, test.administrator().await] {
        let mut tx = test.storage.begin(&stranger).await.unwrap();
        assert!(matches!(Conversation::find(&mut tx, conversation.id).await, Err(Error::NotFound)));
        assert!(matches!(Message::find(&mut tx, asked.answer).await, Err(Error::NotFound)));
        assert!(matches!(ContextItem::unpin(&mut tx, ContextId::new()).await, Err(Error::NotFound)));
        assert!(Conversation::list(&mut tx, None, &PageQuery::default()).await.unwrap().items.is_empty());
        assert!(messages::search(&mut tx, None, "who", &PageQuery::default()).await.unwrap().items.is_empty());
    }
    let mut tx = test.storage.begin(&matter.owner).await.unwrap();
    assert!(matches!(Conversation::find(&mut tx, ConversationId::new()).await, Err(Error::NotFound)));
    assert!(matches!(Message::find(&mut tx, MessageId::new()).await, Err(Error::NotFound)));
    let pin = ContextItem::pin(&mut tx, &conversation, &Pin::Database(matter.database)).await.unwrap();
    assert_eq!(ContextItem::list(&mut tx, matter.case, conversation.id).await.unwrap(), std::slice::from_ref(&pin));
    ContextItem::unpin(&mut tx, pin.id).await.unwrap();
    tx.commit().await.unwrap();
    // An auditor sees the record of what was done, not the matter: an own conversation of earlier days is closed.
    let auditor = test.member().await;
    matter.admit(&auditor, CaseRole::Reviewer).await;
    let (own, _) = begin(&matter, &auditor, "When?").await;
    matter.admit(&auditor, CaseRole::Auditor).await;
    let mut tx = test.storage.read(&auditor).await.unwrap();
    assert!(matches!(Conversation::find(&mut tx, own.id).await, Err(Error::Forbidden)));
    assert!(Conversation::list(&mut tx, None, &PageQuery::default()).await.unwrap().items.is_empty());
    assert!(messages::search(&mut tx, None, "when", &PageQuery::default()).await.unwrap().items.is_empty());
}

async fn an_answer_ends_once(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let failure = Failure { code: "internal".into(), message: "ask again".into() };
    let document = DocumentId::new();
    for first in 0..3 {
        let (_, asked) = begin(&matter, &matter.owner, "Who signed?").await;
        assert!(messages::begin(&test.storage, matter.case, asked.answer).await.unwrap());
        let mut ends = Vec::new();
        for step in 0..3 {
            let mut tx = matter.begin().await;
            let message = Message::find(&mut tx, asked.answer).await.unwrap();
            let said = answer("It was Smith.", &matter, document);
            let ended = match (first + step) % 3 {
                0 => message.answer(&mut tx, &said, vec![document]).await.unwrap(),
                1 => message.fail(&mut tx, &failure).await.unwrap(),
                _ => message.cancel(&mut tx).await.is_ok(),
            };
            if ended {
                tx.commit().await.unwrap();
            }
            ends.push(ended);
        }
        assert_eq!(ends, [true, false, false], "{first}");
        assert!(!messages::begin(&test.storage, matter.case, asked.answer).await.unwrap());
        let mut tx = matter.begin().await;
        let message = Message::find(&mut tx, asked.answer).await.unwrap();
        let states = [MessageState::Complete, MessageState::Failed, MessageState::Cancelled];
        assert_eq!((message.state, message.role), (states[first], Speaker::Assistant));
        assert_eq!(message.body.question, Some(asked.question));
    }
    for (action, times) in
        [("message.answered", 1), ("message.failed", 1), ("message.cancelled", 1), ("message.asked", 3)]
    {
        let sql = format!("select count(*) from audit_events where action = '{action}'");
        assert_eq!(test.number(&sql).await, times, "{action}");
    }
}

async fn what_is_said_is_sealed(test: TestStorage) {
    const CANARY: &str = "quintembre-canary";
    let matter = Matter::open(&test).await;
    let (_, asked) = begin(&matter, &matter.owner, CANARY).await;
    let mut tx = matter.begin().await;
    let message = Message::find(&mut tx, asked.answer).await.unwrap();
    message.answer(&mut tx, &answer(CANARY, &matter, DocumentId::new()), Vec::new()).await.unwrap();
    tx.commit().await.unwrap();
    let spoken = format!("select count(*) from jobs where cast(payload as text) like '%{CANARY}%'");
    assert_eq!(test.number(&spoken).await, 0);
    assert!(!test.said(matter.case).await.contains(CANARY));
    if test.is_postgres() {
        return;
    }
    for file in std::fs::read_dir(test.directory()).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()), "{}", path.display());
        }
    }
}

async fn a_search_goes_on_where_it_stopped(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let mut expected = Vec::new();
    for n in 0..12 {
        let text = if n % 3 == 0 { format!("The Heron contract {n}") } else { format!("Something else {n}") };
        let (_, asked) = begin(&matter, &matter.owner, &text).await;
        if n % 3 == 0 {
            expected.push(asked.question);
        }
    }
    expected.reverse();
    let mut tx = matter.begin().await;
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = PageQuery { limit: Some(1), cursor: cursor.clone() };
        let page = messages::search(&mut tx, Some(matter.case), "CONTRACT heron", &page).await.unwrap();
        found.extend(page.items.iter().map(|message| message.id));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found, expected);
    let none = messages::search(&mut tx, None, " ", &PageQuery::default()).await;
    assert!(matches!(none, Err(Error::Invalid(_))));
}

async fn who_may_read_is_asked_anew(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let member = test.member().await;
    let user = member.user().unwrap();
    let system = Actor::system_for(Some(user), domain::ids::fresh());
    let readable = async || {
        let mut tx = test.storage.read(&system).await.unwrap();
        let readable = readable_databases(&mut tx, matter.case, user).await.unwrap();
        assert_eq!(may_ask(&mut tx, matter.case, user).await.unwrap(), !readable.is_empty());
        readable
    };
    assert!(readable().await.is_empty());
    for (role, sees) in [(CaseRole::Reviewer, true), (CaseRole::Auditor, false), (CaseRole::Lawyer, true)] {
        matter.admit(&member, role).await;
        assert_eq!(readable().await.len(), usize::from(sees), "{role:?}");
    }
    let mut tx = matter.begin().await;
    Case::find(&mut tx, matter.case, Action::DeleteCase).await.unwrap().delete(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    assert!(readable().await.is_empty());
}

async fn a_purged_case_keeps_no_conversation(test: TestStorage) {
    let matter = Matter::open(&test).await;
    let (conversation, _) = begin(&matter, &matter.owner, "Who signed?").await;
    let mut tx = matter.begin().await;
    ContextItem::pin(&mut tx, &conversation, &Pin::Database(matter.database)).await.unwrap();
    Case::find(&mut tx, matter.case, Action::DeleteCase).await.unwrap().delete(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = test.storage.begin(&Actor::system(domain::ids::fresh())).await.unwrap();
    cases::destroy_key(&mut tx, matter.case).await.unwrap();
    cases::purge_rows(&mut tx, matter.case).await.unwrap();
    tx.commit().await.unwrap();
    for table in ["conversations", "messages", "context_items"] {
        assert_eq!(test.number(&format!("select count(*) from {table}")).await, 0, "{table}");
    }
}
