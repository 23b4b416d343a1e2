//! Members of archives, messages and mailboxes.

use std::io::{self, Cursor, Write};

use domain::outcome::{Category, Exception};
use pipeline::{Format, Limits, MemberHead, MemberSink, ReadError, Unpacked};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::machine::{NEVER, category, extract, file, limited, reader, unpack};

pub fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        writer.start_file(*name, SimpleFileOptions::default().compression_method(CompressionMethod::Deflated)).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn archive_members_come_in_order_and_their_names_are_only_data() {
    let names = ["a.txt", "../../etc/passwd", "C:\\windows\\x", "/root/y", "d/e/\u{fc}.txt"];
    let members: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, name.as_bytes())).collect();
    let bytes = zip(&members);
    let (result, found) = unpack(&reader(), Format::Zip, &bytes);
    assert_eq!(
        result.unwrap(),
        Unpacked {
            members: 5,
            failed: 0,
            bytes: names.iter().map(|name| name.len() as u64).sum(),
            ..Unpacked::default()
        }
    );
    for ((head, content, failure), (name, ordinal)) in found.0.iter().zip(names.iter().zip(0..)) {
        assert_eq!((head.path.as_str(), head.ordinal, content.as_slice()), (*name, ordinal, name.as_bytes()));
        assert!(head.modified.is_some() && failure.is_none());
    }
    assert_eq!(extract(&reader(), "a.zip", &bytes).unwrap().text.lines().collect::<Vec<_>>(), names);
}

#[test]
fn a_locked_member_fails_alone() {
    let mut bytes = zip(&[("locked.txt", b"x"), ("open.txt", b"y")]);
    // Bit 0 of the flags, in the first local header and the first directory entry (APPNOTE.TXT 4.4.4).
    let entry = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    bytes[6] |= 1;
    bytes[entry + 8] |= 1;
    let (result, found) = unpack(&reader(), Format::Zip, &bytes);
    assert_eq!(result.unwrap().failed, 1);
    assert_eq!(found.0[0].2.as_ref().unwrap().category, Category::Encrypted);
    assert_eq!(found.0[1].1, b"y");
}

#[test]
fn a_damaged_member_fails_alone() {
    let mut bytes = zip(&[("a.txt", &b"some text that deflates to something ".repeat(20)), ("b.txt", b"y")]);
    for byte in &mut bytes[40..60] {
        *byte ^= 0x55;
    }
    let (result, found) = unpack(&reader(), Format::Zip, &bytes);
    assert_eq!(result.unwrap().failed, 1);
    assert_eq!(found.0[0].2.as_ref().unwrap().category, Category::Corrupt);
    assert_eq!(found.0[1].1, b"y");
}

#[test]
fn bombs_are_named() {
    let zeros = vec![0; 30 << 20];
    let bytes = zip(&[("a", b"good"), ("zeros", &zeros)]);
    let (result, found) = unpack(&reader(), Format::Zip, &bytes);
    assert_eq!(category(result), Category::ArchiveBomb);
    assert_eq!(found.0[0].1, b"good");
    assert!(found.0[1].1.len() < 20 << 20, "the bomb went off");
    let (result, _) = unpack(&limited(Limits { max_unpacked_bytes: 1000, ..Limits::default() }), Format::Zip, &bytes);
    assert_eq!(category(result), Category::ArchiveBomb);
    let (result, found) = unpack(&limited(Limits { max_members: 1, ..Limits::default() }), Format::Zip, &bytes);
    assert_eq!(category(result), Category::TooManyMembers);
    assert!(found.0.is_empty());
}

#[test]
fn attachments_keep_their_bytes() {
    let (result, found) = unpack(&reader(), Format::Eml, &file("mailgun_pdf_attachment.eml"));
    assert_eq!(result.unwrap().members, 1);
    assert_eq!(found.0[0].0.path, "test.pdf");
    let message = "From: a@x\nSubject: s\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n\
        --b\nContent-Type: text/html\n\n<img src=\"cid:pic\">\n\
        --b\nContent-Type: text/plain; charset=iso-8859-1; name=latin.txt\nContent-Disposition: attachment\nContent-Transfer-Encoding: base64\n\nU3RyYd9l\n\
        --b\nContent-Type: image/png; name=logo.png\nContent-ID: <pic>\nContent-Transfer-Encoding: base64\n\niVBORw==\n\
        --b\nContent-Type: message/rfc822\n\nFrom: b@x\nSubject: inner: one\n\nhello\n--b--\n";
    let (result, found) = unpack(&reader(), Format::Eml, message.as_bytes());
    assert_eq!(result.unwrap().members, 3);
    let seen: Vec<(&str, bool)> = found.0.iter().map(|(head, ..)| (head.path.as_str(), head.inline)).collect();
    assert_eq!(seen, [("latin.txt", false), ("logo.png", true), ("inner: one.eml", false)]);
    assert_eq!(found.0[0].1, b"Stra\xdfe");
    assert!(found.0[2].1.starts_with(b"From: b@x"));
}

#[test]
fn mailboxes_are_split() {
    let (result, found) = unpack(&reader(), Format::Mbox, &file("complex.mbox"));
    assert_eq!(result.unwrap().members as usize, found.0.len());
    assert!(found.0.len() > 1);
    assert_eq!(found.0[0].0.path, "message-000001.eml");
    let text = extract(&reader(), "m.eml", &found.0[0].1).unwrap();
    assert!(text.metadata.subject.unwrap().contains("shuffle/sort"));
}

#[test]
fn other_formats_have_no_members() {
    assert_eq!(unpack(&reader(), Format::Png, b"x").0.unwrap(), Unpacked::default());
}

/// The rule of `Limits::max_depth` as its caller keeps it: what lies too deep is refused at its first member, and no byte of
/// it is taken.
#[test]
fn nesting_ends_where_the_caller_says() {
    struct Refusing;
    impl MemberSink for Refusing {
        fn begin(&mut self, _: &MemberHead) -> io::Result<()> {
            Err(io::Error::other("too deep"))
        }
        fn data(&mut self, _: &[u8]) -> io::Result<()> {
            panic!("bytes after a refusal")
        }
        fn end(&mut self) -> io::Result<()> {
            panic!("an end after a refusal")
        }
        fn failed(&mut self, _: Exception) -> io::Result<()> {
            panic!("a failure after a refusal")
        }
    }
    let limits = Limits { max_depth: 3, ..Limits::default() };
    let mut bytes = zip(&[("core.txt", b"core")]);
    for _ in 0..30 {
        bytes = zip(&[("inner.zip", &bytes)]);
    }
    let reader = limited(limits);
    let mut depth = 0;
    let category = loop {
        if depth >= reader.settings().limits.max_depth {
            let refused = reader.unpack(Format::Zip, "archive.zip", &mut &bytes[..], &mut Refusing, &NEVER);
            assert!(matches!(refused, Err(ReadError::Io(_))), "{refused:?}");
            break Category::TooDeep;
        }
        let (result, found) = unpack(&reader, Format::Zip, &bytes);
        assert_eq!(result.unwrap().members, 1, "one level at a time");
        bytes = found.0[0].1.clone();
        depth += 1;
    };
    assert_eq!((category, depth), (Category::TooDeep, 3));
}
