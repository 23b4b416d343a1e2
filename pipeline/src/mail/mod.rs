//! What messages of every format share: how the head of one is written as text, and how one is told from another.

pub(crate) mod identity;
pub(crate) mod signed;

use self::identity::Digest;
use crate::compose::Composer;

/// The date of a message with the zone its sender lived in, among the further facts of its metadata.
pub(crate) const DATE: &str = "date";

/// Writes the lines above the body, from what the metadata says.
pub(crate) fn head(composer: &mut Composer, date: Option<&str>, attachments: &[String]) {
    let known = composer.metadata.clone();
    let lines = [
        ("From", known.from.unwrap_or_default()),
        ("To", known.to.join("; ")),
        ("Cc", known.cc.join("; ")),
        ("Bcc", known.bcc.join("; ")),
        ("Date", date.unwrap_or_default().to_owned()),
        ("Subject", known.subject.unwrap_or_default()),
        ("Attachments", attachments.join("; ")),
    ];
    for (name, value) in lines {
        if !value.is_empty() {
            composer.push(&format!("{name}: {value}\n"));
        }
    }
}

/// Notes what tells this message from others; its body was pushed since `body`.
pub(crate) fn identify(composer: &mut Composer, body: u32, attachments: &[Digest]) {
    let hash = identity::content_hash(&composer.metadata, composer.since(body), attachments);
    composer.metadata.message_hash = composer.metadata.message_id.as_deref().and_then(identity::message_hash);
    composer.metadata.content_hash = Some(hash);
}

/// Message ids in a header's value, without their brackets; without any bracket, the words.
pub(crate) fn identifiers(value: &str) -> Vec<String> {
    let bracketed = value.split('<').skip(1).filter_map(|part| part.split_once('>')).map(|(id, _)| id.trim());
    let mut found: Vec<String> = bracketed.filter(|id| !id.is_empty()).map(str::to_owned).collect();
    if found.is_empty() {
        found = value.split_whitespace().map(|word| word.trim_matches(['<', '>']).to_owned()).collect();
    }
    found.retain(|id| !id.is_empty());
    found
}

/// Bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
