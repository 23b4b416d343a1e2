//! Questions asked while the server dies: each under a key of its own, asked again until the server has taken it, and in the
//! end each with exactly one answer, or a failure that says why.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use testkit::{Client, delivery::Dice, plaintext::Secrets};

use crate::deliveries::unexcused;

/// All questions of a run.
#[derive(Debug)]
pub(crate) struct Questions {
    all: Vec<Question>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct Question {
    key: String,
    text: String,
}

#[derive(Debug, Default)]
struct State {
    /// Conversation and answer of those the server took, in the order of `all`.
    taken: Vec<(String, String)>,
    wrong: Vec<String>,
}

/// What became of the questions.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) complete: usize,
    pub(crate) failed: usize,
    pub(crate) wrong: Vec<String>,
}

impl Questions {
    /// `most` questions; each holds a word of its own, which must never stand in the clear.
    pub(crate) fn prepare(seed: u64, most: u64, secrets: &mut Secrets) -> Self {
        let mut dice = Dice::new(!seed);
        let mut all = Vec::new();
        for number in 0..most {
            let word = dice.word();
            secrets.add(word.as_bytes());
            let text = format!("What notice must be given to terminate, and does {word} say otherwise?");
            all.push(Question { key: format!("question-{seed}-{number}"), text });
        }
        Self { all, state: Mutex::default() }
    }

    /// Asks the next question, and the one before it once more; what the server did not take is asked in the next life.
    pub(crate) async fn ask(&self, client: &Client, case: &str, database: &str) {
        let next = self.taken();
        for number in next.saturating_sub(1)..=next {
            let Some(question) = self.all.get(number) else { return };
            let body = json!({ "case_id": case, "database_id": database, "message": question.text });
            match client.post_once("/chat/message", &question.key, &body).await {
                Ok(taken) => self.note(number, &question.key, &taken),
                Err(error) => {
                    // 409: sixteen answers are being written already.
                    if let Some(refused) = unexcused(&error).filter(|refused| refused.status.as_u16() != 409) {
                        self.state().wrong.push(format!("{} was refused: {refused}", question.key));
                    }
                    return;
                }
            }
        }
    }

    fn note(&self, number: usize, key: &str, taken: &Value) {
        let id = |name: &str| taken[name].as_str().unwrap_or("").to_owned();
        let ids = (id("conversation_id"), id("answer_id"));
        let mut state = self.state();
        match state.taken.get(number) {
            Some(before) if *before == ids => {}
            Some(_) => state.wrong.push(format!("I3 {key}: asked again, it became another question")),
            None => state.taken.push(ids),
        }
    }

    /// How many the server took.
    pub(crate) fn taken(&self) -> usize {
        self.state().taken.len()
    }

    /// Every conversation holds one question and one answer that has ended, and there is none that nobody began.
    pub(crate) async fn judge(&self, client: &Client, case: &str) -> Result<Answers> {
        let (taken, wrong) = {
            let state = self.state();
            (state.taken.clone(), state.wrong.clone())
        };
        let mut answers = Answers { wrong, ..Answers::default() };
        let listed = client.list(&format!("/chat/conversations?case_id={case}")).await?;
        let listed: BTreeSet<&str> = listed.iter().filter_map(|conversation| conversation["id"].as_str()).collect();
        let known: BTreeSet<&str> = taken.iter().map(|(conversation, _)| conversation.as_str()).collect();
        if listed != known {
            answers.wrong.push(format!("I3 {} questions were taken, {} are listed", known.len(), listed.len()));
        }
        for (conversation, answer) in &taken {
            let messages = client.list(&format!("/chat/history?conversation_id={conversation}")).await?;
            let known = messages.iter().find(|message| message["id"] == answer.as_str());
            let answer = known.with_context(|| format!("the answer {answer} is not in its conversation"))?;
            match answer["state"].as_str() {
                _ if messages.len() != 2 => {
                    answers.wrong.push(format!("I3 {conversation} has {} messages", messages.len()));
                }
                Some("complete") if answer["answer"].is_object() => answers.complete += 1,
                Some("failed") if answer["failure"]["code"].is_string() => answers.failed += 1,
                _ => answers.wrong.push(format!("I2 an answer has not ended: {} {}", answer["id"], answer["state"])),
            }
        }
        Ok(answers)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // What was noted is no less true for a panic elsewhere.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
