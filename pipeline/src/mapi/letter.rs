//! What the properties of a message mean: who wrote to whom, when, what, and what is attached (MS-OXOMSG, MS-OXCMSG); for
//! appointments, contacts and tasks their own fields too (MS-OXOCAL, MS-OXOCNTC, MS-OXOTASK).

use domain::clock::Timestamp;
use mail_parser::MessageParser;

use super::{
    Message, Method, Properties, names, property as id,
    rtf::{self, Unwrapped},
    squeezed,
};
use crate::{
    compose::Composer,
    extract::{eml, html},
    mail::{self, identity::Digest},
    reader::MemberHead,
};

/// Most bytes of an RTF body; what is beyond is left out.
const MOST_RTF: usize = 64 << 20;

/// Writes a message: metadata, head, fields, body. `digests` are the SHA-256 of its attachments, in order.
pub(crate) fn write(message: &Message, digests: &[Digest], composer: &mut Composer) {
    let headers = message.properties.text(id::TRANSPORT_HEADERS).unwrap_or_default();
    // Some begin with a line of their own: "Microsoft Mail Internet Headers Version 2.0".
    let headers = match headers.split_once('\n') {
        Some((first, rest)) if !first.contains(':') => rest,
        _ => &headers,
    };
    let headers = format!("{}\r\n\r\n", headers.trim_end());
    let parsed = MessageParser::default().parse_headers(headers.as_bytes());
    if let Some(parsed) = parsed.as_ref().filter(|parsed| !parsed.headers().is_empty()) {
        eml::metadata(parsed, composer);
    }
    people(message, composer);
    facts(&message.properties, composer);
    let date = parsed.as_ref().and_then(|parsed| parsed.header_raw("Date")).map(|date| date.trim().to_owned());
    let when = composer.metadata.sent_at.or(composer.metadata.received_at);
    let date = date.or_else(|| when.map(Timestamp::rfc3339));
    let names: Vec<String> =
        message.attachments.iter().zip(1..).map(|(one, number)| attachment_name(&one.properties, number)).collect();
    mail::head(composer, date.as_deref(), &names);
    fields(&message.properties, composer);
    composer.push("\n");
    let start = composer.begin_span();
    body(&message.properties, composer);
    mail::identify(composer, start, digests);
}

fn people(message: &Message, composer: &mut Composer) {
    let bag = &message.properties;
    let metadata = &mut composer.metadata;
    let author = |name, smtp, kind, address| person(bag.text(name), address_of(bag, smtp, kind, address));
    let represented = author(
        id::SENT_REPRESENTING_NAME,
        id::SENT_REPRESENTING_SMTP,
        id::SENT_REPRESENTING_TYPE,
        id::SENT_REPRESENTING_ADDRESS,
    );
    let sender = author(id::SENDER_NAME, id::SENDER_SMTP, id::SENDER_TYPE, id::SENDER_ADDRESS);
    let from = represented.or(sender);
    // The headers know the address where the store knows only a name within its organisation.
    let better = from.as_ref().is_some_and(|from| from.contains('@')) || metadata.from.is_none();
    if better {
        metadata.from = from.or(metadata.from.take());
    }
    let mut lists = [Vec::new(), Vec::new(), Vec::new()];
    for recipient in &message.recipients {
        let name = recipient.text(id::RECIPIENT_DISPLAY_NAME).or_else(|| recipient.text(id::DISPLAY_NAME));
        let address = address_of(recipient, id::SMTP_ADDRESS, id::ADDRESS_TYPE, id::EMAIL_ADDRESS);
        let [to, cc, bcc] = &mut lists;
        let list = match recipient.integer(id::RECIPIENT_TYPE).unwrap_or(1) & 0xf {
            2 => cc,
            3 => bcc,
            _ => to,
        };
        list.extend(person(name, address));
    }
    let shown = [id::DISPLAY_TO, id::DISPLAY_CC, id::DISPLAY_BCC];
    let kept = [&mut metadata.to, &mut metadata.cc, &mut metadata.bcc];
    for ((list, shown), kept) in lists.into_iter().zip(shown).zip(kept) {
        if !list.is_empty() {
            *kept = list;
        } else if kept.is_empty() {
            let line = bag.text(shown).unwrap_or_default();
            *kept = line.split(';').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect();
        }
    }
}

/// An address people write to, else the one of the store's own kind.
fn address_of(bag: &Properties, smtp: u16, kind: u16, address: u16) -> Option<String> {
    bag.text(smtp).or_else(|| {
        let foreign = bag.text(kind).is_some_and(|kind| kind.eq_ignore_ascii_case("EX"));
        bag.text(address).filter(|address| !foreign || address.contains('@'))
    })
}

