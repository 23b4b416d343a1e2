//! Formats by their bytes, whatever the name says.

use pipeline::{Format, identify};

use crate::machine::file;

#[test]
fn real_files_without_their_names() {
    let cases = [
        ("fake_memo.pdf", Format::Pdf),
        ("testOCR.png", Format::Png),
        ("testTIFF_multipage.tif", Format::Tiff),
        ("category-level.docx", Format::Docx),
        ("simple.pptx", Format::Pptx),
        ("excel_multi_sheet.xlsx", Format::Xlsx),
        ("testEXCEL.xls", Format::Xls),
        ("testFooter.ods", Format::Ods),
        ("test-columnar.xlsb", Format::Xlsb),
        ("simple.doc", Format::Doc),
        ("testPPT_macros.ppt", Format::Ppt),
        ("mailgun_pdf_attachment.eml", Format::Eml),
        ("complex.mbox", Format::Mbox),
        ("testPPT_protected_passtika.pptx", Format::EncryptedOffice),
    ];
    for (name, format) in cases {
        let bytes = file(name);
        assert_eq!(identify(&bytes, "").format, format, "{name}");
        let named = identify(&bytes, name);
        assert_eq!((named.format, named.extension_mismatch), (format, false), "{name}");
        assert!(identify(&bytes, "holiday.jpg").extension_mismatch, "{name}");
    }
}

#[test]
fn text_by_its_grammar() {
    let cases: [(&[u8], &str, Format); 14] = [
        (b"", "a.pdf", Format::Empty),
        (b"<!DOCTYPE html><p>x", "a.txt", Format::Html),
        (b"\xef\xbb\xbf  <HTML><body>", "", Format::Html),
        (b"<?xml version='1.0'?><a/>", "", Format::Xml),
        (b"From: a@b.c\nSubject: x\n\nbody", "", Format::Eml),
        (b"Subject: minutes of the meeting\n\nNote: nothing", "notes.txt", Format::Text),
        (b"From a@b.c Mon Jun 1\nFrom: a@b.c\nTo: b\n\nx", "", Format::Mbox),
        (b"From here on the parties agree:\nNothing", "", Format::Text),
        (b"a,b\n1,2\n3,4\n", "", Format::Csv),
        (b"# Title\n\ntext", "readme.md", Format::Markdown),
        (b"It was agreed, as follows.\nSecond line, too.\nThird.", "", Format::Text),
        (b"\0\x01\x02\x03\x04", "a.txt", Format::Unknown),
        (b"BMW is a car maker", "", Format::Text),
        (b"\xff\xfeh\0e\0l\0l\0o\0", "", Format::Text),
    ];
    for (bytes, name, format) in cases {
        assert_eq!(identify(bytes, name).format, format, "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn formats_have_distinct_names() {
    for format in Format::ALL {
        assert_eq!(Format::parse(format.name()), Some(*format));
        assert_eq!(
            serde_json::to_value(format).unwrap().as_str().and_then(|_| Format::parse(format.name())),
            Some(*format)
        );
    }
}
