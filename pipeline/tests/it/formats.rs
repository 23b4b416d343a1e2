//! Every format from a real file: its words, pages, headings and metadata.

use std::collections::BTreeSet;

use domain::{
    outcome::Category,
    text::{PageSource, Text},
};
use pipeline::{Format, Limits, ReadError, Reader, Settings, identify};

use crate::machine::{NEVER, category, check, extract, file, limited, reader, reader_with, secrets, settings, unpack};

fn read(name: &str) -> Text {
    extract(&reader(), name, &file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn labels(text: &Text) -> Vec<&str> {
    text.pages.iter().filter_map(|page| page.label.as_deref()).collect()
}

fn headings(text: &Text) -> Vec<&str> {
    text.headings.iter().map(|heading| text.slice(heading.start..heading.end).unwrap()).collect()
}

/// The built-in PDF engine alone, and PDFium where it is installed.
fn pdf_engines() -> Vec<Reader> {
    let found = settings();
    let builtin = reader_with(Settings { pdfium_library: None, ..found.clone() });
    let library = found.pdfium_library.is_some().then(|| reader_with(found));
    [builtin].into_iter().chain(library).collect()
}

#[test]
fn pdf() {
    for reader in pdf_engines() {
        let text = extract(&reader, "fake_memo.pdf", &file("fake_memo.pdf")).unwrap();
        assert!(text.text.contains("May 5, 2023"), "{}", text.text);
        assert_eq!(text.pages[0].source, PageSource::Native);
        let (width, height) = text.pages[0].size.unwrap();
        assert!((600.0..=620.0).contains(&width) && (780.0..=850.0).contains(&height), "{width} x {height}");
        assert!(text.pages[0].words.len() > 10);
        let open = extract(&reader, "open.pdf", &file("testPDF_no_extract_no_accessibility_owner_empty.pdf")).unwrap();
        assert!(open.text.contains("Hello"), "an empty user password is no password: {}", open.text);
    }
}

#[test]
fn pdf_boxes_stand_where_a_reader_sees_the_words() {
    for reader in pdf_engines() {
        let text = extract(&reader, "turned.pdf", &file("turned.pdf")).unwrap();
        assert_eq!(text.metadata.title.as_deref(), Some("Turned page"));
        assert_eq!(text.metadata.author.as_deref(), Some("A. Lawyer"));
        assert_eq!(text.metadata.created_at.unwrap().rfc3339(), "2024-01-31T08:30:00Z");
        let page = &text.pages[0];
        assert_eq!(page.size, Some((600.0, 400.0)));
        let word = |wanted: &str| {
            page.words.iter().find(|word| text.slice(word.start..word.end) == Some(wanted)).unwrap().bbox
        };
        // 400 by 600 points turned clockwise: what stood 50 from the left and 500 from the bottom now stands 500 from
        // the left and 50 from the top, and runs downwards.
        let [left, top, right, bottom] = word("Confidential");
        assert!((485.0..=505.0).contains(&left) && (505.0..=530.0).contains(&right), "{left} {right}");
        assert!((45.0..=55.0).contains(&top) && (140.0..=180.0).contains(&bottom), "{top} {bottom}");
        assert!(word("agreement")[0] < left, "the second line stands left of the first");
    }
}

#[test]
fn pdf_with_an_unknown_password() {
    for reader in pdf_engines() {
        assert_eq!(category(extract(&reader, "locked.pdf", &file("locked.pdf"))), Category::Encrypted);
    }
}

#[test]
fn pdf_with_passwords() {
    let files = [
        ("locked.pdf", ["secret", "secret"]),
        ("locked_aes128.pdf", ["üser", "owner"]),
        ("locked_aes256.pdf", ["usér-2024", "öwner-2024"]),
    ];
    for reader in pdf_engines() {
        for (name, passwords) in files {
            assert_eq!(
                category(extract(&reader.with_passwords(secrets(&["wrong"])), name, &file(name))),
                Category::Encrypted
            );
            for password in passwords {
                let reader = reader.with_passwords(secrets(&["wrong", "nul\0", password, "other"]));
                assert!(!format!("{reader:?}").contains(password));
                let found = reader.extract(Format::Pdf, name, &mut &file(name)[..], &NEVER).unwrap();
                check(&found.text);
                assert!(found.text.text.contains("Confidential"), "{name}: {}", found.text.text);
                assert_eq!(found.opened_with, BTreeSet::from([2]), "{name} {password}");
            }
        }
        // A password is not needed where everybody can open the document.
        let found = reader.with_passwords(secrets(&["wrong"]));
        let found = found.extract(Format::Pdf, "memo.pdf", &mut &file("fake_memo.pdf")[..], &NEVER).unwrap();
        assert!(found.opened_with.is_empty());
    }
}

#[test]
fn scanned_pages() {
    let found = settings();
    let without = reader_with(Settings { tesseract: None, ..found.clone() });
    for name in ["ocr_test_rotated_90.pdf", "testOCR.png", "testTIFF_multipage.tif"] {
        assert_eq!(category(extract(&without, name, &file(name))), Category::OcrUnavailable, "{name}");
    }
    if found.tesseract.is_none() {
        return;
    }
    let text = read("testOCR.png");
    assert!(text.text.contains("This file contains some words."), "{}", text.text);
    assert_eq!(text.pages[0].source, PageSource::Ocr);
    assert_eq!(text.pages[0].words.len(), 5);
    let text = read("testTIFF_multipage.tif");
    assert_eq!(text.pages.len(), 2);
    assert!(text.slice(text.pages[1].start..text.pages[1].end).unwrap().contains("Page 2"));
    for reader in pdf_engines() {
        let text = extract(&reader, "turned scan", &file("ocr_test_rotated_90.pdf")).unwrap();
        assert!(text.text.contains("PDF document conversion"), "{}", text.text);
        let (width, height) = text.pages[0].size.unwrap();
        assert!(text.pages[0].words.iter().all(|word| word.bbox[2] <= width + 1.0 && word.bbox[3] <= height + 1.0));
    }
}

#[test]
fn word_processing() {
    let text = read("category-level.docx");
    assert!(text.text.starts_with("Call me Ishmael."));
    assert!(headings(&text).contains(&"A Heading 1"), "{:?}", headings(&text));
    assert_eq!(text.pages.len(), 1);
    let text = read("word_tables.docx");
    assert!(text.text.contains("Header 0.0\tHeader 0.1\tHeader 0.2\nCell 1.0\tCell 1.1\tCell 1.2"));
    assert!(read("simple.doc").text.contains("These are a few of my favorite things:"));
}

#[test]
fn slides() {
    let text = read("simple.pptx");
    assert!(text.pages.len() >= 2);
    assert!(text.slice(text.pages[0].start..text.pages[0].end).unwrap().starts_with("Title Slide\nWith a subtitle"));
    assert!(read("testPPT_macros.ppt").text.contains("The quick"));
}

#[test]
fn sheets() {
    let text = read("excel_multi_sheet.xlsx");
    assert_eq!(labels(&text), ["first_sheet", "second_sheet"]);
    assert_eq!(
        text.text,
        "first_sheet\nColumn 1\tColumn 2\na\t1\nb\t2\nc\t3\nsecond_sheet\nProduct\tValue\nTomato\t1\nPotato\t1\nBeetroot\t2"
    );
    assert_eq!(headings(&text), ["first_sheet", "second_sheet"]);
    assert!(read("testEXCEL.xls").text.contains("Number\tSquare\n1\t1\n2\t4"));
    assert!(read("testFooter.ods").text.contains("Data 1\tData 2\nData 3\tData 4"));
    assert!(read("test-columnar.xlsb").text.contains("Record Number"));
}

#[test]
fn protected_office_files() {
    for name in ["testEXCEL_protected_passtika.xls", "testPPT_protected_passtika.pptx"] {
        assert_eq!(category(extract(&reader(), name, &file(name))), Category::Encrypted, "{name}");
    }
}

#[test]
fn web_pages() {
    let page = "<html><head><title> The  title </title><style>p { color: red }</style><script>var hidden = '<p>';</script></head>\
        <body><h1>First &amp; last</h1><p>Some <b>bold</b>\n text<br>next line</p><ul><li>one<li>two</ul>\
        <table><tr><td>a</td><td>b</td></tr></table><pre>kept\n  as is</pre><img alt='a picture'></body></html>";
    let text = extract(&reader(), "page.html", page.as_bytes()).unwrap();
    assert_eq!(text.text, "First & last\nSome bold text\nnext line\none\ntwo\na\tb\t\nkept\n  as is\na picture");
    assert_eq!(headings(&text), ["First & last"]);
    assert_eq!(text.metadata.title.as_deref(), Some("The title"));
    let latin = b"<meta charset=windows-1252><p>Stra\xdfe \x80 5</p>";
    assert_eq!(extract(&reader(), "page.html", latin).unwrap().text, "Stra\u{df}e \u{20ac} 5");
}

#[test]
fn plain_text() {
    let utf16: Vec<u8> =
        [0xff, 0xfe].into_iter().chain("Gr\u{fc}\u{df}e\r\nzwei".encode_utf16().flat_map(u16::to_le_bytes)).collect();
    assert_eq!(extract(&reader(), "a.txt", &utf16).unwrap().text, "Gr\u{fc}\u{df}e\nzwei");
    let text = extract(&reader(), "a.md", b"# One\ntext\n```\n# not\n```\n### Two").unwrap();
    assert_eq!(headings(&text), ["# One", "### Two"]);
    assert_eq!(extract(&reader(), "a.csv", b"a,b\n1,\"2 3\"\n").unwrap().text, "a,b\n1,\"2 3\"");
    assert_eq!(
        extract(&reader(), "a.xml", b"<?xml version='1.0'?><a><b>x &lt; y</b><!-- no --><![CDATA[<z>]]></a>")
            .unwrap()
            .text,
        "x < y\n<z>"
    );
    assert_eq!(category(extract(&reader(), "blank.txt", b" \n ")), Category::NoText);
}

#[test]
fn messages() {
    let text = read("mailgun_pdf_attachment.eml");
    assert_eq!(text.metadata.subject.as_deref(), Some("Test message with PDF attachment"));
    assert_eq!(text.metadata.from.as_deref(), Some("test@mailgun.com"));
    assert_eq!(text.metadata.to, ["recipient@example.com"]);
    assert_eq!(text.metadata.sent_at.unwrap().rfc3339(), "2014-06-04T17:50:00Z");
    assert!(text.text.contains("Attachments: test.pdf") && text.text.ends_with("Test - body content"), "{}", text.text);
    assert!(read("html_only.eml").text.contains("Special characters: \u{20ac}, \u{a9}, \u{ae}"));
    let plain = "From: A <a@x.org>\nTo: b@x.org, C <c@x.org>\nCc: d@x.org\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nMessage-ID: <1@x>\nIn-Reply-To: <0@x>\n\nHello";
    let wide: Vec<u8> = [0xff, 0xfe].into_iter().chain(plain.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    for bytes in [plain.as_bytes(), &wide] {
        let found = extract(&reader(), "m.eml", bytes).unwrap();
        assert_eq!(found.metadata.subject.as_deref(), Some("Gr\u{fc}\u{df}e"));
        assert_eq!(found.metadata.to, ["b@x.org", "C <c@x.org>"]);
        assert_eq!(
            (found.metadata.message_id.as_deref(), found.metadata.in_reply_to.as_deref()),
            (Some("1@x"), Some("0@x"))
        );
    }
}

#[test]
fn a_program_that_is_not_there_is_the_machine_s_fault() {
    let reader = Reader::new(settings(), "/nonexistent/reader".into(), Vec::new());
    assert!(matches!(extract(&reader, "a.txt", b"text"), Err(ReadError::Io(_))));
}

#[test]
fn office_behind_a_password() {
    let files = [("locked_agile.xlsx", "sécret", "xlsx"), ("testPPT_protected_passtika.pptx", "tika", "pptx")];
    for (name, password, inside) in files {
        let bytes = file(name);
        assert_eq!(identify(&bytes, name).format, Format::EncryptedOffice);
        assert_eq!(category(extract(&reader(), name, &bytes)), Category::Encrypted);
        let wrong = reader().with_passwords(secrets(&["wrong"]));
        assert_eq!(category(extract(&wrong, name, &bytes)), Category::Encrypted);
        let right = reader().with_passwords(secrets(&["wrong", password]));
        let found = right.extract(Format::EncryptedOffice, name, &mut &bytes[..], &NEVER).unwrap();
        check(&found.text);
        assert_eq!(found.opened_with, BTreeSet::from([1]), "{name}");
        assert_eq!(found.text.metadata.extra.get("decrypted_format").map(String::as_str), Some(inside));
        assert!(found.text.warnings.is_empty(), "{name}: {:?}", found.text.warnings);
        let (result, _) = unpack(&right, Format::EncryptedOffice, &bytes);
        assert_eq!(result.unwrap().opened_with, BTreeSet::from([1]), "{name}");
    }
    let right = reader().with_passwords(secrets(&["wrong", "tika"]));
    let name = "testEXCEL_protected_passtika.xls";
    assert_eq!(category(extract(&reader(), name, &file(name))), Category::Encrypted);
    let found = right.extract(Format::Xls, name, &mut &file(name)[..], &NEVER).unwrap();
    assert_eq!((found.opened_with, found.text.pages.len()), (BTreeSet::from([1]), 3));
    let open = read("excel_multi_sheet.xlsx").text;
    let right = reader().with_passwords(secrets(&["sécret"]));
    assert_eq!(extract(&right, "locked_agile.xlsx", &file("locked_agile.xlsx")).unwrap().text, open);
    // Excel's own password needs nobody to know it.
    assert_eq!(read("known_password.xlsx").text, open);
}

#[test]
fn hostile_encrypted_office() {
    let bytes = file("locked_agile.xlsx");
    let right = reader().with_passwords(secrets(&["sécret"]));
    let spins = bytes.windows(18).position(|found| found == b"spinCount=\"100000\"").unwrap();
    let mut endless = bytes.clone();
    endless[spins..spins + 18].copy_from_slice(b"spinCount=\"999999\"");
    let few = limited(Limits { max_key_rounds: 999_998, ..Limits::default() }).with_passwords(secrets(&["sécret"]));
    assert_eq!(category(extract(&few, "endless.xlsx", &endless)), Category::TooLarge);
    // The package begins on a sector of its own; a bit of its middle changes the integrity code.
    let package = bytes.len() - 2048;
    for at in (0..bytes.len()).step_by(1511) {
        let mut bent = bytes.clone();
        bent[at] ^= 0x55;
        match extract(&right, "bent.xlsx", &bent) {
            Err(ReadError::Exception(exception)) => assert_ne!(exception.category, Category::Crashed, "{at}"),
            Err(error) => panic!("{at}: {error}"),
            Ok(_) => {}
        }
        let cut = &bytes[..at];
        assert!(extract(&right, "cut.xlsx", cut).is_err() || at > package, "{at}");
    }
}
