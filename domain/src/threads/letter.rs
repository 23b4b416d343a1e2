//! What threading needs of a message, in keyed hashes: small, and without its words.

use serde::{Deserialize, Serialize};

use super::subject::base_subject;
use crate::{
    clock::Timestamp,
    fingerprint::{Fact, FingerprintKey},
    text::Metadata,
};

/// Conversation-Index of a first message: 22 bytes; each answer adds 5 (MS-OXOMSG 2.2.1.3). In hexadecimal digits.
const INDEX_HEAD: usize = 44;
const INDEX_STEP: usize = 10;
/// Most hashes kept of the messages before this one, the first of them and the last; longer chains hold thousands only in
/// messages made to hurt.
const LONGEST_CHAIN: usize = 32;

/// A message as threading sees it. About 150 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Letter {
    /// Its Message-ID.
    pub message: Option<u64>,
    /// The messages it names as those before it (References, else In-Reply-To), oldest first.
    pub answers: Box<[u64]>,
    /// The beginnings of its Conversation-Index that are the index of a message before it, shortest first, then the whole.
    pub conversation: Box<[u64]>,
    /// The base of its subject, unless nothing is left of that.
    pub subject: Option<u64>,
    /// True when its subject says that it is an answer or forwarded.
    pub is_answer: bool,
    /// When it was sent.
    pub sent_at: Option<Timestamp>,
}

impl Letter {
    /// What is left of a message.
    pub fn new(metadata: &Metadata, key: &FingerprintKey) -> Self {
        let id = |id: &str| key.hash(Fact::MessageId, id.as_bytes());
        let mut answers: Vec<u64> =
            metadata.references.iter().filter(|one| !one.is_empty()).map(|one| id(one)).collect();
        if answers.is_empty() {
            answers.extend(metadata.in_reply_to.iter().filter(|one| !one.is_empty()).map(|one| id(one)));
        }
        let subject = base_subject(metadata.subject.as_deref().unwrap_or_default());
        let base = (!subject.base.is_empty()).then(|| key.hash(Fact::Subject, subject.base.as_bytes()));
        Self {
            message: metadata.message_id.as_deref().filter(|one| !one.is_empty()).map(id),
            answers: ends(answers),
            conversation: ends(beginnings(metadata.conversation_index.as_deref(), key)),
            subject: base,
            is_answer: subject.is_answer,
            sent_at: metadata.sent_at,
        }
    }
}

impl AsRef<Self> for Letter {
    fn as_ref(&self) -> &Self {
        self
    }
}

fn beginnings(index: Option<&str>, key: &FingerprintKey) -> Vec<u64> {
    let Some(index) = index.filter(|index| index.len() >= INDEX_HEAD && index.is_ascii()) else { return Vec::new() };
    let index = index.to_ascii_lowercase();
    let shorter = (INDEX_HEAD..index.len()).step_by(INDEX_STEP);
    shorter.chain([index.len()]).map(|length| key.hash(Fact::Conversation, &index.as_bytes()[..length])).collect()
}

/// The first and the last of a chain that is too long.
fn ends(mut chain: Vec<u64>) -> Box<[u64]> {
    if chain.len() > LONGEST_CHAIN {
        chain.drain(1..=chain.len() - LONGEST_CHAIN);
    }
    chain.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_keeps_its_ends() {
        let key = FingerprintKey::new([1; 16]);
        let references: Vec<String> = (0..1_000).map(|at| at.to_string()).collect();
        let letter = Letter::new(&Metadata { references, ..Metadata::default() }, &key);
        let id = |id: &str| key.hash(Fact::MessageId, id.as_bytes());
        assert_eq!(letter.answers.len(), LONGEST_CHAIN);
        assert_eq!((letter.answers[0], letter.answers[1], letter.answers[31]), (id("0"), id("969"), id("999")));
    }

    #[test]
    fn what_a_message_does_not_say_is_nothing() {
        let key = FingerprintKey::new([1; 16]);
        let empty = Metadata {
            message_id: Some(String::new()),
            in_reply_to: Some(String::new()),
            subject: Some("Re:".to_owned()),
            conversation_index: Some("0102".to_owned()),
            ..Metadata::default()
        };
        assert_eq!(Letter::new(&empty, &key), Letter { is_answer: true, ..Letter::default() });
    }
}
