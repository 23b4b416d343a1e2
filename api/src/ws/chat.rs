//! `/ws/chat`: answers as they are written. A client subscribes to one of its conversations; after a lost connection it
//! subscribes again with the number of the last event it saw, and misses nothing.

use std::{collections::HashMap, convert::Infallible};

use axum::response::Response;
use domain::{
    error::Code,
    events::{ChatEvent, ChatStep, Event, Topic},
    ids::{ConversationId, MessageId},
    page::PageQuery,
};
use serde::{Deserialize, Serialize};
use storage::{
    conversations::Conversation,
    messages::{Message, MessageState, Speaker},
    pubsub::{Heard, Subscription},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Closed, Door, Socket, Told};
use crate::State;

pub(crate) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(watch_chat))
}

/// Messages looked at when a client subscribes to a conversation as a whole.
const LATEST: u32 = 20;

/// What a client says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type", deny_unknown_fields)]
enum Command {
    /// Watch a conversation from now on, instead of the one before.
    Subscribe {
        conversation_id: ConversationId,
        /// The answer to catch up with; without it, every open one.
        message_id: Option<MessageId>,
        /// The last event seen of that answer.
        after: Option<u64>,
    },
}

/// One event as the client gets it.
#[derive(Debug, Serialize)]
struct Said<'a> {
    r#type: &'static str,
    conversation: ConversationId,
    message: MessageId,
    seq: u64,
    #[serde(flatten)]
    step: &'a ChatStep,
}

/// A WebSocket with the answers of a conversation as they are written.
///
/// Prove who you are with an `Authorization` header or the first message `{"type":"authenticate","token":…}` within 5
/// seconds. Then `{"type":"subscribe","conversation_id":…,"message_id":…,"after":…}`; the last two are optional. Events are
/// `{"type":"chat","conversation","message","seq","step":"started"|"delta"|"finished"|"failed"|"cancelled",…}`. Close codes:
/// 4401 sign in again, 4403 access ended, 4400 malformed, 1001 dia is stopping.
#[utoipa::path(
    get, path = "/ws/chat", tag = "live", security(()),
    responses((status = 101, description = "the socket is open"))
)]
async fn watch_chat(state: State, door: Door) -> Response {
    door.open(state, async |mut socket| {
        let Err(closed) = run(&mut socket).await;
        (socket, closed)
    })
}

/// What is being watched.
struct Watched {
    conversation: Conversation,
    deltas: Subscription,
    access: Subscription,
    /// The last number sent of each answer.
    last: HashMap<MessageId, u64>,
}

async fn run(socket: &mut Socket) -> Result<Infallible, Closed> {
    let mut watched: Option<Watched> = None;
    loop {
        let next = tokio::select! {
            told = socket.next::<Command>() => match told? {
                Told::Said(command) => Next::Said(command),
                Told::Check => Next::Check,
            },
            next = hear(watched.as_mut()) => next?,
        };
        match (next, watched.as_mut()) {
            (Next::Said(Command::Subscribe { conversation_id, message_id, after }), _) => {
                watched = subscribe(socket, conversation_id, message_id, after.unwrap_or(0)).await?;
            }
            (Next::Check, watched) => {
                socket.check().await?;
                if let Some(watched) = watched {
                    check(socket, watched).await?;
                }
            }
            (Next::Event(event), Some(watched)) => say(socket, watched, &event).await?,
            (Next::Missed, Some(watched)) => {
                // That access ended may be what was missed.
                check(socket, watched).await?;
                let known: Vec<(MessageId, u64)> = watched.last.iter().map(|(id, seq)| (*id, *seq)).collect();
                for (message, after) in known {
                    catch_up(socket, watched, message, after).await?;
                }
            }
            (Next::Event(_) | Next::Missed, None) => {}
        }
    }
}

/// Fails when the conversation may not be seen any more.
async fn check(socket: &mut Socket, watched: &Watched) -> Result<(), Closed> {
    let mut tx = socket.state().storage.read(socket.actor()).await?;
    Conversation::find(&mut tx, watched.conversation.id).await?;
    Ok(())
}

enum Next {
    Said(Command),
    Event(ChatEvent),
    Missed,
    Check,
}

/// The next event of what is watched; never, when nothing is.
async fn hear(watched: Option<&mut Watched>) -> Result<Next, Closed> {
    let Some(watched) = watched else { return std::future::pending().await };
    loop {
        tokio::select! {
            heard = watched.deltas.next() => match heard.ok_or(Closed::Stopping)? {
                Heard::Event(Event::Chat(event)) => return Ok(Next::Event(event)),
                Heard::Event(_) => {}
                Heard::Missed => return Ok(Next::Missed),
            },
            heard = watched.access.next() => return heard.map(|_| Next::Check).ok_or(Closed::Stopping),
        }
    }
}

