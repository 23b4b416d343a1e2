//! Rich text, `OpenDocument` and books: real files whose words are known, small ones made for what is rare, hostile ones.

use std::collections::BTreeSet;

use domain::{outcome::Category, text::Text};
use pipeline::{Format, ReadError, identify};

use crate::{
    containers::zip,
    machine::{NEVER, category, extract, file, reader, secrets},
};

fn read(name: &str) -> Text {
    extract(&reader(), name, &file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn headings(text: &Text) -> Vec<&str> {
    text.headings.iter().map(|heading| text.slice(heading.start..heading.end).unwrap()).collect()
}

fn extra<'a>(text: &'a Text, name: &str) -> Option<&'a str> {
    text.metadata.extra.get(name).map(String::as_str)
}

fn rtf(bytes: &[u8]) -> Text {
    extract(&reader(), "made.rtf", bytes).unwrap()
}

#[test]
fn rich_text() {
    let text = read("footnote.rtf").text;
    assert!(text.starts_with("Mead's landmark study has been amply annotated."), "{text}");
    assert!(text.contains("Margaret Mead.\nSee Sahlins, Bateson, and Geertz for a complete bibliography.\n"), "{text}");
    let text = read("testRTFTIKA_1713.rtf").text;
    assert!(text.contains("Attachments:\nREDACTED.pptx (1.2 MB)\nREDACTED.docx (35 KB)"), "{text}");
}

#[test]
fn rich_text_letters() {
    let cases: [(&[u8], &str); 8] = [
        (br"{\rtf1\ansi\ansicpg1252 Stra\'dfe \u8364?5 \uc2\u20320\'c4\'e3\u22909 ab.}", "Straße €5 你好."),
        (
            br"{\rtf1\ansi{\fonttbl{\f0 A;}{\f1\fcharset204 B;}}\f1\'c4\'ee\'e3\'ee\'e2\'ee\'f0{\f0 \'e9}\'e0}",
            "Договорéа",
        ),
        (br"{\rtf1\ansi\ansicpg932 \'8c\'5f\'96\'f1}", "契約"),
        (br"{\rtf1\ansi \u-10179?\u-8704?!}", "😀!"),
        (br"{\rtf1\pca \'81ber}", "über"),
        (br"{\rtf1 \lquote a\rquote  \endash  b\~c\_d\-e \{x\}}", "‘a’ – b\u{a0}c-de {x}"),
        (br"{\rtf1 {\upr{ansi}{\*\ud{uni}}} text}", "uni text"),
        (b"{\\rtf1 one\\\ntwo}", "one\ntwo"),
    ];
    for (bytes, expected) in cases {
        assert_eq!(rtf(bytes).text, expected);
    }
}

