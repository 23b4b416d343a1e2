//! Which messages are the same: by the id their sender gave them, and by what they say.

use domain::text::Metadata;
use md5::Md5;
use sha2::{Digest as _, Sha256};

/// The SHA-256 of an attachment.
pub(crate) type Digest = [u8; 32];

/// The SHA-256 of everything `content` gives.
pub(crate) fn digest(content: &mut dyn std::io::Read) -> Digest {
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 64 << 10];
    while let Ok(read @ 1..) = content.read(&mut piece) {
        hasher.update(piece.get(..read).unwrap_or_default());
    }
    hasher.finalize().into()
}

/// The EDRM Message Identification Hash (specification 1.0, 2023): MD5 of the Message-ID with its angle brackets, in upper
/// case hexadecimal digits. `message_id` is given without them. `None` when the id is empty.
pub(crate) fn message_hash(message_id: &str) -> Option<String> {
    let id = message_id.trim();
    (!id.is_empty()).then(|| super::hex(&Md5::digest(format!("<{id}>"))).to_uppercase())
}

/// The hash of what a message says, for copies whose ids were lost or changed: SHA-256 of
///
/// - the addresses of `from`, `to`, `cc` and `bcc`, lower case, each list sorted and without repeats (the name where there
///   is no address);
/// - the time it was sent, whole seconds since 1970, or nothing;
/// - the subject and the body, every run of white space one blank;
/// - the SHA-256 of each attachment, in order.
///
/// Each field, and each item of a list, is written as its length in bytes (u64, little endian) and its bytes; a list begins
/// with the number of its items.
pub(crate) fn content_hash(metadata: &Metadata, body: &str, attachments: &[Digest]) -> String {
    let mut hasher = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    let from: Vec<String> = metadata.from.iter().cloned().collect();
    for people in [&from, &metadata.to, &metadata.cc, &metadata.bcc] {
        let mut addresses: Vec<String> = people.iter().map(|person| address(person)).collect();
        addresses.sort();
        addresses.dedup();
        field(&(addresses.len() as u64).to_le_bytes());
        for address in addresses {
            field(address.as_bytes());
        }
    }
    let seconds = metadata.sent_at.map(|sent| sent.0.div_euclid(1_000_000).to_string());
    field(seconds.unwrap_or_default().as_bytes());
    field(one_blank(metadata.subject.as_deref().unwrap_or_default()).as_bytes());
    field(one_blank(body).as_bytes());
    field(&(attachments.len() as u64).to_le_bytes());
    for digest in attachments {
        field(digest);
    }
    super::hex(&hasher.finalize())
}

/// The address in `Name <address>`, lower case.
fn address(person: &str) -> String {
    let inside = person.rsplit_once('<').map(|(_, rest)| rest.trim_end_matches('>'));
    inside.unwrap_or(person).trim().to_lowercase()
}

fn one_blank(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use domain::clock::Timestamp;

    use super::*;

    fn mail() -> Metadata {
        Metadata {
            from: Some("Ann Lee <Ann@X.org>".into()),
            to: vec!["b@x.org".into(), "C <c@x.org>".into()],
            subject: Some("The  lease".into()),
            sent_at: Some(Timestamp(1_700_000_000_000_000)),
            ..Metadata::default()
        }
    }

    /// The value that `printf '<1@x>' | md5sum` gives.
    #[test]
    fn the_message_hash_is_edrm_s() {
        assert_eq!(message_hash("1@x").as_deref(), Some("3D01A3D9CF298610632C542DB943942F"));
        assert_eq!(message_hash(" "), None);
    }

    #[test]
    fn copies_are_equal_and_changes_are_not() {
        let original = content_hash(&mail(), "Dear Bob,\r\n\r\nplease sign.", &[[1; 32]]);
        let mut copy = mail();
        copy.from = Some("ann@x.org".into());
        copy.to = vec!["c@x.org".into(), "Bob <B@x.org>".into(), "b@x.org".into()];
        copy.subject = Some("The lease ".into());
        copy.sent_at = Some(Timestamp(1_700_000_000_999_999));
        copy.message_id = Some("other@y".into());
        assert_eq!(content_hash(&copy, "Dear Bob, please  sign.\n", &[[1; 32]]), original);
        let changes: [fn(&mut Metadata); 5] = [
            |mail| mail.from = None,
            |mail| mail.cc = mail.to.split_off(1),
            |mail| mail.bcc = vec!["d@x.org".into()],
            |mail| mail.sent_at = None,
            |mail| mail.subject = Some("The release".into()),
        ];
        for change in changes {
            let mut changed = mail();
            change(&mut changed);
            assert_ne!(content_hash(&changed, "Dear Bob, please sign.", &[[1; 32]]), original);
        }
        for (body, attachments) in [("Dear Bob, please resign.", vec![[1; 32]]), ("Dear Bob, please sign.", vec![])] {
            assert_ne!(content_hash(&mail(), body, &attachments), original);
        }
    }
}
