//! I6: somebody who is signed in and a member of nothing knocks at everything there is, as long as the server lives, in every
//! life. Whatever breaks behind the door, to them there is nothing there.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use testkit::{Client, Method};
use tokio::time::sleep;

/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(100);
/// Lists that everybody may ask for; to the stranger they are empty.
const LISTS: [&str; 3] = ["/cases", "/databases", "/chat/conversations"];

/// What the stranger has heard of.
#[derive(Debug, Clone)]
pub(crate) struct Goods {
    pub(crate) case: String,
    pub(crate) database: String,
    pub(crate) document: Option<String>,
}

/// Somebody else.
#[derive(Debug, Clone)]
pub(crate) struct Stranger {
    client: Client,
    user: String,
    /// Answers heard.
    pub(crate) knocks: usize,
    pub(crate) wrong: Vec<String>,
}

impl Stranger {
    /// Invited by `owner` into dia, and into no case.
    pub(crate) async fn invite(owner: &Client) -> Result<Self> {
        let client = owner.invite("stranger@example.org").await?;
        let user = client.get("/auth/me").await?["id"].as_str().context("somebody without an id")?.to_owned();
        Ok(Self { client, user, knocks: 0, wrong: Vec::new() })
    }

    /// Knocks at everything, again and again, until nobody answers any more.
    pub(crate) async fn knock_at(&mut self, address: &str, goods: &Goods) {
        self.client = self.client.at(address);
        let ways = ways(goods, &self.user);
        loop {
            for (method, path, body) in &ways {
                let Ok((status, _)) = self.client.knock(method.clone(), path, body.as_ref()).await else { return };
                self.knocks += 1;
                if status == 401 && self.client.sign_in().await.is_err() {
                    return;
                }
                if !matches!(status.as_u16(), 401 | 404 | 503) {
                    self.wrong.push(format!("I6 {status} to a stranger: {method} {path}"));
                }
            }
            for path in LISTS {
                let Ok((status, body)) = self.client.knock(Method::GET, path, None).await else { return };
                self.knocks += 1;
                let empty = serde_json::from_slice::<Value>(&body).is_ok_and(|list| list["items"] == json!([]));
                if status.is_success() && !empty {
                    self.wrong.push(format!("I6 a stranger sees what is in {path}"));
                }
            }
            sleep(PAUSE).await;
        }
    }
}

/// Every way to read, search, ask, change, and to let oneself in.
fn ways(goods: &Goods, stranger: &str) -> Vec<(Method, String, Option<Value>)> {
    let Goods { case, database, document } = goods;
    let mut ways = Vec::new();
    let places = [
        format!("/cases/{case}"),
        format!("/cases/{case}/files"),
        format!("/cases/{case}/search?q=the"),
        format!("/cases/{case}/members"),
        format!("/cases/{case}/audit"),
        format!("/cases/{case}/passwords"),
        format!("/databases/{database}"),
        format!("/databases/{database}/status"),
        format!("/databases/{database}/files"),
        format!("/databases/{database}/exceptions"),
        format!("/databases/{database}/search?q=the"),
        format!("/chat/history?case_id={case}"),
    ];
    ways.extend(places.into_iter().map(|path| (Method::GET, path, None)));
    let parts = document.iter().flat_map(|id| ["", "/text", "/original"].map(|part| format!("/documents/{id}{part}")));
    ways.extend(parts.map(|path| (Method::GET, path, None)));
    let question = json!({ "case_id": case, "message": "What do they know?" });
    ways.push((Method::POST, "/chat/message".to_owned(), Some(question)));
    let passwords = json!({ "passwords": ["let me in"] });
    ways.push((Method::POST, format!("/cases/{case}/passwords"), Some(passwords)));
    ways.push((Method::POST, format!("/databases/{database}/reindex"), None));
    ways.push((Method::PUT, format!("/cases/{case}/members/{stranger}"), Some(json!({ "role": "manager" }))));
    ways.push((Method::DELETE, format!("/cases/{case}"), None));
    ways
}