/// `Name <address>`, or whichever part exists.
fn person(name: Option<String>, address: Option<String>) -> Option<String> {
    let trimmed = |part: Option<String>| {
        let part = part?.trim().trim_matches('\'').to_owned();
        (!part.is_empty()).then_some(part)
    };
    match (trimmed(name), trimmed(address)) {
        (Some(name), Some(address)) if name.eq_ignore_ascii_case(&address) => Some(address),
        (Some(name), Some(address)) if name.ends_with(&format!("<{address}>")) => Some(name),
        (Some(name), Some(address)) => Some(format!("{name} <{address}>")),
        (name, address) => name.or(address),
    }
}

fn facts(bag: &Properties, composer: &mut Composer) {
    let metadata = &mut composer.metadata;
    metadata.subject = subject(bag).or(metadata.subject.take());
    metadata.sent_at = bag.time(id::CLIENT_SUBMIT_TIME).or(metadata.sent_at);
    metadata.received_at = bag.time(id::DELIVERY_TIME).or(metadata.received_at);
    metadata.created_at = bag.time(id::CREATED);
    metadata.modified_at = bag.time(id::MODIFIED);
    let identifiers = |id| bag.text(id).map(|text| mail::identifiers(&text)).unwrap_or_default();
    let first = |id| identifiers(id).into_iter().next();
    metadata.message_id = first(id::INTERNET_MESSAGE_ID).or(metadata.message_id.take());
    metadata.in_reply_to = first(id::IN_REPLY_TO).or(metadata.in_reply_to.take());
    let references = identifiers(id::INTERNET_REFERENCES);
    if !references.is_empty() {
        metadata.references = references;
    }
    if let Some(index) = bag.binary(id::CONVERSATION_INDEX) {
        metadata.conversation_index = Some(mail::hex(index));
    }
    for (name, id) in [("message-class", id::MESSAGE_CLASS), ("conversation-topic", id::CONVERSATION_TOPIC)] {
        if let Some(text) = bag.text(id) {
            metadata.extra.insert(name.to_owned(), text);
        }
    }
}

/// The subject. Stores keep the length of its prefix in its first two characters (MS-PST 2.5.3.1.1.1).
pub(crate) fn subject(bag: &Properties) -> Option<String> {
    let whole = bag.text(id::SUBJECT).map(|subject| match subject.strip_prefix('\u{1}') {
        Some(rest) => rest.chars().skip(1).collect(),
        None => subject,
    });
    let whole = whole.filter(|subject: &String| !subject.trim().is_empty());
    whole.or_else(|| {
        let prefix = bag.text(id::SUBJECT_PREFIX).unwrap_or_default();
        bag.text(id::NORMALIZED_SUBJECT).map(|rest| format!("{prefix}{rest}"))
    })
}

