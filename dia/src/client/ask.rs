//! `dia ask`: sends a question and shows the answer as it is written, then its citations.

use anyhow::{Context, Result, bail};
use domain::{
    events::{Answer, ChatStep},
    ids::{self, MessageId},
};
use futures::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::session::Session;
use crate::out;

/// One event of `/ws/chat`.
#[derive(Deserialize)]
struct Heard {
    message: MessageId,
    #[serde(flatten)]
    step: ChatStep,
}

/// Runs the question.
pub(super) async fn run(server: &str, case: &str, database: Option<&str>, question: &str) -> Result<()> {
    let session = Session::resume(server)?;
    let body = json!({ "case_id": case, "database_id": database, "message": question });
    let asked: Value = session.post("/chat/message", &ids::fresh().to_string(), &body).await?;
    let id =
        |name: &str| asked[name].as_str().map(ToOwned::to_owned).with_context(|| format!("the server gave no {name}"));
    let (conversation, answer) = (id("conversation_id")?, id("answer_id")?);
    let url = format!("{}/api/v1/ws/chat", session.server().replacen("http", "ws", 1));
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.context("cannot open the live connection")?;
    let hello = json!({ "type": "authenticate", "token": session.token().await });
    socket.send(Message::text(hello.to_string())).await?;
    let subscribe = json!({ "type": "subscribe", "conversation_id": conversation, "message_id": answer, "after": 0 });
    socket.send(Message::text(subscribe.to_string())).await?;
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message? else { continue };
        let Ok(event) = serde_json::from_str::<Heard>(&text) else { continue };
        if event.message.to_string() == answer && show(event.step)? {
            return Ok(());
        }
    }
    bail!("the connection closed before the answer was complete; ask for it again with GET /chat/messages/{answer}")
}

/// Shows a step; true when it was the last.
fn show(step: ChatStep) -> Result<bool> {
    match step {
        ChatStep::Started => Ok(false),
        ChatStep::Delta { text } => {
            out::part(&text);
            Ok(false)
        }
        ChatStep::Finished { answer } => {
            citations(&answer);
            Ok(true)
        }
        ChatStep::Failed { message, .. } => bail!("{message}"),
        ChatStep::Cancelled => bail!("the answer was cancelled"),
    }
}

fn citations(answer: &Answer) {
    out::line("");
    let mut number = 0;
    for citation in answer.sentences.iter().flat_map(|sentence| &sentence.citations) {
        number += 1;
        let quote: String = citation.quote.split_whitespace().collect::<Vec<_>>().join(" ");
        out::line(&format!(
            "\n[{number}] {}, page {}, characters {}–{}\n    “{quote}”",
            citation.name, citation.page, citation.start, citation.end
        ));
    }
}