#[test]
fn rich_text_structure() {
    let text = rtf(
        br"{\rtf1\ansi{\stylesheet{\s1 heading 1;}{\s2 Normal;}}{\*\revtbl{Unknown;}{Jane Roe;}}{\colortbl;\red0;}
{\info{\title The {\b title}}{\author A. Lawyer}{\creatim\yr2024\mo1\dy31\hr9\min30}}
{\header Page header\par}{\footer Foot}{\header Page header\par}
\pard\s1 Chapter\par\pard\s2 We are {\deleted\revauthdel1 not }{\revised\revauth1 fully }liable{\v secret}.{\*\atnauthor John}{\*\annotation Why?}\par
{\*\generator Word;}{\pict\wmetafile8 0102}{\field{\*\fldinst HYPERLINK http://x}{\fldrslt the link}}{\object\objemb{\*\objdata 00ff}{\result shown}}\par
\trowd\cellx1\cellx2\pard\intbl one\par two\cell b\cell\row \pard after\par
{\shp{\*\shpinst{\sp{\sn name}{\sv value}}{\shptxt in a box\par}}{\shprslt no}}}",
    );
    assert_eq!(
        text.text,
        "Chapter\nWe are fully liable.\nthe linkshown\none\ntwo\tb\nafter\nin a box\nPage header\nFoot\n\
         [Deleted by Jane Roe] not\n[Inserted by Jane Roe] fully\n[Hidden text] secret\n[Comment by John] Why?"
    );
    assert_eq!(headings(&text), ["Chapter"]);
    assert_eq!(text.metadata.title.as_deref(), Some("The title"));
    assert_eq!(text.metadata.created_at.unwrap().rfc3339(), "2024-01-31T09:30:00Z");
    assert_eq!((extra(&text, "deletions"), extra(&text, "embedded_objects")), (Some("1"), Some("1")));
}

#[test]
fn hostile_rich_text() {
    let deep = format!("{{\\rtf1 {}core", "{\\b ".repeat(200_000));
    let text = rtf(deep.as_bytes());
    assert_eq!(text.text, "core");
    assert_eq!(text.warnings[0].category, Category::Partial);
    assert_eq!(rtf(br"{\rtf1 a{\footnote cut sho").text, "a\ncut sho");
    assert_eq!(rtf(br"{\rtf1 a}}}}} b\bin999999999 lost").text, "a b");
    assert_eq!(rtf(b"{\\rtf1 a\\u99999999999999?\\'zz\\'\\").text, "a?zz");
    assert_eq!(category(extract(&reader(), "a.rtf", b"{\\rtf1 }")), Category::NoText);
    assert_eq!(category(reader().extract(Format::Rtf, "a.rtf", &mut &b"no rtf"[..], &NEVER)), Category::Corrupt);
}

#[test]
fn open_document() {
    let text = read("fake.odt");
    assert!(
        text.text.contains("Lorem ipsum dolor sit amet.\nHeader row\tMon\tWed\tFri\nColor\tBlue\tRed\tGreen\n"),
        "{}",
        text.text
    );
    let text = read("testFooter.odt").text;
    assert_eq!(text, "Here is some text...\nHere is some text on page 2\nHere is footer text");
    assert!(read("testODTStyles3.odt").text.contains("Publicatie Onbekwaamverklaring"), "the mimetype is compressed");
    assert_eq!(read("LibreOfficeImpress_odp_1.3.odp").text, "This is\nAn example Impress file\n");
}

const CONTENT: &str = r#"<?xml version="1.0"?><office:document-content xmlns:office="o" xmlns:text="t"><office:automatic-styles>
<style:style style:name="T1"><style:text-properties text:display="none"/></style:style>
<style:style style:name="dp1"><style:drawing-page-properties presentation:visibility="hidden"/></style:style></office:automatic-styles><office:body>"#;

fn odt(body: &str) -> Vec<u8> {
    let content = format!("{CONTENT}<office:text>{body}</office:text></office:body></office:document-content>");
    zip(&[("mimetype", b"application/vnd.oasis.opendocument.text"), ("content.xml", content.as_bytes())])
}

#[test]
fn open_document_marks() {
    let bytes = odt(r#"<text:tracked-changes>
<text:changed-region text:id="c1"><text:deletion><office:change-info><dc:creator>Jane Roe</dc:creator><dc:date>2024-01-31T10:00:00</dc:date></office:change-info><text:p>not</text:p></text:deletion></text:changed-region>
<text:changed-region text:id="c2"><text:insertion><office:change-info><dc:creator>Jane Roe</dc:creator></office:change-info></text:insertion></text:changed-region></text:tracked-changes>
<text:h text:outline-level="2">Terms</text:h>
<text:p>We are <text:change text:change-id="c1"/><text:change-start text:change-id="c2"/>fully<text:change-end text:change-id="c2"/> <text:span>lia</text:span>ble<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>A note.</text:p></text:note-body></text:note>,
   said<text:s text:c="2"/>Roe &amp; Co<office:annotation><dc:creator>John</dc:creator><dc:date>2024-02-01T08:00:00</dc:date><text:p>Why?</text:p></office:annotation>.<text:span text:style-name="T1">secret</text:span></text:p>
<table:table><table:table-row><table:table-cell><text:p>a</text:p><text:p>b</text:p></table:table-cell><table:table-cell><table:table><table:table-row><table:table-cell><text:p>c</text:p></table:table-cell></table:table-row></table:table></table:table-cell></table:table-row></table:table>"#);
    let text = extract(&reader(), "a.odt", &bytes).unwrap();
    assert_eq!(
        text.text,
        "Terms\nWe are fully liable, said  Roe & Co.\nA note.\na\nb\tc\n[Deleted by Jane Roe, 2024-01-31] not\n\
         [Inserted by Jane Roe] fully\n[Comment by John, 2024-02-01] Why?\n[Hidden text] secret"
    );
    assert_eq!(headings(&text), ["Terms"]);
    assert_eq!(text.headings[0].level, 2);
}

#[test]
fn open_document_slides() {
    let content = format!(
        "{CONTENT}<office:presentation><draw:page draw:name='One'><draw:frame><draw:text-box><text:p>First</text:p></draw:text-box></draw:frame>\
         <presentation:notes><text:p>Say hello</text:p></presentation:notes></draw:page>\
         <draw:page draw:name='Two' draw:style-name='dp1'><text:p>Second</text:p></draw:page></office:presentation>"
    );
    let styles = "<office:document-styles><style:master-page style:name='Default'>\
         <draw:frame presentation:class='title' presentation:placeholder='true'><draw:text-box><text:p>Click to edit</text:p></draw:text-box></draw:frame>\
         <draw:frame presentation:class='footer'><draw:text-box><text:p>Roe &amp; Co</text:p></draw:text-box></draw:frame>\
         <draw:frame presentation:class='page-number'><draw:text-box><text:p>&lt;number&gt;</text:p></draw:text-box></draw:frame>\
         <draw:custom-shape><text:p>CONFIDENTIAL</text:p></draw:custom-shape>\
         </style:master-page></office:document-styles>";
    let bytes = zip(&[
        ("mimetype", b"application/vnd.oasis.opendocument.presentation"),
        ("content.xml", content.as_bytes()),
        ("styles.xml", styles.as_bytes()),
    ]);
    let text = extract(&reader(), "a.odp", &bytes).unwrap();
    assert_eq!(text.text, "First\nSay hello\nSecond\nRoe & Co\nCONFIDENTIAL");
    assert_eq!(text.pages[1].label.as_deref(), Some("Two"));
    assert_eq!(extra(&text, "hidden_slides"), Some("2"));
}

#[test]
fn open_document_in_one_file() {
    let flat = "<?xml version='1.0'?><office:document office:mimetype='application/vnd.oasis.opendocument.text'>\
        <office:meta><dc:title>Flat</dc:title></office:meta><office:body><office:text><text:p>words<draw:image>\
        <office:binary-data>QUJD</office:binary-data></draw:image></text:p></office:text></office:body></office:document>";
    let text = extract(&reader(), "a.fodt", flat.as_bytes()).unwrap();
    assert_eq!((text.text.as_str(), text.metadata.title.as_deref()), ("words", Some("Flat")));
}

#[test]
fn hostile_open_document() {
    let deep = odt(&format!("{}<text:p>core", "<table:table-row><table:table-cell>".repeat(20_000)));
    assert_eq!(extract(&reader(), "deep.odt", &deep).unwrap().text, "core");
    let locked = zip(&[
        ("mimetype", b"application/vnd.oasis.opendocument.text"),
        ("content.xml", b"\x01\x02\x03"),
        ("META-INF/manifest.xml", b"<manifest:encryption-data/>"),
    ]);
    assert_eq!(category(extract(&reader(), "locked.odt", &locked)), Category::Encrypted);
    let empty = zip(&[("mimetype", b"application/vnd.oasis.opendocument.text")]);
    assert_eq!(category(extract(&reader(), "empty.odt", &empty)), Category::Corrupt);
    let damaged = odt("<text:p>kept</text:p><!-- never closed");
    let text = extract(&reader(), "damaged.odt", &damaged).unwrap();
    assert_eq!((text.text.as_str(), text.warnings[0].category), ("kept", Category::Partial));
    let spaces = odt("<text:p>a<text:s text:c='4000000000'/>b</text:p>");
    assert!(extract(&reader(), "spaces.odt", &spaces).unwrap().text.len() < 5000);
}

#[test]
fn books() {
    let text = read("eng_spa_mult.epub");
    assert!(text.text.starts_with("All human beings are born free and equal in dignity and rights."));
    let opf = "<package><metadata><dc:title>The book</dc:title><dc:creator>A</dc:creator><dc:creator>B</dc:creator></metadata>\
        <manifest><item id='one' href='text/b%20c.xhtml'/><item id='two' href='../first.xhtml'/></manifest>\
        <spine><itemref idref='two'/><itemref idref='one'/><itemref idref='gone'/></spine></package>";
    let container = "<container><rootfiles><rootfile full-path='OPS/book.opf' media-type='application/oebps-package+xml'/></rootfiles></container>";
    let parts: [(&str, &[u8]); 4] = [
        ("META-INF/container.xml", container.as_bytes()),
        ("OPS/book.opf", opf.as_bytes()),
        ("OPS/text/b c.xhtml", b"<html><title>t</title><body><h2>Two</h2><p>second</p></body></html>"),
        ("first.xhtml", b"<p>first</p>"),
    ];
    let bytes = zip(&parts);
    let text = extract(&reader(), "no-mimetype.epub", &bytes).unwrap();
    assert_eq!(text.text, "first\nTwo\nsecond");
    assert_eq!((text.metadata.title.as_deref(), text.metadata.author.as_deref()), (Some("The book"), Some("A; B")));
    assert_eq!((text.pages.len(), headings(&text)), (2, vec!["Two"]));
}

#[test]
fn hostile_books() {
    let container = "<container><rootfiles><rootfile full-path='a.opf' media-type='application/oebps-package+xml'/></rootfiles></container>";
    let lock = "<encryption><EncryptedData><EncryptionMethod Algorithm='http://www.w3.org/2001/04/xmlenc#aes128-cbc'/><CipherData><CipherReference URI='a.xhtml'/></CipherData></EncryptedData></encryption>";
    let parts: [(&str, &[u8]); 4] = [
        ("mimetype", b"application/epub+zip"),
        ("META-INF/container.xml", container.as_bytes()),
        ("META-INF/encryption.xml", lock.as_bytes()),
        ("a.xhtml", b"\x01\x02"),
    ];
    assert_eq!(category(extract(&reader(), "locked.epub", &zip(&parts))), Category::Encrypted);
    assert_eq!(category(extract(&reader(), "empty.epub", &zip(&parts[..2]))), Category::Corrupt);
}

#[test]
fn comments_of_old_word_documents_stand_beside_the_text() {
    let whole = file("simple.doc");
    let expected = extract(&reader(), "a.doc", &whole).unwrap().text;
    // The head of the stream of text counts the characters of the text and, sixteen bytes on, of the comments, which follow it. So
    // its last twenty become one.
    let head = whole.windows(2).position(|two| two == b"\xec\xa5").unwrap();
    let mut bytes = whole;
    let (text, comments) = (head + 76..head + 80, head + 92..head + 96);
    let length = u32::from_le_bytes(bytes[text.clone()].try_into().unwrap());
    bytes[text].copy_from_slice(&(length - 20).to_le_bytes());
    bytes[comments].copy_from_slice(&20_u32.to_le_bytes());
    let read = extract(&reader(), "a.doc", &bytes).unwrap();
    let (before, comment) = read.text.split_once("[Comment] ").unwrap();
    let plain = |text: &str| text.split_whitespace().collect::<String>();
    assert_eq!(plain(before) + &plain(comment), plain(&expected));
    assert_eq!(read.metadata.extra.get("comments").map(String::as_str), Some("1"));
}

#[test]
fn a_protected_old_presentation_is_named() {
    let mut bytes = file("testPPT_macros.ppt");
    // The mark of a presentation that is not encrypted (MS-PPT 2.3.2).
    let mark = bytes.windows(4).position(|four| four == b"\x5f\xc0\x91\xe3").unwrap();
    bytes[mark..mark + 4].copy_from_slice(b"\xdf\xc4\xd1\xf3");
    assert_eq!(category(extract(&reader(), "a.ppt", &bytes)), Category::Encrypted);
}

#[test]
fn open_documents_under_a_password() {
    for (name, original) in [("locked.odt", "fake.odt"), ("locked.ods", "testFooter.ods")] {
        let bytes = file(name);
        assert_eq!(category(extract(&reader(), name, &bytes)), Category::Encrypted, "{name}");
        let wrong = reader().with_passwords(secrets(&["wrong", ""]));
        assert_eq!(category(extract(&wrong, name, &bytes)), Category::Encrypted, "{name}");
        let right = reader().with_passwords(secrets(&["wrong", "sécret"]));
        let opened = right.extract(identify(&bytes, name).format, name, &mut &bytes[..], &NEVER).unwrap();
        assert_eq!(opened.opened_with, BTreeSet::from([1]), "{name}");
        let expected = read(original);
        assert_eq!((opened.text.text, opened.text.metadata), (expected.text, expected.metadata), "{name}");
        for at in (40..bytes.len()).step_by(bytes.len() / 30) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x11;
            if let Err(ReadError::Exception(exception)) = extract(&right, name, &bytes) {
                assert_ne!(exception.category, Category::Crashed, "{name} {at}");
            }
        }
    }
}

#[test]
fn open_documents_that_ask_for_too_much_or_are_too_new() {
    let locked = |algorithm: &str, rounds: &str| {
        let manifest = format!(
            "<manifest:manifest><manifest:file-entry manifest:full-path='content.xml'><manifest:encryption-data \
             manifest:checksum-type='SHA1/1K' manifest:checksum='AAAA'><manifest:algorithm manifest:algorithm-name='{algorithm}' \
             manifest:initialisation-vector='AAAA'/><manifest:key-derivation manifest:key-derivation-name='PBKDF2' \
             manifest:iteration-count='{rounds}' manifest:salt='AAAA'/></manifest:encryption-data></manifest:file-entry></manifest:manifest>"
        );
        zip(&[
            ("mimetype", b"application/vnd.oasis.opendocument.text"),
            ("content.xml", b"0123456789abcdef"),
            ("META-INF/manifest.xml", manifest.as_bytes()),
        ])
    };
    let reader = reader().with_passwords(secrets(&["sécret"]));
    let aes = "http://www.w3.org/2001/04/xmlenc#aes256-cbc";
    for (algorithm, rounds, expected) in [
        ("Blowfish CFB", "1024", Category::Encrypted),
        ("http://www.w3.org/2009/xmlenc11#aes256-gcm", "1024", Category::Unsupported),
        (aes, "1024", Category::Encrypted),
        (aes, "4000000000", Category::TooLarge),
        (aes, "many", Category::TooLarge),
    ] {
        assert_eq!(category(extract(&reader, "a.odt", &locked(algorithm, rounds))), expected, "{algorithm} {rounds}");
    }
}

/// Word 2 for Windows and Write: a header, and a byte a character.
fn early_letter(magic: &[u8], flags: u16, text: &[u8]) -> Vec<u8> {
    let start = if magic[0] == 0x31 { 0x80 } else { 0x180 };
    let mut bytes = vec![0; start];
    bytes[..magic.len()].copy_from_slice(magic);
    let end = u32::try_from(start + text.len()).unwrap();
    if start == 0x80 {
        bytes[14..18].copy_from_slice(&end.to_le_bytes());
        bytes[0x60] = 2;
    } else {
        bytes[10..12].copy_from_slice(&flags.to_le_bytes());
        bytes[24..28].copy_from_slice(&0x180_u32.to_le_bytes());
        bytes[28..32].copy_from_slice(&end.to_le_bytes());
    }
    bytes.extend(text);
    bytes.extend([0; 600]);
    bytes
}

#[test]
fn early_letters() {
    let text = b"An:\tM\xfcller\r\nSee \x13 REF a \x14page 2\x15 and co\x1eowner.\r\n\x01\r\nEnd";
    let (word, write) = (b"\xdb\xa5\x2d\0", b"\x31\xbe\0\0\0\xab");
    for (name, bytes) in [("a.doc", early_letter(word, 0, text)), ("a.wri", early_letter(write, 0, text))] {
        assert_eq!(identify(&bytes, name).format, Format::Doc, "{name}");
        let read = extract(&reader(), name, &bytes).unwrap();
        assert_eq!(read.text, "An:\tMüller\nSee page 2 and co-owner.\nEnd", "{name}");
    }
    let fast = extract(&reader(), "a.doc", &early_letter(word, 4, text)).unwrap();
    assert_eq!(fast.warnings[0].category, Category::Partial);
    assert_eq!(category(extract(&reader(), "a.doc", &early_letter(word, 0x100, text))), Category::Unsupported);
    let mut lying = early_letter(word, 0, text);
    lying[28..32].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(extract(&reader(), "a.doc", &lying).unwrap().text.starts_with("An:"));
    lying[24..28].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(category(extract(&reader(), "a.doc", &lying)), Category::Corrupt);
}