/// Fields of appointments, contacts and tasks: what stands in the form above the body.
fn fields(bag: &Properties, composer: &mut Composer) {
    let class = bag.text(id::MESSAGE_CLASS).unwrap_or_default().to_ascii_lowercase();
    let named = |set, ids: &[(&'static str, u32)]| -> Vec<(&'static str, u16)> {
        ids.iter().filter_map(|(label, id)| Some((*label, bag.named(set, *id)?))).collect()
    };
    let mut rows: Vec<(&str, u16)> = Vec::new();
    if class.starts_with("ipm.appointment") || class.starts_with("ipm.schedule") {
        let start = [("Start", bag.named(names::APPOINTMENT, 0x820d).unwrap_or(id::START_DATE))];
        rows.extend(start);
        rows.extend([("End", bag.named(names::APPOINTMENT, 0x820e).unwrap_or(id::END_DATE))]);
        rows.extend(named(names::APPOINTMENT, APPOINTMENT));
    } else if class.starts_with("ipm.contact") || class.starts_with("ipm.distlist") {
        rows.extend(CONTACT);
        rows.extend(named(names::ADDRESS, ADDRESSES));
    } else if class.starts_with("ipm.task") {
        rows.extend(named(names::TASK, TASK));
    }
    for (label, id) in rows {
        let value = bag.text(id).or_else(|| bag.time(id).map(Timestamp::rfc3339));
        if let Some(value) = value {
            composer.push(&format!("{label}: {}\n", value.trim()));
        }
    }
}

const APPOINTMENT: &[(&str, u32)] =
    &[("Location", 0x8208), ("Recurrence", 0x8232), ("Required", 0x823b), ("Optional", 0x823c)];
const TASK: &[(&str, u32)] = &[("Start", 0x8104), ("Due", 0x8105), ("Completed", 0x810f), ("Owner", 0x811f)];
const CONTACT: &[(&str, u16)] = &[
    ("Name", id::DISPLAY_NAME),
    ("Given name", 0x3a06),
    ("Surname", 0x3a11),
    ("Job title", 0x3a17),
    ("Department", 0x3a18),
    ("Company", 0x3a16),
    ("Business telephone", 0x3a08),
    ("Home telephone", 0x3a09),
    ("Mobile telephone", 0x3a1c),
    ("Business fax", 0x3a24),
    ("Street", 0x3a29),
    ("City", 0x3a27),
    ("Postal code", 0x3a2a),
    ("Country", 0x3a26),
    ("Web page", 0x3a51),
    ("Birthday", 0x3a42),
];
const ADDRESSES: &[(&str, u32)] = &[
    ("E-mail", 0x8083),
    ("E-mail 2", 0x8093),
    ("E-mail 3", 0x80a3),
    ("Home address", 0x801a),
    ("Business address", 0x801b),
    ("Other address", 0x801c),
    ("Instant messaging", 0x8062),
];

/// The body: plain, else HTML, else what the RTF wraps.
fn body(bag: &Properties, composer: &mut Composer) {
    if let Some(text) = bag.text(id::BODY) {
        composer.push(&text);
    } else if let Some(page) = bag.html() {
        html::write(&page, composer);
    } else if let Some(rtf) = bag.binary(id::RTF_COMPRESSED).and_then(|bytes| squeezed::expand(bytes, MOST_RTF)) {
        match rtf::unwrap(&rtf, MOST_RTF) {
            Unwrapped::Html(page) => html::write(&page, composer),
            Unwrapped::Plain(text) => composer.push(&text),
        }
    }
}

/// The page a message shows, for what refers to its pictures: HTML, or the HTML its RTF wraps.
pub(crate) fn page(bag: &Properties) -> Option<String> {
    if let Some(page) = bag.html() {
        return Some(page.into_owned());
    }
    let rtf = squeezed::expand(bag.binary(id::RTF_COMPRESSED)?, MOST_RTF)?;
    match rtf::unwrap(&rtf, MOST_RTF) {
        Unwrapped::Html(page) => Some(page),
        Unwrapped::Plain(_) => None,
    }
}

/// The attachment's name; for one without, its position and what it is.
fn attachment_name(bag: &Properties, number: u32) -> String {
    let is_message = bag.method() == Method::Message;
    let given = [id::ATTACH_LONG_FILENAME, id::ATTACH_FILENAME, id::DISPLAY_NAME].into_iter();
    let given = given.filter_map(|id| bag.text(id)).map(|name| name.trim().to_owned()).next();
    let extension = bag.text(id::ATTACH_EXTENSION).unwrap_or_default();
    match given {
        Some(name) if is_message && !name.to_ascii_lowercase().ends_with(".msg") => format!("{name}.msg"),
        Some(name) => name,
        None if is_message => format!("message-{number}.msg"),
        None => format!("attachment-{number}{}", if extension.starts_with('.') { &extension } else { ".bin" }),
    }
}

/// An attachment as a member of its message; `page` is the message's [`page`].
pub(crate) fn attachment_head(bag: &Properties, number: u32, page: Option<&str>) -> MemberHead {
    MemberHead {
        ordinal: 0,
        path: attachment_name(bag, number),
        modified: bag.time(id::MODIFIED),
        inline: is_inline(bag, page),
    }
}

/// True for a picture that the body shows: it has a content id, and is hidden, said to be rendered, or referred to.
fn is_inline(bag: &Properties, page: Option<&str>) -> bool {
    /// `ATT_MHTML_REF`: the body refers to it (MS-OXCMSG 2.2.2.18).
    const RENDERED: i64 = 4;
    let name = attachment_name(bag, 0).to_ascii_lowercase();
    let picture = bag.text(id::ATTACH_MIME_TAG).is_some_and(|kind| kind.to_ascii_lowercase().starts_with("image/"))
        || [".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".emz", ".wmz"].iter().any(|end| name.ends_with(end));
    let Some(content_id) = bag.text(id::ATTACH_CONTENT_ID).filter(|_| picture) else { return false };
    let reference = format!("cid:{}", content_id.trim_matches(['<', '>']));
    bag.is_set(id::ATTACHMENT_HIDDEN)
        || bag.integer(id::ATTACH_FLAGS).is_some_and(|flags| flags & RENDERED != 0)
        || page.is_some_and(|page| page.contains(&reference))
}
