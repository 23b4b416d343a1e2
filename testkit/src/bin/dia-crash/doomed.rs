//! Cases that are opened, filled and deleted again, one a life, while the server dies: of a case whose deletion was said to
//! be done nothing may remain, and it may never come back.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use anyhow::{Result, ensure};
use testkit::{
    Client,
    delivery::{self, Item},
    plaintext::Secrets,
};

use crate::deliveries::unexcused;

/// Files delivered into each.
const FILES: u64 = 2;

/// The cases opened to be deleted.
#[derive(Debug)]
pub(crate) struct Doomed {
    seed: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The one that is due next; `None` until it was filled.
    filled: Option<String>,
    deleted: BTreeSet<String>,
    wrong: Vec<String>,
}

impl Doomed {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed: !seed, state: Mutex::default() }
    }

    /// Everything that the first `cases` of them will hold.
    pub(crate) fn add_secrets(&self, cases: u64, secrets: &mut Secrets) {
        for item in (0..cases).flat_map(|case| self.items(case)) {
            for secret in &item.secrets {
                secrets.add(secret);
            }
        }
    }

    fn items(&self, case: u64) -> impl Iterator<Item = Item> + use<> {
        let seed = self.seed;
        (case * FILES..(case + 1) * FILES).map(move |number| delivery::item(seed, number))
    }

    /// Deletes the case that is filled, and fills the next; what the server did not take is said again in the next life.
    pub(crate) async fn turn(&self, client: &Client) {
        let turned = match self.delete(client).await {
            Ok(()) => self.fill(client).await,
            refused => refused,
        };
        if let Some(refused) = turned.as_ref().err().and_then(unexcused) {
            self.state().wrong.push(format!("a case could not be opened, filled or deleted: {refused}"));
        }
    }

    /// Deletes the case that is filled. One that is not found was deleted by a request whose answer the kill took away.
    pub(crate) async fn delete(&self, client: &Client) -> Result<()> {
        let Some(case) = self.state().filled.clone() else { return Ok(()) };
        if let Err(error) = client.delete(&format!("/cases/{case}")).await {
            let gone = unexcused(&error).is_some_and(|refused| refused.status.as_u16() == 404);
            if !gone {
                return Err(error);
            }
        }
        let mut state = self.state();
        state.filled = None;
        state.deleted.insert(case);
        Ok(())
    }

    async fn fill(&self, client: &Client) -> Result<()> {
        let number = self.state().deleted.len() as u64;
        let key = format!("doomed-{}-{number}", self.seed);
        let (case, database) = client.open_database_once(&key).await?;
        let files: Vec<(String, Vec<u8>)> = self.items(number).map(|item| (item.path, item.bytes)).collect();
        let received = client.upload(&database, &format!("{key}-files"), &files).await?;
        ensure!(received.len() == files.len(), "{} of {} files were taken", received.len(), files.len());
        self.state().filled = Some(case);
        Ok(())
    }

    /// How many were deleted.
    pub(crate) fn deleted(&self) -> usize {
        self.state().deleted.len()
    }

    /// Only `kept` is there still for who opened them all.
    pub(crate) async fn judge(&self, client: &Client, kept: &str) -> Result<Vec<String>> {
        let mut wrong = self.state().wrong.clone();
        for case in client.list("/cases").await? {
            let id = case["id"].as_str().unwrap_or("");
            if self.state().deleted.contains(id) {
                wrong.push(format!("the case {id} was deleted and is there again"));
            } else if id != kept {
                wrong.push(format!("I3 there is a case {id} that nobody has a 201 for"));
            }
        }
        Ok(wrong)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // What was noted is no less true for a panic elsewhere.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