/// What the client may see of a conversation, and its answers that are open.
async fn look(socket: &mut Socket, id: ConversationId) -> storage::Result<(Conversation, Vec<MessageId>)> {
    let mut tx = socket.state().storage.read(socket.actor()).await?;
    let conversation = Conversation::find(&mut tx, id).await?;
    let page = PageQuery { limit: Some(LATEST), cursor: None };
    let latest = Message::list(&mut tx, &conversation, &page).await?.items;
    let open =
        latest.iter().rev().filter(|m| m.role == Speaker::Assistant && m.state.is_open()).map(|m| m.id).collect();
    Ok((conversation, open))
}

/// Begins to watch; `None` when there is no such conversation of this user's, which the client is told.
async fn subscribe(
    socket: &mut Socket,
    id: ConversationId,
    message: Option<MessageId>,
    after: u64,
) -> Result<Option<Watched>, Closed> {
    // Listen first, then read: what happens in between comes twice and is told apart by its number.
    let deltas = socket.state().storage.pubsub.subscribe(Topic::Conversation(id));
    let (conversation, open) = match look(socket, id).await {
        Ok(seen) => seen,
        Err(error) => {
            socket.refuse(code_of(&error)).await?;
            return Ok(None);
        }
    };
    let access = socket.state().storage.pubsub.subscribe(Topic::Access(conversation.case_id));
    let mut watched = Watched { conversation, deltas, access, last: HashMap::new() };
    socket.send(&serde_json::json!({ "type": "subscribed", "conversation": id })).await?;
    match message {
        Some(message) => catch_up(socket, &mut watched, message, after).await?,
        None => {
            for message in open {
                catch_up(socket, &mut watched, message, 0).await?;
            }
        }
    }
    Ok(Some(watched))
}

fn code_of(error: &storage::Error) -> Code {
    match error {
        storage::Error::NotFound | storage::Error::Forbidden => Code::NotFound,
        _ => Code::Unavailable,
    }
}

/// Sends what was said of an answer after number `after`, and its end when it has ended.
async fn catch_up(socket: &mut Socket, watched: &mut Watched, id: MessageId, after: u64) -> Result<(), Closed> {
    let found = match socket.state().storage.read(socket.actor()).await {
        Ok(mut tx) => Message::find(&mut tx, id).await,
        Err(error) => Err(error),
    };
    let message = match found {
        Ok(message) if message.conversation == watched.conversation.id => message,
        Ok(_) => return socket.refuse(Code::NotFound).await,
        Err(error) => return socket.refuse(code_of(&error)).await,
    };
    watched.last.insert(id, after);
    for event in socket.state().storage.pubsub.replay(id, after).await {
        say(socket, watched, &event).await?;
    }
    if let Some(step) = end_of(message) {
        let seq = watched.last.get(&id).copied().unwrap_or(after);
        let ended = ChatEvent { conversation: watched.conversation.id, message: id, seq: seq.saturating_add(1), step };
        say(socket, watched, &ended).await?;
    }
    Ok(())
}

/// The last event of a message that has ended, from its row.
fn end_of(message: Message) -> Option<ChatStep> {
    match message.state {
        MessageState::Pending | MessageState::Answering => None,
        MessageState::Complete => Some(ChatStep::Finished { answer: message.body.answer.unwrap_or_default() }),
        MessageState::Cancelled => Some(ChatStep::Cancelled),
        MessageState::Failed => {
            let failure = message.body.failure;
            let (code, message) = failure.map(|f| (f.code, f.message)).unwrap_or_default();
            Some(ChatStep::Failed { code, message })
        }
    }
}

/// Number after which an answer has ended for this client.
const ENDED: u64 = u64::MAX;

/// Sends an event once. The end always passes: it may come from another process, numbered as best it could.
async fn say(socket: &mut Socket, watched: &mut Watched, event: &ChatEvent) -> Result<(), Closed> {
    let last = watched.last.entry(event.message).or_insert(0);
    let ends = matches!(event.step, ChatStep::Finished { .. } | ChatStep::Failed { .. } | ChatStep::Cancelled);
    // What follows on lost words would be shown in the wrong place; the end brings the whole answer.
    let follows_a_gap = matches!(event.step, ChatStep::Delta { .. }) && event.seq > last.saturating_add(1);
    if *last == ENDED || (event.seq <= *last && !ends) || follows_a_gap {
        return Ok(());
    }
    *last = if ends { ENDED } else { event.seq };
    let said = Said {
        r#type: "chat",
        conversation: event.conversation,
        message: event.message,
        seq: event.seq,
        step: &event.step,
    };
    socket.send(&said).await
}
