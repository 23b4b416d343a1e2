//! Outlook's messages, alone (MSG), in transport (`winmail.dat`) and in stores (PST).

use std::io::{Cursor, Write};

use cfb::CompoundFile;
use domain::{outcome::Category, text::Text};
use pipeline::{Format, identify};

use crate::machine::{category, check, extract, file, reader, unpack};

fn read(name: &str) -> Text {
    extract(&reader(), name, &file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The text of a member, by its position.
pub(crate) fn inside(bytes: &[u8], format: Format, at: usize) -> Text {
    let (result, members) = unpack(&reader(), format, bytes);
    result.unwrap();
    let (head, content, failure) = &members.0[at];
    assert!(failure.is_none(), "{failure:?}");
    extract(&reader(), &head.path, content).unwrap()
}

#[test]
fn outlook_message() {
    let text = read("fake-email-with-cc-and-bcc.msg");
    let found = &text.metadata;
    assert_eq!(found.subject.as_deref(), Some("Fake email with cc and bcc recipients"));
    assert_eq!(found.from.as_deref(), Some("John <johnjennings702@gmail.com>"));
    assert_eq!(found.to, ["John Jennings <john-ctr@unstructured.io>"]);
    assert_eq!(
        (found.cc.as_slice(), found.bcc.as_slice()),
        (&["steve@unstructured.io".to_owned()][..], &["hello@unstructured.io".to_owned()][..])
    );
    assert_eq!(found.sent_at.unwrap().rfc3339(), "2024-07-29T20:38:11Z");
    assert_eq!(found.extra["date"], "2024-07-29T16:38:11-04:00");
    assert!(found.message_id.is_some() && found.message_hash.is_some() && found.content_hash.is_some());
    assert!(text.text.contains("\n\nThis is a test email. Please ignore.\n\nAll the best,\nJohn"), "{}", text.text);
}

#[test]
fn outlook_items_other_than_mail() {
    let text = read("testMSG_Contact.msg").text;
    assert!(
        text.contains("Name: Dr Quick Brown Fox Jr\n") && text.contains("E-mail: quickbrown@gmail.com\n"),
        "{text}"
    );
    let text = read("testMSG_Appointment.msg").text;
    assert!(
        text.contains("Start: 2017-02-28T18:30:00Z\nEnd: 2017-02-28T19:00:00Z\nLocation: under lazy dog\n"),
        "{text}"
    );
}

/// A directory that is not sorted, which Outlook opens all the same; and a body that is nothing but HTML.
#[test]
fn outlook_message_of_a_foreign_writer() {
    let text = read("simple_msg_alt.msg");
    assert!(text.text.ends_with("\n\nThis is a message") || text.text.contains("\n\n"), "{}", text.text);
    assert_eq!(text.metadata.subject.as_deref(), Some("This is the subject"));
}

#[test]
fn outlook_attachments() {
    let (result, members) = unpack(&reader(), Format::Msg, &file("fake_email_attachment.msg"));
    assert_eq!(result.unwrap().failed, 0);
    let (head, content, _) = &members.0[0];
    assert_eq!((head.path.as_str(), head.inline), ("fake-attachment.txt", false));
    assert_eq!(String::from_utf8_lossy(content).trim(), "Hey this is a fake attachment!");
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

type Compound = CompoundFile<Cursor<Vec<u8>>>;

fn put(target: &mut Compound, path: &str, bytes: &[u8]) {
    target.create_stream(path).unwrap().write_all(bytes).unwrap();
}

/// A property list with a header of so many bytes and one number (id, value) for each pair.
fn list(header: usize, numbers: &[(u16, u32)]) -> Vec<u8> {
    let mut bytes = vec![0; header];
    for (id, value) in numbers {
        bytes.extend(3_u16.to_le_bytes());
        bytes.extend(id.to_le_bytes());
        bytes.extend(6_u32.to_le_bytes());
        bytes.extend(value.to_le_bytes());
        bytes.extend([0; 4]);
    }
    bytes
}

/// A message with a picture its body shows, a message within it, and an attachment that is only a path.
fn family() -> Vec<u8> {
    let mut target = CompoundFile::create(Cursor::new(Vec::new())).unwrap();
    put(&mut target, "/__properties_version1.0", &list(32, &[(0x3fde, 65001)]));
    put(&mut target, "/__substg1.0_0037001F", &utf16("Lease"));
    put(&mut target, "/__substg1.0_10130102", "<p>see <img src=\"cid:logo@1\"> d\u{e9}j\u{e0}".as_bytes());
    target.create_storage("/__attach_version1.0_#00000000").unwrap();
    put(&mut target, "/__attach_version1.0_#00000000/__properties_version1.0", &list(8, &[(0x3705, 1)]));
    put(&mut target, "/__attach_version1.0_#00000000/__substg1.0_3707001F", &utf16("logo.png"));
    put(&mut target, "/__attach_version1.0_#00000000/__substg1.0_3712001F", &utf16("logo@1"));
    put(&mut target, "/__attach_version1.0_#00000000/__substg1.0_37010102", b"\x89PNG");
    target.create_storage("/__attach_version1.0_#00000001").unwrap();
    put(&mut target, "/__attach_version1.0_#00000001/__properties_version1.0", &list(8, &[(0x3705, 5)]));
    put(&mut target, "/__attach_version1.0_#00000001/__substg1.0_3001001F", &utf16("Inner"));
    let inner = "/__attach_version1.0_#00000001/__substg1.0_3701000D";
    target.create_storage(inner).unwrap();
    put(&mut target, &format!("{inner}/__properties_version1.0"), &list(24, &[(0x3ffd, 1251)]));
    put(&mut target, &format!("{inner}/__substg1.0_0037001E"), b"\xc4\xee\xe3\xee\xe2\xee\xf0");
    put(&mut target, &format!("{inner}/__substg1.0_1000001E"), b"\xd2\xe5\xea\xf1\xf2");
    target.create_storage("/__attach_version1.0_#00000002").unwrap();
    put(&mut target, "/__attach_version1.0_#00000002/__properties_version1.0", &list(8, &[(0x3705, 2)]));
    put(&mut target, "/__attach_version1.0_#00000002/__substg1.0_3707001F", &utf16("plan.doc"));
    target.flush().unwrap();
    target.into_inner().into_inner()
}

#[test]
fn outlook_families() {
    let bytes = family();
    let text = extract(&reader(), "a.msg", &bytes).unwrap();
    assert_eq!(text.text, "Subject: Lease\nAttachments: logo.png; Inner.msg; plan.doc\n\nsee d\u{e9}j\u{e0}");
    let (result, members) = unpack(&reader(), Format::Msg, &bytes);
    assert_eq!((result.unwrap().members, members.0.len()), (3, 3));
    let seen: Vec<(&str, bool)> = members.0.iter().map(|(head, ..)| (head.path.as_str(), head.inline)).collect();
    assert_eq!(seen, [("logo.png", true), ("Inner.msg", false), ("plan.doc", false)]);
    assert_eq!(members.0[2].2.as_ref().unwrap().category, Category::Unsupported);
    let inner = &members.0[1].1;
    assert_eq!(identify(inner, "").format, Format::Msg);
    assert_eq!(unpack(&reader(), Format::Msg, &bytes).1.0[1].1, *inner, "the same bytes every time");
    let inner = extract(&reader(), "inner.msg", inner).unwrap();
    assert_eq!(
        inner.text,
        "Subject: \u{414}\u{43e}\u{433}\u{43e}\u{432}\u{43e}\u{440}\n\n\u{422}\u{435}\u{43a}\u{441}\u{442}"
    );
}

#[test]
fn hostile_outlook_messages() {
    let bytes = family();
    for cut in (0..bytes.len()).step_by(509) {
        match reader().extract(Format::Msg, "cut.msg", &mut &bytes[..cut], &crate::machine::NEVER) {
            Ok(found) => check(&found.text),
            Err(pipeline::ReadError::Exception(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    // Every sector's successor is the next sector and the last one's the first: a loop through the whole file.
    let mut looped = bytes.clone();
    let table = u32::from_le_bytes(*looped[76..].first_chunk().unwrap()) as usize;
    let start = (table + 1) * 4096;
    let sectors = looped.len() / 4096 - 1;
    for sector in 0..sectors {
        let next = u32::try_from((sector + 1) % sectors).unwrap();
        looped[start + sector * 4..][..4].copy_from_slice(&next.to_le_bytes());
    }
    let _ = unpack(&reader(), Format::Msg, &looped);
    assert_eq!(category(extract(&reader(), "a.msg", &bytes[..600])), Category::Corrupt);
}

#[test]
fn outlook_stores() {
    let bytes = file("testPST_variousBodyTypes.pst");
    let (result, members) = unpack(&reader(), Format::Pst, &bytes);
    let paths: Vec<&str> = members.0.iter().map(|(head, ..)| head.path.as_str()).collect();
    assert_eq!(result.unwrap().failed, 0);
    let folder = "Top of Outlook data file/Inbox/tmp";
    let forwarded = format!("{folder}/FW: original email.msg");
    assert_eq!(paths, [&format!("{folder}/original email.msg"), &forwarded, &forwarded, &forwarded]);
    let ends = ["the original email (html)", "Forwarded (html)", "Forwarded RTF", "Forwarded plain text"];
    for (at, end) in ends.iter().enumerate() {
        let text = inside(&bytes, Format::Pst, at);
        assert_eq!(text.metadata.from.as_deref(), Some("Allison, Timothy B. <tallison@mitre.org>"));
        assert!(!members.0[at].1.windows(4).any(|four| four == b"\x01\0\x01\0" || four == b"\x01\0\x05\0"));
        assert!(text.metadata.conversation_index.is_some() && text.metadata.sent_at.is_some());
        assert!(text.text.ends_with(end), "{}", text.text);
    }
    assert!(extract(&reader(), "a.pst", &bytes).unwrap().text.contains(paths[0]));
}

#[test]
fn hostile_outlook_stores() {
    let bytes = file("testPST_variousBodyTypes.pst");
    assert_eq!(category(extract(&reader(), "a.pst", &bytes[..300])), Category::Corrupt);
    let mut large_pages = bytes.clone();
    large_pages[10] = 36;
    assert_eq!(category(extract(&reader(), "a.ost", &large_pages)), Category::Unsupported);
    for cut in [1_000, 20_000, 100_000, 200_000] {
        match unpack(&reader(), Format::Pst, &bytes[..cut]).0 {
            Ok(_) | Err(pipeline::ReadError::Exception(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// An attribute of `winmail.dat`: level, number, data, checksum.
fn attribute(level: u8, id: u32, data: &[u8]) -> Vec<u8> {
    let sum = data.iter().fold(0_u16, |sum, byte| sum.wrapping_add(u16::from(*byte)));
    let length = u32::try_from(data.len()).unwrap();
    [&[level][..], &id.to_le_bytes(), &length.to_le_bytes(), data, &sum.to_le_bytes()].concat()
}

/// A list of properties that have one long value each.
fn long_values(values: &[(u32, &[u8])]) -> Vec<u8> {
    let word = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
    let mut bytes = word(values.len()).to_vec();
    for (tag, value) in values {
        bytes.extend([tag.to_le_bytes(), word(1), word(value.len())].concat());
        bytes.extend(*value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

fn winmail() -> Vec<u8> {
    let mut bytes = b"\x78\x9f\x3e\x22\x01\0".to_vec();
    bytes.extend(attribute(1, 0x0006_9007, &[0xe3, 4, 0, 0, 0, 0, 0, 0]));
    bytes.extend(attribute(1, 0x0001_8004, b"\xc4\xee\xe3\xee\xe2\xee\xf0\0"));
    let inner = [&b"\x78\x9f\x3e\x22\x01\0"[..], &attribute(1, 0x0001_8004, b"Inner\0")].concat();
    let body = utf16("The body");
    bytes.extend(attribute(1, 0x0006_9003, &long_values(&[(0x1000_001f, &body), (0x0042_001e, b"Ann\0")])));
    bytes.extend(attribute(2, 0x0006_9002, &[0; 14]));
    bytes.extend(attribute(2, 0x0001_8010, b"short~1.txt\0"));
    bytes.extend(attribute(2, 0x0006_800f, b"content"));
    bytes.extend(attribute(2, 0x0006_9005, &long_values(&[(0x3707_001e, b"long name.txt\0")])));
    bytes.extend(attribute(2, 0x0006_9002, &[0; 14]));
    let message = [&[7, 3, 2, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46][..], &inner].concat();
    let method = [&3_u16.to_le_bytes()[..], &0x3705_u16.to_le_bytes(), &5_u32.to_le_bytes()].concat();
    let mut object = long_values(&[(0x3001_001e, b"Forwarded\0"), (0x3701_000d, &message)]);
    object[0] = 3;
    object.extend(method);
    bytes.extend(attribute(2, 0x0006_9005, &object));
    bytes
}

#[test]
fn winmail_dat() {
    let bytes = winmail();
    let text = extract(&reader(), "winmail.dat", &bytes).unwrap();
    assert_eq!(identify(&bytes, "winmail.dat").format, Format::Tnef);
    assert!(!identify(&bytes, "winmail.dat").extension_mismatch);
    assert_eq!(text.text, "From: Ann\nSubject: Договор\nAttachments: long name.txt; Forwarded.msg\n\nThe body");
    let (result, members) = unpack(&reader(), Format::Tnef, &bytes);
    assert_eq!((result.unwrap().failed, members.0[0].1.as_slice()), (0, &b"content"[..]));
    assert_eq!(extract(&reader(), "inner", &members.0[1].1).unwrap().text, "Subject: Inner");
    let mail = format!(
        "From: a@x\nTo: b@x\nSubject: s\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nbody\n\
        --b\nContent-Type: application/ms-tnef; name=winmail.dat\nContent-Transfer-Encoding: base64\n\n{}\n--b--\n",
        base64(&bytes)
    );
    let (_, members) = unpack(&reader(), Format::Eml, mail.as_bytes());
    assert_eq!((members.0[0].0.path.as_str(), &members.0[0].1), ("winmail.dat", &bytes));
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let word = three.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..4 {
            let at = (word >> (18 - 6 * digit)) & 63;
            text.push(if digit > three.len() { '=' } else { char::from(DIGITS[at as usize]) });
        }
        if text.len() % 77 == 76 {
            text.push('\n');
        }
    }
    text
}

#[test]
fn hostile_winmail_dat() {
    let bytes = winmail();
    for cut in (0..bytes.len()).step_by(7) {
        let _ = unpack(&reader(), Format::Tnef, &bytes[..cut]);
        if cut % 3 == 0 {
            let mut lying = bytes.clone();
            lying[cut] ^= 0xff;
            match reader().extract(Format::Tnef, "x", &mut &lying[..], &crate::machine::NEVER) {
                Ok(found) => check(&found.text),
                Err(pipeline::ReadError::Exception(exception)) => assert_ne!(exception.category, Category::Crashed),
                Err(error) => panic!("{error}"),
            }
        }
    }
    // A message in a message in a message …
    let mut nested = b"\x78\x9f\x3e\x22\x01\0".to_vec();
    for _ in 0..300 {
        let object = [&[7, 3, 2, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46][..], &nested].concat();
        nested = b"\x78\x9f\x3e\x22\x01\0".to_vec();
        nested.extend(attribute(2, 0x0006_9002, &[0; 14]));
        nested.extend(attribute(2, 0x0006_9005, &long_values(&[(0x3701_000d, &object)])));
    }
    assert!(unpack(&reader(), Format::Tnef, &nested).0.is_ok());
}

/// An offline store, and a header whose checksums are wrong.
#[test]
fn offline_stores() {
    let mut bytes = file("testPST_variousBodyTypes.pst");
    bytes[8..10].copy_from_slice(b"SO");
    bytes[12] = 12;
    let (result, members) = unpack(&reader(), Format::Pst, &bytes);
    assert_eq!((result.unwrap().members, members.0.len()), (4, 4));
}
