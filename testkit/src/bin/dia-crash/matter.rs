//! Everything that is done to the server while it lives: documents are delivered, questions asked, an index rebuilt, cases
//! opened and deleted, and a stranger knocks. All of it remembers what the server said, through every death.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use testkit::{Client, delivery::Dice, plaintext::Secrets};

use crate::{
    Options,
    deliveries::{Deliveries, unexcused},
    doomed::Doomed,
    questions::Questions,
    stranger::{Goods, Stranger},
};

/// What happens in one life.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Deliveries sent at most.
    pub(crate) deliveries: usize,
    /// Which delivery is sent once more.
    pub(crate) again: u64,
    /// Which password is added to the bank.
    pub(crate) password: Option<u64>,
    /// Whether a delivery is read again.
    pub(crate) reprocess: bool,
    /// Whether the index is built anew.
    pub(crate) reindex: bool,
}

/// A case under everybody's hands.
#[derive(Debug)]
pub(crate) struct Matter {
    pub(crate) owner: Client,
    pub(crate) stranger: Stranger,
    pub(crate) case: String,
    pub(crate) database: String,
    pub(crate) deliveries: Deliveries,
    pub(crate) questions: Questions,
    pub(crate) doomed: Doomed,
    passwords: Vec<String>,
    wrong: Vec<String>,
}

impl Matter {
    /// Signs up, opens the case, invites the stranger. Also returns everything that must never stand in the clear.
    pub(crate) async fn open(
        options: &Options,
        folder: PathBuf,
        address: &str,
        code: Option<&str>,
    ) -> Result<(Self, Secrets)> {
        let deliveries = Deliveries::collect(&options.sample, options.seed, options.documents, Some(folder))?;
        let mut secrets = deliveries.secrets();
        let questions = Questions::prepare(options.seed, options.kills + 1, &mut secrets);
        let doomed = Doomed::new(options.seed);
        doomed.add_secrets(options.kills + 1, &mut secrets);
        let mut dice = Dice::new(options.seed.rotate_left(7));
        let passwords: Vec<String> = (0..=options.kills).map(|_| dice.word()).collect();
        for password in &passwords {
            secrets.add(password.as_bytes());
        }
        let owner = Client::sign_up(address, code.context("no setup code")?).await?;
        let (case, database) = owner.open_database().await?;
        let stranger = Stranger::invite(&owner).await?;
        Ok((
            Self { owner, stranger, case, database, deliveries, questions, doomed, passwords, wrong: Vec::new() },
            secrets,
        ))
    }

    /// Does everything at once at `address` until nobody answers any more: this ends with the server.
    pub(crate) async fn live(&mut self, address: &str, plan: Plan) {
        let goods = Goods {
            case: self.case.clone(),
            database: self.database.clone(),
            document: self.deliveries.any_document(),
        };
        self.owner = self.owner.at(address);
        // Tokens outlive a few lives only.
        if self.owner.stay_signed_in().await.is_err() {
            return;
        }
        let (owner, case, database) = (&self.owner, &self.case, &self.database);
        tokio::join!(
            self.stranger.knock_at(address, &goods),
            self.doomed.turn(owner),
            self.questions.ask(owner, case, database),
            self.deliveries.send(owner, database, plan.deliveries, plan.again),
            async {
                if let Err(error) =
                    again(owner, database, plan).await.and(add(owner, case, plan, &self.passwords).await)
                    && let Some(refused) = unexcused(&error)
                {
                    self.wrong.push(format!("what was done could not be done again: {refused}"));
                }
            },
        );
    }

    /// What the server should not have said so far.
    pub(crate) fn wrong(&self) -> Vec<String> {
        [self.wrong.clone(), self.deliveries.wrong(), self.stranger.wrong.clone()].concat()
    }
}

/// Adds a password that opens nothing: everything protected is tried again.
async fn add(owner: &Client, case: &str, plan: Plan, passwords: &[String]) -> Result<()> {
    let number = plan.password.and_then(|number| usize::try_from(number).ok());
    if let Some(password) = number.and_then(|number| passwords.get(number)) {
        let fields = json!({ "passwords": [password], "note": "a guess" });
        owner.post(&format!("/cases/{case}/passwords"), &fields).await?;
    }
    Ok(())
}

/// Has a delivery read again and the index built anew, where the plan says so.
async fn again(owner: &Client, database: &str, plan: Plan) -> Result<()> {
    if plan.reprocess {
        let batches = owner.get(&format!("/databases/{database}/batches?limit=1")).await?;
        if let Some(batch) = batches["items"][0]["id"].as_str() {
            let path = format!("/databases/{database}/batches/{batch}/reprocess");
            owner.post(&path, &json!({ "all": true })).await?;
        }
    }
    if plan.reindex {
        owner.post(&format!("/databases/{database}/reindex"), &Value::Null).await?;
    }
    Ok(())
}
